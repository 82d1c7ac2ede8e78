/* Prefixes as ranges, abbreviations, and shares of a histogram. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/philox.h"
#include "core/semid_range.h"

static const uint32_t hostile_tokenizers[] = {
	0,     1,     2,     255,   256,     32766,          32767,
	32768, 32769, 65535, 65536, 1 << 30, (1u << 31) - 2, (1u << 31) - 1};
static const uint16_t hostile_codes[] = {0, 1, 255, 256, 32767, 32768, 65534, 65535};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Few tokenizers and codes, those at the edges of bytes and words, so that ids share beginnings. */
static void
hostile_id(uint32_t n, stk_semid *id)
{
	uint32_t random[4];

	stk_philox((const uint32_t[4]){n, 0, 0, 0}, (const uint32_t[2]){11, 2}, random);
	id->tokenizer = hostile_tokenizers[random[0] % COUNT(hostile_tokenizers)];
	id->levels = 1 + (int) (random[1] % 16 == 0 ? random[2] % STK_MAX_LEVELS : random[2] % 4);
	for (int l = 0; l < id->levels; l++)
	{
		if (l % 4 == 0)
			stk_philox((const uint32_t[4]){n, 1, (uint32_t) l, 0}, (const uint32_t[2]){11, 2},
					   random);
		id->codes[l] = hostile_codes[random[l % 4] % COUNT(hostile_codes)];
	}
}

static int
sign(int c)
{
	return (c > 0) - (c < 0);
}

static int
compare(const stk_semid *a, const stk_semid *b)
{
	uint8_t x[STK_SEMID_MAX_BYTES], y[STK_SEMID_MAX_BYTES];
	size_t xlen = stk_semid_pack(a, x);
	size_t ylen = stk_semid_pack(b, y);

	return sign(stk_semid_bytes_cmp(x, xlen, y, ylen));
}

static bool
starts_with(const stk_semid *id, const stk_semid *prefix)
{
	/* of their exact lengths, so that reading past an end shows */
	uint8_t bytes[STK_SEMID_MAX_BYTES];
	size_t len = stk_semid_pack(id, bytes);
	uint8_t *x = malloc(len);
	size_t plen;
	uint8_t *p;
	bool result;

	memcpy(x, bytes, len);
	plen = stk_semid_pack(prefix, bytes);
	p = malloc(plen);
	memcpy(p, bytes, plen);
	result = stk_semid_bytes_starts_with(x, len, p, plen);
	free(x);
	free(p);
	return result;
}

static uint64_t
abbreviation(const stk_semid *id)
{
	uint8_t bytes[STK_SEMID_MAX_BYTES];
	size_t len = stk_semid_pack(id, bytes);
	uint8_t *x = malloc(len);
	uint64_t key;

	memcpy(x, bytes, len);
	key = stk_semid_bytes_abbreviate(x, len);
	free(x);
	return key;
}

#define HOSTILE 1500

static void
abbreviations_order_like_ids(void **state)
{
	(void) state;
	for (uint32_t i = 0; i < HOSTILE; i++)
	{
		stk_semid a;
		uint64_t key;

		hostile_id(i, &a);
		key = abbreviation(&a);
		for (uint32_t j = 0; j < HOSTILE; j++)
		{
			stk_semid b;
			uint64_t other;

			hostile_id(j, &b);
			other = abbreviation(&b);
			if (key != other)
				assert_int_equal(key < other ? -1 : 1, compare(&a, &b));
		}
	}
}

/* What makes them worth having: ids of three levels do not tie, those of late tokenizers of two. */
static void
abbreviations_tell_ids_apart(void **state)
{
	stk_semid a = {5, 3, {1, 2, 3}};
	stk_semid b = {5, 3, {1, 2, 4}};
	stk_semid late_a = {1 << 20, 2, {1, 2}};
	stk_semid late_b = {1 << 20, 2, {1, 3}};

	(void) state;
	assert_true(abbreviation(&a) < abbreviation(&b));
	a.tokenizer = b.tokenizer = 32767;
	assert_true(abbreviation(&a) < abbreviation(&b));
	assert_true(abbreviation(&late_a) < abbreviation(&late_b));
}

