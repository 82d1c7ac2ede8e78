/* semid: stored form, order, text form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "parsers.h"

static stk_status
parse(const char *text, stk_semid *id)
{
	return parse_with(stk_semid_parse, text, id);
}

static void
golden_bytes(void **state)
{
	stk_semid id = {.tokenizer = 0x01020304, .levels = 3, .codes = {12, 258, 65535}};
	const uint8_t expected[] = {1, 2, 3, 4, 0, 12, 1, 2, 255, 255};
	uint8_t bytes[STK_SEMID_MAX_BYTES];
	stk_semid back;

	(void) state;
	assert_int_equal(stk_semid_pack(&id, bytes), sizeof(expected));
	assert_memory_equal(bytes, expected, sizeof(expected));
	assert_int_equal(stk_semid_unpack(bytes, sizeof(expected), &back), STK_OK);
	assert_int_equal(back.tokenizer, id.tokenizer);
	assert_int_equal(back.levels, 3);
	assert_memory_equal(back.codes, id.codes, 6);
	assert_int_equal(stk_semid_bytes_levels(sizeof(expected)), 3);
	assert_int_equal(stk_semid_bytes_code(bytes, 1), 258);
}

static void
unpack_refuses_impossible_bytes(void **state)
{
	uint8_t bytes[STK_SEMID_MAX_BYTES + 2] = {0};
	stk_semid id;

	(void) state;
	for (size_t len = 0; len <= sizeof(bytes); len++)
	{
		bool possible = len >= 6 && len <= STK_SEMID_MAX_BYTES && len % 2 == 0;

		assert_int_equal(stk_semid_unpack(bytes, len, &id), possible ? STK_OK : STK_ECORRUPT);
	}
	bytes[0] = 0x80;
	assert_int_equal(stk_semid_unpack(bytes, 6, &id), STK_ECORRUPT);
	bytes[0] = 0x7f;
	assert_int_equal(stk_semid_unpack(bytes, 6, &id), STK_OK);
}

static void
text_round_trips(void **state)
{
	static const char *const pairs[][2] = {
		{"[0]", "[0]"},
		{"[12,7,255]", "[12,7,255]"},
		{"[12,7,255]@3", "[12,7,255]@3"},
		{" [ 12 ,\t7 , 255 ] @ 3\n", "[12,7,255]@3"},
		{"[007,65535]@0", "[7,65535]"},
		{"[-0]@-0", "[0]"},
		{"[1]@2147483647", "[1]@2147483647"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		char out[STK_SEMID_MAX_TEXT];
		stk_semid id;

		assert_int_equal(parse(pairs[i][0], &id), STK_OK);
		assert_int_equal(stk_semid_print(&id, out), strlen(pairs[i][1]));
		assert_string_equal(out, pairs[i][1]);
	}
}

static void
longest_text_fits(void **state)
{
	stk_semid id = {.tokenizer = INT32_MAX, .levels = STK_MAX_LEVELS};
	char out[STK_SEMID_MAX_TEXT];
	stk_semid back;

	(void) state;
	for (int l = 0; l < STK_MAX_LEVELS; l++)
		id.codes[l] = STK_MAX_CODE;
	assert_true(stk_semid_print(&id, out) < STK_SEMID_MAX_TEXT);
	assert_int_equal(parse(out, &back), STK_OK);
	assert_int_equal(back.levels, STK_MAX_LEVELS);
	assert_int_equal(back.tokenizer, INT32_MAX);
	assert_memory_equal(back.codes, id.codes, sizeof(id.codes));
}

static void
malformed_text_is_refused(void **state)
{
	static const char *const invalid[] = {
		"",      " ",     "[",     "[]",    "[ ]",   "]",     "1,2",   "[1",      "[1,",  "[1,]",
		"[,1]",  "[1 2]", "[1]]",  "[[1]]", "[1]x",  "[1]@",  "[1]@x", "[1]@3@4", "[+1]", "[1.5]",
		"[0x1]", "[a]",   "{1,2}", "[-]",   "[1,-]", "[1]@-", "[- 1]", "[1;2]",   "[1]3"};
	static const char *const range[] = {
		"[65536]", "[-1]",         "[1,99999999999999999999999999]", "[1]@2147483648",
		"[1]@-1",  "[4294967296]", "[1]@18446744073709551617"};
	char many[3 + 2 * (STK_MAX_LEVELS + 1)];
	stk_semid id;

	(void) state;
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		assert_int_equal(parse(invalid[i], &id), STK_EINVAL);
	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++)
		assert_int_equal(parse(range[i], &id), STK_ERANGE);

	many[0] = '[';
	for (int l = 0; l <= STK_MAX_LEVELS; l++)
		memcpy(many + 1 + 2 * l, "1,", 2);
	memcpy(many + 2 * (STK_MAX_LEVELS + 1), "]", 2);
	assert_int_equal(parse(many, &id), STK_ERANGE);
	memcpy(many + 2 * STK_MAX_LEVELS, "]", 2);
	assert_int_equal(parse(many, &id), STK_OK);
}

static void
bytes_order_like_ids(void **state)
{
	/* Ascending: tokenizer, then codes, a prefix before its extensions. */
	static const stk_semid ids[] = {
		{0, 1, {1}},   {0, 2, {1, 0}}, {0, 2, {1, 255}}, {0, 2, {1, 256}}, {0, 1, {2}},
		{0, 1, {300}}, {1, 1, {0}},    {255, 1, {0}},    {256, 1, {0}},    {INT32_MAX, 1, {0}}};
	size_t n = sizeof(ids) / sizeof(ids[0]);

	(void) state;
	for (size_t i = 0; i < n; i++)
	{
		for (size_t j = 0; j < n; j++)
		{
			uint8_t a[STK_SEMID_MAX_BYTES];
			uint8_t b[STK_SEMID_MAX_BYTES];
			size_t alen = stk_semid_pack(&ids[i], a);
			size_t blen = stk_semid_pack(&ids[j], b);
			int c = stk_semid_bytes_cmp(a, alen, b, blen);

			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_bytes),
		cmocka_unit_test(unpack_refuses_impossible_bytes),
		cmocka_unit_test(text_round_trips),
		cmocka_unit_test(longest_text_fits),
		cmocka_unit_test(malformed_text_is_refused),
		cmocka_unit_test(bytes_order_like_ids),
	};

	return cmocka_run_group_tests_name("semid", tests, NULL, NULL);
}
