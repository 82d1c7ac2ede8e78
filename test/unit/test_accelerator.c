/*
 * Training with an accelerator: the same codebook, counts and reports as without one, whatever it
 * takes over, wherever it fails, and however little it knows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rqkmeans.h"
#include "fake_accelerator.h"

#define MAX_REPORTS 256

/* What a training gives. */
typedef struct outcome
{
	stk_status status;
	stk_error err;
	float *codewords;
	double *counts;
	size_t total;
	size_t dim;
	int reports;
	stk_train_progress said[MAX_REPORTS];
	float *looks[MAX_REPORTS]; /* the codewords, at epochs in which somebody looks */
	const stk_rqkmeans_options *opt;
} outcome;

static void
take_report(void *ctx, const stk_train_progress *p)
{
	outcome *o = ctx;
	int look = o->opt->look_every > 0 ? o->opt->look_every : 1;

	assert_true(o->reports < MAX_REPORTS);
	o->said[o->reports] = *p;
	if (p->epoch % look == 0)
	{
		o->looks[o->reports] = malloc(o->total * o->dim * sizeof(float));
		memcpy(o->looks[o->reports], p->codewords, o->total * o->dim * sizeof(float));
	}
	o->reports++;
}

/* Train on x [n][dim] with the accelerator, or with none. */
static outcome *
train(const stk_rqkmeans_options *plan, const float *x, size_t n, const stk_accelerator *a,
	  const stk_monitor *monitor)
{
	outcome *o = calloc(1, sizeof(*o));
	stk_rqkmeans_options opt = *plan;
	stk_exec exec = *plain_exec();
	size_t dim = (size_t) opt.dim;
	float *rows = malloc(n * dim * sizeof(float));

	memcpy(rows, x, n * dim * sizeof(float));
	for (int l = 0; l < opt.levels; l++)
		o->total += opt.sizes[l];
	o->dim = dim;
	o->opt = &opt;
	o->codewords = calloc(o->total * dim, sizeof(float));
	o->counts = calloc(o->total, sizeof(double));
	opt.progress = take_report;
	opt.progress_ctx = o;
	exec.accelerator = a;
	exec.monitor = monitor;
	o->status = stk_rqkmeans_train(&opt, &exec, rows, n, o->codewords, o->counts, &o->err);
	free(rows);
	return o;
}

static void
outcome_free(outcome *o)
{
	for (int i = 0; i < o->reports; i++)
		free(o->looks[i]);
	free(o->codewords);
	free(o->counts);
	free(o);
}

static void
assert_same(const outcome *a, const outcome *b)
{
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->reports, b->reports);
	for (int i = 0; i < a->reports; i++)
	{
		const stk_train_progress *p = &a->said[i];
		const stk_train_progress *q = &b->said[i];

		assert_int_equal(p->level, q->level);
		assert_int_equal(p->epoch, q->epoch);
		assert_memory_equal(&p->objective, &q->objective, sizeof(double));
		assert_int_equal(p->empty, q->empty);
		assert_int_equal(p->trained, q->trained);
		assert_int_equal(a->looks[i] != NULL, b->looks[i] != NULL);
		if (a->looks[i])
			assert_memory_equal(a->looks[i], b->looks[i], a->total * a->dim * sizeof(float));
	}
	assert_memory_equal(a->codewords, b->codewords, a->total * a->dim * sizeof(float));
	assert_memory_equal(a->counts, b->counts, a->total * sizeof(double));
}

static void
check_same(const stk_rqkmeans_options *opt, const float *x, size_t n, const outcome *expected,
		   fake_accelerator *f)
{
	outcome *o = train(opt, x, n, &f->accelerator, NULL);

	assert_same(expected, o);
	assert_int_equal(f->live, 0);
	assert_int_equal(f->after_loss, 0);
	outcome_free(o);
}

/* Rows in clumps, some of them the same; more codewords than clumps leaves some empty. */
static float *
clumped_rows(size_t n, size_t dim, uint64_t seed)
{
	float *x = malloc(n * dim * sizeof(float));

	for (size_t i = 0; i < n; i++)
	{
		fill(x + i * dim, dim, 0.2f, &seed);
		x[i * dim + i % 5 % dim] += (float) (i % 7);
		if (i % 13 == 12)
			memcpy(x + i * dim, x + (i - 12) * dim, dim * sizeof(float));
	}
	return x;
}

/* Plans of all kinds that run Lloyd's iterations. */
static size_t
make_plans(stk_rqkmeans_options *plans)
{
	static const stk_metric metrics[] = {STK_L2, STK_COSINE, STK_IP};
	size_t count = 0;

	for (size_t i = 0; i < 18; i++)
	{
		stk_rqkmeans_options *p = &plans[count++];

		*p = (stk_rqkmeans_options){.metric = metrics[i % 3],
									.levels = 1 + (int) (i % 4),
									.dim = (int) (3 + 5 * (i % 3)),
									.epochs = 1 + (int) (i * 5 % 14),
									.init = (stk_init) (i / 3 % 3),
									.seed = i,
									.empty = (stk_empty) (i / 2 % 3),
									.balance = i % 5 == 4 ? 1.5 : 0,
									.look_every = (int) (i % 6)};
		for (int l = 0; l < p->levels; l++)
			p->sizes[l] = (uint32_t) (4 + 9 * ((i + (size_t) l) % 3));
	}
	return count;
}

