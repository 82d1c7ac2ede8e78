/* safetensors: what the format allows is read, everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h"
#include "failing.h"

#define MATRIX "{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}"

/*
 * A file of this header and data_len zero bytes; in a block of its own, so that ASan sees its end.
 */
static uint8_t *
make_file(const char *header, size_t data_len, size_t *len)
{
	size_t header_len = strlen(header);
	uint8_t *file = calloc(8 + header_len + data_len, 1);

	for (int i = 0; i < 8; i++)
		file[i] = (uint8_t) ((uint64_t) header_len >> 8 * i);
	memcpy(file + 8, header, header_len);
	*len = 8 + header_len + data_len;
	return file;
}

static stk_status
read_header(const char *header, size_t data_len, stk_error *err)
{
	size_t len;
	uint8_t *bytes = make_file(header, data_len, &len);
	failing_allocator f;
	stk_allocator a = failing_init(&f, 1000);
	stk_safetensors file;
	stk_status status;

	err->message[0] = '\0';
	status = stk_safetensors_read(bytes, len, &a, &file, err);
	if (status == STK_OK)
		stk_safetensors_free(&file);
	assert_int_equal(f.live, 0);
	free(bytes);
	return status;
}

static void
valid_files(void **state)
{
	const char *header = "{}";
	const char *two =
		"{ \"b\" : {\"data_offsets\":[4,12],\"shape\":[ 2 , 2 ],\"dtype\":\"BF16\"} ,\n"
		"\t\"a\\u00e4\\ud83d\\ude00\\\"\\n\":{\"dtype\":\"U8\",\"shape\":[4],"
		"\"data_offsets\":[0,4]},\"scalar\":{\"dtype\":\"F64\",\"shape\":[],"
		"\"data_offsets\":[12,20]},\"none\":{\"dtype\":\"F32\",\"shape\":[0,5],"
		"\"data_offsets\":[20,20]},\"__metadata__\":{\"x\":\"\",\"metric\":\"ip\","
		"\"semtok.options\":\"{}\"}}   ";
	size_t len;
	uint8_t *bytes = make_file(two, 20, &len);
	stk_safetensors file;
	const stk_tensor *tensor;
	stk_error err;

	(void) state;
	assert_int_equal(read_header(header, 0, &err), STK_OK);
	assert_int_equal(read_header("{\"__metadata__\":{}}", 0, &err), STK_OK);

	assert_int_equal(stk_safetensors_read(bytes, len, &stk_malloc, &file, &err), STK_OK);
	assert_int_equal(file.n, 4);
	assert_string_equal(file.metric, "ip");
	assert_string_equal(file.options, "{}");
	tensor = stk_safetensors_find(&file, "b");
	assert_non_null(tensor);
	assert_int_equal(tensor->dtype, STK_BF16);
	assert_int_equal(tensor->ndim, 2);
	assert_int_equal(tensor->shape[0], 2);
	assert_int_equal(tensor->shape[1], 2);
	assert_int_equal(tensor->count, 4);
	assert_ptr_equal(tensor->data, bytes + len - 16);
	assert_non_null(stk_safetensors_find(&file, "a\xc3\xa4\xf0\x9f\x98\x80\"\n"));
	assert_int_equal(stk_safetensors_find(&file, "scalar")->count, 1);
	assert_int_equal(stk_safetensors_find(&file, "none")->count, 0);
	assert_null(stk_safetensors_find(&file, "c"));
	assert_null(stk_safetensors_find(&file, "__metadata__"));
	stk_safetensors_free(&file);
	free(bytes);
}

