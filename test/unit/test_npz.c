/*
 * npz files: what numpy writes, what is written, what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "bytes.h"
#include "core/npy.h"
#include "core/npz.h"
#include "failing.h"

/* numpy.savez(file, a=numpy.array([[1, -2, 300]], dtype=numpy.int32), m=[True, False]) */
static const char numpy_file[] =
	"504b030414000000000000002100aa9c010d8c0000008c00000005001400612e6e7079010010008c00000000"
	"0000008c00000000000000934e554d5059010076007b276465736372273a20273c6934272c2027666f727472"
	"616e5f6f72646572273a2046616c73652c20277368617065273a2028312c2033292c207d2020202020202020"
	"2020202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
	"2020202020200a01000000feffffff2c010000504b030414000000000000002100ee19bb5d82000000820000"
	"00050014006d2e6e70790100100082000000000000008200000000000000934e554d5059010076007b276465"
	"736372273a20277c6231272c2027666f727472616e5f6f72646572273a2046616c73652c2027736861706527"
	"3a2028322c292c207d2020202020202020202020202020202020202020202020202020202020202020202020"
	"202020202020202020202020202020202020202020202020200a0100504b0102140314000000000000002100"
	"aa9c010d8c0000008c000000050000000000000000000000800100000000612e6e7079504b01021403140000"
	"00000000002100ee19bb5d82000000820000000500000000000000000000008001c30000006d2e6e7079504b"
	"05060000000002000200660000007c0100000000";

static uint8_t *
unhex(const char *hex, size_t *len)
{
	uint8_t *bytes;

	*len = strlen(hex) / 2;
	bytes = malloc(*len);
	for (size_t i = 0; i < *len; i++)
	{
		unsigned int byte;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		bytes[i] = (uint8_t) byte;
	}
	return bytes;
}

static void
test_numpy_file(void **state)
{
	size_t len;
	uint8_t *bytes = unhex(numpy_file, &len);
	stk_npz file;
	stk_npy array;
	stk_error err = {0};

	(void) state;
	assert_int_equal(stk_npz_open(bytes, len, &stk_malloc, &file, &err), STK_OK);
	assert_int_equal(file.n, 2);
	assert_true(stk_npz_has(&file, "a"));
	assert_false(stk_npz_has(&file, "a.npy"));
	assert_false(stk_npz_has(&file, "b"));
	assert_int_equal(stk_npz_array(&file, "a", NULL, &array, &err), STK_OK);
	assert_int_equal(array.type, STK_NPY_I32);
	assert_int_equal(array.ndim, 2);
	assert_int_equal(array.shape[0], 1);
	assert_int_equal(array.shape[1], 3);
	assert_int_equal(stk_npy_count(&array), 3);
	assert_int_equal(stk_npy_value(&array, 0), 1);
	assert_int_equal(stk_npy_value(&array, 1), -2);
	assert_int_equal(stk_npy_value(&array, 2), 300);
	assert_int_equal(stk_npz_array(&file, "m", NULL, &array, &err), STK_OK);
	assert_int_equal(array.type, STK_NPY_BOOL);
	assert_int_equal(stk_npy_value(&array, 0), 1);
	assert_int_equal(stk_npy_value(&array, 1), 0);
	assert_int_equal(stk_npz_array(&file, "b", NULL, &array, &err), STK_EINVAL);
	assert_string_equal(err.message, "array \"b\" is missing");
	stk_npz_close(&file);
	free(bytes);
}

