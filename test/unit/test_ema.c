/*
 * EMA codebooks: the update beside the same thing written plainly and beside the five-step formula,
 * restarts, counters, odd shapes, threads and vector units, failures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/ema.h"
#include "engine/crew.h"
#include "rows.h"

/* A codebook with its own codewords. */
typedef struct book
{
	stk_ema e;
	float *codewords;
} book;

static book *
book_make(uint32_t size, size_t dim, uint64_t *seed)
{
	book *b = malloc(sizeof(book));

	b->codewords = malloc(size * dim * sizeof(float));
	fill(b->codewords, size * dim, 1, seed);
	assert_int_equal(stk_ema_init(&b->e, &stk_malloc, size, dim, b->codewords, NULL), STK_OK);
	return b;
}

static book *
book_copy(const book *from)
{
	uint64_t seed = 0;
	book *b = book_make(from->e.size, from->e.dim, &seed);
	size_t size = from->e.size;
	size_t values = size * from->e.dim;

	memcpy(b->codewords, from->codewords, values * sizeof(float));
	memcpy(b->e.counts, from->e.counts, size * sizeof(double));
	memcpy(b->e.sums, from->e.sums, values * sizeof(double));
	memcpy(b->e.idle, from->e.idle, size * sizeof(uint32_t));
	return b;
}

static void
book_free(book *b)
{
	stk_ema_free(&b->e);
	free(b->codewords);
	free(b);
}

static void
assert_code_equal(const book *a, const book *b, uint32_t k)
{
	size_t dim = a->e.dim;

	assert_memory_equal(a->codewords + k * dim, b->codewords + k * dim, dim * sizeof(float));
	assert_memory_equal(a->e.sums + k * dim, b->e.sums + k * dim, dim * sizeof(double));
	assert_memory_equal(&a->e.counts[k], &b->e.counts[k], sizeof(double));
	assert_int_equal(a->e.idle[k], b->e.idle[k]);
}

static void
assert_books_equal(const book *a, const book *b)
{
	for (uint32_t k = 0; k < a->e.size; k++)
		assert_code_equal(a, b, k);
}

static void
update_with(book *b, const stk_ema_rule *rule, const stk_exec *exec, const float *x, size_t n,
			const uint16_t *codes)
{
	assert_int_equal(stk_ema_update(&b->e, rule, exec, x, n, codes, NULL), STK_OK);
}

static void
update(book *b, const stk_ema_rule *rule, const float *x, size_t n, const uint16_t *codes)
{
	update_with(b, rule, plain_exec(), x, n, codes);
}

/* Sum one column over a code's rows in the documented shape; returns their number. */
static size_t
plain_sum(const float *x, size_t n, size_t dim, const uint16_t *codes, uint32_t code, size_t column,
		  double *sum)
{
	double lane[8] = {0};
	size_t members = 0;

	*sum = 0;
	for (size_t i = 0; i <= n; i++)
	{
		if (i < n && codes[i] == code)
			lane[members++ % 8] += x[i * dim + column];
		if (i == n || (codes[i] == code && members % 256 == 0))
		{
			*sum += ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
					((lane[1] + lane[5]) + (lane[3] + lane[7]));
			memset(lane, 0, sizeof(lane));
		}
	}
	return members;
}

/* The update as the header words it, code by code and column by column. */
static void
plain_update(book *b, const stk_ema_rule *rule, const float *x, size_t n, const uint16_t *codes)
{
	size_t dim = b->e.dim;
	double take = 1 - rule->decay;

	for (uint32_t k = 0; k < b->e.size; k++)
	{
		float *c = b->codewords + k * dim;
		float *mean = malloc(dim * sizeof(float));
		double *s = b->e.sums + k * dim;
		size_t rows = 0;
		double norm;

		for (size_t i = 0; i < dim; i++)
		{
			double sum;
			double old_part, new_part, divisor;

			rows = plain_sum(x, n, dim, codes, k, i, &sum);
			if (rows == 0)
				break;
			if (i == 0)
			{
				old_part = rule->decay * b->e.counts[k];
				new_part = take * (double) rows;
				b->e.counts[k] = old_part + new_part;
			}
			divisor = fmax(b->e.counts[k], 1e-5);
			old_part = rule->decay * s[i];
			new_part = take * sum;
			s[i] = old_part + new_part;
			mean[i] = (float) (s[i] / divisor);
		}
		if (rows > 0)
		{
			norm = rule->unit ? sqrt(plain_dot(mean, mean, dim)) : 1;
			for (size_t i = 0; i < dim && norm > 0; i++)
				c[i] = (float) (mean[i] / norm);
			b->e.idle[k] = 0;
		}
		else if (++b->e.idle[k] >= rule->restart_after && rule->restart_after > 0)
		{
			uint32_t key[2] = {(uint32_t) rule->seed, (uint32_t) (rule->seed >> 32)};
			uint32_t counter[4] = {k, 0, rule->step, 3u << 16 | (uint32_t) rule->level};
			uint32_t out[4];
			size_t row;

			stk_philox(counter, key, out);
			row = (size_t) (((unsigned __int128) ((uint64_t) out[1] << 32 | out[0]) * n) >> 64);
			memcpy(c, x + row * dim, dim * sizeof(float));
			memset(s, 0, dim * sizeof(double));
			b->e.counts[k] = 0;
			b->e.idle[k] = 0;
		}
		free(mean);
	}
}

static void
draw_codes(uint16_t *codes, size_t n, uint32_t size, uint64_t *seed)
{
	for (size_t i = 0; i < n; i++)
		codes[i] = (uint16_t) (next_bits(seed) % size);
}

/*
 * Numbers of all sizes: what order they are added in shows in the last bits.
 */
static void
fill_spread(float *x, size_t n, uint64_t *seed)
{
	fill(x, n, 1, seed);
	for (size_t i = 0; i < n; i++)
		x[i] = ldexpf(x[i], (int) (next_bits(seed) % 60));
}

/* Several batches of n rows, each like the plain update. */
static void
check_updates(uint32_t size, size_t dim, size_t n, int batches, stk_ema_rule rule, uint64_t seed)
{
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	book *ours = book_make(size, dim, &seed);
	book *plain = book_copy(ours);

	for (int i = 0; i < batches; i++)
	{
		rule.step = (uint32_t) i;
		fill_spread(x, n * dim, &seed);
		draw_codes(codes, n, size, &seed);
		update(ours, &rule, x, n, codes);
		plain_update(plain, &rule, x, n, codes);
		assert_books_equal(ours, plain);
	}
	book_free(plain);
	book_free(ours);
	free(codes);
	free(x);
}

