/* Initial centroids against their rules written plainly, on every path and number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/kmeans.h"
#include "machines.h"
#include "rows.h"

static double
plain_distance(const float *x, const float *c, size_t dim)
{
	double d = plain_dot(x, x, dim) + 2 * (0.5 * plain_dot(c, c, dim) - plain_dot(x, c, dim));

	return d > 0 ? d : 0;
}

/* Weights and distances as integers, written plainly. */
typedef struct plain_sampler
{
	size_t n;
	const double *weights; /* NULL: 1 */
	double *distances;
	double scale;
	uint64_t total;
} plain_sampler;

static uint64_t
plain_share(const plain_sampler *s, size_t i, double d)
{
	return (uint64_t) ((s->weights ? s->weights[i] * d : d) * s->scale);
}

static void
plain_weigh(plain_sampler *s)
{
	double largest = 0;
	int bits = 0;
	int exponent;

	for (size_t i = 0; i < s->n; i++)
		largest = fmax(largest, s->weights ? s->weights[i] * s->distances[i] : s->distances[i]);
	while (s->n >> bits)
		bits++;
	frexp(largest, &exponent);
	s->scale = ldexp(1, 62 - bits - exponent);
	s->total = 0;
	for (size_t i = 0; i < s->n; i++)
		s->total += plain_share(s, i, s->distances[i]);
	assert_true(s->total <= (uint64_t) 1 << 62);
}

static size_t
plain_draw(const plain_sampler *s, uint64_t bits)
{
	uint64_t target = stk_below(bits, s->total ? s->total : s->n);

	if (s->total == 0)
		return (size_t) target;
	for (size_t i = 0;; i++)
	{
		uint64_t share = plain_share(s, i, s->distances[i]);

		if (target < share)
			return i;
		target -= share;
	}
}

static void
plain_approach(plain_sampler *s, const float *x, size_t dim, const float *c, bool first)
{
	for (size_t i = 0; i < s->n; i++)
	{
		double d = plain_distance(x + i * dim, c, dim);

		if (first || d < s->distances[i])
			s->distances[i] = d;
	}
}

/* k-means++ by rejection, of weighted rows. */
static void
plain_rejection(const float *x, const double *weights, size_t n, size_t dim, uint32_t size,
				uint64_t seed, int level, float *c)
{
	plain_sampler s = {.n = n, .weights = weights, .distances = malloc(n * sizeof(double))};
	uint32_t known = 0;

	for (size_t i = 0; i < n; i++)
		s.distances[i] = 1;
	plain_weigh(&s);
	for (uint32_t k = 0; k < size; k++)
	{
		int rejected = 0;

		for (uint32_t t = 0;; t++)
		{
			double d;
			size_t i;

			if (k - known == 1024 || (k > known && k - known >= known) || rejected == 4)
			{
				for (; known < k; known++)
					plain_approach(&s, x, dim, c + known * dim, known == 0);
				plain_weigh(&s);
				rejected = 0;
			}
			i = plain_draw(&s, stk_random(seed, STK_RANDOM_INIT, level, 2 * t, k));
			d = s.distances[i];
			for (uint32_t j = known; j < k; j++)
				d = fmin(d, plain_distance(x + i * dim, c + j * dim, dim));
			if (s.total == 0 || k == known ||
				stk_below(stk_random(seed, STK_RANDOM_INIT, level, 2 * t + 1, k),
						  plain_share(&s, i, s.distances[i])) < plain_share(&s, i, d))
			{
				memcpy(c + k * dim, x + i * dim, dim * sizeof(float));
				break;
			}
			rejected++;
		}
	}
	free(s.distances);
}

static void
plain_kmeanspp(const float *x, size_t n, size_t dim, uint32_t size, uint64_t seed, int level,
			   float *c)
{
	plain_rejection(x, NULL, n, dim, size, seed, level, c);
}

/* The nearest of some rows to row i, by the reference's rule. */
static uint16_t
plain_nearest_of(const float *x, size_t i, size_t dim, const size_t *rows, size_t count)
{
	float *c = malloc(count * dim * sizeof(float));
	uint16_t nearest;

	for (size_t j = 0; j < count; j++)
		memcpy(c + j * dim, x + rows[j] * dim, dim * sizeof(float));
	nearest = plain_nearest(x + i * dim, c, count, dim, false);
	free(c);
	return nearest;
}

