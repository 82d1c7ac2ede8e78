/*
 * The quantizer on pools of threads: the codes and counts of one thread, the first failing row's
 * error, stops, failing memory, odd shapes, and environments that someone else has set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "core/rq.h"
#include "engine/crew.h"
#include "foreign_fpenv.h"
#include "rows.h"

#define MAX_THREADS 3
#define BACKWARDS (MAX_THREADS + 1)
#define DIM 6
#define ROWS 3000

static stk_crew *pools[MAX_THREADS + 1]; /* [0] stays NULL: this thread alone */

/* A pool that takes the last task first, and another number for each: core may not mind. */
static void
run_backwards(void *ctx, stk_task task, void *arg, size_t n)
{
	(void) ctx;
	while (n-- > 0)
		task(arg, n, (int) (n % 2));
}

static const stk_pool backwards = {2, run_backwards, NULL};

static int
set_up(void **state)
{
	(void) state;
	for (int t = 1; t <= MAX_THREADS; t++)
	{
		if (stk_crew_start(t, &pools[t]) != STK_OK)
			return -1;
	}
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	for (int t = 1; t <= MAX_THREADS; t++)
		stk_crew_stop(pools[t]);
	return 0;
}

static stk_exec
on_threads(int threads)
{
	stk_exec exec = *plain_exec();

	if (threads == BACKWARDS)
		exec.pool = &backwards;
	else if (threads > 0)
		exec.pool = stk_crew_pool(pools[threads], STK_BACKGROUND);
	return exec;
}

typedef struct book
{
	stk_codebook cb;
	float codewords[2 * 40 * DIM];
} book;

static void
book_make(book *b, stk_metric metric, uint32_t size, int dim, uint64_t *seed)
{
	memset(&b->cb, 0, sizeof(b->cb));
	b->cb.metric = metric;
	b->cb.levels = 2;
	b->cb.dim = dim;
	for (int l = 0; l < 2; l++)
	{
		b->cb.sizes[l] = size;
		b->cb.codewords[l] = b->codewords + l * 40 * DIM;
		fill(b->codewords + l * 40 * DIM, size * (size_t) dim, ldexpf(1, -l), seed);
	}
}

static stk_status
encode(const book *b, const stk_exec *exec, const float *x, size_t n, int beam, uint16_t *codes,
	   stk_nearest_stats *stats, stk_error *err)
{
	stk_rq *rq;
	stk_status status = stk_rq_create(&b->cb, exec, STK_FILTER_BEST, &rq, err);

	if (status == STK_OK)
		status = stk_rq_encode(rq, exec, x, n, beam, codes, stats, err);
	stk_rq_free(rq);
	return status;
}

/* Rows that cosine accepts. */
static float *
some_rows(uint64_t *seed)
{
	float *x = malloc(ROWS * DIM * sizeof(float));

	fill(x, ROWS * DIM, 1, seed);
	for (size_t i = 0; i < ROWS * DIM; i++)
		x[i] = x[i] == 0 ? 1 : x[i];
	return x;
}

/* Greedy codes by the plain rule, for the metrics that take rows as they are. */
static void
plain_encode(const book *b, const float *x, uint16_t *codes)
{
	float r[DIM];
	size_t dim = (size_t) b->cb.dim;

	memcpy(r, x, dim * sizeof(float));
	for (int l = 0; l < 2; l++)
	{
		codes[l] =
			plain_nearest(r, b->cb.codewords[l], b->cb.sizes[l], dim, b->cb.metric == STK_IP);
		for (size_t i = 0; i < dim; i++)
			r[i] = r[i] - b->cb.codewords[l][codes[l] * dim + i];
	}
}

static void
codes_and_counts_are_one_threads(void **state)
{
	uint64_t seed = 1;
	book *b = malloc(sizeof(book));
	float *x = some_rows(&seed);
	uint16_t *alone = malloc(ROWS * 2 * sizeof(uint16_t));
	uint16_t *codes = malloc(ROWS * 2 * sizeof(uint16_t));

	(void) state;
	for (stk_metric metric = STK_L2; metric <= STK_COSINE; metric++)
	{
		/* Few rows, or just more than a task's. */
		static const size_t numbers[] = {1, 2, 239, 241, 480, 481, ROWS};

		book_make(b, metric, 40, DIM, &seed);
		for (int beam = 1; beam <= 3; beam += 2)
		{
			for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
			{
				stk_exec exec = on_threads(0);
				stk_nearest_stats one = {0};
				stk_error err;

				assert_int_equal(encode(b, &exec, x, numbers[i], beam, alone, &one, &err), STK_OK);
				if (beam == 1)
					assert_int_equal(one.rows, 2 * numbers[i]);
				for (int threads = 1; threads <= BACKWARDS; threads++)
				{
					stk_nearest_stats stats = {0};

					exec = on_threads(threads);
					memset(codes, 0xff, ROWS * 2 * sizeof(uint16_t));
					assert_int_equal(encode(b, &exec, x, numbers[i], beam, codes, &stats, &err),
									 STK_OK);
					assert_memory_equal(codes, alone, numbers[i] * 2 * sizeof(uint16_t));
					assert_memory_equal(&stats, &one, sizeof(stats));
				}
			}
		}
	}
	free(codes);
	free(alone);
	free(x);
	free(b);
}

