/*
 * Text and bytes from outside as a semid: refused, or one that comes back the same.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_semid test/fuzz/fuzz_semid.c src/core/[a-z]*.c -lm
 */
#include <stdlib.h>
#include <string.h>

#include "core/semid.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
round_trip(const stk_semid *id)
{
	char text[STK_SEMID_MAX_TEXT];
	uint8_t first[STK_SEMID_MAX_BYTES], second[STK_SEMID_MAX_BYTES];
	size_t len = stk_semid_pack(id, first);
	stk_semid again;
	stk_error err;

	if (stk_semid_parse(text, stk_semid_print(id, text), &again, &err) != STK_OK)
		abort();
	if (stk_semid_pack(&again, second) != len || memcmp(first, second, len) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1); /* its end guarded */
	stk_semid id;
	stk_error err;

	memcpy(bytes, data, size);
	if (stk_semid_parse((const char *) bytes, size, &id, &err) == STK_OK)
		round_trip(&id);
	if (stk_semid_unpack(bytes, size, &id) == STK_OK)
		round_trip(&id);
	free(bytes);
	return 0;
}
