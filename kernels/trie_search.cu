/*
 * Whole searches: steps one after the other, whose survivors come out in the order of their paths,
 * those of the last the best first; then each one's codes are read back along its parents, and the
 * ids below it listed.
 *
 * Bytes: 16 a survivor and level, beside the steps'. Bound: the steps'.
 */
#include <stdlib.h>
#include <string.h>

#include "trie_search.h"

#define THREADS 256
/* Shapes whose graphs are kept. */
#define KEPT_GRAPHS 8

/* What lies in a search's memory. */
typedef struct layout
{
	uint32_t *number; /* [levels][n][width] of survivors: parent << 16 | code */
	uint32_t *left;   /* [2][n] survivors, by turns */
	stk_node *node;   /* [2][n][width] */
	double *cost;     /* [2][n][width] */
	char *scratch;
	size_t scratch_bytes;
} layout;

static size_t
lay_out(void *memory, uint32_t n, int levels, uint32_t width, layout *l)
{
	size_t all = (size_t) n * width;
	size_t at = 0;

	l->scratch_bytes = stk_trie_step_scratch(n, width);
	l->number = (uint32_t *) stk_take(memory, &at, (size_t) levels * all * sizeof(uint32_t));
	l->left = (uint32_t *) stk_take(memory, &at, 2 * (size_t) n * sizeof(uint32_t));
	l->node = (stk_node *) stk_take(memory, &at, 2 * all * sizeof(stk_node));
	l->cost = (double *) stk_take(memory, &at, 2 * all * sizeof(double));
	l->scratch = (char *) stk_take(memory, &at, l->scratch_bytes);
	return at;
}

size_t
stk_trie_search_bytes(uint32_t n, int levels, uint32_t width)
{
	layout l;

	return lay_out(NULL, n, levels, width, &l);
}

/* What a search found: its last survivors, and the way to each. */
struct survivors
{
	const uint32_t *number; /* [levels][n][width] */
	const uint32_t *left;   /* [n] */
	const stk_node *node;   /* [n][width] */
	const double *cost;     /* [n][width] */
};

/* A survivor's codes, back along its parents. */
static __device__ inline void
read_path(const stk_trie_search &s, const survivors &v, uint32_t query, uint32_t rank,
		  uint16_t *codes)
{
	uint32_t at = rank;

	for (int l = s.levels - 1; l >= 0; l--)
	{
		uint32_t here = v.number[((size_t) l * s.n + query) * s.width + at];

		codes[l] = (uint16_t) here;
		at = here >> 16;
	}
}

/* Ids of the queries' length: the best k survivors of each query, a thread one. */
static __global__ void
__launch_bounds__(THREADS)
	write_survivors(const __grid_constant__ stk_trie_search s, const survivors v)
{
	size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x;
	uint32_t query = (uint32_t) (i / s.k), rank = (uint32_t) (i % s.k);
	uint16_t *codes = s.codes + i * (size_t) s.length;
	uint32_t found;

	if (query >= s.n)
		return;
	found = v.left[query] < s.k ? v.left[query] : s.k;
	if (rank == 0)
		s.found[query] = found;
	if (rank >= found)
		return;
	s.costs[i] = v.cost[(size_t) query * s.width + rank];
	s.lengths[i] = (uint8_t) s.levels;
	read_path(s, v, query, rank, codes);
	for (int l = s.levels; l < s.length; l++)
		codes[l] = 0;
}

/* Longer ids share a survivor's cost, in ascending order: a thread walks those of a query. */
static __global__ void
__launch_bounds__(THREADS) write_below(const __grid_constant__ stk_trie_search s, const survivors v)
{
	uint32_t query = blockIdx.x * THREADS + threadIdx.x;
	uint32_t found = 0;
	uint16_t path[STK_MAX_LEVELS];
	stk_node node[STK_MAX_LEVELS + 1];
	uint32_t next[STK_MAX_LEVELS + 1];

	if (query >= s.n)
		return;
	for (uint32_t rank = 0; rank < v.left[query] && found < s.k; rank++)
	{
		int level = s.levels;

		read_path(s, v, query, rank, path);
		node[level] = v.node[(size_t) query * s.width + rank];
		next[level] = 0;
		while (level >= s.levels && found < s.k)
		{
			stk_node_children children = stk_node_list(&s.trie, node[level]);
			uint32_t child = next[level]++;

			if (child == 0 && stk_node_is_id(node[level]))
			{
				size_t at = (size_t) query * s.k + found++;

				s.costs[at] = v.cost[(size_t) query * s.width + rank];
				s.lengths[at] = (uint8_t) level;
				for (int l = 0; l < s.length; l++)
					s.codes[at * (size_t) s.length + l] = l < level ? path[l] : (uint16_t) 0;
			}
			if (child >= children.n)
			{
				level--;
				continue;
			}
			path[level++] = children.codes[child];
			node[level] = stk_node_child(&s.trie, &children, child);
			next[level] = 0;
		}
	}
	s.found[query] = found;
}

