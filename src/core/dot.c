#include "dot.h"

#include <string.h>

#include "fpenv.h"

/* Two lanes; SSE2 and NEON registers hold this, other machines get plain code for it. */
typedef double lanes2 __attribute__((vector_size(16)));

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