/* k-means||, then k-means++ on the candidates: greedy up to 4,096 centroids. */
static void
plain_kmeansii(const float *x, size_t n, size_t dim, uint32_t size, uint64_t seed, int level,
			   float *c)
{
	plain_sampler s = {.n = n, .distances = malloc(n * sizeof(double))};
	plain_sampler p = {.n = 0};
	size_t *candidates = malloc(n * sizeof(size_t));
	size_t *nearest = malloc(n * sizeof(size_t));
	float *points = malloc(n * dim * sizeof(float));
	double *weights = calloc(n, sizeof(double));
	double *trial = malloc(n * sizeof(double));
	double *best = malloc(n * sizeof(double));
	size_t count = 0;
	size_t known = 0;

	candidates[count++] =
		(size_t) stk_below(stk_random(seed, STK_RANDOM_INIT, level, 0x10000, 0), n);
	for (uint32_t round = 1; round <= 6; round++)
	{
		/* No test has more than 1,024 new candidates. */
		for (size_t i = 0; i < n && known < count; i++)
		{
			uint16_t j = plain_nearest_of(x, i, dim, candidates + known, count - known);
			double d = plain_distance(x + i * dim, x + candidates[known + j] * dim, dim);

			if (known == 0 || d < s.distances[i])
			{
				s.distances[i] = d;
				nearest[i] = known + j;
			}
		}
		known = count;
		if (round == 6)
			break;
		plain_weigh(&s);
		for (size_t i = 0; i < n && s.total > 0; i++)
		{
			uint64_t u =
				stk_below(stk_random(seed, STK_RANDOM_INIT, level, 0x10000 + round, i), s.total);

			if ((double) u < 2.0 * size * (double) plain_share(&s, i, s.distances[i]))
				candidates[count++] = i;
		}
	}
	for (size_t i = 0; i < n; i++)
		weights[nearest[i]]++;
	for (size_t j = 0; j < count; j++)
		memcpy(points + j * dim, x + candidates[j] * dim, dim * sizeof(float));
	p = (plain_sampler){.n = count, .weights = weights, .distances = s.distances};
	for (size_t j = 0; j < count; j++)
		p.distances[j] = 1;
	if (size > 4096)
		plain_rejection(points, weights, count, dim, size, seed, level, c);
	for (uint32_t k = 0; k < size && size <= 4096; k++)
	{
		uint32_t trials = 2 + 7 * (uint32_t) log2(size) / 10;
		uint64_t least = UINT64_MAX;

		plain_weigh(&p);
		for (uint32_t t = 0; t < (k == 0 || p.total == 0 ? 1 : trials); t++)
		{
			size_t i = plain_draw(&p, stk_random(seed, STK_RANDOM_INIT, level, t, k));
			uint64_t left = 0;

			for (size_t j = 0; j < count; j++)
			{
				double d = plain_distance(points + j * dim, points + i * dim, dim);

				trial[j] = k == 0 || d < p.distances[j] ? d : p.distances[j];
				left += k == 0 ? 0 : plain_share(&p, j, trial[j]);
			}
			if (left < least)
			{
				least = left;
				memcpy(best, trial, count * sizeof(double));
				memcpy(c + k * dim, points + i * dim, dim * sizeof(float));
			}
		}
		memcpy(p.distances, best, count * sizeof(double));
	}
	free(s.distances);
	free(candidates);
	free(nearest);
	free(points);
	free(weights);
	free(trial);
	free(best);
}

/* Start from x on a machine; c [size][dim] out. */
static void
start(const stk_exec *exec, const float *x, size_t n, size_t dim, uint32_t size, stk_init init,
	  uint64_t seed, int level, float *c)
{
	double *counts = malloc(size * sizeof(double));
	stk_kmeans km = {.dim = dim, .size = size, .centroids = c, .counts = counts};
	stk_kmeans_work w;

	assert_int_equal(stk_kmeans_work_init(&w, n, dim, size, exec), STK_OK);
	assert_int_equal(stk_kmeans_start(&km, &w, x, n, init, seed, level), STK_OK);
	for (uint32_t k = 0; k < size; k++)
		assert_true(counts[k] == 0);
	stk_kmeans_work_free(&w);
	free(counts);
}

typedef enum kind
{
	UNIFORM,
	CLUSTERED,
	DUPLICATES,
	HUGE_AND_TINY,
	FAR_AWAY,
	ALL_EQUAL,
	GRID, /* equal distances everywhere */
	KINDS
} kind;

static void
make_rows(kind what, float *x, size_t n, size_t dim, uint64_t *seed)
{
	fill(x, n * dim, 1, seed);
	for (size_t i = 0; i < n; i++)
	{
		float *row = x + i * dim;
		/* Clusters at 1, 2, 4, 8 … */
		float at = ldexpf(1, (int) (next_bits(seed) % 12));

		if (what == DUPLICATES && i >= n / 4)
			memcpy(row, x + next_bits(seed) % (n / 4 + 1) * dim, dim * sizeof(float));
		if (what == ALL_EQUAL && i > 0)
			memcpy(row, x, dim * sizeof(float));
		for (size_t j = 0; j < dim; j++)
		{
			if (what == CLUSTERED)
				row[j] = at + row[j] / 64;
			if (what == HUGE_AND_TINY)
				row[j] *= i % 3 == 0 ? 1e37f : i % 3 == 1 ? 0x1p-130f : 1;
			if (what == GRID)
				row[j] = j < 3 ? floorf(3 * row[j]) : 0;
			if (what == FAR_AWAY)
				row[j] = 1000 + row[j] / 256;
		}
	}
}

