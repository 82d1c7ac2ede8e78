/*
 * Step 3 of encode_hopper.cu: the codeword that is alone, or the one that the reference chooses.
 */
#ifndef STK_HOPPER_SETTLE_CUH
#define STK_HOPPER_SETTLE_CUH

#include "hopper_scores.cuh"

/* A thread's count of a row's hits when nothing is proved of the row. */
#define UNPROVED 1024

/* What a warp has settled so far. */
typedef struct settled
{
	uint32_t several;
	uint32_t reference;
} settled;

/* A row for the reference: its residual as it is, or the row and what levels before took. */
typedef struct reference_row
{
	const float *values;
	const uint16_t *codes;
	int levels; /* whose codewords are to be subtracted */
} reference_row;

/* Codeword k, if it is better than what the group has; a group. */
static __device__ inline void
try_codeword(const encode_args &a, const stk_device_level &level, const reference_row &row,
			 uint32_t k, double *best, uint32_t *best_k)
{
	double s = reference_score(a, level, row.levels, row.values, row.codes, k);

	if (wins(s, k, *best, *best_k))
	{
		*best = s;
		*best_k = k;
	}
}

/* The best among the hits of thread t of a row's four, and what the group has; a group. */
template <int RECORDS>
static __device__ inline void
try_hits(const encode_args &a, const stk_device_level &level, const reference_row &row,
		 const uint32_t (&mask)[RECORDS], const uint32_t (&panel)[RECORDS], int t, double *best,
		 uint32_t *best_k)
{
	uint32_t left[RECORDS];

#pragma unroll
	for (int r = 0; r < RECORDS; r++)
		left[r] = mask[r];
	/* One loop for all records: groups that have their hits in different ones stay together. */
	for (;;)
	{
		uint32_t k = 0;
		bool any = false;

#pragma unroll
		for (int r = 0; r < RECORDS; r++)
		{
			if (!any && left[r])
			{
				int e = __clz(left[r]);

				k = codeword_of(panel[r], e, t);
				left[r] &= ~(0x80000000u >> e);
				any = true;
			}
		}
		if (!any)
			break;
		try_codeword(a, level, row, k, best, best_k);
	}
}

/* Add to the call's statistics; each warp its own. */
static __device__ inline void
count_settled(const encode_args &a, const settled &so_far)
{
	if ((threadIdx.x & 31) == 0 && a.stats && so_far.several + so_far.reference > 0)
	{
		atomicAdd(&a.stats->undecided, (unsigned long long) so_far.several);
		atomicAdd(&a.stats->reference, (unsigned long long) so_far.reference);
	}
}

/* The reference's choice among all codewords; a whole warp. */
static __device__ inline uint32_t
choose_of_all(const encode_args &a, const stk_device_level &level, const reference_row &row)
{
	double best = INFINITY;
	uint32_t best_k = 0;

	for (uint32_t k = (threadIdx.x & 31) / STK_GROUP; k < level.size; k += 32 / STK_GROUP)
		try_codeword(a, level, row, k, &best, &best_k);
	__syncwarp();
	best_of_warp(&best, &best_k);
	return best_k;
}

/*
 * The reference's choice for a row that four threads of the warp have, thread 4q + t its hits of
 * number t; a whole warp, a group of it for each t.
 */
template <int RECORDS>
static __device__ inline uint32_t
choose_of_hits(const encode_args &a, const stk_device_level &level, const reference_row &row, int q,
			   const row_hits<RECORDS> &hits)
{
	int group = (threadIdx.x & 31) / STK_GROUP;
	uint32_t mask[RECORDS], panel[RECORDS];
	double best = INFINITY;
	uint32_t best_k = 0;

#pragma unroll
	for (int r = 0; r < RECORDS; r++)
	{
		mask[r] = __shfl_sync(~0u, hits.mask[r], 4 * q + group);
		panel[r] = __shfl_sync(~0u, (uint32_t) hits.panel[r], 4 * q + group);
	}
	try_hits(a, level, row, mask, panel, group, &best, &best_k);
	__syncwarp();
	best_of_warp(&best, &best_k);
	return best_k;
}

/*
 * The rows of a warp that the filter left open, for which there is no room in a list, or no time to
 * wait: settled at once, one after the other.
 *
 *   open  bit 4q + h: row h of threads 4q .. 4q + 3
 *   all   the same, of rows of which nothing is proved
 */
