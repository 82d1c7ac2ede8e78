/*
 * What codewords leave of rows, in place: a warp a row.
 *
 * Bytes: rows read and written, 8 n dim, and codewords from the cache. Operations: n dim
 * subtractions. Bound: memory.
 */
#include "kmeans.h"

#define THREADS 256
#define WARPS (THREADS / 32)

/* *finite becomes false where the difference is not. */
static __device__ inline float
less(float a, float b, bool *finite)
{
	float d = __fsub_rn(a, b);

	if (isfinite(d))
		return d;
	*finite = false;
	return 0;
}

static __device__ inline float4
less(float4 a, float4 b, bool *finite)
{
	return make_float4(less(a.x, b.x, finite), less(a.y, b.y, finite), less(a.z, b.z, finite),
					   less(a.w, b.w, finite));
}

/* Rows of `length` numbers of type T. */
template <typename T>
static __global__ void
__launch_bounds__(THREADS) subtract(T *x, size_t n, size_t length, const T *__restrict__ codewords,
									const uint16_t *__restrict__ codes, uint32_t *bad)
{
	size_t row = (size_t) blockIdx.x * WARPS + threadIdx.x / 32;
	const T *c;
	bool finite = true;

	if (row >= n)
		return;
	c = codewords + codes[row] * length;
	x += row * length;
#pragma unroll 4
	for (size_t i = threadIdx.x % 32; i < length; i += 32)
		x[i] = less(x[i], c[i], &finite);
	if (!finite && bad)
		*bad = 1;
}

stk_status
stk_subtract_launch(float *x, size_t n, size_t dim, const float *codewords, const uint16_t *codes,
					uint32_t *bad, cudaStream_t stream, stk_error *err)
{
	unsigned blocks = (unsigned) ((n + WARPS - 1) / WARPS);

	if (n == 0)
		return STK_OK;
	if (dim % 4 == 0)
		subtract<<<blocks, THREADS, 0, stream>>>((float4 *) x, n, dim / 4,
												 (const float4 *) codewords, codes, bad);
	else
		subtract<<<blocks, THREADS, 0, stream>>>(x, n, dim, codewords, codes, bad);
	return stk_cuda_status(cudaGetLastError(), "subtract codewords on the device", err);
}
