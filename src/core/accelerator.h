/*
 * Steps of a training that another device may compute, with core's bits.
 *
 * Core stays in charge: it keeps the rows in the processor's memory, too, and the device has a copy
 * of them. Each step is one of its own functions; where the device does not know a step, or fails
 * at it, the processor computes it from what it has, and nobody can tell by the result.
 *
 * Every function may be NULL. Those that return a status return STK_OK, STK_ECANCELED where the
 * monitor said so, STK_ENOMEM where the device has no room, and STK_EIO once it is of no use any
 * more; but for STK_OK what they were to give is as it was, unless they say otherwise. They are
 * called from one thread at a time, and whoever made the accelerator says what went wrong to people.
 */
#ifndef STK_ACCELERATOR_H
#define STK_ACCELERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "codebook.h"
#include "pool.h"
#include "status.h"

/* Rows on the device, and a codebook ready to encode there; its own. */
typedef struct stk_accelerator_rows stk_accelerator_rows;
typedef struct stk_accelerator_codebook stk_accelerator_codebook;

/* Centroids as a step gets them. */
typedef struct stk_accelerator_centroids
{
	const float *centroids; /* [size][dim] */
	uint32_t size;
	bool inner_product; /* scores leave the half norms out */
} stk_accelerator_centroids;

/*
 * Lloyd's iterations: assign the rows to the centroids that came in; then up to `epochs` times move
 * each centroid to the mean of its rows (stk_kmeans_update) and assign again. A centroid without
 * rows stays. The run ends early with an update that changes nothing, and where until_empty with
 * an assignment that leaves a centroid without rows.
 */
typedef struct stk_accelerator_lloyd
{
	float *centroids; /* [size][dim] in and out */
	uint32_t size;
	bool inner_product; /* a row belongs to the centroid with the largest dot product */
	bool unit;          /* centroids are kept at norm 1 */
	bool until_empty;
	int epochs; /* >= 0 */
	/*
	 * Said of every assignment but the last, in order and as soon as may be, in the thread that
	 * called: its number, 0 for the first; the sum of squared distances; centroids without rows.
	 */
	void (*report)(void *ctx, int number, double error, uint32_t empty);
	void *report_ctx;

	/* Out: */
	uint16_t *codes; /* [n] of the last assignment; anything where the run fails */
	double *scores;  /* [n] and theirs; the same */
	int updates;     /* of so many */
	bool changed;    /* the last of them changed a centroid; true when there was none */
	double error;    /* of the last assignment */
	uint32_t empty;
} stk_accelerator_lloyd;

/* One level of a codebook that learns from batches; all in and out. */
typedef struct stk_accelerator_level
{
	uint32_t size;
	float *codewords; /* [size][dim] */
	double *counts;   /* [size] rows behind each codeword, or their average */
	double *sums;     /* [size][dim] moving averages: of the rows */
	uint32_t *idle;   /* [size] moving averages: batches since a row last chose the code */
	uint8_t *used;    /* [size] set to 1 for codes that rows have */
	double error;     /* added to batch by batch: the sum of squared distances */
} stk_accelerator_level;

/*
 * Batches of the rows, one after the other, each through all levels. k-means' mini-batches: a level
 * assigns its rows, learns from them (stk_kmeans_add_batch), assigns them again, and hands on what
 * its codewords leave of them. Moving averages: a level assigns its rows, hands on what its
 * codewords leave of them, and learns (stk_ema_update). used and error are about the last of a
 * batch's assignments to a level.
 */
typedef struct stk_accelerator_batches
{
	const size_t
		*places; /* [n] where the rows of the batches are among all, each batch's in order */
	size_t n;    /* of all batches */
	size_t size; /* of each; the last may have fewer */
	int nlevels;
	stk_accelerator_level *levels; /* [nlevels] */
	bool inner_product;
	bool unit; /* the first level's codewords are kept at norm 1 */

	/* Moving averages, and their rule as in stk_ema_rule: */
	bool averages;
	double decay;
	uint32_t restart_after;
	uint64_t seed;
	uint32_t step; /* of the first batch */
} stk_accelerator_batches;