static void
all_codes_active(void **state)
{
	uint64_t seed = 1;
	float x[40 * 6];
	uint16_t codes[40];
	stk_ema_rule rule = {.decay = 0.99};
	book *b = book_make(8, 6, &seed);

	(void) state;
	fill(x, 40 * 6, 1, &seed);
	for (size_t i = 0; i < 40; i++)
		codes[i] = (uint16_t) (i % 8);
	update(b, &rule, x, 40, codes);
	/* The first batch's mean, whatever the decay. */
	for (size_t k = 0; k < 8; k++)
	{
		assert_true(fabs(b->e.counts[k] - 0.05) < 1e-15);
		for (size_t i = 0; i < 6; i++)
		{
			double sum = 0;

			for (size_t r = k; r < 40; r += 8)
				sum += x[r * 6 + i];
			assert_true(fabs(b->codewords[k * 6 + i] - sum / 5) <= 0x1p-24 * fabs(sum / 5) * 1.01);
		}
	}
	book_free(b);
	check_updates(7, 11, 1500, 3, rule, 2);
}

static void
some_inactive(void **state)
{
	uint64_t seed = 3;
	float x[100 * 5];
	uint16_t codes[100];
	stk_ema_rule rule = {.decay = 0.9};
	book *b = book_make(10, 5, &seed);
	book *before;

	(void) state;
	fill(x, 100 * 5, 1, &seed);
	draw_codes(codes, 100, 10, &seed);
	update(b, &rule, x, 100, codes);
	/* Values that any arithmetic would disturb. */
	b->codewords[3 * 5] = -0.0f;
	b->codewords[3 * 5 + 1] = 0x1p-149f;
	b->codewords[3 * 5 + 2] = 3e38f;
	b->e.sums[3 * 5] = -0.0;
	b->e.counts[3] = 0x1p-1074;
	before = book_copy(b);
	for (size_t i = 0; i < 100; i++)
		codes[i] = (uint16_t) (i % 3 * 4);
	update(b, &rule, x, 100, codes);
	for (uint32_t k = 0; k < 10; k++)
	{
		if (k % 4 == 0)
		{
			assert_memory_not_equal(b->codewords + k * 5, before->codewords + k * 5, 20);
			continue;
		}
		before->e.idle[k]++;
		assert_code_equal(b, before, k);
	}
	book_free(before);
	book_free(b);
}

/* Without rows there is no update; codes that none of the rows chose wait, all but one of them. */
static void
none_assigned(void **state)
{
	uint64_t seed = 4;
	float x[3] = {1, 2, 3};
	uint16_t codes[1] = {4};
	stk_ema_rule rule = {.decay = 0.5, .restart_after = 1};
	book *b = book_make(5, 3, &seed);
	book *before = book_copy(b);
	stk_error err = {.message = ""};

	(void) state;
	assert_int_equal(stk_ema_update(&b->e, &rule, plain_exec(), x, 0, codes, &err), STK_EINVAL);
	assert_string_equal(err.message, "no rows to learn from");
	assert_books_equal(b, before);
	rule.restart_after = 0;
	update(b, &rule, x, 1, codes);
	for (uint32_t k = 0; k < 4; k++)
	{
		before->e.idle[k]++;
		assert_code_equal(b, before, k);
	}
	assert_memory_equal(b->codewords + 4 * 3, x, sizeof(x));
	book_free(before);
	book_free(b);
}

static void
all_rows_to_one_code(void **state)
{
	uint64_t seed = 5;
	size_t n = 5003, dim = 3;
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	stk_ema_rule rule = {.decay = 0.99};
	book *b = book_make(6, dim, &seed);
	book *plain = book_copy(b);

	(void) state;
	for (size_t i = 0; i < n; i++)
		codes[i] = 2;
	for (int batch = 0; batch < 3; batch++)
	{
		fill_spread(x, n * dim, &seed);
		update(b, &rule, x, n, codes);
		plain_update(plain, &rule, x, n, codes);
		assert_books_equal(b, plain);
		assert_int_equal(b->e.idle[2], 0);
		assert_int_equal(b->e.idle[5], batch + 1);
	}
	assert_memory_not_equal(b->codewords, b->codewords + 2 * dim, dim * sizeof(float));
	book_free(plain);
	book_free(b);
	free(codes);
	free(x);
}

/* Is this one of the rows? */
static bool
is_row(const float *c, const float *x, size_t n, size_t dim)
{
	for (size_t i = 0; i < n; i++)
	{
		if (memcmp(c, x + i * dim, dim * sizeof(float)) == 0)
			return true;
	}
	return false;
}

/* Batches that hit code 0 alone, after one that hit all four codes; x is the last batch. */
static book *
leave_idle(int batches, const stk_ema_rule *rule, float *x, book **after_first)
{
	uint64_t seed = 6;
	book *b = book_make(4, 2, &seed);

	for (int i = 0; i <= batches; i++)
	{
		stk_ema_rule this = *rule;
		uint16_t codes[8] = {0};

		fill(x, 8 * 2, 1, &seed);
		for (uint16_t r = 0; r < 8 && i == 0; r++)
			codes[r] = r % 4;
		this.step = (uint32_t) i;
		update(b, &this, x, 8, codes);
		if (i == 0)
			*after_first = book_copy(b);
	}
	return b;
}

static void
restart_at_threshold(void **state)
{
	stk_ema_rule rule = {.decay = 0.9, .seed = 8, .level = 2};

	(void) state;
	for (rule.restart_after = 1; rule.restart_after <= 5; rule.restart_after++)
	{
		float x[8 * 2];
		book *first;
		book *b = leave_idle((int) rule.restart_after, &rule, x, &first);

		for (uint32_t k = 1; k < 4; k++)
		{
			assert_true(is_row(b->codewords + k * 2, x, 8, 2));
			assert_int_equal(b->e.idle[k], 0);
			assert_true(b->e.counts[k] == 0);
			assert_true(b->e.sums[k * 2] == 0 && b->e.sums[k * 2 + 1] == 0);
		}
		assert_true(b->e.counts[0] > 0);
		book_free(first);
		book_free(b);
	}
}

static void
restart_below_threshold(void **state)
{
	stk_ema_rule rule = {.decay = 0.9, .seed = 8};

	(void) state;
	for (rule.restart_after = 2; rule.restart_after <= 5; rule.restart_after++)
	{
		float x[8 * 2];
		book *first;
		book *b = leave_idle((int) rule.restart_after - 1, &rule, x, &first);

		for (uint32_t k = 1; k < 4; k++)
		{
			first->e.idle[k] = rule.restart_after - 1;
			assert_code_equal(b, first, k);
		}
		book_free(first);
		book_free(b);
	}
}

static void
restart_disabled(void **state)
{
	stk_ema_rule rule = {.decay = 0.9, .restart_after = 0};
	float x[8 * 2];
	uint16_t codes[8] = {0};
	book *first;
	book *b = leave_idle(100, &rule, x, &first);

	(void) state;
	for (uint32_t k = 1; k < 4; k++)
	{
		first->e.idle[k] = 100;
		assert_code_equal(b, first, k);
	}
	/* The counter stays at its largest, and still restarts when asked to. */
	b->e.idle[1] = UINT32_MAX;
	update(b, &rule, x, 8, codes);
	assert_true(b->e.idle[1] == UINT32_MAX);
	rule.restart_after = UINT32_MAX;
	update(b, &rule, x, 8, codes);
	assert_int_equal(b->e.idle[1], 0);
	assert_int_equal(b->e.idle[2], 102);
	assert_true(is_row(b->codewords + 2, x, 8, 2));
	book_free(first);
	book_free(b);
}

