/* flat: ids as mixed-radix numbers and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/flat.h"
#include "core/philox.h"

static void
golden_numbers(void **state)
{
	static const struct
	{
		stk_semid id;
		uint32_t sizes[STK_MAX_LEVELS];
		const char *number;
	} cases[] = {
		{{0, 1, {0}}, {1}, "0"},
		{{0, 1, {65535}}, {65536}, "65535"},
		{{0, 3, {1, 2, 3}}, {256, 256, 256}, "66051"},
		{{0, 3, {255, 255, 255}}, {256, 256, 256}, "16777215"},
		{{0, 3, {1, 0, 2}}, {2, 1, 3}, "5"},
		{{0, 3, {0, 0, 2}}, {4, 5, 6}, "2"},
		{{0, 3, {3, 4, 5}}, {4, 5, 6}, "119"},
		{{0, 2, {1, 0}}, {2, 65536}, "65536"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char out[STK_FLAT_MAX_DIGITS + 1];
		stk_semid back;
		stk_error err;

		assert_int_equal(stk_flat_print(&cases[i].id, cases[i].sizes, out, &err), STK_OK);
		assert_string_equal(out, cases[i].number);
		assert_int_equal(
			stk_flat_parse(out, strlen(out), cases[i].sizes, cases[i].id.levels, &back, &err),
			STK_OK);
		assert_int_equal(back.tokenizer, 0);
		assert_int_equal(back.levels, cases[i].id.levels);
		assert_memory_equal(back.codes, cases[i].id.codes, 2 * (size_t) back.levels);
	}
}

/* 2^512 - 1 is the largest number there is, and has its digits. */
static void
the_largest_fits(void **state)
{
	static const char largest[] =
		"13407807929942597099574024998205846127479365820592393377723561443721764030073546"
		"976801874298166903427690031858186486050853753882811946569946433649006084095";
	static const char one_more[] =
		"13407807929942597099574024998205846127479365820592393377723561443721764030073546"
		"976801874298166903427690031858186486050853753882811946569946433649006084096";
	stk_semid id = {.levels = STK_MAX_LEVELS};
	stk_semid back;
	uint32_t sizes[STK_MAX_LEVELS];
	char out[STK_FLAT_MAX_DIGITS + 1];
	stk_error err;

	(void) state;
	for (int l = 0; l < STK_MAX_LEVELS; l++)
	{
		id.codes[l] = STK_MAX_CODE;
		sizes[l] = STK_MAX_CODE + 1;
	}
	assert_int_equal(stk_flat_print(&id, sizes, out, &err), STK_OK);
	assert_string_equal(out, largest);
	assert_int_equal(strlen(out), STK_FLAT_MAX_DIGITS);
	assert_int_equal(stk_flat_parse(largest, strlen(largest), sizes, 32, &back, &err), STK_OK);
	assert_memory_equal(back.codes, id.codes, sizeof(id.codes));
	assert_int_equal(stk_flat_parse(one_more, strlen(one_more), sizes, 32, &back, &err),
					 STK_ERANGE);
}

static void
round_trips(void **state)
{
	(void) state;
	for (uint32_t n = 0; n < 2000; n++)
	{
		stk_semid id = {.levels = 1 + (int) (n % STK_MAX_LEVELS)};
		stk_semid back;
		uint32_t sizes[STK_MAX_LEVELS];
		char out[STK_FLAT_MAX_DIGITS + 1];
		stk_error err;

		for (int l = 0; l < id.levels; l++)
		{
			uint32_t random[4];

			stk_philox((const uint32_t[4]){n, (uint32_t) l, 0, 0}, (const uint32_t[2]){7, 1},
					   random);
			sizes[l] = 1 + random[0] % (random[1] % 3 == 0 ? 4 : 65536);
			id.codes[l] = (uint16_t) (random[2] % 5 == 0 ? sizes[l] - 1 : random[3] % sizes[l]);
		}
		assert_int_equal(stk_flat_print(&id, sizes, out, &err), STK_OK);
		assert_int_equal(stk_flat_parse(out, strlen(out), sizes, id.levels, &back, &err), STK_OK);
		assert_memory_equal(back.codes, id.codes, 2 * (size_t) id.levels);
	}
}

static void
a_code_not_below_its_size_is_refused(void **state)
{
	const stk_semid id = {.levels = 3, .codes = {1, 4, 0}};
	const uint32_t sizes[] = {2, 4, 1};
	char out[STK_FLAT_MAX_DIGITS + 1];
	stk_error err = {.level = -1};

	(void) state;
	assert_int_equal(stk_flat_print(&id, sizes, out, &err), STK_ERANGE);
	assert_int_equal(err.level, 1);
	assert_string_equal(err.message, "expected codes below 4, not 4");
}

static void
bad_numbers_are_refused(void **state)
{
	static const char *const invalid[] = {"", "-1", "+1", " 1", "1 ", "1.0", "1e2", "x", "0x1"};
	const uint32_t sizes[] = {4, 5, 6};
	char zeros[1000];
	stk_semid id;
	stk_error err;

	(void) state;
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		assert_int_equal(stk_flat_parse(invalid[i], strlen(invalid[i]), sizes, 3, &id, &err),
						 STK_EINVAL);
	assert_int_equal(stk_flat_parse("119", 3, sizes, 3, &id, &err), STK_OK);
	assert_int_equal(stk_flat_parse("120", 3, sizes, 3, &id, &err), STK_ERANGE);
	memset(zeros, '9', sizeof(zeros));
	assert_int_equal(stk_flat_parse(zeros, sizeof(zeros), sizes, 3, &id, &err), STK_ERANGE);
	memset(zeros, '0', sizeof(zeros));
	assert_int_equal(stk_flat_parse(zeros, sizeof(zeros), sizes, 3, &id, &err), STK_OK);
	assert_int_equal(id.codes[0] + id.codes[1] + id.codes[2], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_numbers),
		cmocka_unit_test(the_largest_fits),
		cmocka_unit_test(round_trips),
		cmocka_unit_test(a_code_not_below_its_size_is_refused),
		cmocka_unit_test(bad_numbers_are_refused),
	};

	return cmocka_run_group_tests_name("flat", tests, NULL, NULL);
}
