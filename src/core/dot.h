/*
 * The reference dot product: element i is accumulated in binary64 in lane i mod 8, from +0, in
 * order of i; the lanes are added ((0+4)+(2+6))+((1+5)+(3+7)).
 *
 * A product of two binary32 values is exact in binary64, so it does not matter whether a machine
 * multiplies and adds in one step or two. Trailing zeros change nothing: a lane is never -0.
 */
#ifndef STK_DOT_H
#define STK_DOT_H

#include <stddef.h>

#define STK_LANES 8

/* Elements of a row widened for stk_dot_wide: dim, up to the next multiple of STK_LANES. */
static inline size_t
stk_wide_dim(size_t dim)
{
	return (dim + STK_LANES - 1) / STK_LANES * STK_LANES;
}

/* Dot product of x [dim] and y [dim]. */
extern double stk_dot(const float *x, const float *y, size_t dim);

/* Copy x [dim] as binary64 into wide [stk_wide_dim(dim)], zeros behind it. */
extern void stk_widen(const float *x, size_t dim, double *wide);

/*
 * The same dot products of n widened rows, [n][wide_dim], with one widened vector, [wide_dim].
 *
 *   out  [n]
 */
extern void stk_dot_wide(const double *rows, size_t n, const double *y, size_t wide_dim,
						 double *out);

#endif
