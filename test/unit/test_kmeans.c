/* k-means and RQ-KMeans: sums by the rule, updates, determinism, odd inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rq.h"
#include "core/rqkmeans.h"
#include "machines.h"
#include "rows.h"

static double
add_lanes(const double *lane)
{
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
		   ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Sum one column over the rows with a code, in the documented shape; returns their number. */
static size_t
plain_sum(const float *x, size_t n, size_t dim, const uint16_t *codes, uint16_t code, size_t column,
		  double *sum)
{
	double lane[8] = {0};
	size_t members = 0;

	*sum = 0;
	for (size_t i = 0; i < n; i++)
	{
		if (codes[i] != code)
			continue;
		lane[members++ % 8] += x[i * dim + column];
		if (members % 256 == 0)
		{
			*sum += add_lanes(lane);
			memset(lane, 0, sizeof(lane));
		}
	}
	*sum += add_lanes(lane);
	return members;
}

typedef struct problem
{
	stk_kmeans km;
	stk_kmeans_work work;
	float centroids[50 * 40];
	double counts[50];
} problem;

static problem *
problem_make(size_t n, size_t dim, uint32_t size)
{
	problem *p = malloc(sizeof(problem));

	memset(p, 0, sizeof(*p));
	p->km = (stk_kmeans){.dim = dim, .size = size, .centroids = p->centroids, .counts = p->counts};
	assert_int_equal(stk_kmeans_work_init(&p->work, n, dim, size, plain_exec()), STK_OK);
	return p;
}

static void
problem_free(problem *p)
{
	stk_kmeans_work_free(&p->work);
	free(p);
}

static void
means_have_one_shape(void **state)
{
	uint64_t seed = 1;
	size_t n = 3000, dim = 11;
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	problem *p = problem_make(n, dim, 7);
	float before[7 * 11];
	bool changed;

	(void) state;
	fill(x, n * dim, 1, &seed);
	/*
	 * Numbers of all sizes whose second half cancels the first: what is left is rounding alone, so
	 * the shape of the sum shows.
	 */
	for (size_t i = 0; i < 256 * dim; i++)
		x[i] = ldexpf(x[i], (int) (next_bits(&seed) % 60));
	for (size_t i = 0; i < 256; i++)
	{
		for (size_t j = 0; j < dim; j++)
			x[(511 - i) * dim + j] = -x[i * dim + j];
	}
	fill(p->centroids, 7 * dim, 1, &seed);
	memcpy(before, p->centroids, sizeof(before));
	/* Code 3 has no rows, code 5 one, code 4 one chunk, code 6 two chunks, the others more. */
	for (size_t i = 0; i < n; i++)
		codes[i] = i < 512 ? 6 : (uint16_t) (next_bits(&seed) % 3);
	for (size_t i = 600; i < 600 + 256; i++)
		codes[i] = 4;
	codes[900] = 5;
	assert_int_equal(stk_kmeans_update(&p->km, &p->work, x, n, codes, &changed), STK_OK);
	assert_true(changed);
	for (uint16_t k = 0; k < 7; k++)
	{
		for (size_t i = 0; i < dim; i++)
		{
			double sum;
			size_t members = plain_sum(x, n, dim, codes, k, i, &sum);
			float mean = members ? (float) (sum / (double) members) : before[k * dim + i];

			assert_true(p->counts[k] == (double) members);
			assert_memory_equal(&p->centroids[k * dim + i], &mean, sizeof(mean));
		}
	}
	assert_int_equal(stk_kmeans_update(&p->km, &p->work, x, n, codes, &changed), STK_OK);
	assert_false(changed);
	problem_free(p);
	free(codes);
	free(x);
}

