/*
 * One step of a beam: a block, or several where queries are few, takes a query. It lists the
 * children of its prefixes, in chunks that warps take in turn, adds up what each costs, and keeps
 * the best in a pool (step_pool.cuh); with several blocks the last to end merges what they kept.
 *
 * Bytes: 2 a child, 4 more a child that is kept for a time, 8 or 4 a term, from the first cache;
 * with norm full and a row of logits for each prefix 4 a code of each row. Flops: an addition a
 * child; norm masked some 40 binary64 operations a child, norm full a code of each row. Bound: with
 * norm full and rows of each prefix the binary64 units, 9 us for 1,600 rows of 2,048 codes on an
 * H200; else latency, a few microseconds.
 */
#include "core/explog_inline.h"
#include "step_pool.cuh"

/* What a block keeps of each of its prefixes. */
struct step_parent
{
	double cost;
	double max;     /* logit: of the row, or of its children */
	uint64_t sum;   /* shares of a softmax, then */
	double log_sum; /* the logarithm of them */
	double temperature;
	stk_node node;
	uint32_t n;     /* children */
	uint32_t first; /* chunks of children before its own */
	uint32_t ordered_max;
};

/* One block's part of a query. */
struct step_block
{
	step_pool pool;
	uint32_t n;      /* prefixes */
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

/* The block's prefixes, every `parts`th of the query's, and where their chunks begin. */
static __device__ inline void
list_parents(const stk_trie_step &s, step_block &b, uint32_t query, uint32_t part, uint32_t parts)
{
	uint32_t all = !s.node ? 1 : s.n_parents ? s.n_parents[query] : s.parents;
	uint32_t n = all > part ? (all - part + parts - 1) / parts : 0;

	for (uint32_t i = threadIdx.x; i < n; i += STEP_THREADS)
	{
		size_t at = (size_t) query * s.parents + part + i * parts;
		step_parent &p = b.parent[i];

		p.node = s.node ? s.node[at] : s.start;
		p.cost = s.node ? s.cost[at] : 0;
		p.n = stk_node_list(&s.trie, p.node).n;
		p.ordered_max = 0;
		p.sum = 0;
		p.temperature = s.temperature ? s.temperature[row_of(s, query, part + i * parts)] : 1.0;
	}
	__syncthreads();
	if (threadIdx.x < 32)
	{
		uint32_t before = 0;

		for (uint32_t i = threadIdx.x; i - threadIdx.x < n; i += 32)
		{
			uint32_t chunks = i < n ? (b.parent[i].n + STEP_CHUNK - 1) / STEP_CHUNK : 0;
			uint32_t upto = chunks;

			for (int d = 1; d < 32; d *= 2)
			{
				uint32_t other = __shfl_up_sync(~0u, upto, d);

				upto += threadIdx.x >= d ? other : 0;
			}
			if (i < n)
				b.parent[i].first = before + upto - chunks;
			before += __shfl_sync(~0u, upto, 31);
		}
		if (threadIdx.x == 0)
		{
			b.n = n;
			b.chunks = before;
		}
	}
	__syncthreads();
}

/*
 * Go over the logits that softmaxes are made of, a warp a chunk: norm masked those of the children
 * that have one, norm full those of the row, which is the first prefix's where all share one.
 * visit(prefix, z [STEP_CHUNK / 32], masked), -infinity behind the last; whole warps.
 */
template <void (*visit)(step_parent &, const float *, bool)>
static __device__ inline void
go_over_logits(const stk_trie_step &s, step_block &b, uint32_t query, uint32_t part, uint32_t parts)
{
	bool masked = s.norm == STK_NORM_MASKED;
	uint32_t each = (s.size + STEP_CHUNK - 1) / STEP_CHUNK;
	uint32_t chunks = masked ? b.chunks : each * (s.row_each ? b.n : b.n > 0);

	for (uint32_t c = threadIdx.x / 32; c < chunks; c += STEP_WARPS)
	{
		uint32_t i = masked ? parent_of(b, c) : c / each;
		uint32_t first = (masked ? c - b.parent[i].first : c % each) * STEP_CHUNK;
		const float *row = s.logits + row_of(s, query, part + i * parts) * s.stride;
		float z[STEP_CHUNK / 32];

		if (s.row_each && b.parent[i].n == 0)
			continue;
		if (masked)
		{
			stk_node_children children = stk_node_list(&s.trie, b.parent[i].node);

#pragma unroll
			for (int j = 0; j < STEP_CHUNK / 32; j++)
			{
				uint32_t at = first + j * 32 + threadIdx.x % 32;
				uint32_t code = at < children.n ? children.codes[at] : s.size;

				z[j] = code < s.size ? row[code] : -INFINITY;
			}
		}
		else
		{
#pragma unroll
			for (int j = 0; j < STEP_CHUNK / 32; j++)
			{
				uint32_t at = first + j * 32 + threadIdx.x % 32;

				z[j] = at < s.size ? row[at] : -INFINITY;
			}
		}
		visit(b.parent[i], z, masked);
	}
}

/* The greatest of a chunk's logits; whole warp. */
static __device__ inline void
find_max(step_parent &p, const float *z, bool)
{
	uint32_t max = 0;

#pragma unroll
	for (int j = 0; j < STEP_CHUNK / 32; j++)
		max = umax(max, order_of(z[j]));
	for (int d = 16; d > 0; d /= 2)
		max = umax(max, __shfl_xor_sync(~0u, max, d));
	if (threadIdx.x % 32 == 0)
		atomicMax(&p.ordered_max, max);
}

/* Add up a chunk's shares; whole warp. */
static __device__ inline void
add_shares(step_parent &p, const float *z, bool masked)
{
	float max = logit_of(p.ordered_max);
	uint64_t sum = 0;

	if (max == -INFINITY)
		return;
	/* An only child has all of the probability there is. */
	if (masked && p.n == 1)
	{
		p.sum = (uint64_t) STK_FIXED_ONE;
		return;
	}
#pragma unroll
	for (int j = 0; j < STEP_CHUNK / 32; j++)
	{
		double c = (double) max - (double) z[j];

		if (z[j] > -INFINITY)
			sum += stk_share(p.temperature == 1.0 ? c : c / p.temperature);
	}
	for (int d = 16; d > 0; d /= 2)
		sum += __shfl_xor_sync(~0u, sum, d);
	if (threadIdx.x % 32 == 0)
		atomicAdd((unsigned long long *) &p.sum, (unsigned long long) sum);
}

/* What a term is made of, of each prefix: the logarithm of its softmax's sum. */
static __device__ inline void
sum_logits(const stk_trie_step &s, step_block &b, uint32_t query, uint32_t part, uint32_t parts)
{
	bool masked = s.norm == STK_NORM_MASKED;

	go_over_logits<find_max>(s, b, query, part, parts);
	__syncthreads();
	go_over_logits<add_shares>(s, b, query, part, parts);
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < b.n; i += STEP_THREADS)
	{
		step_parent &p = b.parent[i];
		const step_parent &of = masked || s.row_each ? p : b.parent[0];

		p.max = (double) logit_of(of.ordered_max);
		p.log_sum = of.sum ? stk_log_of_shares(of.sum) : INFINITY;
	}
	__syncthreads();
}

