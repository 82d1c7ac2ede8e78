/*
 * Whole trainings with an accelerator: refinement and evaluation come out the same as without one,
 * wherever it fails and however little it knows, and errors name the same row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/train.h"
#include "fake_accelerator.h"

#define MAX_REPORTS 64

/* Rows in memory. */
typedef struct source
{
	const float *x;
	size_t dim;
} source;

static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const source *s = ctx;

	(void) err;
	memcpy(x, s->x + first * s->dim, count * s->dim * sizeof(float));
	return STK_OK;
}

typedef struct outcome
{
	stk_status status;
	stk_error err;
	stk_train_result result;
	size_t total, dim;
	stk_train_report said[MAX_REPORTS];
	int reports;
} outcome;

static void
take_report(void *ctx, const stk_train_report *r)
{
	outcome *o = ctx;

	assert_true(o->reports < MAX_REPORTS);
	o->said[o->reports++] = *r;
}

/* Train on x [n][dim], of which the last rows are held out. */
static outcome *
train(const stk_train_plan *plan, const float *x, size_t n, size_t heldout,
	  const stk_accelerator *a, const stk_monitor *monitor)
{
	outcome *o = calloc(1, sizeof(*o));
	size_t dim = (size_t) plan->dim;
	source first = {x, dim}, last = {x + (n - heldout) * dim, dim};
	stk_rows rows = {n - heldout, read_rows, &first}, held = {heldout, read_rows, &last};
	stk_exec exec = *plain_exec();

	for (int l = 0; l < plan->levels; l++)
		o->total += plan->sizes[l];
	o->dim = dim;
	o->result.codewords = calloc(o->total * dim, sizeof(float));
	o->result.counts = calloc(o->total, sizeof(double));
	exec.accelerator = a;
	exec.monitor = monitor;
	o->status = stk_train(plan, &exec, &rows, &held, take_report, o, &o->result, &o->err);
	return o;
}

static void
outcome_free(outcome *o)
{
	free(o->result.codewords);
	free(o->result.counts);
	free(o);
}

static void
assert_same(const outcome *a, const outcome *b)
{
	assert_int_equal(a->status, b->status);
	if (a->status != STK_OK)
	{
		assert_int_equal(a->err.row, b->err.row);
		assert_int_equal(a->err.level, b->err.level);
		assert_string_equal(a->err.message, b->err.message);
		assert_int_equal(a->result.which, b->result.which);
		return;
	}
	assert_int_equal(a->reports, b->reports);
	for (int i = 0; i < a->reports; i++)
	{
		assert_int_equal(a->said[i].level, b->said[i].level);
		assert_int_equal(a->said[i].epoch, b->said[i].epoch);
		assert_int_equal(a->said[i].empty, b->said[i].empty);
		assert_memory_equal(&a->said[i].objective, &b->said[i].objective, sizeof(double));
		assert_memory_equal(&a->said[i].heldout, &b->said[i].heldout, sizeof(stk_evaluation));
	}
	assert_memory_equal(a->result.codewords, b->result.codewords,
						a->total * a->dim * sizeof(float));
	assert_memory_equal(a->result.counts, b->result.counts, a->total * sizeof(double));
	assert_memory_equal(&a->result.rows, &b->result.rows, sizeof(stk_evaluation));
	assert_memory_equal(&a->result.heldout, &b->result.heldout, sizeof(stk_evaluation));
}

static float *
clumped_rows(size_t n, size_t dim, uint64_t seed)
{
	float *x = malloc(n * dim * sizeof(float));

	for (size_t i = 0; i < n; i++)
	{
		fill(x + i * dim, dim, 0.2f, &seed);
		x[i * dim + i % 5 % dim] += (float) (i % 7);
	}
	return x;
}

/* Refined and not, greedy and not, all metrics, dimensions that fill no block; rows of no chunk. */
static stk_train_plan
make_plan(size_t i)
{
	stk_train_plan p = {.metric = i % 2 ? STK_COSINE : STK_L2,
						.levels = 1 + (int) (i % 3),
						.dim = (int) (3 + 15 * (i % 4)),
						.epochs = 2,
						.seed = i,
						.refine = (int) (i % 4),
						.beam = 1 + (int) (i % 3) * 2,
						.eval_every = (int) (i % 3)};

	if (i % 5 == 4)
	{
		p.method = STK_TRAIN_EMA;
		p.batch_size = 100;
		p.decay = 0.9;
	}
	for (int l = 0; l < p.levels; l++)
		p.sizes[l] = (uint32_t) (4 + 9 * ((i + (size_t) l) % 3));
	return p;
}

#define PLANS 8
#define ROWS 640
#define HELDOUT 300