/* What a restart draws depends on seed, level, step and code, and all rows are drawn. */
static void
restart_draws(void **state)
{
	uint64_t seed = 9;
	size_t n = 50;
	float x[50];
	uint16_t codes[50] = {0};
	stk_ema_rule rule = {.decay = 0.9, .restart_after = 1, .seed = 0x123456789abcdef0, .level = 3};
	book *fresh = book_make(2000, 1, &seed);
	book *b = book_copy(fresh);
	book *other;
	bool seen[50] = {false};

	(void) state;
	for (size_t i = 0; i < n; i++)
		x[i] = (float) i;
	rule.step = 77;
	update(b, &rule, x, n, codes);
	for (size_t k = 1; k < 2000; k++)
		seen[(size_t) b->codewords[k]] = true;
	for (size_t i = 0; i < n; i++)
		assert_true(seen[i]);
	for (int change = 0; change < 4; change++)
	{
		stk_ema_rule changed = rule;

		changed.seed ^= change == 0 ? (uint64_t) 1 << 40 : 0;
		changed.level += change == 1;
		changed.step += change == 2;
		other = book_copy(fresh);
		update(other, &changed, x, n, codes);
		if (change == 3)
			assert_books_equal(other, b);
		else
			assert_memory_not_equal(other->codewords, b->codewords, 2000 * sizeof(float));
		book_free(other);
	}
	other = book_copy(fresh);
	plain_update(other, &rule, x, n, codes);
	assert_books_equal(other, b);
	book_free(other);
	book_free(b);
	book_free(fresh);
}

/* No memory: after every batch a codeword is that batch's mean. */
static void
decay_zero(void **state)
{
	uint64_t seed = 10;
	float x[64 * 4];
	uint16_t codes[64];
	stk_ema_rule rule = {.decay = 0};
	book *b = book_make(4, 4, &seed);

	(void) state;
	for (int batch = 0; batch < 3; batch++)
	{
		fill(x, 64 * 4, 1, &seed);
		draw_codes(codes, 64, 4, &seed);
		update(b, &rule, x, 64, codes);
		for (uint32_t k = 0; k < 4; k++)
		{
			for (size_t i = 0; i < 4; i++)
			{
				double sum;
				size_t rows = plain_sum(x, 64, 4, codes, k, i, &sum);

				assert_true(b->e.counts[k] == (double) rows);
				assert_true(b->codewords[k * 4 + i] == (float) (sum / (double) rows));
			}
		}
	}
	book_free(b);
	check_updates(5, 3, 100, 4, rule, 11);
}

/* Nothing but memory: averages stay as they are, and a codeword is what they say. */
static void
decay_one(void **state)
{
	uint64_t seed = 12;
	float x[64 * 4];
	uint16_t codes[64];
	stk_ema_rule rule = {.decay = 0.5};
	book *b = book_make(4, 4, &seed);
	book *before;

	(void) state;
	fill(x, 64 * 4, 1, &seed);
	draw_codes(codes, 64, 4, &seed);
	update(b, &rule, x, 64, codes);
	before = book_copy(b);
	rule.decay = 1;
	fill(x, 64 * 4, 1, &seed);
	update(b, &rule, x, 64, codes);
	assert_books_equal(b, before);
	book_free(before);
	book_free(b);

	/* Averages that have seen nothing say zero. */
	b = book_make(4, 4, &seed);
	update(b, &rule, x, 64, codes);
	for (size_t i = 0; i < 16; i++)
		assert_true(b->codewords[i] == 0);
	book_free(b);
	check_updates(5, 3, 100, 2, rule, 13);
}

/* Counts below 1e-5 divide as 1e-5. */
static void
small_counts(void **state)
{
	uint64_t seed = 14;
	float x[2] = {3, -5};
	uint16_t codes[1] = {0};
	stk_ema_rule rule = {.decay = 1 - 0x1p-20};
	book *b = book_make(1, 2, &seed);

	(void) state;
	update(b, &rule, x, 1, codes);
	assert_true(b->e.counts[0] == 0x1p-20);
	assert_true(b->codewords[0] == (float) (3 * 0x1p-20 / 1e-5));
	assert_true(b->codewords[1] == (float) (-5 * 0x1p-20 / 1e-5));
	book_free(b);
}

/* An active code's counter returns to 0 while others rise. */
static void
counters(void **state)
{
	uint64_t seed = 15;
	float x[12 * 2];
	uint16_t codes[12];
	uint32_t expected[6] = {0};
	stk_ema_rule rule = {.decay = 0.99};
	book *b = book_make(6, 2, &seed);

	(void) state;
	for (int batch = 0; batch < 40; batch++)
	{
		uint64_t active = next_bits(&seed) % 63 + 1;
		size_t n = 0;

		fill(x, 12 * 2, 1, &seed);
		for (uint16_t k = 0; k < 6; k++)
		{
			expected[k]++;
			for (int twice = 0; twice < 2 && active >> k & 1; twice++)
			{
				codes[n++] = k;
				expected[k] = 0;
			}
		}
		update(b, &rule, x, n, codes);
		assert_memory_equal(b->e.idle, expected, sizeof(expected));
	}
	book_free(b);
}

static void
large_codebook(void **state)
{
	uint64_t seed = 16;
	uint32_t size = 65536;
	size_t n = 70001, dim = 3;
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	double *sums = calloc(size * dim, sizeof(double));
	double *counts = calloc(size, sizeof(double));
	stk_ema_rule rule = {.decay = 0.99, .restart_after = 1, .seed = 5};
	book *b = book_make(size, dim, &seed);
	size_t restarted = 0;

	(void) state;
	fill(x, n * dim, 1, &seed);
	draw_codes(codes, n, size, &seed);
	codes[0] = 65535;
	update(b, &rule, x, n, codes);
	/* These sums are exact in any order. */
	for (size_t i = 0; i < n; i++)
	{
		counts[codes[i]]++;
		for (size_t j = 0; j < dim; j++)
			sums[codes[i] * dim + j] += x[i * dim + j];
	}
	for (size_t k = 0; k < size; k++)
	{
		double take = 1 - 0.99;

		assert_true(b->e.counts[k] == take * counts[k]);
		for (size_t j = 0; j < dim; j++)
		{
			double s = take * sums[k * dim + j];

			assert_true(b->e.sums[k * dim + j] == s);
			if (counts[k] > 0)
				assert_true(b->codewords[k * dim + j] == (float) (s / (take * counts[k])));
		}
		if (counts[k] == 0)
		{
			size_t row = (size_t) stk_below(stk_random(5, STK_RANDOM_RESTART, 0, 0, k), n);

			assert_memory_equal(b->codewords + k * dim, x + row * dim, dim * sizeof(float));
			restarted++;
		}
	}
	assert_true(counts[65535] > 0 && restarted > 20000);
	book_free(b);
	free(counts);
	free(sums);
	free(codes);
	free(x);
}