static void
batches_keep_their_counts(void **state)
{
	uint64_t seed = 2;
	size_t n = 300, dim = 5;
	float x[300 * 5];
	uint16_t codes[300];
	problem *p = problem_make(n, dim, 4);
	double counts[4] = {0};

	(void) state;
	fill(p->centroids, 4 * dim, 1, &seed);
	for (int batch = 0; batch < 5; batch++)
	{
		float before[4 * 5];

		memcpy(before, p->centroids, sizeof(before));
		fill(x, n * dim, 3, &seed);
		for (size_t i = 0; i < n; i++)
			codes[i] = (uint16_t) (next_bits(&seed) % (batch == 2 ? 2 : 3));
		assert_int_equal(stk_kmeans_add_batch(&p->km, &p->work, x, n, codes), STK_OK);
		for (uint16_t k = 0; k < 4; k++)
		{
			size_t members = 0;

			for (size_t i = 0; i < dim; i++)
			{
				double sum;
				float expected = before[k * dim + i];

				members = plain_sum(x, n, dim, codes, k, i, &sum);
				if (members)
					expected = (float) ((counts[k] * (double) expected + sum) /
										(counts[k] + (double) members));
				assert_memory_equal(&p->centroids[k * dim + i], &expected, sizeof(expected));
			}
			counts[k] += (double) members;
			assert_true(p->counts[k] == counts[k]);
		}
	}
	problem_free(p);
}

static void
assignment_error(void **state)
{
	uint64_t seed = 3;
	size_t n = 100, dim = 9;
	float x[100 * 9];
	uint16_t codes[100];
	problem *p = problem_make(n, dim, 20);

	(void) state;
	fill(x, n * dim, 1, &seed);
	for (int inner_product = 0; inner_product <= 1; inner_product++)
	{
		double error;
		double expected = 0;

		p->km.inner_product = inner_product;
		assert_int_equal(stk_kmeans_start(&p->km, &p->work, x, n, STK_INIT_RANDOM, 1, 0), STK_OK);
		assert_int_equal(stk_kmeans_assign(&p->km, &p->work, x, n, codes, &error), STK_OK);
		for (size_t i = 0; i < n; i++)
		{
			assert_int_equal(codes[i],
							 plain_nearest(x + i * dim, p->centroids, 20, dim, inner_product));
			for (size_t j = 0; j < dim; j++)
			{
				double d = (double) x[i * dim + j] - p->centroids[codes[i] * dim + j];

				expected += d * d;
			}
		}
		assert_true(fabs(error - expected) < 1e-9 * n);
	}
	problem_free(p);
}

/* The sum of squared distances has the shape of member_sums.h: bit for bit, at every length. */
static void
errors_have_one_shape(void **state)
{
	static const size_t sizes[] = {1, 8, 255, 256, 257, 1023, 1024, 1025, 3000};
	uint64_t seed = 5;
	size_t dim = 3;
	float *x = malloc(3000 * dim * sizeof(float));
	uint16_t codes[3000];
	problem *p = problem_make(3000, dim, 6);

	(void) state;
	fill(x, 3000 * dim, 1, &seed);
	for (size_t i = 0; i < 3000 * dim; i++)
		x[i] = ldexpf(x[i], (int) (next_bits(&seed) % 40));
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
	{
		size_t n = sizes[s];
		double lane[8] = {0};
		double error;
		double expected = 0;

		assert_int_equal(stk_kmeans_start(&p->km, &p->work, x, n, STK_INIT_RANDOM, 1, 0), STK_OK);
		assert_int_equal(stk_kmeans_assign(&p->km, &p->work, x, n, codes, &error), STK_OK);
		for (size_t i = 0; i < n; i++)
		{
			const float *row = x + i * dim;
			const float *c = p->centroids + codes[i] * dim;
			double d = plain_dot(row, row, dim) + 2 * plain_score(row, c, dim, false);

			lane[i % 256 % 8] += d > 0 ? d : 0;
			if (i % 256 == 255 || i + 1 == n)
			{
				expected += add_lanes(lane);
				memset(lane, 0, sizeof(lane));
			}
		}
		assert_memory_equal(&error, &expected, sizeof(error));
	}
	problem_free(p);
	free(x);
}

