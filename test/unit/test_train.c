/*
 * A whole training against its parts called one by one: the same codebook, counts, reports and
 * evaluations; plans that are refused; errors and the rows they are about; memory and patience.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>

#include "core/ema.h"
#include "core/refine.h"
#include "core/rq.h"
#include "core/rqkmeans.h"
#include "core/train.h"
#include "machines.h"

#define MAX_REPORTS 256

/* Rows in memory, and how they are read. */
typedef struct source
{
	const float *x; /* [n][dim] */
	size_t dim;
	size_t reads;
	size_t fail_at; /* the read that fails; 0 = none */
} source;

static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	source *s = ctx;

	if (++s->reads == s->fail_at)
		return stk_fail(err, STK_EIO, "the rows are gone");
	memcpy(x, s->x + first * s->dim, count * s->dim * sizeof(float));
	return STK_OK;
}

/* What a training says and gives. */
typedef struct outcome
{
	stk_train_report reports[MAX_REPORTS];
	int count;
	stk_status status;
	stk_error err;
	stk_train_result result;
	size_t total;
} outcome;

static void
take_report(void *ctx, const stk_train_report *r)
{
	outcome *o = ctx;

	assert_true(o->count < MAX_REPORTS);
	o->reports[o->count++] = *r;
}

static size_t
codewords_of(const stk_train_plan *plan)
{
	size_t total = 0;

	for (int l = 0; l < plan->levels; l++)
		total += plan->sizes[l];
	return total;
}

/* Room for the plan's result; start (may be NULL) is what a training resumes from. */
static outcome *
outcome_create(const stk_train_plan *plan, const outcome *start)
{
	outcome *o = calloc(1, sizeof(*o));
	size_t floats = codewords_of(plan) * (size_t) plan->dim;

	o->total = codewords_of(plan);
	o->result.codewords = calloc(floats, sizeof(float));
	o->result.counts = calloc(o->total, sizeof(double));
	if (start)
	{
		memcpy(o->result.codewords, start->result.codewords, floats * sizeof(float));
		memcpy(o->result.counts, start->result.counts, o->total * sizeof(double));
	}
	return o;
}

static void
outcome_free(outcome *o)
{
	free(o->result.codewords);
	free(o->result.counts);
	free(o);
}

/* A problem: a plan, rows, rows held out. */
typedef struct problem
{
	stk_train_plan plan;
	float *x;
	size_t n;
	float *heldout; /* NULL = none */
	size_t heldout_n;
} problem;

static problem
problem_random(const stk_train_plan *plan, size_t n, size_t heldout_n, uint64_t *seed)
{
	problem p = {.plan = *plan, .n = n, .heldout_n = heldout_n};
	size_t dim = (size_t) plan->dim;

	p.x = malloc(n * dim * sizeof(float));
	p.heldout = malloc((heldout_n + 1) * dim * sizeof(float));
	fill(p.x, n * dim, 1, seed);
	fill(p.heldout, heldout_n * dim, 1, seed);
	/* Some rows are the same, so that ids are shared. */
	for (size_t i = 7; i < n; i += 11)
		memcpy(p.x + i * dim, p.x + (i - 7) * dim, dim * sizeof(float));
	return p;
}

static void
problem_free(problem *p)
{
	free(p->x);
	free(p->heldout);
}

static outcome *
train(const problem *p, const stk_exec *exec, const outcome *start)
{
	outcome *o = outcome_create(&p->plan, start);
	source x = {.x = p->x, .dim = (size_t) p->plan.dim};
	source heldout = {.x = p->heldout, .dim = (size_t) p->plan.dim};
	stk_rows rows = {p->n, read_rows, &x};
	stk_rows held = {p->heldout_n, read_rows, &heldout};

	o->err = (stk_error){.row = 4711, .level = -7};
	o->status = stk_train(&p->plan, exec, &rows, p->heldout_n ? &held : NULL, take_report, o,
						  &o->result, &o->err);
	return o;
}

/* The parts one by one, in one thread, rows measured one at a time. */
typedef struct plain
{
	const problem *p;
	outcome *o;
} plain;

static void
plain_measure(const problem *p, const float *codewords, int levels, const float *x, size_t n,
			  stk_evaluation *result)
{
	stk_codebook cb = {.metric = p->plan.metric, .levels = levels, .dim = p->plan.dim};
	uint16_t codes[STK_MAX_LEVELS];
	stk_evaluator *ev;
	stk_rq *rq;

	for (int l = 0; l < levels; l++)
	{
		cb.sizes[l] = p->plan.sizes[l];
		cb.codewords[l] = codewords;
		codewords += cb.sizes[l] * (size_t) cb.dim;
	}
	assert_int_equal(stk_rq_create(&cb, plain_exec(), STK_FILTER_NONE, &rq, NULL), STK_OK);
	assert_int_equal(stk_evaluator_create(&cb, &stk_malloc, &ev), STK_OK);
	for (size_t i = 0; i < n; i++)
	{
		const float *row = x + i * (size_t) cb.dim;

		assert_int_equal(stk_rq_encode(rq, plain_exec(), row, 1, p->plan.beam, codes, NULL, NULL),
						 STK_OK);
		assert_int_equal(stk_evaluator_add(ev, row, codes, 1, NULL), STK_OK);
	}
	assert_int_equal(stk_evaluator_finish(ev, NULL, result), STK_OK);
	stk_evaluator_free(ev);
	stk_rq_free(rq);
}

