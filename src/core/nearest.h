/*
 * The nearest codeword, exactly: score s_k = h_k - dot(x, c_k) in binary64, h_k half the squared
 * norm of c_k (inner product: s_k = -dot(x, c_k)); the lowest score wins, the lowest code among
 * equals. -0 and +0 are equal.
 */
#ifndef STK_NEAREST_H
#define STK_NEAREST_H

#include <stdint.h>

#include "alloc.h"
#include "dot.h"
#include "status.h"

/* Rows scored together: they stay in the first cache levels. */
#define STK_NEAREST_ROWS 16
/* Codewords scored between two looks at the monitor. */
#define STK_NEAREST_CODES 64

/* The codewords to choose from. */
typedef struct stk_nearest_table
{
	const float *codewords; /* [size][dim], finite */
	const double *half;     /* [size] half squared norms */
	uint32_t size;
	size_t dim;
	double norm;        /* the largest codeword norm, from stk_largest_norm */
	bool inner_product; /* scores leave the half norms out */
} stk_nearest_table;

/* Half squared norms of size codewords: half [size]. */
extern void stk_half_norms(const float *codewords, uint32_t size, size_t dim, double *half);
/* The largest norm among codewords with these half squared norms, half [size]. */
extern double stk_largest_norm(const double *half, uint32_t size);

/*
 * Nearest codeword of each row.
 *
 *   scratch [STK_NEAREST_ROWS][size], or [n][size] for fewer rows
 *   x       [n][dim]  finite
 *   codes   [n]       out
 *   scores  [n]       out, the winners' scores; may be NULL
 *
 * STK_ECANCELED when the monitor says so; nothing else fails.
 */
extern stk_status stk_nearest(const stk_nearest_table *t, float *scratch, const float *x, size_t n,
							  uint16_t *codes, double *scores, const stk_monitor *monitor);

/*
 * All scores of up to STK_NEAREST_ROWS rows.
 *
 *   scratch [n + 1][stk_wide_dim(dim)]
 *   x       [n][dim]
 *   scores  [n][size]  out
 *
 * STK_ECANCELED when the monitor says so; nothing else fails.
 */
extern stk_status stk_all_scores(const stk_nearest_table *t, double *scratch, const float *x,
								 size_t n, double *scores, const stk_monitor *monitor);

#endif