static void
malformed_headers(void **state)
{
	static const struct
	{
		const char *header;
		size_t data_len;
		const char *why; /* part of the message */
	} cases[] = {
		{"", 0, "expected {"},
		{" {}", 0, "expected {"},
		{"[]", 0, "expected {"},
		{"{", 0, "expected a string"},
		{"{}}", 0, "unexpected characters"},
		{"{\"a\":" MATRIX, 8, "expected , or }"},
		{"{\"a\":" MATRIX ",}", 8, "expected a string"},
		{"{\"a\" " MATRIX "}", 8, "expected :"},
		{"{a:" MATRIX "}", 8, "expected a string"},
		{"{\"a\":null}", 0, "expected an object"},
		{"{\"a\":{}}", 0, "expected a string"},
		{"{\"a\":{\"dtype\":\"F32\"}}", 0, "is missing"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, "is missing"},
		{"{\"a\":{\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "is missing"},
		{"{\"a\":{\"dtype\":\"F31\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "unknown dtype"},
		{"{\"a\":{\"dtype\":\"f32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "unknown dtype"},
		{"{\"a\":{\"dtype\":32,\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "expected a string"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":0,\"data_offsets\":[0,0]}}", 0, "expected an array"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,],\"data_offsets\":[0,0]}}", 0, "whole number"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[0 0],\"data_offsets\":[0,0]}}", 0,
		 "expected , or ]"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0, "whole number"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[00],\"data_offsets\":[0,0]}}", 0, "whole number"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0]}}", 0, "two offsets"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0,0]}}", 0,
		 "too many numbers"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":0}}", 0,
		 "unknown key"},
		{"{\"a\":{\"shape\":[0],\"shape\":[0],\"dtype\":\"F32\",\"data_offsets\":[0,0]}}", 0,
		 "duplicate key"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,7]}}", 7, "do not fit"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,0]}}", 8, "do not fit"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
		 "too large"},
		{"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
		 "do not fit"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0,
		 "number too large"},
		{"{\"a\":" MATRIX "}", 7, "ends beyond the file"},
		{"{\"a\":" MATRIX "}", 9, "belong to no tensor"},
		{"{}", 1, "belong to no tensor"},
		{"{\"a\":" MATRIX ",\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}", 9,
		 "appears twice"},
		{"{\"a\":" MATRIX ",\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}",
		 9, "appears twice"},
		{"{\"a\":" MATRIX ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[9,10]}}", 10,
		 "follows a gap"},
		{"{\"a\":" MATRIX ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[7,8]}}", 8,
		 "overlaps"},
		{"{\"a\":" MATRIX ",\"b\":" MATRIX "}", 8, "overlaps"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "follows a gap"},
		{"{\"__metadata__\":[]}", 0, "expected an object"},
		{"{\"__metadata__\":{\"a\":{}}}", 0, "expected a string"},
		{"{\"__metadata__\":{\"a\":\"\",\"b\":\"\",\"a\":\"\"}}", 0, "appears twice"},
		{"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate __metadata__"},
		{"{\"a", 0, "unfinished string"},
		{"{\"a\\", 0, "invalid escape"},
		{"{\"\\q\":" MATRIX "}", 8, "invalid escape"},
		{"{\"\\u12", 0, "invalid \\u escape"},
		{"{\"\\u12g4\":" MATRIX "}", 8, "invalid \\u escape"},
		{"{\"\\u0000\":" MATRIX "}", 8, "NUL in a string"},
		{"{\"\\ud800\":" MATRIX "}", 8, "unpaired surrogate"},
		{"{\"\\udc00\":" MATRIX "}", 8, "unpaired surrogate"},
		{"{\"\\ud800\\u0041\":" MATRIX "}", 8, "unpaired surrogate"},
		{"{\"\x01\":" MATRIX "}", 8, "control character"},
		{"{\"\xff\":" MATRIX "}", 8, "invalid UTF-8"},
		{"{\"\xc0\x80\":" MATRIX "}", 8, "invalid UTF-8"},
		{"{\"\xed\xa0\x80\":" MATRIX "}", 8, "invalid UTF-8"},
		{"{\"\xf4\x90\x80\x80\":" MATRIX "}", 8, "invalid UTF-8"},
		{"{\"\xe2\x82\":" MATRIX "}", 8, "invalid UTF-8"},
		{"{\"\xe2\x82", 0, "invalid UTF-8"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		stk_error err;

		if (read_header(cases[i].header, cases[i].data_len, &err) != STK_EINVAL)
			fail_msg("accepted: %s", cases[i].header);
		if (!strstr(err.message, cases[i].why))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].header, err.message, cases[i].why);
	}
}