/*
 * The five steps that the update replaces, as a matrix library words them: one-hot codes, their
 * column sums, their product with the rows, the blend of all codes, the quotients. Codes that no
 * row chose are left out, which the library does with a mask.
 */
static void
five_steps(book *b, double decay, const float *x, size_t n, const uint16_t *codes)
{
	size_t size = b->e.size, dim = b->e.dim;
	double *one_hot = calloc(n * size, sizeof(double));
	double *batch_counts = calloc(size, sizeof(double));
	double *batch_sums = calloc(size * dim, sizeof(double));

	for (size_t i = 0; i < n; i++)
		one_hot[i * size + codes[i]] = 1;
	for (size_t k = 0; k < size; k++)
	{
		for (size_t i = 0; i < n; i++)
			batch_counts[k] += one_hot[i * size + k];
	}
	for (size_t k = 0; k < size; k++)
	{
		for (size_t j = 0; j < dim; j++)
		{
			for (size_t i = 0; i < n; i++)
				batch_sums[k * dim + j] += one_hot[i * size + k] * x[i * dim + j];
		}
	}
	for (size_t k = 0; k < size; k++)
	{
		if (batch_counts[k] == 0)
			continue;
		b->e.counts[k] = decay * b->e.counts[k] + (1 - decay) * batch_counts[k];
		for (size_t j = 0; j < dim; j++)
		{
			double *s = &b->e.sums[k * dim + j];

			*s = decay * *s + (1 - decay) * batch_sums[k * dim + j];
			b->codewords[k * dim + j] = (float) (*s / fmax(b->e.counts[k], 1e-5));
		}
	}
	free(batch_sums);
	free(batch_counts);
	free(one_hot);
}

/*
 * Where sums are exact whatever their order (numbers on a grid), the bits are the same. Elsewhere
 * two orders of n additions differ by at most 2 n 2^-53 times the sum of the absolute values, and
 * blending and dividing leave that in proportion.
 */
static void
five_step_formula(void **state)
{
	uint64_t seed = 17;
	size_t n = 400, dim = 7;
	uint32_t size = 30;
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));

	(void) state;
	for (int spread = 0; spread <= 1; spread++)
	{
		stk_ema_rule rule = {.decay = 0.99};
		book *ours = book_make(size, dim, &seed);
		book *steps = book_copy(ours);
		double *absolute = calloc(size * dim, sizeof(double));
		size_t differ = 0;

		for (int batch = 0; batch < 5; batch++)
		{
			if (spread)
				fill_spread(x, n * dim, &seed);
			else
				fill(x, n * dim, 1, &seed);
			draw_codes(codes, n, size - 2, &seed);
			update(ours, &rule, x, n, codes);
			five_steps(steps, 0.99, x, n, codes);
			for (uint32_t k = 0; k < size; k++)
				steps->e.idle[k] = ours->e.idle[k];
			if (!spread)
				assert_books_equal(ours, steps);
			for (size_t i = 0; i < size * dim; i++)
				absolute[i] *= 0.99;
			for (size_t i = 0; i < n * dim; i++)
				absolute[codes[i / dim] * dim + i % dim] += 0.01 * fabs(x[i]);
			for (size_t i = 0; i < size * dim && spread; i++)
			{
				double count = ours->e.counts[i / dim];
				double bound = 2.0 * (double) n * 0x1p-53 * absolute[i];

				assert_true(count == steps->e.counts[i / dim]);
				assert_true(fabs(ours->e.sums[i] - steps->e.sums[i]) <= bound);
				if (count > 0)
					assert_true(fabs((double) ours->codewords[i] - steps->codewords[i]) <=
								bound / count + 0x1p-23 * fabs((double) ours->codewords[i]));
				differ += ours->e.sums[i] != steps->e.sums[i];
			}
		}
		assert_true(spread == (differ > 0));
		free(absolute);
		book_free(steps);
		book_free(ours);
	}
	free(codes);
	free(x);
}

static void
repeatability(void **state)
{
	uint64_t seed = 18;
	size_t n = 3001, dim = 19;
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	stk_ema_rule rule = {.decay = 0.99, .restart_after = 2, .seed = 1};
	book *fresh = book_make(100, dim, &seed);
	book *first = book_copy(fresh);

	(void) state;
	fill_spread(x, n * dim, &seed);
	draw_codes(codes, n, 60, &seed);
	for (rule.step = 0; rule.step < 4; rule.step++)
		update(first, &rule, x, n, codes);
	for (int again = 0; again < 20; again++)
	{
		book *b = book_copy(fresh);

		for (rule.step = 0; rule.step < 4; rule.step++)
			update(b, &rule, x, n, codes);
		assert_books_equal(b, first);
		book_free(b);
	}
	book_free(first);
	book_free(fresh);
	free(codes);
	free(x);
}

/* Sizes that are multiples of nothing, one row, one code, one dimension, the largest dimension. */
static void
odd_shapes(void **state)
{
	const struct
	{
		uint32_t size;
		size_t dim, n;
	} shapes[] = {{1, 1, 1},    {1, 7, 1},     {1, 1, 1000},   {13, 1, 257},
				  {17, 3, 1},   {1, 33, 511},  {2, 2, 16},     {31, 5, 97},
				  {3, 65, 769}, {257, 9, 255}, {5, 16000, 300}};

	(void) state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
	{
		stk_ema_rule rule = {.decay = 0.875, .restart_after = 2, .seed = i, .level = 1};

		check_updates(shapes[i].size, shapes[i].dim, shapes[i].n, 4, rule, 19 + i);
		rule.unit = true;
		check_updates(shapes[i].size, shapes[i].dim, shapes[i].n, 4, rule, 19 + i);
	}
}

/* Codewords at norm 1: rows that cancel out leave theirs where it is. */
static void
unit_codewords(void **state)
{
	uint64_t seed = 20;
	float x[4 * 2] = {0.6f, 0.8f, 1, 0, -0.6f, -0.8f, 0.6f, 0.8f};
	uint16_t codes[4] = {0, 0, 1, 1};
	stk_ema_rule rule = {.decay = 0.5, .unit = true};
	book *b = book_make(2, 2, &seed);
	float before[2];

	(void) state;
	memcpy(before, b->codewords + 2, sizeof(before));
	update(b, &rule, x, 4, codes);
	assert_true(fabs(plain_dot(b->codewords, b->codewords, 2) - 1) < 1e-6);
	assert_true(fabs(b->codewords[1] / b->codewords[0] - 0.5) < 1e-6);
	assert_memory_equal(b->codewords + 2, before, sizeof(before));
	assert_true(b->e.counts[1] == 1 && b->e.sums[2] == 0);
	book_free(b);
}

