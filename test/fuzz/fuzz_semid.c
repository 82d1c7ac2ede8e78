/*
 * Text and bytes from outside as a semid: refused, or one that comes back the same. Two valid
 * stored forms: order, "starts with" and abbreviations read no byte beyond them and agree.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_semid test/fuzz/fuzz_semid.c src/core/[a-z]*.c -lm
 */
#include <stdlib.h>
#include <string.h>

#include "core/semid_range.h"

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

static int
sign(int c)
{
	return (c > 0) - (c < 0);
}

/* What is leakproof must do with any two valid ids. */
static void
compare(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	uint64_t akey = stk_semid_bytes_abbreviate(a, alen);
	uint64_t bkey = stk_semid_bytes_abbreviate(b, blen);
	int c = sign(stk_semid_bytes_cmp(a, alen, b, blen));
	uint8_t bytes[STK_SEMID_MAX_BYTES];
	stk_semid prefix, next;
	bool below = true;

	if (c != -sign(stk_semid_bytes_cmp(b, blen, a, alen)) ||
		(c == 0) != (alen == blen && memcmp(a, b, alen) == 0))
		abort();
	if (akey != bkey && c != (akey < bkey ? -1 : 1))
		abort();
	if (stk_semid_unpack(b, blen, &prefix) != STK_OK)
		abort();
	if (stk_semid_successor(&prefix, &next))
		below = stk_semid_bytes_cmp(a, alen, bytes, stk_semid_pack(&next, bytes)) < 0;
	if (prefix.tokenizer != 0 && stk_semid_bytes_starts_with(a, alen, b, blen) != (c >= 0 && below))
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
	/* the first byte says where one ends and the other begins */
	if (size > 0 && data[0] < size)
	{
		size_t alen = data[0];
		size_t blen = size - 1 - alen;
		uint8_t *a = malloc(alen ? alen : 1);
		uint8_t *b = malloc(blen ? blen : 1);

		memcpy(a, data + 1, alen);
		memcpy(b, data + 1 + alen, blen);
		if (stk_semid_unpack(a, alen, &id) == STK_OK && stk_semid_unpack(b, blen, &id) == STK_OK)
			compare(a, alen, b, blen);
		free(a);
		free(b);
	}
	return 0;
}