/* Long rows that hardly differ: their distance is lost in rounding, but never below zero. */
static void
distances_are_never_negative(void **state)
{
	uint64_t seed = 12;
	float x[64 * 40];
	uint16_t codes[64];
	problem *p = problem_make(64, 40, 50);

	(void) state;
	for (size_t round = 0; round < unit_size(20, 20, 5); round++)
	{
		fill(x, 40, 1e10f, &seed);
		for (size_t i = 1; i < 64; i++)
		{
			memcpy(x + i * 40, x, 40 * sizeof(float));
			x[i * 40 + i % 40] = nextafterf(x[i * 40 + i % 40], INFINITY);
			x[i * 40 + 7] = (float) i;
		}
		assert_int_equal(stk_kmeans_start(&p->km, &p->work, x, 64, STK_INIT_KMEANSPP, round, 0),
						 STK_OK);
		for (size_t i = 0; i < 64; i++)
		{
			double error;

			assert_int_equal(stk_kmeans_assign(&p->km, &p->work, x + i * 40, 1, codes, &error),
							 STK_OK);
			assert_true(error >= 0);
		}
	}
	problem_free(p);
}

/* k-means++ never draws a row twice while a row is no centroid, and random draws are distinct. */
static void
starts(void **state)
{
	uint64_t seed = 4;
	float x[60 * 3];

	(void) state;
	fill(x, 60 * 3, 1, &seed);
	/* 30 distinct rows, each twice. */
	memcpy(x + 30 * 3, x, 30 * 3 * sizeof(float));
	for (stk_init init = STK_INIT_KMEANSPP; init <= STK_INIT_KMEANSII; init++)
	{
		for (uint32_t size = 1; size <= 50; size += 7)
		{
			problem *p = problem_make(60, 3, size);
			size_t distinct = 0;

			assert_int_equal(stk_kmeans_start(&p->km, &p->work, x, 60, init, size, 0), STK_OK);
			for (uint32_t k = 0; k < size; k++)
			{
				bool row = false;
				bool fresh = true;

				for (size_t i = 0; i < 30; i++)
					row |= memcmp(p->centroids + k * 3, x + i * 3, 3 * sizeof(float)) == 0;
				for (uint32_t j = 0; j < k; j++)
					fresh &=
						memcmp(p->centroids + k * 3, p->centroids + j * 3, 3 * sizeof(float)) != 0;
				assert_true(row);
				distinct += fresh;
			}
			if (init == STK_INIT_KMEANSPP)
				assert_int_equal(distinct, size < 30 ? size : 30);
			else
				assert_true(distinct >= (size + 1) / 2);
			problem_free(p);
		}
	}
}

/* k-means++ draws by squared distance: a far row is nearly always the second centroid. */
static void
far_rows_are_drawn(void **state)
{
	float x[50];
	problem *p = problem_make(50, 1, 2);
	int far = 0;

	(void) state;
	for (size_t i = 0; i < 50; i++)
		x[i] = i == 20 ? 1000 : (float) i / 50;
	for (uint64_t seed = 0; seed < 200; seed++)
	{
		assert_int_equal(stk_kmeans_start(&p->km, &p->work, x, 50, STK_INIT_KMEANSPP, seed, 0),
						 STK_OK);
		far += p->centroids[0] == 1000 || p->centroids[1] == 1000;
	}
	assert_true(far >= 199);
	problem_free(p);
}

/* What progress reported. */
typedef struct history
{
	int calls;
	stk_train_progress last[STK_MAX_LEVELS];
	bool rose;
} history;

static void
record(void *ctx, const stk_train_progress *p)
{
	history *h = ctx;

	if (p->epoch > 1 && p->objective > h->last[p->level].objective * (1 + 1e-6))
		h->rose = true;
	h->last[p->level] = *p;
	h->calls++;
}

