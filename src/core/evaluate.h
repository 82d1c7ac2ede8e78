/*
 * How good a codebook is on given rows: error after each level, use of the codes, collisions.
 *
 * Rows are added in batches of any size; the same rows in the same order give the same bits on
 * every machine and for any number of threads. Sums over rows have the shape of member_sums.h, all
 * rows being members, in the order in which they are added.
 */
#ifndef STK_EVALUATE_H
#define STK_EVALUATE_H

#include "attached.h"
#include "codebook.h"

typedef struct stk_level_evaluation
{
	double mse;            /* mean squared distance of a row from its sum of codewords up to here,
							* which the decoder of a codebook's network has decoded */
	double relative_error; /* mse / mean squared norm of the rows; 0 when all rows are zero */
	uint32_t size;
	uint32_t used;     /* codes that some row has */
	uint32_t dead;     /* size - used */
	double usage;      /* used / size */
	double entropy;    /* of the codes, in nats */
	double perplexity; /* exp(entropy) */
	double gini;       /* of the rows per code: 0 = evenly used, towards 1 = by few */
} stk_level_evaluation;

typedef struct stk_evaluation
{
	uint64_t rows;
	int levels;
	double mse;             /* of the last level */
	double relative_error;  /* of the last level */
	uint64_t ids;           /* distinct ids */
	double unique_fraction; /* ids / rows */
	double collision_rate;  /* rows whose id another row has too / rows */
	uint64_t largest;       /* rows of the most frequent id */
	double entropy;         /* of the ids, in nats */
	double perplexity;
	stk_level_evaluation level[STK_MAX_LEVELS];
} stk_evaluation;

typedef struct stk_evaluator stk_evaluator;

/* Start; cb's floats must outlive the evaluator. STK_ENOMEM. */
extern stk_status stk_evaluator_create(const stk_codebook *cb, const stk_allocator *a,
									   stk_evaluator **out);
extern void stk_evaluator_free(stk_evaluator *ev);

/*
 * Add rows, on exec->pool's threads.
 *
 *   x      [n][inputs]  embeddings; measured as the metric does (cosine: normalised), but as they
 *                       are where there is a network, whose codewords alone the metric is about
 *   codes  [n][levels]  their codes
 *
 * Returns STK_EINVAL (a row not finite, a zero row under cosine, a code not in the codebook),
 * STK_ERANGE (a sum of codewords left binary32's range; err->level is the level whose codeword
 * did it) or what the network makes of it, STK_ENOMEM, STK_ECANCELED; err->row is the first such
 * row within this call (with a network: at the first level where there is one). After an error the
 * evaluator can only be freed.
 */
extern stk_status stk_evaluator_add(stk_evaluator *ev, const stk_exec *exec, const float *x,
									const uint16_t *codes, size_t n, stk_error *err);

/*
 * Have the accelerator encode rows with the codebook that is attached, which is the evaluator's, and
 * add them: the first *done of them, as many as whole chunks have. The others are the caller's to
 * encode and add.
 *
 *   x      [n][inputs]  as of stk_evaluator_add
 *   codes  [n][levels]  out, of those rows
 *
 * STK_ENOMEM, STK_ECANCELED. A row at fault is left to the caller, too.
 */
extern stk_status stk_evaluator_encode_there(stk_evaluator *ev, const stk_exec *exec,
											 stk_attached *there, const float *x, size_t n,
											 uint16_t *codes, size_t *done);

/*
 * The result over all rows added; all zero but the shape when there were none. Only freeing may
 * follow. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_evaluator_finish(stk_evaluator *ev, const stk_monitor *monitor,
									   stk_evaluation *result);

#endif
