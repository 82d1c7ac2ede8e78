/* Exact nearest codewords, residual encoding, decoding: against the rule written plainly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/dot.h"
#include "core/fpenv.h"
#include "core/nearest.h"
#include "core/rq.h"
#include "foreign_fpenv.h"
#include "rows.h"

#define MAX_DIM 67

/* A codebook with room for the tests' shapes. */
typedef struct book
{
	stk_codebook cb;
	float codewords[4 * 200 * MAX_DIM];
} book;

static void
book_shape(book *b, stk_metric metric, int levels, const uint32_t *sizes, int dim)
{
	float *c = b->codewords;

	memset(&b->cb, 0, sizeof(b->cb));
	b->cb.metric = metric;
	b->cb.levels = levels;
	b->cb.dim = dim;
	for (int l = 0; l < levels; l++)
	{
		b->cb.sizes[l] = sizes[l];
		b->cb.codewords[l] = c;
		c += sizes[l] * (size_t) dim;
	}
}

static void
book_random(book *b, stk_metric metric, int levels, const uint32_t *sizes, int dim, uint64_t *state)
{
	book_shape(b, metric, levels, sizes, dim);
	for (int l = 0; l < levels; l++)
		fill((float *) b->cb.codewords[l], sizes[l] * (size_t) dim, ldexpf(1, -l), state);
}

static void
plain_encode(const stk_codebook *cb, const float *x, uint16_t *codes)
{
	float r[512];

	plain_prepare(cb, x, r);
	for (int l = 0; l < cb->levels; l++)
	{
		codes[l] = plain_nearest(r, cb->codewords[l], cb->sizes[l], (size_t) cb->dim,
								 cb->metric == STK_IP);
		for (int i = 0; i < cb->dim; i++)
			r[i] = r[i] - cb->codewords[l][(size_t) codes[l] * cb->dim + i];
	}
}

static stk_rq *
quantizer(const stk_codebook *cb)
{
	stk_error err;
	stk_rq *rq;

	assert_int_equal(stk_rq_create(cb, plain_exec(), STK_FILTER_BEST, &rq, &err), STK_OK);
	return rq;
}

/* Encode all at once and one by one; both must be what the plain rule says. */
static void
assert_encodes(const stk_codebook *cb, const float *x, size_t n)
{
	stk_rq *rq = quantizer(cb);
	uint16_t *codes = malloc(n * cb->levels * sizeof(uint16_t));
	stk_error err;

	assert_int_equal(stk_rq_encode(rq, plain_exec(), x, n, 1, codes, NULL, &err), STK_OK);
	for (size_t i = 0; i < n; i++)
	{
		uint16_t expected[STK_MAX_LEVELS];
		uint16_t alone[STK_MAX_LEVELS];

		plain_encode(cb, x + i * cb->dim, expected);
		assert_memory_equal(codes + i * cb->levels, expected, cb->levels * sizeof(uint16_t));
		assert_int_equal(stk_rq_encode(rq, plain_exec(), x + i * cb->dim, 1, 1, alone, NULL, &err),
						 STK_OK);
		assert_memory_equal(alone, expected, cb->levels * sizeof(uint16_t));
	}
	free(codes);
	stk_rq_free(rq);
}

static void
dots_are_the_reference(void **state)
{
	uint64_t seed = 3;
	float x[5 * MAX_DIM];
	float y[MAX_DIM];

	(void) state;
	for (size_t dim = 1; dim <= MAX_DIM; dim++)
	{
		size_t wide = stk_wide_dim(dim);
		double rows[5 * (MAX_DIM + STK_LANES)];
		double vector[MAX_DIM + STK_LANES];
		double out[5];

		fill(x, 5 * dim, 1, &seed);
		fill(y, dim, 1e20f, &seed);
		x[0] = 0x1p-149f; /* denormal */
		y[dim - 1] = -0.0f;
		for (size_t r = 0; r < 5; r++)
			stk_widen(x + r * dim, dim, rows + r * wide);
		stk_widen(y, dim, vector);
		for (size_t n = 1; n <= 5; n++)
		{
			stk_dot_wide(rows, n, vector, wide, out);
			for (size_t r = 0; r < n; r++)
			{
				double expected = plain_dot(x + r * dim, y, dim);

				assert_memory_equal(&out[r], &expected, sizeof(double));
				out[r] = stk_dot(x + r * dim, y, dim);
				assert_memory_equal(&out[r], &expected, sizeof(double));
			}
		}
	}
}