/* What a code adds to a prefix's cost. */
static __device__ inline double
term_of(const stk_trie_step &s, const step_parent &p, size_t row, uint32_t code)
{
	double c;
	float z;

	if (code >= s.size)
		return INFINITY;
	if (s.terms)
		return s.terms[row + code];
	z = s.logits[row + code];
	if (z == -INFINITY)
		return INFINITY;
	if (s.norm == STK_NORM_NONE)
		return 0.0 - (p.temperature == 1.0 ? (double) z : (double) z / p.temperature);
	c = p.max - (double) z;
	c = p.log_sum + (p.temperature == 1.0 ? c : c / p.temperature);
	return c > 0 ? c : 0.0;
}

/* Take a chunk's children into the pool; whole warp. */
static __device__ inline void
offer_chunk(const stk_trie_step &s, step_block &b, uint32_t query, uint32_t part, uint32_t parts,
			uint32_t chunk)
{
	const int each = STEP_CHUNK / 32;
	uint32_t i = parent_of(b, chunk);
	const step_parent &p = b.parent[i];
	uint32_t parent = part + i * parts;
	uint32_t first = (chunk - p.first) * STEP_CHUNK + threadIdx.x % 32;
	size_t row = row_of(s, query, parent) * s.stride;
	stk_node_children children = stk_node_list(&s.trie, p.node);
	uint64_t bar_key = b.pool.bar_key;
	uint32_t bar_number = b.pool.bar_number;
	uint64_t key[each], rest[each];
	unsigned comes[each];
	uint32_t n = 0, at = 0;

#pragma unroll
	for (int j = 0; j < each; j++)
	{
		uint32_t child = first + j * 32;
		double cost = INFINITY;
		uint32_t number = 0;
		bool good;

		key[j] = rest[j] = 0;
		if (child < children.n)
		{
			uint32_t code = children.codes[child];

			number = parent << 16 | code;
			cost = p.cost + term_of(s, p, row, code);
		}
		key[j] = key_of(cost);
		good = cost < INFINITY && (key[j] < bar_key || (key[j] == bar_key && number <= bar_number));
		/* One that leads nowhere is not missed. */
		if (cost < INFINITY && (good || !b.pool.over))
		{
			stk_node node = stk_node_child(&s.trie, &children, child);
			bool live = s.leaves || stk_node_goes_on(node);

			if (live && !good)
				b.pool.over = 1;
			good = good && live;
			rest[j] = (uint64_t) number << 32 | node;
		}
		comes[j] = __ballot_sync(~0u, good);
		n += __popc(comes[j]);
	}
	if (n == 0)
		return;
	if (threadIdx.x % 32 == 0)
		at = atomicAdd(&b.pool.n, n);
	at = __shfl_sync(~0u, at, 0);
#pragma unroll
	for (int j = 0; j < each; j++)
	{
		uint32_t place = at + __popc(comes[j] & ((1u << threadIdx.x % 32) - 1));

		if (comes[j] >> threadIdx.x % 32 & 1)
		{
			b.pool.key[place] = key[j];
			b.pool.rest[place] = rest[j];
		}
		at += __popc(comes[j]);
	}
}

