/* Hashing rows: every bit counts, in every place, and what comes out is spread evenly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/row_hash.h"

#define MAX_DIM 41

/* A row of small integers, all finite. */
static void
fill(float *x, size_t dim, uint32_t from)
{
	for (size_t i = 0; i < dim; i++)
		x[i] = (float) ((from + i * 7919) % 1000);
}

/* Any bit of any value changes about half of the bits of the hash. */
static void
every_bit_counts(void **state)
{
	(void) state;
	for (size_t dim = 1; dim <= MAX_DIM; dim++)
	{
		float x[MAX_DIM];
		uint64_t h;
		unsigned changed = 0;

		fill(x, dim, (uint32_t) dim);
		h = stk_row_hash(x, dim, 42);
		assert_int_equal(stk_row_hash(x, dim, 42), h);
		assert_int_not_equal(stk_row_hash(x, dim, 43), h);
		for (size_t bit = 0; bit < dim * 32; bit++)
		{
			float y[MAX_DIM];
			uint32_t word;
			uint64_t other;

			memcpy(y, x, dim * sizeof(float));
			memcpy(&word, &y[bit / 32], sizeof(word));
			word ^= 1u << bit % 32;
			memcpy(&y[bit / 32], &word, sizeof(word));
			other = stk_row_hash(y, dim, 42);
			assert_int_not_equal(other, h);
			changed += (unsigned) __builtin_popcountll(other ^ h);
		}
		assert_in_range(changed, dim * 32 * 28, dim * 32 * 36);
	}
}

/* Values that change places, between lanes and within one, change the hash. */
static void
places_count(void **state)
{
	float x[MAX_DIM];
	uint64_t h;

	(void) state;
	fill(x, MAX_DIM, 1);
	h = stk_row_hash(x, MAX_DIM, 7);
	for (size_t i = 0; i < MAX_DIM; i++)
		for (size_t j = i + 1; j < MAX_DIM; j++)
		{
			float swap = x[i];

			x[i] = x[j];
			x[j] = swap;
			assert_int_not_equal(stk_row_hash(x, MAX_DIM, 7), h);
			x[j] = x[i];
			x[i] = swap;
		}
}

/* The value it has, so that samples stay what they are from version to version, on any machine. */
static void
it_stays(void **state)
{
	const float x[] = {1, -2, 0.5f, 3e38f, -0.0f, 0, 7, 1e-40f, 9};

	(void) state;
	assert_true(stk_row_hash(x, 9, 42) == 0x672473a91494630au);
	assert_true(stk_row_hash(x, 1, 0) == 0x7bbd68e457915ec7u);
}

/* Rows that hardly differ fall evenly into 256 classes by their first bits: chi-square. */
static void
similar_rows_spread(void **state)
{
	enum
	{
		ROWS = 65536,
		CLASSES = 256
	};
	unsigned counts[CLASSES] = {0};
	double chi = 0;

	(void) state;
	for (uint32_t i = 0; i < ROWS; i++)
	{
		float x[12];

		fill(x, 12, 0);
		x[i % 12] += (float) (i / 12);
		counts[stk_row_hash(x, 12, 1) >> 56]++;
	}
	for (int c = 0; c < CLASSES; c++)
		chi += (counts[c] - 256.0) * (counts[c] - 256.0) / 256.0;
	/* 255 degrees of freedom: mean 255, deviation 22.6 */
	assert_true(chi < 255 + 6 * 22.6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_bit_counts),
									   cmocka_unit_test(places_count), cmocka_unit_test(it_stays),
									   cmocka_unit_test(similar_rows_spread)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