/* Rows around a few random centres. */
static void
clustered(float *x, size_t n, size_t dim, uint64_t *seed)
{
	float centres[20 * 40];

	fill(centres, 20 * dim, 1, seed);
	for (size_t i = 0; i < n; i++)
	{
		size_t centre = next_bits(seed) % 20;

		for (size_t j = 0; j < dim; j++)
			x[i * dim + j] = centres[centre * dim + j] + 0.2f * next_float(seed);
	}
}

static void
any_row_order_gives_the_same_codebook(void **state)
{
	uint64_t seed = 5;
	enum
	{
		most = 700,
		dim = 10
	};
	size_t n = unit_size(most, most, 350);
	static float x[most * dim];
	static float y[most * dim];
	float results[3][72 * 10];
	double counts[3][72];

	(void) state;
	clustered(x, n, dim, &seed);
	/* Duplicates, and rows that differ by the sign of a zero. */
	memcpy(x + 100 * dim, x, 50 * dim * sizeof(float));
	memcpy(x + 300 * dim, x, dim * sizeof(float));
	memset(x + 310 * dim, 0, 3 * dim * sizeof(float));
	x[310 * dim + 4] = -0.0f;
	x[311 * dim] = 0x1p-149f;
	x[312 * dim] = -1;
	for (int variant = 0; variant < 8; variant++)
	{
		stk_rqkmeans_options opt = {.metric = variant == 7  ? STK_IP
											  : variant & 1 ? STK_COSINE
															: STK_L2,
									.levels = 3,
									.sizes = {32, 16, 24},
									.dim = dim,
									.epochs = (int) unit_size(6, 6, 3),
									.batch_size = variant & 2 ? 90 : 0,
									.init = variant & 4 ? STK_INIT_RANDOM : STK_INIT_KMEANSPP,
									.seed = 99};

		if (opt.metric == STK_COSINE)
			x[310 * dim] = 1;
		for (int order = 0; order < 3; order++)
		{
			stk_error err = {.message = ""};

			for (size_t i = 0; i < n; i++)
			{
				size_t from = order == 0 ? i : order == 1 ? n - 1 - i : i * 457 % n;

				memcpy(y + i * dim, x + from * dim, dim * sizeof(float));
			}
			assert_int_equal(
				stk_rqkmeans_train(&opt, plain_exec(), y, n, results[order], counts[order], &err),
				STK_OK);
			assert_memory_equal(results[order], results[0], sizeof(results[0]));
			assert_memory_equal(counts[order], counts[0], sizeof(counts[0]));
		}
		opt.seed = 100;
		memcpy(y, x, n * dim * sizeof(float));
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, n, results[1], NULL, NULL),
						 STK_OK);
		assert_memory_not_equal(results[1], results[0], sizeof(results[0]));
		x[310 * dim] = 0;
	}
}

static void
lloyd_descends_and_matches_encoding(void **state)
{
	uint64_t seed = 6;
	size_t n = 1000, dim = 12;
	float *x = malloc(n * dim * sizeof(float));
	float *y = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * 2 * sizeof(uint16_t));
	float codewords[56 * 12];
	double counts[56];
	double used[56] = {0};
	history h = {.calls = 0};
	stk_rqkmeans_options opt = {.levels = 2,
								.sizes = {40, 16},
								.dim = 12,
								.epochs = 10,
								.seed = 3,
								.progress = record,
								.progress_ctx = &h};
	stk_codebook cb = {
		.levels = 2, .dim = 12, .sizes = {40, 16}, .codewords = {codewords, codewords + 40 * 12}};
	stk_error err;
	stk_rq *rq;
	double error[2] = {0, 0};

	(void) state;
	clustered(x, n, dim, &seed);
	memcpy(y, x, n * dim * sizeof(float));
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, n, codewords, counts, &err), STK_OK);
	assert_false(h.rose);
	assert_true(h.calls <= 20 && h.last[1].epoch >= 1);

	/* Encoding the rows finds the assignment that training ended with. */
	assert_int_equal(stk_rq_create(&cb, plain_exec(), STK_FILTER_BEST, &rq, &err), STK_OK);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), x, n, 1, codes, NULL, &err), STK_OK);
	for (size_t i = 0; i < n; i++)
	{
		for (int l = 0; l < 2; l++)
		{
			float back[12];

			assert_int_equal(stk_rq_decode(&cb, codes + 2 * i, l + 1, back, &err), STK_OK);
			for (size_t j = 0; j < dim; j++)
				error[l] +=
					((double) x[i * dim + j] - back[j]) * ((double) x[i * dim + j] - back[j]);
		}
		used[codes[2 * i]]++;
		used[40 + codes[2 * i + 1]]++;
	}
	assert_memory_equal(used, counts, sizeof(used));
	for (int l = 0; l < 2; l++)
		assert_true(fabs(error[l] / (double) n - h.last[l].objective) < 1e-6);
	assert_true(error[1] < error[0]);
	stk_rq_free(rq);
	free(codes);
	free(y);
	free(x);
}