/* Numbers at the ends of binary32's range stay in it. */
static void
huge_and_tiny_rows(void **state)
{
	uint64_t seed = 21;
	float x[200 * 3];
	uint16_t codes[200];
	stk_ema_rule rule = {.decay = 0.99};

	(void) state;
	for (int tiny = 0; tiny <= 1; tiny++)
	{
		book *b = book_make(4, 3, &seed);
		book *plain = book_copy(b);

		for (int batch = 0; batch < 3; batch++)
		{
			for (size_t i = 0; i < 200 * 3; i++)
				x[i] = tiny ? 0x1p-149f * (float) (next_bits(&seed) % 9) : 0x1.fffffep127f;
			draw_codes(codes, 200, 4, &seed);
			update(b, &rule, x, 200, codes);
			plain_update(plain, &rule, x, 200, codes);
			assert_books_equal(b, plain);
			for (size_t i = 0; i < 4 * 3; i++)
				assert_true(isfinite(b->codewords[i]) && (tiny || b->codewords[i] == x[0]));
		}
		book_free(plain);
		book_free(b);
	}
}

static void
bad_arguments(void **state)
{
	uint64_t seed = 22;
	float x[600 * 2];
	uint16_t codes[600];
	stk_ema_rule rule = {.decay = 0.9};
	book *b = book_make(300, 2, &seed);
	book *before = book_copy(b);
	const double decays[] = {-0x1p-1074, 1 + 0x1p-52, NAN, INFINITY, -INFINITY};
	stk_error err;
	stk_ema none;
	float none_codewords[1];

	(void) state;
	fill(x, 600 * 2, 1, &seed);
	draw_codes(codes, 600, 300, &seed);
	for (size_t i = 0; i < sizeof(decays) / sizeof(decays[0]); i++)
	{
		rule.decay = decays[i];
		assert_int_equal(stk_ema_update(&b->e, &rule, plain_exec(), x, 600, codes, &err),
						 STK_EINVAL);
		assert_string_equal(err.message, "decay must be from 0 to 1");
		assert_books_equal(b, before);
	}
	rule.decay = 0.9;
	codes[417] = 300;
	codes[500] = 65535;
	assert_int_equal(stk_ema_update(&b->e, &rule, plain_exec(), x, 600, codes, &err), STK_EINVAL);
	assert_int_equal(err.row, 417);
	assert_string_equal(err.message, "code 300 is not in the codebook");
	assert_books_equal(b, before);

	assert_int_equal(stk_ema_init(&none, &stk_malloc, 0, 2, none_codewords, &err), STK_EINVAL);
	assert_int_equal(stk_ema_init(&none, &stk_malloc, 2, 0, none_codewords, &err), STK_EINVAL);
	assert_int_equal(stk_ema_init(&none, &stk_malloc, 65537, 2, none_codewords, &err), STK_EINVAL);
	assert_int_equal(stk_ema_init(&none, &stk_malloc, 2, 16001, none_codewords, &err), STK_EINVAL);
	assert_int_equal(
		stk_ema_init(&none, &stk_malloc, 2, (size_t) 1 << 32 | 2, none_codewords, &err),
		STK_EINVAL);
	stk_ema_free(&none);
	book_free(before);
	book_free(b);
}

/* A row that is not finite is named, and never gets into a codeword. */
static void
rows_not_finite(void **state)
{
	uint64_t seed = 23;
	const float bad[] = {NAN, INFINITY, -INFINITY};
	float x[600 * 3];
	uint16_t codes[600];
	stk_crew *threads;
	stk_exec exec = *plain_exec();

	(void) state;
	assert_int_equal(stk_crew_start(3, &threads), STK_OK);
	for (int round = 0; round < 12; round++)
	{
		stk_ema_rule rule = {.decay = 0.9, .restart_after = 1, .seed = (uint64_t) round};
		book *b = book_make(400, 3, &seed);
		book *before = book_copy(b);
		book *whole = book_copy(b);
		stk_error err = {.row = 0};

		exec.pool = round & 1 ? stk_crew_pool(threads, STK_BACKGROUND) : NULL;
		fill(x, 600 * 3, 1, &seed);
		draw_codes(codes, 600, 300, &seed);
		update(whole, &rule, x, 600, codes);
		x[111 * 3 + round % 3] = bad[round % 3];
		x[555 * 3] = NAN;
		assert_int_equal(stk_ema_update(&b->e, &rule, &exec, x, 600, codes, &err), STK_EINVAL);
		assert_int_equal(err.row, 111);
		for (uint32_t k = 0; k < 400; k++)
		{
			/* Updated wholly or not at all. */
			bool updated = memcmp(b->codewords + k * 3, before->codewords + k * 3, 12) != 0;

			assert_code_equal(b, updated ? whole : before, k);
			assert_false(updated && (k == codes[111] || k == codes[555]));
		}
		book_free(whole);
		book_free(before);
		book_free(b);
	}
	stk_crew_stop(threads);
	{
		/* Nor by a restart. */
		const float x[2] = {NAN, NAN};
		const uint16_t codes[2] = {1, 1};
		stk_ema_rule rule = {.decay = 0.9, .restart_after = 1};
		book *b = book_make(2, 1, &seed);
		book *before = book_copy(b);

		assert_int_equal(stk_ema_update(&b->e, &rule, plain_exec(), x, 2, codes, NULL), STK_EINVAL);
		assert_books_equal(b, before);
		book_free(before);
		book_free(b);
	}
}

/* Every number of threads, every vector unit of this machine: the same bits. */
static void
threads_and_units(void **state)
{
	uint64_t seed = 24;
	size_t n = 2003, dim = 21;
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	book *fresh = book_make(130, dim, &seed);
	book *first = book_copy(fresh);
	stk_ema_rule rule = {.decay = 0.99, .restart_after = 3, .seed = 7, .level = 1};

	(void) state;
	fill_spread(x, n * dim, &seed);
	draw_codes(codes, n, 110, &seed);
	for (rule.step = 0; rule.step < 5; rule.step++)
		plain_update(first, &rule, x, n, codes);
	for (int simd = STK_SIMD_AVX512; simd <= STK_SIMD_SCALAR; simd++)
	{
		stk_cpu cpu;

		if (stk_cpu_choose((stk_simd) simd, &cpu, NULL) != STK_OK)
		{
			print_message("%s: skipped\n", stk_simd_name((stk_simd) simd));
			continue;
		}
		print_message("%s: run\n", stk_simd_name((stk_simd) simd));
		for (int count = 0; count <= 3; count++)
		{
			stk_crew *threads = NULL;
			stk_exec exec = {.a = stk_malloc, .cpu = &cpu};
			book *b = book_copy(fresh);

			if (count > 0)
			{
				assert_int_equal(stk_crew_start(count, &threads), STK_OK);
				exec.pool = stk_crew_pool(threads, STK_BACKGROUND);
			}
			for (rule.step = 0; rule.step < 5; rule.step++)
				update_with(b, &rule, &exec, x, n, codes);
			assert_books_equal(b, first);
			stk_crew_stop(threads);
			book_free(b);
		}
	}
	book_free(first);
	book_free(fresh);
	free(codes);
	free(x);
}

