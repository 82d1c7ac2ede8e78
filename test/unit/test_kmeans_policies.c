/* What becomes of empty centroids, and the cap on a centroid's rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/kmeans.h"
#include "core/rqkmeans.h"
#include "machines.h"
#include "rows.h"

#define MAX_SIZE 64
#define MAX_DIM 24

typedef struct problem
{
	stk_kmeans km;
	stk_kmeans_work w;
	float centroids[MAX_SIZE * MAX_DIM];
	double counts[MAX_SIZE];
	uint16_t codes[2000];
	double error;
} problem;

static problem *
problem_make(const stk_exec *exec, const float *x, size_t n, size_t dim, uint32_t size,
			 bool inner_product)
{
	problem *p = calloc(1, sizeof(problem));

	p->km = (stk_kmeans){.dim = dim,
						 .size = size,
						 .centroids = p->centroids,
						 .counts = p->counts,
						 .inner_product = inner_product};
	assert_int_equal(stk_kmeans_work_init(&p->w, n, dim, size, exec), STK_OK);
	assert_int_equal(stk_kmeans_start(&p->km, &p->w, x, n, STK_INIT_RANDOM, 9, 0), STK_OK);
	return p;
}

static void
problem_free(problem *p)
{
	stk_kmeans_work_free(&p->w);
	free(p);
}

/* A monitor that counts looks and never says stop. */
static bool
count_looks(void *ctx)
{
	++*(long *) ctx;
	return false;
}

/* Rows of four clusters of 100, 60, 40 and 1, and centroids of which three have none. */
static problem *
clusters(float *x, size_t dim, uint64_t *seed, bool *changed)
{
	static const size_t ends[4] = {100, 160, 200, 201};
	problem *p;
	size_t cluster = 0;

	fill(x, 201 * dim, 0.25f, seed);
	for (size_t i = 0; i < 201; i++)
	{
		cluster += i == ends[cluster];
		x[i * dim] += 10 * (float) cluster;
	}
	p = problem_make(plain_exec(), x, 201, dim, 7, false);
	for (uint32_t k = 0; k < 7; k++)
	{
		memset(p->centroids + k * dim, 0, dim * sizeof(float));
		p->centroids[k * dim] = k % 2 ? 10 * (float) (3 - k / 2) : 1000;
	}
	/* Codes 1, 3, 5 take clusters 3, 2, 1 and 0 with it. */
	assert_int_equal(stk_kmeans_assign(&p->km, &p->w, x, 201, p->codes, &p->error), STK_OK);
	assert_int_equal(stk_kmeans_update(&p->km, &p->w, x, 201, p->codes, changed), STK_OK);
	*changed = false;
	return p;
}

static void
empty_centroids_stay(void **state)
{
	uint64_t seed = 41;
	float x[201 * 3];
	bool changed;
	problem *p = clusters(x, 3, &seed, &changed);
	float before[7 * 3];

	(void) state;
	memcpy(before, p->centroids, sizeof(before));
	assert_int_equal(
		stk_kmeans_fill_empty(&p->km, &p->w, x, 201, p->codes, STK_EMPTY_KEEP, &changed), STK_OK);
	assert_false(changed);
	assert_memory_equal(p->centroids, before, sizeof(before));
	problem_free(p);
}

/* The donor's move and the taker's place, one step of the rule. */
static void
plain_part(float *donor, float *taker, const float *row, size_t dim)
{
	for (size_t i = 0; i < dim; i++)
	{
		double step = ((double) row[i] - donor[i]) / 1024;

		taker[i] = (float) (donor[i] + step);
		donor[i] = (float) (donor[i] - step);
	}
}

