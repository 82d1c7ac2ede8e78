/*
 * Bytes from outside as an npz file: refused, or a set as it may be stored. And as an npy file,
 * whose header would else hide behind the archive's checksum.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_npz test/fuzz/fuzz_npz.c src/core/[a-z]*.c -lm
 */
#include <stdlib.h>
#include <string.h>

#include "core/csr.h"
#include "core/npy.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_npy(const uint8_t *data, size_t size)
{
	stk_npy array = {.name = "x"};
	stk_error err;
	uint64_t count;

	if (stk_npy_read(data, size, &array, &err) != STK_OK)
		return;
	count = stk_npy_count(&array);
	if (array.data + stk_npy_bytes(&array) != data + size || count > size)
		abort();
	for (uint64_t i = 0; i < count; i++)
		(void) stk_npy_value(&array, i);
}

static void
read_npz(const uint8_t *data, size_t size)
{
	stk_csr_tokens tokens = {0};
	stk_npz file;
	stk_error err;
	uint8_t *set;
	size_t len;

	if (stk_npz_open(data, size, &stk_malloc, &file, &err) != STK_OK)
		return;
	for (size_t i = 0; i < file.n; i++)
		if (file.entries[i].stored > size || file.entries[i].name_len > size)
			abort();
	if (stk_csr_read(&file, &tokens, 1, 0, &stk_malloc, NULL, &set, &len, &err) == STK_OK)
	{
		if (stk_semset_check(set, len, &err) != STK_OK)
			abort();
		free(set);
	}
	stk_npz_close(&file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_npy(data, size);
	read_npz(data, size);
	return 0;
}
