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
