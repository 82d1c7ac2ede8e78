/*
 * What codewords leave of rows, in place: a warp a row.
 *
 * Bytes: rows read and written, 8 n dim, and codewords from the cache. Operations: n dim
 * subtractions. Bound: memory.
 */
#include "kmeans.h"

#define THREADS 256
#define WARPS (THREADS / 32)

static __device__ inline float
less(float a, float b)
{
	return __fsub_rn(a, b);
}

static __device__ inline float4
less(float4 a, float4 b)
{
	return make_float4(less(a.x, b.x), less(a.y, b.y), less(a.z, b.z), less(a.w, b.w));
}

/* Rows of `length` numbers of type T. */
template <typename T>
static __global__ void
__launch_bounds__(THREADS) subtract(T *x, size_t n, size_t length, const T *__restrict__ codewords,
									const uint16_t *__restrict__ codes)
{
	size_t row = (size_t) blockIdx.x * WARPS + threadIdx.x / 32;
	const T *c;

	if (row >= n)
		return;
	c = codewords + codes[row] * length;
	x += row * length;
#pragma unroll 4
	for (size_t i = threadIdx.x % 32; i < length; i += 32)
		x[i] = less(x[i], c[i]);
}

stk_status
stk_subtract_launch(float *x, size_t n, size_t dim, const float *codewords, const uint16_t *codes,
					cudaStream_t stream, stk_error *err)
{
	unsigned blocks = (unsigned) ((n + WARPS - 1) / WARPS);

	if (n == 0)
		return STK_OK;
	if (dim % 4 == 0)
		subtract<<<blocks, THREADS, 0, stream>>>((float4 *) x, n, dim / 4,
												 (const float4 *) codewords, codes);
	else
		subtract<<<blocks, THREADS, 0, stream>>>(x, n, dim, codewords, codes);
	return stk_cuda_status(cudaGetLastError(), "subtract codewords on the device", err);
}