/* Every type's extreme values, and shapes of no, one, two dimensions and of no values. */
static void
test_round_trip(void **state)
{
	static const uint8_t values[] = {0x80, 0,    0,    0,    0,    0,    0,    0x80,
									 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
	static const int64_t first[] = {1, -128, 128, 128, 128, 128, 128, INT64_MIN + 128};
	static const int64_t last[] = {1, 127, 127, 32767, 32767, 2147483647, 2147483647, INT64_MAX};
	static const unsigned int widths[] = {1, 1, 1, 2, 2, 4, 4, 8};
	stk_npy arrays[11] = {0};
	stk_npz file;
	stk_error err = {0};
	uint8_t *bytes;
	size_t len;

	(void) state;
	for (int t = 0; t < 8; t++)
	{
		snprintf(arrays[t].name, sizeof(arrays[t].name), "type%d", t);
		arrays[t].type = (stk_npy_type) t;
		arrays[t].ndim = 1;
		arrays[t].shape[0] = sizeof(values) / widths[t];
	}
	strcpy(arrays[8].name, "scalar");
	arrays[8].type = STK_NPY_I64;
	strcpy(arrays[9].name, "none");
	arrays[9].ndim = 2;
	arrays[9].shape[0] = 7;
	strcpy(arrays[10].name, "deep");
	arrays[10].ndim = 32;
	for (int i = 0; i < 32; i++)
		arrays[10].shape[i] = 1;
	len = stk_npz_size(arrays, 11);
	bytes = calloc(len, 1);
	stk_npz_begin(arrays, 11, bytes);
	for (int t = 0; t < 8; t++)
		memcpy((uint8_t *) arrays[t].data, values, sizeof(values));
	assert_int_equal(stk_npz_end(arrays, 11, bytes, NULL), STK_OK);
	assert_int_equal(stk_npz_open(bytes, len, &stk_malloc, &file, &err), STK_OK);
	assert_int_equal(file.n, 11);
	for (int t = 0; t < 11; t++)
	{
		stk_npy array;

		assert_int_equal(stk_npz_array(&file, arrays[t].name, NULL, &array, &err), STK_OK);
		assert_int_equal(array.type, arrays[t].type);
		assert_int_equal(array.ndim, arrays[t].ndim);
		assert_memory_equal(array.shape, arrays[t].shape, sizeof(uint64_t) * (size_t) array.ndim);
		assert_ptr_equal(array.data, arrays[t].data);
		/* Values begin 64 bytes into the npy file, or a multiple of it. */
		assert_int_equal(stk_npy_header_size(&array) % 64, 0);
		if (t < 8)
		{
			assert_int_equal(stk_npy_value(&array, 0), first[t]);
			assert_int_equal(stk_npy_value(&array, array.shape[0] - 1), last[t]);
		}
	}
	stk_npz_close(&file);
	free(bytes);

	/* Sizes that do not fit. */
	arrays[0].shape[0] = UINT32_MAX;
	assert_int_equal(stk_npz_size(arrays, 1), UINT64_MAX);
	arrays[0].ndim = 2;
	arrays[0].shape[0] = arrays[0].shape[1] = UINT32_MAX;
	arrays[0].type = STK_NPY_I64;
	assert_int_equal(stk_npy_bytes(&arrays[0]), UINT64_MAX);
	arrays[0].ndim = 3;
	arrays[0].shape[2] = UINT32_MAX;
	assert_int_equal(stk_npy_count(&arrays[0]), UINT64_MAX);
	arrays[0].shape[1] = 0;
	assert_int_equal(stk_npy_count(&arrays[0]), 0);
}

static stk_status
read_header(const char *header, size_t data, char *message)
{
	size_t n = strlen(header);
	size_t len = 10 + n + data;
	uint8_t *bytes = calloc(len, 1);
	stk_npy array = {.name = "x"};
	stk_error err = {0};
	stk_status status;

	memcpy(bytes, "\x93NUMPY\1\0", 8);
	bytes[8] = (uint8_t) n;
	memcpy(bytes + 10, header, n);
	status = stk_npy_read(bytes, len, &array, &err);
	strcpy(message, err.message);
	free(bytes);
	return status;
}

static void
test_headers(void **state)
{
	static const char *const good[] = {
		"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }   \n",
		"{'shape':(2,),'fortran_order':False,'descr':'<i4'}\n",
		"{'descr': '<i8', 'fortran_order': False, 'shape': (), }\n",
		"{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2), }\n",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2,2,), }\n",
	};
	static const struct
	{
		const char *header;
		const char *says;
	} refused[] = {
		{"", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }\n\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), } x\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2), }\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (,), }\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2 2), }\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (-2,), }\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (02,), }\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2,)\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (18446744073709551618,), }\n",
		 "invalid header"},
		{"{'descr': '<i4', 'fortran_order': 0, 'shape': (2,), }\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False}\n", "invalid header"},
		{"{'descr': '<i4', 'shape': (2,)}\n", "invalid header"},
		{"{'fortran_order': False, 'shape': (2,)}\n", "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}\n",
		 "invalid header"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), 'more': 1}\n", "invalid header"},
		{"{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2,)}\n", "invalid header"},
		{"{'descr': '<i4, 'fortran_order': False, 'shape': (2,)}\n", "invalid header"},
		{"{'descr': '>i4', 'fortran_order': False, 'shape': (2,), }\n", "type >i4"},
		{"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n", "type <f8"},
		{"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", "type |O"},
		{"{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }\n", "type <u8"},
		{"{'descr': '<i4', 'fortran_order': True, 'shape': (2,), }\n", "Fortran order"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", "8 bytes"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }\n", "8 bytes"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (4611686018427387906,), }\n",
		 "8 bytes"},
		{"{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n",
		 "8 bytes"},
		{"{'descr': '|b1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
		 "1, "
		 "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8)}\n",
		 "invalid header"},
	};
	static const uint8_t second[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 2, 0, 0, 0, 0, 0};
	stk_npy array = {.name = "x"};
	stk_error err;
	char message[160];

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (read_header(good[i], 8, message) != STK_OK)
			fail_msg("%s: %s", good[i], message);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
	{
		if (read_header(refused[i].header, 8, message) != STK_EINVAL ||
			strstr(message, refused[i].says) == NULL)
			fail_msg("%s: %s", refused[i].header, message);
	}
	assert_int_equal(stk_npy_read(second, sizeof(second), &array, &err), STK_EINVAL);
	assert_string_equal(err.message, "array \"x\" has npy version 2.0, expected 1.0");
	assert_int_equal(stk_npy_read(second, 5, &array, &err), STK_EINVAL);
	assert_int_equal(stk_npy_read((const uint8_t *) "\x93NUMPY\1\0\1\1", 10, &array, &err),
					 STK_EINVAL);
	assert_string_equal(err.message, "array \"x\" ends within its header");
}