static void
random_rows(void **state)
{
	static const int dims[] = {1, 2, 7, 8, 9, 24, MAX_DIM};
	uint64_t seed = 4;
	book *b = malloc(sizeof(book));
	float x[37 * MAX_DIM];

	(void) state;
	for (stk_metric metric = STK_L2; metric <= STK_COSINE; metric++)
	{
		for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
		{
			book_random(b, metric, 3, (uint32_t[]){129, 1, 64}, dims[d], &seed);
			fill(x, 37 * (size_t) dims[d], 1, &seed);
			for (size_t i = 0; i < 37; i++)
			{
				if (x[i * dims[d]] == 0)
					x[i * dims[d]] = 1;
			}
			assert_encodes(&b->cb, x, 37);
		}
	}
	free(b);
}

/* Whole numbers make many scores exactly equal: the lowest code wins. */
static void
planted_ties(void **state)
{
	uint64_t seed = 5;
	book *b = malloc(sizeof(book));
	float x[200 * 4];
	size_t ties = 0;

	(void) state;
	for (stk_metric metric = STK_L2; metric <= STK_IP; metric++)
	{
		book_shape(b, metric, 2, (uint32_t[]){100, 100}, 4);
		for (size_t i = 0; i < 800; i++)
			b->codewords[i] = (float) (next_bits(&seed) % 5) - 2;
		for (size_t i = 0; i < 800; i++)
			x[i] = (float) (next_bits(&seed) % 5) - 2;
		assert_encodes(&b->cb, x, 200);
		for (size_t i = 0; i < 200; i++)
		{
			uint16_t best = plain_nearest(x + 4 * i, b->codewords, 100, 4, metric == STK_IP);
			double s = plain_score(x + 4 * i, b->codewords + 4 * best, 4, metric == STK_IP);

			for (size_t k = best + 1u; k < 100; k++)
				ties += plain_score(x + 4 * i, b->codewords + 4 * k, 4, metric == STK_IP) == s;
		}
	}
	assert_true(ties > 200);
	free(b);
}

/* Copies of a codeword, moved by one unit in the last place here and there. */
static void
near_ties(void **state)
{
	uint64_t seed = 6;
	book *b = malloc(sizeof(book));
	float x[60 * 33];

	(void) state;
	book_random(b, STK_L2, 2, (uint32_t[]){150, 150}, 33, &seed);
	for (size_t k = 1; k < 150; k++)
	{
		float *c = b->codewords + k * 33;
		size_t at = next_bits(&seed) % 33;

		memcpy(c, b->codewords, 33 * sizeof(float));
		if (k % 5 != 0)
			c[at] = nextafterf(c[at], k % 2 ? INFINITY : -INFINITY);
	}
	fill(x, 60 * 33, 1, &seed);
	memcpy(x, b->codewords, 33 * sizeof(float));
	assert_encodes(&b->cb, x, 60);
	free(b);
}

static void
denormals_and_huge_numbers(void **state)
{
	static const float scales[] = {0x1p-149f, 0x1p-140f, 0x1p-126f, 1e-20f, 1e18f, 1e38f};
	uint64_t seed = 7;
	book *b = malloc(sizeof(book));
	float x[40 * 19];

	(void) state;
	for (stk_metric metric = STK_L2; metric <= STK_COSINE; metric++)
	{
		for (size_t s = 0; s < sizeof(scales) / sizeof(scales[0]); s++)
		{
			book_random(b, metric, 3, (uint32_t[]){50, 50, 20}, 19, &seed);
			for (size_t i = 0; i < 120 * 19; i++)
				b->codewords[i] *= scales[s];
			fill(x, 40 * 19, 8, &seed);
			for (size_t i = 0; i < 40 * 19; i++)
				x[i] = x[i] * (scales[s] > 1e37f ? scales[s] / 8 : scales[s]) + 0x1p-149f;
			assert_encodes(&b->cb, x, 40);
		}
	}
	free(b);
}

/*
 * Rows made to fool a filter in binary32: sums that overflow on the way, sums that cancel, products
 * that underflow, and scores whose last bit is the reference's own rounding.
 */