stk_status
stk_trie_search_launch(const stk_trie_search *s, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "search a trie on the device";
	size_t all = (size_t) s->n * s->width;
	size_t first = 0, stride = 0;
	layout l;
	stk_trie_step step = {};
	survivors v = {};
	stk_status status;

	(void) lay_out(s->memory, s->n, s->levels, s->width, &l);
	for (int i = 0; i < s->levels; i++)
		stride += s->sizes[i];
	status = stk_cuda_status(cudaMemsetAsync(s->dropped, 0, s->n, stream), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaMemsetAsync(l.scratch, 0, s->n * sizeof(uint32_t), stream),
								 doing, err);
	step.trie = s->trie;
	step.n = s->n;
	step.width = s->width;
	step.start = s->start;
	step.norm = s->norm;
	step.stride = stride;
	step.dropped = s->dropped;
	step.scratch = l.scratch;
	step.parents = s->width;
	for (int i = 0; i < s->levels && status == STK_OK; i++)
	{
		size_t from = (size_t) (i % 2 ? 0 : 1), to = 1 - from;

		step.node = i > 0 ? l.node + from * all : NULL;
		step.cost = l.cost + from * all;
		step.n_parents = l.left + from * s->n;
		step.terms = s->terms ? s->terms + first : NULL;
		step.logits = s->logits ? s->logits + first : NULL;
		step.size = s->sizes[i];
		step.leaves = i == s->levels - 1;
		step.by_path = i < s->levels - 1;
		step.n_out = l.left + to * s->n;
		step.out_number = l.number + (size_t) i * all;
		step.out_node = l.node + to * all;
		step.out_cost = l.cost + to * all;
		status = stk_trie_step_launch(&step, stream, err);
		first += s->sizes[i];
	}
	if (status != STK_OK)
		return status;
	v.number = l.number;
	v.left = step.n_out;
	v.node = step.out_node;
	v.cost = step.out_cost;
	if (s->trie.depth > s->levels)
		write_below<<<(s->n + THREADS - 1) / THREADS, THREADS, 0, stream>>>(*s, v);
	else
		write_survivors<<<(unsigned) (((size_t) s->n * s->k + THREADS - 1) / THREADS), THREADS, 0,
						  stream>>>(*s, v);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}

struct stk_trie_graphs
{
	struct
	{
		stk_trie_search search;
		cudaGraphExec_t exec; /* NULL: none here */
	} kept[KEPT_GRAPHS];
	unsigned next; /* which goes for a new one */
};

void
stk_trie_graphs_free(stk_trie_graphs *graphs)
{
	if (!graphs)
		return;
	for (int i = 0; i < KEPT_GRAPHS; i++)
		if (graphs->kept[i].exec)
			(void) cudaGraphExecDestroy(graphs->kept[i].exec);
	free(graphs);
}

static stk_status
record(const stk_trie_search *search, cudaStream_t stream, cudaGraphExec_t *exec, stk_error *err)
{
	static const char doing[] = "record a search";
	cudaGraph_t recorded = NULL;
	stk_status status = stk_cuda_status(
		cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), doing, err);
	cudaError_t code;

	if (status != STK_OK)
		return status;
	status = stk_trie_search_launch(search, stream, err);
	code = cudaStreamEndCapture(stream, &recorded);
	if (status == STK_OK)
		status = stk_cuda_status(code, doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaGraphInstantiate(exec, recorded, 0), doing, err);
	if (recorded)
		(void) cudaGraphDestroy(recorded);
	return status;
}

stk_status
stk_trie_graphs_launch(stk_trie_graphs **graphs, const stk_trie_search *search, cudaStream_t stream,
					   stk_error *err)
{
	stk_trie_graphs *g = *graphs;
	stk_status status = STK_OK;
	unsigned i = 0;

	if (!g)
		g = *graphs = (stk_trie_graphs *) calloc(1, sizeof(*g));
	if (!g)
		return STK_ENOMEM;
	while (i < KEPT_GRAPHS &&
		   (!g->kept[i].exec || memcmp(&g->kept[i].search, search, sizeof(*search)) != 0))
		i++;
	if (i == KEPT_GRAPHS)
	{
		i = g->next++ % KEPT_GRAPHS;
		if (g->kept[i].exec)
			(void) cudaGraphExecDestroy(g->kept[i].exec);
		g->kept[i].exec = NULL;
		memcpy(&g->kept[i].search, search, sizeof(*search));
		status = record(search, stream, &g->kept[i].exec, err);
	}
	if (status == STK_OK)
		status = stk_cuda_status(cudaGraphLaunch(g->kept[i].exec, stream),
								 "search a trie on the device", err);
	return status;
}