static void
the_largest_is_split(void **state)
{
	uint64_t seed = 42;
	float x[201 * 3];
	bool changed;
	problem *p = clusters(x, 3, &seed, &changed);
	float expected[7 * 3];

	(void) state;
	/* 5 has clusters 0 and 1: 160 rows; 3 has 40, 1 has one. Codes 0, 2, 4, 6 have none. */
	assert_true(p->counts[5] == 160 && p->counts[3] == 40 && p->counts[1] == 1);
	memcpy(expected, p->centroids, sizeof(expected));
	/* 160 gives 80 to 0. 80 (the lower code) gives 40 to 2, by the next row. */
	plain_part(expected + 5 * 3, expected + 0 * 3, x, 3);
	plain_part(expected + 0 * 3, expected + 2 * 3, x + 3, 3);
	/* Now 5 has 80: row 1 is next for it. Then 0, 2, 3, 4 and 5 have 40: 0, with row 2. */
	plain_part(expected + 5 * 3, expected + 4 * 3, x + 3, 3);
	plain_part(expected + 0 * 3, expected + 6 * 3, x + 2 * 3, 3);
	assert_int_equal(
		stk_kmeans_fill_empty(&p->km, &p->w, x, 201, p->codes, STK_EMPTY_SPLIT, &changed), STK_OK);
	assert_true(changed);
	assert_memory_equal(p->centroids, expected, sizeof(expected));
	problem_free(p);
}

static void
the_farthest_rows_are_taken(void **state)
{
	uint64_t seed = 43;
	float x[201 * 3];
	bool changed;
	problem *p = clusters(x, 3, &seed, &changed);
	bool taken[201] = {false};
	float expected[7 * 3];

	(void) state;
	/* Two equal rows farther out than all others of their cluster: only the first is taken. */
	memcpy(x + 20 * 3, x + 10 * 3, 3 * sizeof(float));
	x[10 * 3 + 1] = x[20 * 3 + 1] = 50;
	assert_int_equal(stk_kmeans_measure(&p->w, x, 201, 3), STK_OK);
	assert_int_equal(stk_kmeans_assign(&p->km, &p->w, x, 201, p->codes, &p->error), STK_OK);
	memcpy(expected, p->centroids, sizeof(expected));
	for (uint32_t k = 0; k < 7; k += 2)
	{
		size_t farthest = 0;
		double largest = -1;

		for (size_t i = 0; i < 201; i++)
		{
			const float *c = expected + p->codes[i] * 3;
			double d = plain_dot(x + i * 3, x + i * 3, 3) +
					   2 * (0.5 * plain_dot(c, c, 3) - plain_dot(x + i * 3, c, 3));

			if (!taken[i] && d > largest)
			{
				largest = d;
				farthest = i;
			}
		}
		taken[farthest] = true;
		if (farthest == 10)
			taken[20] = true;
		assert_int_not_equal(farthest, 20);
		memcpy(expected + k * 3, x + farthest * 3, 3 * sizeof(float));
	}
	assert_true(taken[10]);
	assert_int_equal(
		stk_kmeans_fill_empty(&p->km, &p->w, x, 201, p->codes, STK_EMPTY_FARTHEST, &changed),
		STK_OK);
	assert_true(changed);
	assert_memory_equal(p->centroids, expected, sizeof(expected));
	problem_free(p);
}

/* Many rows at one distance, half of them equal to another: the first of each is taken. */
static void
equally_far_rows(void **state)
{
	float x[120 * 3];
	uint16_t codes[120];
	bool changed = false;
	problem *p;

	(void) state;
	/* Row i and row 119 - i are equal; all are as far from 0. */
	for (size_t i = 0; i < 120; i++)
	{
		size_t at = i < 60 ? i : 119 - i;

		for (size_t j = 0; j < 3; j++)
			x[i * 3 + j] = at >> j & 1 ? 1 : -1;
		x[i * 3 + at / 8 % 3] *= 1 + (float) (at / 24);
		codes[i] = 0;
	}
	p = problem_make(plain_exec(), x, 120, 3, 64, false);
	for (uint32_t k = 0; k < 64; k++)
	{
		for (size_t j = 0; j < 3; j++)
			p->centroids[k * 3 + j] = k > 0 ? 1000 : 0;
	}
	assert_int_equal(stk_kmeans_assign(&p->km, &p->w, x, 120, codes, &p->error), STK_OK);
	memset(p->counts, 0, sizeof(p->counts));
	p->counts[0] = 120;
	assert_int_equal(
		stk_kmeans_fill_empty(&p->km, &p->w, x, 120, codes, STK_EMPTY_FARTHEST, &changed), STK_OK);
	assert_true(changed);
	for (uint32_t k = 1, taken = 0; k < 64; k++)
	{
		/* By distance, then by place: each row that no earlier one equals. */
		size_t best = 120;
		float expected[3] = {1000, 1000, 1000};

		for (size_t i = 0; i < 120; i++)
		{
			bool old = false;

			for (uint32_t e = 1; e < k; e++)
				old |= memcmp(p->centroids + e * 3, x + i * 3, 3 * sizeof(float)) == 0;
			if (!old && (best == 120 || plain_dot(x + i * 3, x + i * 3, 3) >
											plain_dot(x + best * 3, x + best * 3, 3)))
				best = i;
		}
		if (best < 120)
			memcpy(expected, x + best * 3, sizeof(expected));
		taken += best < 120;
		assert_memory_equal(p->centroids + k * 3, expected, sizeof(expected));
		assert_true(k < 63 || (taken > 30 && taken < 60));
	}
	problem_free(p);
}