/* One codeword, one dimension, and both. */
static void
smallest_shapes(void **state)
{
	uint64_t seed = 2;
	book *b = malloc(sizeof(book));
	float *x = some_rows(&seed);
	uint16_t *codes = malloc(ROWS * 2 * sizeof(uint16_t));
	stk_error err;

	(void) state;
	for (stk_metric metric = STK_L2; metric <= STK_IP; metric++)
	{
		for (int shape = 0; shape < 3; shape++)
		{
			book_make(b, metric, shape == 1 ? 40 : 1, shape == 0 ? DIM : 1, &seed);
			for (int threads = 0; threads <= BACKWARDS; threads++)
			{
				stk_exec exec = on_threads(threads);

				assert_int_equal(encode(b, &exec, x, 900, 1, codes, NULL, &err), STK_OK);
				for (size_t i = 0; i < 900; i++)
				{
					uint16_t expected[2];

					plain_encode(b, x + i * (size_t) b->cb.dim, expected);
					assert_memory_equal(codes + 2 * i, expected, sizeof(expected));
				}
			}
		}
	}
	free(codes);
	free(x);
	free(b);
}

/* Of several rows that fail, in tasks of different threads, the first is named. */
static void
first_failing_row(void **state)
{
	static const size_t failing[] = {1, 240, 777, 1234, 2999};
	const float bad[] = {NAN, INFINITY, -INFINITY, 0, 3e38f};
	uint64_t seed = 3;
	book *b = malloc(sizeof(book));
	float *good = some_rows(&seed);
	float *x = malloc(ROWS * DIM * sizeof(float));
	uint16_t *codes = malloc(ROWS * 2 * sizeof(uint16_t));

	(void) state;
	for (size_t kind = 0; kind < 5; kind++)
	{
		/* A zero row under cosine; else a residual that overflows on its way to level 1. */
		book_make(b, kind == 3 ? STK_COSINE : STK_L2, 1, DIM, &seed);
		b->codewords[2] = -3e38f;
		for (size_t first = 0; first < 5; first++)
		{
			memcpy(x, good, ROWS * DIM * sizeof(float));
			for (size_t f = first; f < 5; f++)
			{
				if (bad[kind] == 0)
					memset(x + failing[f] * DIM, 0, DIM * sizeof(float));
				else
					x[failing[f] * DIM + 2] = bad[kind];
			}
			for (int beam = 1; beam <= 3; beam += 2)
			{
				for (int threads = 0; threads <= BACKWARDS; threads++)
				{
					stk_exec exec = on_threads(threads);
					stk_error err = {.row = 99999, .level = 99};

					assert_int_equal(encode(b, &exec, x, ROWS, beam, codes, NULL, &err),
									 kind == 4 ? STK_ERANGE : STK_EINVAL);
					assert_int_equal(err.row, failing[first]);
					assert_int_equal(err.level, kind == 4 ? 1 : -1);
					assert_int_equal(encode(b, &exec, x, ROWS, beam, codes, NULL, NULL),
									 kind == 4 ? STK_ERANGE : STK_EINVAL);
					assert_int_equal(encode(b, &exec, x, failing[first], beam, codes, NULL, &err),
									 STK_OK);
				}
			}
		}
	}
	free(codes);
	free(x);
	free(good);
	free(b);
}

/* Says stop once: whoever asks then must tell the rest. */
static bool
stop_once(void *ctx)
{
	return atomic_fetch_sub((atomic_long *) ctx, 1) == 0;
}

/* One level's nearest codewords alone. */
static stk_status
nearest(const book *b, const stk_exec *exec, const float *x, uint16_t *codes)
{
	stk_pack p;
	stk_status status = stk_pack_init(&p, exec, STK_FILTER_BEST, true, b->cb.sizes[0], DIM, false);

	if (status != STK_OK)
		return status;
	assert_int_equal(stk_pack_fill(&p, b->cb.codewords[0], NULL), STK_OK);
	status = stk_nearest_rows(exec, &p, x, ROWS, codes, NULL, NULL);
	stk_pack_free(&p);
	return status;
}

