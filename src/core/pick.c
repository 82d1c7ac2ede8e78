#include "pick.h"

#include <string.h>

#include "sort.h"

/* Draws from .. to - 1 lie below a node; their `item` counts from its first one. */
typedef struct pick_run
{
	size_t from;
	size_t to;
	stk_child at;
} pick_run;

typedef struct drawing
{
	stk_trie *trie;
	stk_pick *draws;
	pick_run *runs; /* [n] nodes of a level */
	pick_run *next; /* [n] nodes of the next one */
	size_t n_runs;
	size_t n_next;
} drawing;

static int
compare_items(const void *x, const void *y, const void *ctx)
{
	const stk_pick *a = x;
	const stk_pick *b = y;

	(void) ctx;
	return (a->item > b->item) - (a->item < b->item);
}

stk_status
stk_pick_count(stk_trie *trie, const stk_root *roots, size_t n, uint64_t *items)
{
	for (size_t i = 0; i < n; i++)
	{
		const stk_child *children;
		size_t n_children;
		stk_status status = trie->expand(trie, roots[i].node, &children, &n_children);

		if (status != STK_OK)
			return status;
		items[i] = 0;
		for (size_t c = 0; c < n_children; c++)
			items[i] += children[c].items;
	}
	return STK_OK;
}

/* The draw is an item of the id at `at`, or at the end of the tail there. */
static stk_status
end_draw(stk_pick *draw, const stk_child *at)
{
	int tail_len = at->flags & STK_CHILD_TAIL ? at->tail_len : 0;

	if (draw->id.levels + tail_len > STK_MAX_LEVELS)
		return STK_ECORRUPT;
	if (tail_len > 0)
		memcpy(draw->id.codes + draw->id.levels, at->tail, (size_t) tail_len * sizeof(uint16_t));
	draw->id.levels += tail_len;
	draw->posting = at->posting;
	draw->copy = draw->item;
	draw->found = true;
	return STK_OK;
}

/* Take one code more into the draws from .. to - 1, all below one child. */
static stk_status
enter_child(drawing *d, size_t from, size_t to, uint64_t before, const stk_child *child)
{
	for (size_t i = from; i < to; i++)
	{
		stk_pick *draw = &d->draws[i];

		if (draw->id.levels == STK_MAX_LEVELS)
			return STK_ECORRUPT;
		draw->id.codes[draw->id.levels++] = child->code;
		draw->item -= before;
		if (!(child->flags & STK_CHILD_INNER))
		{
			stk_status status = end_draw(draw, child);

			if (status != STK_OK)
				return status;
		}
	}
	if (child->flags & STK_CHILD_INNER)
		d->next[d->n_next++] = (pick_run){.from = from, .to = to, .at = *child};
	return STK_OK;
}

/* Send the draws of a node on to its children; those behind them are items of the node's own id. */
static stk_status
walk_node(drawing *d, const pick_run *run)
{
	const stk_child *children;
	uint64_t before = 0;
	size_t i = run->from;
	size_t n;
	stk_status status = d->trie->expand(d->trie, run->at.node, &children, &n);

	for (size_t c = 0; status == STK_OK && c < n; c++)
	{
		uint64_t upto = before + children[c].items;
		size_t from = i;

		if (upto > run->at.items)
			return STK_ECORRUPT;
		while (i < run->to && d->draws[i].item < upto)
			i++;
		if (i > from)
			status = enter_child(d, from, i, before, &children[c]);
		before = upto;
	}
	for (; status == STK_OK && i < run->to; i++)
	{
		d->draws[i].item -= before;
		if (run->at.flags & STK_CHILD_ID)
		{
			stk_child own = run->at;

			own.flags = STK_CHILD_ID;
			status = end_draw(&d->draws[i], &own);
		}
	}
	return status;
}

/* One run for each root that has draws. */
static void
enter_roots(drawing *d, const stk_root *roots, const uint64_t *items, size_t n_roots, size_t n)
{
	uint64_t before = 0;
	size_t i = 0;

	for (size_t r = 0; r < n_roots; r++)
	{
		size_t from = i;

		for (; i < n && d->draws[i].item < before + items[r]; i++)
		{
			d->draws[i].item -= before;
			d->draws[i].id.tokenizer = roots[r].tokenizer;
		}
		if (i > from)
			d->runs[d->n_runs++] = (pick_run){
				.from = from,
				.to = i,
				.at = {.flags = STK_CHILD_INNER, .node = roots[r].node, .items = items[r]}};
		before += items[r];
	}
}

stk_status
stk_pick_find(stk_trie *trie, const stk_root *roots, const uint64_t *items, size_t n_roots,
			  stk_pick *draws, size_t n, const stk_allocator *a)
{
	drawing d = {.trie = trie, .draws = draws};
	stk_status status;

	if (n == 0)
		return STK_OK;
	status = stk_sort(draws, n, sizeof(stk_pick), compare_items, NULL, a, NULL);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n; i++)
	{
		draws[i].found = false;
		memset(&draws[i].id, 0, sizeof(draws[i].id));
	}
	d.runs = stk_alloc_array(a, n, sizeof(pick_run));
	d.next = stk_alloc_array(a, n, sizeof(pick_run));
	if (!d.runs || !d.next)
		status = STK_ENOMEM;
	else
		enter_roots(&d, roots, items, n_roots, n);
	while (status == STK_OK && d.n_runs > 0)
	{
		pick_run *walked = d.runs;

		d.n_next = 0;
		for (size_t i = 0; i < d.n_runs && status == STK_OK; i++)
			status = walk_node(&d, &walked[i]);
		d.runs = d.next;
		d.next = walked;
		d.n_runs = d.n_next;
	}
	stk_free(a, d.runs);
	stk_free(a, d.next);
	return status;
}
