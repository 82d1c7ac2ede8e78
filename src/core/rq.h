/*
 * Residual quantization: encode, decode, beam encode.
 *
 * Exact by the reference rule of the numerics guide, on any machine: scores in binary64 with
 * eight lanes, lowest code among equals, residuals in binary32 rounded step by step.
 * Chen et al. 2010, "Approximate nearest neighbor search by residual vector quantization".
 */
#ifndef STK_RQ_H
#define STK_RQ_H

#include "codebook.h"
#include "exec.h"
#include "nearest.h"

/* A codebook made ready to encode: every level packed for the filter of one processor. */
typedef struct stk_rq stk_rq;

/*
 * Prepare cb, whose floats must outlive the result, as exec->cpu must. Free with stk_rq_free.
 * Returns STK_ENOMEM, STK_ECANCELED, or STK_EINVAL when a codeword is not finite.
 */
extern stk_status stk_rq_create(const stk_codebook *cb, const stk_exec *exec, stk_filter filter,
								stk_rq **out, stk_error *err);
extern void stk_rq_free(stk_rq *rq);
extern const stk_codebook *stk_rq_codebook(const stk_rq *rq);
/* One level as packed for greedy encoding. */
extern const stk_pack *stk_rq_pack(const stk_rq *rq, int level);
/*
 * Make encoding with a beam fast: pack the codewords for it and tabulate dot products between
 * levels, once (about (ΣK)^2 / 2 numbers; codebooks for which that is more than 64 MB do without,
 * as they do under STK_FILTER_NONE). Never needed, and changes no code. Not while others use rq.
 * STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_rq_prepare_beam(stk_rq *rq, const stk_exec *exec);
/* Bytes that the result holds beside the codebook's floats. */
extern size_t stk_rq_bytes(const stk_rq *rq);

/*
 * Encode rows greedily, or with a beam. Those of a codebook with a network go through its encoder
 * first.
 *
 *   x      [n][inputs]  embeddings, finite
 *   beam   1 = greedy, by definition; w > 1 keeps the w best prefixes a level, key
 *          d_parent + 2 s in binary64, ties by s, then by code sequence
 *   codes  [n][levels]  out
 *   stats  added to: one row for each level; may be NULL
 *
 * Returns STK_EINVAL (not finite, or a zero vector under cosine), STK_ERANGE (a residual left
 * binary32's range), STK_ENOMEM, STK_ECANCELED; err->row and err->level name the place, the
 * first row's when there are several. The same codes whatever exec->pool's threads.
 */
extern stk_status stk_rq_encode(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n,
								int beam, uint16_t *codes, stk_nearest_stats *stats,
								stk_error *err);

/*
 * The best ids of one row by a beam search, best first.
 *
 *   x      [inputs]        finite
 *   beam   prefixes kept at every level but the last, >= 1
 *   keep   ids wanted, >= 1
 *   codes  [keep][levels]  out; the first is what stk_rq_encode finds with this beam
 *   keys   [keep]          out, what they are ranked by: under l2 and cosine the squared distance
 *                          to the row, up to rounding (it may fall below 0); the inner product
 *                          leaves out the ids' own length: d_0 - 2 (sum of dot products)
 *   found  out: fewer than keep when the beam has no more
 *
 * Errors as stk_rq_encode, of any prefix that is kept. Time grows with beam * size * dim * levels.
 */
extern stk_status stk_rq_encode_best(const stk_rq *rq, const stk_exec *exec, const float *x,
									 int beam, size_t keep, uint16_t *codes, double *keys,
									 size_t *found, stk_error *err);

/* What one level of greedy encoding did. */
typedef struct stk_rq_step
{
	uint16_t code;
	double distance;      /* d + 2 s, at least 0: squared, of the residual to the codeword; inner
						   * product: s, the negative dot product */
	double residual_norm; /* length of what the level leaves; infinite beyond binary32 */
	bool has_second;
	uint16_t second; /* the next best code, the lowest among equals */
	double margin;   /* by how much it is worse, in the units of distance: >= 0 */
} stk_rq_step;

/*
 * Encode one row greedily and tell how. The same bits on every machine.
 *
 *   x      [inputs]  finite
 *   steps  [levels]  out; distances are between latent vectors where there is a network
 *
 * Errors as stk_rq_encode.
 */
extern stk_status stk_rq_trace(const stk_rq *rq, const stk_exec *exec, const float *x,
							   stk_rq_step *steps, stk_error *err);

/*
 * Sum the codewords of one id in level order, in binary32.
 *
 *   codes  [levels]  levels <= the codebook's; fewer levels give a coarser reconstruction
 *   x      [dim]     out
 *
 * Returns STK_EINVAL when a code is not in the codebook, STK_ERANGE on overflow.
 */
extern stk_status stk_rq_decode(const stk_codebook *cb, const uint16_t *codes, int levels, float *x,
								stk_error *err);

/*
 * The embedding that an id stands for: the same sum, through the decoder of a codebook that has a
 * network.
 *
 *   codes  [levels]
 *   x      [inputs]  out
 *
 * Errors as stk_rq_decode, STK_ERANGE also of the network, STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_rq_reconstruct(const stk_codebook *cb, const stk_exec *exec,
									 const uint16_t *codes, int levels, float *x, stk_error *err);

/*
 * What the codebook measures against under its metric: a copy of x, normalised when the metric
 * is cosine. x [dim] is a latent vector where there is a network. out may be x. Returns STK_EINVAL
 * when a value is not finite or a zero vector cannot be normalised.
 */
extern stk_status stk_rq_prepare_row(const stk_codebook *cb, const float *x, float *out,
									 stk_error *err);

#endif
