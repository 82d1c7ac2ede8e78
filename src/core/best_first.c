/*
 * Best-first search: a heap of places ordered by (bound, path), so that ids come out in ascending
 * (cost, id) order.
 *
 * Why the order is exact among equal costs too: a place's bound is at most the cost of each id
 * below it, and an id below it is greater than its path. So when an id leaves the heap, every
 * place left in it has a greater bound, or an equal one and a greater path, and all that it can
 * still give comes later in (cost, id) order.
 */
#include <math.h>
#include <string.h>

#include "search_impl.h"

typedef enum place_kind
{
	PLACE_ID, /* before PLACE_INNER of the same path: an id precedes its extensions */
	PLACE_INNER
} place_kind;

/* A place in the trie: an inner node to expand, or an id that was found. */
typedef struct place
{
	uint64_t handle; /* node or posting */
	union
	{
		struct
		{
			double sum;
			uint32_t set_node;
		} inner;
		struct
		{
			const uint16_t *tail;
			uint64_t items;
		} id;
	};
	uint32_t parent; /* place of the prefix; at depth 0 the index of the root */
	uint16_t code;
	uint8_t depth; /* codes on the path, without the tail's */
	uint8_t kind : 1;
	uint8_t tail_len : 7; /* PLACE_ID */
} place;

typedef struct entry
{
	double bound; /* PLACE_ID: the cost */
	uint32_t place;
} entry;

typedef struct best_first
{
	stk_search s;
	place *places;
	size_t n_places;
	size_t places_room;
	entry *heap;
	size_t n_heap;
	size_t heap_room;
	bool started;
	double level_min[STK_MAX_LEVELS]; /* least term of each level; not for neighbors */
	neighbor_bound nb;
} best_first;

/* Order of two places' paths, an id before the inner node of the same path. */
static int
compare_paths(const best_first *b, uint32_t x, uint32_t y)
{
	const place *p = &b->places[x];
	const place *q = &b->places[y];
	int longer = (int) p->depth - (int) q->depth;
	int kinds = (int) p->kind - (int) q->kind;

	while (p->depth > q->depth)
		p = &b->places[p->parent];
	while (q->depth > p->depth)
		q = &b->places[q->parent];
	while (p->depth > 0 && p->parent != q->parent)
	{
		p = &b->places[p->parent];
		q = &b->places[q->parent];
	}
	if (p->depth == 0 && p->parent != q->parent)
		return p->parent < q->parent ? -1 : 1;
	if (p->depth > 0 && p->code != q->code)
		return p->code < q->code ? -1 : 1;
	return longer != 0 ? longer : kinds;
}

static bool
before(const best_first *b, entry x, entry y)
{
	if (x.bound != y.bound)
		return x.bound < y.bound;
	return compare_paths(b, x.place, y.place) < 0;
}

/* A heap with four children a node: half as deep as a binary one, siblings in one cache line. */
static stk_status
heap_push(best_first *b, entry e)
{
	size_t i = b->n_heap;

	if (i == b->heap_room)
	{
		size_t room = b->heap_room ? b->heap_room * 2 : 1024;
		entry *grown = stk_realloc_array(&b->s.a, b->heap, room, sizeof(entry));

		if (!grown)
			return STK_ENOMEM;
		b->heap = grown;
		b->heap_room = room;
	}
	b->n_heap++;
	while (i > 0 && before(b, e, b->heap[(i - 1) / 4]))
	{
		b->heap[i] = b->heap[(i - 1) / 4];
		i = (i - 1) / 4;
	}
	b->heap[i] = e;
	b->s.stats.pushed++;
	return STK_OK;
}

static entry
heap_pop(best_first *b)
{
	entry top = b->heap[0];
	entry last = b->heap[--b->n_heap];
	size_t i = 0;

	for (;;)
	{
		size_t first = 4 * i + 1;
		size_t end = first + 4 < b->n_heap ? first + 4 : b->n_heap;
		size_t least = first;

		if (first >= b->n_heap)
			break;
		for (size_t c = first + 1; c < end; c++)
			if (before(b, b->heap[c], b->heap[least]))
				least = c;
		if (!before(b, b->heap[least], last))
			break;
		b->heap[i] = b->heap[least];
		i = least;
	}
	b->heap[i] = last;
	return top;
}

