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

/* Rows scored together: their binary64 copies stay in the first cache levels. */
#define STK_NEAREST_ROWS 16
/* Codewords scored between two looks at the monitor. */
#define STK_NEAREST_CODES 64

/* The codewords to choose from. */
typedef struct stk_nearest_table
{
	const float *codewords; /* [size][dim], finite */
	const double *half;     /* [size] half squared norms; NULL for inner product */
	uint32_t size;
	size_t dim;
} stk_nearest_table;

/* Scratch for rows of one dimension, kept over many calls. */
typedef struct stk_nearest_work
{
	double *rows;     /* [STK_NEAREST_ROWS][wide dim] */
	double *codeword; /* [wide dim] */
	double *scores;   /* [STK_NEAREST_CODES][STK_NEAREST_ROWS] */
} stk_nearest_work;

extern stk_status stk_nearest_work_init(stk_nearest_work *w, size_t dim, const stk_allocator *a);
extern void stk_nearest_work_free(stk_nearest_work *w, const stk_allocator *a);

/* Half squared norms of size codewords: half [size]. */
extern void stk_half_norms(const float *codewords, uint32_t size, size_t dim, double *half);

/*
 * Nearest codeword of each row.
 *
 *   x      [n][dim]  finite
 *   codes  [n]       out
 *   scores [n]       out, the winners' scores; may be NULL
 *
 * STK_ECANCELED when the monitor says so; nothing else fails.
 */
extern stk_status stk_nearest(const stk_nearest_table *t, stk_nearest_work *w, const float *x,
							  size_t n, uint16_t *codes, double *scores,
							  const stk_monitor *monitor);

/*
 * All scores of up to STK_NEAREST_ROWS rows.
 *
 *   x       [n][dim]
 *   scores  [n][size]  out
 */
extern stk_status stk_all_scores(const stk_nearest_table *t, stk_nearest_work *w, const float *x,
								 size_t n, double *scores, const stk_monitor *monitor);

#endif