/* Mini-batch training written plainly: every batch through all levels, update before residual. */
static void
batches_pass_through_all_levels(void **state)
{
	uint64_t seed = 7;
	size_t n = 64, dim = 4;
	float x[64 * 4];
	float codewords[12 * 4];
	float expected[12 * 4];
	double counts[12];
	uint16_t codes[64];
	bool changed;
	history h = {.calls = 0};
	stk_rqkmeans_options opt = {.levels = 2,
								.sizes = {8, 4},
								.dim = 4,
								.epochs = 1,
								.batch_size = 1000,
								.seed = 11,
								.progress = record,
								.progress_ctx = &h};
	problem *p = problem_make(n, dim, 8);

	(void) state;
	fill(x, n * dim, 1, &seed);
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, n, codewords, counts, NULL), STK_OK);
	assert_int_equal(h.calls, 2);
	for (size_t i = 1; i < n; i++)
		assert_true(x[(i - 1) * dim] <= x[i * dim]);

	/* One batch holds all rows: start, assign, update, assign again, residual. x is sorted now. */
	for (int l = 0; l < 2; l++)
	{
		double error;

		p->km.size = l == 0 ? 8 : 4;
		assert_int_equal(stk_kmeans_start(&p->km, &p->work, x, n, STK_INIT_KMEANSPP, 11, l),
						 STK_OK);
		assert_int_equal(stk_kmeans_assign(&p->km, &p->work, x, n, codes, &error), STK_OK);
		assert_int_equal(stk_kmeans_update(&p->km, &p->work, x, n, codes, &changed), STK_OK);
		memcpy(expected + l * 8 * 4, p->centroids, p->km.size * dim * sizeof(float));
		assert_memory_equal(counts + l * 8, p->counts, p->km.size * sizeof(double));
		assert_int_equal(stk_kmeans_assign(&p->km, &p->work, x, n, codes, &error), STK_OK);
		assert_true(h.last[l].objective == error / (double) n);
		for (size_t i = 0; i < n; i++)
			assert_true(stk_reference_scalar.subtract(x + i * dim, p->centroids + codes[i] * dim,
													  dim, x + i * dim));
	}
	assert_memory_equal(codewords, expected, sizeof(codewords));
	problem_free(p);
}

static void
cosine_codewords_are_unit(void **state)
{
	uint64_t seed = 8;
	float x[200 * 6];
	float codewords[24 * 6];
	stk_rqkmeans_options opt = {
		.metric = STK_COSINE, .levels = 2, .sizes = {16, 8}, .dim = 6, .epochs = 5, .seed = 1};

	(void) state;
	for (opt.batch_size = 0; opt.batch_size <= 64; opt.batch_size += 64)
	{
		fill(x, 200 * 6, 50, &seed);
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 200, codewords, NULL, NULL),
						 STK_OK);
		for (size_t k = 0; k < 16; k++)
			assert_true(fabs(plain_dot(codewords + k * 6, codewords + k * 6, 6) - 1) < 1e-6);
	}
}

