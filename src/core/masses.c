#include "masses.h"

#include <math.h>
#include <string.h>

#include "explog.h"

void
masses_init(masses *m, const stk_allocator *a)
{
	memset(m, 0, sizeof(*m));
	m->a = *a;
}

void
masses_free(masses *m)
{
	stk_free(&m->a, m->nodes);
}

static stk_status
reserve(masses *m, size_t more)
{
	size_t room = m->room ? m->room : 256;
	masses_node *grown;

	if (m->n + more > STK_MAX_MASSES)
		return STK_ERANGE;
	if (m->n + more <= m->room)
		return STK_OK;
	while (room < m->n + more)
		room *= 2;
	grown = stk_realloc_array(&m->a, m->nodes, room, sizeof(masses_node));
	if (!grown)
		return STK_ENOMEM;
	m->nodes = grown;
	m->room = room;
	return STK_OK;
}

static masses_node
node_of(const stk_child *child, double weight)
{
	return (masses_node){
		.weight = weight,
		.node = child->node,
		.posting = child->posting,
		.items = child->items,
		.tail = child->tail,
		.code = child->code,
		.flags = child->flags,
		.tail_len = child->tail_len,
	};
}

/*
 * Add the children of node i, whose prefix has `levels` codes. Their weights are their terms yet.
 */
static stk_status
add_children(masses *m, stk_trie *trie, uint32_t i, int levels, int needed, masses_terms weigh,
			 void *ctx)
{
	const stk_child *children;
	stk_child tail;
	double *cost = NULL;
	size_t n = 1;
	stk_status status = STK_OK;

	if (levels >= STK_MAX_LEVELS)
		return STK_ECORRUPT;
	if (m->nodes[i].flags & STK_CHILD_TAIL)
	{
		const masses_node *at = &m->nodes[i];

		tail = (stk_child){
			.code = at->tail[0],
			.flags = at->tail_len == 1 ? STK_CHILD_ID : STK_CHILD_TAIL,
			.tail_len = (uint8_t) (at->tail_len - 1),
			.tail = at->tail + 1,
			.posting = at->posting,
			.items = at->items,
		};
		children = &tail;
	}
	else
		status = trie->expand(trie, m->nodes[i].node, &children, &n);
	if (status == STK_OK && levels < needed)
		status = weigh(ctx, levels, children, n, &cost);
	if (status == STK_OK)
		status = reserve(m, n);
	if (status != STK_OK)
		return status;
	m->nodes[i].first = (uint32_t) m->n;
	for (size_t c = 0; c < n; c++)
		if (!cost || cost[c] < INFINITY)
			m->nodes[m->n++] = node_of(&children[c], cost ? 0.0 - cost[c] : 0.0);
	m->nodes[i].n = (uint32_t) m->n - m->nodes[i].first;
	return STK_OK;
}

/* The mass of a node from its children's, whose weights it completes. */
static void
sum_up(masses *m, masses_node *node, bool is_id)
{
	double greatest = is_id ? 0.0 : -INFINITY;
	double sum;

	for (uint32_t c = node->first; c < node->first + node->n; c++)
	{
		m->nodes[c].weight += m->nodes[c].mass;
		greatest = m->nodes[c].weight > greatest ? m->nodes[c].weight : greatest;
	}
	node->mass = -INFINITY;
	if (greatest == -INFINITY)
		return;
	sum = is_id ? stk_exp(0.0 - greatest) : 0.0;
	for (uint32_t c = node->first; c < node->first + node->n; c++)
		sum += stk_exp(m->nodes[c].weight - greatest);
	node->mass = greatest + stk_log(sum);
}

stk_status
masses_add(masses *m, stk_trie *trie, const stk_child *at, int levels, int needed,
		   masses_terms weigh, void *ctx, uint32_t *root)
{
	size_t ends[STK_MAX_LEVELS + 1]; /* of the nodes that are so many codes below `at` */
	int depth = 0;
	stk_status status = reserve(m, 1);

	if (status != STK_OK)
		return status;
	*root = (uint32_t) m->n;
	m->nodes[m->n++] = node_of(at, 0.0);
	ends[0] = m->n;
	/* Breadth first, so that the levels stand one behind the other. */
	for (size_t i = *root; i < m->n; i++)
	{
		if (i == ends[depth])
			ends[++depth] = m->n;
		if (!(m->nodes[i].flags & (STK_CHILD_INNER | STK_CHILD_TAIL)))
			continue;
		status = add_children(m, trie, (uint32_t) i, levels + depth, needed, weigh, ctx);
		if (status != STK_OK)
			return status;
	}
	for (size_t i = m->n; i-- > *root;)
	{
		while (depth > 0 && i < ends[depth - 1])
			depth--;
		sum_up(m, &m->nodes[i], m->nodes[i].flags & STK_CHILD_ID && levels + depth >= needed);
	}
	return STK_OK;
}
