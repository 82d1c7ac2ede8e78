/*
 * The best k children of each row's node under a layer: the filter's scores, a threshold below
 * which none of the best can be, and the reference for what is above it.
 *
 * The threshold is the k-th greatest score, or one a little below it, found by halving, less twice
 * the margin. A block has a row.
 *
 * Bytes: a row's scores once, and weights of k and some children. Operations: 2 dim k in binary64 a
 * row. Bound: the second-level cache, which the winners' weights come from.
 */
#include "linear_settle.cuh"

/* Halvings, and how many more than k are good enough: they cost a dot product each. */
#define HALVINGS 26
#define ENOUGH 2

typedef struct topk_args
{
	linear_slab slab;
	uint32_t k;
	float *values;
	int32_t *tokens;
	stk_node *next;
} topk_args;

/* A score that at least k others are not below; near the k-th greatest. All are finite. */
static __device__ inline float
near_kth(settled *b, const float *scores, uint32_t n, uint32_t k, float least, float greatest)
{
	/* At least k are not below low, fewer than k are not below high. */
	float low = least, high = greatest;
	uint32_t there = n;

	for (int turn = 0; turn < HALVINGS && there > k + ENOUGH; turn++)
	{
		float middle = low + (high - low) * 0.5f;
		uint32_t count = 0;

		if (!(middle > low && middle < high) && turn > 0)
			break;
		for (uint32_t i = threadIdx.x; i < n; i += SETTLE_THREADS)
			count += scores[i] >= middle;
		for (int step = 16; step > 0; step >>= 1)
			count += __shfl_xor_sync(~0u, count, step);
		if (threadIdx.x % 32 == 0)
			b->counts[threadIdx.x / 32] = count;
		__syncthreads();
		count = 0;
		for (int w = 0; w < SETTLE_THREADS / 32; w++)
			count += b->counts[w];
		__syncthreads();
		if (count >= k)
		{
			low = middle;
			there = count;
		}
		else
			high = middle;
	}
	return low;
}

template <class Number>
static __global__ void
__launch_bounds__(SETTLE_THREADS) choose_best(const topk_args a)
{
	extern __shared__ __align__(16) unsigned char room[];
	settled *b = (settled *) room;
	double *x = (double *) (room + sizeof(settled));
	const linear_slab &s = a.slab;
	uint32_t row = blockIdx.x;
	row_facts f = s.work.facts[row];
	stk_node_children c = children_below(s.trie, s.nodes[row], s.offset, s.linear.tokens);
	const float *scores = s.work.scores + row * s.work.stride;
	float least, greatest, threshold = -INFINITY;
	uint32_t found = 0;

	if (f.norm >= 0 && c.n > 0)
	{
		widen_row<Number>(s, row, x);
		if (c.n <= SETTLE_KEPT)
		{
			for (uint32_t i = threadIdx.x; i < c.n; i += SETTLE_THREADS)
				b->kept[i] = scores[i];
			scores = b->kept;
		}
		__syncthreads();
		if (c.n > a.k && range_of(b, scores, c.n, &least, &greatest))
		{
			threshold = near_kth(b, scores, c.n, a.k, least, greatest);
			threshold = __fadd_rd(threshold, -2 * row_margin(s.linear, f));
			threshold = threshold > -INFINITY ? threshold : -INFINITY;
		}
		settle<Number>(b, s, c, x, scores, threshold, a.k,
					   [](double logit, uint32_t) { return logit; });
		found = b->n;
	}
	for (uint32_t i = threadIdx.x; i < a.k; i += SETTLE_THREADS)
	{
		size_t to = (size_t) (s.first + row) * a.k + i;
		bool there = i < found;

		a.values[to] = there ? (float) b->values[i] : f.norm >= 0 ? -INFINITY : NAN;
		a.tokens[to] = there ? (int32_t) (s.offset + c.codes[b->children[i]]) : -1;
		a.next[to] = there ? stk_node_child(&s.trie, &c, b->children[i]) : STK_NODE_NONE;
	}
}

template <class Number>
static stk_status
launch(const topk_args *a, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "choose the best children on the device";
	size_t bytes = settle_bytes(&a->slab.linear);
	stk_status status = stk_cuda_status(
		cudaFuncSetAttribute(choose_best<Number>, cudaFuncAttributeMaxDynamicSharedMemorySize,
							 (int) bytes),
		doing, err);

	if (status != STK_OK)
		return status;
	choose_best<Number><<<a->slab.n, SETTLE_THREADS, bytes, stream>>>(*a);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}

stk_status
stk_linear_topk_launch(const stk_linear_call *call, uint32_t k, float *values, int32_t *tokens,
					   stk_node *next, cudaStream_t stream, stk_error *err)
{
	size_t bytes;
	linear_work work = linear_take(call->linear, &call->trie, call->n, call->work, &bytes);
	stk_status status = STK_OK;

	if (k < 1 || k > STK_LINEAR_MOST_K)
		return stk_fail(err, STK_EINVAL, "expected a k of 1 to %d, not %u", STK_LINEAR_MOST_K, k);
	for (size_t first = 0; first < call->n && status == STK_OK; first += work.rows)
	{
		topk_args a = {linear_slab_at(call, &work, first, NULL), k, values, tokens, next};

		status = linear_rows_launch(&a.slab, STK_LINEAR_TILE, STK_LINEAR_PART, stream, err);
		if (status == STK_OK)
			status = linear_filter_launch(&a.slab, stream, err);
		if (status != STK_OK)
			return status;
		if (call->linear->type == STK_BINARY32)
			status = launch<float>(&a, stream, err);
		else if (call->linear->type == STK_BINARY16)
			status = launch<__half>(&a, stream, err);
		else
			status = launch<__nv_bfloat16>(&a, stream, err);
	}
	return status;
}