/* The rule, whatever computes it. */
static void
by_the_rule(stk_init init, void (*plain)(const float *x, size_t n, size_t dim, uint32_t size,
										 uint64_t seed, int level, float *c))
{
	static const struct
	{
		size_t n;
		size_t dim;
		uint32_t size;
	} shapes[] = {{300, 5, 40}, {1, 3, 4},      {70, 1, 9},    {500, 33, 1},
				  {20, 4, 50},  {600, 16, 100}, {257, 40, 17}, {40, 2, 40}};
	uint64_t seed = 31;
	machines m;
	int count = machines_start(&m);

	for (size_t shape = 0; shape < sizeof(shapes) / sizeof(shapes[0]); shape++)
	{
		size_t n = shapes[shape].n < 500 ? shapes[shape].n : shapes[shape].n / unit_size(1, 1, 2);
		size_t dim = shapes[shape].dim;
		uint32_t size = shapes[shape].size;
		float *x = malloc(n * dim * sizeof(float));
		float *expected = malloc(size * dim * sizeof(float));
		float *c = malloc(size * dim * sizeof(float));

		for (kind what = UNIFORM; what < KINDS; what++)
		{
			make_rows(what, x, n, dim, &seed);
			plain(x, n, dim, size, 77 + what, (int) shape, expected);
			for (int i = 0; i < count; i++)
			{
				if (!machines_turn(&m, i, (int) (shape + what)))
					continue;
				start(&m.execs[i], x, n, dim, size, init, 77 + what, (int) shape, c);
				assert_memory_equal(c, expected, size * dim * sizeof(float));
			}
		}
		free(x);
		free(expected);
		free(c);
	}
	machines_stop(&m);
}

static void
kmeanspp_by_the_rule(void **state)
{
	(void) state;
	by_the_rule(STK_INIT_KMEANSPP, plain_kmeanspp);
}

static void
kmeansii_by_the_rule(void **state)
{
	(void) state;
	by_the_rule(STK_INIT_KMEANSII, plain_kmeansii);
}

/* More centroids than may wait for their distances, and more points than one task takes. */
static void
many_centroids(void **state)
{
	uint64_t seed = 32;
	size_t n = unit_size(5000, 5000, 2500), dim = 3;
	uint32_t size = (uint32_t) n / 2;
	float *x = malloc(n * dim * sizeof(float));
	float *expected = malloc(size * dim * sizeof(float));
	float *c = malloc(size * dim * sizeof(float));

	(void) state;
	fill(x, n * dim, 1, &seed);
	plain_kmeanspp(x, n, dim, size, 5, 0, expected);
	start(plain_exec(), x, n, dim, size, STK_INIT_KMEANSPP, 5, 0, c);
	assert_memory_equal(c, expected, size * dim * sizeof(float));
	n = unit_size(1500, 1500, 600);
	plain_kmeansii(x, n, dim, 300, 5, 0, expected);
	start(plain_exec(), x, n, dim, 300, STK_INIT_KMEANSII, 5, 0, c);
	assert_memory_equal(c, expected, 300 * dim * sizeof(float));
	free(x);
	free(expected);
	free(c);
}

/* Up to 4,096 centroids are chosen greedily, more are not; what is drawn differs. */
static void
greedy_up_to_a_size(void **state)
{
	uint64_t seed = 34;
	size_t n = unit_size(600, 600, 100), dim = 3;
	float *x = malloc(n * dim * sizeof(float));
	float *expected = malloc(4097 * dim * sizeof(float));
	float *c[2];

	(void) state;
	make_rows(DUPLICATES, x, n, dim, &seed);
	for (uint32_t i = 0; i < 2; i++)
	{
		c[i] = malloc(4097 * dim * sizeof(float));
		plain_kmeansii(x, n, dim, 4096 + i, 5, 0, expected);
		start(plain_exec(), x, n, dim, 4096 + i, STK_INIT_KMEANSII, 5, 0, c[i]);
		assert_memory_equal(c[i], expected, (4096 + i) * dim * sizeof(float));
	}
	assert_memory_not_equal(c[0], c[1], 20 * dim * sizeof(float));
	free(x);
	free(expected);
	free(c[0]);
	free(c[1]);
}

