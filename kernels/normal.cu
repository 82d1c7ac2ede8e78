/*
 * The normal equations of a refit: how often codes occur together, and what the codewords leave of
 * the rows, added up by code and squared.
 *
 * Sums by code are in row order, as core's are: a thread has a column of a code and goes from row
 * to row. Squares have chunks of rows, which threads add up side by side.
 *
 * Bytes: rows once for each level and once for the squares, 4 n dim (levels + 1), whole rows in the
 * order of their codes; codewords from the cache. Bound: memory where codes are used alike; a code
 * that has most rows takes them one after the other.
 */
#include "statistics.h"

#define THREADS 128
/* Rows whose numbers are read before they are used. */
#define AHEAD 4

/* x - c_0 - c_1 ... in column i of a row, each step rounded. */
static __device__ inline double
residual(const stk_normal_call &a, size_t row, size_t i)
{
	double e = a.x[row * a.dim + i];

	for (int l = 0; l < a.levels; l++)
		e = __dsub_rn(e, (double) __ldg(a.codewords +
										(a.first[l] + a.codes[row * a.levels + l]) * a.dim + i));
	return e;
}

/* Blocks: codes of a level x slabs of columns. */
static __global__ void
__launch_bounds__(THREADS)
	add_residuals(const stk_normal_call a, const stk_members_view m, uint32_t first)
{
	uint32_t end = m.first[blockIdx.x + 1];
	size_t i = (size_t) blockIdx.y * THREADS + threadIdx.x;
	double sum = 0;

	if (i >= a.dim)
		return;
	for (uint32_t at = m.first[blockIdx.x]; at < end; at += AHEAD)
	{
		double ahead[AHEAD];

		/* No sum is ever -0: +0 behind the end changes none. */
#pragma unroll
		for (uint32_t j = 0; j < AHEAD; j++)
			ahead[j] = at + j < end ? residual(a, m.rows[at + j], i) : 0;
#pragma unroll
		for (uint32_t j = 0; j < AHEAD; j++)
			sum = __dadd_rn(sum, ahead[j]);
	}
	a.right[(first + blockIdx.x) * a.dim + i] = sum;
}

/* Blocks: chunks of rows x slabs of columns. */
static __global__ void
__launch_bounds__(THREADS) square_residuals(const stk_normal_call a)
{
	size_t first = (size_t) blockIdx.x * STK_MEMBERS_CHUNK;
	size_t end = min(first + STK_MEMBERS_CHUNK, a.n);
	size_t i = (size_t) blockIdx.y * THREADS + threadIdx.x;
	double sum = 0;

	if (i >= a.dim)
		return;
#pragma unroll 4
	for (size_t row = first; row < end; row++)
	{
		double e = residual(a, row, i);

		sum = __dadd_rn(sum, __dmul_rn(e, e));
	}
	a.chunks[blockIdx.x * a.dim + i] = sum;
}

/* A thread a column. */
static __global__ void
__launch_bounds__(THREADS) add_squares(const stk_normal_call a, size_t chunks)
{
	size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x;
	double sum = 0;

	if (i >= a.dim)
		return;
#pragma unroll 16
	for (size_t c = 0; c < chunks; c++)
		sum = __dadd_rn(sum, a.chunks[c * a.dim + i]);
	a.squares[i] = sum;
}

/* A thread a row. */
static __global__ void
__launch_bounds__(THREADS) count_pairs(const stk_normal_call a)
{
	size_t row = (size_t) blockIdx.x * THREADS + threadIdx.x;
	const uint16_t *codes = a.codes + row * a.levels;
	uint32_t total = a.first[a.levels];

	if (row >= a.n)
		return;
	for (int l = 0; l < a.levels; l++)
	{
		for (int m = l; m < a.levels; m++)
			atomicAdd(&a.pairs[(a.first[l] + codes[l]) * (size_t) total + a.first[m] + codes[m]],
					  1);
	}
}

stk_status
stk_normal_launch(const stk_normal_call *call, const stk_device_members *const *members,
				  cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "set up normal equations on the device";
	unsigned slabs = (unsigned) ((call->dim + THREADS - 1) / THREADS);
	size_t chunks = (call->n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
	size_t total = call->first[call->levels];
	stk_status status = stk_cuda_status(
		cudaMemsetAsync(call->pairs, 0, total * total * sizeof(uint32_t), stream), doing, err);

	for (int l = 0; l < call->levels && status == STK_OK; l++)
	{
		dim3 blocks(call->first[l + 1] - call->first[l], slabs);

		status = stk_members_group_launch(members[l], call->codes + l, (size_t) call->levels,
										  call->n, stream, err);
		if (status == STK_OK)
			add_residuals<<<blocks, THREADS, 0, stream>>>(*call, members[l]->view, call->first[l]);
	}
	if (status != STK_OK)
		return status;
	if (call->n > 0)
	{
		square_residuals<<<dim3((unsigned) chunks, slabs), THREADS, 0, stream>>>(*call);
		count_pairs<<<(unsigned) ((call->n + THREADS - 1) / THREADS), THREADS, 0, stream>>>(*call);
	}
	add_squares<<<slabs, THREADS, 0, stream>>>(*call, chunks);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}
