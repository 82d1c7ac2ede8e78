#include "lane.h"

#include <stdlib.h>
#include <string.h>

#include "network.h"
#include "statistics.h"

/*
 * Rows and codes of a piece. Copying one takes the threads some 100 us to wake up, so it is to be
 * long beside that: on an H200's host (PCIe 5, 16 cores) 512 MB took 73, 53, 30, 15 to 22 and 10.4
 * ms in pieces of 1, 2, 4, 8 and 16 MB, and no less in larger ones; copying alone takes 9.7.
 */
#ifndef PIECE_BYTES
#define PIECE_BYTES ((size_t) 16 << 20)
#endif
#define CODE_BYTES (PIECE_BYTES / 8)
/* Chunks' sums of a piece: with one level most, two numbers for each of CODE_BYTES / 512 chunks. */
#define SUMS_BYTES (CODE_BYTES / 32)
/* What one thread copies at a time, and what is not worth several threads. */
#define COPY_BYTES ((size_t) 256 << 10)
/* Memory of the device that a call's lanes take. */
#define LANES_BYTES (STK_CALL_LANES * (2 * PIECE_BYTES + CODE_BYTES + SUMS_BYTES))

size_t
stk_lane_rows(const stk_codebook *cb)
{
	size_t widest =
		stk_codebook_inputs(cb) > cb->dim ? (size_t) stk_codebook_inputs(cb) : (size_t) cb->dim;
	size_t rows, coded;

	/* What passes through a network has a piece's room, too. */
	for (int l = 0; cb->network.inputs > 0 && l < cb->network.n_encoder; l++)
		widest = cb->network.encoder[l].out > widest ? cb->network.encoder[l].out : widest;
	rows = PIECE_BYTES / (widest * sizeof(float));
	coded = CODE_BYTES / ((size_t) cb->levels * sizeof(uint16_t));
	return rows < coded ? rows : coded;
}

size_t
stk_lane_bytes(void)
{
	return PIECE_BYTES;
}

static void
lane_free(stk_lane *l)
{
	stk_trie_graphs_free(l->graphs);
	(void) cudaFreeHost(l->x_here);
	(void) cudaFreeHost(l->codes_here);
	(void) cudaFreeHost(l->sums_here);
	(void) cudaFreeHost(l->failure_here);
	(void) cudaFree(l->x);
	(void) cudaFree(l->normalized);
	(void) cudaFree(l->codes);
	(void) cudaFree(l->sums);
	(void) cudaFree(l->failure);
	if (l->stream)
		(void) cudaStreamDestroy(l->stream);
}

/* A device that has failed keeps its memory, and what it may still write to. */
static void
lanes_free(stk_lanes *lanes)
{
	stk_gpu *gpu = lanes->gpu;

	if (atomic_load(&gpu->failed) || cudaSetDevice(gpu->number) != cudaSuccess)
	{
		stk_gpu_abandon(lanes);
		return;
	}
	for (int i = 0; i < STK_CALL_LANES; i++)
		lane_free(&lanes->lane[i]);
	stk_gpu_give(gpu, LANES_BYTES);
	free(lanes);
}

static stk_status
lane_create(stk_lane *l, stk_error *err)
{
	cudaError_t code = cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking);

	if (code == cudaSuccess)
		code = cudaMallocHost((void **) &l->x_here, PIECE_BYTES);
	if (code == cudaSuccess)
		code = cudaMallocHost((void **) &l->codes_here, CODE_BYTES);
	if (code == cudaSuccess)
		code = cudaMallocHost((void **) &l->sums_here, SUMS_BYTES);
	if (code == cudaSuccess)
		code = cudaMallocHost((void **) &l->failure_here, sizeof(*l->failure_here));
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->x, PIECE_BYTES);
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->normalized, PIECE_BYTES);
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->codes, CODE_BYTES);
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->sums, SUMS_BYTES);
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->failure, sizeof(*l->failure));
	return stk_cuda_status(code, "make room for rows", err);
}

stk_status
stk_lanes_take(stk_gpu *gpu, stk_lanes **out, stk_error *err)
{
	stk_lanes *lanes = NULL;
	stk_status status = STK_OK;

	*out = NULL;
	pthread_mutex_lock(&gpu->lock);
	if (gpu->nidle > 0)
		lanes = gpu->idle[--gpu->nidle];
	pthread_mutex_unlock(&gpu->lock);
	if (!lanes)
	{
		lanes = calloc(1, sizeof(*lanes));
		if (!lanes)
			return stk_gpu_note(gpu, STK_ENOMEM, err);
		lanes->gpu = gpu;
		if (!stk_gpu_take(gpu, LANES_BYTES))
		{
			free(lanes);
			return stk_fail(err, STK_EDEVICE, "CUDA device %d: no room for rows", gpu->number);
		}
		for (int i = 0; i < STK_CALL_LANES && status == STK_OK; i++)
			status = lane_create(&lanes->lane[i], err);
	}
	if (status == STK_OK)
		*out = lanes;
	else
	{
		status = stk_gpu_note(gpu, status, err);
		lanes_free(lanes);
	}
	return status;
}

