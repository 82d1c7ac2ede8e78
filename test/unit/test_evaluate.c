/*
 * Evaluation of a codebook: by hand, against sums written plainly, in batches and by threads, and
 * rows that fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/evaluate.h"
#include "engine/crew.h"
#include "rows.h"

static stk_evaluation
evaluate_on(const stk_exec *exec, const stk_codebook *cb, const float *x, const uint16_t *codes,
			size_t n, size_t batch)
{
	stk_evaluation result;
	stk_evaluator *ev;
	stk_error err;

	assert_int_equal(stk_evaluator_create(cb, &stk_malloc, &ev), STK_OK);
	for (size_t i = 0; i < n; i += batch)
	{
		size_t rows = n - i < batch ? n - i : batch;

		assert_int_equal(
			stk_evaluator_add(ev, exec, x + i * cb->dim, codes + i * cb->levels, rows, &err),
			STK_OK);
	}
	assert_int_equal(stk_evaluator_finish(ev, NULL, &result), STK_OK);
	stk_evaluator_free(ev);
	return result;
}

static stk_evaluation
evaluate(const stk_codebook *cb, const float *x, const uint16_t *codes, size_t n, size_t batch)
{
	return evaluate_on(plain_exec(), cb, x, codes, n, batch);
}

static void
assert_close(double value, double expected)
{
	assert_true(fabs(value - expected) <= 1e-14 * (1 + fabs(expected)));
}

/* Four rows on a line; small enough to work out by hand. */
static void
by_hand(void **state)
{
	const float codewords[] = {0, 10, 20, 30, /* then */ 0, 1};
	const float x[] = {0, 1, 10, 12};
	const uint16_t codes[] = {0, 0, 0, 1, 1, 0, 1, 0};
	stk_codebook cb = {
		.levels = 2, .dim = 1, .sizes = {4, 2}, .codewords = {codewords, codewords + 4}};
	stk_evaluation r = evaluate(&cb, x, codes, 4, 4);

	(void) state;
	assert_true(r.rows == 4);
	assert_int_equal(r.levels, 2);
	/* Distances 0, 1, 0, 2 after the first level, 0, 0, 0, 2 after the second. */
	assert_close(r.level[0].mse, 1.25);
	assert_close(r.level[1].mse, 1);
	assert_close(r.mse, 1);
	assert_close(r.level[0].relative_error, 5.0 / 245);
	assert_close(r.relative_error, 4.0 / 245);
	/* Level 0: counts 2, 2, 0, 0; level 1: 3, 1. */
	assert_int_equal(r.level[0].size, 4);
	assert_int_equal(r.level[0].used, 2);
	assert_int_equal(r.level[0].dead, 2);
	assert_close(r.level[0].usage, 0.5);
	assert_close(r.level[0].entropy, log(2));
	assert_close(r.level[0].perplexity, 2);
	assert_close(r.level[0].gini, 0.5);
	assert_int_equal(r.level[1].dead, 0);
	assert_close(r.level[1].entropy, -0.75 * log(0.75) - 0.25 * log(0.25));
	assert_close(r.level[1].gini, 0.25);
	/* Ids (0,0), (0,1), (1,0) twice. */
	assert_true(r.ids == 3 && r.largest == 2);
	assert_close(r.unique_fraction, 0.75);
	assert_close(r.collision_rate, 0.5);
	assert_close(r.entropy, 1.5 * log(2));
	assert_close(r.perplexity, exp(1.5 * log(2)));
}

static void
against_plain_sums(void **state)
{
	enum
	{
		n = 500,
		dim = 13,
		size = 300
	};
	uint64_t seed = 1;
	static float codewords[2 * size * dim];
	static float x[n * dim];
	static uint16_t codes[2 * n];
	stk_codebook cb = {.levels = 2,
					   .dim = dim,
					   .sizes = {size, size},
					   .codewords = {codewords, codewords + size * dim}};

	(void) state;
	fill(codewords, 2 * size * dim, 1, &seed);
	fill(x, n * dim, 1, &seed);
	for (size_t i = 0; i < n; i++)
	{
		/* Codes that differ in either byte, few enough to collide. */
		codes[2 * i] = (uint16_t) (next_bits(&seed) % 10 + (next_bits(&seed) % 2) * 256);
		codes[2 * i + 1] = (uint16_t) (next_bits(&seed) % 12);
	}
	for (cb.metric = STK_L2; cb.metric <= STK_COSINE; cb.metric++)
	{
		stk_evaluation r = evaluate(&cb, x, codes, n, n);
		stk_evaluation again = evaluate(&cb, x, codes, n, 7);
		size_t shared = 0, distinct = 0, largest = 0;
		double error[2] = {0, 0};

		assert_memory_equal(&r, &again, sizeof(r));
		for (size_t i = 0; i < n; i++)
		{
			double norm = sqrt(plain_dot(x + i * dim, x + i * dim, dim));
			size_t same = 0, before = 0;

			for (size_t j = 0; j < n; j++)
			{
				bool equal = memcmp(codes + 2 * i, codes + 2 * j, 4) == 0;

				same += equal;
				before += equal && j < i;
			}
			shared += same > 1;
			distinct += before == 0;
			largest = same > largest ? same : largest;
			for (size_t j = 0; j < dim; j++)
			{
				double v = cb.metric == STK_COSINE ? x[i * dim + j] / norm : x[i * dim + j];
				double d = v - codewords[codes[2 * i] * dim + j];

				error[0] += d * d;
				d -= codewords[(size + codes[2 * i + 1]) * dim + j];
				error[1] += d * d;
			}
		}
		assert_true(r.ids == distinct && r.largest == largest);
		assert_close(r.collision_rate, (double) shared / n);
		assert_close(r.unique_fraction, (double) distinct / n);
		assert_int_equal(r.level[0].used, 20);
		assert_int_equal(r.level[1].used, 12);
		for (int l = 0; l < 2; l++)
			assert_true(fabs(r.level[l].mse - error[l] / n) < 1e-6);
	}
}

