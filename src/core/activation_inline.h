/*
 * Activations of one number, for kernels too: one source, the same bits. Elsewhere activation.h's
 * are called.
 */
#ifndef STK_ACTIVATION_INLINE_H
#define STK_ACTIVATION_INLINE_H

#include "activation.h"
#include "explog_inline.h"

/*
 * (((a[0] z + a[1]) z + ...) + a[n]) / (((z + b[0]) z + ...) + b[n - 1]), as the published tables
 * are to be read: the last of a, by itself at their end, leads.
 */
static STK_BOTH_SIDES inline double
stk_quotient(const double *a, const double *b, int n, double z)
{
	double above = a[n] * z;
	double below = z;

	for (int i = 0; i < n - 1; i++)
	{
		above = (above + a[i]) * z;
		below = (below + b[i]) * z;
	}
	return (above + a[n - 1]) / (below + b[n - 1]);
}

/* exp(-y^2), y > 0: y^2 in two parts, one of them exact. */
static STK_BOTH_SIDES inline double
stk_exp_of_square(double y)
{
	double whole = (double) (long) (y * 16) / 16;
	double rest = (y - whole) * (y + whole);

	return stk_exp_inline(-whole * whole) * stk_exp_inline(-rest);
}

/*
 * Cody 1969, "Rational Chebyshev approximations for the error function", Mathematics of
 * Computation 23: coefficients of its three ranges.
 */
static STK_BOTH_SIDES inline double
stk_erfc_inline(double x)
{
	static const double a[] = {3.16112374387056560e00, 1.13864154151050156e02,
							   3.77485237685302021e02, 3.20937758913846947e03,
							   1.85777706184603153e-1};
	static const double b[] = {2.36012909523441209e01, 2.44024637934444173e02,
							   1.28261652607737228e03, 2.84423683343917062e03};
	static const double c[] = {
		5.64188496988670089e-1, 8.88314979438837594e0,  6.61191906371416295e01,
		2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03,
		2.05107837782607147e03, 1.23033935479799725e03, 2.15311535474403846e-8};
	static const double d[] = {1.57449261107098347e01, 1.17693950891312499e02,
							   5.37181101862009858e02, 1.62138957456669019e03,
							   3.29079923573345963e03, 4.36261909014324716e03,
							   3.43936767414372164e03, 1.23033935480374942e03};
	static const double p[] = {3.05326634961232344e-1, 3.60344899949804439e-1,
							   1.25781726111229246e-1, 1.60837851487422766e-2,
							   6.58749161529837803e-4, 1.63153871373020978e-2};
	static const double q[] = {2.56852019228982242e00, 1.87295284992346725e00,
							   5.27905102951428412e-1, 6.05183413124413191e-2,
							   2.33520497626869185e-3};
	const double one_by_sqrt_pi = 5.6418958354775628695e-1;
	double y = x < 0 ? -x : x;
	double result;

	if (!(y > 0.46875))
		return 1 - x * stk_quotient(a, b, 4, y * y);
	if (y >= 27)
		result = 0;
	else if (y <= 4)
		result = stk_exp_of_square(y) * stk_quotient(c, d, 8, y);
	else
	{
		double z = 1 / (y * y);

		result = stk_exp_of_square(y) * ((one_by_sqrt_pi - z * stk_quotient(p, q, 5, z)) / y);
	}
	return x < 0 ? 2 - result : result;
}

static STK_BOTH_SIDES inline float
stk_gelu(double x)
{
	const double sqrt_half = 0x1.6a09e667f3bcdp-1;

	return (float) (x * 0.5 * stk_erfc_inline(-x * sqrt_half));
}

static STK_BOTH_SIDES inline float
stk_silu(double x)
{
	return (float) (x / (1 + stk_exp_inline(-x)));
}

static STK_BOTH_SIDES inline float
stk_activated(stk_activation activation, float x)
{
	return activation == STK_RELU   ? (x > 0 ? x : 0)
		   : activation == STK_GELU ? stk_gelu(x)
									: stk_silu(x);
}

#endif
