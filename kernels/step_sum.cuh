/*
 * A sum over all threads of a grid, in one order: blocks add their own, and the last of them to
 * arrive, known by an integer ticket, adds the blocks'.
 */
#ifndef STK_STEP_SUM_CUH
#define STK_STEP_SUM_CUH

#include "network_step.h"

/* Threads of a block that sums. */
#define STK_SUM_THREADS 256

/* The sum over a block of STK_SUM_THREADS threads; in thread 0. Not before all have left it. */
static __device__ inline double
sum_of_block(double mine)
{
	__shared__ double warps[STK_SUM_THREADS / 32];

	for (int step = 16; step > 0; step >>= 1)
		mine += __shfl_xor_sync(~0u, mine, step);
	if (threadIdx.x % 32 == 0)
		warps[threadIdx.x / 32] = mine;
	__syncthreads();
	mine = threadIdx.x < STK_SUM_THREADS / 32 ? warps[threadIdx.x] : 0;
	for (int step = STK_SUM_THREADS / 64; step > 0; step >>= 1)
		mine += __shfl_xor_sync(~0u, mine, step);
	return mine;
}

/* True in all threads of one block, the last; in its thread 0 *all is everybody's sum. */
static __device__ inline bool
sum_of_grid(double mine, const stk_step_sum &sum, double *all)
{
	__shared__ bool last;

	mine = sum_of_block(mine);
	if (threadIdx.x == 0)
	{
		sum.partial[blockIdx.x] = mine;
		__threadfence();
		last = atomicAdd(sum.arrived, 1) == gridDim.x - 1;
	}
	__syncthreads();
	if (!last)
		return false;
	__threadfence();
	mine = 0;
	for (unsigned b = threadIdx.x; b < gridDim.x; b += STK_SUM_THREADS)
		mine += __ldcg(&sum.partial[b]);
	*all = sum_of_block(mine);
	if (threadIdx.x == 0)
		*sum.arrived = 0;
	return true;
}

/* What this step notes of itself. */
static __device__ inline void
note_loss(const stk_step_view &run, int which, double loss)
{
	run.losses[(size_t) run.cursor->step * STK_LOSSES + which] = loss;
}

#endif
