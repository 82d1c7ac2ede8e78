/*
 * What the tests and measurements on a device share: rows and codes there, encoding by one kernel
 * or another, and core's answer computed by all of this machine's cores.
 */
#ifndef TEST_CUDA_DEVICE_H
#define TEST_CUDA_DEVICE_H

#include <unistd.h>

#include "core/rq.h"
#include "engine/crew.h"
#include "encode.h"
#include "hostile.h"

/* Which kernel encodes: the filter with tiles of so many rows, or one of these. */
enum
{
	CHOSEN = 0, /* stk_encode_launch's choice */
	PLAIN = -1  /* the reference alone */
};

/* Or that for few rows, with tiles of so many rows, each shared by so many blocks. */
#define FEW(rows, parts) (1000 * (rows) + (parts))
#define IS_FEW(kernel) ((kernel) >= FEW(16, 0))

/* End the program when CUDA or anything else that cannot fail does. */
static inline void
must(bool ok, const char *what, const char *why)
{
	if (ok)
		return;
	printf("cannot go on: %s: %s\n", what, why);
	exit(1);
}

#define MUST_CUDA(call)                                                                            \
	do                                                                                             \
	{                                                                                              \
		cudaError_t code_ = (call);                                                                \
		must(code_ == cudaSuccess, #call, cudaGetErrorString(code_));                              \
	} while (0)

static inline void *
device_memory(size_t bytes)
{
	void *p;

	MUST_CUDA(cudaMalloc(&p, bytes ? bytes : 1));
	return p;
}

/* A call's memory on the device, for up to n rows of cb; x [n][dim] is copied there. */
static inline stk_encode_call
device_call(const stk_device_codebook *cb, const float *x, size_t n)
{
	size_t values = n * (size_t) cb->dim;
	stk_encode_call call = {.cb = cb, .n = n};

	call.x = device_memory(values * sizeof(float));
	call.codes = device_memory(n * (size_t) cb->levels * sizeof(uint16_t));
	call.failure = device_memory(sizeof(stk_encode_failure));
	call.stats = device_memory(sizeof(stk_encode_stats));
	call.normalized = cb->metric == STK_COSINE ? device_memory(values * sizeof(float)) : NULL;
	if (x)
		MUST_CUDA(cudaMemcpy((void *) (uintptr_t) call.x, x, values * sizeof(float),
							 cudaMemcpyHostToDevice));
	return call;
}

static inline void
device_call_free(stk_encode_call *call)
{
	MUST_CUDA(cudaFree((void *) (uintptr_t) call->x));
	MUST_CUDA(cudaFree(call->codes));
	MUST_CUDA(cudaFree(call->failure));
	MUST_CUDA(cudaFree(call->stats));
	MUST_CUDA(cudaFree(call->normalized));
}

/* Launch, without waiting. */
static inline void
device_launch_on(const stk_encode_call *call, int kernel, cudaStream_t stream)
{
	stk_error err = {.level = -1};
	stk_encode_call own = *call;
	stk_status status = STK_OK;

	own.tile = IS_FEW(kernel) ? kernel / 1000 : kernel > 0 ? kernel : 0;
	own.parts = IS_FEW(kernel) ? kernel % 1000 : 0;
	if (IS_FEW(kernel) && stk_encode_few_takes(&own))
		status = stk_encode_few_launch(&own, stream, &err);
	else if (kernel == PLAIN)
	{
		if (own.cb->metric == STK_COSINE)
			status = stk_normalize_launch(&own, stream, &err);
		own.x = own.cb->metric == STK_COSINE ? own.normalized : own.x;
		if (status == STK_OK)
			status = stk_encode_plain_launch(&own, stream, &err);
	}
	else
		status = stk_encode_launch(&own, stream, &err);
	must(status == STK_OK, "launch", err.message);
}

static inline void
device_launch(const stk_encode_call *call, int kernel)
{
	device_launch_on(call, kernel, 0);
}

/* Encode as stk_rq_encode does; codes, poisoned first, and what the filter did come back. */
static inline stk_status
device_encode(stk_encode_call *call, int kernel, uint16_t *codes, stk_encode_stats *stats,
			  stk_error *err)
{
	size_t bytes = call->n * (size_t) call->cb->levels * sizeof(uint16_t);
	stk_encode_failure failure = STK_ENCODE_NO_FAILURE;

	MUST_CUDA(cudaMemset(call->codes, 0xff, bytes));
	MUST_CUDA(cudaMemset(call->failure, 0xff, sizeof(failure)));
	MUST_CUDA(cudaMemset(call->stats, 0, sizeof(*stats)));
	device_launch(call, kernel);
	MUST_CUDA(cudaDeviceSynchronize());
	MUST_CUDA(cudaMemcpy(codes, call->codes, bytes, cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(&failure, call->failure, sizeof(failure), cudaMemcpyDeviceToHost));
	if (stats)
		MUST_CUDA(cudaMemcpy(stats, call->stats, sizeof(*stats), cudaMemcpyDeviceToHost));
	return stk_encode_error(failure, 0, err);
}

static inline stk_device_codebook *
device_codebook(const stk_codebook *cb)
{
	stk_device_codebook *d;
	stk_error err = {.level = -1};

	must(stk_device_codebook_create(cb, true, 0, &d, &err) == STK_OK, "codebook", err.message);
	return d;
}

/* Core's answer, by as many threads as there are cores. */
static inline stk_status
core_encode_beam(const stk_codebook *cb, stk_filter filter, const float *x, size_t n, int beam,
				 uint16_t *codes, stk_error *err)
{
	static stk_crew *crew;
	stk_exec exec = *plain_exec();
	stk_rq *rq;
	stk_status status;

	if (!crew)
		must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	if (n > 1000 || (beam > 1 && n > 1))
		exec.pool = stk_crew_pool(crew, STK_URGENT);
	status = stk_rq_create(cb, &exec, filter, &rq, err);
	if (status != STK_OK)
		return status;
	if (beam > 1)
		status = stk_rq_prepare_beam(rq, &exec);
	if (status == STK_OK)
		status = stk_rq_encode(rq, &exec, x, n, beam, codes, NULL, err);
	stk_rq_free(rq);
	return status;
}

static inline stk_status
core_encode(const stk_codebook *cb, stk_filter filter, const float *x, size_t n, uint16_t *codes,
			stk_error *err)
{
	return core_encode_beam(cb, filter, x, n, 1, codes, err);
}

/*
 * A codebook like a trained one: each level's codewords are the residuals of rows taken here and
 * there, as the levels before leave them. The caller frees codewords[0], which holds all.
 */
static inline stk_codebook
sampled_codebook(const float *x, size_t n, int dim, int levels, uint32_t size, stk_metric metric)
{
	stk_codebook cb = {.metric = metric, .levels = levels, .dim = dim};
	size_t values = size * (size_t) dim;
	float *all = malloc((size_t) levels * values * sizeof(float));

	for (int l = 0; l < levels; l++)
	{
		float *c = all + (size_t) l * values;

		cb.sizes[l] = size;
		cb.codewords[l] = c;
		for (uint32_t k = 0; k < size; k++)
		{
			size_t row = ((size_t) k * 2654435761u + (size_t) l * 40503u) % n;
			float *r = c + (size_t) k * dim;

			plain_prepare(&cb, x + row * (size_t) dim, r);
			for (int t = 0; t < l; t++)
			{
				const float *taken =
					cb.codewords[t] +
					plain_nearest(r, cb.codewords[t], size, (size_t) dim, metric == STK_IP) *
						(size_t) dim;

				for (int i = 0; i < dim; i++)
					r[i] -= taken[i];
			}
			/* Not the row itself: rows would be codewords. */
			for (int i = 0; i < dim; i++)
				r[i] *= 0.7f;
		}
	}
	return cb;
}

#endif