/* A pool that takes the last task first: core may not mind. */
static void
run_backwards(void *ctx, stk_task task, void *arg, size_t n)
{
	(void) ctx;
	while (n-- > 0)
		task(arg, n, (int) (n % 2));
}

/* A column's sum: chunks of 256 rows, eight lanes. */
static double
shaped_sum(const double *values, size_t n)
{
	double sum = 0;

	for (size_t first = 0; first < n; first += 256)
	{
		double lane[8] = {0};

		for (size_t j = 0; j < 256 && first + j < n; j++)
			lane[j % 8] += values[first + j];
		sum += ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
			   ((lane[1] + lane[5]) + (lane[3] + lane[7]));
	}
	return sum;
}

/* The same bits in batches of any size and by any threads, those of the documented shape. */
static void
same_bits_however_added(void **state)
{
	enum
	{
		n = 9001,
		dim = 13,
		size = 50
	};
	static float codewords[2 * size * dim];
	static float x[n * dim];
	static uint16_t codes[2 * n];
	static double values[2][n];
	static const size_t batches[] = {n, 1, 255, 256, 257, 8192, 8193};
	stk_codebook cb = {.levels = 2,
					   .dim = dim,
					   .sizes = {size, size},
					   .codewords = {codewords, codewords + size * dim}};
	const stk_pool backwards = {2, run_backwards, NULL};
	stk_exec exec = *plain_exec();
	stk_evaluation expected, result;
	stk_crew *crew;
	uint64_t seed = 5;

	(void) state;
	fill(codewords, 2 * size * dim, 1, &seed);
	fill(x, n * dim, 2, &seed);
	for (size_t i = 0; i < 2 * n; i++)
		codes[i] = (uint16_t) (next_bits(&seed) % size);
	for (size_t i = 0; i < n; i++)
	{
		float sum[dim];

		memcpy(sum, codewords + codes[2 * i] * dim, sizeof(sum));
		for (int l = 0; l < 2; l++)
		{
			double lane[8] = {0};

			for (size_t j = 0; j < dim; j++)
			{
				double d;

				sum[j] += l ? codewords[(size + codes[2 * i + 1]) * dim + j] : 0;
				d = (double) x[i * dim + j] - (double) sum[j];
				lane[j % 8] += d * d;
			}
			values[l][i] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
						   ((lane[1] + lane[5]) + (lane[3] + lane[7]));
		}
	}
	expected = evaluate(&cb, x, codes, n, n);
	for (int l = 0; l < 2; l++)
		assert_true(expected.level[l].mse == shaped_sum(values[l], n) / n);
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
	{
		result = evaluate(&cb, x, codes, n, batches[i]);
		assert_memory_equal(&result, &expected, sizeof(result));
	}
	assert_int_equal(stk_crew_start(3, &crew), STK_OK);
	for (int p = 0; p < 2; p++)
	{
		exec.pool = p ? &backwards : stk_crew_pool(crew, STK_URGENT);
		result = evaluate_on(&exec, &cb, x, codes, n, 700);
		assert_memory_equal(&result, &expected, sizeof(result));
	}
	stk_crew_stop(crew);
}