template <int RECORDS>
static __device__ inline void
settle_now(const encode_args &a, const stk_device_level &level, int l, size_t first, uint32_t open,
		   uint32_t all, const row_hits<RECORDS> (&hits)[2])
{
	for (; open; open &= open - 1)
	{
		int bit = __ffs(open) - 1;
		size_t row = first + (bit >> 2) + 8 * (bit & 1);
		reference_row r = {a.x + row * a.dim, a.codes + row * a.nlevels, l};
		row_hits<RECORDS> own = bit & 1 ? hits[1] : hits[0];
		uint32_t k = all >> bit & 1 ? choose_of_all(a, level, r)
									: choose_of_hits(a, level, r, bit >> 2, own);

		if ((threadIdx.x & 31) == 0)
			a.codes[row * a.nlevels + l] = (uint16_t) k;
	}
}

/*
 * End of a level for a warp's 16 rows from `first` on. Open rows wait in the block's list, as long
 * as it has room and there is one.
 *
 *   hits  those below the final limit are taken away
 */
template <int RECORDS>
static __device__ inline void
settle_rows(const encode_args &a, const stk_device_level &level, int l, size_t first,
			const float (&margin)[2], const float (&best)[2], row_hits<RECORDS> (&hits)[2],
			const open_list<RECORDS> *list, settled *so_far)
{
	int lane = threadIdx.x & 31;
	int q = lane >> 2;
	int t = lane & 3;
	uint32_t counts = 0;
	uint32_t open = 0;
	uint32_t all = 0;

#pragma unroll
	for (int h = 0; h < 2; h++)
	{
		float limit = __fsub_rn(best[h], margin[h]);
		uint32_t count = 0;

#pragma unroll
		for (int r = 0; r < RECORDS; r++)
		{
			if (hits[h].most[r] < limit)
				hits[h].mask[r] = 0;
			count += __popc(hits[h].mask[r]);
		}
		/* Also where the limit is not a number. */
		if (!(hits[h].dropped < limit))
			count += UNPROVED;
		counts += count << 16 * h;
	}
	uint32_t own = counts;

	counts += __shfl_xor_sync(~0u, counts, 1);
	counts += __shfl_xor_sync(~0u, counts, 2);
#pragma unroll
	for (int h = 0; h < 2; h++)
	{
		size_t row = first + q + 8 * h;
		bool inside = row < a.n;
		uint32_t count = counts >> 16 * h & 0xffff;

		if (inside && count == 1 && (own >> 16 * h & 0xffff) == 1)
		{
			uint32_t mask = 0, panel = 0;

#pragma unroll
			for (int r = 0; r < RECORDS; r++)
			{
				panel = hits[h].mask[r] ? hits[h].panel[r] : panel;
				mask |= hits[h].mask[r];
			}
			a.codes[row * a.nlevels + l] = (uint16_t) codeword_of(panel, __clz(mask), t);
		}
		open |= __ballot_sync(~0u, inside && count != 1 && t == 0) << h;
	}
	if (open)
	{
		uint32_t at = 0, room = 0;

#pragma unroll
		for (int h = 0; h < 2; h++)
			all |= __ballot_sync(~0u, t == 0 && (counts >> 16 * h & 0xffff) >= UNPROVED) << h;
		all &= open;
		so_far->reference += __popc(all);
		so_far->several += __popc(open & ~all);
		/* What is not finite leaves no margin finite, and nothing proved. */
		for (uint32_t strange = all; strange; strange &= strange - 1)
		{
			int bit = __ffs(strange) - 1;
			float m = __shfl_sync(~0u, bit & 1 ? margin[1] : margin[0], bit & ~3);

			if (!isfinite(m))
				check_row(a, l, first + (bit >> 2) + 8 * (bit & 1));
		}
		if (list)
		{
			if (lane == 0)
				at = add_word(list->count_at, __popc(open));
			at = __shfl_sync(~0u, at, 0);
			room = at < list->room ? list->room - at : 0;
		}
#pragma unroll
		for (int h = 0; h < 2; h++)
		{
			int bit = 4 * q + h;
			uint32_t rank = __popc(open & ((1u << bit) - 1));

			if (open >> bit & 1 && rank < room)
			{
				open_row<RECORDS> *o = list->rows + at + rank;

				if (t == 0)
				{
					o->row = first + q + 8 * h;
					o->all = all >> bit & 1;
				}
#pragma unroll
				for (int r = 0; r < RECORDS; r++)
				{
					o->mask[t][r] = hits[h].mask[r];
					o->panel[t][r] = hits[h].panel[r];
				}
			}
		}
		for (; open && room > 0; room--)
			open &= open - 1;
		settle_now(a, level, l, first, open, all, hits);
	}
	/* Later levels read these codes. */
	__syncwarp();
}

