/*
 * Batches: their rows copied together, what is noted of each, and the kernels that make up a batch.
 *
 * Bytes of what is here: rows read and written once, 8 n dim; codes and norms. Bound: memory, and
 * some ten launches for each level.
 */
#include <stdlib.h>

#include "batches.h"

#define THREADS 256
#define WARPS (THREADS / 32)
/* Sums that are read before they are added. */
#define AHEAD 16

/* A warp a row. */
static __global__ void
__launch_bounds__(THREADS) gather(const float *__restrict__ all, const size_t *__restrict__ places,
								  size_t n, size_t dim, float *x)
{
	size_t row = (size_t) blockIdx.x * WARPS + threadIdx.x / 32;
	const float *from;

	if (row >= n)
		return;
	from = all + places[row] * dim;
#pragma unroll 4
	for (size_t i = threadIdx.x % 32; i < dim; i += 32)
		x[row * dim + i] = from[i];
}

/* Note which codes rows have; the first thread adds up the chunks of their squared distances. */
static __global__ void
__launch_bounds__(THREADS)
	note_batch(const uint16_t *__restrict__ codes, size_t n, const double *__restrict__ errors,
			   uint8_t *used, double *error)
{
	size_t row = (size_t) blockIdx.x * THREADS + threadIdx.x;
	size_t chunks = (n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
	double sum = 0;

	/* Whoever writes here writes the same. */
	if (row < n)
		used[codes[row]] = 1;
	if (row > 0)
		return;
	for (size_t c = 0; c < chunks; c += AHEAD)
	{
		double ahead[AHEAD];

		/* No sum is ever -0: +0 behind the end changes none. */
#pragma unroll
		for (size_t a = 0; a < AHEAD; a++)
			ahead[a] = c + a < chunks ? errors[c + a] : 0;
#pragma unroll
		for (size_t a = 0; a < AHEAD; a++)
			sum = __dadd_rn(sum, ahead[a]);
	}
	*error = __dadd_rn(*error, sum);
}

/* Assign the batch to the level's codewords as they are; with errors, or without. */
static stk_status
assign(const stk_device_batches *b, const stk_batch_level *l, size_t n, bool errors,
	   cudaStream_t stream, stk_error *err)
{
	stk_encode_call encode = {};
	stk_scores_call scores = {};
	stk_status status = stk_pack_launch(l->pack, stream, err);

	encode.cb = &l->pack->codebook;
	encode.x = b->x;
	encode.n = n;
	encode.codes = b->codes;
	encode.failure = b->encode_failure;
	if (status == STK_OK)
		status = stk_encode_launch(&encode, stream, err);
	if (status != STK_OK || !errors)
		return status;
	scores.dim = b->dim;
	scores.codewords = l->pack->codewords;
	scores.half = l->pack->half;
	scores.inner_product = b->inner_product;
	scores.x = b->x;
	scores.n = n;
	scores.codes = b->codes;
	scores.norms = b->norms;
	scores.scores = b->scores;
	scores.errors = b->errors;
	return stk_scores_launch(&scores, stream, err);
}

/* k-means' mini-batch. */
static stk_status
learn_means(const stk_device_batches *b, const stk_batch_level *l, size_t n, bool unit,
			cudaStream_t stream, stk_error *err)
{
	stk_means_call means = {};
	stk_status status = stk_members_group_launch(l->members, b->codes, 1, n, stream, err);

	means.members = l->members;
	means.x = b->x;
	means.n = n;
	means.centroids = l->pack->codewords;
	means.counts = l->counts;
	means.persistent = true;
	means.unit = unit;
	if (status == STK_OK)
		status = stk_means_launch(&means, stream, err);
	return status;
}

static stk_status
learn_averages(const stk_device_batches *b, const stk_batch_level *l, size_t n,
			   const stk_ema_rule *rule, cudaStream_t stream, stk_error *err)
{
	stk_ema_call call = {};

	call.e.size = l->size;
	call.e.dim = b->dim;
	call.e.codewords = l->pack->codewords;
	call.e.counts = l->counts;
	call.e.sums = l->sums;
	call.e.idle = l->idle;
	call.rule = *rule;
	call.members = l->members;
	call.x = b->x;
	call.n = n;
	call.codes = b->codes;
	call.failure = b->update_failure;
	return stk_ema_launch(&call, stream, err);
}

/* The batch, in b->x, through one level; leaves its residuals there. */
static stk_status
learn(const stk_device_batches *b, int number, size_t n, uint32_t step, cudaStream_t stream,
	  stk_error *err)
{
	const stk_batch_level *l = &b->levels[number];
	stk_ema_rule rule = b->rule;
	stk_status status = stk_norms_launch(b->x, n, b->dim, b->norms, stream, err);

	rule.unit = b->unit && number == 0;
	rule.level = number;
	rule.step = step;
	if (status == STK_OK && !b->averages)
		status = assign(b, l, n, false, stream, err);
	if (status == STK_OK && !b->averages)
		status = learn_means(b, l, n, rule.unit, stream, err);
	if (status == STK_OK)
		status = assign(b, l, n, true, stream, err);
	if (status != STK_OK)
		return status;
	note_batch<<<(unsigned) ((n + THREADS - 1) / THREADS), THREADS, 0, stream>>>(
		b->codes, n, b->errors, l->used, &b->state->errors[number]);
	status = stk_cuda_status(cudaGetLastError(), "train on the device", err);
	/* Residuals are those of the codewords that were chosen. */
	if (status == STK_OK)
		status = stk_cuda_status(cudaMemcpyAsync(b->codewords, l->pack->codewords,
												 l->size * b->dim * sizeof(float),
												 cudaMemcpyDeviceToDevice, stream),
								 "train on the device", err);
	if (status == STK_OK && b->averages)
		status = learn_averages(b, l, n, &rule, stream, err);
	if (status == STK_OK && number + 1 < b->nlevels)
		status = stk_subtract_launch(b->x, n, b->dim, b->codewords, b->codes, &b->state->bad,
									 stream, err);
	return status;
}

stk_status
stk_batch_launch(const stk_device_batches *b, size_t first, size_t n, uint32_t step,
				 cudaStream_t stream, stk_error *err)
{
	stk_status status;

	gather<<<(unsigned) ((n + WARPS - 1) / WARPS), THREADS, 0, stream>>>(b->all, b->places + first,
																		 n, b->dim, b->x);
	status = stk_cuda_status(cudaGetLastError(), "train on the device", err);
	for (int l = 0; l < b->nlevels && status == STK_OK; l++)
		status = learn(b, l, n, step, stream, err);
	return status;
}

/* Lay the memory out for n rows in all; returns how many bytes it takes. */
static size_t
lay_out(stk_device_batches *b, size_t n)
{
	size_t at = 0;
	size_t largest = 0;

	b->state = (stk_batches_state *) stk_take(b->memory, &at, sizeof(stk_batches_state));
	b->encode_failure = (stk_encode_failure *) stk_take(b->memory, &at, sizeof(stk_encode_failure));
	b->update_failure = (stk_update_failure *) stk_take(b->memory, &at, sizeof(stk_update_failure));
	for (int i = 0; i < b->nlevels; i++)
	{
		stk_batch_level *l = &b->levels[i];

		l->counts = (double *) stk_take(b->memory, &at, l->size * sizeof(double));
		l->sums = (double *) stk_take(b->memory, &at,
									  b->averages ? l->size * b->dim * sizeof(double) : 0);
		l->idle =
			(uint32_t *) stk_take(b->memory, &at, b->averages ? l->size * sizeof(uint32_t) : 0);
		l->used = (uint8_t *) stk_take(b->memory, &at, l->size);
		largest = l->size > largest ? l->size : largest;
	}
	b->places = (size_t *) stk_take(b->memory, &at, n * sizeof(size_t));
	b->x = (float *) stk_take(b->memory, &at, b->size * b->dim * sizeof(float));
	b->norms = (double *) stk_take(b->memory, &at, b->size * sizeof(double));
	b->codes = (uint16_t *) stk_take(b->memory, &at, b->size * sizeof(uint16_t));
	b->scores = (double *) stk_take(b->memory, &at, b->size * sizeof(double));
	b->errors =
		(double *) stk_take(b->memory, &at, (b->size / STK_MEMBERS_CHUNK + 1) * sizeof(double));
	b->codewords = (float *) stk_take(b->memory, &at, largest * b->dim * sizeof(float));
	return at;
}

/* What is a level's own. */
static stk_status
make_level(stk_device_batches *b, stk_batch_level *l, cudaStream_t stream, stk_error *err)
{
	stk_status status = stk_device_pack_create(l->size, b->dim, stream, &l->pack, err);

	if (status != STK_OK)
		return status;
	stk_device_pack_shape(l->pack, l->size, b->inner_product);
	b->bytes += l->pack->codebook.bytes;
	status = stk_device_members_create(b->size, l->size, b->dim, stream, &l->members, err);
	if (status == STK_OK)
		b->bytes += l->members->bytes;
	return status;
}

stk_status
stk_device_batches_create(const stk_accelerator_batches *run, const float *all, size_t dim,
						  cudaStream_t stream, stk_device_batches **out, stk_error *err)
{
	static const char doing[] = "make room for batches on the device";
	stk_device_batches *b = (stk_device_batches *) calloc(1, sizeof(*b));
	stk_status status;

	*out = NULL;
	if (!b)
		return STK_ENOMEM;
	b->all = all;
	b->dim = dim;
	b->size = run->size < run->n ? run->size : run->n;
	b->nlevels = run->nlevels;
	b->inner_product = run->inner_product;
	b->unit = run->unit;
	b->averages = run->averages;
	b->rule.decay = run->decay;
	b->rule.restart_after = run->restart_after;
	b->rule.seed = run->seed;
	for (int l = 0; l < run->nlevels; l++)
		b->levels[l].size = run->levels[l].size;
	b->bytes = lay_out(b, run->n);
	status = stk_cuda_status(cudaMalloc(&b->memory, b->bytes), doing, err);
	if (status == STK_OK)
	{
		lay_out(b, run->n);
		status =
			stk_cuda_status(cudaMemsetAsync(b->state, 0, sizeof(*b->state), stream), doing, err);
	}
	/* Rows are finite, and residuals that are not become zeros: neither is ever lowered. */
	if (status == STK_OK)
		status = stk_cuda_status(
			cudaMemsetAsync(b->encode_failure, 0xff, sizeof(*b->encode_failure), stream), doing,
			err);
	if (status == STK_OK)
		status = stk_cuda_status(
			cudaMemsetAsync(b->update_failure, 0xff, sizeof(*b->update_failure), stream), doing,
			err);
	for (int l = 0; l < b->nlevels && status == STK_OK; l++)
		status = make_level(b, &b->levels[l], stream, err);
	if (status == STK_OK)
		*out = b;
	else
		stk_device_batches_free(b);
	return status;
}

void
stk_device_batches_free(stk_device_batches *b)
{
	if (!b)
		return;
	for (int l = 0; l < b->nlevels; l++)
	{
		stk_device_pack_free(b->levels[l].pack);
		stk_device_members_free(b->levels[l].members);
	}
	(void) cudaFree(b->memory);
	free(b);
}