void
stk_lanes_give(stk_lanes *lanes)
{
	stk_gpu *gpu = lanes->gpu;
	stk_error err = {.level = -1};
	bool kept = false;

	/* What was on its way when the call ended still writes into the buffers. */
	lanes->sums = NULL;
	for (int i = 0; i < STK_CALL_LANES; i++)
	{
		if (lanes->lane[i].n > 0)
			(void) stk_gpu_note(gpu, stk_gpu_wait(gpu, lanes->lane[i].stream, NULL, &err), &err);
		lanes->lane[i].n = 0;
	}
	pthread_mutex_lock(&gpu->lock);
	if (gpu->nidle < STK_KEPT_LANES && !atomic_load(&gpu->failed))
	{
		gpu->idle[gpu->nidle++] = lanes;
		kept = true;
	}
	pthread_mutex_unlock(&gpu->lock);
	if (!kept)
		lanes_free(lanes);
}

void
stk_lanes_free_kept(stk_gpu *gpu)
{
	while (gpu->nidle > 0)
		lanes_free(gpu->idle[--gpu->nidle]);
}

typedef struct copy
{
	char *to;
	const char *from;
	size_t bytes;
} copy;

static void
copy_part(void *arg, size_t index, int thread)
{
	const copy *c = arg;
	size_t at = index * COPY_BYTES;
	size_t bytes = c->bytes - at < COPY_BYTES ? c->bytes - at : COPY_BYTES;

	(void) thread;
	memcpy(c->to + at, c->from + at, bytes);
}

void
stk_lane_copy(const stk_exec *exec, void *to, const void *from, size_t bytes)
{
	copy c = {to, from, bytes};

	stk_run(exec->pool, copy_part, &c, (bytes + COPY_BYTES - 1) / COPY_BYTES);
}

/* Bytes of a piece's sums. */
static size_t
sums_bytes(const stk_lanes *lanes, size_t n)
{
	return (n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK * ((size_t) lanes->cb->levels + 1) *
		   sizeof(double);
}

/* Measure the rows of a call that encodes them, and have the sums on their way back. */
static stk_status
measure(stk_lanes *lanes, stk_lane *l, const stk_encode_call *encode, stk_error *err)
{
	bool cosine = encode->cb->metric == STK_COSINE;
	stk_evaluate_call call = {.cb = encode->cb,
							  .x = cosine ? encode->normalized : encode->x,
							  .n = encode->n,
							  .codes = encode->codes,
							  .sums = l->sums,
							  .failure = encode->failure};
	stk_status status = STK_OK;

	/* Not every kernel leaves them there. */
	if (cosine)
		status = stk_normalize_launch(encode, l->stream, err);
	if (status == STK_OK)
		status = stk_evaluate_launch(&call, l->stream, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaMemcpyAsync(l->sums_here, l->sums, sums_bytes(lanes, l->n),
												 cudaMemcpyDeviceToHost, l->stream),
								 "copy sums from the device", err);
	return status;
}

stk_status
stk_lane_send(stk_lanes *lanes, stk_lane *l, const stk_exec *exec, const float *x, size_t first,
			  size_t n, stk_error *err)
{
	const stk_device_codebook *cb = lanes->cb;
	size_t row = (cb->network.inputs > 0 ? cb->network.inputs : (size_t) cb->dim) * sizeof(float);
	size_t codes = n * (size_t) cb->levels * sizeof(uint16_t);
	stk_encode_call call = {.cb = cb,
							.x = l->x,
							.n = n,
							.normalized = l->normalized,
							.codes = l->codes,
							.failure = l->failure,
							.beam = lanes->beam};
	cudaError_t code;
	stk_status status = stk_gpu_use(lanes->gpu, err);

	if (status != STK_OK)
		return status;
	stk_lane_copy(exec, l->x_here, (const char *) x + first * row, n * row);
	l->first = first;
	l->n = n;
	code = cudaMemcpyAsync(l->x, l->x_here, n * row, cudaMemcpyHostToDevice, l->stream);
	if (code == cudaSuccess)
		code = cudaMemsetAsync(l->failure, 0xff, sizeof(*l->failure), l->stream);
	status = stk_cuda_status(code, "copy rows to the device", err);
	if (status == STK_OK && cb->network.inputs > 0)
		status =
			stk_network_launch(&cb->network, l->x, l->normalized, n, l->failure, l->stream, err);
	if (status == STK_OK)
		status = stk_encode_launch(&call, l->stream, err);
	if (status == STK_OK && lanes->sums)
		status = measure(lanes, l, &call, err);
	if (status == STK_OK)
	{
		code = cudaMemcpyAsync(l->codes_here, l->codes, codes, cudaMemcpyDeviceToHost, l->stream);
		if (code == cudaSuccess)
			code = cudaMemcpyAsync(l->failure_here, l->failure, sizeof(*l->failure),
								   cudaMemcpyDeviceToHost, l->stream);
		status = stk_cuda_status(code, "copy codes from the device", err);
	}
	return stk_gpu_note(lanes->gpu, status, err);
}

stk_status
stk_lane_receive(stk_lanes *lanes, stk_lane *l, const stk_exec *exec, uint16_t *codes,
				 stk_error *err)
{
	size_t levels = (size_t) lanes->cb->levels;
	stk_status status;

	if (l->n == 0)
		return STK_OK;
	status = stk_gpu_note(lanes->gpu, stk_gpu_wait(lanes->gpu, l->stream, exec->monitor, err), err);
	if (status != STK_OK)
		return status;
	if (*l->failure_here != STK_ENCODE_NO_FAILURE)
		status = stk_encode_error(*l->failure_here, l->first, err);
	else
		memcpy(codes + l->first * levels, l->codes_here, l->n * levels * sizeof(uint16_t));
	if (status == STK_OK && lanes->sums)
		memcpy(lanes->sums + l->first / STK_MEMBERS_CHUNK * (levels + 1), l->sums_here,
			   sums_bytes(lanes, l->n));
	l->n = 0;
	return status;
}
