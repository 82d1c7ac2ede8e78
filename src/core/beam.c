/*
 * Beam search: level by level the cheapest prefixes of all roots survive, then all ids below the
 * survivors.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search_impl.h"

/* A prefix that survived. */
typedef struct survivor
{
	double sum;
	uint32_t root;
	uint32_t set_node;
	stk_child at; /* what the prefix leads to; a tail is cut as the search goes down it */
	uint16_t codes[STK_MAX_LEVELS];
} survivor;

/*
 * Order of survivors. Candidates are made in ascending order of their paths, so their number
 * breaks ties as the path would.
 */
typedef struct rank
{
	double cost;
	uint64_t number;
	size_t slot; /* index of the survivor */
} rank;

typedef struct generation
{
	survivor *survivors;
	rank *ranks; /* while candidates come in: a heap, the dearest on top */
	size_t n;
	size_t room;
	uint64_t candidates;
} generation;

typedef struct beam_search
{
	stk_search s;
	size_t width;
	generation now;
	generation then; /* the next level */
	bool started;
	size_t next; /* survivor whose ids come next */
	double cost; /* of the one being walked */
	walker walk;
} beam_search;

static bool
dearer(const rank *x, const rank *y)
{
	if (x->cost != y->cost)
		return x->cost > y->cost;
	return x->number > y->number;
}

static int
compare_numbers(const void *x, const void *y)
{
	const rank *p = x;
	const rank *q = y;

	return (p->number > q->number) - (p->number < q->number);
}

static int
compare_costs(const void *x, const void *y)
{
	const rank *p = x;
	const rank *q = y;

	if (p->cost != q->cost)
		return p->cost < q->cost ? -1 : 1;
	return compare_numbers(x, y);
}

static void
sift_down(rank *heap, size_t n, size_t i)
{
	rank moved = heap[i];

	for (;;)
	{
		size_t c = 2 * i + 1;

		if (c >= n)
			break;
		if (c + 1 < n && dearer(&heap[c + 1], &heap[c]))
			c++;
		if (!dearer(&heap[c], &moved))
			break;
		heap[i] = heap[c];
		i = c;
	}
	heap[i] = moved;
}

static void
sift_up(rank *heap, size_t i)
{
	rank moved = heap[i];

	while (i > 0 && dearer(&moved, &heap[(i - 1) / 2]))
	{
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = moved;
}

static stk_status
grow(generation *g, const stk_allocator *a)
{
	size_t room = g->room ? g->room * 2 : 64;
	void *grown = stk_realloc_array(a, g->survivors, room, sizeof(survivor));

	if (!grown)
		return STK_ENOMEM;
	g->survivors = grown;
	grown = stk_realloc_array(a, g->ranks, room, sizeof(rank));
	if (!grown)
		return STK_ENOMEM;
	g->ranks = grown;
	g->room = room;
	return STK_OK;
}

/*
 * Offer a prefix with this sum to the next level. *slot is where to write it, or NULL when it is
 * not among the cheapest.
 */
static stk_status
offer(beam_search *b, double sum, survivor **slot)
{
	generation *g = &b->then;
	rank r = {sum, g->candidates++, g->n};

	*slot = NULL;
	b->s.stats.pushed++;
	if (g->n < b->width)
	{
		if (g->n == g->room)
		{
			stk_status status = grow(g, &b->s.a);

			if (status != STK_OK)
				return status;
		}
		g->ranks[g->n] = r;
		sift_up(g->ranks, g->n++);
	}
	else if (dearer(&g->ranks[0], &r))
	{
		r.slot = g->ranks[0].slot;
		g->ranks[0] = r;
		sift_down(g->ranks, g->n, 0);
	}
	else
		return STK_OK;
	*slot = &g->survivors[r.slot];
	return STK_OK;
}

/* Offer all children of a survivor, whose prefix has `levels` codes. */
static stk_status
extend(beam_search *b, const survivor *from, int levels)
{
	const stk_child *children;
	stk_child tail;
	size_t n;
	stk_status status;

	if (from->at.flags & STK_CHILD_TAIL)
	{
		tail = from->at;
		tail.code = *tail.tail++;
		if (--tail.tail_len == 0)
			tail.flags = STK_CHILD_ID;
		children = &tail;
		n = 1;
	}
	else
	{
		status = b->s.trie->expand(b->s.trie, from->at.node, &children, &n);
		if (status != STK_OK)
			return status;
		b->s.stats.expanded++;
	}
	status = search_score(&b->s, &(search_prefix){levels, from->sum, from->set_node, from->codes},
						  children, n);
	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		uint32_t set_node = b->s.set ? b->s.set_node[i] : 0;
		survivor *slot;
		uint8_t flags;

		if (b->s.cost[i] == INFINITY)
			continue;
		status = search_live_flags(&b->s, &children[i], levels + 1, set_node, &flags);
		if (status != STK_OK || flags == 0)
			continue;
		status = offer(b, b->s.cost[i], &slot);
		if (status != STK_OK || !slot)
			continue;
		slot->sum = b->s.cost[i];
		slot->root = from->root;
		slot->set_node = set_node;
		slot->at = children[i];
		slot->at.flags = flags;
		memcpy(slot->codes, from->codes, (size_t) levels * sizeof(uint16_t));
		slot->codes[levels] = children[i].code;
	}
	return status;
}

