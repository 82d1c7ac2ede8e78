/*
 * Text as tokens of a semid: refused, or one that comes back the same from the form that is
 * printed, and from the letters where they reach. Digits as a flat number: the same.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_tokens test/fuzz/fuzz_tokens.c src/core/[a-z]*.c -lm
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/flat.h"
#include "core/tokens.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
same(const char *text, const stk_semid *id)
{
	stk_semid again;

	if (stk_tokens_parse(text, strlen(text), &again, NULL) != STK_OK ||
		again.levels != id->levels || again.tokenizer != 0 ||
		memcmp(again.codes, id->codes, sizeof(uint16_t) * (size_t) id->levels) != 0)
		abort();
}

static void
round_trip(const stk_semid *id)
{
	char text[STK_TOKENS_MAX_TEXT];
	size_t len = 0;

	if (id->levels < 1 || id->levels > STK_MAX_LEVELS)
		abort();
	if (stk_tokens_print(id, text) != strlen(text))
		abort();
	same(text, id);
	if (id->levels > 26)
		return;
	for (int l = 0; l < id->levels; l++)
		len += (size_t) snprintf(text + len, sizeof(text) - len, "<%c_%d>", 'a' + l, id->codes[l]);
	same(text, id);
}

/* The first byte says how many levels, the next two bytes each give a size, the rest are digits. */
static void
flat(const uint8_t *data, size_t size)
{
	uint32_t sizes[STK_MAX_LEVELS];
	char digits[STK_FLAT_MAX_DIGITS + 1];
	int levels;
	stk_semid id, again;

	if (size == 0)
		return;
	levels = 1 + data[0] % STK_MAX_LEVELS;
	data++;
	size--;
	for (int l = 0; l < levels; l++, data += 2, size -= 2)
	{
		if (size < 2)
			return;
		sizes[l] = 1 + (uint32_t) (data[0] << 8 | data[1]);
	}
	if (stk_flat_parse((const char *) data, size, sizes, levels, &id, NULL) != STK_OK)
		return;
	for (int l = 0; l < levels; l++)
		if (id.codes[l] >= sizes[l])
			abort();
	if (stk_flat_print(&id, sizes, digits, NULL) != STK_OK)
		abort();
	while (size > 1 && *data == '0')
	{
		data++;
		size--;
	}
	if (strlen(digits) != size || memcmp(digits, data, size) != 0)
		abort();
	if (stk_flat_parse(digits, size, sizes, levels, &again, NULL) != STK_OK ||
		memcmp(again.codes, id.codes, sizeof(uint16_t) * (size_t) levels) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1); /* its end guarded */
	stk_semid id;

	memcpy(bytes, data, size);
	if (stk_tokens_parse((const char *) bytes, size, &id, NULL) == STK_OK)
		round_trip(&id);
	flat(bytes, size);
	free(bytes);
	return 0;
}