static void
golden_successors(void **state)
{
	static const stk_semid pairs[][2] = {
		{{3, 1, {0}}, {3, 1, {1}}},
		{{3, 3, {1, 2, 3}}, {3, 3, {1, 2, 4}}},
		{{3, 2, {1, 65534}}, {3, 2, {1, 65535}}},
		{{3, 2, {1, 65535}}, {3, 1, {2}}},
		{{3, 4, {1, 65535, 65535, 65535}}, {3, 1, {2}}},
		{{3, 3, {65535, 0, 65535}}, {3, 2, {65535, 1}}},
		{{3, 1, {65535}}, {4, 1, {0}}},
		{{0, 2, {65535, 65535}}, {1, 1, {0}}},
	};
	stk_semid none = {INT32_MAX, 2, {65535, 65535}};
	stk_semid next;

	(void) state;
	for (size_t i = 0; i < COUNT(pairs); i++)
	{
		assert_true(stk_semid_successor(&pairs[i][0], &next));
		assert_int_equal(compare(&next, &pairs[i][1]), 0);
	}
	assert_false(stk_semid_successor(&none, &next));
	none.codes[0] = 65534;
	assert_true(stk_semid_successor(&none, &next));
}

/* Where the tokenizer is named, to start with a prefix is to lie in its range, and nothing else. */
static void
prefixes_are_ranges(void **state)
{
	int inside = 0;

	(void) state;
	for (uint32_t i = 0; i < HOSTILE; i++)
	{
		stk_semid prefix, next;
		bool bounded;

		hostile_id(i, &prefix);
		bounded = stk_semid_successor(&prefix, &next);
		assert_true(starts_with(&prefix, &prefix));
		for (uint32_t j = 0; j < HOSTILE; j++)
		{
			stk_semid id;
			bool in_range;

			hostile_id(j, &id);
			in_range = compare(&id, &prefix) >= 0 && (!bounded || compare(&id, &next) < 0);
			if (prefix.tokenizer != 0)
				assert_int_equal(starts_with(&id, &prefix), in_range);
			else if (in_range)
				assert_true(starts_with(&id, &prefix));
			inside += in_range;
		}
	}
	assert_true(inside > HOSTILE);
}

static void
tokenizer_0_is_any(void **state)
{
	const stk_semid id = {7, 2, {1, 2}};
	stk_semid prefix = {0, 1, {1}};

	(void) state;
	assert_true(starts_with(&id, &prefix));
	prefix.codes[0] = 2;
	assert_false(starts_with(&id, &prefix));
	prefix = (stk_semid){6, 1, {1}};
	assert_false(starts_with(&id, &prefix));
	/* on the left it is none */
	assert_false(starts_with(&(stk_semid){0, 1, {1}}, &(stk_semid){7, 1, {1}}));
}

static double
share(const stk_semid *bounds, size_t n, stk_semid prefix)
{
	stk_semid_histogram h;
	double s;

	stk_semid_histogram_make(&h, bounds, n);
	s = stk_semid_histogram_share(&h, &prefix);
	assert_true(s >= 0 && s <= 1);
	return s;
}

#define assert_near(share, expected, tolerance)                                                    \
	assert_true(fabs((share) - (expected)) <= (tolerance))

/* Every id of 2 tokenizers x 16 x 16 codes once, every 16th a bound: shares can be counted. */
static void
shares_of_an_even_histogram(void **state)
{
	stk_semid bounds[33];

	(void) state;
	for (uint32_t i = 0; i < 33; i++)
	{
		uint32_t n = i < 32 ? i * 16 : 511;

		bounds[i] = (stk_semid){3 + n / 256, 2, {(uint16_t) (n / 16 % 16), (uint16_t) (n % 16)}};
	}
	assert_near(share(bounds, 33, (stk_semid){3, 1, {0}}), 1.0 / 32, 1e-3);
	assert_near(share(bounds, 33, (stk_semid){3, 1, {5}}), 1.0 / 32, 1e-3);
	assert_near(share(bounds, 33, (stk_semid){4, 1, {15}}), 1.0 / 32, 3e-3);
	assert_near(share(bounds, 33, (stk_semid){4, 2, {5, 7}}), 1.0 / 512, 2e-4);
	/* tokenizer 0: in both */
	assert_near(share(bounds, 33, (stk_semid){0, 1, {5}}), 2.0 / 32, 2e-3);
	/* what nothing starts with */
	assert_near(share(bounds, 33, (stk_semid){3, 1, {16}}), 0, 1e-3);
	assert_near(share(bounds, 33, (stk_semid){5, 1, {1}}), 0, 0);
	assert_near(share(bounds, 33, (stk_semid){2, 1, {1}}), 0, 0);
	/* two bounds alone: all of it is in between */
	assert_near(share(bounds, 2, (stk_semid){3, 1, {0}}), 1, 0);
}

