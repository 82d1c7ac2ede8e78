/*
 * What a block keeps of a query's prefixes, and the sums of their softmaxes: of the logits of their
 * children, or of whole rows.
 */
#ifndef STK_STEP_SOFTMAX_CUH
#define STK_STEP_SOFTMAX_CUH

#include "core/explog_inline.h"
#include "step_pool.cuh"

/* Logits that a lane reads together: children's as they are offered, rows' so as to keep busy. */
template <bool masked> constexpr int softmax_each = masked ? STEP_CHUNK / 32 : 16;

/* What a block keeps of each of its prefixes. */
struct step_parent
{
	double cost;
	double temperature;
	double log_sum;       /* of a softmax, the logarithm of */
	uint64_t sum;         /* its shares */
	uint32_t ordered_max; /* logit: of the row, or of its children */
	uint32_t number;      /* among the query's */
	stk_node node;
	uint32_t n;     /* children */
	uint32_t first; /* chunks of children before its own */
};

/* One block's part of a query. */
struct step_block
{
	step_pool pool;
	double least;    /* at most what a code adds */
	uint32_t n;      /* prefixes, the best first where they are few */
	uint32_t chunks; /* of all their children */
	step_parent parent[1];
};

/* Numbers in the order of binary32. */
static __device__ inline uint32_t
order_of(float z)
{
	uint32_t bits = __float_as_uint(z);

	return bits >> 31 ? ~bits : bits | 1u << 31;
}

static __device__ inline float
logit_of(uint32_t ordered)
{
	return __uint_as_float(ordered >> 31 ? ordered & ~(1u << 31) : ~ordered);
}

static __device__ inline size_t
row_of(const stk_trie_step &s, uint32_t query, uint32_t parent)
{
	return s.row_each ? (size_t) query * s.parents + parent : query;
}

/* Which prefix has this chunk of children? */
static __device__ inline uint32_t
parent_of(const step_block &b, uint32_t chunk)
{
	uint32_t from = 0, to = b.n - 1;

	while (from < to)
	{
		uint32_t mid = (from + to + 1) / 2;

		if (b.parent[mid].first <= chunk)
			from = mid;
		else
			to = mid - 1;
	}
	return from;
}

/*
 * Have a warp's lanes read the logits that a softmax is made of, some of them, -infinity behind the
 * last: norm masked those that a prefix's children have, norm full those of its row.
 */
template <bool masked>
static __device__ inline void
read_logits(const stk_trie_step &s, const step_parent &p, uint32_t query, uint32_t first,
			float (&z)[softmax_each<masked>])
{
	const float *row = s.logits + row_of(s, query, p.number) * s.stride;
	stk_node_children children = stk_node_list(&s.trie, p.node);

#pragma unroll
	for (int j = 0; j < softmax_each<masked>; j++)
	{
		uint32_t at = first + j * 32 + threadIdx.x % 32;
		uint32_t code = !masked ? at : at < children.n ? children.codes[at] : s.size;

		z[j] = code < s.size ? row[code] : -INFINITY;
	}
}

/* The greatest of some logits; whole warp. */
template <int each>
static __device__ inline void
add_max(step_parent &p, const float (&z)[each])
{
	uint32_t max = 0;

#pragma unroll
	for (int j = 0; j < each; j++)
		max = umax(max, order_of(z[j]));
	for (int d = 16; d > 0; d /= 2)
		max = umax(max, __shfl_xor_sync(~0u, max, d));
	if (threadIdx.x % 32 == 0)
		atomicMax(&p.ordered_max, max);
}

/* Add up the shares of some logits; whole warp. */
template <bool tempered, int each>
static __device__ inline void
add_shares(step_parent &p, const float (&z)[each])
{
	double max = (double) logit_of(p.ordered_max);
	uint64_t sum = 0;

	if (max == -INFINITY)
		return;
#pragma unroll
	for (int j = 0; j < each; j += 4)
	{
		double c[4];

		/* A logit of -infinity is infinitely far behind, and has no share. */
#pragma unroll
		for (int i = 0; i < 4; i++)
			c[i] = max - (double) z[j + i];
		if (tempered)
#pragma unroll
			for (int i = 0; i < 4; i++)
				c[i] /= p.temperature;
#pragma unroll
		for (int i = 0; i < 4; i++)
			sum += stk_share(c[i]);
	}
	for (int d = 16; d > 0; d /= 2)
		sum += __shfl_xor_sync(~0u, sum, d);
	if (threadIdx.x % 32 == 0)
		atomicAdd((unsigned long long *) &p.sum, (unsigned long long) sum);
}

/* Find the greatest logits, or then the sums of shares, a warp a chunk. */
template <bool masked, bool tempered, bool shares>
static __device__ inline void
go_over_logits(const stk_trie_step &s, step_block &b, uint32_t query)
{
	const uint32_t chunk = softmax_each<masked> * 32;
	uint32_t each = (s.size + chunk - 1) / chunk;
	uint32_t chunks = masked ? b.chunks : each * (s.row_each ? b.n : b.n > 0);

	for (uint32_t c = threadIdx.x / 32; c < chunks; c += STEP_WARPS)
	{
		uint32_t i = masked ? parent_of(b, c) : c / each;
		step_parent &p = b.parent[i];
		float z[softmax_each<masked>];

		if (s.row_each && p.n == 0)
			continue;
		read_logits<masked>(s, p, query, (masked ? c - p.first : c % each) * chunk, z);
		if (!shares)
			add_max(p, z);
		else if (!masked || p.n > 1)
			add_shares<tempered>(p, z);
		else if (logit_of(p.ordered_max) > -INFINITY)
			/* An only child has all of the probability there is. */
			p.sum = (uint64_t) STK_FIXED_ONE;
	}
	__syncthreads();
}

/* What a term is made of, of each prefix: the logarithm of its softmax's sum. Whole block. */
template <bool masked, bool tempered>
static __device__ inline void
sum_logits(const stk_trie_step &s, step_block &b, uint32_t query)
{
	go_over_logits<masked, tempered, false>(s, b, query);
	go_over_logits<masked, tempered, true>(s, b, query);
	for (uint32_t i = threadIdx.x; i < b.n; i += STEP_THREADS)
	{
		step_parent &p = b.parent[i];
		/* Where all share a row the first prefix has its sum. */
		const step_parent &of = masked || s.row_each ? p : b.parent[0];

		if (&of != &p)
			p.ordered_max = of.ordered_max;
		p.log_sum = of.sum ? stk_log_of_shares(of.sum) : INFINITY;
	}
	__syncthreads();
}

#endif
