#include "trie.h"

#include <stdlib.h>
#include <string.h>

/* What is read back at a time. */
#define LOOK_BYTES ((size_t) 1 << 20)

/* Does the device have what was sent? A trie is followed without looking at bounds. */
static stk_status
compare(const void *block, const void *memory, size_t bytes, cudaStream_t stream, stk_error *err)
{
	char *look = malloc(LOOK_BYTES);
	stk_status status = look ? STK_OK : STK_ENOMEM;

	for (size_t at = 0; at < bytes && status == STK_OK; at += LOOK_BYTES)
	{
		size_t n = bytes - at < LOOK_BYTES ? bytes - at : LOOK_BYTES;
		cudaError_t code =
			cudaMemcpyAsync(look, (const char *) memory + at, n, cudaMemcpyDeviceToHost, stream);

		if (code == cudaSuccess)
			code = cudaStreamSynchronize(stream);
		status = stk_cuda_status(code, "read a trie back", err);
		if (status == STK_OK && memcmp(look, (const char *) block + at, n) != 0)
			status =
				stk_fail(err, STK_EIO, "could not copy a trie to the device: it differs there");
	}
	free(look);
	return status;
}

stk_status
stk_device_trie_create(const stk_packed_trie *here, const void *block, size_t bytes,
					   cudaStream_t stream, stk_device_trie *out, stk_error *err)
{
	static const char doing[] = "copy a trie to the device";
	stk_status status;

	memset(out, 0, sizeof(*out));
	status = stk_cuda_status(cudaMalloc(&out->memory, bytes ? bytes : 1), doing, err);
	if (status != STK_OK)
		return status;
	if (bytes > 0)
		status = stk_cuda_status(
			cudaMemcpyAsync(out->memory, block, bytes, cudaMemcpyHostToDevice, stream), doing, err);
	if (status == STK_OK)
		status = compare(block, out->memory, bytes, stream, err);
	if (status != STK_OK)
	{
		stk_device_trie_free(out);
		return status;
	}
	out->view = *here;
	stk_packed_trie_attach(&out->view, out->memory);
	out->bytes = bytes;
	return STK_OK;
}

void
stk_device_trie_free(stk_device_trie *t)
{
	(void) cudaFree(t->memory);
	memset(t, 0, sizeof(*t));
}