/* Add a place and its heap entry. */
static stk_status
push(best_first *b, const place *p, double bound)
{
	if (b->n_places == b->places_room)
	{
		size_t room = b->places_room ? b->places_room * 2 : 1024;
		place *grown;

		if (b->n_places > UINT32_MAX - 1)
			return STK_ERANGE;
		grown = stk_realloc_array(&b->s.a, b->places, room, sizeof(place));
		if (!grown)
			return STK_ENOMEM;
		b->places = grown;
		b->places_room = room;
	}
	b->places[b->n_places] = *p;
	return heap_push(b, (entry){bound, (uint32_t) b->n_places++});
}

/* Codes of a place's path, without the tail's. */
static void
path_codes(const best_first *b, const place *p, uint16_t *codes)
{
	for (; p->depth > 0; p = &b->places[p->parent])
		codes[p->depth - 1] = p->code;
}

static const search_root *
root_of(const best_first *b, const place *p)
{
	while (p->depth > 0)
		p = &b->places[p->parent];
	return &b->s.roots[p->parent];
}

/*
 * The same left-to-right sum that gives an id its cost, with each remaining level's least term in
 * place of the unknown one: rounding is monotone, so it needs no margin.
 */
static double
add_level_mins(const best_first *b, double sum, int level)
{
	for (; level < b->s.q->levels; level++)
		sum += b->level_min[level];
	return sum;
}

static void
find_level_mins(best_first *b)
{
	const stk_query *q = b->s.q;

	for (int l = 0; l < q->levels; l++)
	{
		const double *cost = q->cost[l];
		size_t n = q->sizes[l];
		double least = INFINITY;

		if (q->kind == STK_QUERY_MASKED)
		{
			/* No term of a softmax is below 0. */
			b->level_min[l] = 0;
			continue;
		}
		if (b->s.set)
		{
			n = l < b->s.set->depth ? b->s.set->nodes[l + 1] : 0;
			cost = n > 0 ? q->node_cost + b->s.set->base[l + 1] : NULL;
		}
		for (size_t i = 0; i < n; i++)
			least = cost[i] < least ? cost[i] : least;
		b->level_min[l] = least;
	}
}

/*
 * A tighter bound of an inner place than the one it was pushed with, where the query has one:
 * the least of the next terms that this prefix really has.
 */
static double
refine(best_first *b, const place *p, const uint16_t *codes, double bound)
{
	const stk_query *q = b->s.q;
	double tight = bound;

	if (p->depth >= q->levels)
		return bound;
	if (q->kind == STK_QUERY_NEIGHBORS)
		tight = neighbor_bound_prefix(&b->nb, q, codes, p->depth, p->inner.sum);
	else if (b->s.set)
	{
		const double *cost = q->node_cost + b->s.set->base[p->depth + 1];
		double least = INFINITY;
		uint32_t from, to;

		stk_semset_children(b->s.set, p->depth, p->inner.set_node, &from, &to);
		for (; from < to; from++)
			least = cost[from] < least ? cost[from] : least;
		tight = add_level_mins(b, p->inner.sum + least, p->depth + 1);
	}
	return tight > bound ? tight : bound;
}

static double
child_bound(const best_first *b, int levels, uint16_t code, double sum, double parent_bound)
{
	const stk_query *q = b->s.q;
	double bound;

	if (levels + 1 >= q->levels)
		return search_final_cost(q, sum);
	if (q->kind != STK_QUERY_NEIGHBORS)
		return add_level_mins(b, sum, levels + 1);
	bound = neighbor_bound_child(&b->nb, q, levels, code, sum);
	return bound > parent_bound ? bound : parent_bound;
}

/* Push what one child leads to. */
static stk_status
push_child(best_first *b, const place *parent, uint32_t parent_index, const uint16_t *codes,
		   double parent_bound, const stk_child *child, double sum, uint32_t set_node)
{
	place p = {.parent = parent_index, .code = child->code, .depth = (uint8_t) (parent->depth + 1)};
	uint8_t flags;
	stk_status status = search_live_flags(&b->s, child, p.depth, set_node, &flags);

	if (status == STK_OK && flags & STK_CHILD_INNER)
	{
		double bound = child_bound(b, parent->depth, child->code, sum, parent_bound);

		p.kind = PLACE_INNER;
		p.handle = child->node;
		p.inner.sum = sum;
		p.inner.set_node = set_node;
		if (bound < INFINITY)
			status = push(b, &p, bound);
	}
	if (status == STK_OK && flags & (STK_CHILD_ID | STK_CHILD_TAIL))
	{
		p.kind = PLACE_ID;
		p.handle = child->posting;
		p.id.items = child->items;
		p.id.tail = NULL;
		if (flags & STK_CHILD_TAIL)
		{
			uint16_t path[STK_MAX_LEVELS];

			memcpy(path, codes, parent->depth * sizeof(uint16_t));
			path[parent->depth] = child->code;
			sum = search_score_tail(&b->s, &(search_prefix){p.depth, sum, set_node, path}, child);
			p.id.tail = child->tail;
			p.tail_len = child->tail_len;
		}
		if (sum < INFINITY)
			status = push(b, &p, search_final_cost(b->s.q, sum));
	}
	return status;
}

