/*
 * Step 3 of encode_filter.cu: the codeword that is alone, or the one that the reference chooses.
 */
#ifndef STK_FILTER_CHOOSE_CUH
#define STK_FILTER_CHOOSE_CUH

#include "filter_tile.cuh"

/* Step 3, first half: the rows of which one codeword is left get it; the others queue up. */
template <typename S>
static __device__ inline void
decide(const encode_args &a, int l, size_t tile_row, row_store<S> *store)
{
	for (int row = threadIdx.x; row < S::rows; row += S::threads)
	{
		float margin = store->margin[row];
		float best = store->best[0][row];
		float limit;
		int left = 0;
		uint32_t code = 0;
		bool proved = isfinite(margin);

		if (tile_row + row >= a.n)
			continue;
		for (int w = 1; w < S::columns; w++)
			best = fmaxf(best, store->best[w][row]);
		limit = __fsub_rn(best, margin);
		for (int w = 0; w < S::columns && proved; w++)
		{
			int count = store->count[w][row];

			/* A list that overflowed matters only where its best can win. */
			if (count > ROOM && !(store->best[w][row] < limit))
				proved = false;
			for (int i = 0; i < count && i < ROOM; i++)
			{
				if (!(store->candidates[w][row][i].score < limit))
				{
					left++;
					code = store->candidates[w][row][i].code;
				}
			}
		}
		if (proved && left == 1)
			a.codes[(tile_row + row) * a.nlevels + l] = (uint16_t) code;
		else
		{
			/* The sign tells the two kinds apart. */
			store->queue[atomicAdd(&store->queued, 1)] = proved ? row : ~row;
			if (proved)
				atomicAdd(&store->several, 1);
		}
		store->best[0][row] = limit;
	}
}

/*
 * The reference's score of codeword k for a row at a level; one group of threads, a lane each.
 * Loads go out IN_FLIGHT at a time; a lane's products are added in order.
 */
static __device__ inline double
reference_score(const encode_args &a, const stk_device_level &level, int l, const float *row,
				const uint16_t *codes, uint32_t k)
{
	const float *c = level.codewords + (size_t) k * a.dim;
	double sum = 0;

	for (int i = threadIdx.x % STK_GROUP; i < a.dim; i += STK_GROUP * IN_FLIGHT)
	{
		float r[IN_FLIGHT], v[IN_FLIGHT];

#pragma unroll
		for (int j = 0; j < IN_FLIGHT; j++)
		{
			bool inside = i + j * STK_GROUP < a.dim;

			r[j] = inside ? row[i + j * STK_GROUP] : 0;
			v[j] = inside ? c[i + j * STK_GROUP] : 0;
		}
		for (int t = 0; t < l; t++)
		{
			const float *taken = a.levels[t].codewords + (size_t) codes[t] * a.dim;

#pragma unroll
			for (int j = 0; j < IN_FLIGHT; j++)
			{
				if (i + j * STK_GROUP < a.dim)
					r[j] = __fsub_rn(r[j], taken[i + j * STK_GROUP]);
			}
		}
		/* Zeros behind the end change nothing: a lane is never -0. */
#pragma unroll
		for (int j = 0; j < IN_FLIGHT; j++)
			sum = fma((double) r[j], (double) v[j], sum);
	}
	return __dsub_rn(level.half[k], add_lanes(sum));
}

/* Step 3, second half: the reference chooses for one queued row; a whole warp. */
template <typename S>
static __device__ inline void
choose(const encode_args &a, const stk_device_level &level, int l, size_t tile_row, int queued,
	   const row_store<S> *store)
{
	int row = queued < 0 ? ~queued : queued;
	const float *x = a.x + (tile_row + row) * a.dim;
	uint16_t *codes = a.codes + (tile_row + row) * a.nlevels;
	uint32_t group = (threadIdx.x & 31) / STK_GROUP;
	double best = INFINITY;
	uint32_t best_k = 0;

	if (queued < 0)
	{
		for (uint32_t k = group; k < level.size; k += 32 / STK_GROUP)
		{
			double s = reference_score(a, level, l, x, codes, k);

			if (wins(s, k, best, best_k))
			{
				best = s;
				best_k = k;
			}
		}
	}
	else
	{
		float limit = store->best[0][row];
		uint32_t turn = 0;

		for (int w = 0; w < S::columns; w++)
		{
			int count = store->count[w][row] < ROOM ? store->count[w][row] : ROOM;

			for (int i = 0; i < count; i++)
			{
				candidate c = store->candidates[w][row][i];

				if (c.score < limit || turn++ % (32 / STK_GROUP) != group)
					continue;
				double s = reference_score(a, level, l, x, codes, c.code);

				if (wins(s, c.code, best, best_k))
				{
					best = s;
					best_k = c.code;
				}
			}
		}
	}
	__syncwarp();
	best_of_warp(&best, &best_k);
	if ((threadIdx.x & 31) == 0)
		codes[l] = (uint16_t) best_k;
}

#endif
