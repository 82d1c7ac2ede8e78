/*
 * What a call on a trie's layer begins with: rows sorted by node and cut into tiles of one node, by
 * one block; and rows rounded to 16 bits for the filter, by the others, a warp each.
 *
 * Bytes: rows once, 2 n wide written. Operations: n log^2 n compares in shared memory; none where
 * all rows have the same node. Bound: launch, for the rows that a decoder has at once.
 */
#include <cub/block/block_scan.cuh>

#include "trie_linear.cuh"

#define THREADS 1024
#define WARPS (THREADS / 32)
#define EACH (STK_LINEAR_SLAB / THREADS)

typedef cub::BlockScan<uint32_t, THREADS> scan;

struct greater_of
{
	__device__ uint32_t
	operator()(uint32_t a, uint32_t b) const
	{
		return a > b ? a : b;
	}
};

/* Bitonic, of a power of two of keys. */
static __device__ void
sort_keys(uint64_t *keys, uint32_t size)
{
	for (uint32_t run = 2; run <= size; run <<= 1)
	{
		for (uint32_t step = run >> 1; step > 0; step >>= 1)
		{
			for (uint32_t i = threadIdx.x; i < size / 2; i += THREADS)
			{
				uint32_t a = 2 * i - (i & (step - 1));
				uint32_t b = a + step;
				bool up = (a & run) == 0;

				if ((keys[a] > keys[b]) == up)
				{
					uint64_t t = keys[a];

					keys[a] = keys[b];
					keys[b] = t;
				}
			}
			__syncthreads();
		}
	}
}

/* Nodes are compared as numbers: the order itself does not matter, but is always the same. */
static __device__ void
cut_tiles(const linear_slab &s, uint32_t rows_a_tile, uint32_t children_a_part)
{
	__shared__ uint64_t keys[STK_LINEAR_SLAB];
	__shared__ typename scan::TempStorage room;
	uint32_t size = 1;
	bool same = true;
	uint32_t begins[EACH], numbers[EACH], items[EACH];
	stk_node_children children[EACH];
	uint32_t ntiles, all;

	while (size < s.n)
		size <<= 1;
	for (uint32_t i = threadIdx.x; i < size; i += THREADS)
	{
		keys[i] = i < s.n ? (uint64_t) s.nodes[i] << 32 | i : ~(uint64_t) 0;
		same = same && (i >= s.n || s.nodes[i] == s.nodes[0]);
	}
	if (!__syncthreads_and(same))
		sort_keys(keys, size);

		/* Where the node that a place's row has begins. */
#pragma unroll
	for (uint32_t j = 0; j < EACH; j++)
	{
		uint32_t i = threadIdx.x * EACH + j;

		begins[j] = i < s.n && i > 0 && (uint32_t) (keys[i] >> 32) != (uint32_t) (keys[i - 1] >> 32)
						? i
						: 0;
	}
	scan(room).InclusiveScan(begins, begins, greater_of());
	__syncthreads();
#pragma unroll
	for (uint32_t j = 0; j < EACH; j++)
	{
		uint32_t i = threadIdx.x * EACH + j;
		bool head = i < s.n && (i - begins[j]) % rows_a_tile == 0;

		numbers[j] = head;
		items[j] = 0;
		if (head)
		{
			children[j] =
				children_below(s.trie, (stk_node) (keys[i] >> 32), s.offset, s.linear.tokens);
			items[j] = (children[j].n + children_a_part - 1) / children_a_part;
		}
	}
	uint32_t heads[EACH];

#pragma unroll
	for (uint32_t j = 0; j < EACH; j++)
		heads[j] = numbers[j];
	scan(room).ExclusiveSum(numbers, numbers, ntiles);
	__syncthreads();
	scan(room).ExclusiveSum(items, items, all);
#pragma unroll
	for (uint32_t j = 0; j < EACH; j++)
	{
		uint32_t i = threadIdx.x * EACH + j;

		if (i < s.n)
			s.work.order[i] = (uint32_t) keys[i];
		if (heads[j])
		{
			s.work.tiles[numbers[j]].first = i;
			s.work.tiles[numbers[j]].items = items[j];
			s.work.tiles[numbers[j]].children = children[j];
		}
	}
	/* A tile's rows end where the next one's begin. */
	__syncthreads();
	for (uint32_t t = threadIdx.x; t < ntiles; t += THREADS)
		s.work.tiles[t].rows =
			(t + 1 < ntiles ? s.work.tiles[t + 1].first : s.n) - s.work.tiles[t].first;
	if (threadIdx.x == 0)
	{
		s.work.tiles[ntiles].items = all;
		*s.work.ntiles = ntiles;
	}
}

