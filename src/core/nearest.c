#include "nearest.h"

#include <math.h>

/*
 * stk_nearest takes most of its dot products in binary32 and decides by the reference rule only
 * between codewords that these leave possible.
 *
 * Let X = |x| and C the largest codeword norm, u = 2^-24, D the dimension. Whatever its order, a
 * binary32 dot product errs by at most D u / (1 - D u) times the sum of |x_i c_i| <= X C, and by
 * 2^-150 for each product that underflows. The reference's own error, and that of the binary64
 * difference h - dot on either side, is at most (D / 8 + 8) 2^-53 (X C + C^2 / 2). So a score from
 * binary32 is within A of the reference's score:
 *
 *    A = 1.01 ((D + 3) u X C + (D + 2) 2^-149 + (D / 8 + 8) 2^-53 (X C + C^2 / 2))
 *
 * where 1.01 covers 1 / (1 - D u) up to the largest dimension and the rounding of X, C and A. Every
 * code whose reference score is lowest then lies within 2 A of the lowest score from binary32.
 *
 * Where X C < 10^38 no partial sum can leave binary32's range; other rows are scored by the
 * reference alone.
 */
static double
score_error(double x_norm, double c_norm, size_t dim)
{
	double d = (double) dim;
	double product = x_norm * c_norm;

	return 1.01 * ((d + 3) * 0x1p-24 * product + (d + 2) * 0x1p-149 +
				   (d / 8 + 8) * 0x1p-53 * (product + 0.5 * c_norm * c_norm));
}

void
stk_half_norms(const float *codewords, uint32_t size, size_t dim, double *half)
{
	for (uint32_t k = 0; k < size; k++)
	{
		const float *c = codewords + (size_t) k * dim;

		half[k] = 0.5 * stk_dot(c, c, dim);
	}
}

double
stk_largest_norm(const double *half, uint32_t size)
{
	double largest = 0;

	for (uint32_t k = 0; k < size; k++)
	{
		if (half[k] > largest)
			largest = half[k];
	}
	return sqrt(2 * largest);
}

static double
half_norm(const stk_nearest_table *t, uint32_t k)
{
	return t->inner_product ? 0 : t->half[k];
}

static uint32_t
next_stop(const stk_nearest_table *t, uint32_t first)
{
	return t->size - first < STK_NEAREST_CODES ? t->size : first + STK_NEAREST_CODES;
}

/* Dot products in binary32: dots[code * n + row]. */
static stk_status
narrow_dots(const stk_nearest_table *t, const float *x, size_t n, float *dots,
			const stk_monitor *monitor)
{
	for (uint32_t first = 0; first < t->size;)
	{
		uint32_t last = next_stop(t, first);

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		if (n == 1)
			stk_dot_narrow(t->codewords + (size_t) first * t->dim, last - first, x, t->dim,
						   dots + first);
		else
		{
			for (uint32_t k = first; k < last; k++)
				stk_dot_narrow(x, n, t->codewords + (size_t) k * t->dim, t->dim, dots + k * n);
		}
		first = last;
	}
	return STK_OK;
}

/*
 * Decide one row among the codes that its binary32 dots, dots[code * stride], leave possible.
 */
static stk_status
decide(const stk_nearest_table *t, const float *x, const float *dots, size_t stride, uint16_t *code,
	   double *score, const stk_monitor *monitor)
{
	double norm = sqrt(stk_dot(x, x, t->dim));
	bool narrow = norm * t->norm < 1e38;
	double limit = INFINITY;
	uint32_t scored = 0;

	*score = INFINITY;
	if (narrow)
	{
		for (uint32_t k = 0; k < t->size; k++)
		{
			double s = half_norm(t, k) - (double) dots[k * stride];

			limit = s < limit ? s : limit;
		}
		limit += 2 * score_error(norm, t->norm, t->dim);
	}
	for (uint32_t k = 0; k < t->size; k++)
	{
		double s;

		if (narrow && half_norm(t, k) - (double) dots[k * stride] > limit)
			continue;
		if (++scored % STK_NEAREST_CODES == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		s = half_norm(t, k) - stk_dot(x, t->codewords + (size_t) k * t->dim, t->dim);
		if (s < *score)
		{
			*score = s;
			*code = (uint16_t) k;
		}
	}
	return STK_OK;
}

stk_status
stk_nearest(const stk_nearest_table *t, float *scratch, const float *x, size_t n, uint16_t *codes,
			double *scores, const stk_monitor *monitor)
{
	for (size_t first = 0; first < n; first += STK_NEAREST_ROWS)
	{
		size_t rows = n - first < STK_NEAREST_ROWS ? n - first : STK_NEAREST_ROWS;
		stk_status status = narrow_dots(t, x + first * t->dim, rows, scratch, monitor);

		for (size_t r = 0; r < rows && status == STK_OK; r++)
		{
			double score;

			status = decide(t, x + (first + r) * t->dim, scratch + r, rows, &codes[first + r],
							&score, monitor);
			if (scores && status == STK_OK)
				scores[first + r] = score;
		}
		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

stk_status
stk_all_scores(const stk_nearest_table *t, double *scratch, const float *x, size_t n,
			   double *scores, const stk_monitor *monitor)
{
	size_t wide = stk_wide_dim(t->dim);
	double *codeword = scratch + n * wide;

	for (size_t r = 0; r < n; r++)
		stk_widen(x + r * t->dim, t->dim, scratch + r * wide);
	for (uint32_t k = 0; k < t->size; k++)
	{
		double dots[STK_NEAREST_ROWS];

		if (k % STK_NEAREST_CODES == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		stk_widen(t->codewords + (size_t) k * t->dim, t->dim, codeword);
		stk_dot_wide(scratch, n, codeword, wide, dots);
		for (size_t r = 0; r < n; r++)
			scores[r * t->size + k] = half_norm(t, k) - dots[r];
	}
	return STK_OK;
}