static stk_status
expand(best_first *b, entry e, const uint16_t *codes)
{
	place parent = b->places[e.place]; /* a copy: pushing moves the array */
	const stk_child *children;
	size_t n = 0;
	stk_status status =
		search_children(&b->s, parent.handle, parent.depth, parent.inner.set_node, &children, &n);

	b->s.stats.expanded++;
	if (status == STK_OK)
		status = search_score(
			&b->s, &(search_prefix){parent.depth, parent.inner.sum, parent.inner.set_node, codes},
			children, n);
	for (size_t i = 0; i < n && status == STK_OK; i++)
		if (b->s.cost[i] < INFINITY)
			status = push_child(b, &parent, e.place, codes, e.bound, &children[i], b->s.cost[i],
								b->s.set ? b->s.set_node[i] : 0);
	return status;
}

static stk_status
start(best_first *b)
{
	if (b->s.q->kind == STK_QUERY_NEIGHBORS)
	{
		stk_status status = neighbor_bound_init(&b->nb, b->s.q, &b->s.a);

		if (status != STK_OK)
			return status;
	}
	else
		find_level_mins(b);
	b->started = true;
	for (size_t i = 0; i < b->s.n_roots; i++)
	{
		double sum = search_start_cost(b->s.q);
		place p = {.parent = (uint32_t) i,
				   .kind = PLACE_INNER,
				   .handle = b->s.roots[i].node,
				   .inner.sum = sum,
				   .inner.set_node = b->s.roots[i].set_root};
		double bound = b->s.q->kind == STK_QUERY_NEIGHBORS ? 0.0 : add_level_mins(b, sum, 0);

		if (bound < INFINITY)
		{
			stk_status status = push(b, &p, bound);

			if (status != STK_OK)
				return status;
		}
	}
	return STK_OK;
}

static void
fill_hit(const best_first *b, entry e, stk_hit *hit)
{
	const place *p = &b->places[e.place];

	hit->cost = e.bound;
	hit->id.tokenizer = root_of(b, p)->tokenizer;
	hit->id.levels = p->depth + p->tail_len;
	path_codes(b, p, hit->id.codes);
	if (p->tail_len > 0)
		memcpy(hit->id.codes + p->depth, p->id.tail, p->tail_len * sizeof(uint16_t));
	hit->posting = p->handle;
	hit->items = p->id.items;
}

static stk_status
best_first_next(stk_search *s, bool *found, stk_hit *hit)
{
	best_first *b = (best_first *) s;
	stk_status status = b->started ? STK_OK : start(b);

	while (status == STK_OK && b->n_heap > 0)
	{
		entry e = heap_pop(b);
		place *p = &b->places[e.place];
		uint16_t codes[STK_MAX_LEVELS];

		if (p->kind == PLACE_ID)
		{
			fill_hit(b, e, hit);
			*found = true;
			return STK_OK;
		}

		/* The tight bound costs more, so only those that come this far get it. */
		path_codes(b, p, codes);
		if (stk_quota_full(s->quota, root_of(b, p)->tokenizer, codes, p->depth))
			continue;

		double bound = refine(b, p, codes, e.bound);

		if (bound > e.bound)
		{
			e.bound = bound;
			if (bound == INFINITY)
				continue;
			if (b->n_heap > 0 && before(b, b->heap[0], e))
			{
				status = heap_push(b, e);
				continue;
			}
		}
		status = expand(b, e, codes);
	}
	*found = false;
	return status;
}

static void
best_first_release(stk_search *s)
{
	best_first *b = (best_first *) s;

	stk_free(&s->a, b->places);
	stk_free(&s->a, b->heap);
	stk_free(&s->a, b->nb.memory);
}

stk_search *
best_first_create(const stk_allocator *a)
{
	best_first *b = stk_alloc_array(a, 1, sizeof(*b));

	if (!b)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->s.next = best_first_next;
	b->s.release = best_first_release;
	return &b->s;
}