static void
few_rows(void **state)
{
	float codewords[20 * 2];
	double counts[20];
	float x[5 * 2];
	history h = {.calls = 0};
	stk_rqkmeans_options opt = {.levels = 2,
								.sizes = {16, 4},
								.dim = 2,
								.epochs = 5,
								.progress = record,
								.progress_ctx = &h};

	(void) state;
	for (int variant = 0; variant < 4; variant++)
	{
		const float rows[10] = {1, 2, 3, 4, 1, 2, 5, 6, 3, 4};
		double total[2] = {0, 0};

		opt.batch_size = variant & 1 ? 2 : 0;
		opt.init = variant & 2 ? STK_INIT_RANDOM : STK_INIT_KMEANSPP;
		memcpy(x, rows, sizeof(x));
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 5, codewords, counts, NULL),
						 STK_OK);
		for (size_t k = 0; k < 20; k++)
			total[k >= 16] += counts[k];
		assert_true(total[0] == (variant & 1 ? 25 : 5) && total[1] == total[0]);
		if (!(variant & 1))
		{
			/* Three distinct rows have codewords of their own; the others repeat and stay dead. */
			assert_int_equal(h.last[0].empty, 13);
			assert_true(h.last[0].objective == 0);
			assert_int_equal(h.last[1].empty, 3);
		}
		memset(&h, 0, sizeof(h));
	}
}

static void
bad_input(void **state)
{
	uint64_t seed = 9;
	float x[40 * 3];
	float codewords[8 * 3];
	stk_rqkmeans_options opt = {.levels = 2, .sizes = {4, 4}, .dim = 3, .epochs = 2};
	stk_error err;

	(void) state;
	fill(x, 40 * 3, 1, &seed);
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 0, codewords, NULL, &err),
					 STK_EINVAL);
	opt.epochs = 0;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 40, codewords, NULL, &err),
					 STK_EINVAL);
	opt.epochs = 1;
	opt.sizes[1] = 0;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 40, codewords, NULL, &err),
					 STK_EINVAL);
	opt.sizes[1] = 4;
	x[31 * 3 + 1] = NAN;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 40, codewords, NULL, &err),
					 STK_EINVAL);
	assert_int_equal(err.row, 31);
	fill(x, 40 * 3, 1, &seed);
	memset(x + 12 * 3, 0, 3 * sizeof(float));
	opt.metric = STK_COSINE;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 40, codewords, NULL, &err),
					 STK_EINVAL);
	assert_int_equal(err.row, 12);
}

/* Rows near the ends of binary32's range train; a residual beyond it is an error. */
static void
huge_rows(void **state)
{
	uint64_t seed = 10;
	float x[60 * 3];
	float codewords[8 * 3];
	stk_rqkmeans_options opt = {.levels = 2, .sizes = {4, 4}, .dim = 3, .epochs = 3};
	stk_error err;

	(void) state;
	fill(x, 60 * 3, 1e38f, &seed);
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 60, codewords, NULL, &err), STK_OK);
	for (size_t i = 0; i < 8 * 3; i++)
		assert_true(isfinite(codewords[i]));
	fill(x, 60 * 3, 0x1p-140f, &seed);
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 60, codewords, NULL, &err), STK_OK);

	opt.metric = STK_IP;
	opt.sizes[0] = 1;
	for (size_t i = 0; i < 60; i++)
		x[3 * i] = i < 50 ? 3e38f : -3e38f;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 60, codewords, NULL, &err),
					 STK_ERANGE);
	assert_int_equal(err.level, 1);
}

static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 11;
	float x[100 * 4];
	float codewords[12 * 4];

	(void) state;
	for (size_t batch_size = 0; batch_size <= 30; batch_size += 30)
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
				stk_rqkmeans_options opt = {
					.levels = 2, .sizes = {8, 4}, .dim = 4, .epochs = 2, .batch_size = batch_size};
				stk_exec exec = exec_with(&a, canceled ? &monitor : NULL);
				stk_status status;

				fill(x, 100 * 4, 1, &seed);
				status = stk_rqkmeans_train(&opt, &exec, x, 100, codewords, NULL, NULL);
				done = status == STK_OK;
				if (!done)
					assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
				assert_int_equal(memory.live, 0);
			}
		}
	}
}