/* One byte of numpy's file set to another value; at counts from the end when negative. */
static void
assert_refused(int at, int byte, const char *says)
{
	size_t len;
	uint8_t *bytes = unhex(numpy_file, &len);
	stk_npz file;
	stk_npy array;
	stk_error err = {0};
	stk_status status;

	bytes[at < 0 ? (int) len + at : at] = (uint8_t) byte;
	status = stk_npz_open(bytes, len, &stk_malloc, &file, &err);
	if (status == STK_OK)
	{
		status = stk_npz_array(&file, "a", NULL, &array, &err);
		stk_npz_close(&file);
	}
	if (status != STK_EINVAL || strstr(err.message, says) == NULL)
		fail_msg("byte %d = %d: status %d, %s", at, byte, status, err.message);
	free(bytes);
}

static void
test_archives(void **state)
{
	/* From the end: 22 bytes of end record, two central headers of 51. */
	const int end = -22, second = -22 - 51, first = second - 51;
	size_t len;
	uint8_t *bytes = unhex(numpy_file, &len);
	int local = 0;

	(void) state;
	for (size_t i = 4; i + 4 < len && local == 0; i++)
		if (memcmp(bytes + i, "PK\3\4", 4) == 0)
			local = (int) i;
	free(bytes);
	assert_refused(end, 0, "not a zip archive");
	assert_refused(-1, 1, "not a zip archive");
	assert_refused(end + 4, 1, "more than one part");
	assert_refused(end + 8, 1, "more than one part");
	assert_refused(end + 11, 1, "more than one part");
	assert_refused(end + 12, 1, "is not where its end says");
	assert_refused(end + 16, 1, "is not where its end says");
	assert_refused(first, 0, "directory is not valid");
	assert_refused(first + 8, 1, "encrypted");
	assert_refused(first + 10, 8, "not where the archive's directory says");
	assert_refused(first + 16, 0x5a, "checksum");
	assert_refused(first + 20, 0xa8, "overlap");
	assert_refused(first + 21, 2, "beyond the archive's directory");
	assert_refused(first + 23, 2, "beyond the archive's directory");
	assert_refused(first + 24, 1, "sizes of array \"a\" contradict");
	assert_refused(first + 28, 4, "not where the archive's directory says");
	assert_refused(first + 30, 1, "directory is not valid");
	assert_refused(first + 31, 1, "directory is not valid");
	assert_refused(first + 42, 1, "not where the archive's directory says");
	assert_refused(first + 45, 1, "not where the archive's directory says");
	assert_refused(first + 46, 'b', "other names");
	assert_refused(0, 0, "not where the archive's directory says");
	assert_refused(8, 8, "not where the archive's directory says");
	assert_refused(26, 6, "not where the archive's directory says");
	assert_refused(29, 0xff, "beyond the archive's directory");
	assert_refused(30, 'b', "other names");
	assert_refused(184, 1, "checksum");
	assert_refused(local, 0, "not where the archive's directory says");

	/* Two entries of one name, one that is compressed, one entry twice in the directory. */
	bytes = unhex(numpy_file, &len);
	bytes[len + second + 46] = bytes[local + 30] = 'a';
	{
		stk_npz file;
		stk_npy array;
		stk_error err = {0};

		assert_int_equal(stk_npz_open(bytes, len, &stk_malloc, &file, &err), STK_OK);
		assert_int_equal(stk_npz_array(&file, "a", NULL, &array, &err), STK_EINVAL);
		assert_string_equal(err.message, "array \"a\" is there twice");
		stk_npz_close(&file);
		bytes[8] = bytes[len + first + 10] = 8;
		bytes[len + second + 46] = bytes[local + 30] = 'm';
		assert_int_equal(stk_npz_open(bytes, len, &stk_malloc, &file, &err), STK_OK);
		assert_int_equal(stk_npz_array(&file, "a", NULL, &array, &err), STK_EINVAL);
		assert_string_equal(err.message, "array \"a\" is compressed: write the file by "
										 "numpy.savez, not savez_compressed");
		stk_npz_close(&file);
		memcpy(bytes + len + second, bytes + len + first, 51);
		assert_int_equal(stk_npz_open(bytes, len, &stk_malloc, &file, &err), STK_EINVAL);
		assert_string_equal(err.message, "entries of the archive overlap");
	}
	free(bytes);
}

static void
test_damaged(void **state)
{
	prng r = {5};
	size_t len;
	uint8_t *bytes = unhex(numpy_file, &len);
	failing_allocator fa;
	stk_allocator none = failing_init(&fa, 0);
	stk_npz file;
	stk_error err;

	(void) state;
	assert_int_equal(stk_npz_open(bytes, len, &none, &file, &err), STK_ENOMEM);
	for (int round = 0; round < 20000; round++)
	{
		size_t damaged_len;
		uint8_t *damaged = damage(&r, bytes, len, &damaged_len);
		stk_npy array;

		if (stk_npz_open(damaged, damaged_len, &stk_malloc, &file, &err) == STK_OK)
		{
			if (stk_npz_array(&file, "a", NULL, &array, &err) == STK_OK)
				assert_int_equal(stk_npy_value(&array, stk_npy_count(&array) - 1), 300);
			stk_npz_close(&file);
		}
		free(damaged);
	}
	free(bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numpy_file), cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_headers),    cmocka_unit_test(test_archives),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