static void
lengths(void **state)
{
	size_t len;
	uint8_t *bytes = make_file("{\"a\":" MATRIX "}", 8, &len);
	const uint8_t huge[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
	stk_safetensors file;
	stk_error err;

	(void) state;
	for (size_t cut = 0; cut < len; cut++)
	{
		uint8_t *shorter = malloc(cut ? cut : 1);

		memcpy(shorter, bytes, cut);
		assert_int_equal(stk_safetensors_read(shorter, cut, &stk_malloc, &file, &err), STK_EINVAL);
		free(shorter);
	}
	assert_int_equal(stk_safetensors_read(huge, sizeof(huge), &stk_malloc, &file, &err),
					 STK_EINVAL);
	free(bytes);
}

static void
names_of_any_length(void **state)
{
	char header[4096];
	stk_error err;

	(void) state;
	for (size_t n = 0; n < 300; n++)
	{
		char name[301];

		memset(name, 'n', n);
		name[n] = '\0';
		snprintf(header, sizeof(header), "{\"%s\":" MATRIX "}", name);
		assert_int_equal(read_header(header, 8, &err), STK_OK);
		/* A long name is cut in the message. */
		assert_int_equal(read_header(header, 9, &err), STK_EINVAL);
		assert_int_equal(read_header(header, 7, &err), STK_EINVAL);
	}
}

static void
out_of_memory(void **state)
{
	char header[4096] = "{\"__metadata__\":{\"a\":\"b\"}";
	size_t len;
	uint8_t *bytes;
	long allowed = 0;

	(void) state;
	for (int i = 0; i < 40; i++)
		snprintf(header + strlen(header), sizeof(header) - strlen(header),
				 ",\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}", i, i, i + 1);
	strcat(header, "}");
	bytes = make_file(header, 40, &len);
	for (;; allowed++)
	{
		failing_allocator f;
		stk_allocator a = failing_init(&f, allowed);
		stk_safetensors file;
		stk_error err;
		stk_status status = stk_safetensors_read(bytes, len, &a, &file, &err);

		if (status == STK_OK)
		{
			assert_int_equal(file.n, 40);
			stk_safetensors_free(&file);
			assert_int_equal(f.live, 0);
			break;
		}
		assert_int_equal(status, STK_ENOMEM);
		assert_int_equal(f.live, 0);
	}
	assert_true(allowed >= 4);
	free(bytes);
}

static float
one_float(stk_dtype dtype, uint64_t bits, stk_status expected)
{
	uint8_t bytes[9];
	/* At an odd address, as in a file. */
	stk_tensor tensor = {.name = "t", .dtype = dtype, .count = 1, .data = bytes + 1};
	float out = 0;
	stk_error err;

	memcpy(bytes + 1, &bits, 8);
	assert_int_equal(stk_tensor_floats(&tensor, 0, 1, &out, &err), expected);
	return out;
}

static uint64_t
double_bits(double d)
{
	uint64_t bits;

	memcpy(&bits, &d, sizeof(bits));
	return bits;
}

static void
conversions(void **state)
{
	(void) state;
	/* Every finite binary16, against its definition. */
	for (uint32_t h = 0; h < 0x10000; h++)
	{
		int exponent = (int) (h >> 10 & 0x1f);
		double fraction = (h & 0x3ff) / 1024.0;
		double value = exponent ? ldexp(1 + fraction, exponent - 15) : ldexp(fraction, -14);
		float out = one_float(STK_F16, h, STK_OK);

		if (exponent == 31)
			assert_true(h & 0x3ff ? isnan(out) : isinf(out));
		else
			assert_true((double) out == (h & 0x8000 ? -value : value));
		assert_int_equal(signbit(out) != 0, h >> 15);
	}
	assert_true(one_float(STK_BF16, 0x3f80, STK_OK) == 1.0f);
	assert_true(one_float(STK_BF16, 0x0001, STK_OK) == 0x1p-133f);
	assert_true(isnan(one_float(STK_BF16, 0x7fc0, STK_OK)));
	assert_true(one_float(STK_F32, 0xc0490fdb, STK_OK) == -3.14159274f);
	assert_true(one_float(STK_F64, double_bits(0.1), STK_OK) == 0.1f);
	assert_true(one_float(STK_F64, double_bits(0x1.000001p0), STK_OK) == 1.0f);
	assert_true(one_float(STK_F64, double_bits(0x1.000003p0), STK_OK) == 0x1.000004p0f);
	assert_true(one_float(STK_F64, double_bits(1e-50), STK_OK) == 0);
	assert_true(isinf(one_float(STK_F64, double_bits(INFINITY), STK_OK)));
	assert_true(isnan(one_float(STK_F64, double_bits(NAN), STK_OK)));
	one_float(STK_F64, double_bits(1e39), STK_ERANGE);
	one_float(STK_F64, double_bits(-1e300), STK_ERANGE);
	one_float(STK_I32, 1, STK_EINVAL);
	one_float(STK_BOOL, 1, STK_EINVAL);
	one_float(STK_F8_E4M3, 1, STK_EINVAL);
	assert_string_equal(stk_dtype_name(STK_F8_E4M3), "F8_E4M3");
}

static double
one_double(stk_dtype dtype, uint64_t bits, stk_status expected)
{
	uint8_t bytes[17];
	/* The second of two values, at an odd address. */
	stk_tensor tensor = {.name = "t", .dtype = dtype, .count = 2, .data = bytes + 1};
	size_t size = 1;
	double out = 0;
	stk_error err;

	if (dtype == STK_F64 || dtype == STK_I64 || dtype == STK_U64)
		size = 8;
	else if (dtype == STK_F32 || dtype == STK_I32 || dtype == STK_U32)
		size = 4;
	else if (dtype == STK_F16 || dtype == STK_BF16 || dtype == STK_I16 || dtype == STK_U16)
		size = 2;
	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes + 1 + size, &bits, size);
	assert_int_equal(stk_tensor_doubles(&tensor, 1, 1, &out, &err), expected);
	return out;
}

