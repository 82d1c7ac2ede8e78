/*
 * Bytes from outside as a semset: refused, or a set that can be walked.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_semset test/fuzz/fuzz_semset.c src/core/[a-z]*.c -lm
 */
#include <stdlib.h>
#include <string.h>

#include "core/semset.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1); /* aligned, and its end guarded */
	stk_semset set;
	stk_error err;

	memcpy(bytes, data, size);
	if (stk_semset_check(bytes, size, &err) == STK_OK)
	{
		stk_semset_iter it;
		stk_semid id;
		uint32_t n = 0;

		if (stk_semset_view(bytes, size, &set, &err) != STK_OK)
			abort();
		stk_semset_iter_init(&it, &set);
		while (stk_semset_iter_next(&it, &id))
		{
			uint8_t packed[STK_SEMID_MAX_BYTES];

			if (!stk_semset_contains(&set, packed, stk_semid_pack(&id, packed)))
				abort();
			n++;
		}
		if (n != set.ids)
			abort();
	}
	free(bytes);
	return 0;
}
