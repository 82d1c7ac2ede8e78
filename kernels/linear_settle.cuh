/*
 * Of a row's children those that may be among the best by the filter's scores, and their logits by
 * the reference: what top-k and draws share. A block has a row.
 */
#ifndef STK_LINEAR_SETTLE_CUH
#define STK_LINEAR_SETTLE_CUH

#include "trie_linear.cuh"

#define SETTLE_THREADS 128
/* Children that are looked at by the reference at once, with the best so far. */
#define SETTLE_MOST 512
/* Scores that a block keeps at hand; more are read again. */
#define SETTLE_KEPT 2048

static_assert(STK_LINEAR_MOST_K + SETTLE_THREADS <= SETTLE_MOST, "some must come in each turn");

/* Children and their values by the reference; the first `have` are settled. */
typedef struct settled
{
	double values[SETTLE_MOST];
	uint32_t children[SETTLE_MOST];
	uint32_t n;
	float kept[SETTLE_KEPT];
	float greatest[SETTLE_THREADS / 32];
	float least[SETTLE_THREADS / 32];
	uint32_t counts[SETTLE_THREADS / 32];
} settled;

/* Is (a, i) before (b, j)? Values compare as numbers; children ascend by code. */
static __device__ inline bool
is_before(double a, uint32_t i, double b, uint32_t j)
{
	return a > b || (a == b && i < j);
}

/* The block's row, widened, into shared memory. */
template <class Number>
static __device__ inline void
widen_row(const linear_slab &s, uint32_t row, double *x)
{
	const Number *from = (const Number *) s.x + (size_t) row * s.linear.dim;

	for (uint32_t i = threadIdx.x; i < s.linear.dim; i += SETTLE_THREADS)
		x[i] = (double) widen(from[i]);
}

/* The least and the greatest of the block's scores; false: some are not finite. */
static __device__ inline bool
range_of(settled *b, const float *scores, uint32_t n, float *least, float *greatest)
{
	float low = INFINITY, high = -INFINITY;
	bool finite = true;

	for (uint32_t i = threadIdx.x; i < n; i += SETTLE_THREADS)
	{
		float v = scores[i];

		finite = finite && fabsf(v) < INFINITY;
		low = fminf(low, v);
		high = fmaxf(high, v);
	}
	for (int step = 16; step > 0; step >>= 1)
	{
		low = fminf(low, __shfl_xor_sync(~0u, low, step));
		high = fmaxf(high, __shfl_xor_sync(~0u, high, step));
	}
	if (threadIdx.x % 32 == 0)
	{
		b->least[threadIdx.x / 32] = low;
		b->greatest[threadIdx.x / 32] = high;
	}
	finite = __syncthreads_and(finite);
	for (int w = 0; w < SETTLE_THREADS / 32; w++)
	{
		low = fminf(low, b->least[w]);
		high = fmaxf(high, b->greatest[w]);
	}
	*least = low;
	*greatest = high;
	return finite;
}

/* Logits of the children from `have` on, by the reference: a pair of threads each. */
template <class Number, class Value>
static __device__ inline void
score_by_reference(settled *b, const linear_slab &s, const stk_node_children &c, const double *x,
				   uint32_t have, Value value_of)
{
	uint32_t n = b->n;

	for (uint32_t first = have; first < n; first += SETTLE_THREADS / 2)
	{
		uint32_t i = first + threadIdx.x / 2;
		uint32_t k = b->children[min(i, n - 1)];
		uint32_t token = s.offset + c.codes[k];
		double dot;

		/* None for the whole warp. */
		if (first + threadIdx.x / 32 * 16 >= n)
			continue;
		dot = exact_dot(x, (const Number *) s.linear.weights + (size_t) token * s.linear.dim,
						s.linear.dim, s.aligned);
		dot = with_bias(dot, (const Number *) s.linear.bias, token);
		if (i < n && threadIdx.x % 2 == 0)
			b->values[i] = value_of(dot, k);
	}
}

/* Bring the best k of what is there to the front, in order, and leave the others out. */
static __device__ inline void
keep_best(settled *b, uint32_t k)
{
	constexpr int EACH = SETTLE_MOST / SETTLE_THREADS;
	double values[EACH];
	uint32_t children[EACH], ranks[EACH];
	uint32_t n = b->n;

	__syncthreads();
#pragma unroll
	for (int e = 0; e < EACH; e++)
	{
		uint32_t i = threadIdx.x + (uint32_t) e * SETTLE_THREADS;

		ranks[e] = UINT32_MAX;
		if (i >= n)
			continue;
		values[e] = b->values[i];
		children[e] = b->children[i];
		ranks[e] = 0;
		for (uint32_t j = 0; j < n; j++)
			ranks[e] += is_before(b->values[j], b->children[j], values[e], children[e]);
	}
	__syncthreads();
#pragma unroll
	for (int e = 0; e < EACH; e++)
	{
		if (ranks[e] >= k)
			continue;
		b->values[ranks[e]] = values[e];
		b->children[ranks[e]] = children[e];
	}
	if (threadIdx.x == 0)
		b->n = min(n, k);
	__syncthreads();
}

/*
 * Settle the best k of the n children whose scores are not below the threshold, NaN among them;
 * they are at b->values and b->children [b->n] then, in order.
 */
template <class Number, class Value>
static __device__ inline void
settle(settled *b, const linear_slab &s, const stk_node_children &c, const double *x,
	   const float *scores, float threshold, uint32_t k, Value value_of)
{
	uint32_t have = 0;
	uint32_t first = 0;

	if (threadIdx.x == 0)
		b->n = 0;
	__syncthreads();
	while (first < c.n)
	{
		/* Both counts are of before: all threads agree on whether there is room for a turn more. */
		for (uint32_t there = have; first < c.n && there + SETTLE_THREADS <= SETTLE_MOST;)
		{
			uint32_t i = first + threadIdx.x;
			bool may = i < c.n && !(scores[i] < threshold);

			if (may)
				b->children[atomicAdd(&b->n, 1)] = i;
			there += __syncthreads_count(may);
			first += SETTLE_THREADS;
		}
		score_by_reference<Number>(b, s, c, x, have, value_of);
		keep_best(b, k);
		have = b->n;
		/* Before anybody adds to it. */
		__syncthreads();
	}
}

/* A block's shared memory: what is settled, and its row. */
static inline size_t
settle_bytes(const stk_device_linear *l)
{
	return sizeof(settled) + (size_t) l->dim * sizeof(double);
}

#endif
