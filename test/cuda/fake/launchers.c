/*
 * The launchers of kernels/, computed by core on the processor: what the engine asks a device for,
 * where there is none.
 */
#include <stdlib.h>
#include <string.h>

#include "core/rq.h"
#include "encode.h"
#include "fake.h"

/* What lies at the beginning of a codebook's memory on the device. */
typedef struct fake_codebook
{
	stk_codebook cb; /* its codewords lie behind */
} fake_codebook;

static stk_status
launch(const char *doing, stk_error *err)
{
	return stk_cuda_status(fake_cuda_pass("launch"), doing, err);
}

stk_status
stk_device_codebook_create(const stk_codebook *cb, cudaStream_t stream, stk_device_codebook **out,
						   stk_error *err)
{
	stk_device_codebook *d = calloc(1, sizeof(*d));
	size_t floats = 0;
	stk_status status = d ? STK_OK : STK_ENOMEM;

	*out = NULL;
	for (int l = 0; l < cb->levels; l++)
		floats += (size_t) cb->sizes[l] * (size_t) cb->dim;
	if (status == STK_OK)
	{
		d->metric = cb->metric;
		d->levels = cb->levels;
		d->dim = cb->dim;
		d->bytes = sizeof(fake_codebook) + floats * sizeof(float);
		status = stk_cuda_status(cudaMalloc(&d->memory, d->bytes), "make room for a codebook", err);
	}
	if (status == STK_OK)
	{
		fake_codebook *there = d->memory;
		float *at = (float *) (there + 1);

		there->cb = *cb;
		for (int l = 0; l < cb->levels && status == STK_OK; l++)
		{
			size_t n = (size_t) cb->sizes[l] * (size_t) cb->dim;

			status = stk_cuda_status(cudaMemcpyAsync(at, cb->codewords[l], n * sizeof(float),
													 cudaMemcpyHostToDevice, stream),
									 "copy a codebook to the device", err);
			there->cb.codewords[l] = at;
			at += n;
		}
	}
	if (status == STK_OK)
		status =
			stk_cuda_status(cudaStreamSynchronize(stream), "copy a codebook to the device", err);
	if (status == STK_OK)
		*out = d;
	else
		stk_device_codebook_free(d);
	return status;
}

void
stk_device_codebook_free(stk_device_codebook *cb)
{
	if (!cb)
		return;
	(void) cudaFree(cb->memory);
	free(cb);
}

stk_status
stk_encode_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	const fake_codebook *there = call->cb->memory;
	stk_cpu cpu;
	stk_exec exec = {.a = stk_malloc, .cpu = &cpu};
	stk_error why = {.level = -1};
	stk_rq *rq = NULL;
	stk_status status = launch("encode rows on the device", err);

	(void) stream;
	if (status != STK_OK)
		return status;
	if (stk_cpu_choose(STK_SIMD_AUTO, &cpu, &why) != STK_OK ||
		stk_rq_create(&there->cb, &exec, STK_FILTER_BEST, &rq, &why) != STK_OK)
		abort();
	status = stk_rq_encode(rq, &exec, call->x, call->n, call->beam > 1 ? call->beam : 1,
						   call->codes, NULL, &why);
	stk_rq_free(rq);
	if (status == STK_EINVAL || status == STK_ERANGE)
		*call->failure =
			stk_encode_failed(why.row, why.level,
							  status == STK_ERANGE                  ? STK_ENCODE_OUT_OF_RANGE
							  : strstr(why.message, "zero") != NULL ? STK_ENCODE_ZERO
																	: STK_ENCODE_NOT_FINITE);
	else if (status != STK_OK)
		abort();
	return STK_OK;
}

stk_status
stk_probe_tensor(cudaStream_t stream, bool *holds, stk_error *err)
{
	(void) stream;
	*holds = fake_cuda_pass("probe") == cudaSuccess;
	return launch("probe the tensor unit", err);
}
