#include "dot.h"

#include <string.h>

#include "fpenv.h"

/* Two lanes; SSE2 and NEON registers hold this, other machines get plain code for it. */
typedef double lanes2 __attribute__((vector_size(16)));

/* Four lanes of binary32. */
typedef float lanes4 __attribute__((vector_size(16)));

static inline lanes2
load2(const double *p)
{
	lanes2 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline lanes2
load2_narrow(const float *p)
{
	return (lanes2){p[0], p[1]};
}

static inline double
add_lanes(lanes2 a01, lanes2 a23, lanes2 a45, lanes2 a67)
{
	lanes2 sum = (a01 + a45) + (a23 + a67);

	return sum[0] + sum[1];
}

double
stk_dot(const float *x, const float *y, size_t dim)
{
	lanes2 a01 = {0}, a23 = {0}, a45 = {0}, a67 = {0};
	size_t whole = dim / STK_LANES * STK_LANES;

	for (size_t i = 0; i < whole; i += STK_LANES)
	{
		a01 += load2_narrow(x + i) * load2_narrow(y + i);
		a23 += load2_narrow(x + i + 2) * load2_narrow(y + i + 2);
		a45 += load2_narrow(x + i + 4) * load2_narrow(y + i + 4);
		a67 += load2_narrow(x + i + 6) * load2_narrow(y + i + 6);
	}
	if (whole < dim)
	{
		double wx[STK_LANES];
		double wy[STK_LANES];

		stk_widen(x + whole, dim - whole, wx);
		stk_widen(y + whole, dim - whole, wy);
		a01 += load2(wx) * load2(wy);
		a23 += load2(wx + 2) * load2(wy + 2);
		a45 += load2(wx + 4) * load2(wy + 4);
		a67 += load2(wx + 6) * load2(wy + 6);
	}
	return add_lanes(a01, a23, a45, a67);
}

void
stk_widen(const float *x, size_t dim, double *wide)
{
	size_t end = stk_wide_dim(dim);
	size_t i = 0;

	for (; i < dim; i++)
		wide[i] = x[i];
	for (; i < end; i++)
		wide[i] = 0;
}

static double
dot_one(const double *x, const double *y, size_t wide_dim)
{
	lanes2 a01 = {0}, a23 = {0}, a45 = {0}, a67 = {0};

	for (size_t i = 0; i < wide_dim; i += STK_LANES)
	{
		a01 += load2(x + i) * load2(y + i);
		a23 += load2(x + i + 2) * load2(y + i + 2);
		a45 += load2(x + i + 4) * load2(y + i + 4);
		a67 += load2(x + i + 6) * load2(y + i + 6);
	}
	return add_lanes(a01, a23, a45, a67);
}

/* Two rows at a time: as many lanes as 16 registers hold beside the operands. */
static void
dot_two(const double *x, const double *z, const double *y, size_t wide_dim, double *out)
{
	lanes2 a01 = {0}, a23 = {0}, a45 = {0}, a67 = {0};
	lanes2 b01 = {0}, b23 = {0}, b45 = {0}, b67 = {0};

	for (size_t i = 0; i < wide_dim; i += STK_LANES)
	{
		lanes2 y01 = load2(y + i);
		lanes2 y23 = load2(y + i + 2);
		lanes2 y45 = load2(y + i + 4);
		lanes2 y67 = load2(y + i + 6);

		a01 += load2(x + i) * y01;
		a23 += load2(x + i + 2) * y23;
		a45 += load2(x + i + 4) * y45;
		a67 += load2(x + i + 6) * y67;
		b01 += load2(z + i) * y01;
		b23 += load2(z + i + 2) * y23;
		b45 += load2(z + i + 4) * y45;
		b67 += load2(z + i + 6) * y67;
	}
	out[0] = add_lanes(a01, a23, a45, a67);
	out[1] = add_lanes(b01, b23, b45, b67);
}

void
stk_dot_wide(const double *rows, size_t n, const double *y, size_t wide_dim, double *out)
{
	size_t r = 0;

	for (; r + 2 <= n; r += 2)
		dot_two(rows + r * wide_dim, rows + (r + 1) * wide_dim, y, wide_dim, out + r);
	if (r < n)
		out[r] = dot_one(rows + r * wide_dim, y, wide_dim);
}

static inline lanes4
load4(const float *p)
{
	lanes4 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline float
add_lanes4(lanes4 a)
{
	return (a[0] + a[2]) + (a[1] + a[3]);
}

/* Four vectors with one, in eight lanes each. */
static void
dot_narrow_four(const float *const x[4], const float *y, size_t dim, float *out)
{
	const float *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
	lanes4 a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
	lanes4 b0 = {0}, b1 = {0}, b2 = {0}, b3 = {0};
	size_t i = 0;

	for (; i + 8 <= dim; i += 8)
	{
		lanes4 ya = load4(y + i);
		lanes4 yb = load4(y + i + 4);

		a0 += load4(x0 + i) * ya;
		a1 += load4(x1 + i) * ya;
		a2 += load4(x2 + i) * ya;
		a3 += load4(x3 + i) * ya;
		b0 += load4(x0 + i + 4) * yb;
		b1 += load4(x1 + i + 4) * yb;
		b2 += load4(x2 + i + 4) * yb;
		b3 += load4(x3 + i + 4) * yb;
	}
	out[0] = add_lanes4(a0 + b0);
	out[1] = add_lanes4(a1 + b1);
	out[2] = add_lanes4(a2 + b2);
	out[3] = add_lanes4(a3 + b3);
	for (; i < dim; i++)
	{
		for (int r = 0; r < 4; r++)
			out[r] += x[r][i] * y[i];
	}
}

void
stk_dot_narrow(const float *x, size_t n, const float *y, size_t dim, float *out)
{
	for (size_t r = 0; r < n; r += 4)
	{
		const float *four[4];
		float dots[4];

		/* Past the end the last vector takes the place of those missing. */
		for (size_t j = 0; j < 4; j++)
			four[j] = x + (r + j < n ? r + j : n - 1) * dim;
		dot_narrow_four(four, y, dim, dots);
		for (size_t j = 0; j < 4 && r + j < n; j++)
			out[r + j] = dots[j];
	}
}