static void
check_same(const stk_train_plan *plan, const float *x, const outcome *expected, fake_accelerator *f)
{
	outcome *o = train(plan, x, ROWS, HELDOUT, &f->accelerator, NULL);

	assert_same(expected, o);
	assert_int_equal(f->live, 0);
	outcome_free(o);
}

static void
the_same_wherever_it_fails(void **state)
{
	(void) state;
	for (size_t i = 0; i < unit_size(PLANS, PLANS, 5); i++)
	{
		stk_train_plan plan = make_plan(i);
		float *x = clumped_rows(ROWS, (size_t) plan.dim, i);
		outcome *expected = train(&plan, x, ROWS, HELDOUT, NULL, NULL);
		fake_accelerator whole;

		assert_int_equal(expected->status, STK_OK);
		fake_init(&whole);
		check_same(&plan, x, expected, &whole);
		assert_int_equal(whole.calls[FAKE_ENCODE], plan.refine > 0 ? plan.refine + 2 : 0);
		assert_int_equal(whole.calls[FAKE_NORMAL], whole.calls[FAKE_ENCODE]);
		assert_true(whole.calls[FAKE_EVALUATE] >= 2);
		for (int op = FAKE_CODEBOOK; op < FAKE_OPS; op++)
		{
			for (long at = 1; at <= whole.calls[op]; at += (long) unit_size(1, 2, 4))
			{
				for (int kind = 0; kind < 3; kind++)
				{
					static const stk_status kinds[] = {STK_ENOMEM, STK_EIO, STK_ERANGE};
					fake_accelerator f;

					/* Those two cannot meet it. */
					if (kind == 2 && (op == FAKE_CODEBOOK || op == FAKE_NORMAL))
						continue;
					fake_init(&f);
					f.fail_at[op] = at;
					f.fail_with = kinds[kind];
					check_same(&plan, x, expected, &f);
				}
			}
		}
		outcome_free(expected);
		free(x);
	}
}

static void
the_same_however_little_it_knows(void **state)
{
	(void) state;
	for (size_t i = 0; i < unit_size(PLANS, PLANS, 3); i++)
	{
		stk_train_plan plan = make_plan(i);
		float *x = clumped_rows(ROWS, (size_t) plan.dim, i);
		outcome *expected = train(&plan, x, ROWS, HELDOUT, NULL, NULL);

		for (unsigned without = 0; without < 32; without += (unsigned) unit_size(1, 3, 7))
		{
			fake_accelerator f;

			fake_init(&f);
			if (without & 1)
				f.ops.rows_create = NULL;
			if (without & 2)
				f.ops.codebook_create = NULL;
			if (without & 4)
				f.ops.encode = NULL;
			if (without & 8)
				f.ops.evaluate = NULL;
			if (without & 16)
				f.ops.normal = NULL;
			check_same(&plan, x, expected, &f);
		}
		outcome_free(expected);
		free(x);
	}
}

/* A row that cannot be evaluated is named as the processor names it. */
static void
rows_at_fault(void **state)
{
	static const size_t rows[] = {0, 255, 256, 339, 340, ROWS - 1};
	stk_train_plan plan = {
		.metric = STK_L2, .levels = 2, .sizes = {8, 8}, .dim = 5, .epochs = 2, .beam = 1};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		float *x = clumped_rows(ROWS, 5, i);
		fake_accelerator f;
		outcome *expected;

		x[rows[i] * 5 + 2] = NAN;
		expected = train(&plan, x, ROWS, HELDOUT, NULL, NULL);
		assert_int_equal(expected->status, STK_EINVAL);
		fake_init(&f);
		check_same(&plan, x, expected, &f);
		outcome_free(expected);
		free(x);
	}
}

static bool
stop_at(void *ctx)
{
	long *left = ctx;

	return --*left <= 0;
}

/* It can be stopped at any time, and nothing is left there. */
static void
stops(void **state)
{
	stk_train_plan plan = make_plan(5);
	float *x = clumped_rows(ROWS, (size_t) plan.dim, 5);
	stk_status status = STK_ECANCELED;

	(void) state;
	for (long at = 1; status == STK_ECANCELED; at += at / 8 + 1)
	{
		long left = at;
		stk_monitor monitor = {stop_at, &left};
		fake_accelerator f;
		outcome *o;

		fake_init(&f);
		o = train(&plan, x, ROWS, HELDOUT, &f.accelerator, &monitor);
		status = o->status;
		assert_true(status == STK_OK || status == STK_ECANCELED);
		assert_int_equal(f.live, 0);
		outcome_free(o);
	}
	free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_wherever_it_fails),
									   cmocka_unit_test(the_same_however_little_it_knows),
									   cmocka_unit_test(rows_at_fault), cmocka_unit_test(stops)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
