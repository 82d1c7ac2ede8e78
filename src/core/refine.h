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
	int beam;      /* width of the encodings, >= 1: what rows will be encoded with later */
	int rounds;    /* refits, >= 1; the more, the better the codebooks */
	uint64_t seed; /* of the noise */
	/*
	 * Called after each of rounds + 2 encodings, epoch 0, 1, ..., with level -1: objective is the
	 * mean squared distance of the rows from what the codewords before the refit make of their
	 * codes, empty the number of codewords that no row has. The first and last encodings are those
	 * of the codewords that come in and go out; those between are of noisy ones. Only the first
	 * where its objective is 0. May be NULL.
	 */
	void (*progress)(void *ctx, const stk_train_progress *p);
	void *progress_ctx;
} stk_refine_options;

/*
 * Refine.
 *
 *   cb                   metric, levels, sizes and dim; its codewords are not looked at
 *   x          [n][dim]  rows as for training, in any order: the result does not depend on it
 *   codewords  [ΣK][dim] in: as trained; out: refined, or as they were if that turned out no
 *                        better by mean squared distance when encoded with opt->beam
 *   counts     [ΣK]      out, rows that have each code in that encoding; may be NULL
 *
 * With the cosine metric rows are normalised, and the first level's codewords stay so. Codewords
 * that no row chooses in any round stay as they are. The same on every machine and for any number
 * of threads.
 *
 * All rounds are run, unless the codewords that come in reproduce every row exactly: no end at
 * convergence would come sooner at the same error. The noise falls to nothing with the last round,
 * and until then every round is of use. On 12,101 x 384 text embeddings, 3 x 256 codewords, beam 5,
 * after 5 iterations from k-means||, two seeds:
 *
 *    rounds, of them without noise    10: 1          2        3     20: 1          3        5
 *    error, first seed               0.21396  0.21425  0.21481     0.21077  0.21155  0.21198
 *    second seed                     0.21442  0.21488  0.21520     0.21135  0.21182  0.21229
 *
 * Codes stand still only 6 rounds after the noise has gone, and those lower 0.21077 to 0.21076.
 *
 * Returns STK_EINVAL (the inner product, which no distance measures; bad options; no rows; a row
 * not finite, or zero under cosine: err->row), STK_ERANGE (a residual: err->row and level; or the
 * codewords, too large: err->row is as it was), STK_ENOMEM, STK_ECANCELED; codewords are then as
 * they came. Needs, beside x, its size again, 48 bytes a row and about 8 ΣK (ΣK + 2 dim) bytes; a
 * round takes an encoding, (ΣK)^3 / 3 + 2 dim (ΣK)^2 multiplications.
 */
extern stk_status stk_refine(const stk_refine_options *opt, const stk_exec *exec,
							 const stk_codebook *cb, const float *x, size_t n, float *codewords,
							 double *counts, stk_error *err);

#endif
