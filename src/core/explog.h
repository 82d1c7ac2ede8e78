/*
 * exp and log that give the same bits everywhere, and the log-softmax built on them.
 *
 * libm differs between versions and from CUDA's, so no result may depend on it. These use
 * +, -, *, fma and integer operations only, and are within 1 ulp.
 */
#ifndef STK_EXPLOG_H
#define STK_EXPLOG_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

extern double stk_exp(double x);
extern double stk_log(double x);

/*
 * Costs of a softmax over n logits: cost[i] = -log softmax(z)[i], clamped at 0; +infinity where
 * z[i] is -infinity. The denominator adds stk_exp(z - max) in 64-bit fixed point (2^-46), so
 * that the order of the terms does not matter.
 *
 * STK_EINVAL when n = 0, a logit is NaN or +infinity, or all are -infinity.
 */
extern stk_status stk_softmax_costs(const float *z, size_t n, double *cost);

#endif