static void
attacks_on_the_filter(void **state)
{
	static const int lengths[] = {3, 16, 40, MAX_DIM};
	uint64_t seed = 16;
	book *b = malloc(sizeof(book));
	float x[30 * MAX_DIM];

	(void) state;
	/* 3e38 + 3e38 - 3e38 is infinite in binary32, and less than 3.3e38. */
	book_shape(b, STK_IP, 1, (uint32_t[]){3}, 3);
	memcpy(b->codewords, (float[]){1, 1, -1, 1.1f, 0, 0, 0, 0, 0}, 9 * sizeof(float));
	x[0] = x[1] = x[2] = 3e38f;
	assert_encodes(&b->cb, x, 1);
	/* Infinity less infinity. */
	memcpy(b->codewords, (float[]){3e38f, -3e38f, 0, 1, 1, 1, 0, 3e38f, 0}, 9 * sizeof(float));
	for (b->cb.metric = STK_L2; b->cb.metric <= STK_COSINE; b->cb.metric++)
		assert_encodes(&b->cb, x, 1);

	for (size_t d = 0; d < sizeof(lengths) / sizeof(lengths[0]); d++)
	{
		int dim = lengths[d];

		for (int power = -160; power <= 60; power += power > -50 && power < -20 ? 1 : 5)
		{
			for (stk_metric metric = STK_L2; metric <= STK_IP; metric++)
			{
				/* Codewords of exactly equal norm: one with all choices of signs. */
				book_random(b, metric, 1, (uint32_t[]){100}, dim, &seed);
				for (size_t i = (size_t) dim; i < 100 * (size_t) dim; i++)
					b->codewords[i] =
						next_bits(&seed) & 1 ? b->codewords[i % dim] : -b->codewords[i % dim];
				fill(x, 30 * (size_t) dim, 1, &seed);
				for (size_t i = 0; i < 30 * (size_t) dim; i++)
					x[i] = ldexpf(x[i], power);
				assert_encodes(&b->cb, x, 30);

				/* A large first element for all: what tells them apart drowns. */
				for (size_t k = 0; k < 100; k++)
					b->codewords[k * dim] = 1000;
				for (size_t i = 0; i < 30; i++)
					x[i * dim] = ldexpf(1, power + 12);
				assert_encodes(&b->cb, x, 30);
			}
		}
	}
	free(b);
}

/* Someone else's flush-to-zero and rounding change nothing, and are left as they were. */
static void
floating_point_environment(void **state)
{
	uint64_t seed = 8;
	book *b = malloc(sizeof(book));
	float x[40 * 9];
	float back[9];
	float expected[9] = {0};
	uint16_t codes[40 * 2];
	uint16_t right[2];
	stk_error err;
	stk_rq *rq;

	(void) state;
	book_random(b, STK_L2, 2, (uint32_t[]){60, 60}, 9, &seed);
	for (size_t i = 0; i < 120 * 9; i++)
		b->codewords[i] *= 0x1p-135f;
	fill(x, 40 * 9, 0x1p-135f, &seed);

	foreign_fpenv_enter();
	rq = quantizer(&b->cb);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 40, 1, codes, NULL, &err), STK_OK);
	assert_int_equal(stk_rq_decode(&b->cb, codes, 2, back, &err), STK_OK);
	assert_true(foreign_fpenv_is_set());
	foreign_fpenv_leave();

	for (size_t i = 0; i < 40; i++)
	{
		plain_encode(&b->cb, x + 9 * i, right);
		assert_memory_equal(codes + 2 * i, right, sizeof(right));
	}
	for (size_t i = 0; i < 9; i++)
		expected[i] = b->codewords[codes[0] * 9 + i] + b->codewords[(60 + codes[1]) * 9 + i];
	assert_memory_equal(back, expected, sizeof(back));
	stk_rq_free(rq);
	free(b);
}

static void
shared_data(void **state)
{
	static const char *const sets[] = {"ann/siftsmall_query.fvecs", "ann/glove50_5050.fvecs",
									   "ann/wikilda8_query1k.fvecs", "beauty/minilm384.fvecs"};
	size_t found = 0;

	(void) state;
	for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++)
	{
		size_t n, dim;
		float *x = shared_rows(sets[s], 500, &n, &dim);
		uint64_t seed = 9;
		stk_codebook cb = {.levels = 2, .sizes = {64, 64}};
		float *c;

		if (!x)
			continue;
		found++;
		assert_true(n >= 100);
		/* Rows as codewords, then differences of rows: hits, ties by duplicates, neighbours. */
		c = malloc(128 * dim * sizeof(float));
		for (size_t k = 0; k < 64; k++)
		{
			size_t p = next_bits(&seed) % n;
			size_t q = next_bits(&seed) % n;

			for (size_t i = 0; i < dim; i++)
			{
				c[k * dim + i] = x[p * dim + i];
				c[(64 + k) * dim + i] = 0.5f * (x[p * dim + i] - x[q * dim + i]);
			}
		}
		cb.dim = (int) dim;
		cb.codewords[0] = c;
		cb.codewords[1] = c + 64 * dim;
		for (cb.metric = STK_L2; cb.metric <= STK_COSINE; cb.metric++)
			assert_encodes(&cb, x, n);
		free(c);
		free(x);
	}
	if (found == 0)
		skip();
}