/* Splitting looks for every centroid that it fills, and stops when told. */
static void
splits_stop(void **state)
{
	uint64_t seed = 50;
	float x[201 * 3];
	bool changed;
	problem *p = clusters(x, 3, &seed, &changed);
	long looks = 0;
	stk_monitor monitor = {count_looks, &looks};

	(void) state;
	p->w.exec = exec_with(&stk_malloc, &monitor);
	assert_int_equal(
		stk_kmeans_fill_empty(&p->km, &p->w, x, 201, p->codes, STK_EMPTY_SPLIT, &changed), STK_OK);
	/* Two centroids with rows to compare, four without. */
	assert_int_equal(looks, 2 + 4);
	monitor.stop = stop_countdown;
	for (long left = 0; left < 6; left++)
	{
		looks = left;
		assert_int_equal(
			stk_kmeans_fill_empty(&p->km, &p->w, x, 201, p->codes, STK_EMPTY_SPLIT, &changed),
			STK_ECANCELED);
	}
	problem_free(p);
}

static void
count_epochs(void *ctx, const stk_train_progress *p)
{
	stk_train_progress *last = ctx;

	*last = *p;
}

/* Where nothing can be split or taken, training ends early and loses nothing. */
static void
policies_give_up(void **state)
{
	(void) state;
	for (stk_empty empty = STK_EMPTY_KEEP; empty <= STK_EMPTY_FARTHEST; empty++)
	{
		for (int variant = 0; variant < 12; variant++)
		{
			const float rows[12] = {1, 2, 3, 4, 1, 2, 5, 6, 3, 4, 1, 2};
			float x[12];
			float codewords[20 * 2];
			double counts[20];
			double total = 0;
			stk_train_progress last = {.objective = -1};
			stk_rqkmeans_options opt = {.metric = variant & 1 ? STK_COSINE : STK_L2,
										.levels = 1,
										.sizes = {variant & 2 ? 20 : 2},
										.dim = variant & 4 ? 1 : 2,
										.epochs = 1000,
										.init = (stk_init) (variant / 4),
										.empty = empty,
										.progress = count_epochs,
										.progress_ctx = &last};
			size_t n = 12 / (size_t) opt.dim;

			for (size_t i = 0; i < 12; i++)
				x[i] = variant & 8 ? 7 : rows[i];
			assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, n, codewords, counts, NULL),
							 STK_OK);
			assert_true(last.epoch < 100);
			for (uint32_t k = 0; k < opt.sizes[0]; k++)
				total += counts[k];
			assert_true(total == (double) n);
			if (variant & 2)
				assert_true(last.objective <= 1e-12);
		}
	}
}