static void
updates_that_fail(void **state)
{
	uint64_t seed = 25;
	size_t n = 900, dim = 4;
	float x[900 * 4];
	uint16_t codes[900];
	stk_ema_rule rule = {.decay = 0.9, .restart_after = 1, .seed = 3};
	book *fresh = book_make(50, dim, &seed);
	book *whole = book_copy(fresh);
	size_t partly = 0;

	(void) state;
	fill(x, n * dim, 1, &seed);
	draw_codes(codes, n, 40, &seed);
	update(whole, &rule, x, n, codes);
	for (int canceled = 0; canceled <= 1; canceled++)
	{
		bool done = false;

		for (long left = 0; !done; left++)
		{
			long looks = left;
			short_memory memory = {canceled ? 1000000 : left, 0};
			stk_allocator a = short_allocator(&memory);
			stk_monitor monitor = {stop_countdown, &looks};
			stk_exec exec = exec_with(&a, canceled ? &monitor : NULL);
			book *b = book_copy(fresh);
			stk_status status = stk_ema_update(&b->e, &rule, &exec, x, n, codes, NULL);
			size_t updated = 0;

			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
			assert_int_equal(memory.live, 0);
			for (uint32_t k = 0; k < 50; k++)
			{
				bool changed = memcmp(b->codewords + k * dim, fresh->codewords + k * dim, 16) != 0;

				assert_code_equal(b, changed ? whole : fresh, k);
				updated += changed;
			}
			if (!canceled && !done)
				assert_int_equal(updated, 0);
			partly += updated > 0 && updated < 50;
			if (done)
				assert_books_equal(b, whole);
			book_free(b);
		}
	}
	assert_true(partly > 0);
	{
		/* Restarts alone can be stopped as well. */
		long looks = 5;
		stk_monitor monitor = {stop_countdown, &looks};
		stk_exec exec = exec_with(&stk_malloc, &monitor);
		book *b = book_make(1000, dim, &seed);

		codes[0] = 0;
		assert_int_equal(stk_ema_update(&b->e, &rule, &exec, x, 1, codes, NULL), STK_ECANCELED);
		book_free(b);
	}
	for (long left = 0; left < 3; left++)
	{
		short_memory memory = {left, 0};
		stk_allocator a = short_allocator(&memory);
		stk_ema e;

		assert_int_equal(stk_ema_init(&e, &a, 50, dim, fresh->codewords, NULL), STK_ENOMEM);
		assert_int_equal(memory.live, 0);
	}
	book_free(whole);
	book_free(fresh);
}

/* Rows around 20 points. */
static void
clustered(float *x, size_t n, size_t dim, uint64_t *seed)
{
	float points[20 * 16];

	fill(points, 20 * dim, 4, seed);
	for (size_t i = 0; i < n; i++)
	{
		size_t point = (size_t) (next_bits(seed) % 20);

		for (size_t j = 0; j < dim; j++)
			x[i * dim + j] = points[point * dim + j] + 0.5f * next_float(seed);
	}
}

#define MAX_EPOCHS 40

typedef struct history
{
	int calls;
	double objective[2][MAX_EPOCHS + 1];
	uint32_t empty[2][MAX_EPOCHS + 1];
} history;

static void
record(void *ctx, const stk_train_progress *p)
{
	history *h = ctx;

	assert_int_equal(p->level, h->calls % 2);
	assert_int_equal(p->epoch, h->calls / 2 + 1);
	h->objective[p->level][p->epoch] = p->objective;
	h->empty[p->level][p->epoch] = p->empty;
	h->calls++;
}

/* The first batch's codewords of one level, by k-means' own start. */
static void
plain_start(const stk_ema_options *opt, int level, const float *rows, size_t n, float *codewords)
{
	uint32_t size = opt->sizes[level];
	double *counts = malloc(size * sizeof(double));
	stk_kmeans km = {
		.dim = (size_t) opt->dim, .size = size, .centroids = codewords, .counts = counts};
	stk_kmeans_work work;

	assert_int_equal(stk_kmeans_work_init(&work, n, km.dim, size, plain_exec()), STK_OK);
	assert_int_equal(stk_kmeans_start(&km, &work, rows, n, opt->init, opt->seed, level), STK_OK);
	stk_kmeans_work_free(&work);
	free(counts);
}

/*
 * Training two levels, written plainly, of rows that are sorted and prepared already. Each level
 * is a book; h gets what progress should tell.
 */
static void
plain_train(const stk_ema_options *opt, const float *x, size_t n, book *books[2], history *h)
{
	size_t dim = (size_t) opt->dim;
	size_t size = opt->batch_size && opt->batch_size < n ? opt->batch_size : n;
	size_t *order = malloc(n * sizeof(size_t));
	bool *taken = malloc(n * sizeof(bool));
	float *rows = malloc(size * dim * sizeof(float));
	float *residuals = malloc(size * dim * sizeof(float));
	uint16_t *codes = malloc(size * sizeof(uint16_t));
	uint32_t step = 0;

	memset(h, 0, sizeof(*h));
	for (int epoch = 1; epoch <= opt->epochs; epoch++)
	{
		bool *used[2] = {calloc(opt->sizes[0], 1), calloc(opt->sizes[1], 1)};

		stk_random_order(order, n, n, opt->seed, STK_RANDOM_ORDER, 0, (uint32_t) epoch);
		for (size_t first = 0; first < n; first += size, step++)
		{
			size_t count = n - first < size ? n - first : size;
			size_t filled = 0;

			memset(taken, 0, n * sizeof(bool));
			for (size_t i = 0; i < count; i++)
				taken[order[first + i]] = true;
			for (size_t i = 0; i < n; i++)
			{
				if (taken[i])
					memcpy(rows + dim * filled++, x + i * dim, dim * sizeof(float));
			}
			for (int l = 0; l < 2; l++)
			{
				stk_ema_rule rule = {opt->decay,
									 opt->restart_after,
									 opt->metric == STK_COSINE && l == 0,
									 opt->seed,
									 l,
									 step};
				float *codewords = books[l]->codewords;

				if (step == 0)
					plain_start(opt, l, rows, count, codewords);
				for (size_t i = 0; i < count; i++)
				{
					codes[i] = plain_nearest(rows + i * dim, codewords, opt->sizes[l], dim,
											 opt->metric == STK_IP);
					used[l][codes[i]] = true;
					for (size_t j = 0; j < dim; j++)
					{
						double d = (double) rows[i * dim + j] - codewords[codes[i] * dim + j];

						residuals[i * dim + j] = rows[i * dim + j] - codewords[codes[i] * dim + j];
						h->objective[l][epoch] += d * d / (double) n;
					}
				}
				plain_update(books[l], &rule, rows, count, codes);
				memcpy(rows, residuals, count * dim * sizeof(float));
			}
		}
		for (int l = 0; l < 2; l++)
		{
			for (uint32_t k = 0; k < opt->sizes[l]; k++)
				h->empty[l][epoch] += !used[l][k];
			free(used[l]);
		}
	}
	free(codes);
	free(residuals);
	free(rows);
	free(taken);
	free(order);
}

