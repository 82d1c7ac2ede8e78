/*
 * Codebooks that follow their rows by exponential moving averages, batch by batch.
 *
 * A codeword is a quotient of two averages: of how many rows chose it, and of their sum. For a
 * code that n rows of the batch chose,
 *
 *    N <- decay * N + (1 - decay) * n
 *    S <- decay * S + (1 - decay) * (sum of the rows)
 *    codeword = S / max(N, 1e-5)
 *
 * in binary64, every product and sum rounded, the codeword rounded to binary32 at the end; a code
 * that no row chose keeps all three, bit for bit. N and S start at 0, so the first batch that hits
 * a code makes it the mean of that batch's rows.
 *
 * A code idle for restart_after batches in a row, this one included, becomes a random row of the
 * batch, and its N and S are 0 again.
 *
 * The same bits whatever the machine or the number of threads: sums have the shape of
 * member_sums.h, draws come from Philox. Van den Oord et al. 2017, "Neural discrete representation
 * learning", appendix A.
 */
#ifndef STK_EMA_H
#define STK_EMA_H

#include "codebook.h"
#include "exec.h"
#include "kmeans.h"
#include "rqkmeans.h"

/* One codebook and what its averages remember. */
typedef struct stk_ema
{
	uint32_t size;
	size_t dim;
	float *codewords; /* [size][dim], the caller's */
	double *counts;   /* [size] N */
	double *sums;     /* [size][dim] S */
	uint32_t *idle;   /* [size] batches since a row last chose the code; stays at its largest */
	stk_allocator a;
} stk_ema;

/* What an update does to the averages. */
typedef struct stk_ema_rule
{
	double decay;           /* 0 .. 1 */
	uint32_t restart_after; /* batches; 0 = never */
	bool unit;              /* codewords are kept at norm 1; rows that cancel out move none */
	uint64_t seed;          /* of the restarts' draws: STK_RANDOM_RESTART, index = code */
	int level;
	uint32_t step; /* of this batch: another one for each update */
} stk_ema_rule;

/*
 * Averages that have seen nothing, for codewords [size][dim] that outlive them.
 *
 * STK_EINVAL (a shape beyond codebook.h's limits), STK_ENOMEM; free with stk_ema_free.
 */
extern stk_status stk_ema_init(stk_ema *e, const stk_allocator *a, uint32_t size, size_t dim,
							   float *codewords, stk_error *err);
extern void stk_ema_free(stk_ema *e);

/*
 * Take in one batch: sum, blend, refresh the codewords, restart dead ones.
 *
 *   x      [n][dim]  rows, n >= 1
 *   codes  [n]       the code of each row
 *
 * Needs 8 bytes for each row and each code, and 12 * dim for each thread: nothing grows with
 * n * size. Runs on exec->pool's threads.
 *
 * Returns STK_EINVAL (no rows, a decay outside 0 .. 1, a code that is not in the codebook:
 * err->row) or STK_ENOMEM, and nothing has changed; STK_EINVAL (a row that is not finite: err->row
 * is the first) or STK_ECANCELED, and each code has been updated wholly or not at all.
 */
extern stk_status stk_ema_update(stk_ema *e, const stk_ema_rule *rule, const stk_exec *exec,
								 const float *x, size_t n, const uint16_t *codes, stk_error *err);

typedef struct stk_ema_options
{
	stk_metric metric;
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	int dim;
	int epochs;        /* passes over the rows; >= 1 */
	size_t batch_size; /* 0 = all rows */
	stk_init init;
	uint64_t seed;
	double decay;           /* >= 0, < 1 */
	uint32_t restart_after; /* batches; 0 = never */
	/* called after every epoch for every level; may be NULL */
	void (*progress)(void *ctx, const stk_train_progress *p);
	void *progress_ctx;
} stk_ema_options;

/*
 * Train a residual quantizer.
 *
 *   x          [n][dim]  finite; sorted in place, normalised under cosine
 *   codewords  [ΣK][dim] out, level by level (the stored form's order)
 *   counts     [ΣK]      out, each codeword's N; may be NULL
 *
 * Rows are sorted by content and every epoch draws its batches, as stk_rqkmeans_train does. The
 * first batch gives each level's initial codewords. A batch passes through the levels: a level
 * assigns its rows, hands on their residuals, and then learns from them. So a level is taught by
 * the residuals of the very codewords that chose the codes, as they were before this batch.
 *
 * progress: the objective is the mean over the epoch's rows, each measured when it was assigned.
 *
 * Metrics, few rows and errors as stk_rqkmeans_train, and STK_EINVAL for a decay outside 0 .. 1 or
 * at 1 (nothing would ever be learnt). codewords and counts hold nothing of use after an error.
 * Needs about 8 * dim bytes for each row of a batch and each codeword, and 48 for each row of x.
 */
extern stk_status stk_ema_train(const stk_ema_options *opt, const stk_exec *exec, float *x,
								size_t n, float *codewords, double *counts, stk_error *err);

#endif