static void
decoding(void **state)
{
	uint64_t seed = 12;
	book *b = malloc(sizeof(book));
	float x[13];
	stk_error err;

	(void) state;
	book_random(b, STK_L2, 3, (uint32_t[]){10, 20, 5}, 13, &seed);
	for (int round = 0; round < 50; round++)
	{
		uint16_t codes[3] = {(uint16_t) (next_bits(&seed) % 10), (uint16_t) (next_bits(&seed) % 20),
							 (uint16_t) (next_bits(&seed) % 5)};

		for (int levels = 1; levels <= 3; levels++)
		{
			assert_int_equal(stk_rq_decode(&b->cb, codes, levels, x, &err), STK_OK);
			for (int i = 0; i < 13; i++)
			{
				float sum = b->cb.codewords[0][codes[0] * 13 + i];

				for (int l = 1; l < levels; l++)
					sum += b->cb.codewords[l][codes[l] * 13 + i];
				assert_true(sum == x[i]);
			}
		}
	}
	assert_int_equal(stk_rq_decode(&b->cb, (uint16_t[]){9, 20, 0}, 3, x, &err), STK_EINVAL);
	assert_int_equal(err.level, 1);
	assert_int_equal(stk_rq_decode(&b->cb, (uint16_t[]){9, 20, 0}, 1, x, &err), STK_OK);
	assert_int_equal(stk_rq_decode(&b->cb, (uint16_t[]){0}, 0, x, &err), STK_EINVAL);
	assert_int_equal(stk_rq_decode(&b->cb, (uint16_t[]){0, 0, 0, 0}, 4, x, &err), STK_EINVAL);

	for (size_t i = 0; i < 35 * 13; i++)
		b->codewords[i] = 3e38f;
	assert_int_equal(stk_rq_decode(&b->cb, (uint16_t[]){1, 1, 1}, 1, x, &err), STK_OK);
	assert_int_equal(stk_rq_decode(&b->cb, (uint16_t[]){1, 1, 1}, 3, x, &err), STK_ERANGE);
	assert_int_equal(err.level, 1);
	assert_int_equal(stk_rq_decode(&b->cb, (uint16_t[]){1, 1, 1}, 3, x, NULL), STK_ERANGE);
	free(b);
}

static void
bad_numbers(void **state)
{
	const float bad[] = {NAN, INFINITY, -INFINITY};
	uint64_t seed = 13;
	book *b = malloc(sizeof(book));
	float x[40 * 6];
	uint16_t codes[40 * 2];
	stk_error err;
	stk_rq *rq;

	(void) state;
	for (int beam = 1; beam <= 3; beam += 2)
	{
		book_random(b, STK_COSINE, 2, (uint32_t[]){10, 10}, 6, &seed);
		rq = quantizer(&b->cb);
		for (size_t i = 0; i < 3; i++)
		{
			fill(x, 40 * 6, 1, &seed);
			x[33 * 6 + i] = bad[i];
			assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 40, beam, codes, NULL, &err),
							 STK_EINVAL);
			assert_int_equal(err.row, 33);
			assert_int_equal(err.level, -1);
			assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 33, beam, codes, NULL, &err),
							 STK_OK);
			assert_int_equal(stk_rq_prepare_row(&b->cb, x + 33 * 6, x, &err), STK_EINVAL);
		}
		fill(x, 40 * 6, 1, &seed);
		memset(x + 20 * 6, 0, 6 * sizeof(float));
		assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 40, beam, codes, NULL, &err),
						 STK_EINVAL);
		assert_int_equal(err.row, 20);
		stk_rq_free(rq);

		/* x - c leaves binary32's range on the way to level 1, and only there. */
		book_random(b, STK_L2, 2, (uint32_t[]){1, 10}, 6, &seed);
		b->codewords[2] = -3e38f;
		fill(x, 40 * 6, 1, &seed);
		x[17 * 6 + 2] = 3e38f;
		rq = quantizer(&b->cb);
		assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 40, beam, codes, NULL, &err),
						 STK_ERANGE);
		assert_int_equal(err.row, 17);
		assert_int_equal(err.level, 1);
		stk_rq_free(rq);
		b->cb.levels = 1;
		rq = quantizer(&b->cb);
		assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 40, beam, codes, NULL, &err), STK_OK);
		stk_rq_free(rq);

		b->codewords[3] = NAN;
		assert_int_equal(stk_rq_create(&b->cb, plain_exec(), STK_FILTER_BEST, &rq, &err),
						 STK_EINVAL);
		assert_null(rq);
	}
	book_random(b, STK_L2, 2, (uint32_t[]){1, 10}, 6, &seed);
	rq = quantizer(&b->cb);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 1, 0, codes, NULL, &err), STK_EINVAL);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), x, 0, 1, codes, NULL, &err), STK_OK);
	stk_rq_free(rq);
	free(b);
}

