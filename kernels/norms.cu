/*
 * Squared norms of rows, by the reference: eight threads a row, a lane each.
 *
 * Bytes: rows once, 4 n dim. Operations: n dim fma in binary64. Bound: memory.
 */
#include "kmeans.h"
#include "reference.cuh"

#define THREADS 256
/* Numbers that a thread has on their way. */
#define AHEAD 16

static __global__ void
__launch_bounds__(THREADS)
	norms_of(const float *__restrict__ x, size_t n, size_t dim, double *norms)
{
	size_t row = ((size_t) blockIdx.x * THREADS + threadIdx.x) / STK_GROUP;
	const float *from = x + row * dim;
	double sum = 0;

	if (row >= n)
		return;
	for (size_t i = threadIdx.x % STK_GROUP; i < dim; i += STK_GROUP * AHEAD)
	{
		float v[AHEAD];

#pragma unroll
		for (int j = 0; j < AHEAD; j++)
			v[j] = i + j * STK_GROUP < dim ? from[i + j * STK_GROUP] : 0;
			/* Zeros behind the end change nothing: a lane is never -0. */
#pragma unroll
		for (int j = 0; j < AHEAD; j++)
			sum = fma((double) v[j], (double) v[j], sum);
	}
	sum = add_lanes(sum);
	if (threadIdx.x % STK_GROUP == 0)
		norms[row] = sum;
}

stk_status
stk_norms_launch(const float *x, size_t n, size_t dim, double *norms, cudaStream_t stream,
				 stk_error *err)
{
	size_t rows = THREADS / STK_GROUP;

	if (n == 0)
		return STK_OK;
	norms_of<<<(unsigned) ((n + rows - 1) / rows), THREADS, 0, stream>>>(x, n, dim, norms);
	return stk_cuda_status(cudaGetLastError(), "measure rows on the device", err);
}
