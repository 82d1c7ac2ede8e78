/*
 * Bytes from outside as a message of the protocol: refused, or one that can be computed with and
 * that, written again, is the same bytes.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -Itest/unit -o fuzz_protocol test/fuzz/fuzz_protocol.c src/worker/protocol.c \
 *       src/worker/found.c src/core/[a-z]*.c -lm
 */
#include <stdlib.h>
#include <string.h>

#include "messages.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the answers among them are read as answers to. */
static const asked questions[] = {
	{1,
	 3,
	 {.levels = 3, .sizes = {2, 2, 2}, .dim = 2, .epochs = 10, .beam = 1},
	 {.n = 1, .k = 2, .width = 3}},
	{100000,
	 4,
	 {.levels = 1, .sizes = {65536}, .dim = 16000, .epochs = 1, .refine = 9, .beam = 4},
	 {.n = 4096, .k = 100, .width = 8}},
};

static void
read_header(const uint8_t *data)
{
	uint8_t again[STK_HEADER_BYTES];
	stk_header h;
	stk_error err;

	if (stk_read_header(data, &h, &err) != STK_OK)
		return;
	if (h.bytes > STK_BODY_MAX || h.request == 0)
		abort();
	if (stk_write_header(again, &h) != sizeof(again) || memcmp(again, data, sizeof(again)) != 0)
		abort();
}

static void
read_body(const uint8_t *body, size_t size, stk_kind kind, const asked *q)
{
	uint8_t *again = malloc(STK_HEADER_BYTES + STK_BODY_MAX);
	stk_error err = {.level = -1};
	message m;
	stk_status status = message_read(kind, body, size, q, &m, &err);

	if (status == STK_OK)
	{
		if (!message_holds(&m, q, body, size))
			abort();
		if (message_write(again, 1, &m) != STK_HEADER_BYTES + size ||
			memcmp(again + STK_HEADER_BYTES, body, size) != 0)
			abort();
	}
	else if (status != STK_ECORRUPT || err.message[0] == '\0')
		abort();
	free(again);
}

/* A byte says what the rest is. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes;

	if (size < 1 || size - 1 > STK_BODY_MAX)
		return 0;
	bytes = malloc(size); /* its end guarded */
	memcpy(bytes, data + 1, size - 1);
	if (data[0] % (MESSAGE_KINDS + 1) == MESSAGE_KINDS)
	{
		if (size - 1 >= STK_HEADER_BYTES)
			read_header(bytes);
	}
	else
		read_body(bytes, size - 1, message_kinds[data[0] % (MESSAGE_KINDS + 1)],
				  &questions[data[0] / 128]);
	free(bytes);
	return 0;
}
