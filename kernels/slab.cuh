/*
 * Reference dot products of a few rows with many rows of a matrix, as a thread computes them that
 * has all eight lanes of its sums in registers: the matrix comes through shared memory in slabs of
 * columns, one while another is multiplied.
 */
#ifndef STK_SLAB_CUH
#define STK_SLAB_CUH

#include "reference.cuh"

/* Whoever includes this says how many columns a slab has: SLAB, a multiple of eight. */
#define SLAB_STRIDE (SLAB + 4) /* four neighbours of eight threads are in different banks */

/* Four numbers, or one, from global to shared memory: on their way, on devices that can. */
static __device__ inline void
copy_ahead(float *to, const float *from, bool four)
{
#if __CUDA_ARCH__ >= 800
	uint32_t at = (uint32_t) __cvta_generic_to_shared(to);

	if (four)
		asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
	else
		asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(from) : "memory");
#else
	if (four)
		*(float4 *) to = *(const float4 *) from;
	else
		*to = *from;
#endif
}

static __device__ inline void
copies_end()
{
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* All but the last LEFT groups have arrived. */
template <int LEFT>
static __device__ inline void
copies_wait()
{
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}

/*
 * Begin to copy columns `column` .. of ROWS rows `first` .. of a matrix [size][dim]; by THREADS
 * threads.
 */
template <int ROWS, int THREADS>
static __device__ void
start_slab(const float *matrix, uint32_t size, size_t dim, uint32_t first, size_t column,
		   float *slab)
{
	uint32_t rows = min(size - first, (uint32_t) ROWS);
	uint32_t columns = (uint32_t) min(dim - column, (size_t) SLAB);

	if ((dim | (uintptr_t) matrix / sizeof(float)) % 4 == 0)
	{
		for (uint32_t i = threadIdx.x; i < rows * (SLAB / 4); i += THREADS)
		{
			uint32_t k = i / (SLAB / 4), c = i % (SLAB / 4) * 4;

			if (c < columns)
				copy_ahead(slab + k * SLAB_STRIDE + c, matrix + (first + k) * dim + column + c,
						   true);
		}
	}
	else
	{
		for (uint32_t i = threadIdx.x; i < rows * SLAB; i += THREADS)
		{
			uint32_t k = i / SLAB, c = i % SLAB;

			if (c < columns)
				copy_ahead(slab + k * SLAB_STRIDE + c, matrix + (first + k) * dim + column + c,
						   false);
		}
	}
	copies_end();
}

/* A thread's sums, all eight lanes of them. */
template <int ROWS> struct lanes
{
	double row[ROWS][STK_GROUP];
	double own[STK_GROUP]; /* of the matrix's row with itself */
};

static __device__ inline double
fold_lanes(const double *lane)
{
	return __dadd_rn(__dadd_rn(__dadd_rn(lane[0], lane[4]), __dadd_rn(lane[2], lane[6])),
					 __dadd_rn(__dadd_rn(lane[1], lane[5]), __dadd_rn(lane[3], lane[7])));
}

/* Multiply eight columns. */
template <int ROWS, bool OWN>
static __device__ inline void
multiply_eight(lanes<ROWS> &sum, const float *c, const double *residuals, size_t stride)
{
#pragma unroll
	for (int i = 0; i < STK_GROUP && OWN; i++)
		sum.own[i] = fma((double) c[i], (double) c[i], sum.own[i]);
#pragma unroll
	for (int r = 0; r < ROWS; r++)
	{
#pragma unroll
		for (int i = 0; i < STK_GROUP; i += 2)
		{
			double2 v = *(const double2 *) (residuals + r * stride + i);

			sum.row[r][i] = fma(v.x, (double) c[i], sum.row[r][i]);
			sum.row[r][i + 1] = fma(v.y, (double) c[i + 1], sum.row[r][i + 1]);
		}
	}
}

/* A slab's columns; those behind the last of them are +0 in the residuals and change no sum. */
template <int ROWS, bool OWN>
static __device__ inline void
multiply_slab(lanes<ROWS> &sum, const float *slab, const double *residuals, size_t stride,
			  uint32_t columns)
{
#pragma unroll 1
	for (uint32_t i = 0; i < columns; i += STK_GROUP)
	{
		float4 low = *(const float4 *) (slab + i);
		float4 high = *(const float4 *) (slab + i + 4);
		float c[STK_GROUP] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};

		if (columns - i < STK_GROUP)
		{
#pragma unroll
			for (uint32_t j = 1; j < STK_GROUP; j++)
				c[j] = i + j < columns ? c[j] : 0;
		}
		multiply_eight<ROWS, OWN>(sum, c, residuals + i, stride);
	}
}

#endif
