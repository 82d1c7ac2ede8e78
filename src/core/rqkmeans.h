/*
 * RQ-KMeans: train the codebooks of a residual quantizer level by level with k-means.
 *
 * The same rows and seed give the same codebook bit for bit, whatever order the rows arrive in:
 * rows are sorted by content first (byte order of their binary32 values as numbers), and every
 * random draw comes from Philox with a counter built from (purpose, level, step, index).
 */
#ifndef STK_RQKMEANS_H
#define STK_RQKMEANS_H

#include "alloc.h"
#include "codebook.h"

typedef enum stk_init
{
	STK_INIT_KMEANSPP = 0, /* k-means++ */
	STK_INIT_RANDOM = 1	   /* distinct rows drawn at random */
} stk_init;

typedef struct stk_train_progress
{
	int level;		  /* 0-based */
	int epoch;		  /* 1-based */
	double objective; /* mean squared distance of the residuals of this level, after the epoch */
	uint32_t empty;	  /* codewords that no row chose in this epoch */
} stk_train_progress;

typedef struct stk_rqkmeans_options
{
	stk_metric metric;
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	int dim;
	int epochs;			/* Lloyd iterations, or passes over the rows with mini-batches; >= 1 */
	size_t batch_size;	/* 0 = Lloyd; otherwise mini-batch k-means with persistent counts */
	stk_init init;
	uint64_t seed;
	const stk_monitor *monitor;
	/* called after every epoch of every level; may be NULL */
	void (*progress)(void *ctx, const stk_train_progress *p);
	void *progress_ctx;
} stk_rqkmeans_options;

/*
 * Train.
 *
 *   x          [n][dim]  finite; sorted in place and overwritten with residuals
 *   codewords  [ΣK][dim] out, level by level (the stored form's order)
 *   counts     [ΣK]      out, rows (mini-batch: rows over all epochs) behind each codeword; may be NULL
 *
 * Fewer distinct rows than codewords is allowed: spare codewords repeat rows and stay dead.
 * Returns STK_EINVAL (no rows, a row not finite, a zero row under cosine), STK_ENOMEM,
 * STK_ECANCELED. Needs about n*(dim+levels)*4 bytes beside x.
 */
extern stk_status stk_rqkmeans_train(const stk_rqkmeans_options *opt, const stk_allocator *a,
									 float *x, size_t n, float *codewords, double *counts,
									 stk_error *err);

#endif