/* With rows to spare, no codeword stays empty. */
static void
policies_fill_codewords(void **state)
{
	uint64_t seed = 44;
	size_t n = 2000, dim = 6;
	float *x = malloc(n * dim * sizeof(float));
	float *y = malloc(n * dim * sizeof(float));
	double objective[3];

	(void) state;
	/* Many rows in one place, and twelve others: random starts leave codewords empty. */
	fill(x, n * dim, 1, &seed);
	for (size_t i = 0; i < 1500; i++)
		memcpy(x + i * dim, x, dim * sizeof(float));
	for (stk_empty empty = STK_EMPTY_KEEP; empty <= STK_EMPTY_FARTHEST; empty++)
	{
		float codewords[32 * 6];
		stk_train_progress last = {.level = 0};
		stk_rqkmeans_options opt = {.levels = 1,
									.sizes = {32},
									.dim = (int) dim,
									.epochs = 15,
									.init = STK_INIT_RANDOM,
									.seed = 4,
									.empty = empty,
									.progress = count_epochs,
									.progress_ctx = &last};

		memcpy(y, x, n * dim * sizeof(float));
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, n, codewords, NULL, NULL),
						 STK_OK);
		if (empty == STK_EMPTY_KEEP)
			assert_true(last.empty > 0);
		else
			assert_int_equal(last.empty, 0);
		objective[empty] = last.objective;
	}
	assert_true(objective[STK_EMPTY_SPLIT] < 0.9 * objective[STK_EMPTY_KEEP]);
	assert_true(objective[STK_EMPTY_FARTHEST] < 0.9 * objective[STK_EMPTY_KEEP]);
	free(x);
	free(y);
}

/* Does centroid k hold row i rather than row j? */
static bool
rather(const problem *p, const float *x, uint32_t k, size_t i, size_t j)
{
	size_t dim = p->km.dim;
	const float *c = p->centroids + k * dim;
	double a = plain_score(x + i * dim, c, dim, p->km.inner_product);
	double b = plain_score(x + j * dim, c, dim, p->km.inner_product);

	if (!p->km.inner_product)
	{
		a = plain_dot(x + i * dim, x + i * dim, dim) + 2 * a;
		b = plain_dot(x + j * dim, x + j * dim, dim) + 2 * b;
	}
	return a != b ? a < b : i < j;
}

/*
 * Deferred acceptance written plainly: the last free row proposes first, each to the best centroid
 * that has not sent it on.
 */
static void
plain_balance(const problem *p, const float *x, size_t n, size_t cap, uint16_t *codes)
{
	size_t dim = p->km.dim;
	uint32_t size = p->km.size;
	bool *refused = calloc(n * size, sizeof(bool));
	bool *placed = calloc(n, sizeof(bool));

	for (size_t at = n; at > 0;)
	{
		size_t i = at - 1;
		uint32_t best = size;
		size_t held = 0;
		size_t worst = i;

		if (placed[i])
		{
			at--;
			continue;
		}
		for (uint32_t k = 0; k < size; k++)
		{
			if (!refused[i * size + k] &&
				(best == size ||
				 plain_score(x + i * dim, p->centroids + k * dim, dim, p->km.inner_product) <
					 plain_score(x + i * dim, p->centroids + best * dim, dim, p->km.inner_product)))
				best = k;
		}
		assert_true(best < size);
		codes[i] = (uint16_t) best;
		placed[i] = true;
		for (size_t j = 0; j < n; j++)
		{
			if (!placed[j] || codes[j] != best)
				continue;
			held++;
			if (rather(p, x, best, worst, j))
				worst = j;
		}
		if (held > cap)
		{
			placed[worst] = false;
			refused[worst * size + best] = true;
			at = n;
		}
	}
	free(refused);
	free(placed);
}

