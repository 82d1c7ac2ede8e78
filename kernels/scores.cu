/*
 * The reference's scores of the codewords that rows chose, and the sums of their squared distances.
 *
 * A block has a chunk of rows, of which its threads take some at a time, eight a row and a lane
 * each. Then eight of them add the chunk's distances up, a lane each.
 *
 * Bytes: rows once, 4 n dim, and codewords from the cache. Operations: n dim fma in binary64. Bound:
 * memory.
 */
#include "kmeans.h"
#include "reference.cuh"

#define THREADS 1024
/* Rows that a block takes at a time. */
#define ROWS (THREADS / STK_GROUP)
/* Numbers that a thread has on their way, of rows and of codewords. */
#define AHEAD 8

typedef struct scores_args
{
	const float *x;
	size_t n;
	size_t dim;
	const float *codewords;
	const double *half;  /* of the scores */
	const double *whole; /* to be added for the distance; NULL: half are in the scores */
	const uint16_t *codes;
	const double *norms;
	double *scores;
	double *errors;
} scores_args;

static __global__ void
__launch_bounds__(THREADS) score_rows(const scores_args a)
{
	__shared__ double distances[STK_MEMBERS_CHUNK];
	size_t first = (size_t) blockIdx.x * STK_MEMBERS_CHUNK;
	int rows = (int) min(a.n - first, (size_t) STK_MEMBERS_CHUNK);
	int lane = threadIdx.x % STK_GROUP;

	for (int r = threadIdx.x / STK_GROUP; r < rows; r += ROWS)
	{
		size_t row = first + r;
		uint32_t code = a.codes[row];
		const float *x = a.x + row * a.dim;
		const float *c = a.codewords + code * a.dim;
		double sum = 0;

		for (size_t i = lane; i < a.dim; i += STK_GROUP * AHEAD)
		{
			float v[AHEAD], w[AHEAD];

#pragma unroll
			for (int j = 0; j < AHEAD; j++)
			{
				bool inside = i + j * STK_GROUP < a.dim;

				v[j] = inside ? __ldg(x + i + j * STK_GROUP) : 0;
				w[j] = inside ? __ldg(c + i + j * STK_GROUP) : 0;
			}
			/* Zeros behind the end change nothing: a lane is never -0. */
#pragma unroll
			for (int j = 0; j < AHEAD; j++)
				sum = fma((double) v[j], (double) w[j], sum);
		}
		sum = __dsub_rn(a.half[code], add_lanes(sum));
		if (lane > 0)
			continue;
		a.scores[row] = sum;
		if (a.errors)
		{
			if (a.whole)
				sum = __dadd_rn(sum, a.whole[code]);
			sum = __dadd_rn(a.norms[row], __dmul_rn(2, sum));
			distances[r] = sum > 0 ? sum : 0;
		}
	}
	if (!a.errors)
		return;
	__syncthreads();
	if (threadIdx.x < STK_GROUP)
	{
		double sum = 0;

#pragma unroll 8
		for (int r = lane; r < rows; r += STK_GROUP)
			sum = __dadd_rn(sum, distances[r]);
		sum = add_lanes(sum);
		if (lane == 0)
			a.errors[blockIdx.x] = sum;
	}
}

stk_status
stk_scores_launch(const stk_scores_call *call, cudaStream_t stream, stk_error *err)
{
	const stk_device_pack *p = call->pack;
	scores_args a = {call->x,
					 call->n,
					 (size_t) p->codebook.dim,
					 p->codewords,
					 p->codebook.on_host[0].half,
					 p->codebook.metric == STK_IP ? p->half : NULL,
					 call->codes,
					 call->norms,
					 call->scores,
					 call->errors};
	size_t chunks = (call->n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;

	if (call->n == 0)
		return STK_OK;
	score_rows<<<(unsigned) chunks, THREADS, 0, stream>>>(a);
	return stk_cuda_status(cudaGetLastError(), "score rows on the device", err);
}
