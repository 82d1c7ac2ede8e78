#include "bound.h"

#include <math.h>

/*
 * Let c_k be the codewords, h_k half their squared norms (0 for the inner product), x a row, m the
 * centre, c'_k = c_k - m, y = x - m. Then
 *
 *    x.c_k - h_k = m.x + (y.c'_k + o_k)        o_k = m.c'_k - h_k
 *
 * and m.x is the same for all k. The unit multiplies y^ and c^_k instead of y and c'_k, and adds
 * in binary32. Its score v_k differs from y.c'_k + o_k by
 *
 *    y^.(c'_k - c^_k) + (y - y^).c'_k          what it was given
 *    Gamma |y^| |c^| + n eta                   how it adds: Gamma = (D + 3) 2^-24 for D products
 *                                              in any order and the offset, eta a small number
 *                                              lost in each of n = D + 2 operations: 2^-149, or
 *                                              2^-126 where the unit flushes them to zero
 *    2^-23 |o|                                 the offset rounded to binary32, then added
 *    (D / 8 + 6) 2^-53 |m| (|c| + |m|)         the offset computed in binary64, by eight lanes
 *                                              each, as m.c_k - |m|^2 - h_k
 *
 * and the reference itself, eight lanes of binary64, differs from h_k - x.c_k by
 *
 *    (D / 8 + 5) 2^-53 (|x| |c| + h)           rounded up to whole steps of a lane.
 *
 * Between two codewords each of these counts twice at most (Cauchy-Schwarz for the first line,
 * with differences of at most twice the largest). So where v_i > v_j + margin, the reference puts
 * i strictly before j. The factor covers products of these small terms (D 2^-24 < 0.001), the
 * rounding of this computation, and two parts that need no term of their own: |x| is taken for
 * |y^| + |m|, as no unit rounds a row by more than 2^-8 of it, and h is left out, as it is at most
 * 2 |o| (c = m + c' makes o = -|m|^2 / 2 - |c'|^2 / 2, or h is 0).
 *
 * No partial sum leaves binary32's range while |y^| |c^| + |o| < 10^38.
 *
 * Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1.
 */
double
stk_bound_margin(stk_arithmetic arithmetic, const stk_bound_codes *codes, const stk_bound_row *row)
{
	double d = (double) codes->dim;
	double eta = arithmetic == STK_ARITHMETIC_BFLOAT16 ? 0x1p-126 : 0x1p-149;
	double product = row->norm * codes->packed;
	double x = row->norm + codes->centre;
	double given = row->norm * codes->rounding + row->rounding * codes->radius;
	double adding = (d + 3) * 0x1p-24 * product + (d + 2) * eta;
	double lanes = (double) ((codes->dim + 7) / 8);
	double offset = 0x1p-23 * codes->offset +
					(lanes + 6) * 0x1p-53 * codes->centre * (codes->norm + codes->centre);
	double reference = (lanes + 5) * 0x1p-53 * x * codes->norm;

	/* Written so that NaN says no. */
	if (!(product + codes->offset < 1e38))
		return INFINITY;
	return 2.02 * (given + adding + offset + reference);
}

/*
 * Each square and each addition rounds once (counted double, for what rounds here), and a square
 * may lose what is below the smallest number.
 */
double
stk_bound_norm(float sum_of_squares, size_t n)
{
	double terms = (double) n;

	return sqrt((double) sum_of_squares * (1 + (terms + 2) * 0x1p-23) + terms * 0x1p-149);
}
