/*
 * Step 2 of encode_hopper.cu: from sums to the codewords within the margin of the best.
 *
 * A thread has 32 codewords of a panel for each of its two rows. Two passes over the sums: their
 * maximum, then one bit a codeword for what is not below the maximum of the row so far by more than
 * the margin. A later panel, or another of the row's threads, may raise the maximum, so bits are a
 * superset; the bits among which the best is were made with the final maximum, so that a row of
 * which one bit is left in all is proved.
 */
#ifndef STK_HOPPER_SCORES_CUH
#define STK_HOPPER_SCORES_CUH

#include "hopper_tile.cuh"

template <int RECORDS>
static __device__ __forceinline__ void
forget_hits(row_hits<RECORDS> *hits)
{
#pragma unroll
	for (int r = 0; r < RECORDS; r++)
	{
		hits->mask[r] = 0;
		hits->most[r] = -INFINITY;
		hits->panel[r] = 0;
	}
	hits->dropped = -INFINITY;
}

/* Keep a panel's hits, the last panels' where there are more. */
template <int RECORDS>
static __device__ __forceinline__ void
keep_hits(row_hits<RECORDS> *hits, uint32_t mask, float most, uint32_t panel)
{
	hits->dropped = fmaxf(hits->dropped, hits->most[RECORDS - 1]);
#pragma unroll
	for (int r = RECORDS - 1; r > 0; r--)
	{
		hits->mask[r] = hits->mask[r - 1];
		hits->most[r] = hits->most[r - 1];
		hits->panel[r] = hits->panel[r - 1];
	}
	hits->mask[0] = mask;
	hits->most[0] = most;
	hits->panel[0] = (uint16_t) panel;
}

/* Offsets that both rows have. */
static __device__ inline float4
of_both(float2 o)
{
	return make_float4(o.x, o.y, o.x, o.y);
}

/*
 * One panel's sums. The limit is below the best of the row in the panels before, and of this
 * thread's in this one; not to ask the row's other threads first leaves bits to spare, but none
 * where the best is.
 *
 *   offset_of(j)  the offsets of this thread's two codewords among the panel's j-th eight, for the
 *                 one row, then for the other
 *   best          of each row so far; the four threads of a row agree
 */
template <int RECORDS, typename Offsets>
static __device__ __forceinline__ void
take_panel(float (&d)[64], const Offsets &offset_of, uint32_t panel, const float (&margin)[2],
		   float (&best)[2], row_hits<RECORDS> (&hits)[2])
{
	float most[2][2] = {{-INFINITY, -INFINITY}, {-INFINITY, -INFINITY}};
	uint32_t misses[2][2] = {};
	float mine[2], limit[2];
	bool hit[2];

#pragma unroll
	for (int j = 0; j < 16; j++)
	{
		float4 o = offset_of(j);

#pragma unroll
		for (int h = 0; h < 2; h++)
		{
			d[4 * j + 2 * h] = __fadd_rn(d[4 * j + 2 * h], h ? o.z : o.x);
			d[4 * j + 2 * h + 1] = __fadd_rn(d[4 * j + 2 * h + 1], h ? o.w : o.y);
			most[h][0] = fmaxf(most[h][0], d[4 * j + 2 * h]);
			most[h][1] = fmaxf(most[h][1], d[4 * j + 2 * h + 1]);
		}
	}
#pragma unroll
	for (int h = 0; h < 2; h++)
	{
		mine[h] = fmaxf(most[h][0], most[h][1]);
		best[h] = fmaxf(best[h], mine[h]);
		/* One rounding: no score that reaches the difference falls below it rounded. */
		limit[h] = __fsub_rn(best[h], margin[h]);
		hit[h] = !(mine[h] < limit[h]) && mine[h] > -INFINITY;
	}
	if (__any_sync(~0u, hit[0] || hit[1]))
	{
		/* A difference's sign, in the end one bit a codeword; the last comes lowest. */
#pragma unroll
		for (int j = 0; j < 8; j++)
		{
#pragma unroll
			for (int i = 0; i < 8; i++)
			{
				int h = i >> 2, half = i >> 1 & 1, b = i & 1;
				float over = __fsub_rn(d[4 * (j + 8 * half) + 2 * h + b], limit[h]);

				misses[h][half] = __funnelshift_l(__float_as_uint(over), misses[h][half], 1);
			}
		}
#pragma unroll
		for (int h = 0; h < 2; h++)
		{
			uint32_t mask = ~(misses[h][0] << 16 | misses[h][1]);

			if (hit[h])
				keep_hits(&hits[h], mask, mine[h], panel);
		}
	}
#pragma unroll
	for (int h = 0; h < 2; h++)
	{
		best[h] = fmaxf(best[h], __shfl_xor_sync(~0u, best[h], 1));
		best[h] = fmaxf(best[h], __shfl_xor_sync(~0u, best[h], 2));
	}
}

/* The number of the codeword of bit 31 - e of a panel, of thread t of the row's four. */
static __device__ inline uint32_t
codeword_of(uint32_t panel, int e, int t)
{
	return panel * STK_PANEL + 8 * (e >> 1) + 2 * t + (e & 1);
}

#endif
