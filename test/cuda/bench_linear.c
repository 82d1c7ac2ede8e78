/*
 * A model's last layer under a trie: RecTokens' grid of rows {32 .. 4,096} x tokens {512 ..
 * 150,000} x children {0.1, 1, 10 %}, all rows at one node, and the published setting with more
 * nodes.
 *
 *   test/cuda/bin/bench_linear [goals|grid] [binary32|binary16|bfloat16]
 *
 * Of each cell of the grid a line: rows, tokens, children, microseconds of masked logits, top-50
 * and a draw. A time is a graph's of CALLS calls over rows that take turns, divided by their
 * number; the median of REPLAYS, with the second-level cache filled with something else before.
 */
#include "linear.h"

#define CALLS 8
#define REPLAYS 11
#define FLUSHED ((size_t) 256 << 20)
#define DIM 512

static void *flushed;
static cudaStream_t stream;
static uint64_t seed = 1;

enum
{
	MASKED,
	TOPK,
	DRAW,
	LISTS
};

static int
by_value(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return (x > y) - (x < y);
}

static void *masked_there;
static int32_t *lists_there;
static stk_node *lists_next;

static void
once(linear_case *c, int what)
{
	stk_error err = {.level = -1};
	stk_status status = STK_OK;

	if (what == MASKED)
		status = stk_linear_masked_launch(&c->call, masked_there, false, stream, &err);
	else if (what == TOPK)
		linear_topk_once(c, stream);
	else if (what == DRAW)
		linear_draw_once(c, 1, 0, stream);
	else
		status = stk_linear_children_launch(&c->call.trie, c->call.nodes, c->n, 0, c->tokens,
											c->trie.most_children, lists_there, lists_next, stream,
											&err);
	must(status == STK_OK, "launch", err.message);
}

/* One call's time in microseconds. */
static double
measure(linear_case *c, int what)
{
	cudaGraph_t graph;
	cudaGraphExec_t run;
	cudaEvent_t begin, end;
	float ms[REPLAYS];
	int calls = what == MASKED && c->n * c->tokens > (size_t) 1 << 26 ? 1 : CALLS;

	MUST_CUDA(cudaEventCreate(&begin));
	MUST_CUDA(cudaEventCreate(&end));
	MUST_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
	for (int i = 0; i < calls; i++)
		once(c, what);
	MUST_CUDA(cudaStreamEndCapture(stream, &graph));
	MUST_CUDA(cudaGraphInstantiate(&run, graph, 0));
	for (int i = -2; i < REPLAYS; i++)
	{
		MUST_CUDA(cudaMemsetAsync(flushed, i, FLUSHED, stream));
		MUST_CUDA(cudaEventRecord(begin, stream));
		MUST_CUDA(cudaGraphLaunch(run, stream));
		MUST_CUDA(cudaEventRecord(end, stream));
		MUST_CUDA(cudaStreamSynchronize(stream));
		if (i >= 0)
			MUST_CUDA(cudaEventElapsedTime(&ms[i], begin, end));
	}
	MUST_CUDA(cudaGraphExecDestroy(run));
	MUST_CUDA(cudaGraphDestroy(graph));
	MUST_CUDA(cudaEventDestroy(begin));
	MUST_CUDA(cudaEventDestroy(end));
	qsort(ms, REPLAYS, sizeof(ms[0]), by_value);
	return ms[REPLAYS / 2] * 1e3 / calls;
}

/* A layer's weights: the same for all cases of as many tokens. */
static float *weights;

static void
make_case(linear_case *made, stk_number type, size_t n, uint32_t tokens, uint32_t nodes,
		  uint32_t children)
{
	linear_case c = {.type = type, .tokens = tokens, .dim = DIM, .k = 50, .n = n};
	uint32_t codes = tokens < 65536 ? tokens : 65536;
	stk_node_children top;

	c.trie = forked_trie(nodes, children, codes, &seed, &c.block, &c.block_bytes);
	c.weights = malloc((size_t) tokens * DIM * sizeof(float));
	memcpy(c.weights, weights, (size_t) tokens * DIM * sizeof(float));
	c.x = malloc(n * DIM * sizeof(float));
	fill(c.x, n * DIM, 1, &seed);
	c.nodes = malloc(n * sizeof(stk_node));
	c.states = malloc(n * sizeof(uint64_t));
	top = stk_node_list(&c.trie, c.trie.root[0]);
	for (size_t r = 0; r < n; r++)
	{
		c.nodes[r] = stk_node_child(&c.trie, &top, (uint32_t) (r * 2654435761u % nodes));
		c.states[r] = r;
	}
	*made = c;
	linear_begin(made);
	linear_poison(made, c.k);
}

static void
goals(stk_number type)
{
	static const uint32_t nodes[] = {1, 64, 4096};
	static const size_t rows[] = {256, 1024, 4096};
	linear_case c;

	for (int i = 0; i < 3; i++)
	{
		make_case(&c, type, 4096, 150000, nodes[i], 1500);
		printf("4,096 rows, 150,000 tokens, %u nodes of 1,500: top-50 %.1f us, a draw %.1f us",
			   nodes[i], measure(&c, TOPK), measure(&c, DRAW));
		if (i == 0)
			printf(", masked logits %.1f us, lists of children %.1f us", measure(&c, MASKED),
				   measure(&c, LISTS));
		printf("\n");
		fflush(stdout);
		linear_end(&c);
	}
	for (int i = 0; i < 3; i++)
	{
		make_case(&c, type, rows[i], 512, 1, 51);
		printf(
			"%zu rows, 512 tokens, 1 node of 51: top-50 %.1f us, a draw %.1f us, masked %.1f us\n",
			rows[i], measure(&c, TOPK), measure(&c, DRAW), measure(&c, MASKED));
		fflush(stdout);
		linear_end(&c);
	}
}

static void
grid(stk_number type)
{
	static const size_t rows[] = {32, 256, 1024, 4096};
	static const uint32_t tokens[] = {512, 1024, 8192, 150000};
	static const int shares[] = {1, 10, 100};

	for (int b = 0; b < 4; b++)
		for (int t = 0; t < 4; t++)
			for (int s = 0; s < 3; s++)
			{
				uint32_t children = tokens[t] * (uint32_t) shares[s] / 1000;
				linear_case c;

				children = children > 0 ? children : 1;
				make_case(&c, type, rows[b], tokens[t], 1, children);
				printf("%zu,%u,%u,%.2f,%.2f,%.2f\n", rows[b], tokens[t], children,
					   measure(&c, MASKED), measure(&c, TOPK), measure(&c, DRAW));
				fflush(stdout);
				linear_end(&c);
			}
}

int
main(int argc, char **argv)
{
	stk_number type = STK_BINARY32;

	if (argc > 2 && strcmp(argv[2], "binary16") == 0)
		type = STK_BINARY16;
	if (argc > 2 && strcmp(argv[2], "bfloat16") == 0)
		type = STK_BFLOAT16;
	MUST_CUDA(cudaStreamCreate(&stream));
	flushed = device_memory(FLUSHED);
	masked_there = device_memory((size_t) 4096 * 150000 * sizeof(float));
	lists_there = device_memory((size_t) 4096 * 15000 * sizeof(int32_t));
	lists_next = device_memory((size_t) 4096 * 15000 * sizeof(stk_node));
	weights = malloc((size_t) 150000 * DIM * sizeof(float));
	fill(weights, (size_t) 150000 * DIM, 1, &seed);
	if (argc > 1 && strcmp(argv[1], "grid") == 0)
		grid(type);
	else
		goals(type);
	return 0;
}
