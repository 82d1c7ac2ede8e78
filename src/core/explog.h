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

/*
 * The same of z / temperature (finite, above 0), whose quotients are those of the binary64
 * differences max - z: temperature 1 gives stk_softmax_costs' bits.
 */
extern stk_status stk_softmax_costs_at(const float *z, size_t n, double temperature, double *cost);

/*
 * What its costs are made of: cost[i] = *log_sum + (*max - z[i]) / temperature, clamped at 0. For
 * those who want the costs of a few of the terms.
 */
extern stk_status stk_softmax_log_sum(const float *z, size_t n, double temperature, double *max,
									  double *log_sum);

/* The greatest logit; STK_EINVAL as stk_softmax_costs says. */
extern stk_status stk_softmax_greatest(const float *z, size_t n, double *max);

/*
 * The terms that a denominator adds, for all of z [n] at once: subsets whose greatest logit is max
 * sum theirs up, and have stk_softmax_costs' bits with stk_log_of_shares(sum) + quotient.
 *
 *   quotient [n]  out: max - z[i]
 *   share    [n]  out: exp(z[i] - max) in fixed point, 0 where z[i] is above max
 *
 * By the caller's rounding mode (fpenv.h).
 */
extern void stk_softmax_shares(const float *z, size_t n, double max, double *quotient,
							   uint64_t *share);

#endif
