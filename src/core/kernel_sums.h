/*
 * Sums of rows, for the instruction set of the file that includes this. It defines
 *
 *    TARGET    its function attribute, or nothing
 *    COLUMNS   how many binary64 numbers its registers hold
 *    WIDEN(x)  COLUMNS binary32 numbers from x on, as stk_columns
 *
 * A column's eight lanes are eight registers for COLUMNS columns at a time, from the first row to
 * the last; nothing is written in between.
 */
#include <string.h>

#include "dot.h"

typedef double stk_columns __attribute__((vector_size(COLUMNS * sizeof(double))));

/* Rows fetched ahead, and binary32 numbers of a cache line. */
#define AHEAD 8
#define FETCH 16

/* Rows lie anywhere: ask for whole rows, some rows before their turn. */
static inline __attribute__((always_inline)) TARGET void
fetch_row(const float *row, size_t dim)
{
	for (size_t i = 0; i < dim; i += FETCH)
		__builtin_prefetch(row + i);
}

/* COLUMNS columns from x on; `fetch`, a constant, to fetch the rows ahead, of dim numbers. */
static inline __attribute__((always_inline)) TARGET void
add_columns(const bool fetch, double *to, const float *x, const size_t *rows, size_t n, size_t dim)
{
	stk_columns lane[STK_LANES] = {{0}};
	stk_columns sum;
	size_t j = 0;

	for (; j + STK_LANES <= n; j += STK_LANES)
	{
#pragma GCC unroll 8
		for (size_t l = 0; l < STK_LANES; l++)
		{
			if (fetch && j + l + AHEAD < n)
				fetch_row(x + rows[j + l + AHEAD] * dim, dim);
			lane[l] += WIDEN(x + rows[j + l] * dim);
		}
	}
#pragma GCC unroll 8
	for (size_t l = 0; l < STK_LANES; l++)
	{
		if (j + l < n)
			lane[l] += WIDEN(x + rows[j + l] * dim);
	}
	memcpy(&sum, to, sizeof(sum));
	sum +=
		((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
	memcpy(to, &sum, sizeof(sum));
}

/* stk_reference.add_rows */
TARGET static void
add_rows(double *to, const float *x, const size_t *rows, size_t n, size_t dim)
{
	size_t i = 0;

	for (; i + COLUMNS <= dim; i += COLUMNS)
	{
		if (i == 0)
			add_columns(true, to, x, rows, n, dim);
		else
			add_columns(false, to + i, x + i, rows, n, dim);
	}
	for (; i < dim; i++)
	{
		double lane[STK_LANES] = {0};

		for (size_t j = 0; j < n; j++)
			lane[j % STK_LANES] += x[rows[j] * dim + i];
		to[i] += ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
				 ((lane[1] + lane[5]) + (lane[3] + lane[7]));
	}
}

#undef AHEAD
#undef FETCH
