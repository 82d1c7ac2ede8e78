/*
 * The best of the candidates that a block has seen, in shared memory. Candidates are appended as
 * they come, those apart that cannot be among the best any more; when room gets short the pool is
 * cut to about as many as are wanted, by histograms that narrow down on the last of them. Ranks are
 * unique, so what is left in the end does not depend on the order of arrival.
 */
#ifndef STK_STEP_POOL_CUH
#define STK_STEP_POOL_CUH

#include "trie_step.h"

#define STEP_THREADS 256
#define STEP_WARPS (STEP_THREADS / 32)
/* Children that a warp looks at together, and what a block may append between two cuts. */
#define STEP_CHUNK 128
#define STEP_ROUND (STEP_WARPS * STEP_CHUNK)
#define STEP_POOL (STK_STEP_MOST + STEP_ROUND)
#define STEP_EACH (STEP_POOL / STEP_THREADS)
#define STEP_BINS 256
/* A cut may leave so many more than wanted: the last of several rounds is rarely worth it. */
#define STEP_SLACK 32

struct step_pool
{
	uint64_t key[STEP_POOL];  /* orders as the costs */
	uint64_t rest[STEP_POOL]; /* number << 32 | node */
	uint64_t bar_key;         /* what a candidate must not be behind */
	uint32_t bar_number;
	uint32_t n;
	uint32_t over; /* one had to go */
	uint32_t bins[STEP_BINS];
	uint64_t low[STEP_WARPS], high[STEP_WARPS];
	uint32_t bin, below, upto;
};

/* Numbers in the order of the costs, none of which is NaN or -0. */
static __device__ inline uint64_t
key_of(double cost)
{
	uint64_t bits = (uint64_t) __double_as_longlong(cost);

	return bits >> 63 ? ~bits : bits | 1ull << 63;
}

static __device__ inline double
cost_of(uint64_t key)
{
	return __longlong_as_double((long long) (key >> 63 ? key & ~(1ull << 63) : ~key));
}

static __device__ inline void
pool_init(step_pool &p)
{
	if (threadIdx.x == 0)
	{
		p.n = 0;
		p.over = 0;
		p.bar_key = ~0ull;
		p.bar_number = ~0u;
	}
}

/* Of a block's values, the least and the greatest; whole block. */
static __device__ inline void
find_range(step_pool &p, uint64_t &low, uint64_t &high)
{
	for (int d = 16; d > 0; d /= 2)
	{
		uint64_t l = __shfl_xor_sync(~0u, low, d), h = __shfl_xor_sync(~0u, high, d);

		low = l < low ? l : low;
		high = h > high ? h : high;
	}
	if (threadIdx.x % 32 == 0)
	{
		p.low[threadIdx.x / 32] = low;
		p.high[threadIdx.x / 32] = high;
	}
	__syncthreads();
	for (int w = 0; w < STEP_WARPS; w++)
	{
		low = p.low[w] < low ? p.low[w] : low;
		high = p.high[w] > high ? p.high[w] : high;
	}
}

/*
 * Find the bin in which the candidate numbered `want` (the first is 1) falls, `below` being in none
 * of them; p.below and p.upto without it and with it. By the first warp.
 */
static __device__ inline void
find_bin(step_pool &p, uint32_t below, uint32_t want)
{
	const int each = STEP_BINS / 32;
	uint32_t sum = 0, upto;

	if (threadIdx.x >= 32)
		return;
	for (int i = 0; i < each; i++)
		sum += p.bins[threadIdx.x * each + i];
	upto = sum;
	for (int d = 1; d < 32; d *= 2)
	{
		uint32_t before = __shfl_up_sync(~0u, upto, d);

		upto += threadIdx.x >= d ? before : 0;
	}
	upto += below;
	if (upto < want || upto - sum >= want)
		return;
	upto -= sum;
	for (int i = 0; i < each; i++)
	{
		uint32_t here = p.bins[threadIdx.x * each + i];

		if (upto < want && upto + here >= want)
		{
			p.bin = threadIdx.x * each + i;
			p.below = upto;
			p.upto = upto + here;
		}
		upto += here;
	}
}

/*
 * Narrow [low, high] down until no more than `most` candidates are at `high` or before it, and
 * `want` at least; false: low = high, and there are more. `below` are before low. take(i) says
 * whether candidate i of this thread takes part, value(i) is what ranks it. Whole block.
 */
