/*
 * Searches of tries, for what stands in for a device: level by level over the packed trie, as the
 * kernels do, but plainly. The memory "there" is memory here.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/explog.h"
#include "fake.h"
#include "trie_search.h"

/* A prefix, or a candidate to be one. */
typedef struct prefix
{
	double cost;
	stk_node node;
	uint16_t codes[STK_MAX_LEVELS];
} prefix;

/* qsort tells its comparison nothing. */
static _Thread_local int by_levels;

static int
compare(const void *x, const void *y)
{
	const prefix *a = x, *b = y;

	if (a->cost != b->cost)
		return a->cost < b->cost ? -1 : 1;
	for (int l = 0; l < by_levels; l++)
		if (a->codes[l] != b->codes[l])
			return a->codes[l] < b->codes[l] ? -1 : 1;
	return 0;
}

/* What a node's children add, by their place among them. */
static void
find_terms(const stk_trie_search *s, int level, size_t at, const stk_node_children *children,
		   double *term)
{
	float *z = malloc((children->n + 1) * sizeof(float));
	uint32_t known = 0;

	while (known < children->n && children->codes[known] < s->sizes[level])
		known++;
	for (uint32_t i = 0; i < children->n; i++)
		term[i] = i < known && s->terms ? s->terms[at + children->codes[i]] : INFINITY;
	for (uint32_t i = 0; i < known && !s->terms; i++)
		z[i] = s->logits[at + children->codes[i]];
	if (!s->terms && stk_softmax_costs(z, known, term) != STK_OK)
		for (uint32_t i = 0; i < known; i++)
			term[i] = INFINITY;
	free(z);
}

/* Write the ids at and below a prefix of so many codes. */
static void
write_below(const stk_trie_search *s, size_t query, prefix *p, stk_node node, int levels)
{
	stk_node_children children = stk_node_list(&s->trie, node);

	if (stk_node_is_id(node) && s->found[query] < s->k)
	{
		size_t at = query * s->k + s->found[query]++;
		uint16_t *codes = s->codes + at * (size_t) s->length;

		s->costs[at] = p->cost;
		s->lengths[at] = (uint8_t) levels;
		memset(codes, 0, (size_t) s->length * sizeof(uint16_t));
		memcpy(codes, p->codes, (size_t) levels * sizeof(uint16_t));
	}
	for (uint32_t i = 0; i < children.n && s->found[query] < s->k; i++)
	{
		p->codes[levels] = children.codes[i];
		write_below(s, query, p, stk_node_child(&s->trie, &children, i), levels + 1);
	}
}

static void
search(const stk_trie_search *s, size_t query, size_t terms)
{
	prefix *beams = calloc(1, sizeof(prefix));
	size_t n = 1, at = query * terms;

	beams[0].node = s->start;
	for (int level = 0; level < s->levels; at += s->sizes[level++])
	{
		prefix *next;
		size_t room = 1, found = 0;

		for (size_t i = 0; i < n; i++)
			room += stk_node_list(&s->trie, beams[i].node).n;
		next = malloc(room * sizeof(prefix));
		for (size_t i = 0; i < n; i++)
		{
			stk_node_children children = stk_node_list(&s->trie, beams[i].node);
			double *term = malloc((children.n + 1) * sizeof(double));

			find_terms(s, level, at, &children, term);
			for (uint32_t c = 0; c < children.n; c++)
			{
				prefix *p = &next[found];

				*p = beams[i];
				p->cost += term[c];
				p->codes[level] = children.codes[c];
				p->node = stk_node_child(&s->trie, &children, c);
				found +=
					p->cost < INFINITY && (level == s->levels - 1 || stk_node_goes_on(p->node));
			}
			free(term);
		}
		by_levels = level + 1;
		qsort(next, found, sizeof(prefix), compare);
		if (found > s->width)
			s->dropped[query] = 1;
		n = found < s->width ? found : s->width;
		free(beams);
		beams = next;
	}
	s->found[query] = 0;
	for (size_t i = 0; i < n; i++)
		write_below(s, query, &beams[i], beams[i].node, s->levels);
	free(beams);
}

size_t
stk_trie_search_bytes(uint32_t n, int levels, uint32_t width)
{
	return (size_t) n * (size_t) levels * width;
}

stk_status
stk_trie_graphs_launch(stk_trie_graphs **graphs, const stk_trie_search *s, cudaStream_t stream,
					   stk_error *err)
{
	size_t terms = 0;
	stk_status status = stk_cuda_status(fake_cuda_pass("launch"), "search a trie", err);

	(void) graphs;
	(void) stream;
	for (int l = 0; l < s->levels; l++)
		terms += s->sizes[l];
	for (uint32_t q = 0; q < s->n && status == STK_OK; q++)
	{
		s->dropped[q] = 0;
		search(s, q, terms);
	}
	return status;
}

void
stk_trie_graphs_free(stk_trie_graphs *graphs)
{
	(void) graphs;
}
