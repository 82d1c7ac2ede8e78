/*
 * The residual k-means of RecTokens, written as plainly as can be, beside ours in mini-batches: the
 * same codebook from the same initial rows and batches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rqkmeans.h"
#include "rows.h"

#define LEVELS 3
#define MOST_CODES 64
#define MOST_DIM 16

/* The plain trainer's state. */
typedef struct plain
{
	uint32_t sizes[LEVELS];
	size_t dim;
	float codewords[LEVELS][MOST_CODES][MOST_DIM];
	double counts[LEVELS][MOST_CODES];
} plain;

static size_t
plain_closest(const plain *p, int level, const float *x)
{
	size_t best = 0;
	double least = INFINITY;

	for (size_t k = 0; k < p->sizes[level]; k++)
	{
		double d = 0;

		for (size_t i = 0; i < p->dim; i++)
		{
			double difference = (double) x[i] - p->codewords[level][k][i];

			d += difference * difference;
		}
		if (d < least)
		{
			least = d;
			best = k;
		}
	}
	return best;
}

/* Move a level's codewords for one batch: c = (n_old c + sum) / n_new for the codes hit. */
static void
plain_update(plain *p, int level, const float *rows, size_t n)
{
	size_t *codes = malloc(n * sizeof(size_t));

	for (size_t i = 0; i < n; i++)
		codes[i] = plain_closest(p, level, rows + i * p->dim);
	for (size_t k = 0; k < p->sizes[level]; k++)
	{
		double sum[MOST_DIM] = {0};
		double hits = 0;

		for (size_t i = 0; i < n; i++)
		{
			for (size_t d = 0; d < p->dim && codes[i] == k; d++)
				sum[d] += rows[i * p->dim + d];
			hits += codes[i] == k;
		}
		for (size_t d = 0; d < p->dim && hits > 0; d++)
		{
			float *c = &p->codewords[level][k][d];

			*c = (float) ((p->counts[level][k] * *c + sum[d]) / (p->counts[level][k] + hits));
		}
		p->counts[level][k] += hits;
	}
	free(codes);
}

/* Take from each row of a batch its codeword, as it is now. */
static void
plain_subtract(const plain *p, int level, float *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		size_t k = plain_closest(p, level, rows + i * p->dim);

		for (size_t d = 0; d < p->dim; d++)
			rows[i * p->dim + d] -= p->codewords[level][k][d];
	}
}

/*
 * The rows that a level starts from: drawn by ours from the first batch. Each is one of the batch,
 * and every row of the batch is there as far as there are codewords for it.
 */
static void
start_level(plain *p, int level, uint64_t seed, const float *rows, size_t n)
{
	static float centroids[MOST_CODES * MOST_DIM];
	double counts[MOST_CODES];
	stk_kmeans km = {
		.dim = p->dim, .size = p->sizes[level], .centroids = centroids, .counts = counts};
	stk_kmeans_work work;
	size_t bytes = p->dim * sizeof(float);
	size_t distinct = 0, taken = 0;

	assert_int_equal(stk_kmeans_work_init(&work, n, p->dim, km.size, plain_exec()), STK_OK);
	assert_int_equal(stk_kmeans_start(&km, &work, rows, n, STK_INIT_KMEANSPP, seed, level), STK_OK);
	stk_kmeans_work_free(&work);
	for (size_t k = 0; k < km.size; k++)
	{
		bool found = false;

		for (size_t i = 0; i < n; i++)
			found |= memcmp(centroids + k * p->dim, rows + i * p->dim, bytes) == 0;
		assert_true(found);
		memcpy(p->codewords[level][k], centroids + k * p->dim, bytes);
		p->counts[level][k] = 0;
	}
	for (size_t i = 0; i < n; i++)
	{
		bool first = true, found = false;

		for (size_t j = 0; j < i; j++)
			first &= memcmp(rows + j * p->dim, rows + i * p->dim, bytes) != 0;
		for (size_t k = 0; k < km.size; k++)
			found |= memcmp(centroids + k * p->dim, rows + i * p->dim, bytes) == 0;
		distinct += first;
		taken += first && found;
	}
	assert_int_equal(taken, distinct < km.size ? distinct : km.size);
}