static void
balance_by_the_rule(void **state)
{
	uint64_t seed = 45;
	machines m;
	int count = machines_start(&m);

	(void) state;
	for (int variant = 0; variant < 16; variant++)
	{
		size_t n = variant & 1 ? 120 : 64;
		size_t dim = variant & 2 ? 5 : 1;
		uint32_t size = variant & 4 ? 40 : 6;
		float x[120 * 5];
		uint16_t expected[120];

		fill(x, n * dim, 1, &seed);
		/* Ties: duplicates, and all rows near one centroid. */
		for (size_t i = 0; i < n / 3; i++)
			memcpy(x + (n - 1 - i) * dim, x + i * dim, dim * sizeof(float));
		for (size_t i = 0; i < n && variant % 3 == 0; i++)
			x[i * dim] = fabsf(x[i * dim]) + 1;
		for (size_t spare = 0; spare < 5; spare += 2)
		{
			size_t cap = (n + size - 1) / size + spare;

			for (int i = 0; i < count; i++)
			{
				problem *p = problem_make(&m.execs[i], x, n, dim, size, variant & 8);
				size_t held[MAX_SIZE] = {0};
				double error = 0;

				/* Two centroids alike. */
				memcpy(p->centroids + 3 * dim, p->centroids, dim * sizeof(float));
				assert_int_equal(stk_kmeans_assign(&p->km, &p->w, x, n, p->codes, &p->error),
								 STK_OK);
				assert_int_equal(stk_kmeans_balance(&p->km, &p->w, x, n, cap, p->codes, &p->error),
								 STK_OK);
				if (i == 0)
					plain_balance(p, x, n, cap, expected);
				assert_memory_equal(p->codes, expected, n * sizeof(uint16_t));
				for (size_t j = 0; j < n; j++)
				{
					const float *c = p->centroids + p->codes[j] * dim;

					assert_true(++held[p->codes[j]] <= cap);
					assert_true(p->w.scores[j] == plain_score(x + j * dim, c, dim, variant & 8));
					for (size_t e = 0; e < dim; e++)
						error +=
							((double) x[j * dim + e] - c[e]) * ((double) x[j * dim + e] - c[e]);
				}
				assert_true(fabs(error - p->error) < 1e-9);
				problem_free(p);
			}
		}
	}
	machines_stop(&m);
}

/* Rows whose lists end and go on. */
static void
balance_goes_down_long_lists(void **state)
{
	uint64_t seed = 46;
	size_t n = 630, dim = 2;
	uint32_t size = 63;
	float x[630 * 2];
	uint16_t expected[630];
	long looks = 0;
	stk_monitor monitor = {count_looks, &looks};
	stk_exec exec = exec_with(&stk_malloc, &monitor);
	problem *p;

	(void) state;
	/* Everybody likes the same centroids best. */
	fill(x, n * dim, 0.001f, &seed);
	p = problem_make(&exec, x, n, dim, size, false);
	for (uint32_t k = 0; k < size; k++)
		p->centroids[k * dim] = (float) k;
	assert_int_equal(stk_kmeans_assign(&p->km, &p->w, x, n, p->codes, &p->error), STK_OK);
	looks = 0;
	assert_int_equal(stk_kmeans_balance(&p->km, &p->w, x, n, 10, p->codes, &p->error), STK_OK);
	/* Ten rows end at each place of their lists: so many lists of 16, and proposals. */
	assert_true(looks >= 10 * (16 * (1 + 2 + 3) + 14 * 4) + 10 * 63 * 64 / 2 / 1024);
	plain_balance(p, x, n, 10, expected);
	assert_memory_equal(p->codes, expected, n * sizeof(uint16_t));
	problem_free(p);
}

/* Without room for all rows nothing is done; told to stop, proposals end. */
static void
balance_gives_up(void **state)
{
	uint64_t seed = 49;
	size_t n = 2000;
	uint32_t size = 16;
	float x[2000];
	uint16_t before[2000];
	long looks = 0;
	stk_monitor monitor = {count_looks, &looks};
	stk_exec exec = exec_with(&stk_malloc, &monitor);
	problem *p;

	(void) state;
	fill(x, n, 0.001f, &seed);
	p = problem_make(&exec, x, n, 1, size, false);
	for (uint32_t k = 0; k < size; k++)
		p->centroids[k] = (float) k;
	assert_int_equal(stk_kmeans_assign(&p->km, &p->w, x, n, p->codes, &p->error), STK_OK);
	memcpy(before, p->codes, sizeof(before));
	assert_int_equal(stk_kmeans_balance(&p->km, &p->w, x, n, 124, p->codes, &p->error), STK_EINVAL);
	assert_int_equal(stk_kmeans_balance(&p->km, &p->w, x, n, 0, p->codes, &p->error), STK_EINVAL);
	assert_int_equal(stk_kmeans_balance(&p->km, &p->w, x, 1985, 124, p->codes, &p->error),
					 STK_EINVAL);
	assert_memory_equal(p->codes, before, sizeof(before));

	/* One look for each row's only list, then proposals until the last of the looks. */
	looks = 0;
	assert_int_equal(stk_kmeans_balance(&p->km, &p->w, x, n, 125, p->codes, &p->error), STK_OK);
	assert_true(looks > 1875 + 2);
	monitor.stop = stop_countdown;
	for (long last = 2; last >= 0; last--)
	{
		/* Looks that say go on: none, all but the last, all. */
		const long lefts[] = {0, looks - 1, looks};
		long left = lefts[last];

		p->w.exec.monitor = NULL;
		assert_int_equal(stk_kmeans_assign(&p->km, &p->w, x, n, p->codes, &p->error), STK_OK);
		p->w.exec.monitor = &monitor;
		monitor.ctx = &left;
		assert_int_equal(stk_kmeans_balance(&p->km, &p->w, x, n, 125, p->codes, &p->error),
						 last == 2 ? STK_OK : STK_ECANCELED);
	}
	problem_free(p);
}