template <class Take, class Value>
static __device__ inline bool
narrow(step_pool &p, uint64_t &low, uint64_t &high, uint32_t &below, uint32_t want, uint32_t most,
	   Take take, Value value)
{
	while (low < high)
	{
		int zeros = __clzll((long long) (high - low));
		int shift = zeros < 56 ? 56 - zeros : 0;
		uint64_t top;
		uint32_t upto;

		p.bins[threadIdx.x] = 0;
		__syncthreads();
#pragma unroll
		for (int i = 0; i < STEP_EACH; i++)
			if (take(i) && value(i) >= low && value(i) <= high)
				atomicAdd(&p.bins[(value(i) - low) >> shift], 1u);
		__syncthreads();
		find_bin(p, below, want);
		__syncthreads();
		below = p.below;
		upto = p.upto;
		top = ((uint64_t) p.bin << shift) + ((1ull << shift) - 1);
		if (top < high - low)
			high = low + top;
		low += (uint64_t) p.bin << shift;
		if (upto <= most)
			return true;
	}
	return false;
}

/* Which bin is a candidate's, of those that part the costs from `low` on evenly? Never falls. */
static __device__ inline uint32_t
bin_of(uint64_t key, double low, double scale)
{
	uint32_t bin = (uint32_t) ((cost_of(key) - low) * scale);

	return bin < STEP_BINS ? bin : STEP_BINS - 1;
}

/*
 * Leave the best `want`, and `slack` more at most: fewer where there are fewer. Costs lie about
 * evenly, as a rule, so even bins do most of it; the rest goes by the keys' bits, whatever they
 * are, and by numbers where more than are wanted cost the same. Whole block, which has seen all
 * that was appended, and has its pool where its shared memory begins. Not inlined: three copies
 * would make a kernel too long for the instruction cache.
 */
static __device__ __noinline__ void
pool_cut(uint32_t want, uint32_t slack)
{
	extern __shared__ step_pool shared_pool[];
	step_pool &p = *shared_pool;
	uint64_t key[STEP_EACH], rest[STEP_EACH];
	uint64_t low = ~0ull, high = 0;
	uint32_t n = p.n, below = 0, upto = n, bar_number = ~0u;
	double spread;

	if (n <= want)
		return;
#pragma unroll
	for (int i = 0; i < STEP_EACH; i++)
	{
		uint32_t at = i * STEP_THREADS + threadIdx.x;

		key[i] = at < n ? p.key[at] : ~0ull;
		rest[i] = at < n ? p.rest[at] : 0;
		low = ullmin(low, key[i]);
		high = at < n ? ullmax(high, key[i]) : high;
	}
	find_range(p, low, high);
	spread = cost_of(high) - cost_of(low);
	if (spread > 0 && spread < INFINITY)
	{
		double from = cost_of(low), scale = STEP_BINS / spread;

		p.bins[threadIdx.x] = 0;
		__syncthreads();
#pragma unroll
		for (int i = 0; i < STEP_EACH; i++)
			if (key[i] != ~0ull)
				atomicAdd(&p.bins[bin_of(key[i], from, scale)], 1u);
		__syncthreads();
		find_bin(p, 0, want);
		__syncthreads();
		below = p.below;
		upto = p.upto;
		low = ~0ull;
		high = 0;
#pragma unroll
		for (int i = 0; i < STEP_EACH; i++)
			if (key[i] != ~0ull && bin_of(key[i], from, scale) == p.bin)
			{
				low = ullmin(low, key[i]);
				high = ullmax(high, key[i]);
			}
		find_range(p, low, high);
	}
	if (upto > want + slack &&
		!narrow(
			p, low, high, below, want, want + slack, [&](int i) { return key[i] != ~0ull; },
			[&](int i) { return key[i]; }))
	{
		uint64_t first = 0, last = ~0u;

		(void) narrow(
			p, first, last, below, want, want + slack, [&](int i) { return key[i] == low; },
			[&](int i) { return rest[i] >> 32; });
		bar_number = (uint32_t) last;
	}
	__syncthreads();
	if (threadIdx.x == 0)
	{
		p.n = 0;
		p.over = 1;
		p.bar_key = high;
		p.bar_number = bar_number;
	}
	__syncthreads();
#pragma unroll
	for (int i = 0; i < STEP_EACH; i++)
	{
		bool stays = key[i] < high || (key[i] == high && rest[i] >> 32 <= bar_number);
		unsigned all = __ballot_sync(~0u, stays);
		uint32_t at = 0;

		if (threadIdx.x % 32 == 0 && all)
			at = atomicAdd(&p.n, (uint32_t) __popc(all));
		at = __shfl_sync(~0u, at, 0) + (uint32_t) __popc(all & ((1u << threadIdx.x % 32) - 1));
		if (stays)
		{
			p.key[at] = key[i];
			p.rest[at] = rest[i];
		}
	}
	__syncthreads();
}

#endif
