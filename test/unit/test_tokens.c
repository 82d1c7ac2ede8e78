/* tokens: ids as words of a vocabulary and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/tokens.h"
#include "parsers.h"

static stk_status
parse(const char *text, stk_semid *id)
{
	return parse_with(stk_tokens_parse, text, id);
}

static void
all_forms_are_read(void **state)
{
	static const char *const pairs[][2] = {
		{"<item_L0_C12>", "[12]"},
		{"<item_L0_C12><item_L1_C7><item_L2_C255>", "[12,7,255]"},
		{"<a_12><b_7><c_255>", "[12,7,255]"},
		{"<s_a_12><s_b_7><s_c_255>", "[12,7,255]"},
		{" \t\n\v\f\r<a_0> <b_65535>\n", "[0,65535]"},
		{"<a_1> <b_2>", "[1,2]"},
		{"<a_0><b_0><c_0><d_0><e_0><f_0><g_0><h_0><i_0><j_0><k_0><l_0><m_0><n_0><o_0><p_0><q_0>"
		 "<r_0><s_0><t_0><u_0><v_0><w_0><x_0><y_0><z_1>",
		 "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]"},
		{"<s_a_0><s_b_0><s_c_0><s_d_0><s_e_0><s_f_0><s_g_0><s_h_0><s_i_0><s_j_0><s_k_0><s_l_0>"
		 "<s_m_0><s_n_0><s_o_0><s_p_0><s_q_0><s_r_0><s_s_9>",
		 "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,9]"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		char out[STK_SEMID_MAX_TEXT];
		stk_semid id;

		assert_int_equal(parse(pairs[i][0], &id), STK_OK);
		stk_semid_print(&id, out);
		assert_string_equal(out, pairs[i][1]);
	}
}

static void
one_form_is_printed(void **state)
{
	const stk_semid id = {.tokenizer = 9, .levels = 3, .codes = {12, 0, 65535}};
	stk_semid longest = {.levels = STK_MAX_LEVELS};
	stk_semid back;
	char out[STK_TOKENS_MAX_TEXT];
	size_t len;
	const char *expected = "<item_L0_C12><item_L1_C0><item_L2_C65535>";

	(void) state;
	assert_int_equal(stk_tokens_print(&id, out), strlen(expected));
	assert_string_equal(out, expected);

	for (int l = 0; l < STK_MAX_LEVELS; l++)
		longest.codes[l] = STK_MAX_CODE;
	len = stk_tokens_print(&longest, out);
	assert_int_equal(len, strlen(out));
	assert_true(len < STK_TOKENS_MAX_TEXT);
	assert_int_equal(parse(out, &back), STK_OK);
	assert_int_equal(back.levels, STK_MAX_LEVELS);
	assert_memory_equal(back.codes, longest.codes, sizeof(longest.codes));
}

static void
malformed_text_is_refused(void **state)
{
	static const char *const invalid[] = {
		"", " ", "<", ">", "<>", "a_1", "<a>", "<a_>", "<a_1", "<a_1>x", "x<a_1>", "<a_1>,<b_2>",
		/* levels in order, from the first */
		"<b_1>", "<a_1><a_2>", "<a_1><c_2>", "<a_1><b_2><a_3>", "<item_L1_C0>",
		"<item_L0_C1><item_L0_C2>", "<item_L0_C1><item_L2_C2>", "<s_b_1>", "<s_1>",
		/* one form in a text */
		"<a_1><s_b_2>", "<s_a_1><b_2>", "<item_L0_C1><b_2>", "<a_1><item_L1_C2>",
		/* tokens as a vocabulary has them */
		"< a_1>", "<a_ 1>", "<a_1 >", "<a _1>", "<A_1>", "<a_01>", "<a_00>", "<a_-1>", "<a_+1>",
		"<a_1.0>", "<a_0x1>", "<aa_1>", "<a1>", "<_1>", "<1_1>", "<item_L00_C1>", "<item_L0_C01>",
		"<item_L0_C>", "<item_L_C1>", "<item_L0C1>", "<item_0_1>", "<item_L0_c1>", "<Item_L0_C1>",
		"<item_L0_C1", "<item_L0_", "<item_", "<item_L-0_C1>", "<s_>", "<s_a>", "<s_a_>", "<s_a_1",
		"<s_s_a_1>", "<a_1><b_2><{_3>", "<s", "<s_", "<t_a_1>", "<{_1>", "<`_1>", "[1]",
		"<a_1>\xc2\xa0<b_2>"};
	static const char *const range[] = {
		"<a_65536>",      "<a_4294967296>",   "<a_99999999999999999999999>",
		"<a_0><b_65536>", "<item_L0_C65536>", "<s_a_65536>"};
	char many[STK_TOKENS_MAX_TEXT + 32];
	stk_semid id = {.levels = STK_MAX_LEVELS};

	(void) state;
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		if (parse(invalid[i], &id) != STK_EINVAL)
			fail_msg("not refused as it should be: %s", invalid[i]);
	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++)
		if (parse(range[i], &id) != STK_ERANGE)
			fail_msg("not refused as it should be: %s", range[i]);

	memset(&id, 0, sizeof(id));
	id.levels = STK_MAX_LEVELS;
	snprintf(many + stk_tokens_print(&id, many), 32, "<item_L32_C0>");
	assert_int_equal(parse(many, &id), STK_ERANGE);
	/* after z comes no letter */
	for (int l = 0; l < 27; l++)
		memcpy(many + 5 * l, (const char[]){'<', (char) ('a' + l), '_', '0', '>', 0}, 6);
	assert_int_equal(parse(many, &id), STK_EINVAL);
	/* a NUL is a byte like others */
	assert_int_equal(stk_tokens_parse("<a_1>\0<b_2>", 11, &id, NULL), STK_EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_forms_are_read),
		cmocka_unit_test(one_form_is_printed),
		cmocka_unit_test(malformed_text_is_refused),
	};

	return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