/* Every path and number of threads trains the same codebook, and reports the same. */
static void
any_machine_trains_the_same_codebook(void **state)
{
	uint64_t seed = 21;
	enum
	{
		most = 900,
		dim = 37
	};
	size_t n = unit_size(most, 600, 300);
	static float x[most * dim];
	static float y[most * dim];
	static float expected[56 * dim];
	static float codewords[56 * dim];
	machines m;
	int count = machines_start(&m);

	(void) state;
	clustered(x, n, dim, &seed);
	/* Huge and tiny norms, and duplicates. */
	for (size_t i = 0; i < 60 * dim; i++)
		x[i] *= i / dim % 2 ? 1e30f : 0x1p-120f;
	memcpy(x + (n - 100) * dim, x + 100 * dim, 100 * dim * sizeof(float));
	for (int variant = 0; variant < 18; variant++)
	{
		double counts[2][56];
		history h[2] = {{.calls = 0}, {.calls = 0}};
		stk_rqkmeans_options opt = {.metric = (stk_metric) (variant % 3),
									.levels = 2,
									.sizes = {40, 16},
									.dim = dim,
									.epochs = (int) unit_size(4, 4, 3),
									.batch_size = variant / 3 == 1 ? 200 : 0,
									.init = (stk_init) (variant / 3 % 3),
									.seed = (uint64_t) variant,
									.balance = variant / 3 == 2 ? 1.2 : 0,
									.empty = variant / 3 == 3   ? STK_EMPTY_SPLIT
											 : variant / 3 == 4 ? STK_EMPTY_FARTHEST
																: STK_EMPTY_KEEP,
									.progress = record};

		for (int i = 0; i < count; i++)
		{
			history *now = &h[i > 0];

			if (!machines_turn(&m, i, variant))
				continue;
			memset(now, 0, sizeof(*now));
			opt.progress_ctx = now;
			memcpy(y, x, sizeof(y));
			assert_int_equal(stk_rqkmeans_train(&opt, &m.execs[i], y, n, i ? codewords : expected,
												counts[i > 0], NULL),
							 STK_OK);
			if (i == 0)
				continue;
			assert_memory_equal(codewords, expected, sizeof(expected));
			assert_memory_equal(counts[1], counts[0], sizeof(counts[0]));
			assert_int_equal(now->calls, h[0].calls);
			for (int l = 0; l < 2; l++)
				assert_true(now->last[l].objective == h[0].last[l].objective &&
							now->last[l].empty == h[0].last[l].empty);
		}
	}
	machines_stop(&m);
}

/*
 * Training that was cut in two goes on where it was: where one batch holds all rows, their order
 * within an epoch does not matter.
 */
static void
training_resumes(void **state)
{
	uint64_t seed = 22;
	enum
	{
		n = 150,
		dim = 5
	};
	float x[n * dim];
	float y[n * dim];
	float whole[12 * dim];
	float parts[12 * dim];
	float before[12 * dim];
	double whole_counts[12];
	double counts[12];

	(void) state;
	fill(x, n * dim, 1, &seed);
	for (stk_metric metric = STK_L2; metric <= STK_COSINE; metric++)
	{
		stk_rqkmeans_options opt = {.metric = metric,
									.levels = 2,
									.sizes = {8, 4},
									.dim = dim,
									.epochs = 5,
									.batch_size = n,
									.seed = 6};
		double total = 0;

		memcpy(y, x, sizeof(y));
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, n, whole, whole_counts, NULL),
						 STK_OK);
		opt.epochs = 2;
		memcpy(y, x, sizeof(y));
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, n, parts, counts, NULL), STK_OK);
		opt.epochs = 3;
		opt.resume = true;
		memcpy(y, x, sizeof(y));
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, n, parts, counts, NULL), STK_OK);
		assert_memory_equal(parts, whole, sizeof(whole));
		assert_memory_equal(counts, whole_counts, sizeof(counts));

		/* New rows, fewer than codewords: what no row chose stays, the counts go on. */
		memcpy(before, parts, sizeof(before));
		opt.epochs = 1;
		fill(y, 3 * dim, 1, &seed);
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), y, 3, parts, counts, NULL), STK_OK);
		for (size_t k = 0; k < 12; k++)
		{
			total += counts[k] - whole_counts[k];
			if (counts[k] == whole_counts[k])
				assert_memory_equal(parts + k * dim, before + k * dim, dim * sizeof(float));
			else
				assert_memory_not_equal(parts + k * dim, before + k * dim, dim * sizeof(float));
		}
		assert_true(total == 6);
	}
}

