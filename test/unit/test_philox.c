/* Philox-4x32-10 and what is drawn with it; the merge sort. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/philox.h"
#include "core/sort.h"
#include "rows.h"

/* The known answers that come with Random123 (kat_vectors, philox4x32 10). */
static void
known_answers(void **state)
{
	static const struct
	{
		uint32_t counter[4], key[2], out[4];
	} cases[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
		 {0xffffffff, 0xffffffff},
		 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
		 {0xa4093822, 0x299f31d0},
		 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		uint32_t out[4];

		stk_philox(cases[i].counter, cases[i].key, out);
		assert_memory_equal(out, cases[i].out, sizeof(out));
	}
}

/* The documented layout, word by word. */
static void
layout(void **state)
{
	uint32_t key[2] = {0x55667788, 0x11223344};
	uint32_t counter[4] = {0xcafe, 0xbabe, 77, STK_RANDOM_ORDER << 16 | 5};
	uint32_t out[4];

	(void) state;
	stk_philox(counter, key, out);
	assert_true(stk_random(0x1122334455667788, STK_RANDOM_ORDER, 5, 77, 0xbabe0000cafe) ==
				((uint64_t) out[1] << 32 | out[0]));
}

static void
below_is_the_high_half_of_the_product(void **state)
{
	uint64_t seed = 1;

	(void) state;
	assert_true(stk_below(UINT64_MAX, 10) == 9);
	assert_true(stk_below(0, 10) == 0);
	assert_true(stk_below(UINT64_MAX, UINT64_MAX) == UINT64_MAX - 1);
	assert_true(stk_below(UINT64_C(1) << 63, 7) == 3);
#ifdef __SIZEOF_INT128__
	for (int i = 0; i < 10000; i++)
	{
		uint64_t a = next_bits(&seed) >> (i % 64);
		uint64_t b = next_bits(&seed) >> (i / 7 % 64);

		assert_true(stk_below(a, b) == (uint64_t) (((unsigned __int128) a * b) >> 64));
	}
#endif
}

static void
orders_are_permutations_and_uniform(void **state)
{
	int first[5] = {0};

	(void) state;
	for (uint32_t step = 0; step < 5000; step++)
	{
		size_t order[5];
		bool seen[5] = {false};

		stk_random_order(order, 5, 5, 7, STK_RANDOM_ORDER, 0, step);
		for (size_t i = 0; i < 5; i++)
		{
			assert_true(order[i] < 5 && !seen[order[i]]);
			seen[order[i]] = true;
		}
		first[order[0]]++;
	}
	/* 1000 expected, standard deviation 28. */
	for (size_t i = 0; i < 5; i++)
		assert_in_range(first[i], 850, 1150);
}

typedef struct item
{
	uint32_t key;
	uint32_t place;
} item;

static int
compare_keys(const void *a, const void *b, const void *ctx)
{
	uint32_t p = ((const item *) a)->key;
	uint32_t q = ((const item *) b)->key;

	assert_non_null(ctx);
	return (p > q) - (p < q);
}

static void
sort_is_stable(void **state)
{
	uint64_t seed = 2;
	item items[1000];

	(void) state;
	for (size_t n = 0; n <= 1000; n = n < 70 ? n + 1 : n + 93)
	{
		uint32_t range = n % 3 == 0 ? 4 : 1000000;

		for (size_t i = 0; i < n; i++)
			items[i] = (item){(uint32_t) (next_bits(&seed) % range), (uint32_t) i};
		assert_int_equal(stk_sort(items, n, sizeof(item), compare_keys, &seed, &stk_malloc, NULL),
						 STK_OK);
		for (size_t i = 1; i < n; i++)
			assert_true(items[i - 1].key < items[i].key ||
						(items[i - 1].key == items[i].key && items[i - 1].place < items[i].place));
	}
}

static void
sort_fails_cleanly(void **state)
{
	static item items[100000];
	short_memory memory = {0, 0};
	stk_allocator a = short_allocator(&memory);
	long looks = 3;
	stk_monitor monitor = {stop_countdown, &looks};

	(void) state;
	assert_int_equal(stk_sort(items, 100, sizeof(item), compare_keys, &a, &a, NULL), STK_ENOMEM);
	memory.left = 1;
	assert_int_equal(stk_sort(items, 100000, sizeof(item), compare_keys, &a, &a, &monitor),
					 STK_ECANCELED);
	assert_int_equal(memory.live, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(layout),
		cmocka_unit_test(below_is_the_high_half_of_the_product),
		cmocka_unit_test(orders_are_permutations_and_uniform),
		cmocka_unit_test(sort_is_stable),
		cmocka_unit_test(sort_fails_cleanly),
	};

	return cmocka_run_group_tests_name("philox and sort", tests, NULL, NULL);
}