/* Of several rows that fail the first is named, whatever thread finds it. */
static void
first_failure(void **state)
{
	enum
	{
		n = 9001,
		dim = 3
	};
	static float codewords[4 * dim];
	static float x[n * dim];
	static uint16_t codes[n];
	stk_codebook cb = {.levels = 1, .dim = dim, .sizes = {4}, .codewords = {codewords}};
	const stk_pool backwards = {2, run_backwards, NULL};
	stk_exec exec = *plain_exec();
	uint64_t seed = 6;

	(void) state;
	exec.pool = &backwards;
	fill(codewords, 4 * dim, 1, &seed);
	fill(x, n * dim, 1, &seed);
	for (size_t first = n; first-- > n - 600;)
	{
		stk_evaluator *ev;
		stk_error err;

		if (first % 2)
			x[first * dim + 2] = INFINITY;
		else
			codes[first] = 4;
		assert_int_equal(stk_evaluator_create(&cb, &stk_malloc, &ev), STK_OK);
		assert_int_equal(stk_evaluator_add(ev, &exec, x, codes, n, &err), STK_EINVAL);
		assert_int_equal(err.row, first);
		stk_evaluator_free(ev);
	}
}

static void
extremes(void **state)
{
	float codewords[100] = {0};
	float x[200] = {0};
	uint16_t codes[200] = {0};
	stk_codebook cb = {.levels = 1, .dim = 1, .sizes = {100}, .codewords = {codewords}};
	stk_evaluation r;

	(void) state;
	/* No rows. */
	r = evaluate(&cb, x, codes, 0, 1);
	assert_true(r.rows == 0 && r.ids == 0 && r.level[0].size == 100 && r.level[0].used == 0);
	assert_true(r.level[0].entropy == 0 && r.mse == 0);

	/* Every code twice, all rows zero. */
	for (size_t i = 0; i < 200; i++)
		codes[i] = (uint16_t) (i % 100);
	r = evaluate(&cb, x, codes, 200, 200);
	assert_close(r.level[0].gini, 0);
	assert_close(r.level[0].perplexity, 100);
	assert_true(r.relative_error == 0 && r.collision_rate == 1 && r.ids == 100);

	/* All rows to one code. */
	memset(codes, 0, sizeof(codes));
	r = evaluate(&cb, x, codes, 200, 200);
	assert_close(r.level[0].gini, 0.99);
	assert_true(r.level[0].entropy == 0 && !signbit(r.level[0].entropy));
	assert_close(r.level[0].perplexity, 1);
	assert_true(r.largest == 200);
}

static void
bad_rows(void **state)
{
	float codewords[8] = {0, 1, 2, 3, 3e38f, 3e38f, 3e38f, 3e38f};
	float x[6] = {1, 2, 3, 4, 5, 6};
	uint16_t codes[6] = {0, 0, 0, 1, 1, 0};
	stk_codebook cb = {.metric = STK_COSINE,
					   .levels = 2,
					   .dim = 2,
					   .sizes = {2, 2},
					   .codewords = {codewords, codewords + 4}};
	stk_evaluator *ev;
	stk_error err;

	(void) state;
	assert_int_equal(stk_evaluator_create(&cb, &stk_malloc, &ev), STK_OK);
	x[3] = NAN;
	assert_int_equal(stk_evaluator_add(ev, plain_exec(), x, codes, 3, &err), STK_EINVAL);
	assert_int_equal(err.row, 1);
	x[4] = x[5] = 0;
	assert_int_equal(stk_evaluator_add(ev, plain_exec(), x + 4, codes, 1, &err), STK_EINVAL);
	codes[0] = 2;
	assert_int_equal(stk_evaluator_add(ev, plain_exec(), x, codes, 1, &err), STK_EINVAL);
	codes[0] = 0;
	codewords[0] = 3e38f;
	assert_int_equal(stk_evaluator_add(ev, plain_exec(), x, codes, 1, &err), STK_ERANGE);
	stk_evaluator_free(ev);
}

static void
failures_leave_nothing_behind(void **state)
{
	float codewords[4] = {0, 1, 2, 3};
	float x[6] = {1, 2, 3, 4, 5, 6};
	uint16_t codes[6] = {0, 1, 2, 3, 3, 3};
	stk_codebook cb = {.levels = 1, .dim = 1, .sizes = {4}, .codewords = {codewords}};
	bool done = false;

	(void) state;
	for (long left = 0; !done; left++)
	{
		short_memory memory = {left, 0};
		stk_allocator a = short_allocator(&memory);
		stk_evaluation r;
		stk_evaluator *ev;
		stk_status status = stk_evaluator_create(&cb, &a, &ev);

		if (status == STK_OK)
			status = stk_evaluator_add(ev, plain_exec(), x, codes, 2, NULL);
		if (status == STK_OK)
			status = stk_evaluator_add(ev, plain_exec(), x + 2, codes + 2, 4, NULL);
		if (status == STK_OK)
			status = stk_evaluator_finish(ev, NULL, &r);
		done = status == STK_OK;
		if (!done)
			assert_int_equal(status, STK_ENOMEM);
		stk_evaluator_free(ev);
		assert_int_equal(memory.live, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_hand),
		cmocka_unit_test(against_plain_sums),
		cmocka_unit_test(same_bits_however_added),
		cmocka_unit_test(first_failure),
		cmocka_unit_test(extremes),
		cmocka_unit_test(bad_rows),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("evaluation", tests, NULL, NULL);
}
