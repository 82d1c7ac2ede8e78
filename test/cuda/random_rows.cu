#include "random_rows.h"
#include "philox.cuh"

#define THREADS 256
#define MOST_BLOCKS 4096

static __global__ void
__launch_bounds__(THREADS) fill_rows(float *x, size_t values, uint64_t seed, uint64_t first)
{
	size_t step = (size_t) gridDim.x * THREADS;

	for (size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x; i < values; i += step)
	{
		uint64_t bits = random_bits(seed, STK_RANDOM_INIT, 0, 0, first + i);
		int sum = (int) (bits & 0xffff) + (int) (bits >> 16 & 0xffff) +
				  (int) (bits >> 32 & 0xffff) + (int) (bits >> 48);

		x[i] = (float) (sum - 131072) * 0x1p-17f;
	}
}

static __global__ void
__launch_bounds__(THREADS)
	compare_codes(const uint16_t *a, const uint16_t *b, size_t n, unsigned long long *different)
{
	size_t step = (size_t) gridDim.x * THREADS;
	unsigned long long mine = 0;

	for (size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x; i < n; i += step)
		mine += a[i] != b[i];
	if (mine > 0)
		atomicAdd(different, mine);
}

static unsigned
blocks_for(size_t n)
{
	size_t blocks = (n + THREADS - 1) / THREADS;

	return (unsigned) (blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS);
}

cudaError_t
random_rows(float *x, size_t values, uint64_t seed, uint64_t first)
{
	if (values > 0)
		fill_rows<<<blocks_for(values), THREADS>>>(x, values, seed, first);
	return cudaGetLastError();
}

cudaError_t
count_differences(const uint16_t *a, const uint16_t *b, size_t n, unsigned long long *different)
{
	if (n > 0)
		compare_codes<<<blocks_for(n), THREADS>>>(a, b, n, different);
	return cudaGetLastError();
}
