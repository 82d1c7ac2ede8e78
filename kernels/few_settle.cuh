/*
 * Step 3 of encode_few.cu: the codeword that is alone, or the one that the reference chooses.
 */
#ifndef STK_FEW_SETTLE_CUH
#define STK_FEW_SETTLE_CUH

#include "few_tile.cuh"

/*
 * Add the products of N of a lane's elements from i on. Nothing is asked of an element, so that all
 * loads go out before the first arrives.
 */
template <int N>
static __device__ inline double
add_products(double sum, const float *r, const float *c, int i)
{
	float v[N];

#pragma unroll
	for (int j = 0; j < N; j++)
		v[j] = __ldg(c + i + j * STK_GROUP);
#pragma unroll
	for (int j = 0; j < N; j++)
		sum = fma((double) r[i + j * STK_GROUP], (double) v[j], sum);
	return sum;
}

/*
 * The reference's score of codeword k for a residual in shared memory; one group of threads, a lane
 * each. A lane's products are added in order.
 */
static __device__ inline double
score_near(const stk_device_level &level, const float *r, uint32_t k, int dim)
{
	const float *c = level.codewords + (size_t) k * dim;
	double half = level.half[k];
	double sum = 0;
	int i = threadIdx.x % STK_GROUP;

#pragma unroll 1
	for (; i + 15 * STK_GROUP < dim; i += 16 * STK_GROUP)
		sum = add_products<16>(sum, r, c, i);
#pragma unroll 1
	for (; i + 7 * STK_GROUP < dim; i += 8 * STK_GROUP)
		sum = add_products<8>(sum, r, c, i);
#pragma unroll 1
	for (; i + 3 * STK_GROUP < dim; i += 4 * STK_GROUP)
		sum = add_products<4>(sum, r, c, i);
#pragma unroll 1
	for (; i < dim; i += STK_GROUP)
		sum = add_products<1>(sum, r, c, i);
	return __dsub_rn(half, add_lanes(sum));
}

/* Write down the code of a row; tell it to the cluster where another level follows. One lane. */
template <int ROWS>
static __device__ inline void
settle(const few_args &a, int l, size_t tile_row, int row, uint32_t code, uint32_t parts,
	   few_store<ROWS> *store)
{
	a.codes[(tile_row + row) * a.nlevels + l] = (uint16_t) code;
	if (l + 1 < a.nlevels)
	{
#pragma unroll 1
		for (uint32_t p = 0; p < parts; p++)
			store_there(address_in(shared_address(&store->code[row]), p), code);
	}
}

/* Step 3 for owned row number j; a whole warp. Rows of which nothing is proved queue up. */
template <int ROWS>
static __device__ inline void
settle_row(const few_args &a, const stk_device_level &level, int l, size_t tile_row, int j,
		   uint32_t rank, uint32_t parts, const float *residuals, few_store<ROWS> *store)
{
	int lane = threadIdx.x & 31;
	int row = (int) (j * parts + rank);
	uint32_t *choice = store->choice[threadIdx.x >> 5];
	float margin = store->margin[row];
	int slot = (int) (j * parts) + lane;
	bool part = lane < (int) parts;
	int count = part ? store->part_count[slot] : 0;
	float mine = part ? store->part_best[slot] : -INFINITY;
	float best = mine;
	float limit;
	int most, left = 0;
	uint32_t group = lane / STK_GROUP;
	double least = INFINITY;
	uint32_t winner = 0;

#pragma unroll
	for (int step = MOST_PARTS / 2; step > 0; step >>= 1)
		best = fmaxf(best, __shfl_xor_sync(~0u, best, step));
	best = __shfl_sync(~0u, best, 0);
	limit = __fsub_rn(best, margin);
	/* A list that overflowed matters only where its best can win. */
	if (__any_sync(~0u, !isfinite(margin) || (count > KEPT && !(mine < limit))))
	{
		if (lane == 0)
			store->queue[atomicAdd(&store->queued, 1)] = row;
		return;
	}
	most = min((int) __reduce_max_sync(~0u, (unsigned) count), KEPT);
#pragma unroll 1
	for (int i = 0; i < most; i++)
	{
		bool hit = i < count && !(store->kept[slot][i].score < limit);
		unsigned hits = __ballot_sync(~0u, hit);

		if (hit)
			choice[left + __popc(hits & ((1u << lane) - 1))] = store->kept[slot][i].code;
		left += __popc(hits);
	}
	__syncwarp();
	if (left == 1)
		winner = choice[0];
	else
	{
#pragma unroll 1
		for (int i = (int) group; i < left; i += 32 / STK_GROUP)
		{
			double s = score_near(level, residuals + row * a.wide_dim, choice[i], a.dim);

			if (wins(s, choice[i], least, winner))
			{
				least = s;
				winner = choice[i];
			}
		}
		__syncwarp();
		best_of_warp(&least, &winner);
		if (lane == 0 && a.stats)
			atomicAdd(&a.stats->undecided, 1);
	}
	if (lane == 0)
		settle(a, l, tile_row, row, winner, parts, store);
	__syncwarp();
}

/* Step 3 for a row of which nothing is proved: all codewords by the reference, the whole block. */
template <int ROWS>
static __device__ __noinline__ void
settle_by_reference(const few_args &a, const stk_device_level &level, int l, size_t tile_row,
					int row, uint32_t parts, const float *residuals, few_store<ROWS> *store)
{
	double least = INFINITY;
	uint32_t winner = 0;

#pragma unroll 1
	for (uint32_t k = threadIdx.x / STK_GROUP; k < level.size; k += THREADS / STK_GROUP)
	{
		double s = score_near(level, residuals + row * a.wide_dim, k, a.dim);

		if (wins(s, k, least, winner))
		{
			least = s;
			winner = k;
		}
	}
	__syncwarp();
	best_of_warp(&least, &winner);
	if ((threadIdx.x & 31) == 0)
	{
		store->scores[threadIdx.x >> 5] = least;
		store->winners[threadIdx.x >> 5] = winner;
	}
	__syncthreads();
	if (threadIdx.x == 0)
	{
#pragma unroll 1
		for (int w = 1; w < WARPS; w++)
		{
			if (wins(store->scores[w], store->winners[w], least, winner))
			{
				least = store->scores[w];
				winner = store->winners[w];
			}
		}
		settle(a, l, tile_row, row, winner, parts, store);
		if (a.stats)
			atomicAdd(&a.stats->reference, 1);
	}
	__syncthreads();
}

#endif
