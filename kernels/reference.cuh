/*
 * The reference's arithmetic in device code: scores in binary64 by eight lanes, residuals in
 * binary32 rounded step by step. A product of two binary32 numbers is exact in binary64, so one
 * fma a product gives the bits of the processor's multiplication and addition.
 */
#ifndef STK_REFERENCE_CUH
#define STK_REFERENCE_CUH

#include "encode.h"

/* Threads that share a dot product, one a lane; eight neighbours in a warp. */
#define STK_GROUP 8

/* The mask of this thread's group in its warp. */
static __device__ inline unsigned
group_mask()
{
	return 0xffu << (threadIdx.x & 24);
}

/* The sum of the lanes, ((0+4)+(2+6))+((1+5)+(3+7)), in each of the group's threads. */
static __device__ inline double
add_lanes(double lane)
{
	unsigned mask = group_mask();

	lane = __dadd_rn(lane, __shfl_xor_sync(mask, lane, 4));
	lane = __dadd_rn(lane, __shfl_xor_sync(mask, lane, 2));
	return __dadd_rn(lane, __shfl_xor_sync(mask, lane, 1));
}

/* Is (s, k) to be preferred? Scores compare as numbers: -0 = +0. */
static __device__ inline bool
wins(double s, uint32_t k, double best, uint32_t best_k)
{
	return s < best || (s == best && k < best_k);
}

/* The best of what the warp's groups have, in each of its threads; the warp is whole. */
static __device__ inline void
best_of_warp(double *s, uint32_t *k)
{
	for (int step = STK_GROUP; step < 32; step <<= 1)
	{
		double other = __shfl_xor_sync(~0u, *s, step);
		uint32_t other_k = __shfl_xor_sync(~0u, *k, step);

		if (wins(other, other_k, *s, *k))
		{
			*s = other;
			*k = other_k;
		}
	}
}

#endif
