/* Assigning again after an update is assigning anew: codes, errors, centroids and counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/kmeans.h"
#include "machines.h"
#include "rows.h"

#define N 1000
#define DIM 19
#define SIZE 60

/* Centroids and what is known of the rows; two of them live through the same iterations. */
typedef struct lloyd
{
	stk_kmeans km;
	stk_kmeans_work w;
	float centroids[SIZE * DIM];
	double counts[SIZE];
	uint16_t codes[N];
	double error;
	bool changed;
} lloyd;

static void
lloyd_start(lloyd *l, const stk_exec *exec, const float *x, bool inner_product, bool unit)
{
	l->km = (stk_kmeans){.dim = DIM,
						 .size = SIZE,
						 .centroids = l->centroids,
						 .counts = l->counts,
						 .inner_product = inner_product,
						 .unit = unit};
	assert_int_equal(stk_kmeans_work_init(&l->w, N, DIM, SIZE, exec), STK_OK);
	assert_int_equal(stk_kmeans_start(&l->km, &l->w, x, N, STK_INIT_RANDOM, 5, 0), STK_OK);
	assert_int_equal(stk_kmeans_assign(&l->km, &l->w, x, N, l->codes, &l->error), STK_OK);
}

static void
lloyd_update(lloyd *l, const float *x, stk_empty empty)
{
	assert_int_equal(stk_kmeans_update(&l->km, &l->w, x, N, l->codes, &l->changed), STK_OK);
	assert_int_equal(stk_kmeans_fill_empty(&l->km, &l->w, x, N, l->codes, empty, &l->changed),
					 STK_OK);
}

/* What is kept about the others bounds them, and often says something. */
static void
assert_others(const lloyd *l, const float *x)
{
	size_t step = unit_size(1, 1, 7);
	size_t known = 0;

	for (size_t i = 0; i < N; i += step)
	{
		known += isfinite(l->w.others[i]) && l->w.others[i] > l->w.scores[i];
		for (uint32_t k = 0; k < SIZE; k++)
		{
			if (k == l->codes[i])
				continue;
			assert_true(plain_score(x + i * DIM, l->centroids + k * DIM, DIM,
									l->km.inner_product) >= l->w.others[i]);
		}
	}
	assert_true(known * step > N / 4);
}

/* Iterations until nothing moves, side by side. Returns how many there were. */
static int
compare(const stk_exec *exec, const float *x, bool inner_product, bool unit, stk_empty empty)
{
	lloyd *again = malloc(sizeof(lloyd));
	lloyd *anew = malloc(sizeof(lloyd));
	int iterations = 0;

	lloyd_start(again, exec, x, inner_product, unit);
	lloyd_start(anew, exec, x, inner_product, unit);
	for (; iterations < 40; iterations++)
	{
		lloyd_update(again, x, empty);
		/* An assignment makes every sum anew. */
		lloyd_update(anew, x, empty);
		assert_memory_equal(again->centroids, anew->centroids, sizeof(again->centroids));
		assert_memory_equal(again->counts, anew->counts, sizeof(again->counts));
		assert_true(again->changed == anew->changed);
		if (!again->changed)
			break;
		assert_int_equal(
			stk_kmeans_reassign(&again->km, &again->w, x, N, again->codes, &again->error), STK_OK);
		assert_int_equal(stk_kmeans_assign(&anew->km, &anew->w, x, N, anew->codes, &anew->error),
						 STK_OK);
		assert_memory_equal(again->codes, anew->codes, sizeof(again->codes));
		assert_true(again->error == anew->error);
		assert_memory_equal(again->w.scores, anew->w.scores, N * sizeof(double));
		if (iterations % 4 == 1)
			assert_others(again, x);
	}
	stk_kmeans_work_free(&again->w);
	stk_kmeans_work_free(&anew->w);
	free(again);
	free(anew);
	return iterations;
}

/* Clusters of different sizes; on a coarse grid, where many scores are equal; with equal rows. */
static void
make_rows(float *x, int kind, uint64_t *seed)
{
	float centres[20 * DIM];

	fill(centres, 20 * DIM, 4, seed);
	fill(x, N * DIM, 1, seed);
	for (size_t i = 0; i < N; i++)
	{
		size_t cluster = next_bits(seed) % 20 * (next_bits(seed) % 20) / 20;

		for (size_t j = 0; j < DIM; j++)
		{
			float *v = &x[i * DIM + j];

			*v += centres[cluster * DIM + j];
			if (kind == 1)
				*v = roundf(*v / 2);
		}
		if (kind == 2 && i % 3)
			memcpy(x + i * DIM, x + (i - i % 3) * DIM, DIM * sizeof(float));
	}
}

static void
again_is_anew(void **state)
{
	static machines m;
	float *x = malloc(N * DIM * sizeof(float));
	uint64_t seed = 17;
	int most = 0;

	(void) state;
	machines_start(&m);
	for (int i = 0; i < m.count; i++)
	{
		for (int kind = 0; kind < 3; kind++)
		{
			if (!machines_turn(&m, i, kind))
				continue;
			make_rows(x, kind, &seed);
			for (int way = 0; way < 3; way++)
			{
				stk_empty empties[] = {STK_EMPTY_KEEP, STK_EMPTY_SPLIT, STK_EMPTY_FARTHEST};
				int n = compare(&m.execs[i], x, way == 1, way == 2, empties[(i + way) % 3]);

				most = n > most ? n : most;
			}
		}
	}
	machines_stop(&m);
	/* Long enough for most centroids to rest while others move. */
	assert_true(most >= 8);
	free(x);
}

/* Told to stop, or out of memory: nothing is left behind. */
static void
failures_leave_nothing_behind(void **state)
{
	float *x = malloc(N * DIM * sizeof(float));
	uint64_t seed = 18;

	(void) state;
	make_rows(x, 0, &seed);
	for (int canceled = 0; canceled <= 1; canceled++)
	{
		bool done = false;

		for (long left = 0; !done; left++)
		{
			long looks = 1000000;
			short_memory memory = {1000000, 0};
			stk_allocator a = short_allocator(&memory);
			stk_monitor monitor = {stop_countdown, &looks};
			stk_exec exec = exec_with(&a, &monitor);
			lloyd *l = malloc(sizeof(lloyd));
			stk_status status;

			lloyd_start(l, &exec, x, false, false);
			lloyd_update(l, x, STK_EMPTY_KEEP);
			if (canceled)
				looks = left;
			else
				memory.left = left;
			status = stk_kmeans_reassign(&l->km, &l->w, x, N, l->codes, &l->error);
			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
			stk_kmeans_work_free(&l->w);
			free(l);
			assert_int_equal(memory.live, 0);
		}
	}
	free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(again_is_anew),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
