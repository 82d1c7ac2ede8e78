/*
 * How fast the engines compute here, measured for some milliseconds at start: by this the work of
 * semtok.device = auto goes to the cores or to the device.
 */
#ifndef STK_SPEED_H
#define STK_SPEED_H

#include "worker/launch.h"

/* What work takes: fixed + bytes of rows * per_byte + multiply-adds * per_multiply_add, seconds. */
typedef struct stk_speed
{
	double fixed;
	double per_byte;
	double per_multiply_add;
} stk_speed;

typedef struct stk_speeds
{
	double rate;     /* multiply-adds a second of one thread of the cores */
	stk_speed cores; /* all threads together */
	stk_speed device;
} stk_speeds;

/* Measure the cores, with this pool, and the device where there is one. STK_ENOMEM. */
extern stk_status stk_speeds_measure(const stk_shop *shop, const stk_pool *pool,
									 stk_speeds *speeds);

/* Is this sooner done on the device? */
extern bool stk_speeds_choose_device(const stk_speeds *s, double bytes, double multiply_adds);

/*
 * The multiply-adds of rows of so many numbers from which the device is the sooner; INFINITY: none.
 */
extern double stk_speeds_threshold(const stk_speeds *s, double multiply_adds_a_byte);

#endif