static __device__ inline uint16_t
narrow(float v, float)
{
	return __half_as_ushort(__float2half_rn(v));
}

static __device__ inline uint16_t
narrow(float v, __half)
{
	return __half_as_ushort(__float2half_rn(v));
}

static __device__ inline uint16_t
narrow(float v, __nv_bfloat16)
{
	return __bfloat16_as_ushort(__float2bfloat16_rn(v));
}

static __device__ inline float
widened(uint16_t bits, float)
{
	return __half2float(__ushort_as_half(bits));
}

static __device__ inline float
widened(uint16_t bits, __half)
{
	return __half2float(__ushort_as_half(bits));
}

static __device__ inline float
widened(uint16_t bits, __nv_bfloat16)
{
	return __bfloat162float(__ushort_as_bfloat16(bits));
}

static __device__ inline float
greatest_of_warp(float v)
{
	for (int step = 16; step > 0; step >>= 1)
		v = fmaxf(v, __shfl_xor_sync(~0u, v, step));
	return v;
}

static __device__ inline float
sum_of_warp(float v)
{
	for (int step = 16; step > 0; step >>= 1)
		v += __shfl_xor_sync(~0u, v, step);
	return v;
}

/*
 * A power of two that brings the greatest number to 2^13 .. 2^14, where binary16 has its full
 * precision down to 2^-27 of it; 1 where the numbers have 16 bits anyway.
 */
template <class Number>
static __device__ inline float
scale_of(float greatest, Number)
{
	int exponent;

	if (sizeof(Number) == 2 || !(greatest > 0))
		return 1;
	frexpf(greatest, &exponent);
	return ldexpf(1, min(max(14 - exponent, -60), 60));
}

/* A norm of what has been summed by fma in binary32, rounded up: sums of n squares. */
static __device__ inline float
norm_above(float squares, uint32_t n)
{
	return __fsqrt_ru(squares * (1 + (float) (n + 40) * 0x1p-23f) + 0x1p-120f);
}

template <class Number>
static __device__ void
pack_row(const linear_slab &s, uint32_t row)
{
	const Number *x = (const Number *) s.x + (size_t) row * s.linear.dim;
	uint16_t *to = s.work.packed + (size_t) row * s.linear.wide;
	uint32_t lane = threadIdx.x % 32;
	float greatest = 0, squares = 0, lost = 0;
	float scale;
	bool finite = true;

#pragma unroll 16
	for (uint32_t i = lane; i < s.linear.dim; i += 32)
	{
		float v = fabsf(widen(x[i]));

		finite = finite && v < INFINITY;
		greatest = fmaxf(greatest, v);
	}
	finite = __all_sync(~0u, finite);
	if (s.temperatures)
		finite = finite && s.temperatures[row] > 0 && s.temperatures[row] < INFINITY;
	scale = scale_of(greatest_of_warp(greatest), Number());
#pragma unroll 8
	for (uint32_t i = lane; i < s.linear.wide; i += 32)
	{
		float v = i < s.linear.dim ? widen(x[i]) * scale : 0;
		uint16_t bits = narrow(v, Number());
		float kept = widened(bits, Number());

		to[i] = bits;
		squares = fmaf(kept, kept, squares);
		lost = fmaf(v - kept, v - kept, lost);
	}
	squares = sum_of_warp(squares);
	lost = sum_of_warp(lost);
	if (lane == 0)
	{
		row_facts f;

		f.norm = finite ? norm_above(squares, s.linear.wide) : -1;
		f.lost = sizeof(Number) == 2 ? 0 : norm_above(lost, s.linear.wide);
		f.scale = scale;
		s.work.facts[row] = f;
		if (!finite && s.failure)
			atomicMin(s.failure, s.first + row);
	}
}