/* Where the blocks of a query leave what they kept. What has to be zero comes first. */
struct step_left
{
	uint32_t *ended;      /* [n]: blocks, zeros before and after */
	uint32_t *count;      /* [n][parts]: kept, and in the highest bit whether one had to go */
	uint64_t *key, *rest; /* [n][parts][width] */
};

/* Lay it out from scratch on; returns its length. */
static __host__ __device__ inline size_t
lay_out(void *scratch, uint32_t n, uint32_t parts, uint32_t width, step_left *l)
{
	size_t all = (size_t) n * parts;
	size_t counts = ((size_t) n + all + 1) / 2 * 2;

	l->ended = (uint32_t *) scratch;
	l->count = l->ended + n;
	l->key = (uint64_t *) (l->ended + counts);
	l->rest = l->key + all * width;
	return counts * sizeof(uint32_t) + 2 * all * width * sizeof(uint64_t);
}

/* Leave what this block kept to the last; true in the last, which has it all. Whole block. */
static __device__ inline bool
hand_over(const stk_trie_step &s, step_block &b, uint32_t query, uint32_t part, uint32_t parts)
{
	step_left l;
	size_t slot = (size_t) query * parts + part;
	uint32_t n = b.pool.n;

	(void) lay_out(s.scratch, s.n, parts, s.width, &l);
	for (uint32_t i = threadIdx.x; i < n; i += STEP_THREADS)
	{
		l.key[slot * s.width + i] = b.pool.key[i];
		l.rest[slot * s.width + i] = b.pool.rest[i];
	}
	if (threadIdx.x == 0)
		l.count[slot] = n | b.pool.over << 31;
	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0)
		b.n = atomicAdd(&l.ended[query], 1);
	__syncthreads();
	if (b.n < parts - 1)
		return false;
	__threadfence();
	if (threadIdx.x == 0)
	{
		l.ended[query] = 0;
		b.pool.n = 0;
	}
	__syncthreads();
	for (uint32_t other = threadIdx.x / 32; other < parts; other += STEP_WARPS)
	{
		size_t from = (size_t) query * parts + other;
		uint32_t count = l.count[from] & ~(1u << 31);
		uint32_t at = 0;

		if (threadIdx.x % 32 == 0)
		{
			at = atomicAdd(&b.pool.n, count);
			if (l.count[from] >> 31)
				b.pool.over = 1;
		}
		at = __shfl_sync(~0u, at, 0);
		for (uint32_t i = threadIdx.x % 32; i < count; i += 32)
		{
			b.pool.key[at + i] = l.key[from * s.width + i];
			b.pool.rest[at + i] = l.rest[from * s.width + i];
		}
	}
	__syncthreads();
	return true;
}