/* All epochs, over rows x [n][dim] in the order that trainers put them. */
static void
plain_train(plain *p, uint64_t seed, int epochs, size_t batch, const float *x, size_t n)
{
	float *rows = malloc(batch * p->dim * sizeof(float));
	stk_batches batches;

	assert_int_equal(stk_batches_init(&batches, plain_exec(), n, batch), STK_OK);
	for (int epoch = 1; epoch <= epochs; epoch++)
	{
		bool first = epoch == 1;

		stk_batches_begin(&batches, seed, epoch);
		for (;;)
		{
			size_t count;

			assert_int_equal(stk_batches_next(&batches, plain_exec(), x, p->dim, rows, &count),
							 STK_OK);
			if (count == 0)
				break;
			for (int l = 0; l < LEVELS; l++)
			{
				if (first)
					start_level(p, l, seed, rows, count);
				plain_update(p, l, rows, count);
				plain_subtract(p, l, rows, count);
			}
			first = false;
		}
	}
	stk_batches_free(&batches, plain_exec());
	free(rows);
}

/* Rows around centres, the last `equal` of them the same as the first. */
static float *
make_rows(size_t n, size_t dim, size_t equal, uint64_t *seed)
{
	float centres[12 * MOST_DIM];
	float *x = malloc(n * dim * sizeof(float));

	fill(centres, 12 * dim, 1, seed);
	for (size_t i = 0; i < n; i++)
	{
		const float *centre = centres + next_bits(seed) % 12 * dim;

		for (size_t d = 0; d < dim; d++)
			x[i * dim + d] = centre[d] + 0.25f * next_float(seed);
	}
	for (size_t i = n - equal; i < n; i++)
		memcpy(x + i * dim, x, dim * sizeof(float));
	return x;
}

/* One problem by both; says how many codewords no row ever chose. */
static int
compare(size_t n, size_t dim, size_t equal, const uint32_t *sizes, size_t batch, int epochs,
		uint64_t *seed)
{
	stk_rqkmeans_options opt = {.levels = LEVELS,
								.dim = (int) dim,
								.epochs = epochs,
								.batch_size = batch,
								.init = STK_INIT_KMEANSPP,
								.seed = 42};
	plain *p = calloc(1, sizeof(plain));
	float *x = make_rows(n, dim, equal, seed);
	float *sorted = malloc(n * dim * sizeof(float));
	size_t *from = malloc(n * sizeof(size_t));
	float *codewords = malloc(LEVELS * MOST_CODES * dim * sizeof(float));
	double counts[LEVELS * MOST_CODES];
	size_t at = 0;
	int unused = 0;

	p->dim = dim;
	memcpy(p->sizes, sizes, sizeof(p->sizes));
	memcpy(opt.sizes, sizes, sizeof(p->sizes));
	memcpy(sorted, x, n * dim * sizeof(float));
	assert_int_equal(stk_train_rows_sort(plain_exec(), sorted, n, dim, from), STK_OK);
	plain_train(p, opt.seed, epochs, batch < n ? batch : n, sorted, n);
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, n, codewords, counts, NULL), STK_OK);
	for (int l = 0; l < LEVELS; l++)
	{
		double all = 0;

		for (size_t k = 0; k < sizes[l]; k++, at++)
		{
			assert_memory_equal(codewords + at * dim, p->codewords[l][k], dim * sizeof(float));
			assert_true(counts[at] == p->counts[l][k]);
			all += counts[at];
			unused += counts[at] == 0;
		}
		/* Counts last: every row of every epoch is in them. */
		assert_true(all == (double) n * epochs);
	}
	free(codewords);
	free(from);
	free(sorted);
	free(x);
	free(p);
	return unused;
}

static void
ours_is_theirs(void **state)
{
	static const uint32_t sizes[LEVELS] = {32, 24, 16};
	uint64_t seed = 71;

	(void) state;
	/* Batches that fill, one that is short at an epoch's end, one that holds all rows. */
	for (size_t batch = 40; batch <= 1000; batch *= 4)
	{
		for (size_t dim = 1; dim <= MOST_DIM; dim += 5)
			compare(unit_size(700, 700, 300), dim, 0, sizes, batch, (int) unit_size(8, 8, 3),
					&seed);
	}
}

/* Fewer rows than codes in the first batch, or at all: rows repeat, and spare ones stay unused. */
static void
few_rows_repeat(void **state)
{
	static const uint32_t sizes[LEVELS] = {64, 40, 9};
	uint64_t seed = 72;

	(void) state;
	compare(300, 6, 0, sizes, 30, 4, &seed);
	assert_true(compare(20, 6, 0, sizes, 640, 4, &seed) >= 64 - 20);
	assert_true(compare(20, 3, 15, sizes, 7, 4, &seed) >= 64 - 6);
	assert_true(compare(1, 2, 0, sizes, 640, 3, &seed) >= 64 + 40 + 9 - 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours_is_theirs),
		cmocka_unit_test(few_rows_repeat),
	};

	return cmocka_run_group_tests_name("RecTokens' k-means", tests, NULL, NULL);
}
