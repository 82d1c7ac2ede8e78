/*
 * Step 2 of encode_few.cu: codewords through shared memory, scores, and the candidates that they
 * leave.
 */
#ifndef STK_FEW_TURN_CUH
#define STK_FEW_TURN_CUH

#include "few_tile.cuh"

/* A part's codewords of a level, and the turns that a block takes over them. */
typedef struct few_part
{
	uint32_t begin, end; /* multiples of 8 NTILES */
	int turns;           /* the same in each part, at least 1 */
} few_part;

/*
 * Parts are a power of two codewords, or whole turns: a turn's codewords lie in one panel. Where
 * there are too few, the last parts have none.
 */
template <int ROWS>
static __host__ __device__ inline few_part
part_of(uint32_t size, uint32_t rank, uint32_t parts_log)
{
	constexpr uint32_t turn = turn_codes<ROWS>();
	uint32_t all = (size + 8 * NTILES - 1) / (8 * NTILES) * (8 * NTILES);
	uint32_t share = ((size - 1) >> parts_log) + 1;
	uint32_t width = 8 * NTILES;
	few_part p;

	while (width < share && width < turn)
		width *= 2;
	share = (share + width - 1) & ~(width - 1);
	p.begin = share * rank < all ? share * rank : all;
	p.end = p.begin + share < all ? p.begin + share : all;
	p.turns = (int) ((share + turn - 1) / turn);
	return p;
}

/* What comes next through the stages: chunk after chunk, turn after turn, level after level. */
typedef struct few_cursor
{
	int level, turn, chunk;
	int stage;
} few_cursor;

/* Start to bring what the cursor names, if anything is left, and move on; one thread. */
template <int ROWS>
static __device__ inline void
start_stage(const few_args &a, few_cursor *at, const few_memory<ROWS> &m)
{
	constexpr uint32_t turn = turn_codes<ROWS>();
	int chunks = a.wide_dim / STK_CHUNK;
	uint32_t barrier = shared_address(&m.store->stage_there[at->stage]);

	if (at->level == a.nlevels)
		return;
	const stk_device_level &level =
		at->level < NEAR_LEVELS ? a.near[at->level] : a.levels[at->level];
	few_part p = part_of<ROWS>(level.size, cluster_rank(), a.parts_log);
	uint32_t first = p.begin + at->turn * turn;
	uint32_t bytes = first < p.end ? min(p.end - first, turn) * (STK_CHUNK * 2) : 0;

	barrier_expect(barrier, bytes);
	if (bytes)
		bulk_copy(shared_address(m.stages) + at->stage * a.stage_bytes,
				  level.packed + ((size_t) (first / STK_PANEL * chunks + at->chunk) * STK_PANEL +
								  first % STK_PANEL) *
									 STK_CHUNK,
				  bytes, barrier);
	if (++at->stage == a.stages)
		at->stage = 0;
	if (++at->chunk == chunks)
	{
		at->chunk = 0;
		if (++at->turn == p.turns)
		{
			at->turn = 0;
			at->level++;
		}
	}
}

/* Products of a chunk of a warp's 16 rows with a chunk of its codewords; see filter_panel.cuh. */
static __device__ inline void
multiply_stage(float (&sums)[NTILES][4], uint32_t rows, uint32_t codes)
{
	uint32_t lane = threadIdx.x & 31;
	uint32_t a = rows + swizzled(lane & 15, lane >> 4);
	uint32_t b = codes + swizzled((lane & 7) | (lane >> 1 & 8), lane >> 3 & 1);

	static_assert(NTILES == 2, "one load brings both tiles");
#pragma unroll
	for (int k = 0; k < STK_CHUNK / 16; k++)
	{
		uint32_t fragment[4], both[4];

		load_matrices(fragment, a ^ k << 5);
		load_matrices(both, b ^ k << 5);
		multiply_add(sums[0], fragment, both[0], both[1]);
		multiply_add(sums[1], fragment, both[2], both[3]);
	}
}

/*
 * From a turn's sums to candidates: each goes to the block that owns its row.
 *
 *   first  number of the warp's first codeword, `any`: it has some
 *   best   of both of this thread's rows so far, the block's
 */
template <int ROWS>
static __device__ inline void
take_turn(float (&sums)[NTILES][4], bool any, const float2 (&offsets)[NTILES], uint32_t first,
		  int turn, float (&best)[2], uint32_t rank, uint32_t parts_log, few_store<ROWS> *store)
{
	constexpr int groups = WARPS / (ROWS / 16); /* warps that share rows */
	int lane = threadIdx.x & 31;
	int row_group = (threadIdx.x >> 5) / groups;
	float(*warp_best)[16] = store->warp_best[turn & 1];

#pragma unroll
	for (int r = 0; r < 2; r++)
	{
		float largest = -INFINITY;

#pragma unroll
		for (int t = 0; t < NTILES && any; t++)
		{
			float *v = &sums[t][2 * r];

			v[0] = __fadd_rn(v[0], offsets[t].x);
			v[1] = __fadd_rn(v[1], offsets[t].y);
			largest = fmaxf(largest, fmaxf(v[0], v[1]));
		}
		largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
		largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
		if (lane % 4 == 0)
			warp_best[threadIdx.x >> 5][8 * r + lane / 4] = largest;
	}
	__syncthreads();
#pragma unroll
	for (int r = 0; r < 2; r++)
	{
		int row = 16 * row_group + 8 * r + lane / 4;
		float margin = store->margin[row];
		float limit;

		/* Each of a row's four threads looks at some warps. */
#pragma unroll
		for (int w = 0; w < groups; w += 4)
			best[r] =
				fmaxf(best[r], warp_best[row_group * groups + w + lane % 4][8 * r + lane / 4]);
		best[r] = fmaxf(best[r], __shfl_xor_sync(~0u, best[r], 1));
		best[r] = fmaxf(best[r], __shfl_xor_sync(~0u, best[r], 2));
		/* One rounding: no score that reaches the difference falls below it rounded. */
		limit = __fsub_rn(best[r], margin);
		if (!any || !isfinite(margin))
			continue;
#pragma unroll
		for (int e = 0; e < 2 * NTILES; e++)
		{
			float v = sums[e / 2][2 * r + e % 2];

			if (!(v < limit) && v != -INFINITY)
			{
				int at = atomicAdd(&store->count[row], 1);
				uint32_t place = (uint32_t) row >> parts_log << parts_log | rank;
				candidate *slot = &store->kept[place][at < KEPT ? at : 0];

				if (at < KEPT)
					store_there(address_in(shared_address(slot), row & ((1u << parts_log) - 1)),
								first + 8 * (e / 2) + 2 * (lane % 4) + e % 2, __float_as_uint(v));
			}
		}
	}
}

#endif