/* Write the survivors in order: each counts those that come before it. Whole block. */
static __device__ inline void
write_out(const stk_trie_step &s, const step_pool &p, uint32_t query)
{
	uint32_t n = p.n;

	for (uint32_t i = threadIdx.x; i < n; i += STEP_THREADS)
	{
		uint64_t key = p.key[i], rest = p.rest[i];
		uint32_t before = 0;
		size_t at = (size_t) query * s.width;

		for (uint32_t j = 0; j < n; j++)
		{
			bool first = p.rest[j] < rest;

			if (!s.by_path)
				first = p.key[j] < key || (p.key[j] == key && first);
			before += first;
		}
		at += before;
		s.out_number[at] = (uint32_t) (rest >> 32);
		s.out_node[at] = (uint32_t) rest;
		s.out_cost[at] = cost_of(key);
	}
	if (threadIdx.x == 0)
	{
		s.n_out[query] = n;
		if (s.dropped && p.over)
			s.dropped[query] = 1;
	}
}

static_assert(sizeof(step_block) + STK_STEP_MOST * sizeof(step_parent) <=
				  (35 << 10) + STK_STEP_MOST * 56,
			  "stk_step_shared says less");

static __global__ void
__launch_bounds__(STEP_THREADS) extend(const __grid_constant__ stk_trie_step s, uint32_t parts)
{
	extern __shared__ step_block shared_block[];
	step_block &b = *shared_block;
	uint32_t query = blockIdx.x / parts, part = blockIdx.x % parts;

	pool_init(b.pool);
	list_parents(s, b, query, part, parts);
	if (s.norm != STK_NORM_NONE && !s.terms)
		sum_logits(s, b, query, part, parts);
	for (uint32_t c = 0; c < b.chunks; c += STEP_WARPS)
	{
		uint32_t mine = c + threadIdx.x / 32;

		/* Room for a round: a cut, where there is more than that leaves. */
		if (b.pool.n >= STEP_POOL - STEP_ROUND && b.pool.n > s.width)
			pool_cut(b.pool, s.width, s.width + STEP_SLACK <= STK_STEP_MOST ? STEP_SLACK : 0);
		__syncthreads();
		if (mine < b.chunks)
			offer_chunk(s, b, query, part, parts, mine);
		__syncthreads();
	}
	pool_cut(b.pool, s.width, 0);
	if (parts > 1)
	{
		if (!hand_over(s, b, query, part, parts))
			return;
		pool_cut(b.pool, s.width, 0);
	}
	write_out(s, b.pool, query);
}

/* Blocks for each query: enough to fill the device, when prefixes suffice. */
static uint32_t
choose_parts(uint32_t n, uint32_t width, uint32_t parents)
{
	int device = 0, processors = 1;
	uint32_t parts;

	(void) cudaGetDevice(&device);
	(void) cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
	parts = 2 * (uint32_t) processors / n;
	if (parts > STEP_POOL / width)
		parts = STEP_POOL / width;
	if (parts > parents)
		parts = parents;
	return parts > 0 ? parts : 1;
}

size_t
stk_trie_step_scratch(uint32_t n, uint32_t width)
{
	step_left l;
	uint64_t somewhere;

	return lay_out(&somewhere, n, choose_parts(n, width, STK_STEP_MOST), width, &l);
}

stk_status
stk_trie_step_launch(const stk_trie_step *s, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "extend beams on the device";
	uint32_t parts = s->node ? choose_parts(s->n, s->width, s->parents) : 1;
	uint32_t parents = s->node ? (s->parents + parts - 1) / parts : 1;
	size_t shared = stk_step_shared(parents);
	cudaError_t code =
		cudaFuncSetAttribute(extend, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) shared);

	if (code != cudaSuccess)
		return stk_cuda_status(code, doing, err);
	extend<<<s->n * parts, STEP_THREADS, shared, stream>>>(*s, parts);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}
