/*
 * A whole training: learn a codebook, refine it, and measure it, on rows that someone else keeps.
 *
 * The backend and the worker run the same function on the same plan, so they give the same bits.
 */
#ifndef STK_TRAIN_H
#define STK_TRAIN_H

#include "evaluate.h"
#include "exec.h"
#include "kmeans.h"
#include "rqvae_plan.h"
#include "train_rows.h"

/* What a plan may ask for at most, beside codebook.h's limits. */
#define STK_TRAIN_MAX_EPOCHS 100000
#define STK_TRAIN_MAX_ROUNDS 10000
#define STK_TRAIN_MAX_BEAM 4096

/* Rows [n][dim] in a file or in memory. */
typedef struct stk_rows
{
	size_t n;
	/*
	 * Copy rows first .. first + count - 1, all within n, to x [count][dim]. Called from any of the
	 * pool's threads, and without a pool from the one that trains. What it returns other than
	 * STK_OK ends the training with that status.
	 */
	stk_status (*read)(void *ctx, size_t first, size_t count, float *x, stk_error *err);
	void *ctx;
} stk_rows;

typedef enum stk_train_method
{
	STK_TRAIN_RQKMEANS = 0, /* Lloyd without a batch_size, else mini-batches */
	STK_TRAIN_EMA = 1,
	STK_TRAIN_RQVAE = 2,
	STK_TRAIN_METHODS
} stk_train_method;

/* What to train and how: numbers only, so that a plan travels as it is. Methods are in method.h. */
typedef struct stk_train_plan
{
	stk_train_method method;
	stk_metric metric;
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	int dim;
	int epochs;          /* >= 1 */
	uint64_t batch_size; /* rows; 0 = all */
	stk_init init;
	uint64_t seed;
	stk_empty empty;        /* Lloyd */
	double balance;         /* Lloyd; 0 = off, else >= 1 */
	bool resume;            /* rqkmeans with a batch_size, RQ-VAE: the result comes in */
	double decay;           /* EMA, RQ-VAE; >= 0, < 1 */
	uint32_t restart_after; /* EMA, RQ-VAE; batches, 0 = never */
	int refine;             /* rounds; 0 = none. Not with the inner product */
	int beam;               /* >= 1: width of refinement's encodings and of all measuring */
	int eval_every; /* epochs, or rounds, between measurings on held-out rows; 0 = at the end */
	int checkpoint_every; /* epochs between reports that have a state; 0 = never */
	stk_rqvae_plan rqvae; /* RQ-VAE */
} stk_train_plan;

/* What a method measures while it learns, beside the objective; stk_train_metric_name. */
typedef enum stk_train_metric
{
	STK_TRAIN_LOSS = 0,
	STK_TRAIN_RECONSTRUCTION,
	STK_TRAIN_COMMITMENT,
	STK_TRAIN_CODEBOOK,
	STK_TRAIN_DIVERSITY,
	STK_TRAIN_GRADIENT,
	STK_TRAIN_MSE,
	STK_TRAIN_RELATIVE_ERROR,
	STK_TRAIN_P_UNIQUE,
	STK_TRAIN_USAGE,
	STK_TRAIN_ENTROPY,
	STK_TRAIN_DEAD_CODES,
	STK_TRAIN_SECONDS_START,
	STK_TRAIN_SECONDS_STEPS,
	STK_TRAIN_SECONDS_HELDOUT,
	STK_TRAIN_METRICS
} stk_train_metric;

typedef struct stk_train_number
{
	stk_train_metric metric;
	bool heldout; /* of held-out rows */
	int level;    /* -1: of all */
	double value;
} stk_train_number;

/* Of a report: three a level of the rows and of those held out, and every metric of either. */
#define STK_TRAIN_MAX_NUMBERS (6 * STK_MAX_LEVELS + 2 * STK_TRAIN_METRICS)

/* Said after every epoch of every level, and after every encoding of refinement (level -1). */
typedef struct stk_train_report
{
	int level;
	int epoch;
	double objective;
	uint32_t empty;
	int trained;    /* levels of the codebook so far */
	bool evaluated; /* held-out rows were measured now, with the first `trained` levels */
	stk_evaluation heldout;
	int nnumbers; /* what the method says instead of objective and empty */
	stk_train_number numbers[STK_TRAIN_MAX_NUMBERS];
	/* As result->state after this epoch, so that the training can go on from here; or NULL. */
	const uint8_t *state;
	int place; /* in a message: the state's in the request's file, from 1; 0 = there is none */
} stk_train_report;

/* Which rows an error is about. */
typedef enum stk_train_which
{
	STK_ROWS_NONE = 0,
	STK_ROWS_TRAINING = 1,
	STK_ROWS_HELDOUT = 2
} stk_train_which;

typedef struct stk_train_result
{
	float *codewords; /* [sum of sizes][dim] the caller's; in too with resume */
	double *counts;   /* [sum of sizes] the caller's; in too with resume */
	/*
	 * [stk_method.state_bytes] of a method that has one, which then leaves codewords and counts
	 * alone; the caller's; in too with resume.
	 */
	uint8_t *state;
	stk_evaluation rows;    /* out: of the finished codebook on the rows */
	stk_evaluation heldout; /* out: on those held out; all zero without any */
	stk_train_which which;  /* out: the rows that err->row counts */
} stk_train_result;

/* "loss", "p_unique", ... */
extern const char *stk_train_metric_name(stk_train_metric metric);

/*
 * Refuse a plan that no training takes: STK_EINVAL, with the reason, or STK_ERANGE for a codebook
 * beyond codebook.h's limits. Safe on plans from anywhere.
 */
extern stk_status stk_train_check(const stk_train_plan *plan, stk_error *err);

/*
 * Bytes that a training of n rows, and heldout_n held out, takes of exec->a at its peak: an upper
 * bound, as near as can be said. SIZE_MAX at overflow. The plan is one that stk_train_check lets
 * pass.
 */
extern size_t stk_train_bytes(const stk_train_plan *plan, size_t n, size_t heldout_n, int threads);

/*
 * Train. rows->n >= 1; heldout may be NULL; report may be NULL.
 *
 * A measuring is due after the last level's report of every eval_every epochs where levels learn
 * together (mini-batches, EMA, refinement), and after every eval_every epochs of the level that is
 * learning where they learn one after the other.
 *
 * Errors as stk_rqkmeans_train, stk_ema_train, stk_refine, stk_rq_encode and stk_evaluator_add;
 * err->row counts the rows of result->which as they are read, SIZE_MAX where none is meant.
 */
extern stk_status stk_train(const stk_train_plan *plan, const stk_exec *exec, const stk_rows *rows,
							const stk_rows *heldout,
							void (*report)(void *ctx, const stk_train_report *r), void *report_ctx,
							stk_train_result *result, stk_error *err);

#endif
