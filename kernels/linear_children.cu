/*
 * The children of rows' nodes: as lists, as a mask of given logits, as what a token leads to; and a
 * beam step's survivors as tokens and parents.
 *
 * Bytes: 8 n width written; 8 n tokens read and written. Bound: memory.
 */
#include "trie_linear.cuh"

#define THREADS 256

static __global__ void
__launch_bounds__(THREADS)
	list_children(const stk_packed_trie trie, const stk_node *nodes, uint32_t offset,
				  uint32_t tokens_there, size_t width, int32_t *tokens, stk_node *next)
{
	size_t row = blockIdx.y;
	stk_node_children c = children_below(trie, nodes[row], offset, tokens_there);

	for (size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x; i < width;
		 i += (size_t) gridDim.x * THREADS)
	{
		bool there = i < c.n;

		if (tokens)
			tokens[row * width + i] = there ? (int32_t) (offset + c.codes[i]) : -1;
		if (next)
			next[row * width + i] = there ? stk_node_child(&trie, &c, (uint32_t) i) : STK_NODE_NONE;
	}
}

/* A piece of a row of logits: where its first child is, then all that follow. */
#define PIECE 2048

static __global__ void
__launch_bounds__(THREADS)
	mask_given(const stk_packed_trie trie, const stk_node *nodes, uint32_t offset, uint32_t tokens,
			   const float *logits, float *out)
{
	__shared__ uint32_t bits[PIECE / 32];
	size_t row = blockIdx.y;
	uint32_t first = blockIdx.x * PIECE;
	uint32_t end = min(first + PIECE, tokens);
	stk_node_children c = children_below(trie, nodes[row], offset, tokens);
	uint32_t from = 0, to = c.n;

	for (uint32_t i = threadIdx.x; i < PIECE / 32; i += THREADS)
		bits[i] = 0;
	while (from < to)
	{
		uint32_t mid = from + (to - from) / 2;

		if (offset + c.codes[mid] < first)
			from = mid + 1;
		else
			to = mid;
	}
	__syncthreads();
	for (uint32_t i = from + threadIdx.x; i < c.n && offset + c.codes[i] < end; i += THREADS)
	{
		uint32_t at = offset + c.codes[i] - first;

		atomicOr(&bits[at / 32], 1u << at % 32);
	}
	__syncthreads();
	for (uint32_t i = first + threadIdx.x; i < end; i += THREADS)
	{
		size_t at = row * tokens + i;

		out[at] = bits[(i - first) / 32] >> (i - first) % 32 & 1 ? logits[at] : -INFINITY;
	}
}

static __global__ void
__launch_bounds__(THREADS) follow(const stk_packed_trie trie, const stk_node *nodes,
								  const int32_t *tokens, size_t n, uint32_t offset, stk_node *next)
{
	size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x;
	int64_t code;

	if (i >= n)
		return;
	code = (int64_t) tokens[i] - offset;
	next[i] = code < 0 || code > STK_MAX_CODE ? STK_NODE_NONE
											  : stk_node_find(&trie, nodes[i], (uint16_t) code);
}

static __global__ void
__launch_bounds__(THREADS) unpack(const uint32_t *n_out, size_t n, uint32_t width, uint32_t offset,
								  const uint32_t *numbers, int32_t *tokens, int32_t *parents,
								  stk_node *next, double *costs)
{
	size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x;
	bool there;

	if (i >= n * width)
		return;
	there = i % width < n_out[i / width];
	tokens[i] = there ? (int32_t) (offset + (numbers[i] & 0xffff)) : -1;
	parents[i] = there ? (int32_t) (numbers[i] >> 16) : -1;
	if (!there)
	{
		next[i] = STK_NODE_NONE;
		costs[i] = INFINITY;
	}
}

stk_status
stk_trie_follow_launch(const stk_packed_trie *trie, const stk_node *nodes, const int32_t *tokens,
					   size_t n, uint32_t offset, stk_node *next, cudaStream_t stream,
					   stk_error *err)
{
	if (n == 0)
		return STK_OK;
	follow<<<(unsigned) ((n + THREADS - 1) / THREADS), THREADS, 0, stream>>>(*trie, nodes, tokens,
																			 n, offset, next);
	return stk_cuda_status(cudaGetLastError(), "follow tokens on the device", err);
}

stk_status
stk_trie_unpack_launch(const uint32_t *n_out, size_t n, uint32_t width, uint32_t offset,
					   const uint32_t *numbers, int32_t *tokens, int32_t *parents, stk_node *next,
					   double *costs, cudaStream_t stream, stk_error *err)
{
	if (n == 0)
		return STK_OK;
	unpack<<<(unsigned) ((n * width + THREADS - 1) / THREADS), THREADS, 0, stream>>>(
		n_out, n, width, offset, numbers, tokens, parents, next, costs);
	return stk_cuda_status(cudaGetLastError(), "unpack survivors on the device", err);
}

stk_status
stk_linear_children_launch(const stk_packed_trie *trie, const stk_node *nodes, size_t n,
						   uint32_t offset, uint32_t tokens_there, size_t width, int32_t *tokens,
						   stk_node *next, cudaStream_t stream, stk_error *err)
{
	size_t blocks = (width + THREADS - 1) / THREADS;
	size_t most = 65535;

	for (size_t first = 0; first < n && width > 0; first += most)
	{
		unsigned rows = (unsigned) (n - first < most ? n - first : most);

		list_children<<<dim3((unsigned) (blocks > 64 ? 64 : blocks), rows), THREADS, 0, stream>>>(
			*trie, nodes + first, offset, tokens_there, width,
			tokens ? tokens + first * width : NULL, next ? next + first * width : NULL);
	}
	return stk_cuda_status(cudaGetLastError(), "list children on the device", err);
}

stk_status
stk_mask_logits_launch(const stk_packed_trie *trie, const stk_node *nodes, size_t n,
					   uint32_t offset, uint32_t tokens, const float *logits, float *out,
					   cudaStream_t stream, stk_error *err)
{
	size_t most = 65535;

	for (size_t first = 0; first < n && tokens > 0; first += most)
	{
		unsigned rows = (unsigned) (n - first < most ? n - first : most);

		mask_given<<<dim3((tokens + PIECE - 1) / PIECE, rows), THREADS, 0, stream>>>(
			*trie, nodes + first, offset, tokens, logits + first * tokens, out + first * tokens);
	}
	return stk_cuda_status(cudaGetLastError(), "mask logits on the device", err);
}
