/*
 * Refinement: from codebooks that were trained one level after the other to codebooks that are
 * good together. Two steps take turns: encode every row with a beam, then refit all codewords
 * jointly, by least squares, given the codes.
 *
 * Babenko and Lempitsky 2014, "Additive quantization for extreme vector compression"; Liu, Lu and
 * Yang 2015, "Improved residual vector quantization for high-dimensional approximate nearest
 * neighbor search".
 */
#ifndef STK_REFINE_H
#define STK_REFINE_H

#include "train_rows.h"

typedef struct stk_refine_options
{
	int beam;      /* width of the encodings, >= 1; what rows will be encoded with later */
	int rounds;    /* refits at most, >= 1 */
	uint64_t seed; /* of what is drawn at random */
	/*
	 * Called after the first encoding (epoch 0) and after every round's (epoch 1, ...) with
	 * level -1: objective is the mean squared distance of the rows from their reconstructions,
	 * empty counts the codewords of all levels that no row has. May be NULL.
	 */
	void (*progress)(void *ctx, const stk_train_progress *p);
	void *progress_ctx;
} stk_refine_options;

/*
 * Refine.
 *
 *   cb                   metric, levels, sizes and dim; its codewords are not looked at
 *   x          [n][dim]  rows as for training, in any order: the result does not depend on it
 *   codewords  [ΣK][dim] in: as trained greedily; out: the best found, by mean squared distance
 *                        when encoded with opt->beam, so never worse than what came in
 *   counts     [ΣK]      out, rows that have each code in that encoding; may be NULL
 *
 * Stops when a round finds nothing better. Codewords that no row has stay as they are.
 *
 * Returns STK_EINVAL (the inner product, which no distance measures; bad options; no rows; a row
 * not finite, or zero under cosine: err->row), STK_ERANGE (numbers too large), STK_ENOMEM,
 * STK_ECANCELED; codewords are then as they came.
 */
extern stk_status stk_refine(const stk_refine_options *opt, const stk_exec *exec,
							 const stk_codebook *cb, const float *x, size_t n, float *codewords,
							 double *counts, stk_error *err);

#endif
