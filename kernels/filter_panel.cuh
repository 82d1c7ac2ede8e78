/*
 * Step 2 of encode_filter.cu: panels of codewords, scores, and the candidates that they leave.
 */
#ifndef STK_FILTER_PANEL_CUH
#define STK_FILTER_PANEL_CUH

#include "filter_tile.cuh"
#include "mma.cuh"

/*
 * Start to copy chunk `chunk` of the block's panel `panel`, of S::codes codewords: a packed panel
 * or a part of one. They lie as they are to lie in shared memory.
 */
template <typename S>
static __device__ inline void
copy_stage(const uint16_t *packed, int chunks, int panel, int chunk, uint32_t stage)
{
	constexpr int parts = STK_PANEL / S::codes;
	const uint16_t *from = packed + ((size_t) (panel / parts * chunks + chunk) * STK_PANEL +
									 panel % parts * S::codes) *
										STK_CHUNK;

	static_assert(S::codes * 8 % S::threads == 0, "threads copy 16 bytes at a time");
#pragma unroll
	for (int i = 0; i < S::codes * 8; i += S::threads)
		copy_unit(stage + (i + threadIdx.x) * 16, from + (i + threadIdx.x) * 8);
}

/*
 * Multiply a chunk of the tile's rows with a chunk of a panel. Both begin at multiples of 128
 * bytes: the units of the next 16 elements are those of the first with two bits flipped.
 */
template <typename S>
static __device__ inline void
multiply_chunk(float (&sums)[S::mtiles][S::ntiles][4], uint32_t rows, uint32_t codes)
{
	uint32_t lane = threadIdx.x & 31;
	uint32_t a = rows + swizzled(lane & 15, lane >> 4);
	uint32_t b = codes + swizzled((lane & 7) | (lane >> 1 & 8), lane >> 3 & 1);

#pragma unroll
	for (int k = 0; k < STK_CHUNK / 16; k++)
	{
		uint32_t fragments[S::mtiles][4];

#pragma unroll
		for (int m = 0; m < S::mtiles; m++)
			load_matrices(fragments[m], (a ^ k << 5) + 16 * m * 128);
#pragma unroll
		for (int t = 0; t < S::ntiles; t += 2)
		{
			uint32_t both[4];

			load_matrices(both, (b ^ k << 5) + 8 * t * 128);
#pragma unroll
			for (int m = 0; m < S::mtiles; m++)
			{
				multiply_add(sums[m][t], fragments[m], both[0], both[1]);
				multiply_add(sums[m][t + 1], fragments[m], both[2], both[3]);
			}
		}
	}
}

/* Drop the candidates that a better one has ruled out since; one thread a list. */
static __device__ inline void
prune(candidate *list, int *count, float limit)
{
	int kept = 0;

	for (int i = 0; i < *count; i++)
	{
		if (!(list[i].score < limit))
			list[kept++] = list[i];
	}
	*count = kept;
}

/* v[e] of what stays in registers: by halves. */
template <int N>
static __device__ inline float
pick(const float (&v)[N], int e)
{
	if constexpr (N == 1)
		return v[0];
	else
	{
		float half[N / 2];

#pragma unroll
		for (int i = 0; i < N / 2; i++)
			half[i] = e & N / 2 ? v[i + N / 2] : v[i];
		return pick(half, e);
	}
}

/*
 * Step 2 for one panel: from sums to candidates. A warp looks at its own rows and codewords only,
 * and at lists that are its own.
 *
 *   first  number of the warp's first codeword
 *   best   of this thread's rows so far, the warp's; the four threads of a row agree
 */
template <typename S>
static __device__ inline void
take_panel(float (&sums)[S::mtiles][S::ntiles][4], const float *offsets, uint32_t first,
		   const float (&margin)[2 * S::mtiles], float (&best)[2 * S::mtiles], int warp_row,
		   candidate (*lists)[ROOM], int *counts)
{
	int lane = threadIdx.x & 31;
	float largest[2 * S::mtiles];
	bool crowded = false;

#pragma unroll
	for (int r = 0; r < 2 * S::mtiles; r++)
		largest[r] = -INFINITY;
#pragma unroll
	for (int t = 0; t < S::ntiles; t++)
	{
		float2 o = __ldg((const float2 *) (offsets + first + 8 * t + 2 * (lane & 3)));

#pragma unroll
		for (int m = 0; m < S::mtiles; m++)
		{
#pragma unroll
			for (int h = 0; h < 2; h++)
			{
				float *v = &sums[m][t][2 * h];

				v[0] = __fadd_rn(v[0], o.x);
				v[1] = __fadd_rn(v[1], o.y);
				largest[2 * m + h] = fmaxf(largest[2 * m + h], fmaxf(v[0], v[1]));
			}
		}
	}
#pragma unroll
	for (int m = 0; m < S::mtiles; m++)
	{
#pragma unroll
		for (int h = 0; h < 2; h++)
		{
			const int r = 2 * m + h;
			int row = warp_row + 16 * m + 8 * h + (lane >> 2);
			float mine = largest[r];
			float limit;
			uint32_t misses = ~0u;

			largest[r] = fmaxf(largest[r], __shfl_xor_sync(~0u, largest[r], 1));
			largest[r] = fmaxf(largest[r], __shfl_xor_sync(~0u, largest[r], 2));
			best[r] = fmaxf(best[r], largest[r]);
			/* One rounding: no score that reaches the difference falls below it rounded. */
			limit = __fsub_rn(best[r], margin[r]);
			/* Panels may have nothing but what stands behind the last codeword. */
			if (!isfinite(margin[r]) || mine < limit || mine == -INFINITY)
				continue;
				/* A difference's sign, in the end one bit an element; the last comes lowest. */
#pragma unroll
			for (int e = 0; e < 2 * S::ntiles; e++)
				misses = __funnelshift_l(
					__float_as_uint(__fsub_rn(sums[m][e / 2][2 * h + e % 2], limit)), misses, 1);
			/* Few have a hit: look for them one by one, and leave the sums in registers. */
			for (uint32_t hits = ~misses << (32 - 2 * S::ntiles); hits;)
			{
				int e = __clz(hits);
				int at = atomicAdd(&counts[row], 1);
				float row_sums[2 * S::ntiles];

#pragma unroll
				for (int i = 0; i < 2 * S::ntiles; i++)
					row_sums[i] = sums[m][i / 2][2 * h + i % 2];
				if (at < ROOM)
					lists[row][at] = {first + 8 * (e / 2) + 2 * (lane & 3) + (e & 1),
									  pick(row_sums, e)};
				crowded |= at >= ROOM / 2;
				hits &= ~(0x80000000u >> e);
			}
		}
	}
	if (!__any_sync(~0u, crowded))
		return;
	__syncwarp();
	if ((lane & 3) == 0)
	{
#pragma unroll
		for (int r = 0; r < 2 * S::mtiles; r++)
		{
			int row = warp_row + 8 * r + (lane >> 2);

			/* Where some were dropped the row stays the reference's. */
			if (counts[row] > ROOM / 2 && counts[row] <= ROOM)
				prune(lists[row], &counts[row], __fsub_rn(best[r], margin[r]));
		}
	}
	__syncwarp();
}

#endif