static void
training_is_what_it_says(void **state)
{
	uint64_t seed = 30;
	size_t n = 500, dim = 6;
	float *x = malloc(n * dim * sizeof(float));
	size_t restarts = 0;

	(void) state;
	for (int variant = 0; variant < 18; variant++)
	{
		history h = {.calls = 0};
		history expected;
		stk_ema_options opt = {.metric = (stk_metric) (variant % 3),
							   .levels = 2,
							   .sizes = {24, 10},
							   .dim = (int) dim,
							   .epochs = 4,
							   .batch_size = (size_t[]){0, 37, 1000}[variant / 3 % 3],
							   .init = variant & 1 ? STK_INIT_RANDOM : STK_INIT_KMEANSPP,
							   .seed = 1000 + (uint64_t) variant,
							   .decay = 0.95,
							   .restart_after = variant < 9 ? 2 : 0,
							   .progress = record,
							   .progress_ctx = &h};
		book *books[2] = {book_make(24, dim, &seed), book_make(10, dim, &seed)};
		float codewords[34 * 6];
		double counts[34];

		clustered(x, n, dim, &seed);
		assert_int_equal(stk_ema_train(&opt, plain_exec(), x, n, codewords, counts, NULL), STK_OK);
		for (size_t i = 1; i < n; i++)
			assert_true(x[(i - 1) * dim] <= x[i * dim]);
		plain_train(&opt, x, n, books, &expected);
		assert_memory_equal(codewords, books[0]->codewords, 24 * dim * sizeof(float));
		assert_memory_equal(codewords + 24 * dim, books[1]->codewords, 10 * dim * sizeof(float));
		assert_memory_equal(counts, books[0]->e.counts, 24 * sizeof(double));
		assert_memory_equal(counts + 24, books[1]->e.counts, 10 * sizeof(double));
		assert_int_equal(h.calls, 2 * opt.epochs);
		for (int l = 0; l < 2; l++)
		{
			for (int e = 1; e <= opt.epochs; e++)
			{
				assert_true(fabs(h.objective[l][e] - expected.objective[l][e]) <
							1e-9 * (1 + expected.objective[0][e]));
				assert_int_equal(h.empty[l][e], expected.empty[l][e]);
			}
			for (uint32_t k = 0; k < opt.sizes[l]; k++)
				restarts += opt.restart_after > 0 && books[l]->e.counts[k] == 0;
			book_free(books[l]);
		}
	}
	/* Some codeword was left dead by the last batch, so that restarts have been compared too. */
	assert_true(restarts > 0);
	free(x);
}

static void
training_learns(void **state)
{
	uint64_t seed = 31;
	size_t n = 2000, dim = 8;
	float *x = malloc(n * dim * sizeof(float));
	float codewords[48 * 8];
	history h = {.calls = 0};
	stk_ema_options opt = {.levels = 2,
						   .sizes = {32, 16},
						   .dim = 8,
						   .epochs = MAX_EPOCHS,
						   .batch_size = 100,
						   .seed = 4,
						   .decay = 0.99,
						   .restart_after = 20,
						   .progress = record,
						   .progress_ctx = &h};

	(void) state;
	clustered(x, n, dim, &seed);
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, n, codewords, NULL, NULL), STK_OK);
	for (int l = 0; l < 2; l++)
		assert_true(h.objective[l][MAX_EPOCHS] < h.objective[l][1]);
	assert_true(h.objective[1][MAX_EPOCHS] < 0.7 * h.objective[0][MAX_EPOCHS]);
	assert_true(h.empty[0][MAX_EPOCHS] == 0 && h.empty[1][MAX_EPOCHS] == 0);
	free(x);
}

/* Row orders, numbers of threads and vector units: the same codebook. */
static void
one_codebook_everywhere(void **state)
{
	uint64_t seed = 32;
	size_t n = 700, dim = 9;
	float *x = malloc(n * dim * sizeof(float));
	float *y = malloc(n * dim * sizeof(float));
	stk_crew *threads;

	(void) state;
	clustered(x, n, dim, &seed);
	memcpy(x + 30 * dim, x + 400 * dim, 5 * dim * sizeof(float));
	assert_int_equal(stk_crew_start(3, &threads), STK_OK);
	for (int metric = STK_L2; metric <= STK_COSINE; metric++)
	{
		stk_ema_options opt = {.metric = (stk_metric) metric,
							   .levels = 3,
							   .sizes = {30, 20, 10},
							   .dim = (int) dim,
							   .epochs = 3,
							   .batch_size = 64,
							   .seed = 99,
							   .decay = 0.9,
							   .restart_after = 3};
		float first[60 * 9], codewords[60 * 9];
		double first_counts[60], counts[60];
		int run = 0;

		for (int simd = STK_SIMD_AUTO; simd <= STK_SIMD_SCALAR; simd++)
		{
			stk_cpu cpu;

			if (stk_cpu_choose((stk_simd) simd, &cpu, NULL) != STK_OK)
				continue;
			for (int pool = 0; pool <= 1; pool++, run++)
			{
				stk_exec exec = {.a = stk_malloc,
								 .cpu = &cpu,
								 .pool = pool ? stk_crew_pool(threads, STK_BACKGROUND) : NULL};
				size_t stride = run % 3 == 0 ? 1 : run % 3 == 1 ? n - 1 : 457;

				for (size_t i = 0; i < n; i++)
					memcpy(y + i * dim, x + i * stride % n * dim, dim * sizeof(float));
				assert_int_equal(stk_ema_train(&opt, &exec, y, n, codewords, counts, NULL), STK_OK);
				if (run == 0)
				{
					memcpy(first, codewords, sizeof(first));
					memcpy(first_counts, counts, sizeof(counts));
				}
				assert_memory_equal(codewords, first, sizeof(first));
				assert_memory_equal(counts, first_counts, sizeof(counts));
			}
		}
		opt.seed++;
		memcpy(y, x, n * dim * sizeof(float));
		assert_int_equal(stk_ema_train(&opt, plain_exec(), y, n, codewords, NULL, NULL), STK_OK);
		assert_memory_not_equal(codewords, first, sizeof(first));
	}
	stk_crew_stop(threads);
	free(y);
	free(x);
}

static void
cosine_codewords_are_unit(void **state)
{
	uint64_t seed = 33;
	float x[300 * 6];
	float codewords[24 * 6];
	stk_ema_options opt = {.metric = STK_COSINE,
						   .levels = 2,
						   .sizes = {16, 8},
						   .dim = 6,
						   .epochs = 5,
						   .batch_size = 50,
						   .decay = 0.99,
						   .restart_after = 2};

	(void) state;
	fill(x, 300 * 6, 50, &seed);
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 300, codewords, NULL, NULL), STK_OK);
	for (size_t k = 0; k < 16; k++)
		assert_true(fabs(plain_dot(codewords + k * 6, codewords + k * 6, 6) - 1) < 1e-6);
}

