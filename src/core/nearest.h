/*
 * The nearest codeword, exactly: score s_k = h_k - dot(x, c_k) in binary64, h_k half the squared
 * norm of c_k (inner product: s_k = -dot(x, c_k)); the lowest score wins, the lowest code among
 * equals. -0 and +0 are equal.
 *
 * A filter in fast arithmetic leaves the few codewords that can win; the reference decides between
 * them. The code is the reference's whatever the processor, filter, batch or threads.
 */
#ifndef STK_NEAREST_H
#define STK_NEAREST_H

#include "pack.h"

/* Rows of stk_all_scores. */
#define STK_NEAREST_ROWS 16
/* Codewords scored between two looks at the monitor. */
#define STK_NEAREST_CODES 512

/* How the rows were decided; add up over calls. */
typedef struct stk_nearest_stats
{
	uint64_t rows;
	uint64_t undecided;  /* rows of which the filter left more than one codeword */
	uint64_t candidates; /* codewords scored by the reference for those rows */
	uint64_t reference;  /* rows that the filter proved nothing about */
} stk_nearest_stats;

extern void stk_nearest_stats_add(stk_nearest_stats *to, const stk_nearest_stats *from);

/* Bytes of scratch that stk_nearest needs for up to n rows at a time. */
extern size_t stk_nearest_scratch(const stk_pack *p, size_t n);

/*
 * Nearest codeword of each row, in this thread and the caller's floating-point environment.
 *
 *   scratch           stk_nearest_scratch(p, n) bytes, not cleared
 *   x        [n][dim] finite
 *   codes    [n]      out
 *   scores   [n]      out, the winners' reference scores; may be NULL
 *   stats             added to; may be NULL
 *
 * STK_ECANCELED when the monitor says so; nothing else fails.
 */
extern stk_status stk_nearest(const stk_pack *p, void *scratch, const float *x, size_t n,
							  uint16_t *codes, double *scores, stk_nearest_stats *stats,
							  const stk_monitor *monitor);

/*
 * The same, and others [n] out: no codeword but the row's winner has a lower reference score than
 * this. -INFINITY where nothing is known. scores are wanted too.
 */
extern stk_status stk_nearest_and_others(const stk_pack *p, void *scratch, const float *x, size_t n,
										 uint16_t *codes, double *scores, double *others,
										 stk_nearest_stats *stats, const stk_monitor *monitor);

/* stk_nearest on the pool's threads. STK_ENOMEM, STK_ECANCELED. */
extern stk_status stk_nearest_rows(const stk_exec *exec, const stk_pack *p, const float *x,
								   size_t n, uint16_t *codes, double *scores,
								   stk_nearest_stats *stats);

/*
 * All reference scores of up to STK_NEAREST_ROWS rows.
 *
 *   scratch [n + 1][stk_wide_dim(dim)]
 *   x       [n][dim]
 *   scores  [n][size]  out
 *
 * STK_ECANCELED when the monitor says so; nothing else fails.
 */
extern stk_status stk_all_scores(const stk_pack *p, double *scratch, const float *x, size_t n,
								 double *scores, const stk_monitor *monitor);

#endif