/* A row as far from a candidate as from one of an earlier round stays with the earlier. */
static void
ties_between_rounds(void **state)
{
	float x[64 * 2];
	float expected[4 * 2];
	float c[4 * 2];

	(void) state;
	for (size_t i = 0; i < 64; i++)
	{
		x[2 * i] = (float) (i / 8);
		x[2 * i + 1] = (float) (i % 8);
	}
	for (uint64_t seed = 0; seed < 40; seed++)
	{
		plain_kmeansii(x, 64, 2, 4, seed, 0, expected);
		start(plain_exec(), x, 64, 2, 4, STK_INIT_KMEANSII, seed, 0, c);
		assert_memory_equal(c, expected, sizeof(expected));
	}
}

/*
 * Rejection keeps k-means++'s distribution: the third centroid of rows 0, 1, 3 and 10, given the
 * first two, comes as often as squared distances say.
 */
static void
rejection_keeps_the_distribution(void **state)
{
	const float x[4] = {0, 1, 3, 10};
	double expected[4][4] = {{0}};
	int drawn[4][4] = {{0}};
	size_t seeds = unit_size(20000, 5000, 2000);

	(void) state;
	/* [last][third]: probabilities of the pair of centroids 2 and 3 over all ways to the first. */
	for (int a = 0; a < 4; a++)
	{
		double total = 0;

		for (int i = 0; i < 4; i++)
			total += plain_distance(x + i, x + a, 1);
		for (int b = 0; b < 4; b++)
		{
			double p = 0.25 * plain_distance(x + b, x + a, 1) / total;
			double left = 0;

			for (int i = 0; i < 4; i++)
				left += fmin(plain_distance(x + i, x + a, 1), plain_distance(x + i, x + b, 1));
			for (int i = 0; i < 4 && left > 0; i++)
				expected[b][i] +=
					p * fmin(plain_distance(x + i, x + a, 1), plain_distance(x + i, x + b, 1)) /
					left;
		}
	}
	for (uint64_t seed = 0; seed < seeds; seed++)
	{
		float c[4];
		int place[4];

		start(plain_exec(), x, 4, 1, 4, STK_INIT_KMEANSPP, seed, 0, c);
		for (int k = 0; k < 4; k++)
		{
			for (int i = 0; i < 4; i++)
				place[k] = c[k] == x[i] ? i : k == 0 && i == 0 ? 0 : place[k];
		}
		drawn[place[1]][place[2]]++;
	}
	for (int b = 0; b < 4; b++)
	{
		for (int i = 0; i < 4; i++)
		{
			double mean = (double) seeds * expected[b][i];

			/* Five standard deviations. */
			assert_true(fabs(drawn[b][i] - mean) <= 5 * sqrt(mean) + 1e-9);
		}
	}
}

static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 33;
	size_t n = 200, dim = 4;
	uint32_t size = 30;
	float x[200 * 4];
	float c[30 * 4];
	double counts[30];
	stk_crew *pool;

	(void) state;
	fill(x, n * dim, 1, &seed);
	assert_int_equal(stk_crew_start(2, &pool), STK_OK);
	for (stk_init init = STK_INIT_KMEANSPP; init <= STK_INIT_KMEANSII; init++)
	{
		for (int canceled = 0; canceled <= 1; canceled++)
		{
			bool done = false;

			/* Looks are many. */
			for (long left = 0; !done; left += canceled ? (long) unit_size(1, 1, 5) : 1)
			{
				long looks = left;
				short_memory memory = {canceled ? 1000000 : left, 0};
				stk_allocator a = short_allocator(&memory);
				stk_monitor monitor = {stop_countdown, &looks};
				stk_exec exec = exec_with(&a, canceled ? &monitor : NULL);
				stk_kmeans km = {.dim = dim, .size = size, .centroids = c, .counts = counts};
				stk_kmeans_work w;
				stk_status status;

				exec.pool = canceled ? NULL : stk_crew_pool(pool, STK_BACKGROUND);
				status = stk_kmeans_work_init(&w, n, dim, size, &exec);
				if (status == STK_OK)
				{
					status = stk_kmeans_start(&km, &w, x, n, init, 3, 0);
					stk_kmeans_work_free(&w);
				}
				done = status == STK_OK;
				if (!done)
					assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
				assert_int_equal(memory.live, 0);
			}
		}
	}
	stk_crew_stop(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kmeanspp_by_the_rule),
		cmocka_unit_test(kmeansii_by_the_rule),
		cmocka_unit_test(many_centroids),
		cmocka_unit_test(greedy_up_to_a_size),
		cmocka_unit_test(ties_between_rounds),
		cmocka_unit_test(rejection_keeps_the_distribution),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("k-means starts", tests, NULL, NULL);
}
