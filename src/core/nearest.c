#include "nearest.h"

stk_status
stk_nearest_work_init(stk_nearest_work *w, size_t dim, const stk_allocator *a)
{
	size_t wide = stk_wide_dim(dim);

	w->rows = stk_alloc_array(a, (STK_NEAREST_ROWS + 1) * wide, sizeof(double));
	w->scores = stk_alloc_array(a, STK_NEAREST_CODES * STK_NEAREST_ROWS, sizeof(double));
	if (!w->rows || !w->scores)
	{
		stk_nearest_work_free(w, a);
		return STK_ENOMEM;
	}
	w->codeword = w->rows + STK_NEAREST_ROWS * wide;
	return STK_OK;
}

void
stk_nearest_work_free(stk_nearest_work *w, const stk_allocator *a)
{
	stk_free(a, w->rows);
	stk_free(a, w->scores);
	w->rows = NULL;
	w->scores = NULL;
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

static void
widen_rows(stk_nearest_work *w, const float *x, size_t n, size_t dim)
{
	size_t wide = stk_wide_dim(dim);

	for (size_t r = 0; r < n; r++)
		stk_widen(x + r * dim, dim, w->rows + r * wide);
}

/*
 * Scores of n rows against codes first .. last - 1: scores[code - first][row], rows of
 * STK_NEAREST_ROWS. x holds the rows of w as they came: a lone row is not worth widening each
 * codeword for.
 */
static void
score_codes(const stk_nearest_table *t, stk_nearest_work *w, const float *x, size_t n,
			uint32_t first, uint32_t last)
{
	size_t wide = stk_wide_dim(t->dim);

	for (uint32_t k = first; k < last; k++)
	{
		const float *c = t->codewords + (size_t) k * t->dim;
		double half = t->half ? t->half[k] : 0;
		double *s = w->scores + (size_t) (k - first) * STK_NEAREST_ROWS;

		if (n == 1)
			s[0] = stk_dot(x, c, t->dim);
		else
		{
			stk_widen(c, t->dim, w->codeword);
			stk_dot_wide(w->rows, n, w->codeword, wide, s);
		}
		for (size_t r = 0; r < n; r++)
			s[r] = half - s[r];
	}
}

static uint32_t
next_stop(const stk_nearest_table *t, uint32_t first)
{
	return t->size - first < STK_NEAREST_CODES ? t->size : first + STK_NEAREST_CODES;
}

/* stk_nearest for up to STK_NEAREST_ROWS rows. */
static stk_status
nearest_block(const stk_nearest_table *t, stk_nearest_work *w, const float *x, size_t n,
			  uint16_t *codes, double *scores, const stk_monitor *monitor)
{
	double best[STK_NEAREST_ROWS];

	if (n > 1)
		widen_rows(w, x, n, t->dim);
	for (uint32_t first = 0; first < t->size;)
	{
		uint32_t last = next_stop(t, first);

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		score_codes(t, w, x, n, first, last);
		for (uint32_t k = first; k < last; k++)
		{
			const double *s = w->scores + (size_t) (k - first) * STK_NEAREST_ROWS;

			for (size_t r = 0; r < n; r++)
			{
				if (k == 0 || s[r] < best[r])
				{
					best[r] = s[r];
					codes[r] = (uint16_t) k;
				}
			}
		}
		first = last;
	}
	if (scores)
	{
		for (size_t r = 0; r < n; r++)
			scores[r] = best[r];
	}
	return STK_OK;
}

stk_status
stk_nearest(const stk_nearest_table *t, stk_nearest_work *w, const float *x, size_t n,
			uint16_t *codes, double *scores, const stk_monitor *monitor)
{
	for (size_t row = 0; row < n; row += STK_NEAREST_ROWS)
	{
		size_t rows = n - row < STK_NEAREST_ROWS ? n - row : STK_NEAREST_ROWS;
		stk_status status = nearest_block(t, w, x + row * t->dim, rows, codes + row,
										  scores ? scores + row : NULL, monitor);

		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

stk_status
stk_all_scores(const stk_nearest_table *t, stk_nearest_work *w, const float *x, size_t n,
			   double *scores, const stk_monitor *monitor)
{
	if (n > 1)
		widen_rows(w, x, n, t->dim);
	for (uint32_t first = 0; first < t->size;)
	{
		uint32_t last = next_stop(t, first);

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		score_codes(t, w, x, n, first, last);
		for (uint32_t k = first; k < last; k++)
		{
			for (size_t r = 0; r < n; r++)
				scores[r * t->size + k] = w->scores[(size_t) (k - first) * STK_NEAREST_ROWS + r];
		}
		first = last;
	}
	return STK_OK;
}
