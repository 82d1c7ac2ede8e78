/*
 * Engines: whatever the threads, the same bits as core in one thread; several callers at
 * once; memory, patience and what an engine says of itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "core/rq.h"
#include "engine/engine.h"
#include "machines.h"

#define MAX_THREADS 3

/* A codebook and rows, some of them the same. */
typedef struct problem
{
	stk_codebook cb;
	float *codewords;
	float *x; /* [n][dim] */
	size_t n;
	size_t levels;
	int beam;
} problem;

static problem
problem_random(int kind, uint64_t *seed)
{
	problem p = {.cb = {.metric = (stk_metric) (kind % 3),
						.levels = 1 + kind % 4,
						.dim = 1 + (kind * 13) % 70},
				 .n = 1 + (size_t) (kind * 101) % 900,
				 .beam = kind % 3 == 0 ? 1 : kind % 11 + 1};
	size_t dim = (size_t) p.cb.dim;
	size_t total = 0;
	float *at;

	p.levels = (size_t) p.cb.levels;
	for (int l = 0; l < p.cb.levels; l++)
		total += p.cb.sizes[l] = (uint32_t) (1 + (kind * 29 + l * 71) % 300);
	at = p.codewords = malloc(total * dim * sizeof(float));
	fill(p.codewords, total * dim, 1, seed);
	for (int l = 0; l < p.cb.levels; l++)
	{
		p.cb.codewords[l] = at;
		at += p.cb.sizes[l] * dim;
	}
	p.x = malloc(p.n * dim * sizeof(float));
	fill(p.x, p.n * dim, 1, seed);
	return p;
}

static void
problem_free(problem *p)
{
	free(p->codewords);
	free(p->x);
}

/* Core's codes, without a filter, in this thread. */
static uint16_t *
codes_of(const problem *p)
{
	uint16_t *codes = malloc(p->n * p->levels * sizeof(uint16_t));
	stk_rq *rq;

	assert_int_equal(stk_rq_create(&p->cb, plain_exec(), STK_FILTER_NONE, &rq, NULL), STK_OK);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), p->x, p->n, p->beam, codes, NULL, NULL),
					 STK_OK);
	stk_rq_free(rq);
	return codes;
}

static stk_engine *
open_engine(void)
{
	stk_engine *e;

	assert_int_equal(stk_engine_cpu_open(&stk_malloc, &e, NULL), STK_OK);
	return e;
}

/* An exec whose processor must not matter. */
static stk_exec
exec_on(const stk_pool *pool)
{
	return (stk_exec){.a = stk_malloc, .cpu = &stk_cpu_portable, .pool = pool};
}

static void
says_what_it_is(void **state)
{
	stk_engine *e = open_engine();
	const char *unit = stk_simd_name(plain_exec()->cpu->simd);

	(void) state;
	assert_string_equal(e->ops->name, "cpu");
	assert_memory_equal(e->device, unit, strlen(unit));
	/* A worker's texts have to be printable. */
	for (const char *c = e->device; *c; c++)
		assert_true(*c >= ' ' && *c <= '~');
	assert_true(e->device[strlen(e->device) - 1] != ' ');
	print_message("device: %s\n", e->device);
	e->ops->close(e);
}

/* Wide or not, with every number of threads: core's codes, and room that is accounted for. */
static void
encodes_like_core(void **state)
{
	int kinds = (int) unit_size(60, 20, 5);
	stk_engine *e = open_engine();
	stk_crew *crews[MAX_THREADS + 1] = {NULL};
	uint64_t seed = 8;

	(void) state;
	for (int t = 1; t <= MAX_THREADS; t++)
		assert_int_equal(stk_crew_start(t, &crews[t]), STK_OK);
	for (int kind = 0; kind < kinds; kind++)
	{
		problem p = problem_random(kind, &seed);
		uint16_t *expected = codes_of(&p);
		uint16_t *codes = malloc(p.n * p.levels * sizeof(uint16_t));

		for (int i = 0; i < 2 * (MAX_THREADS + 1); i++)
		{
			int threads = i / 2;
			stk_exec exec = exec_on(
				threads > 0 ? stk_crew_pool(crews[threads], (stk_urgency) (kind % 2)) : NULL);
			bool wide = i % 2 == 1;
			size_t bytes;
			stk_resident *r;

			assert_int_equal(e->ops->load(e, &exec, &p.cb, wide, &r, NULL), STK_OK);
			bytes = e->ops->resident_bytes(r);
			assert_true(bytes > 0);
			memset(codes, 0xff, p.n * p.levels * sizeof(uint16_t));
			assert_int_equal(e->ops->encode(e, &exec, r, p.x, p.n, p.beam, codes, NULL), STK_OK);
			assert_memory_equal(codes, expected, p.n * p.levels * sizeof(uint16_t));
			assert_int_equal(e->ops->resident_bytes(r), bytes);
			e->ops->unload(e, r);
		}
		free(codes);
		free(expected);
		problem_free(&p);
	}
	for (int t = 1; t <= MAX_THREADS; t++)
		stk_crew_stop(crews[t]);
	e->ops->close(e);
}