/* A row of the list of level l. */
template <int RECORDS>
static __device__ inline reference_row
row_of_list(const encode_args &a, int l, const open_row<RECORDS> *o)
{
	return {a.x + o->row * a.dim, a.codes + o->row * a.nlevels, l};
}

/*
 * The rows that wait in the block's list: a group of threads a row, or a
 * warp where any codeword may be the one. Of `warps` warps, this is number `warp`.
 */
template <int RECORDS>
static __device__ inline void
settle_open_rows(const encode_args &a, const stk_device_level &level, int l,
				 const open_list<RECORDS> &list, int warp, int warps)
{
	uint32_t count = min(load_word(list.count_at), list.room);
	int group = (threadIdx.x & 31) / STK_GROUP;

	for (uint32_t i = 4 * warp + group; i < count; i += 4 * warps)
	{
		const open_row<RECORDS> *o = list.rows + i;
		double best = INFINITY;
		uint32_t best_k = 0;

		if (o->all)
			continue;
		/* One loop for all hits: groups that have theirs in different places stay together. */
		for (uint32_t at = 0, left = o->mask[0][0];;)
		{
			while (!left && ++at < 4 * RECORDS)
				left = o->mask[at / RECORDS][at % RECORDS];
			if (!left)
				break;
			int e = __clz(left);

			left &= ~(0x80000000u >> e);
			try_codeword(a, level, row_of_list(a, l, o),
						 codeword_of(o->panel[at / RECORDS][at % RECORDS], e, at / RECORDS), &best,
						 &best_k);
		}
		if (threadIdx.x % STK_GROUP == 0)
			a.codes[o->row * a.nlevels + l] = (uint16_t) best_k;
	}
	__syncwarp();
	for (uint32_t i = warp; i < count; i += warps)
	{
		const open_row<RECORDS> *o = list.rows + i;

		if (!o->all)
			continue;
		uint32_t k = choose_of_all(a, level, row_of_list(a, l, o));

		if ((threadIdx.x & 31) == 0)
			a.codes[o->row * a.nlevels + l] = (uint16_t) k;
	}
}

/*
 * The same for long rows, of which there are fewer: a warp a row, whose groups take the row's hits in
 * turn.
 */
template <int RECORDS>
static __device__ inline void
settle_long_rows(const encode_args &a, const stk_device_level &level, int l,
				 const open_list<RECORDS> &list, int warp, int warps)
{
	uint32_t count = min(load_word(list.count_at), list.room);
	int group = (threadIdx.x & 31) / STK_GROUP;

	for (uint32_t i = warp; i < count; i += warps)
	{
		const open_row<RECORDS> *o = list.rows + i;
		reference_row row = row_of_list(a, l, o);
		uint32_t at = 0, left = o->mask[0][0];
		double best = INFINITY;
		uint32_t best_k = 0;

		if (o->all)
			best_k = choose_of_all(a, level, row);
		for (int skip = group; !o->all; skip = 32 / STK_GROUP - 1)
		{
			/* Past the hits of other groups, then all groups score one together. */
			for (; at < 4 * RECORDS; skip--)
			{
				while (!left && ++at < 4 * RECORDS)
					left = o->mask[at / RECORDS][at % RECORDS];
				if (skip == 0 || at == 4 * RECORDS)
					break;
				left &= ~(0x80000000u >> __clz(left));
			}
			if (at == 4 * RECORDS)
				break;
			int e = __clz(left);

			left &= ~(0x80000000u >> e);
			try_codeword(a, level, row,
						 codeword_of(o->panel[at / RECORDS][at % RECORDS], e, at / RECORDS), &best,
						 &best_k);
		}
		__syncwarp();
		if (!o->all)
			best_of_warp(&best, &best_k);
		if ((threadIdx.x & 31) == 0)
			a.codes[o->row * a.nlevels + l] = (uint16_t) best_k;
	}
	__syncwarp();
}

#endif