/* A zero row is an ordinary row but for the cosine metric. */
static void
zero_rows(void **state)
{
	uint64_t seed = 14;
	book *b = malloc(sizeof(book));
	float x[3 * 6] = {0};

	(void) state;
	x[7] = -0.0f;
	for (stk_metric metric = STK_L2; metric <= STK_IP; metric++)
	{
		book_random(b, metric, 2, (uint32_t[]){30, 30}, 6, &seed);
		assert_encodes(&b->cb, x, 3);
	}
	free(b);
}

static void
prepared_rows(void **state)
{
	book *b = malloc(sizeof(book));
	float x[2] = {3, -4};
	float out[2];
	stk_error err;

	(void) state;
	book_shape(b, STK_COSINE, 1, (uint32_t[]){1}, 2);
	assert_int_equal(stk_rq_prepare_row(&b->cb, x, out, &err), STK_OK);
	assert_true(out[0] == 0.6f && out[1] == -0.8f);
	/* No norm is too small or too large. */
	x[0] = 0x1p-149f;
	x[1] = 0;
	assert_int_equal(stk_rq_prepare_row(&b->cb, x, x, &err), STK_OK);
	assert_true(x[0] == 1 && x[1] == 0);
	x[0] = x[1] = 3e38f;
	assert_int_equal(stk_rq_prepare_row(&b->cb, x, out, &err), STK_OK);
	assert_true(out[0] == (float) sqrt(0.5));
	b->cb.metric = STK_L2;
	assert_int_equal(stk_rq_prepare_row(&b->cb, x, out, &err), STK_OK);
	assert_memory_equal(out, x, sizeof(x));
	free(b);
}

static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 15;
	book *b = malloc(sizeof(book));
	float x[40 * 9];
	uint16_t codes[40 * 2];
	stk_error err;

	(void) state;
	book_random(b, STK_L2, 2, (uint32_t[]){100, 100}, 9, &seed);
	fill(x, 40 * 9, 1, &seed);
	for (int beam = 1; beam <= 3; beam += 2)
	{
		bool done = false;

		for (long left = 0; !done; left++)
		{
			short_memory memory = {left, 0};
			stk_allocator a = short_allocator(&memory);
			stk_exec exec = exec_with(&a, NULL);
			stk_rq *rq;
			stk_status status = stk_rq_create(&b->cb, &exec, STK_FILTER_BEST, &rq, &err);

			if (status == STK_OK)
				status = stk_rq_encode(rq, &exec, x, 40, beam, codes, NULL, &err);
			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, STK_ENOMEM);
			stk_rq_free(rq);
			assert_int_equal(memory.live, 0);
		}
		/* Stopped at every look there is, in the making and after. */
		done = false;
		for (long looks = 0; !done; looks++)
		{
			long left = looks;
			stk_monitor monitor = {stop_countdown, &left};
			short_memory memory = {100, 0};
			stk_allocator a = short_allocator(&memory);
			stk_exec exec = exec_with(&a, &monitor);
			stk_rq *rq;
			stk_status status = stk_rq_create(&b->cb, &exec, STK_FILTER_BEST, &rq, &err);

			if (status == STK_OK)
				status = stk_rq_encode(rq, &exec, x, 40, beam, codes, NULL, &err);
			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, STK_ECANCELED);
			stk_rq_free(rq);
			assert_int_equal(memory.live, 0);
			assert_true(!done || looks > 10);
		}
	}
	free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dots_are_the_reference),
		cmocka_unit_test(random_rows),
		cmocka_unit_test(planted_ties),
		cmocka_unit_test(near_ties),
		cmocka_unit_test(denormals_and_huge_numbers),
		cmocka_unit_test(attacks_on_the_filter),
		cmocka_unit_test(floating_point_environment),
		cmocka_unit_test(shared_data),
		cmocka_unit_test(decoding),
		cmocka_unit_test(bad_numbers),
		cmocka_unit_test(zero_rows),
		cmocka_unit_test(prepared_rows),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("residual quantizer", tests, NULL, NULL);
}
