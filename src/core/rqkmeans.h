/*
 * RQ-KMeans: train the codebooks of a residual quantizer level by level with k-means.
 *
 * The same rows and seed give the same codebook bit for bit, whatever order the rows arrive in:
 * rows are sorted by content first (byte order of their binary32 values as numbers), and every
 * random draw comes from Philox with a counter built from (purpose, level, step, index).
 */
#ifndef STK_RQKMEANS_H
#define STK_RQKMEANS_H

#include "kmeans.h"
#include "train_rows.h"

typedef struct stk_rqkmeans_options
{
	stk_metric metric;
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	int dim;
	int epochs;        /* Lloyd iterations, or passes over the rows with mini-batches; >= 1 */
	size_t batch_size; /* 0 = Lloyd; otherwise mini-batch k-means with persistent counts */
	stk_init init;
	uint64_t seed;
	stk_empty empty; /* Lloyd: what becomes of a codeword that no row chose */
	double balance;  /* 0 = off, else >= 1: at most ceil(balance * n / K) rows a code in every
					  * assignment of training; Lloyd only */
	bool resume;     /* codewords and counts come in as an earlier training left them, and
					  * mini-batches go on from there */
	int look_every;  /* progress reads the codewords after every so many epochs of a level only, and
					  * after its last; 0: after each. In between they may be of another epoch */
	/* called after every epoch of every level; may be NULL */
	void (*progress)(void *ctx, const stk_train_progress *p);
	void *progress_ctx;
} stk_rqkmeans_options;

/*
 * Train.
 *
 *   x          [n][dim]  finite; sorted in place, and may be overwritten with residuals
 *   codewords  [ΣK][dim] out, level by level (the stored form's order); in too with resume
 *   counts     [ΣK]      out, rows (mini-batch: rows over all epochs) behind each codeword; may
 *                        be NULL; in too with resume, and then not NULL
 *
 * Lloyd trains a level to the end, then the next on its residuals; it stops early once nothing
 * moves. With mini-batches every batch passes through all levels: a level first learns from the
 * batch, then hands on the residuals of its codewords as they are now. The first batch also gives
 * the initial codewords, unless codewords and counts came in: resuming on new rows is partial_fit.
 *
 * balance caps the rows of a code while training, so the codewords come to lie where rows spread
 * over more of them; encoding afterwards is plain nearest, and knows no cap.
 *
 * Fewer distinct rows than codewords is allowed: spare codewords repeat rows and stay dead. With
 * the cosine metric rows are normalised, and the first level's codewords too.
 *
 * Returns STK_EINVAL (no rows, a shape beyond the limits, options that contradict each other, a row
 * not finite, a zero row under cosine), STK_ERANGE (a residual left binary32's range; err->level is
 * the level that would have quantized it), STK_ENOMEM, STK_ECANCELED. err->row is the row's place
 * in x as given. Needs beside x: 48 bytes a row and a copy of a mini-batch; k-means|| also its
 * candidates, about ten times the largest level; balance as stk_kmeans_balance says.
 */
extern stk_status stk_rqkmeans_train(const stk_rqkmeans_options *opt, const stk_exec *exec,
									 float *x, size_t n, float *codewords, double *counts,
									 stk_error *err);

#endif
