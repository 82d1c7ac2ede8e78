/*
 * Cosine: each row divided by its length, in binary64, rounded once to binary32.
 *
 * Bytes: each row is read once from memory, once more from the cache, and written: 8 n dim beside
 * the cache. Operations: n dim fma and divisions in binary64. Bound: divisions, about 60 % of
 * memory's rate on an H200; eight threads a row, so that a warp reads four rows' whole sectors.
 */
#include "reference.cuh"

#define THREADS 256

static __global__ void
__launch_bounds__(THREADS) normalize(const float *__restrict__ x, float *__restrict__ out, size_t n,
									 size_t dim, stk_encode_failure *failure)
{
	size_t row = ((size_t) blockIdx.x * THREADS + threadIdx.x) / STK_GROUP;
	size_t lane = threadIdx.x % STK_GROUP;
	const float *from = x + row * dim;
	double sum = 0;
	double norm;
	bool finite = true;

	if (row >= n)
		return;
	for (size_t i = lane; i < dim; i += STK_GROUP)
	{
		float v = from[i];

		finite &= isfinite(v) != 0;
		sum = fma((double) v, (double) v, sum);
	}
	norm = __dsqrt_rn(add_lanes(sum));
	finite = __all_sync(group_mask(), finite);
	if (lane == 0 && !finite)
		atomicMin(failure, stk_encode_failed(row, -1, STK_ENCODE_NOT_FINITE));
	else if (lane == 0 && norm == 0)
		atomicMin(failure, stk_encode_failed(row, -1, STK_ENCODE_ZERO));
	/* A row that failed becomes zeros: it must not fail again under another name. */
	for (size_t i = lane; i < dim; i += STK_GROUP)
		out[row * dim + i] =
			finite && norm != 0 ? __double2float_rn(__ddiv_rn((double) from[i], norm)) : 0;
}

stk_status
stk_normalize_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	size_t rows = THREADS / STK_GROUP;
	size_t blocks = (call->n + rows - 1) / rows;

	if (call->n == 0)
		return STK_OK;
	normalize<<<(unsigned) blocks, THREADS, 0, stream>>>(call->x, call->normalized, call->n,
														 (size_t) call->cb->dim, call->failure);
	return stk_cuda_status(cudaGetLastError(), "normalize rows on the device", err);
}