static void
the_same_wherever_it_fails(void **state)
{
	stk_rqkmeans_options plans[32];
	size_t count = make_plans(plans);
	long runs = 0;

	(void) state;
	for (size_t i = 0; i < count; i++)
	{
		size_t n = 40 + 150 * (i % 4);
		float *x = clumped_rows(n, (size_t) plans[i].dim, i);
		outcome *expected = train(&plans[i], x, n, NULL, NULL);
		fake_accelerator whole, f;

		assert_int_equal(expected->status, STK_OK);
		fake_init(&whole);
		check_same(&plans[i], x, n, expected, &whole);
		assert_int_equal(whole.calls[FAKE_ROWS], 1);
		assert_int_equal(whole.calls[FAKE_MEASURE], plans[i].levels);
		assert_int_equal(whole.calls[FAKE_SUBTRACT], plans[i].levels - 1);
		if (plans[i].balance == 0)
			assert_true(whole.calls[FAKE_LLOYD] >= plans[i].levels);
		runs += whole.calls[FAKE_LLOYD];
		for (int op = 0; op < FAKE_OPS; op++)
		{
			for (long at = 1; at <= whole.calls[op]; at += (long) unit_size(1, 1, 9))
			{
				for (int kind = 0; kind < 4; kind++)
				{
					fake_init(&f);
					f.fail_at[op] = at;
					f.fail_with = kind % 2 ? STK_EIO : STK_ENOMEM;
					f.lloyd_fails_after = kind;
					check_same(&plans[i], x, n, expected, &f);
				}
			}
		}
		outcome_free(expected);
		free(x);
	}
	assert_true(runs > 0);
}

static void
the_same_however_little_it_knows(void **state)
{
	stk_rqkmeans_options plans[32];
	size_t count = make_plans(plans);

	(void) state;
	for (size_t i = 0; i < count; i++)
	{
		size_t n = 300;
		float *x = clumped_rows(n, (size_t) plans[i].dim, i);
		outcome *expected = train(&plans[i], x, n, NULL, NULL);

		for (unsigned without = 0; without < 32; without += (unsigned) unit_size(1, 1, 11))
		{
			fake_accelerator f;

			fake_init(&f);
			if (without & 1)
				f.ops.rows_create = NULL;
			if (without & 2)
				f.ops.measure = NULL;
			if (without & 4)
				f.ops.nearest = NULL;
			if (without & 8)
				f.ops.lloyd = NULL;
			if (without & 16)
				f.ops.subtract = NULL;
			check_same(&plans[i], x, n, expected, &f);
			if ((without & 13) == 8 && plans[i].epochs > 1)
				assert_true(f.calls[FAKE_NEAREST] > 1);
		}
		outcome_free(expected);
		free(x);
	}
}

/* A whole run without anybody looking is one call a level. */
static void
one_call_a_level(void **state)
{
	stk_rqkmeans_options opt = {.metric = STK_L2,
								.levels = 3,
								.sizes = {8, 8, 8},
								.dim = 6,
								.epochs = 20,
								.look_every = 20};
	float *x = clumped_rows(500, 6, 1);
	fake_accelerator f;
	outcome *o;

	(void) state;
	fake_init(&f);
	o = train(&opt, x, 500, &f.accelerator, NULL);
	assert_int_equal(o->status, STK_OK);
	assert_int_equal(f.calls[FAKE_LLOYD], 3);
	outcome_free(o);
	free(x);
}

static bool
stop_at(void *ctx)
{
	long *left = ctx;

	return (*left)-- <= 0;
}

static void
cancel_anywhere(void **state)
{
	stk_rqkmeans_options opt = {
		.metric = STK_L2, .levels = 2, .sizes = {8, 8}, .dim = 6, .epochs = 10, .look_every = 3};
	float *x = clumped_rows(200, 6, 1);
	bool over = false;

	(void) state;
	for (long calls = 0; !over; calls += (long) unit_size(1, 1, 5))
	{
		long left = calls;
		stk_monitor monitor = {stop_at, &left};
		fake_accelerator f;
		outcome *o;

		fake_init(&f);
		o = train(&opt, x, 200, &f.accelerator, &monitor);
		assert_int_equal(f.live, 0);
		over = o->status == STK_OK;
		if (!over)
			assert_int_equal(o->status, STK_ECANCELED);
		outcome_free(o);
	}
	free(x);
}

/* A residual out of range is the processor's to find, and names the row. */
static void
out_of_range(void **state)
{
	stk_rqkmeans_options opt = {
		.metric = STK_IP, .levels = 2, .sizes = {1, 2}, .dim = 2, .epochs = 1};
	float x[][2] = {{3e38f, 3e38f}, {-3e38f, 1}, {3e38f, 2e38f}};
	outcome *expected = train(&opt, x[0], 3, NULL, NULL);
	fake_accelerator f;
	outcome *o;

	(void) state;
	fake_init(&f);
	o = train(&opt, x[0], 3, &f.accelerator, NULL);
	assert_int_equal(o->status, STK_ERANGE);
	assert_int_equal(expected->status, STK_ERANGE);
	assert_int_equal(o->err.row, expected->err.row);
	assert_int_equal(o->err.level, expected->err.level);
	assert_int_equal(f.live, 0);
	outcome_free(o);
	outcome_free(expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_wherever_it_fails),
		cmocka_unit_test(the_same_however_little_it_knows),
		cmocka_unit_test(one_call_a_level),
		cmocka_unit_test(cancel_anywhere),
		cmocka_unit_test(out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
