#include "lookup.h"

#include <string.h>

#include "sort.h"

/* So many children of a node are looked for one by one rather than all read. */
#define FEW 8

/* Prefixes order[from] .. order[to - 1] share the codes down to a node. */
typedef struct lookup_run
{
	size_t from;
	size_t to;
	stk_child at;
} lookup_run;

typedef struct lookup
{
	stk_trie *trie;
	const stk_prefix *prefixes;
	size_t *order;     /* [n] all, ascending by codes */
	size_t *below;     /* [n] those of the root being walked, in this order */
	lookup_run *runs;  /* [n] nodes of a level */
	lookup_run *next;  /* [n] nodes of the next one */
	stk_child in_tail; /* the child of a node that is inside a tail */
	bool codes_alone;
	stk_lookup_found found;
	void *ctx;
} lookup;

/* By codes, a prefix before those that it begins. */
static int
compare_prefixes(const void *x, const void *y, const void *ctx)
{
	const stk_prefix *prefixes = ctx;
	const stk_prefix *a = &prefixes[*(const size_t *) x];
	const stk_prefix *b = &prefixes[*(const size_t *) y];

	for (int l = 0; l < a->levels && l < b->levels; l++)
		if (a->codes[l] != b->codes[l])
			return a->codes[l] < b->codes[l] ? -1 : 1;
	return (a->levels > b->levels) - (a->levels < b->levels);
}

/* What may follow a node, at which all prefixes end that get there or some go on. */
static stk_status
node_children(lookup *l, const stk_child *at, bool all_end, const stk_child **children, size_t *n)
{
	*n = 0;
	if (at->flags & STK_CHILD_INNER && all_end && l->codes_alone && l->trie->codes)
		return l->trie->codes(l->trie, at->node, children, n);
	if (at->flags & STK_CHILD_INNER)
		return l->trie->expand(l->trie, at->node, children, n);
	if (at->flags & STK_CHILD_TAIL)
	{
		l->in_tail = stk_tail_child(at);
		*children = &l->in_tail;
		*n = 1;
	}
	return STK_OK;
}

/* First of children from .. n - 1 whose code is not below this one. */
static size_t
lower_bound(const stk_child *children, size_t from, size_t n, uint16_t code)
{
	size_t to = n;

	while (from < to)
	{
		size_t middle = from + (to - from) / 2;

		if (children[middle].code < code)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

/* End of the prefixes from i that have its code at this depth. */
static size_t
end_of_code(const lookup *l, size_t i, size_t to, int depth)
{
	uint16_t code = l->prefixes[l->below[i]].codes[depth];

	while (i < to && l->prefixes[l->below[i]].codes[depth] == code)
		i++;
	return i;
}

/*
 * May the children that prefixes want of a node be looked for one by one? They are few then, and no
 * prefix ends here, which would want all of them.
 */
static bool
wants_few(const lookup *l, const lookup_run *run, int depth)
{
	size_t i = run->from;

	if (!l->trie->find || !(run->at.flags & STK_CHILD_INNER) ||
		l->prefixes[l->below[i]].levels == depth)
		return false;
	for (int codes = 0; codes < FEW && i < run->to; codes++)
		i = end_of_code(l, i, run->to, depth);
	return i == run->to;
}

/* Go on with the prefixes below a node by the children that they want. */
static stk_status
walk_few(lookup *l, const lookup_run *run, int depth, size_t *n_next)
{
	stk_status status = STK_OK;

	for (size_t i = run->from; i < run->to && status == STK_OK;)
	{
		lookup_run *next = &l->next[*n_next];
		bool found;

		next->from = i;
		next->to = end_of_code(l, i, run->to, depth);
		status = l->trie->find(l->trie, run->at.node, l->prefixes[l->below[i]].codes[depth], &found,
							   &next->at);
		i = next->to;
		*n_next += status == STK_OK && found;
	}
	return status;
}

/* Tell of the prefixes that end at this node, `depth` codes deep, and go on with the others. */
static stk_status
walk_node(lookup *l, const lookup_run *run, int depth, size_t *n_next)
{
	const stk_child *children = NULL;
	size_t i = run->from;
	size_t child = 0;
	size_t n;
	bool all_end = l->prefixes[l->below[run->to - 1]].levels == depth; /* the longer come last */
	stk_status status = node_children(l, &run->at, all_end, &children, &n);

	for (; status == STK_OK && i < run->to && l->prefixes[l->below[i]].levels == depth; i++)
		status = l->found(l->ctx, l->below[i], &run->at, children, n);
	while (status == STK_OK && i < run->to)
	{
		uint16_t code = l->prefixes[l->below[i]].codes[depth];
		size_t from = i;

		i = end_of_code(l, i, run->to, depth);
		child = lower_bound(children, child, n, code);
		if (child < n && children[child].code == code)
			l->next[(*n_next)++] = (lookup_run){.from = from, .to = i, .at = children[child]};
	}
	return status;
}

static stk_status
walk_root(lookup *l, const stk_root *root, size_t n)
{
	size_t n_runs = 1;
	size_t n_below = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint32_t tokenizer = l->prefixes[l->order[i]].tokenizer;

		if (tokenizer == 0 || tokenizer == root->tokenizer)
			l->below[n_below++] = l->order[i];
	}
	if (n_below == 0)
		return STK_OK;
	l->runs[0] = (lookup_run){
		.from = 0, .to = n_below, .at = {.flags = STK_CHILD_INNER, .node = root->node}};
	for (int depth = 0; n_runs > 0; depth++)
	{
		lookup_run *walked = l->runs;
		size_t n_next = 0;

		for (size_t i = 0; i < n_runs; i++)
		{
			stk_status status = wants_few(l, &walked[i], depth)
									? walk_few(l, &walked[i], depth, &n_next)
									: walk_node(l, &walked[i], depth, &n_next);

			if (status != STK_OK)
				return status;
		}
		l->runs = l->next;
		l->next = walked;
		n_runs = n_next;
	}
	return STK_OK;
}

stk_status
stk_lookup(stk_trie *trie, const stk_root *roots, size_t n_roots, const stk_prefix *prefixes,
		   size_t n, bool codes_alone, const stk_allocator *a, stk_lookup_found found, void *ctx)
{
	lookup l = {
		.trie = trie, .prefixes = prefixes, .codes_alone = codes_alone, .found = found, .ctx = ctx};
	stk_status status = STK_ENOMEM;

	if (n == 0)
		return STK_OK;
	l.order = stk_alloc_array(a, n, sizeof(size_t));
	l.below = stk_alloc_array(a, n, sizeof(size_t));
	l.runs = stk_alloc_array(a, n, sizeof(lookup_run));
	l.next = stk_alloc_array(a, n, sizeof(lookup_run));
	if (l.order && l.below && l.runs && l.next)
	{
		for (size_t i = 0; i < n; i++)
			l.order[i] = i;
		status = stk_sort(l.order, n, sizeof(size_t), compare_prefixes, prefixes, a, NULL);
		for (size_t i = 0; i < n_roots && status == STK_OK; i++)
			status = walk_root(&l, &roots[i], n);
	}
	stk_free(a, l.order);
	stk_free(a, l.below);
	stk_free(a, l.runs);
	stk_free(a, l.next);
	return status;
}