static void
stops_and_failures(void **state)
{
	uint64_t seed = 4;
	book *b = malloc(sizeof(book));
	float *x = some_rows(&seed);
	uint16_t *codes = malloc(ROWS * 2 * sizeof(uint16_t));
	stk_error err;

	(void) state;
	book_make(b, STK_L2, 40, DIM, &seed);
	for (int threads = 1; threads <= BACKWARDS; threads++)
	{
		for (int beam = 1; beam <= 3; beam += 2)
		{
			bool done = false;

			/* Every look in turn says stop, then some that only a larger batch comes to. */
			for (long look = 0; look < 12; look++)
			{
				atomic_long left = look;
				stk_monitor monitor = {stop_once, &left};
				short_memory memory = {100000, 0};
				stk_exec exec = on_threads(threads);

				exec.a = short_allocator(&memory);
				exec.monitor = &monitor;
				assert_int_equal(encode(b, &exec, x, ROWS, beam, codes, NULL, &err), STK_ECANCELED);
				left = look;
				assert_int_equal(nearest(b, &exec, x, codes), STK_ECANCELED);
				assert_int_equal(memory.live, 0);
			}
			for (long left = 0; !done; left++)
			{
				short_memory memory = {left, 0};
				stk_exec exec = on_threads(threads);
				stk_status status;

				exec.a = short_allocator(&memory);
				status = encode(b, &exec, x, 500, beam, codes, NULL, &err);
				if (status == STK_OK)
					status = nearest(b, &exec, x, codes);
				done = status == STK_OK;
				if (!done)
					assert_int_equal(status, STK_ENOMEM);
				assert_int_equal(memory.live, 0);
			}
		}
	}
	free(codes);
	free(x);
	free(b);
}

static void
spoil(void *arg, size_t index, int thread)
{
	(void) arg;
	(void) index;
	(void) thread;
	foreign_fpenv_enter();
}

/*
 * Small numbers and halves that round: a flushed or truncated operation anywhere gives other codes.
 * The pool's threads have someone else's environment too.
 */
static void
floating_point_environment(void **state)
{
	uint64_t seed = 5;
	book *b = malloc(sizeof(book));
	float *x = some_rows(&seed);
	uint16_t *right = malloc(ROWS * 2 * sizeof(uint16_t));
	uint16_t *codes = malloc(ROWS * 2 * sizeof(uint16_t));
	stk_error err;

	(void) state;
	for (stk_metric metric = STK_L2; metric <= STK_COSINE; metric++)
	{
		for (int power = -140; power <= 0; power += 70)
		{
			stk_exec exec = on_threads(0);

			book_make(b, metric, 40, DIM, &seed);
			for (size_t i = 0; i < 2 * 40 * DIM; i++)
				b->codewords[i] = ldexpf(b->codewords[i], power);
			for (size_t i = 0; i < ROWS * DIM; i++)
				x[i] = ldexpf(next_float(&seed) + 0x1p-22f, power) + 0x1p-149f;
			assert_int_equal(encode(b, &exec, x, ROWS, 1, right, NULL, &err), STK_OK);
			for (int threads = 0; threads <= BACKWARDS; threads++)
			{
				stk_status status;

				exec = on_threads(threads);
				/* Straight, not through core, which would put the environment back. */
				if (exec.pool)
					exec.pool->run(exec.pool->ctx, spoil, NULL, 100);
				foreign_fpenv_enter();
				status = encode(b, &exec, x, ROWS, 1, codes, NULL, &err);
				assert_true(foreign_fpenv_is_set());
				foreign_fpenv_leave();
				assert_int_equal(status, STK_OK);
				assert_memory_equal(codes, right, ROWS * 2 * sizeof(uint16_t));
			}
			for (size_t i = 0; i < ROWS && metric != STK_COSINE; i++)
			{
				uint16_t expected[2];

				plain_encode(b, x + i * DIM, expected);
				assert_memory_equal(right + 2 * i, expected, sizeof(expected));
			}
		}
	}
	free(codes);
	free(right);
	free(x);
	free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_and_counts_are_one_threads),
		cmocka_unit_test(smallest_shapes),
		cmocka_unit_test(first_failing_row),
		cmocka_unit_test(stops_and_failures),
		cmocka_unit_test(floating_point_environment),
	};

	return cmocka_run_group_tests_name("quantizer on threads", tests, set_up, tear_down);
}
