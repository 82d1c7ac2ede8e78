/*
 * What the updates of a codebook share: a new codeword, of norm 1 where the codebook is so.
 */
#ifndef STK_MEAN_CUH
#define STK_MEAN_CUH

#include "reference.cuh"

/*
 * What stk_kmeans_normalise makes of a codeword: *norm is what its numbers are to be divided by, 0
 * when it has no direction. By a whole block; mean [dim] holds binary32 numbers, each written by
 * the thread that members.cuh gives its column to.
 */
static __device__ inline double
norm_of(const double *mean, size_t dim)
{
	__shared__ double norm;

	__syncthreads();
	if (threadIdx.x < STK_GROUP)
	{
		double lane = 0;

		for (size_t i = threadIdx.x; i < dim; i += STK_GROUP)
			lane = fma(mean[i], mean[i], lane);
		lane = __dsqrt_rn(add_lanes(lane));
		if (threadIdx.x == 0)
			norm = lane;
	}
	__syncthreads();
	return norm;
}

#endif