template <class Number>
static __global__ void
__launch_bounds__(THREADS)
	prepare(const linear_slab s, uint32_t rows_a_tile, uint32_t children_a_part)
{
	if (blockIdx.x == 0)
		cut_tiles(s, rows_a_tile, children_a_part);
	else
	{
		uint32_t row = (blockIdx.x - 1) * WARPS + threadIdx.x / 32;

		if (row < s.n)
			pack_row<Number>(s, row);
	}
}

stk_status
linear_rows_launch(const linear_slab *s, uint32_t rows_a_tile, uint32_t children_a_part,
				   cudaStream_t stream, stk_error *err)
{
	unsigned blocks = 1 + (s->n + WARPS - 1) / WARPS;

	if (s->linear.type == STK_BINARY32)
		prepare<float><<<blocks, THREADS, 0, stream>>>(*s, rows_a_tile, children_a_part);
	else if (s->linear.type == STK_BINARY16)
		prepare<__half><<<blocks, THREADS, 0, stream>>>(*s, rows_a_tile, children_a_part);
	else
		prepare<__nv_bfloat16><<<blocks, THREADS, 0, stream>>>(*s, rows_a_tile, children_a_part);
	return stk_cuda_status(cudaGetLastError(), "sort rows by their nodes on the device", err);
}

/* What a layer's margin is made of, as bits of numbers that are not negative. */
typedef struct layer_facts
{
	uint32_t greatest;
	uint32_t norm;
	uint32_t lost;
	uint32_t bias;
	uint32_t bad; /* the first token whose weights are not finite */
} layer_facts;

template <class Number>
static __global__ void
__launch_bounds__(THREADS) look_at_layer(const stk_device_linear l, layer_facts *facts)
{
	uint32_t lane = threadIdx.x % 32;

	for (uint32_t t = blockIdx.x * WARPS + threadIdx.x / 32; t < l.tokens; t += gridDim.x * WARPS)
	{
		const Number *w = (const Number *) l.weights + (size_t) t * l.dim;
		float greatest = 0;
		float bias = l.bias ? fabsf(widen(((const Number *) l.bias)[t])) : 0;
		bool finite = bias < INFINITY;

		for (uint32_t i = lane; i < l.dim; i += 32)
		{
			float v = fabsf(widen(w[i]));

			finite = finite && v < INFINITY;
			greatest = fmaxf(greatest, v);
		}
		greatest = greatest_of_warp(greatest);
		finite = __all_sync(~0u, finite);
		if (lane == 0)
		{
			atomicMax(&facts->greatest, __float_as_uint(greatest));
			atomicMax(&facts->bias, __float_as_uint(bias));
			if (!finite)
				atomicMin(&facts->bad, t);
		}
	}
}

template <class Number>
static __global__ void
__launch_bounds__(THREADS) pack_layer(const stk_device_linear l, uint16_t *to, layer_facts *facts)
{
	uint32_t lane = threadIdx.x % 32;

	for (uint32_t t = blockIdx.x * WARPS + threadIdx.x / 32; t < l.tokens; t += gridDim.x * WARPS)
	{
		const Number *w = (const Number *) l.weights + (size_t) t * l.dim;
		float squares = 0, lost = 0;

		for (uint32_t i = lane; i < l.wide; i += 32)
		{
			float v = i < l.dim ? widen(w[i]) * l.scale : 0;
			uint16_t bits = narrow(v, Number());
			float kept = widened(bits, Number());

			if (to)
				to[(size_t) t * l.wide + i] = bits;
			squares = fmaf(v, v, squares);
			lost = fmaf(v - kept, v - kept, lost);
		}
		squares = sum_of_warp(squares);
		lost = sum_of_warp(lost);
		if (lane == 0)
		{
			atomicMax(&facts->norm, __float_as_uint(norm_above(squares, l.wide)));
			if (sizeof(Number) == 4)
				atomicMax(&facts->lost, __float_as_uint(norm_above(lost, l.wide)));
		}
	}
}

