/* codebook: stored form, views of malformed bytes, metric names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/codebook.h"
#include "rows.h"

/* Two levels of 2 and 1 codewords in three dimensions. */
static const float golden_codewords[9] = {1, -2, 0.5f, 0, 4, 8, 16, 32, -64};

static size_t
golden(uint8_t *out)
{
	stk_codebook shape = {.metric = STK_COSINE, .levels = 2, .dim = 3, .sizes = {2, 1}};
	size_t header = stk_codebook_write_shape(out, &shape);

	memcpy(out + header, golden_codewords, sizeof(golden_codewords));
	return header + sizeof(golden_codewords);
}

static void
golden_bytes(void **state)
{
	const uint8_t header[] = {1, 2, 2, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0};
	_Alignas(4) uint8_t bytes[64];
	size_t len = golden(bytes);
	stk_codebook cb;
	stk_error err;

	(void) state;
	assert_int_equal(len, 16 + 36);
	assert_int_equal(len, stk_codebook_bytes(2, (uint32_t[]){2, 1}, 3));
	assert_memory_equal(bytes, header, sizeof(header));
	assert_int_equal(stk_codebook_view(bytes, len, &cb, &err), STK_OK);
	assert_int_equal(cb.metric, STK_COSINE);
	assert_int_equal(cb.levels, 2);
	assert_int_equal(cb.dim, 3);
	assert_int_equal(cb.sizes[0], 2);
	assert_int_equal(cb.sizes[1], 1);
	assert_memory_equal(cb.codewords[0], golden_codewords, 24);
	assert_memory_equal(cb.codewords[1], golden_codewords + 6, 12);
	assert_int_equal(stk_codebook_check_finite(&cb, &err), STK_OK);
}

static void
every_cut_and_flip_is_refused(void **state)
{
	_Alignas(4) uint8_t bytes[64];
	size_t len = golden(bytes);
	stk_codebook cb;
	stk_error err;

	(void) state;
	for (size_t cut = 0; cut <= len + 4; cut++)
	{
		if (cut != len)
			assert_int_equal(stk_codebook_view(bytes, cut, &cb, &err), STK_ECORRUPT);
	}
	/* Every other value of a header byte but the metric's contradicts the rest. */
	for (size_t at = 0; at < 16; at++)
	{
		uint8_t old = bytes[at];

		for (int value = 0; value < 256; value++)
		{
			bool good = value == old || (at == 1 && value <= STK_COSINE);

			bytes[at] = (uint8_t) value;
			assert_int_equal(stk_codebook_view(bytes, len, &cb, &err),
							 good ? STK_OK : STK_ECORRUPT);
		}
		bytes[at] = old;
	}
}

static void
limits(void **state)
{
	uint32_t sizes[STK_MAX_LEVELS + 1];
	_Alignas(4) uint8_t bytes[256];
	stk_codebook cb;
	stk_error err;

	(void) state;
	for (int l = 0; l <= STK_MAX_LEVELS; l++)
		sizes[l] = STK_MAX_CODES;
	assert_true(stk_codebook_bytes(STK_MAX_LEVELS, sizes, STK_MAX_DIM) ==
				8 + 4 * 32 + (uint64_t) 4 * 32 * 65536 * 16000);
	assert_true(stk_codebook_bytes(STK_MAX_LEVELS + 1, sizes, 1) == 0);
	assert_true(stk_codebook_bytes(0, sizes, 1) == 0);
	assert_true(stk_codebook_bytes(1, sizes, 0) == 0);
	assert_true(stk_codebook_bytes(1, sizes, -1) == 0);
	assert_true(stk_codebook_bytes(1, sizes, STK_MAX_DIM + 1) == 0);
	sizes[1] = STK_MAX_CODES + 1;
	assert_true(stk_codebook_bytes(2, sizes, 1) == 0);
	sizes[1] = 0;
	assert_true(stk_codebook_bytes(2, sizes, 1) == 0);

	stk_codebook_write_shape(bytes,
							 &(stk_codebook){.levels = 2, .dim = 1, .sizes = {STK_MAX_CODES, 0}});
	assert_int_equal(stk_codebook_view(bytes, sizeof(bytes), &cb, &err), STK_ECORRUPT);
}

static void
numbers_must_be_finite(void **state)
{
	const float bad[] = {NAN, INFINITY, -INFINITY};
	float codewords[12] = {0};
	stk_codebook cb = {
		.levels = 2, .dim = 3, .sizes = {2, 2}, .codewords = {codewords, codewords + 6}};
	stk_error err;

	(void) state;
	for (size_t i = 0; i < 12; i++)
	{
		for (size_t j = 0; j < 3; j++)
		{
			codewords[i] = bad[j];
			assert_int_equal(stk_codebook_check_finite(&cb, &err), STK_EINVAL);
			assert_int_equal(err.level, i / 6);
			assert_int_equal(err.row, i / 3 % 2);
			assert_int_equal(stk_codebook_check_finite(&cb, NULL), STK_EINVAL);
		}
		codewords[i] = 0;
	}
	assert_int_equal(stk_codebook_check_finite(&cb, &err), STK_OK);
}

static void
metric_names(void **state)
{
	stk_metric metric;

	(void) state;
	for (stk_metric m = STK_L2; m <= STK_COSINE; m++)
	{
		assert_int_equal(stk_metric_parse(stk_metric_name(m), &metric), STK_OK);
		assert_int_equal(metric, m);
	}
	assert_int_equal(stk_metric_parse("L2", &metric), STK_EINVAL);
	assert_int_equal(stk_metric_parse("", &metric), STK_EINVAL);
	assert_int_equal(stk_metric_parse("euclid", &metric), STK_EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_bytes), cmocka_unit_test(every_cut_and_flip_is_refused),
		cmocka_unit_test(limits),       cmocka_unit_test(numbers_must_be_finite),
		cmocka_unit_test(metric_names),
	};

	return cmocka_run_group_tests_name("codebook", tests, NULL, NULL);
}