/* After every eval_every epochs of a level, or of the last where levels learn together. */
static void
plain_progress(void *ctx, const stk_train_progress *progress)
{
	plain *r = ctx;
	const stk_train_plan *plan = &r->p->plan;
	bool lloyd = plan->method == STK_TRAIN_RQKMEANS && plan->batch_size == 0;
	stk_train_report report = {.level = progress->level,
							   .epoch = progress->epoch,
							   .objective = progress->objective,
							   .empty = progress->empty,
							   .trained = progress->trained};

	if (r->p->heldout_n > 0 && plan->eval_every > 0 && progress->epoch % plan->eval_every == 0 &&
		(progress->level < 0 || lloyd || progress->level == plan->levels - 1))
	{
		report.evaluated = true;
		plain_measure(r->p, progress->codewords, progress->trained, r->p->heldout, r->p->heldout_n,
					  &report.heldout);
	}
	take_report(r->o, &report);
}

static outcome *
train_plainly(const problem *p, const outcome *start)
{
	const stk_train_plan *plan = &p->plan;
	outcome *o = outcome_create(plan, start);
	plain r = {p, o};
	size_t bytes = p->n * (size_t) plan->dim * sizeof(float);
	float *x = malloc(bytes);

	memcpy(x, p->x, bytes);
	if (plan->method == STK_TRAIN_EMA)
	{
		stk_ema_options opt = {.metric = plan->metric,
							   .levels = plan->levels,
							   .dim = plan->dim,
							   .epochs = plan->epochs,
							   .batch_size = plan->batch_size,
							   .init = plan->init,
							   .seed = plan->seed,
							   .decay = plan->decay,
							   .restart_after = plan->restart_after,
							   .progress = plain_progress,
							   .progress_ctx = &r};

		memcpy(opt.sizes, plan->sizes, sizeof(opt.sizes));
		o->status = stk_ema_train(&opt, plain_exec(), x, p->n, o->result.codewords,
								  o->result.counts, &o->err);
	}
	else
	{
		stk_rqkmeans_options opt = {.metric = plan->metric,
									.levels = plan->levels,
									.dim = plan->dim,
									.epochs = plan->epochs,
									.batch_size = plan->batch_size,
									.init = plan->init,
									.seed = plan->seed,
									.empty = plan->empty,
									.balance = plan->balance,
									.resume = plan->resume,
									.progress = plain_progress,
									.progress_ctx = &r};

		memcpy(opt.sizes, plan->sizes, sizeof(opt.sizes));
		o->status = stk_rqkmeans_train(&opt, plain_exec(), x, p->n, o->result.codewords,
									   o->result.counts, &o->err);
	}
	if (o->status == STK_OK && plan->refine > 0)
	{
		stk_refine_options opt = {plan->beam, plan->refine, plan->seed, plain_progress, &r};
		stk_codebook shape = {.metric = plan->metric, .levels = plan->levels, .dim = plan->dim};

		memcpy(shape.sizes, plan->sizes, sizeof(shape.sizes));
		o->status = stk_refine(&opt, plain_exec(), &shape, p->x, p->n, o->result.codewords,
							   o->result.counts, &o->err);
	}
	if (o->status == STK_OK)
	{
		plain_measure(p, o->result.codewords, plan->levels, p->x, p->n, &o->result.rows);
		if (p->heldout_n > 0)
			plain_measure(p, o->result.codewords, plan->levels, p->heldout, p->heldout_n,
						  &o->result.heldout);
	}
	free(x);
	return o;
}

static void
assert_same_level(const stk_level_evaluation *a, const stk_level_evaluation *b)
{
	assert_memory_equal(&a->mse, &b->mse, sizeof(double));
	assert_memory_equal(&a->relative_error, &b->relative_error, sizeof(double));
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->used, b->used);
	assert_int_equal(a->dead, b->dead);
	assert_memory_equal(&a->usage, &b->usage, sizeof(double));
	assert_memory_equal(&a->entropy, &b->entropy, sizeof(double));
	assert_memory_equal(&a->perplexity, &b->perplexity, sizeof(double));
	assert_memory_equal(&a->gini, &b->gini, sizeof(double));
}