static void
options_that_contradict(void **state)
{
	float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	float codewords[4] = {1, 2, 3, 4};
	double counts[2] = {1, 1};
	const stk_rqkmeans_options good = {.levels = 1, .sizes = {2}, .dim = 2, .epochs = 1};
	stk_rqkmeans_options opt = good;
	static const double balances[] = {0.5, -1, NAN, INFINITY};
	stk_error err;

	(void) state;
	for (size_t i = 0; i < 4; i++)
	{
		opt.balance = balances[i];
		assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, counts, &err),
						 STK_EINVAL);
	}
	opt = good;
	opt.batch_size = 2;
	opt.balance = 1;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, counts, &err),
					 STK_EINVAL);
	opt.balance = 0;
	opt.empty = STK_EMPTY_SPLIT;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, counts, &err),
					 STK_EINVAL);
	opt = good;
	opt.resume = true;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, counts, &err),
					 STK_EINVAL);
	opt.batch_size = 2;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, NULL, &err),
					 STK_EINVAL);
	counts[1] = -1;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, counts, &err),
					 STK_EINVAL);
	counts[1] = 1;
	codewords[3] = NAN;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, counts, &err),
					 STK_EINVAL);
	codewords[3] = 4;
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, 4, codewords, counts, &err), STK_OK);
}

static void
shared_data(void **state)
{
	size_t n = 0, dim = 0;
	float *x = shared_rows("ann/siftsmall_query.fvecs", 100, &n, &dim);
	float *codewords;
	stk_rqkmeans_options opt = {.levels = 2, .sizes = {16, 16}, .epochs = 20};
	history h = {.calls = 0};

	(void) state;
	if (!x)
		skip();
	opt.dim = (int) dim;
	opt.progress = record;
	opt.progress_ctx = &h;
	codewords = malloc(32 * dim * sizeof(float));
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, n, codewords, NULL, NULL), STK_OK);
	assert_false(h.rose);
	assert_true(h.last[1].objective < h.last[0].objective);
	free(codewords);
	free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(means_have_one_shape),
		cmocka_unit_test(batches_keep_their_counts),
		cmocka_unit_test(assignment_error),
		cmocka_unit_test(errors_have_one_shape),
		cmocka_unit_test(distances_are_never_negative),
		cmocka_unit_test(starts),
		cmocka_unit_test(far_rows_are_drawn),
		cmocka_unit_test(any_row_order_gives_the_same_codebook),
		cmocka_unit_test(lloyd_descends_and_matches_encoding),
		cmocka_unit_test(batches_pass_through_all_levels),
		cmocka_unit_test(cosine_codewords_are_unit),
		cmocka_unit_test(few_rows),
		cmocka_unit_test(bad_input),
		cmocka_unit_test(huge_rows),
		cmocka_unit_test(failures_leave_nothing_behind),
		cmocka_unit_test(any_machine_trains_the_same_codebook),
		cmocka_unit_test(training_resumes),
		cmocka_unit_test(options_that_contradict),
		cmocka_unit_test(shared_data),
	};

	return cmocka_run_group_tests_name("k-means", tests, NULL, NULL);
}
