/*
 * Evaluation: how far rows are from the sums of their codewords, level by level.
 *
 * A block has a chunk of rows, of which its threads take some at a time, eight a row and a lane
 * each; then eight of them add up each column of what they found, a lane each.
 *
 * Bytes: rows once, 4 n dim, codes, and codewords from the cache. Operations: 3 n dim levels in
 * binary64 and n dim (levels + 1) conversions. Bound: those conversions.
 */
#include "reference.cuh"
#include "statistics.h"

#define THREADS STK_MEMBERS_CHUNK
/* Rows that a block takes at a time. */
#define ROWS (THREADS / STK_GROUP)
/* Levels that one launch measures. */
#define PIECE 4

typedef struct evaluate_args
{
	const stk_device_level *levels;
	int nlevels;
	int level; /* the piece's first */
	size_t dim;
	const float *x;
	size_t n;
	const uint16_t *codes;
	double *sums;
	stk_encode_failure *failure;
} evaluate_args;

/* A row's codeword of a level; one whose encoding failed may have any code. */
static __device__ inline const float *
codeword_of(const evaluate_args &a, const uint16_t *codes, int l)
{
	const stk_device_level &level = a.levels[l];

	return level.codewords + min((uint32_t) codes[l], level.size - 1) * a.dim;
}

/* Column 0: squared norms, of use in the first piece; then the piece's levels. */
static __device__ inline void
note(const evaluate_args &a, size_t row, int column, double value)
{
	if (isfinite(value))
		return;
	if (column == 0)
		atomicMin(a.failure, stk_encode_failed(row, -1, STK_ENCODE_NOT_FINITE));
	else
		atomicMin(a.failure, stk_encode_failed(row, a.level + column - 1, STK_ENCODE_OUT_OF_RANGE));
}

static __global__ void
__launch_bounds__(THREADS) evaluate(const evaluate_args a)
{
	__shared__ double values[PIECE + 1][STK_MEMBERS_CHUNK];
	size_t first = (size_t) blockIdx.x * STK_MEMBERS_CHUNK;
	int rows = (int) min(a.n - first, (size_t) STK_MEMBERS_CHUNK);
	int lane = threadIdx.x % STK_GROUP;
	int levels = min(PIECE, a.nlevels - a.level);

	for (int r = threadIdx.x / STK_GROUP; r < rows; r += ROWS)
	{
		size_t row = first + r;
		const float *x = a.x + row * a.dim;
		const uint16_t *codes = a.codes + row * a.nlevels;
		const float *c[PIECE];
		double sum[PIECE + 1] = {};

#pragma unroll
		for (int l = 0; l < PIECE; l++)
			c[l] = l < levels ? codeword_of(a, codes, a.level + l) : NULL;
#pragma unroll 4
		for (size_t i = lane; i < a.dim; i += STK_GROUP)
		{
			float v = __ldg(x + i);
			/* The first codeword's zeros keep their sign. */
			float s = -0.0f;

			for (int l = 0; l < a.level; l++)
				s = __fadd_rn(s, codeword_of(a, codes, l)[i]);
			sum[0] = fma((double) v, (double) v, sum[0]);
#pragma unroll
			for (int l = 0; l < PIECE; l++)
			{
				if (l < levels)
				{
					double e;

					s = __fadd_rn(s, __ldg(c[l] + i));
					e = __dsub_rn((double) v, (double) s);
					sum[l + 1] = __dadd_rn(sum[l + 1], __dmul_rn(e, e));
				}
			}
		}
#pragma unroll
		for (int column = 0; column <= PIECE; column++)
		{
			double value = add_lanes(sum[column]);

			if (lane == 0 && column <= levels)
			{
				values[column][r] = value;
				note(a, row, column, value);
			}
		}
	}
	__syncthreads();
	/* A group a column; the norms are told once. */
	if (threadIdx.x < (levels + 1) * STK_GROUP)
	{
		int column = threadIdx.x / STK_GROUP;
		double sum = 0;

#pragma unroll 8
		for (int r = lane; r < rows; r += STK_GROUP)
			sum = __dadd_rn(sum, values[column][r]);
		sum = add_lanes(sum);
		if (lane == 0 && (column > 0 || a.level == 0))
			a.sums[blockIdx.x * (size_t) (a.nlevels + 1) + (column > 0 ? a.level : 0) + column] =
				sum;
	}
}

stk_status
stk_evaluate_launch(const stk_evaluate_call *call, cudaStream_t stream, stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	size_t chunks = (call->n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
	evaluate_args a = {};

	a.levels = cb->on_dev;
	a.nlevels = cb->levels;
	a.dim = (size_t) cb->dim;
	a.x = call->x;
	a.n = call->n;
	a.codes = call->codes;
	a.sums = call->sums;
	a.failure = call->failure;
	for (a.level = 0; a.level < a.nlevels && call->n > 0; a.level += PIECE)
		evaluate<<<(unsigned) chunks, THREADS, 0, stream>>>(a);
	return stk_cuda_status(cudaGetLastError(), "evaluate rows on the device", err);
}
