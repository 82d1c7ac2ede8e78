/*
 * How fast this machine computes, measured for some milliseconds at start.
 */
#ifndef STK_RATE_H
#define STK_RATE_H

#include "worker/launch.h"

/* Multiply-adds a second of one thread that encodes. STK_ENOMEM. */
extern stk_status stk_rate_measure(const stk_shop *shop, double *rate);

#endif