/* Rows that are encoded and measured, as by stk_rq_encode and stk_evaluator_add. */
typedef struct stk_accelerator_evaluation
{
	const float *x;       /* [n][dim] here */
	size_t n;             /* whole chunks, STK_SUM_CHUNK rows each */
	const stk_pool *pool; /* whose threads may copy them; NULL: the calling one */

	/* Out: */
	uint16_t *codes; /* [n][levels] */
	double *sums;    /* [chunks][levels + 1] of squared norms, of squared distances by level */
} stk_accelerator_evaluation;

/* The normal equations of least_squares.h. */
typedef struct stk_accelerator_normal
{
	const float *codewords; /* [ΣK][dim] */
	const uint16_t *codes;  /* [n][levels] of the rows */
	int levels;
	const uint32_t *sizes; /* [levels] */

	/* Out: */
	double *right; /* [ΣK][dim], rows right_stride numbers apart: A'(X - A C) */
	size_t right_stride;
	uint32_t *pairs; /* [ΣK][ΣK], rows pairs_stride numbers apart: A'A, and zeros below it */
	size_t pairs_stride;
	double *squares; /* [dim] of X - A C, added up by chunks of rows */
} stk_accelerator_normal;

typedef struct stk_accelerator_ops
{
	/* Copy rows x [n][dim], finite, to the device. */
	stk_status (*rows_create)(void *ctx, const float *x, size_t n, size_t dim,
							  const stk_monitor *monitor, stk_accelerator_rows **out);
	void (*rows_free)(void *ctx, stk_accelerator_rows *rows);

	/* norms [n] out: the rows' squared norms, by the reference. */
	stk_status (*measure)(void *ctx, stk_accelerator_rows *rows, double *norms,
						  const stk_monitor *monitor);
	/* The nearest centroid of each row: codes [n] and reference scores [n] out. */
	stk_status (*nearest)(void *ctx, stk_accelerator_rows *rows, const stk_accelerator_centroids *c,
						  uint16_t *codes, double *scores, const stk_monitor *monitor);
	stk_status (*lloyd)(void *ctx, stk_accelerator_rows *rows, stk_accelerator_lloyd *run,
						const stk_monitor *monitor);
	/* Take from each row, in binary32, the centroid that codes [n] name: all stay finite. */
	stk_status (*subtract)(void *ctx, stk_accelerator_rows *rows,
						   const stk_accelerator_centroids *c, const uint16_t *codes,
						   const stk_monitor *monitor);
	/* The rows stay as they are. STK_ERANGE, too: a residual left binary32's range. */
	stk_status (*batches)(void *ctx, stk_accelerator_rows *rows, stk_accelerator_batches *run,
						  const stk_monitor *monitor);

	/*
	 * Make a codebook ready to encode with a beam of this width; cb's floats outlive it. STK_ENOMEM,
	 * too, where the device takes no such beam.
	 */
	stk_status (*codebook_create)(void *ctx, const stk_codebook *cb, int beam,
								  stk_accelerator_codebook **out);
	void (*codebook_free)(void *ctx, stk_accelerator_codebook *cb);
	/* codes [n][levels] of the rows, which are finite. STK_ERANGE, too, as of batches. */
	stk_status (*encode)(void *ctx, stk_accelerator_rows *rows, const stk_accelerator_codebook *cb,
						 uint16_t *codes, const stk_monitor *monitor);
	/* STK_ERANGE, too: some row is at fault. Where it fails the arrays hold anything. */
	stk_status (*evaluate)(void *ctx, const stk_accelerator_codebook *cb,
						   stk_accelerator_evaluation *run, const stk_monitor *monitor);
	/* Where it fails the arrays hold anything. */
	stk_status (*normal)(void *ctx, stk_accelerator_rows *rows, stk_accelerator_normal *run,
						 const stk_monitor *monitor);

	/* Steps of an RQ-VAE (rqvae.h), which agree with the processor's to tolerance only. */
	const struct stk_rqvae_device_ops *rqvae;
} stk_accelerator_ops;

typedef struct stk_accelerator
{
	const stk_accelerator_ops *ops;
	void *ctx;
} stk_accelerator;

#endif