/* The roots are the first generation, whatever the width. */
static stk_status
start(beam_search *b)
{
	for (size_t i = 0; i < b->s.n_roots; i++)
	{
		survivor *root;

		if (b->now.n == b->now.room)
		{
			stk_status status = grow(&b->now, &b->s.a);

			if (status != STK_OK)
				return status;
		}
		root = &b->now.survivors[i];
		memset(root, 0, sizeof(*root));
		root->sum = search_start_cost(b->s.q);
		root->root = (uint32_t) i;
		root->set_node = b->s.roots[i].set_root;
		root->at.flags = STK_CHILD_INNER;
		root->at.node = b->s.roots[i].node;
		b->now.ranks[i] = (rank){0, i, i};
		b->now.n++;
	}
	return STK_OK;
}

static stk_status
descend(beam_search *b)
{
	stk_status status = start(b);

	for (int l = 0; l < b->s.q->levels && status == STK_OK; l++)
	{
		generation done;

		b->then.n = 0;
		b->then.candidates = 0;
		for (size_t i = 0; i < b->now.n && status == STK_OK; i++)
			status = extend(b, &b->now.survivors[b->now.ranks[i].slot], l);
		if (b->then.n > 1)
			qsort(b->then.ranks, b->then.n, sizeof(rank), compare_numbers);
		done = b->now;
		b->now = b->then;
		b->then = done;
	}
	for (size_t i = 0; i < b->now.n; i++)
		b->now.ranks[i].cost = search_final_cost(b->s.q, b->now.ranks[i].cost);
	if (b->now.n > 1)
		qsort(b->now.ranks, b->now.n, sizeof(rank), compare_costs);
	return status;
}

static stk_status
beam_next(stk_search *s, bool *found, stk_hit *hit)
{
	beam_search *b = (beam_search *) s;

	*found = false;
	if (!b->started)
	{
		stk_status status = descend(b);

		if (status != STK_OK)
			return status;
		b->started = true;
	}
	for (;;)
	{
		stk_status status = walker_next(&b->walk, found, hit);

		if (status != STK_OK)
			return status;
		if (*found)
		{
			hit->cost = b->cost;
			return STK_OK;
		}
		if (b->next == b->now.n)
			return STK_OK;

		const rank *r = &b->now.ranks[b->next++];
		const survivor *from = &b->now.survivors[r->slot];

		b->cost = r->cost;
		walker_begin(&b->walk, s->trie, s->set, &s->a, s->roots[from->root].tokenizer, from->codes,
					 s->q->levels, &from->at, from->set_node);
	}
}

static void
beam_release(stk_search *s)
{
	beam_search *b = (beam_search *) s;

	stk_free(&s->a, b->now.survivors);
	stk_free(&s->a, b->now.ranks);
	stk_free(&s->a, b->then.survivors);
	stk_free(&s->a, b->then.ranks);
	walker_release(&b->walk);
}

stk_search *
beam_create(const stk_allocator *a, size_t width)
{
	beam_search *b = stk_alloc_array(a, 1, sizeof(*b));

	if (!b)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->s.next = beam_next;
	b->s.release = beam_release;
	b->width = width;
	return &b->s;
}