static void
conversions_to_double(void **state)
{
	(void) state;
	assert_true(one_double(STK_F64, double_bits(0.1), STK_OK) == 0.1);
	assert_true(isnan(one_double(STK_F64, double_bits(NAN), STK_OK)));
	assert_true(one_double(STK_F32, 0xc0490fdb, STK_OK) == -3.14159274101257324);
	assert_true(one_double(STK_F16, 0x3c00, STK_OK) == 1);
	assert_true(one_double(STK_BF16, 0x0001, STK_OK) == 0x1p-133);
	assert_true(one_double(STK_U8, 0xff, STK_OK) == 255);
	assert_true(one_double(STK_I8, 0xff, STK_OK) == -1);
	assert_true(one_double(STK_I8, 0x7f, STK_OK) == 127);
	assert_true(one_double(STK_U16, 0x8000, STK_OK) == 32768);
	assert_true(one_double(STK_I16, 0x8000, STK_OK) == -32768);
	assert_true(one_double(STK_U32, 0xfffffffe, STK_OK) == 4294967294.0);
	assert_true(one_double(STK_I32, 0xfffffffe, STK_OK) == -2);
	assert_true(one_double(STK_I64, (uint64_t) -3, STK_OK) == -3);
	assert_true(one_double(STK_I64, INT64_MAX, STK_OK) == 0x1p63);
	assert_true(one_double(STK_U64, UINT64_MAX, STK_OK) == 0x1p64);
	assert_true(one_double(STK_I64, (UINT64_C(1) << 53) + 1, STK_OK) == 0x1p53);
	one_double(STK_BOOL, 1, STK_EINVAL);
	one_double(STK_F8_E5M2, 1, STK_EINVAL);
}

static void
parts_of_a_tensor(void **state)
{
	const uint8_t bytes[] = {0x00, 0x3c, 0x00, 0x40, 0x00, 0x42, 0x00, 0x44};
	stk_tensor tensor = {.name = "t", .dtype = STK_F16, .count = 4, .data = bytes};
	float out[2];
	stk_error err;

	(void) state;
	assert_int_equal(stk_tensor_floats(&tensor, 1, 2, out, &err), STK_OK);
	assert_true(out[0] == 2 && out[1] == 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_files),       cmocka_unit_test(malformed_headers),
		cmocka_unit_test(lengths),           cmocka_unit_test(names_of_any_length),
		cmocka_unit_test(out_of_memory),     cmocka_unit_test(conversions),
		cmocka_unit_test(parts_of_a_tensor), cmocka_unit_test(conversions_to_double),
	};

	return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
