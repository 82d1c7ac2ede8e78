/* k-means on a device: its memory, and which kernels make up a step. */
#include <stdlib.h>

#include "kmeans.h"

static size_t
chunks_of(size_t n)
{
	return (n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
}

/* Lay the rows' memory out; returns how many bytes it takes. */
static size_t
lay_out(stk_device_kmeans *k)
{
	size_t at = 0;

	k->state = (stk_lloyd_state *) stk_take(k->memory, &at, sizeof(stk_lloyd_state));
	k->failure = (stk_encode_failure *) stk_take(k->memory, &at, sizeof(stk_encode_failure));
	k->x = (float *) stk_take(k->memory, &at, k->n * k->dim * sizeof(float));
	k->norms = (double *) stk_take(k->memory, &at, k->n * sizeof(double));
	k->codes = (uint16_t *) stk_take(k->memory, &at, k->n * sizeof(uint16_t));
	k->scores = (double *) stk_take(k->memory, &at, k->n * sizeof(double));
	k->errors = (double *) stk_take(k->memory, &at, chunks_of(k->n) * sizeof(double));
	return at;
}

#define EVENTS 5

static cudaEvent_t *
event_of(stk_device_kmeans *k, int i)
{
	cudaEvent_t *const events[EVENTS] = {&k->packed, &k->kept, &k->encoded, &k->grouped,
										 &k->recorded};

	return events[i];
}

stk_status
stk_device_kmeans_create(size_t n, size_t dim, cudaStream_t stream, stk_device_kmeans **out,
						 stk_error *err)
{
	static const char doing[] = "make room for rows on the device";
	stk_device_kmeans *k;
	stk_status status;

	*out = NULL;
	if (n > INT32_MAX)
		return stk_fail(err, STK_EINVAL, "expected less than 2^31 rows");
	k = (stk_device_kmeans *) calloc(1, sizeof(*k));
	if (!k)
		return STK_ENOMEM;
	k->n = n;
	k->dim = dim;
	k->bytes = lay_out(k);
	status = stk_cuda_status(cudaMalloc(&k->memory, k->bytes), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaMallocHost((void **) &k->state_here, sizeof(stk_lloyd_state)),
								 doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaStreamCreateWithFlags(&k->beside, cudaStreamNonBlocking),
								 doing, err);
	for (int i = 0; i < EVENTS && status == STK_OK; i++)
		status = stk_cuda_status(cudaEventCreateWithFlags(event_of(k, i), cudaEventDisableTiming),
								 doing, err);
	if (status == STK_OK)
	{
		lay_out(k);
		/* Rows are finite: no encoding of them lowers it. */
		status = stk_cuda_status(
			cudaMemsetAsync(k->failure, 0xff, sizeof(stk_encode_failure), stream), doing, err);
	}
	if (status == STK_OK)
		*out = k;
	else
		stk_device_kmeans_free(k);
	return status;
}

void
stk_device_kmeans_free(stk_device_kmeans *k)
{
	if (!k)
		return;
	stk_device_pack_free(k->pack);
	stk_device_members_free(k->members);
	(void) cudaFree(k->counts);
	(void) cudaFree(k->kept_codewords);
	(void) cudaFree(k->memory);
	(void) cudaFreeHost(k->state_here);
	if (k->beside)
		(void) cudaStreamDestroy(k->beside);
	for (int i = 0; i < EVENTS; i++)
	{
		if (*event_of(k, i))
			(void) cudaEventDestroy(*event_of(k, i));
	}
	free(k);
}

stk_status
stk_kmeans_room(stk_device_kmeans *k, uint32_t size, cudaStream_t stream, stk_error *err)
{
	if (k->pack && k->pack->most >= size)
		return STK_OK;
	stk_device_pack_free(k->pack);
	k->pack = NULL;
	return stk_device_pack_create(size, k->dim, stream, &k->pack, err);
}

/* Bytes from pack's codewords to the end of `size` half norms, which lie behind all it has room for. */
static size_t
kept_bytes(const stk_device_pack *p, uint32_t size)
{
	return (size_t) ((const char *) (p->half + size) - (const char *) p->codewords);
}

stk_status
stk_lloyd_room(stk_device_kmeans *k, uint32_t size, cudaStream_t stream, stk_error *err)
{
	stk_status status = stk_kmeans_room(k, size, stream, err);

	if (status != STK_OK ||
		(k->members && k->members->view.size == size && k->kept_room >= kept_bytes(k->pack, size)))
		return status;
	stk_device_members_free(k->members);
	(void) cudaFree(k->counts);
	(void) cudaFree(k->kept_codewords);
	k->members = NULL;
	k->counts = NULL;
	k->kept_codewords = NULL;
	k->kept_room = kept_bytes(k->pack, size);
	status = stk_cuda_status(cudaMalloc((void **) &k->counts, size * sizeof(double)),
							 "make room for counts on the device", err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaMalloc(&k->kept_codewords, k->kept_room),
								 "make room for codewords on the device", err);
	if (status == STK_OK)
		status = stk_device_members_create(k->n, size, k->dim, stream, &k->members, err);
	return status;
}

/* Encode all rows by the codewords that k->pack has. */
static stk_status
encode_launch(const stk_device_kmeans *k, cudaStream_t stream, stk_error *err)
{
	stk_encode_call call = {};

	call.cb = &k->pack->codebook;
	call.x = k->x;
	call.n = k->n;
	call.codes = k->codes;
	call.failure = k->failure;
	return stk_encode_launch(&call, stream, err);
}

/*
 * Score the codewords that the rows chose: those that were kept, with the sums of squared distances;
 * or as they are, without.
 */
static stk_status
scores_launch(const stk_device_kmeans *k, bool kept, cudaStream_t stream, stk_error *err)
{
	const char *from = (const char *) (kept ? k->kept_codewords : k->pack->codewords);
	stk_scores_call call = {};

	call.dim = k->dim;
	call.codewords = (const float *) from;
	call.half = (const double *) (from + kept_bytes(k->pack, 0));
	call.inner_product = k->pack->codebook.metric == STK_IP;
	call.x = k->x;
	call.n = k->n;
	call.codes = k->codes;
	call.norms = k->norms;
	call.scores = k->scores;
	call.errors = kept ? k->errors : NULL;
	return stk_scores_launch(&call, stream, err);
}

stk_status
stk_kmeans_nearest_launch(stk_device_kmeans *k, uint32_t size, bool inner_product,
						  cudaStream_t stream, stk_error *err)
{
	stk_status status;

	stk_device_pack_shape(k->pack, size, inner_product);
	status = stk_pack_launch(k->pack, stream, err);
	if (status == STK_OK)
		status = encode_launch(k, stream, err);
	if (status == STK_OK)
		status = scores_launch(k, false, stream, err);
	return status;
}

static stk_status
said(cudaError_t code, stk_error *err)
{
	return stk_cuda_status(code, "order work on the device", err);
}

/* Keep a copy of the codewords on k->beside, once they are packed. */
static stk_status
keep_launch(stk_device_kmeans *k, uint32_t size, cudaStream_t stream, stk_error *err)
{
	stk_status status = said(cudaEventRecord(k->packed, stream), err);

	if (status == STK_OK)
		status = said(cudaStreamWaitEvent(k->beside, k->packed, 0), err);
	if (status == STK_OK)
		status =
			said(cudaMemcpyAsync(k->kept_codewords, k->pack->codewords, kept_bytes(k->pack, size),
								 cudaMemcpyDeviceToDevice, k->beside),
				 err);
	if (status == STK_OK)
		status = said(cudaEventRecord(k->kept, k->beside), err);
	return status;
}

/*
 * Assign all rows to packed centroids: number `odd` or even. On stream they are then grouped by code,
 * and the next update may follow. Meanwhile their scores are taken on k->beside, by a copy of the
 * centroids as they were, and go on record; k->recorded is behind that.
 */
static stk_status
assign_launch(stk_device_kmeans *k, const stk_lloyd_call *call, bool odd, bool first,
			  cudaStream_t stream, stk_error *err)
{
	stk_status status = keep_launch(k, call->size, stream, err);

	/* The last record has been made of the codes and groups that change now. */
	if (status == STK_OK && !first)
		status = said(cudaStreamWaitEvent(stream, k->recorded, 0), err);
	if (status == STK_OK)
		status = encode_launch(k, stream, err);
	if (status == STK_OK)
		status = said(cudaEventRecord(k->encoded, stream), err);
	if (status == STK_OK)
		status = said(cudaStreamWaitEvent(k->beside, k->encoded, 0), err);
	if (status == STK_OK)
		status = scores_launch(k, true, k->beside, err);

	if (status == STK_OK)
		status = stk_members_group_launch(k->members, k->codes, 1, k->n, stream, err);
	if (status == STK_OK)
		status = said(cudaEventRecord(k->grouped, stream), err);
	if (status == STK_OK)
		status = said(cudaStreamWaitEvent(k->beside, k->grouped, 0), err);
	if (status == STK_OK)
		status =
			stk_lloyd_record_launch(k->members, k->errors, k->n, odd, k->state, k->beside, err);
	if (status == STK_OK)
		status = said(cudaEventRecord(k->recorded, k->beside), err);

	/* Whether some are empty, so that nothing is to move, is for the record to say. */
	if (status == STK_OK)
		status =
			said(cudaStreamWaitEvent(stream, call->until_empty ? k->recorded : k->kept, 0), err);
	return status;
}

static stk_status
means_launch(stk_device_kmeans *k, const stk_lloyd_call *call, bool odd, cudaStream_t stream,
			 stk_error *err)
{
	stk_means_call means = {};

	means.members = k->members;
	means.x = k->x;
	means.n = k->n;
	means.centroids = k->pack->codewords;
	means.counts = k->counts;
	means.unit = call->unit;
	means.changed = &k->state->changed[odd];
	means.over = call->until_empty ? &k->state->over : NULL;
	means.pack = k->pack;
	return stk_means_launch(&means, stream, err);
}

stk_status
stk_lloyd_begin_launch(stk_device_kmeans *k, const stk_lloyd_call *call, cudaStream_t stream,
					   stk_error *err)
{
	static const char doing[] = "begin to train on the device";
	stk_status status =
		stk_cuda_status(cudaMemsetAsync(k->state, 0, sizeof(*k->state), stream), doing, err);

	/* Any number but 0 will do. */
	if (status == STK_OK && call->until_empty)
		status = stk_cuda_status(
			cudaMemsetAsync(&k->state->until_empty, 1, sizeof(uint32_t), stream), doing, err);
	stk_device_pack_shape(k->pack, call->size, call->inner_product);
	if (status == STK_OK)
		status = stk_pack_launch(k->pack, stream, err);
	if (status == STK_OK)
		status = assign_launch(k, call, false, true, stream, err);
	if (status == STK_OK)
		status = said(cudaStreamWaitEvent(stream, k->recorded, 0), err);
	return status;
}

stk_status
stk_lloyd_steps_launch(stk_device_kmeans *k, const stk_lloyd_call *call, int from, int steps,
					   cudaStream_t stream, stk_error *err)
{
	stk_status status = STK_OK;

	for (int i = 1; i <= steps && status == STK_OK; i++)
	{
		bool odd = (from + i) % 2 == 1;

		status = means_launch(k, call, odd, stream, err);
		if (status == STK_OK)
			status = assign_launch(k, call, odd, i == 1, stream, err);
	}
	if (status == STK_OK && steps > 0)
		status = said(cudaStreamWaitEvent(stream, k->recorded, 0), err);
	return status;
}

stk_status
stk_lloyd_steps_graph(stk_device_kmeans *k, const stk_lloyd_call *call, int steps,
					  cudaStream_t stream, cudaGraphExec_t *graph, stk_error *err)
{
	static const char doing[] = "make a graph of k-means";
	cudaGraph_t made = NULL;
	stk_status launched;
	stk_status status = stk_cuda_status(
		cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), doing, err);

	*graph = NULL;
	if (status != STK_OK)
		return status;
	launched = stk_lloyd_steps_launch(k, call, 0, steps, stream, err);
	status = stk_cuda_status(cudaStreamEndCapture(stream, &made), doing, err);
	if (launched != STK_OK)
		status = launched;
	if (status == STK_OK)
		status = stk_cuda_status(cudaGraphInstantiate(graph, made, 0), doing, err);
	if (made)
		(void) cudaGraphDestroy(made);
	return status;
}