/* Training holds the cap in every assignment, and ends with counts that show it. */
static void
training_holds_the_cap(void **state)
{
	uint64_t seed = 47;
	size_t n = 1000, dim = 8;
	float *x = malloc(n * dim * sizeof(float));
	float *y = malloc(n * dim * sizeof(float));
	double largest[3];

	(void) state;
	fill(x, n * dim, 1, &seed);
	for (size_t i = 0; i < 600 * dim; i++)
		x[i] = 0.1f * x[i];
	for (int i = 0; i < 3; i++)
	{
		float codewords[32 * 8];
		double counts[32];
		stk_rqkmeans_options opt = {.levels = 2,
									.sizes = {16, 16},
									.dim = (int) dim,
									.epochs = 4,
									.balance = i == 0   ? 0
											   : i == 1 ? 1
														: 1.3};

		memcpy(y, x, n * dim * sizeof(float));
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, n, codewords, counts, NULL),
						 STK_OK);
		largest[i] = 0;
		for (size_t k = 0; k < 32; k++)
			largest[i] = fmax(largest[i], counts[k]);
	}
	assert_true(largest[0] > 82 && largest[1] == 63 && largest[2] == 82);
	free(x);
	free(y);
}

static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 48;
	float x[120 * 3];
	float codewords[45 * 3];

	(void) state;
	for (int variant = 0; variant < 6; variant++)
	{
		bool done = false;

		for (long left = 0; !done; left++)
		{
			long looks = left;
			bool canceled = variant & 1;
			short_memory memory = {canceled ? 1000000 : left, 0};
			stk_allocator a = short_allocator(&memory);
			stk_monitor monitor = {stop_countdown, &looks};
			stk_exec exec = exec_with(&a, canceled ? &monitor : NULL);
			stk_rqkmeans_options opt = {.levels = 2,
										.sizes = {40, 5},
										.dim = 3,
										.epochs = 2,
										.init = STK_INIT_RANDOM,
										.empty = (stk_empty) (variant / 2),
										.balance = variant < 2 ? 1.1 : 0};
			stk_status status;

			fill(x, 120 * 3, 1, &seed);
			for (size_t i = 30; i < 120; i++)
				memcpy(x + i * 3, x + i % 30 * 3, 3 * sizeof(float));
			status = stk_rqkmeans_train(&opt, &exec, x, 120, codewords, NULL, NULL);
			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
			assert_int_equal(memory.live, 0);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_centroids_stay),
		cmocka_unit_test(the_largest_is_split),
		cmocka_unit_test(the_farthest_rows_are_taken),
		cmocka_unit_test(equally_far_rows),
		cmocka_unit_test(splits_stop),
		cmocka_unit_test(policies_give_up),
		cmocka_unit_test(policies_fill_codewords),
		cmocka_unit_test(balance_by_the_rule),
		cmocka_unit_test(balance_goes_down_long_lists),
		cmocka_unit_test(balance_gives_up),
		cmocka_unit_test(training_holds_the_cap),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("k-means policies", tests, NULL, NULL);
}