/* Fewer distinct rows than codewords. */
static void
few_rows(void **state)
{
	float codewords[20 * 2];
	double counts[20];

	(void) state;
	for (int variant = 0; variant < 8; variant++)
	{
		float x[10] = {1, 2, 3, 4, 1, 2, 5, 6, 3, 4};
		history h = {.calls = 0};
		stk_ema_options opt = {.levels = 2,
							   .sizes = {16, 4},
							   .dim = 2,
							   .epochs = 6,
							   .batch_size = variant & 1 ? 2 : 0,
							   .init = variant & 2 ? STK_INIT_RANDOM : STK_INIT_KMEANSPP,
							   .decay = 0.5,
							   .restart_after = variant & 4 ? 1 : 0,
							   .progress = record,
							   .progress_ctx = &h};

		assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 5, codewords, counts, NULL), STK_OK);
		for (size_t i = 0; i < 20 * 2; i++)
			assert_true(isfinite(codewords[i]));
		if (!(variant & 1))
		{
			/* Three distinct rows have codewords of their own. */
			assert_int_equal(h.empty[0][6], 13);
			assert_true(h.objective[0][6] == 0);
			assert_int_equal(h.empty[1][6], 3);
		}
	}
	{
		float x[2] = {7, -3};
		stk_ema_options opt = {
			.levels = 2, .sizes = {1, 1}, .dim = 2, .epochs = 3, .decay = 0.99, .restart_after = 1};

		assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 1, codewords, counts, NULL), STK_OK);
		assert_true(codewords[0] == 7 && codewords[1] == -3);
		assert_true(codewords[2] == 0 && codewords[3] == 0);
	}
}

static void
bad_training(void **state)
{
	uint64_t seed = 34;
	float x[40 * 3];
	float codewords[8 * 3];
	const double decays[] = {-0.5, 1, 2, NAN};
	stk_ema_options good = {.levels = 2, .sizes = {4, 4}, .dim = 3, .epochs = 2, .decay = 0.99};
	stk_ema_options opt = good;
	stk_error err;

	(void) state;
	fill(x, 40 * 3, 1, &seed);
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 0, codewords, NULL, &err), STK_EINVAL);
	opt.epochs = 0;
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err), STK_EINVAL);
	opt = good;
	opt.sizes[1] = 0;
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err), STK_EINVAL);
	opt = good;
	for (size_t i = 0; i < sizeof(decays) / sizeof(decays[0]); i++)
	{
		opt.decay = decays[i];
		assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err),
						 STK_EINVAL);
		assert_string_equal(err.message, "decay must be at least 0 and less than 1");
	}
	opt = good;
	x[31 * 3 + 1] = NAN;
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err), STK_EINVAL);
	assert_int_equal(err.row, 31);
	fill(x, 40 * 3, 1, &seed);
	memset(x + 12 * 3, 0, 3 * sizeof(float));
	opt.metric = STK_COSINE;
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err), STK_EINVAL);
	assert_int_equal(err.row, 12);

	/* Rows near the ends of binary32's range train; a residual beyond it is an error. */
	opt.metric = STK_L2;
	fill(x, 40 * 3, 1e38f, &seed);
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err), STK_OK);
	fill(x, 40 * 3, 0x1p-140f, &seed);
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err), STK_OK);
	opt.metric = STK_IP;
	opt.sizes[0] = 1;
	for (size_t i = 0; i < 40; i++)
		x[3 * i] = i < 30 ? 3e38f : -3e38f;
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, 40, codewords, NULL, &err), STK_ERANGE);
	assert_int_equal(err.level, 1);
}

static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 35;
	float x[100 * 4];
	float codewords[12 * 4];

	(void) state;
	for (int canceled = 0; canceled <= 1; canceled++)
	{
		bool done = false;

		for (long left = 0; !done; left++)
		{
			long looks = left;
			short_memory memory = {canceled ? 1000000 : left, 0};
			stk_allocator a = short_allocator(&memory);
			stk_monitor monitor = {stop_countdown, &looks};
			stk_ema_options opt = {.levels = 2,
								   .sizes = {8, 4},
								   .dim = 4,
								   .epochs = 2,
								   .batch_size = 30,
								   .decay = 0.9,
								   .restart_after = 1};
			stk_exec exec = exec_with(&a, canceled ? &monitor : NULL);
			stk_status status;

			fill(x, 100 * 4, 1, &seed);
			status = stk_ema_train(&opt, &exec, x, 100, codewords, NULL, NULL);
			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
			assert_int_equal(memory.live, 0);
		}
	}
}

static void
shared_data(void **state)
{
	size_t n = 0, dim = 0;
	float *x = shared_rows("beauty/minilm384.fvecs", 4000, &n, &dim);
	float *codewords;
	history h = {.calls = 0};
	stk_ema_options opt = {.metric = STK_COSINE,
						   .levels = 2,
						   .sizes = {64, 64},
						   .epochs = 8,
						   .batch_size = 640,
						   .decay = 0.99,
						   .restart_after = 20,
						   .progress = record,
						   .progress_ctx = &h};

	(void) state;
	if (!x)
		skip();
	opt.dim = (int) dim;
	codewords = malloc(128 * dim * sizeof(float));
	assert_int_equal(stk_ema_train(&opt, plain_exec(), x, n, codewords, NULL, NULL), STK_OK);
	for (int l = 0; l < 2; l++)
		assert_true(h.objective[l][8] < h.objective[l][1]);
	assert_true(h.objective[1][8] < h.objective[0][8]);
	free(codewords);
	free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_codes_active),
		cmocka_unit_test(some_inactive),
		cmocka_unit_test(none_assigned),
		cmocka_unit_test(all_rows_to_one_code),
		cmocka_unit_test(restart_at_threshold),
		cmocka_unit_test(restart_below_threshold),
		cmocka_unit_test(restart_disabled),
		cmocka_unit_test(restart_draws),
		cmocka_unit_test(decay_zero),
		cmocka_unit_test(decay_one),
		cmocka_unit_test(small_counts),
		cmocka_unit_test(counters),
		cmocka_unit_test(large_codebook),
		cmocka_unit_test(five_step_formula),
		cmocka_unit_test(repeatability),
		cmocka_unit_test(odd_shapes),
		cmocka_unit_test(unit_codewords),
		cmocka_unit_test(huge_and_tiny_rows),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(rows_not_finite),
		cmocka_unit_test(threads_and_units),
		cmocka_unit_test(updates_that_fail),
		cmocka_unit_test(training_is_what_it_says),
		cmocka_unit_test(training_learns),
		cmocka_unit_test(one_codebook_everywhere),
		cmocka_unit_test(cosine_codewords_are_unit),
		cmocka_unit_test(few_rows),
		cmocka_unit_test(bad_training),
		cmocka_unit_test(failures_leave_nothing_behind),
		cmocka_unit_test(shared_data),
	};

	return cmocka_run_group_tests_name("EMA codebooks", tests, NULL, NULL);
}