/* Someone who encodes over and over with what others use too. */
typedef struct caller
{
	stk_engine *e;
	const stk_resident *r;
	const problem *p;
	const uint16_t *expected;
	const stk_pool *pool;
	pthread_t thread;
	int wrong;
} caller;

static void *
encode_over_and_over(void *arg)
{
	caller *c = arg;
	size_t bytes = c->p->n * c->p->levels * sizeof(uint16_t);
	uint16_t *codes = malloc(bytes);
	stk_exec exec = exec_on(c->pool);

	for (int i = 0; i < 20; i++)
	{
		memset(codes, 0xff, bytes);
		if (c->e->ops->encode(c->e, &exec, c->r, c->p->x, c->p->n, c->p->beam, codes, NULL) !=
				STK_OK ||
			memcmp(codes, c->expected, bytes) != 0)
			c->wrong++;
	}
	free(codes);
	return NULL;
}

static void
several_callers_at_once(void **state)
{
	stk_engine *e = open_engine();
	stk_exec exec = exec_on(NULL);
	uint64_t seed = 9;
	stk_crew *crew;

	(void) state;
	assert_int_equal(stk_crew_start(3, &crew), STK_OK);
	for (int kind = 3; kind < 7; kind++)
	{
		problem p = problem_random(kind, &seed);
		uint16_t *expected = codes_of(&p);
		caller callers[6];
		stk_resident *r;

		assert_int_equal(e->ops->load(e, &exec, &p.cb, p.beam > 1, &r, NULL), STK_OK);
		for (int i = 0; i < 6; i++)
		{
			callers[i] = (caller){.e = e, .r = r, .p = &p, .expected = expected};
			callers[i].pool = i == 0 ? NULL : stk_crew_pool(crew, (stk_urgency) (i % 2));
			assert_int_equal(
				pthread_create(&callers[i].thread, NULL, encode_over_and_over, &callers[i]), 0);
		}
		for (int i = 0; i < 6; i++)
		{
			pthread_join(callers[i].thread, NULL);
			assert_int_equal(callers[i].wrong, 0);
		}
		e->ops->unload(e, r);
		free(expected);
		problem_free(&p);
	}
	stk_crew_stop(crew);
	e->ops->close(e);
}

/* Its training is core's, which test_train.c is about. */
static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const problem *p = ctx;
	size_t dim = (size_t) p->cb.dim;

	(void) err;
	memcpy(x, p->x + first * dim, count * dim * sizeof(float));
	return STK_OK;
}

static void
count_report(void *ctx, const stk_train_report *r)
{
	(void) r;
	++*(int *) ctx;
}

