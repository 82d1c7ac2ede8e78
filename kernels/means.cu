/*
 * The updates of k-means: each centroid moves to the mean of its rows, or of them and what came
 * before. The blocks that move them pack them, too, where that is wanted.
 *
 * Bytes: rows once, 4 n dim; of each code with rows its centroid, 8 dim, and 2 dim packed. Operations:
 * n dim additions in binary64. Bound: memory.
 */
/*
 * Four blocks an SM rather than three: the table's 512 centroids are one wave then. Fewer rows ahead
 * leave registers for packing.
 */
#define STK_LANE_AHEAD 4
#define STK_SUM_BLOCKS 4

#include "mean.cuh"
#include "members.cuh"
#include "pack_codes.cuh"
#include "update.h"

struct means_finish
{
	stk_means_call call;
	pack_args pack; /* where call.pack */
	size_t dim;
	double count_before; /* of the code that `ahead` was about */

	__device__ void
	ahead(uint32_t k)
	{
		count_before = call.persistent ? call.counts[k] : 0;
		fetch_ahead(call.centroids + k * dim, dim);
	}

	__device__ void
	sum(uint32_t k, uint32_t rows, double *sum) const
	{
		double count = count_before;
		double all = __dadd_rn(count, rows);
		float *c = call.centroids + k * dim;
		double norm = 1;
		bool changed = false;

		if (call.over && *call.over)
			return;
		for (size_t i = threadIdx.x; i < dim; i += blockDim.x)
			sum[i] = __double2float_rn(__ddiv_rn(__dadd_rn(__dmul_rn(count, c[i]), sum[i]), all));
		if (call.unit)
			norm = norm_of(sum, dim);
		/* Rows that cancel out have no direction: the centroid keeps its own. */
		for (size_t i = threadIdx.x; i < dim && norm != 0; i += blockDim.x)
		{
			float mean = __double2float_rn(call.unit ? __ddiv_rn(sum[i], norm) : sum[i]);

			changed |= __float_as_uint(mean) != __float_as_uint(c[i]);
			c[i] = mean;
		}
		/* Also: all have read the count before it is written. */
		changed = __syncthreads_or(changed);
		if (threadIdx.x == 0)
		{
			call.counts[k] = all;
			if (changed && call.moved)
				call.moved[k] = 1;
			if (changed && call.changed)
				atomicAdd(call.changed, 1);
		}
		if (!call.pack)
			return;
		if (changed)
			pack_code(pack, k);
		pack_done(pack, pack.level.size);
	}

	__device__ void
	none(uint32_t k) const
	{
		if (threadIdx.x == 0 && !call.persistent)
			call.counts[k] = 0;
		/* Of a run that is over nobody is counted. */
		if (call.pack && !(call.over && *call.over))
			pack_done(pack, pack.level.size);
	}
};

stk_status
stk_means_launch(const stk_means_call *call, cudaStream_t stream, stk_error *err)
{
	means_finish finish = {*call, {}, call->members->dim, 0};

	if (call->pack)
		finish.pack = pack_args_of(call->pack);

	return sum_members_launch(call->members, call->x, call->n, finish, stream, err);
}
