/*
 * Bytes from outside as a codebook: refused, or one that encodes, to codes that it has.
 *
 *   clang -g -O1 -std=c17 -D_GNU_SOURCE -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *       -Isrc -o fuzz_codebook test/fuzz/fuzz_codebook.c src/core/[a-z]*.c -lm
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rq.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Its own first codeword and a row of ones, greedily and with a beam. */
static void
encode(const stk_codebook *cb)
{
	stk_exec exec = {.cpu = &stk_cpu_portable, .a = stk_malloc};
	size_t inputs = (size_t) stk_codebook_inputs(cb);
	float *x = malloc(sizeof(float) * 3 * inputs);
	uint16_t codes[2 * STK_MAX_LEVELS];
	stk_error err;
	stk_rq *rq;

	if (stk_rq_create(cb, &exec, STK_FILTER_BEST, &rq, &err) != STK_OK)
		abort();
	for (size_t d = 0; d < inputs; d++)
	{
		x[d] = d < (size_t) cb->dim ? cb->codewords[0][d] : 0;
		x[inputs + d] = 1;
	}
	for (int beam = 1; beam <= 3; beam += 2)
	{
		if (beam > 1 && stk_rq_prepare_beam(rq, &exec) != STK_OK)
			abort();
		if (stk_rq_encode(rq, &exec, x, 2, beam, codes, NULL, &err) != STK_OK)
			continue; /* a zero vector, or a residual out of range */
		for (int i = 0; i < 2 * cb->levels; i++)
			if (codes[i] >= cb->sizes[i % cb->levels])
				abort();
		(void) stk_rq_reconstruct(cb, &exec, codes, cb->levels, x + 2 * inputs, &err);
	}
	stk_rq_free(rq);
	free(x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1); /* aligned, and its end guarded */
	stk_codebook shape, cb;
	uint8_t *again;
	stk_error err;

	memcpy(bytes, data, size);
	if (stk_codebook_view(bytes, size, &cb, &err) == STK_OK)
	{
		if (stk_codebook_read_shape(bytes, size, &shape, &err) != STK_OK ||
			stk_codebook_stored_bytes(&cb) != size || shape.dim != cb.dim ||
			shape.network.inputs != cb.network.inputs)
			abort();
		again = malloc(size);
		stk_codebook_write(again, &cb);
		if (memcmp(again, bytes, size) != 0)
			abort();
		free(again);
		if (stk_codebook_check_finite(&cb, &err) == STK_OK)
			encode(&cb);
	}
	free(bytes);
	return 0;
}
