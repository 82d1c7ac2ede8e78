/*
 * What every trainer does with its rows: check and normalise them, put them in an order of their
 * own, draw batches, and hand residuals on to the next level. The same rows come out in the same
 * places whatever order they arrive in and however many threads there are.
 *
 * Callers have entered core's floating-point environment.
 */
#ifndef STK_TRAIN_ROWS_H
#define STK_TRAIN_ROWS_H

#include "codebook.h"
#include "exec.h"

typedef struct stk_train_progress
{
	int level;        /* 0-based */
	int epoch;        /* 1-based */
	double objective; /* mean squared distance of the residuals of this level, after the epoch */
	uint32_t empty;   /* codewords that no row chose in this epoch */
	/* [ΣK][dim], level by level, as they are during the call; those of levels 0 .. trained - 1 */
	const float *codewords;
	int trained;
} stk_train_progress;

/*
 * Check rows x [n][dim] and bring them, in place, into the form the metric measures: norm 1 for
 * cosine. STK_EINVAL (NaN, infinity, or a zero row under cosine; err->row is the first such),
 * STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_train_rows_prepare(const stk_exec *exec, stk_metric metric, float *x,
										 size_t n, size_t dim, stk_error *err);

/*
 * Sort rows x [n][dim] in place by content: first value first, as numbers, -0 before +0. from [n]
 * gets the place that each row came from, for errors that name a row. Needs 40 bytes a row.
 * STK_ENOMEM, STK_ECANCELED (then x holds the rows in no particular order).
 */
extern stk_status stk_train_rows_sort(const stk_exec *exec, float *x, size_t n, size_t dim,
									  size_t *from);

/*
 * What their codewords leave of rows x [n][dim]: x_i - codewords[codes[i]], in binary32.
 *
 *   codewords  [K][dim]  of `level`, 0-based
 *   codes      [n]
 *   residuals  [n][dim]  out, may be x
 *
 * STK_ERANGE when a residual leaves binary32's range (err->level is the level that would have
 * quantized it), STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_train_rows_subtract(const stk_exec *exec, const float *x, size_t n,
										  size_t dim, const float *codewords, const uint16_t *codes,
										  int level, float *residuals, stk_error *err);

/* Mini-batches of n rows: each epoch passes over all of them once, in an order of its own. */
typedef struct stk_batches
{
	size_t n;
	size_t size;   /* rows of a batch; the last of an epoch may have fewer */
	size_t next;   /* rows of this epoch drawn so far */
	size_t *order; /* [n] places in x, batch by batch */
	/* An accelerator's copy of all rows; NULL: it has none. */
	const stk_accelerator *accelerator;
	stk_accelerator_rows *there;
} stk_batches;

/* STK_ENOMEM; free with stk_batches_free. */
extern stk_status stk_batches_init(stk_batches *b, const stk_exec *exec, size_t n, size_t size);
extern void stk_batches_free(stk_batches *b, const stk_exec *exec);

/* Begin an epoch, 1-based: its order depends on nothing but seed, epoch and n. */
extern void stk_batches_begin(stk_batches *b, uint64_t seed, int epoch);

/* Put the places of every batch that is yet to come in order. STK_ENOMEM, STK_ECANCELED. */
extern stk_status stk_batches_order(stk_batches *b, const stk_exec *exec);

/*
 * Copy the next batch out of x [n][dim].
 *
 *   rows   [size][dim]  out, in the order they have in x
 *   count               out, rows of the batch; 0 when the epoch is over
 *
 * STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_batches_next(stk_batches *b, const stk_exec *exec, const float *x, size_t dim,
								   float *rows, size_t *count);

/*
 * Let the accelerator, where there is one, take the rest of the epoch: run says what a batch does,
 * this fills in which rows it has. *done tells whether the accelerator did: if not, nothing has
 * changed, and exec has no accelerator any more if that is of no use. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_batches_rest_there(stk_batches *b, stk_exec *exec, const float *x, size_t dim,
										 stk_accelerator_batches *run, bool *done);

/* Place in x of row `row` of the latest batch, which had `count` rows. */
extern size_t stk_batches_place(const stk_batches *b, size_t count, size_t row);

#endif