static void
assert_same_evaluation(const stk_evaluation *a, const stk_evaluation *b)
{
	assert_int_equal(a->rows, b->rows);
	assert_int_equal(a->levels, b->levels);
	assert_memory_equal(&a->mse, &b->mse, sizeof(double));
	assert_memory_equal(&a->relative_error, &b->relative_error, sizeof(double));
	assert_int_equal(a->ids, b->ids);
	assert_memory_equal(&a->unique_fraction, &b->unique_fraction, sizeof(double));
	assert_memory_equal(&a->collision_rate, &b->collision_rate, sizeof(double));
	assert_int_equal(a->largest, b->largest);
	assert_memory_equal(&a->entropy, &b->entropy, sizeof(double));
	assert_memory_equal(&a->perplexity, &b->perplexity, sizeof(double));
	for (int l = 0; l < STK_MAX_LEVELS; l++)
		assert_same_level(&a->level[l], &b->level[l]);
}

static void
assert_same_outcome(const problem *p, const outcome *a, const outcome *b)
{
	size_t floats = a->total * (size_t) p->plan.dim;

	assert_int_equal(a->status, STK_OK);
	assert_int_equal(b->status, STK_OK);
	assert_int_equal(a->count, b->count);
	for (int i = 0; i < a->count; i++)
	{
		const stk_train_report *r = &a->reports[i];
		const stk_train_report *s = &b->reports[i];

		assert_int_equal(r->level, s->level);
		assert_int_equal(r->epoch, s->epoch);
		assert_memory_equal(&r->objective, &s->objective, sizeof(double));
		assert_int_equal(r->empty, s->empty);
		assert_int_equal(r->trained, s->trained);
		assert_int_equal(r->evaluated, s->evaluated);
		assert_same_evaluation(&r->heldout, &s->heldout);
	}
	assert_memory_equal(a->result.codewords, b->result.codewords, floats * sizeof(float));
	assert_memory_equal(a->result.counts, b->result.counts, a->total * sizeof(double));
	assert_same_evaluation(&a->result.rows, &b->result.rows);
	assert_same_evaluation(&a->result.heldout, &b->result.heldout);
	assert_int_equal(b->result.which, STK_ROWS_NONE);
}

/* A plan of every kind, by turns. */
static stk_train_plan
plan_of(int kind)
{
	stk_train_plan plan = {.metric = (stk_metric) (kind % 3),
						   .levels = 1 + kind % 4,
						   .dim = 1 + 5 * (kind % 7),
						   .epochs = 1 + kind % 5,
						   .batch_size = kind % 5 == 1 ? 100 : 0,
						   .init = (stk_init) (kind % 3),
						   .seed = (uint64_t) kind * 77,
						   .beam = kind % 4 == 0 ? 1 : kind % 6,
						   .eval_every = kind % 3 == 0 ? 0 : 1 + kind % 2};

	for (int l = 0; l < plan.levels; l++)
		plan.sizes[l] = (uint32_t) (3 + (kind * 5 + l * 11) % 30);
	if (kind % 5 >= 3)
	{
		plan.method = STK_TRAIN_EMA;
		plan.decay = 0.9;
		plan.restart_after = (uint32_t) (kind % 3);
		plan.batch_size = kind % 5 == 3 ? 64 : 0;
	}
	else if (plan.batch_size == 0)
	{
		plan.empty = (stk_empty) (kind / 2 % 3);
		plan.balance = kind % 4 == 3 ? 1.5 : 0;
	}
	if (plan.metric != STK_IP && kind % 2 == 0)
		plan.refine = 1 + kind % 3;
	plan.beam = plan.beam < 1 ? 1 : plan.beam;
	return plan;
}

/* Every kind of plan on every machine: the parts' results, bit for bit. */
static void
the_same_as_its_parts(void **state)
{
	int kinds = (int) unit_size(60, 30, 10);
	uint64_t seed = 20;
	machines m;

	(void) state;
	machines_start(&m);
	for (int kind = 0; kind < kinds; kind++)
	{
		stk_train_plan plan = plan_of(kind);
		problem p =
			problem_random(&plan, 150 + (size_t) kind * 37, kind % 3 ? 90 + kind : 0, &seed);
		outcome *expected = train_plainly(&p, NULL);

		for (int i = 0; i < m.count; i++)
		{
			outcome *o;

			if (!machines_turn(&m, i, kind))
				continue;
			o = train(&p, &m.execs[i], NULL);
			assert_same_outcome(&p, expected, o);
			/* What it resumes from is what it left. */
			if (plan.method == STK_TRAIN_RQKMEANS && plan.batch_size > 0 && plan.refine == 0)
			{
				problem again = p;
				outcome *on, *on_plainly;

				again.plan.resume = true;
				on = train(&again, &m.execs[i], o);
				on_plainly = train_plainly(&again, expected);
				assert_same_outcome(&again, on_plainly, on);
				outcome_free(on);
				outcome_free(on_plainly);
			}
			outcome_free(o);
		}
		outcome_free(expected);
		problem_free(&p);
	}
	machines_stop(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_as_its_parts),
	};

	return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