/* A bin may lie wholly below one prefix, and far down the levels. */
static void
shares_inside_a_bin(void **state)
{
	const stk_semid deep[] = {{1, 5, {9, 9, 9, 9, 0}}, {1, 5, {9, 9, 9, 9, 99}}};
	stk_semid far[2], middle;
	const stk_semid apart[] = {{1, 1, {50}}, {9, 1, {50}}, {9, 1, {99}}};

	(void) state;
	assert_near(share(deep, 2, (stk_semid){1, 1, {9}}), 1, 0);
	assert_near(share(deep, 2, (stk_semid){1, 4, {9, 9, 9, 9}}), 1, 0);
	assert_near(share(deep, 2, (stk_semid){1, 5, {9, 9, 9, 9, 10}}), 1.0 / 99, 1e-6);
	/* so far down that what the bounds share would take all of a double's digits */
	for (int i = 0; i < 2; i++)
	{
		far[i] = (stk_semid){.tokenizer = 1, .levels = 12};
		for (int l = 0; l < 11; l++)
			far[i].codes[l] = 65535;
		far[i].codes[11] = (uint16_t) (99 * i);
	}
	middle = far[0];
	middle.codes[11] = 10;
	assert_near(share(far, 2, middle), 1.0 / 99, 1e-6);
	/*
	 * a bin that spans two tokenizers: half of it is the end of one, half the beginning of the next
	 */
	assert_near(share(apart, 3, (stk_semid){1, 1, {75}}), 0.005, 1e-3);
	assert_near(share(apart, 3, (stk_semid){9, 1, {25}}), 0.005, 1e-3);
	assert_near(share(apart, 3, (stk_semid){5, 1, {1}}), 0, 0);
}

/* Bounds that are equal, that differ only in zeros at the end, and codes that no bound has. */
static void
shares_beside_the_seen(void **state)
{
	const stk_semid equal[] = {{1, 1, {1}}, {1, 1, {5}}, {1, 1, {5}}, {1, 1, {5}}, {1, 1, {9}}};
	const stk_semid zeros[] = {{1, 1, {1}}, {1, 3, {1, 0, 0}}, {1, 1, {2}}};
	const stk_semid unseen[] = {{1, 2, {0, 0}}, {1, 3, {1, 0, 9}}, {1, 1, {2}}};
	const stk_semid wide[] = {{1, 2, {0, 0}}, {1, 2, {2, 255}}};

	(void) state;
	assert_near(share(equal, 5, (stk_semid){1, 1, {5}}), 0.5 + 0.25 / 4, 1e-9);
	assert_near(share(zeros, 3, (stk_semid){1, 3, {1, 0, 0}}), 0.5, 1e-9);
	assert_near(share(zeros, 3, (stk_semid){1, 2, {1, 0}}), 0.75, 1e-9);
	assert_near(share(unseen, 3, (stk_semid){1, 3, {1, 5, 9}}), 0, 0);
	assert_near(share(wide, 2, (stk_semid){1, 2, {1, 300}}), 0, 0);
}

/* Whatever the bounds are, in any order, a share is a share. */
static void
hostile_bounds(void **state)
{
	(void) state;
	for (uint32_t n = 2; n < 60; n++)
	{
		stk_semid bounds[60];

		for (uint32_t i = 0; i < n; i++)
			hostile_id(n * 100 + i, &bounds[i]);
		for (uint32_t i = 0; i < 200; i++)
		{
			stk_semid prefix;

			hostile_id(i, &prefix);
			share(bounds, n, prefix);
			prefix.tokenizer = 0;
			share(bounds, n, prefix);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(abbreviations_order_like_ids),
		cmocka_unit_test(abbreviations_tell_ids_apart),
		cmocka_unit_test(golden_successors),
		cmocka_unit_test(prefixes_are_ranges),
		cmocka_unit_test(tokenizer_0_is_any),
		cmocka_unit_test(shares_of_an_even_histogram),
		cmocka_unit_test(shares_inside_a_bin),
		cmocka_unit_test(shares_beside_the_seen),
		cmocka_unit_test(hostile_bounds),
	};

	return cmocka_run_group_tests_name("semid_range", tests, NULL, NULL);
}
