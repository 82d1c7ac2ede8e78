/*
 * The reference's scores of the codewords that rows chose, and the sums of their squared distances.
 *
 * A block has a chunk of rows, of which eight threads take two at once, a lane each. Then eight of
 * them add the chunk's distances up, a lane each.
 *
 * Bytes: rows once, 4 n dim, and codewords from the cache. Operations: n dim fma in binary64. Bound:
 * memory.
 */
#include "kmeans.h"
#include "reference.cuh"

#define THREADS 1024
/* A group of threads takes SIDE rows at once, ROWS apart: together a chunk. */
#define ROWS (THREADS / STK_GROUP)
#define SIDE (STK_MEMBERS_CHUNK / ROWS)
/* Numbers of each that a thread has on their way. */
#define AHEAD 8

typedef struct scores_args
{
	const float *x;
	size_t n;
	size_t dim;
	const float *codewords;
	const double *half;
	bool inner_product;
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

	const float *x[SIDE], *c[SIDE];
	uint32_t code[SIDE];
	double sum[SIDE] = {};

	/* Behind the last row comes the last row, of which nobody wants to know more. */
#pragma unroll
	for (int q = 0; q < SIDE; q++)
	{
		size_t row = first + min((int) threadIdx.x / STK_GROUP + q * ROWS, rows - 1);

		code[q] = a.codes[row];
		x[q] = a.x + row * a.dim;
		c[q] = a.codewords + code[q] * a.dim;
	}
	for (size_t i = lane; i < a.dim; i += STK_GROUP * AHEAD)
	{
		float v[SIDE][AHEAD], w[SIDE][AHEAD];

#pragma unroll
		for (int j = 0; j < AHEAD; j++)
		{
			bool inside = i + j * STK_GROUP < a.dim;

#pragma unroll
			for (int q = 0; q < SIDE; q++)
			{
				v[q][j] = inside ? __ldg(x[q] + i + j * STK_GROUP) : 0;
				w[q][j] = inside ? __ldg(c[q] + i + j * STK_GROUP) : 0;
			}
		}
		/* Zeros behind the end change nothing: a lane is never -0. */
#pragma unroll
		for (int j = 0; j < AHEAD; j++)
		{
#pragma unroll
			for (int q = 0; q < SIDE; q++)
				sum[q] = fma((double) v[q][j], (double) w[q][j], sum[q]);
		}
	}
#pragma unroll
	for (int q = 0; q < SIDE; q++)
	{
		int r = threadIdx.x / STK_GROUP + q * ROWS;
		double half = a.half[code[q]];
		double s = __dsub_rn(a.inner_product ? 0 : half, add_lanes(sum[q]));

		if (lane > 0 || r >= rows)
			continue;
		a.scores[first + r] = s;
		if (a.errors)
		{
			if (a.inner_product)
				s = __dadd_rn(s, half);
			s = __dadd_rn(a.norms[first + r], __dmul_rn(2, s));
			distances[r] = s > 0 ? s : 0;
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
	scores_args a = {
		call->x,     call->n,     call->dim,    call->codewords, call->half, call->inner_product,
		call->codes, call->norms, call->scores, call->errors};
	size_t chunks = (call->n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;

	if (call->n == 0)
		return STK_OK;
	score_rows<<<(unsigned) chunks, THREADS, 0, stream>>>(a);
	return stk_cuda_status(cudaGetLastError(), "score rows on the device", err);
}