template <class Number>
static stk_status
create(stk_device_linear *l, layer_facts *facts, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "pack a layer's weights on the device";
	unsigned blocks = (l->tokens + WARPS - 1) / WARPS;
	/* Weights of 16 bits serve as they are where rows are whole chunks. */
	bool as_is = sizeof(Number) == 2 && l->dim == l->wide && (uintptr_t) l->weights % 16 == 0;
	layer_facts got = {0, 0, 0, 0, UINT32_MAX};
	stk_status status;

	if (!as_is)
	{
		l->bytes = (size_t) l->tokens * l->wide * sizeof(uint16_t);
		status = stk_cuda_status(cudaMalloc(&l->memory, l->bytes), doing, err);
		if (status != STK_OK)
			return status;
	}
	l->packed = as_is ? (const uint16_t *) l->weights : (const uint16_t *) l->memory;
	blocks = blocks > 2048 ? 2048 : blocks;
	status = stk_cuda_status(
		cudaMemcpyAsync(facts, &got, sizeof(got), cudaMemcpyHostToDevice, stream), doing, err);
	if (status != STK_OK)
		return status;
	look_at_layer<Number><<<blocks, THREADS, 0, stream>>>(*l, facts);
	status = stk_cuda_status(cudaGetLastError(), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(
			cudaMemcpyAsync(&got, facts, sizeof(got), cudaMemcpyDeviceToHost, stream), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaStreamSynchronize(stream), doing, err);
	if (status != STK_OK)
		return status;
	if (got.bad != UINT32_MAX)
		return stk_fail(err, STK_EINVAL, "weights of token %u are not finite", got.bad);
	l->scale = 1;
	if (sizeof(Number) == 4 && got.greatest > 0)
	{
		float greatest;
		int exponent;

		memcpy(&greatest, &got.greatest, sizeof(greatest));
		(void) frexpf(greatest, &exponent);
		exponent = 14 - exponent;
		exponent = exponent > 60 ? 60 : exponent < -60 ? -60 : exponent;
		l->scale = ldexpf(1, exponent);
	}
	pack_layer<Number>
		<<<blocks, THREADS, 0, stream>>>(*l, as_is ? NULL : (uint16_t *) l->memory, facts);
	status = stk_cuda_status(cudaGetLastError(), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(
			cudaMemcpyAsync(&got, facts, sizeof(got), cudaMemcpyDeviceToHost, stream), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaStreamSynchronize(stream), doing, err);
	memcpy(&l->norm, &got.norm, sizeof(float));
	memcpy(&l->lost, &got.lost, sizeof(float));
	memcpy(&l->largest_bias, &got.bias, sizeof(float));
	return status;
}

stk_status
stk_device_linear_create(stk_number type, const void *weights, const void *bias, uint32_t tokens,
						 uint32_t dim, cudaStream_t stream, stk_device_linear *out, stk_error *err)
{
	layer_facts *facts = NULL;
	stk_status status;

	memset(out, 0, sizeof(*out));
	if (dim == 0 || dim > STK_LINEAR_MOST_DIM || tokens == 0 || tokens > INT32_MAX)
		return stk_fail(err, STK_ERANGE,
						"expected 1 to %d numbers of each of 1 to %d tokens, not %u of %u",
						STK_LINEAR_MOST_DIM, INT32_MAX, dim, tokens);
	out->type = type;
	out->weights = weights;
	out->bias = bias;
	out->tokens = tokens;
	out->dim = dim;
	out->wide = (dim + STK_CHUNK - 1) / STK_CHUNK * STK_CHUNK;
	out->scale = 1;
	status = stk_cuda_status(cudaMalloc(&facts, sizeof(*facts)), "look at a layer's weights", err);
	if (status != STK_OK)
		return status;
	if (type == STK_BINARY32)
		status = create<float>(out, facts, stream, err);
	else if (type == STK_BINARY16)
		status = create<__half>(out, facts, stream, err);
	else
		status = create<__nv_bfloat16>(out, facts, stream, err);
	(void) cudaFree(facts);
	if (status != STK_OK)
		stk_device_linear_free(out);
	return status;
}

void
stk_device_linear_free(stk_device_linear *l)
{
	(void) cudaFree(l->memory);
	l->memory = NULL;
}

size_t
stk_linear_work_bytes(const stk_device_linear *l, const stk_packed_trie *trie, size_t n)
{
	size_t bytes;

	(void) linear_take(l, trie, n, NULL, &bytes);
	return bytes;
}