static void
trains_like_core(void **state)
{
	stk_engine *e = open_engine();
	uint64_t seed = 10;
	stk_crew *crew;

	(void) state;
	assert_int_equal(stk_crew_start(2, &crew), STK_OK);
	for (int kind = 2; kind < 20; kind += 3)
	{
		problem p = problem_random(kind, &seed);
		stk_rows rows = {p.n, read_rows, &p};
		stk_train_plan plan = {.metric = p.cb.metric,
							   .levels = 2,
							   .sizes = {9, 7},
							   .dim = p.cb.dim,
							   .epochs = 4,
							   .beam = 2,
							   .seed = (uint64_t) kind,
							   .eval_every = 2,
							   .refine = p.cb.metric == STK_IP ? 0 : 1};
		float codewords[2][16 * 70];
		double counts[2][16];
		stk_train_result results[2];
		int reports[2] = {0, 0};

		for (int i = 0; i < 2; i++)
		{
			stk_exec exec = exec_on(i ? stk_crew_pool(crew, STK_BACKGROUND) : NULL);

			results[i] = (stk_train_result){.codewords = codewords[i], .counts = counts[i]};
			assert_int_equal(i ? e->ops->train(e, &exec, &plan, &rows, &rows, count_report,
											   &reports[1], &results[1], NULL)
							   : stk_train(&plan, &exec, &rows, &rows, count_report, &reports[0],
										   &results[0], NULL),
							 STK_OK);
		}
		assert_memory_equal(codewords[0], codewords[1], 16 * (size_t) plan.dim * sizeof(float));
		assert_memory_equal(counts[0], counts[1], sizeof(counts[0]));
		assert_memory_equal(&results[0].rows.mse, &results[1].rows.mse, sizeof(double));
		assert_memory_equal(&results[0].heldout.entropy, &results[1].heldout.entropy,
							sizeof(double));
		assert_int_equal(reports[0], reports[1]);
		assert_true(reports[0] > 0);
		problem_free(&p);
	}
	stk_crew_stop(crew);
	e->ops->close(e);
}

static void
bad_codebooks_and_rows(void **state)
{
	stk_engine *e = open_engine();
	stk_exec exec = exec_on(NULL);
	uint64_t seed = 11;
	problem p = problem_random(7, &seed);
	uint16_t *codes = malloc(p.n * p.levels * sizeof(uint16_t));
	size_t dim = (size_t) p.cb.dim;
	stk_resident *r = NULL;
	stk_error err;

	(void) state;
	assert_int_equal(e->ops->load(e, &exec, &p.cb, true, &r, &err), STK_OK);
	p.x[3 * dim] = NAN;
	p.x[5 * dim + 1] = INFINITY;
	assert_int_equal(e->ops->encode(e, &exec, r, p.x, p.n, 4, codes, &err), STK_EINVAL);
	assert_int_equal(err.row, 3);
	e->ops->unload(e, r);
	p.codewords[p.cb.sizes[0] * dim + 2 * dim] = INFINITY;
	assert_int_equal(e->ops->load(e, &exec, &p.cb, true, &r, &err), STK_EINVAL);
	assert_null(r);
	assert_int_equal(err.level, 1);
	assert_int_equal(err.row, 2);
	free(codes);
	problem_free(&p);
	e->ops->close(e);
}

/* Whatever fails, nothing is left; whenever it is stopped, it stops. */
static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 12;
	problem p = problem_random(13, &seed);
	uint16_t *codes = malloc(p.n * p.levels * sizeof(uint16_t));
	stk_crew *crew;
	long looks = 0;

	(void) state;
	assert_int_equal(stk_crew_start(2, &crew), STK_OK);
	for (int canceled = 0; canceled <= 1; canceled++)
	{
		bool done = false;

		/* Looks are many. */
		for (long left = 0; !done; left += canceled ? (long) unit_size(1, 3, 17) : 1)
		{
			short_memory memory = {canceled ? 1000000 : left, 0};
			stk_allocator a = short_allocator(&memory);
			stk_monitor monitor = {stop_countdown, &looks};
			stk_exec exec = exec_on(canceled ? NULL : stk_crew_pool(crew, STK_URGENT));
			stk_status status;
			stk_engine *e;

			looks = left;
			exec.a = a;
			exec.monitor = canceled ? &monitor : NULL;
			status = stk_engine_cpu_open(&a, &e, NULL);
			if (status == STK_OK)
			{
				stk_resident *r;

				status = e->ops->load(e, &exec, &p.cb, true, &r, NULL);
				if (status == STK_OK)
				{
					status = e->ops->encode(e, &exec, r, p.x, p.n, 3, codes, NULL);
					e->ops->unload(e, r);
				}
				else
					assert_null(r);
				e->ops->close(e);
			}
			else
				assert_null(e);
			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
			assert_int_equal(memory.live, 0);
			assert_true(!done || left > 10);
		}
	}
	stk_crew_stop(crew);
	free(codes);
	problem_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_it_is),         cmocka_unit_test(encodes_like_core),
		cmocka_unit_test(several_callers_at_once), cmocka_unit_test(trains_like_core),
		cmocka_unit_test(bad_codebooks_and_rows),  cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
