/*
 * One step of a beam: a block, or several where queries are few, takes a query. It lists the
 * children of its prefixes, in chunks that warps take in turn, adds up what each costs, and keeps
 * the best in a pool (step_pool.cuh); with several blocks the last to end merges what they kept.
 *
 * Bytes: 2 a child, 4 more a child that is kept for a time, 8 or 4 a term, from the first cache;
 * with norm full and a row of logits for each prefix 4 a code of each row. Flops: an addition a
 * child; norm masked some 40 binary64 operations a child, norm full a code of each row. Bound:
 * latency; the binary64 units would take 9 us of the 27 or more that 1,600 rows of 2,048 codes take
 * on an H200 with norm full.
 */
#include "step_softmax.cuh"

/* What terms are made of. Each has a kernel of its own, and so has a temperature. */
enum step_source
{
	SOURCE_FULL,
	SOURCE_NONE,
	SOURCE_MASKED,
	SOURCE_TERMS
};

/*
 * The block's prefixes, every `parts`th of the query's, and where their chunks begin. Where they
 * are few the best come first: then most of the others' children are soon seen to be too many.
 */
static __device__ inline void
list_parents(const stk_trie_step &s, step_block &b, uint32_t query, uint32_t part, uint32_t parts)
{
	uint32_t all = !s.node ? 1 : s.n_parents ? s.n_parents[query] : s.parents;
	uint32_t n = all > part ? (all - part + parts - 1) / parts : 0;
	size_t from = (size_t) query * s.parents + part;

	for (uint32_t i = threadIdx.x; i < n && s.node; i += STEP_THREADS)
		b.pool.key[i] = key_of(s.cost[from + i * parts]);
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < n; i += STEP_THREADS)
	{
		uint32_t place = n <= STEP_THREADS ? 0 : i;

		for (uint32_t j = 0; j < n && n <= STEP_THREADS; j++)
			place += b.pool.key[j] < b.pool.key[i] || (b.pool.key[j] == b.pool.key[i] && j < i);

		step_parent &p = b.parent[place];

		p.number = part + i * parts;
		p.node = s.node ? s.node[from + i * parts] : s.start;
		p.cost = s.node ? s.cost[from + i * parts] : 0;
		p.n = stk_node_list(&s.trie, p.node).n;
		p.ordered_max = 0;
		p.sum = 0;
		p.temperature = s.temperature ? s.temperature[row_of(s, query, p.number)] : 1.0;
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

/* What a code adds to a prefix's cost. */
template <step_source source, bool tempered>
static __device__ inline double
term_of(const stk_trie_step &s, const step_parent &p, size_t row, uint32_t code)
{
	double c;
	float z;

	if (code >= s.size)
		return INFINITY;
	if (source == SOURCE_TERMS)
		return s.terms[row + code];
	z = s.logits[row + code];
	if (z == -INFINITY)
		return INFINITY;
	if (source == SOURCE_NONE)
		return 0.0 - (tempered ? (double) z / p.temperature : (double) z);
	c = (double) logit_of(p.ordered_max) - (double) z;
	c = p.log_sum + (tempered ? c / p.temperature : c);
	return c > 0 ? c : 0.0;
}

/*
 * Find what a code adds at least: nothing, by a softmax; of terms that are given to all prefixes
 * together, and are few beside their children, the least. Whole block.
 */
template <step_source source>
static __device__ inline void
find_least(const stk_trie_step &s, step_block &b, uint32_t query)
{
	uint64_t low = ~0ull, high = 0;
	double least = source == SOURCE_NONE || source == SOURCE_TERMS ? -INFINITY : 0.0;

	if (source == SOURCE_TERMS && !s.row_each && s.size <= b.chunks * (STEP_CHUNK / 4))
	{
		const double *row = s.terms + query * s.stride;

		for (uint32_t code = threadIdx.x; code < s.size; code += STEP_THREADS)
			low = ullmin(low, key_of(row[code]));
		find_range(b.pool, low, high);
		least = cost_of(low);
	}
	if (threadIdx.x == 0)
		b.least = least;
	__syncthreads();
}

/* Take a chunk's children into the pool; whole warp. */
template <step_source source, bool tempered>
static __device__ inline void
offer_chunk(const stk_trie_step &s, step_block &b, uint32_t query, uint32_t chunk)
{
	const int each = STEP_CHUNK / 32;
	const step_parent &p = b.parent[parent_of(b, chunk)];
	uint32_t first = (chunk - p.first) * STEP_CHUNK + threadIdx.x % 32;
	size_t row = row_of(s, query, p.number) * s.stride;
	stk_node_children children = stk_node_list(&s.trie, p.node);
	uint64_t bar_key = b.pool.bar_key;
	uint32_t bar_number = b.pool.bar_number;
	uint64_t key[each], rest[each];
	unsigned comes[each];
	uint32_t n = 0, at = 0;

	/* There is no bar before one had to go. */
	if (key_of(p.cost + b.least) > bar_key)
		return;
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

			number = p.number << 16 | code;
			cost = p.cost + term_of<source, tempered>(s, p, row, code);
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

/*
 * Write the survivors in order: each counts those that come before it, which four lanes share.
 * Whole block.
 */
static __device__ inline void
write_out(const stk_trie_step &s, const step_pool &p, uint32_t query)
{
	const uint32_t lanes = 4;
	uint32_t n = p.n, lane = threadIdx.x % lanes;

	for (uint32_t i = threadIdx.x / lanes; i - threadIdx.x / lanes < n; i += STEP_THREADS / lanes)
	{
		uint64_t key = i < n ? p.key[i] : 0, rest = i < n ? p.rest[i] : 0;
		uint32_t before = 0;

		for (uint32_t j = lane; j < n; j += lanes)
		{
			bool first = p.rest[j] < rest;

			if (!s.by_path)
				first = p.key[j] < key || (p.key[j] == key && first);
			before += first;
		}
		before += __shfl_xor_sync(~0u, before, 1);
		before += __shfl_xor_sync(~0u, before, 2);
		if (i < n && lane == 0)
		{
			size_t at = (size_t) query * s.width + before;

			s.out_number[at] = (uint32_t) (rest >> 32);
			s.out_node[at] = (uint32_t) rest;
			s.out_cost[at] = cost_of(key);
		}
	}
	if (threadIdx.x == 0)
	{
		s.n_out[query] = n;
		if (s.dropped && p.over)
			s.dropped[query] = 1;
	}
}

static_assert(sizeof(step_block) + STK_STEP_MOST * sizeof(step_parent) <=
				  (36 << 10) + STK_STEP_MOST * 56,
			  "stk_step_shared says less");

template <step_source source, bool tempered>
static __global__ void
__launch_bounds__(STEP_THREADS) extend(const __grid_constant__ stk_trie_step s, uint32_t parts)
{
	extern __shared__ step_block shared_block[];
	step_block &b = *shared_block;
	uint32_t query = blockIdx.x / parts, part = blockIdx.x % parts;

	pool_init(b.pool);
	list_parents(s, b, query, part, parts);
	if (source == SOURCE_MASKED)
		sum_logits<true, tempered>(s, b, query);
	else if (source == SOURCE_FULL)
		sum_logits<false, tempered>(s, b, query);
	find_least<source>(s, b, query);
	for (uint32_t c = 0; c < b.chunks; c += STEP_WARPS)
	{
		uint32_t mine = c + threadIdx.x / 32;

		/* Room for a round: a cut, where there is more than that leaves. */
		if (b.pool.n >= STEP_POOL - STEP_ROUND && b.pool.n > s.width)
			pool_cut(s.width, s.width + STEP_SLACK <= STK_STEP_MOST ? STEP_SLACK : 0);
		__syncthreads();
		if (mine < b.chunks)
			offer_chunk<source, tempered>(s, b, query, mine);
		__syncthreads();
	}
	pool_cut(s.width, 0);
	if (parts > 1)
	{
		if (!hand_over(s, b, query, part, parts))
			return;
		pool_cut(s.width, 0);
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

typedef void (*step_kernel)(const stk_trie_step, uint32_t);

static step_kernel
choose_kernel(const stk_trie_step *s)
{
	if (s->norm == STK_NORM_MASKED)
		return s->temperature ? extend<SOURCE_MASKED, true> : extend<SOURCE_MASKED, false>;
	if (s->terms)
		return extend<SOURCE_TERMS, false>;
	if (s->norm == STK_NORM_NONE)
		return s->temperature ? extend<SOURCE_NONE, true> : extend<SOURCE_NONE, false>;
	return s->temperature ? extend<SOURCE_FULL, true> : extend<SOURCE_FULL, false>;
}

stk_status
stk_trie_step_launch(const stk_trie_step *s, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "extend beams on the device";
	uint32_t parts = s->node ? choose_parts(s->n, s->width, s->parents) : 1;
	uint32_t parents = s->node ? (s->parents + parts - 1) / parts : 1;
	size_t shared = stk_step_shared(parents);
	step_kernel extend_by = choose_kernel(s);
	cudaError_t code =
		cudaFuncSetAttribute(extend_by, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) shared);

	if (code != cudaSuccess)
		return stk_cuda_status(code, doing, err);
	extend_by<<<s->n * parts, STEP_THREADS, shared, stream>>>(*s, parts);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}
