/*
 * Training by batches with an accelerator: the same codebook, counts and reports as without one,
 * wherever it fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_accelerator.h"

#define ROWS 700
#define DIM 9
#define LEVELS 3
#define CODES 60
#define EPOCHS 3

/* What a training gives. */
typedef struct outcome
{
	stk_status status;
	stk_error err;
	float codewords[CODES * DIM];
	double counts[CODES];
	int reports;
	double objectives[EPOCHS * LEVELS];
	uint32_t empty[EPOCHS * LEVELS];
	float looks[EPOCHS * LEVELS][CODES * DIM];
} outcome;

static void
take_report(void *ctx, const stk_train_progress *p)
{
	outcome *o = ctx;

	assert_true(o->reports < EPOCHS * LEVELS);
	o->objectives[o->reports] = p->objective;
	o->empty[o->reports] = p->empty;
	memcpy(o->looks[o->reports], p->codewords, sizeof(o->codewords));
	o->reports++;
}

static const uint32_t sizes[LEVELS] = {20, 33, 7};

/* A training of either kind. */
static outcome *
train(bool averages, stk_metric metric, size_t batch, const float *x, const stk_accelerator *a,
	  const stk_monitor *monitor)
{
	outcome *o = calloc(1, sizeof(*o));
	stk_exec exec = *plain_exec();
	float *rows = malloc(ROWS * DIM * sizeof(float));

	memcpy(rows, x, ROWS * DIM * sizeof(float));
	exec.accelerator = a;
	exec.monitor = monitor;
	if (averages)
	{
		stk_ema_options opt = {.metric = metric,
							   .levels = LEVELS,
							   .dim = DIM,
							   .epochs = EPOCHS,
							   .batch_size = batch,
							   .seed = 11,
							   .decay = 0.9,
							   .restart_after = 2,
							   .progress = take_report,
							   .progress_ctx = o};

		memcpy(opt.sizes, sizes, sizeof(sizes));
		o->status = stk_ema_train(&opt, &exec, rows, ROWS, o->codewords, o->counts, &o->err);
	}
	else
	{
		stk_rqkmeans_options opt = {.metric = metric,
									.levels = LEVELS,
									.dim = DIM,
									.epochs = EPOCHS,
									.batch_size = batch,
									.seed = 11,
									.progress = take_report,
									.progress_ctx = o};

		memcpy(opt.sizes, sizes, sizeof(sizes));
		o->status = stk_rqkmeans_train(&opt, &exec, rows, ROWS, o->codewords, o->counts, &o->err);
	}
	free(rows);
	return o;
}

static void
assert_same(outcome *a, const outcome *b)
{
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->reports, b->reports);
	if (a->status != STK_OK)
	{
		assert_int_equal(a->err.row, b->err.row);
		assert_int_equal(a->err.level, b->err.level);
	}
	else
		assert_memory_equal(a, b, sizeof(*a));
	free(a);
}

static void
fill_rows(float *x, stk_metric metric)
{
	uint64_t seed = 21 + (uint64_t) metric;

	fill(x, ROWS * DIM, 1, &seed);
	/* Rows that occur often leave codes without rows: some restart. */
	for (size_t i = 0; i < ROWS; i += 3)
		memcpy(x + i * DIM, x + DIM, DIM * sizeof(float));
}

/* All of an epoch but the first batch there, or as far as it goes. */
static void
the_same_wherever_it_fails(void **state)
{
	static const size_t batches[] = {64, 100, 0};

	(void) state;
	for (int i = 0; i < 2 * 3 * 3; i += (int) unit_size(1, 1, 5))
	{
		bool averages = i % 2;
		stk_metric metric = (stk_metric) (i / 2 % 3);
		size_t batch = batches[i / 6];
		float x[ROWS * DIM];
		outcome *expected;
		fake_accelerator f;

		/* k-means without batches is Lloyd's. */
		if (batch == 0 && !averages)
			batch = ROWS;
		fill_rows(x, metric);
		expected = train(averages, metric, batch, x, NULL, NULL);
		assert_int_equal(expected->status, STK_OK);
		fake_init(&f);
		assert_same(train(averages, metric, batch, x, &f.accelerator, NULL), expected);
		assert_int_equal(f.calls[FAKE_BATCHES], batch > 0 && batch < ROWS ? EPOCHS : EPOCHS - 1);
		assert_true(f.calls[FAKE_NEAREST] > 0);
		assert_int_equal(f.live, 0);
		for (int op = 0; op < FAKE_OPS; op++)
		{
			for (int at = 1; at <= 4; at += (int) unit_size(1, 1, 3))
			{
				for (int lost = 0; lost < 2; lost++)
				{
					fake_init(&f);
					f.fail_at[op] = at;
					f.fail_with = lost ? STK_EIO : STK_ENOMEM;
					assert_same(train(averages, metric, batch, x, &f.accelerator, NULL), expected);
					assert_int_equal(f.live, 0);
					assert_int_equal(f.after_loss, 0);
				}
			}
		}
		/* One that knows no batches. */
		fake_init(&f);
		f.ops.batches = NULL;
		assert_same(train(averages, metric, batch, x, &f.accelerator, NULL), expected);
		assert_int_equal(f.live, 0);
		free(expected);
	}
}

/* A residual that leaves the range is found again by the processor, which says where. */
static void
the_same_errors(void **state)
{
	(void) state;
	for (int averages = 0; averages < 2; averages++)
	{
		float x[ROWS * DIM];
		outcome *expected;
		fake_accelerator f;

		fill_rows(x, STK_IP);
		/* Few rows are on the far side of codewords that are much longer than they are far. */
		for (size_t i = 0; i < ROWS; i += 10)
			for (size_t j = 0; j < DIM; j++)
				x[i * DIM + j] = i % 200 == 110 && j > 4 ? -3e38f : 3e38f;
		expected = train(averages, STK_IP, 64, x, NULL, NULL);
		assert_int_equal(expected->status, STK_ERANGE);
		fake_init(&f);
		assert_same(train(averages, STK_IP, 64, x, &f.accelerator, NULL), expected);
		assert_true(f.calls[FAKE_BATCHES] > 0);
		assert_int_equal(f.live, 0);
		free(expected);
	}
}

typedef struct patience
{
	long left;
} patience;

static bool
lose_patience(void *ctx)
{
	return ((patience *) ctx)->left-- <= 0;
}

static void
stopped_anywhere(void **state)
{
	(void) state;
	for (int averages = 0; averages < 2; averages++)
	{
		bool done = false;

		for (long looks = 0; !done; looks = looks * 5 / 4 + 1)
		{
			patience p = {looks};
			stk_monitor monitor = {lose_patience, &p};
			float x[ROWS * DIM];
			fake_accelerator f;
			outcome *o;

			fill_rows(x, STK_L2);
			fake_init(&f);
			o = train(averages, STK_L2, 64, x, &f.accelerator, &monitor);
			done = o->status == STK_OK;
			if (!done)
				assert_int_equal(o->status, STK_ECANCELED);
			assert_int_equal(f.live, 0);
			free(o);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_wherever_it_fails),
		cmocka_unit_test(the_same_errors),
		cmocka_unit_test(stopped_anywhere),
	};

	return cmocka_run_group_tests_name("batches on an accelerator", tests, NULL, NULL);
}
