/*
 * Bytes from outside as a safetensors file: refused, or tensors that cover it.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_safetensors test/fuzz/fuzz_safetensors.c src/core/[a-z]*.c -lm
 */
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	stk_safetensors file;
	stk_error err;
	uint64_t covered = 0;

	if (stk_safetensors_read(data, size, &stk_malloc, &file, &err) != STK_OK)
		return 0;
	for (size_t i = 0; i < file.n; i++)
	{
		const stk_tensor *tensor = &file.tensors[i];
		float *values;

		if (stk_safetensors_find(&file, tensor->name) != tensor || tensor->count > size)
			abort();
		covered += tensor->end - tensor->begin;
		values = malloc(tensor->count * sizeof(float) + 1);
		(void) stk_tensor_floats(tensor, 0, tensor->count, values, &err);
		free(values);
	}
	if (file.metric && strlen(file.metric) > size)
		abort();
	if (covered > size)
		abort();
	stk_safetensors_free(&file);
	return 0;
}
