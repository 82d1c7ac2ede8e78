/*
 * Values from outside as the arrays of a trie, in a sound npz file: refused, or a set that is
 * exported to the very same arrays.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_csr test/fuzz/fuzz_csr.c src/core/[a-z]*.c -lm
 */
#include <stdlib.h>
#include <string.h>

#include "core/csr.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARRAYS 4

/* A file of zeros with these arrays. */
static uint8_t *
make_file(stk_npy *arrays, size_t n, size_t *len)
{
	uint8_t *file;

	*len = (size_t) stk_npz_size(arrays, n);
	file = calloc(*len, 1);
	stk_npz_begin(arrays, n, file);
	return file;
}

/* The values that were read are those that are written for what they were read as. */
static void
compare(const stk_npy *arrays, size_t n, stk_csr_layout layout, const uint8_t *bytes, size_t len)
{
	stk_csr_tokens tokens = {.vocab = INT8_MAX + 1};
	stk_csr csr;
	stk_semset set;
	stk_error err;
	size_t file_len;
	uint8_t *file;

	for (size_t i = 0; i < n; i++)
		if (strcmp(arrays[i].name, "start_mask") == 0)
			tokens.vocab = (uint32_t) arrays[i].shape[0];
	if (stk_semset_check(bytes, len, &err) != STK_OK ||
		stk_semset_view(bytes, len, &set, &err) != STK_OK ||
		stk_csr_plan(&set, layout, &tokens, 1, UINT64_MAX, &csr, &err) != STK_OK)
		abort();
	file = make_file(csr.arrays, (size_t) csr.n_arrays, &file_len);
	for (int k = 0; k < csr.n_arrays; k++)
	{
		if (stk_csr_fill(&csr, k, NULL) != STK_OK)
			abort();
		for (size_t i = 0; i < n; i++)
			if (strcmp(arrays[i].name, csr.arrays[k].name) == 0)
				for (uint64_t v = 0; v < stk_npy_count(&csr.arrays[k]); v++)
					if (stk_npy_value(&arrays[i], v) != stk_npy_value(&csr.arrays[k], v))
						abort();
	}
	free(file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[2][ARRAYS] = {
		{"packed_csr", "indptr", "layer_max_branches", "start_mask"},
		{"stacked_cols_vals", "row_ptrs", "layer_max_branches", "more"}};
	stk_csr_layout layout;
	stk_npy arrays[ARRAYS] = {0};
	stk_csr_tokens tokens = {0};
	stk_npz npz;
	stk_error err;
	uint8_t *file;
	uint8_t *set;
	size_t len;
	size_t set_len;

	/* A byte for the layout, one for each array's length, then one for each value. */
	if (size < 1 + ARRAYS)
		return 0;
	layout = data[0] % 2 ? STK_CSR_STATIC : STK_CSR_RECTOKENS;
	for (int i = 0; i < ARRAYS; i++)
	{
		strcpy(arrays[i].name, names[layout][i]);
		arrays[i].type = STK_NPY_I8;
		arrays[i].ndim = i == 0 ? 2 : 1;
		arrays[i].shape[0] = data[1 + i];
		if (i == 0)
			arrays[i].shape[layout == STK_CSR_STATIC ? 1 : 0] = 2;
		if (i == 0 && layout == STK_CSR_RECTOKENS)
			arrays[i].shape[1] = data[1];
	}
	data += 1 + ARRAYS;
	size -= 1 + ARRAYS;
	file = make_file(arrays, ARRAYS, &len);
	for (int i = 0; i < ARRAYS; i++)
	{
		size_t n = (size_t) stk_npy_bytes(&arrays[i]);

		n = n < size ? n : size;
		memcpy((uint8_t *) arrays[i].data, data, n);
		data += n;
		size -= n;
	}
	if (stk_npz_end(arrays, ARRAYS, file, NULL) != STK_OK ||
		stk_npz_open(file, len, &stk_malloc, &npz, &err) != STK_OK)
		abort();
	if (stk_csr_read(&npz, &tokens, 1, 0, &stk_malloc, NULL, &set, &set_len, &err) == STK_OK)
	{
		compare(arrays, ARRAYS, layout, set, set_len);
		free(set);
	}
	stk_npz_close(&npz);
	free(file);
	return 0;
}
