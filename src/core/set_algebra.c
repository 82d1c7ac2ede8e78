#include "set_algebra.h"

#include <string.h>

/* A node that only one of the sets has. */
#define NONE UINT32_MAX

/* Interrupts are looked at after this many nodes. */
#define STEP 65536

/* What is known of a node of the merged trie. */
#define KEPT 1 /* an id of the result ends at or below it */
#define END 2  /* one ends at it */

/* A node of the merged trie: the same prefix in both sets, as indexes within its level. */
typedef struct pair
{
	uint32_t a;
	uint32_t b;
} pair;

/* One level of the merged trie; level 0 is the roots. */
typedef struct level
{
	pair *pairs;    /* [n] */
	size_t *first;  /* [n + 1]: children within the next level */
	uint8_t *marks; /* [n]: KEPT, END */
	size_t n;
} level;

typedef struct merge
{
	const stk_semset *a;
	const stk_semset *b;
	stk_set_op op;
	const stk_allocator *alloc;
	const stk_monitor *monitor;
	int depth; /* levels[0..depth] are in use */
	level levels[STK_MAX_LEVELS + 1];
} merge;

static bool
stop_at(const merge *m, size_t i)
{
	return i % STEP == 0 && stk_should_stop(m->monitor);
}

static uint32_t
node_count(const stk_semset *set, int d)
{
	return d == 0 ? set->roots : set->nodes[d];
}

/* May a prefix that these sets have be one of the result? */
static bool
wanted(stk_set_op op, bool in_a, bool in_b)
{
	switch (op)
	{
		case STK_SET_UNION:
			return true;
		case STK_SET_INTERSECT:
			return in_a && in_b;
		case STK_SET_EXCEPT:
			return in_a;
	}
	return false;
}

/* Does an id of the result end where ids of these sets end? */
static bool
ends(stk_set_op op, bool in_a, bool in_b)
{
	return op == STK_SET_EXCEPT ? in_a && !in_b : wanted(op, in_a, in_b) && (in_a || in_b);
}

/* Room for as many nodes as level d of the result can have. */
static stk_status
level_create(merge *m, int d)
{
	size_t na = node_count(m->a, d);
	size_t nb = node_count(m->b, d);
	size_t most = m->op == STK_SET_UNION ? na + nb : na;
	level *l = &m->levels[d];

	if (m->op == STK_SET_INTERSECT && nb < na)
		most = nb;
	l->n = 0;
	l->pairs = stk_alloc_array(m->alloc, most + 1, sizeof(pair));
	l->first = stk_alloc_array(m->alloc, most + 1, sizeof(size_t));
	l->marks = stk_alloc_array(m->alloc, most + 1, 1);
	return l->pairs && l->first && l->marks ? STK_OK : STK_ENOMEM;
}

static void
merge_free(merge *m)
{
	for (int d = 0; d <= STK_MAX_LEVELS; d++)
	{
		stk_free(m->alloc, m->levels[d].pairs);
		stk_free(m->alloc, m->levels[d].first);
		stk_free(m->alloc, m->levels[d].marks);
	}
}

/* Append the wanted ones of the children of one node in both sets, which ascend by code. */
static void
merge_siblings(level *out, stk_set_op op, const uint16_t *code_a, uint32_t a, uint32_t to_a,
			   const uint16_t *code_b, uint32_t b, uint32_t to_b)
{
	while (a < to_a || b < to_b)
	{
		bool in_a = a < to_a && (b == to_b || code_a[a] <= code_b[b]);
		bool in_b = b < to_b && (a == to_a || code_b[b] <= code_a[a]);

		if (wanted(op, in_a, in_b))
			out->pairs[out->n++] = (pair){in_a ? a : NONE, in_b ? b : NONE};
		a += in_a;
		b += in_b;
	}
}

/* The same for the roots, by tokenizer. */
static void
merge_roots(merge *m)
{
	level *out = &m->levels[0];
	uint32_t a = 0;
	uint32_t b = 0;

	while (a < m->a->roots || b < m->b->roots)
	{
		bool in_a =
			a < m->a->roots && (b == m->b->roots || m->a->tokenizer[a] <= m->b->tokenizer[b]);
		bool in_b =
			b < m->b->roots && (a == m->a->roots || m->b->tokenizer[b] <= m->a->tokenizer[a]);

		if (wanted(m->op, in_a, in_b))
			out->pairs[out->n++] = (pair){in_a ? a : NONE, in_b ? b : NONE};
		a += in_a;
		b += in_b;
	}
}

/* Merge the children of level d's nodes into level d + 1. */
static stk_status
merge_level(merge *m, int d)
{
	level *l = &m->levels[d];
	level *below = &m->levels[d + 1];
	stk_status status = level_create(m, d + 1);

	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < l->n; i++)
	{
		uint32_t from_a = 0, to_a = 0, from_b = 0, to_b = 0;

		if (stop_at(m, i))
			return STK_ECANCELED;
		if (l->pairs[i].a != NONE)
			stk_semset_children(m->a, d, l->pairs[i].a, &from_a, &to_a);
		if (l->pairs[i].b != NONE)
			stk_semset_children(m->b, d, l->pairs[i].b, &from_b, &to_b);
		l->first[i] = below->n;
		merge_siblings(below, m->op, m->a->code[d + 1], from_a, to_a, m->b->code[d + 1], from_b,
					   to_b);
	}
	l->first[l->n] = below->n;
	return STK_OK;
}

/* Mark what of level d is in the result, when the level below is marked, and count it. */
static stk_status
mark_level(merge *m, int d, stk_semset_shape *shape)
{
	level *l = &m->levels[d];
	uint64_t kept = 0;

	for (size_t i = 0; i < l->n; i++)
	{
		pair p = l->pairs[i];
		uint8_t marks = 0;

		if (stop_at(m, i))
			return STK_ECANCELED;
		if (d > 0 && ends(m->op, p.a != NONE && stk_semset_is_id(m->a, d, p.a),
						  p.b != NONE && stk_semset_is_id(m->b, d, p.b)))
		{
			marks = KEPT | END;
			shape->ids++;
		}
		if (d < m->depth)
			for (size_t j = l->first[i]; j < l->first[i + 1] && marks == 0; j++)
				marks |= m->levels[d + 1].marks[j] & KEPT;
		l->marks[i] = marks;
		kept += marks & KEPT;
	}
	if (d == 0)
		shape->roots = kept;
	else
	{
		shape->nodes[d] = kept;
		if (kept > 0 && shape->depth < d)
			shape->depth = d;
	}
	return STK_OK;
}

/* Write the kept nodes of level d: what they are, where their children begin. */
static stk_status
write_level(const merge *m, int d, const stk_semset *set)
{
	const level *l = &m->levels[d];
	uint32_t *first = (uint32_t *) (d == 0 ? set->root_first : set->first[d]);
	uint32_t children = 0;
	uint32_t node = 0;

	for (size_t i = 0; i < l->n; i++)
	{
		pair p = l->pairs[i];

		if (stop_at(m, i))
			return STK_ECANCELED;
		if (!(l->marks[i] & KEPT))
			continue;
		if (d == 0)
			((uint32_t *) set->tokenizer)[node] =
				p.a != NONE ? m->a->tokenizer[p.a] : m->b->tokenizer[p.b];
		else
		{
			((uint16_t *) set->code[d])[node] =
				p.a != NONE ? m->a->code[d][p.a] : m->b->code[d][p.b];
			if (l->marks[i] & END)
				((uint8_t *) set->end[d])[node >> 3] |= (uint8_t) (1 << (node & 7));
		}
		if (d < set->depth)
		{
			first[node] = children;
			for (size_t j = l->first[i]; j < l->first[i + 1]; j++)
				children += m->levels[d + 1].marks[j] & KEPT;
		}
		node++;
	}
	if (d < set->depth)
		first[node] = children;
	return STK_OK;
}

stk_status
stk_semset_combine(const stk_semset *a, const stk_semset *b, stk_set_op op, size_t prefix,
				   const stk_allocator *alloc, const stk_monitor *monitor, uint8_t **out,
				   size_t *out_len, stk_error *err)
{
	merge m = {.a = a, .b = b, .op = op, .alloc = alloc, .monitor = monitor};
	stk_semset_shape shape = {0};
	stk_semset set;
	stk_status status;

	m.depth = a->depth > b->depth ? a->depth : b->depth;
	status = level_create(&m, 0);
	if (status == STK_OK)
		merge_roots(&m);
	for (int d = 0; d < m.depth && status == STK_OK; d++)
		status = merge_level(&m, d);
	for (int d = m.depth; d >= 0 && status == STK_OK; d--)
		status = mark_level(&m, d, &shape);
	if (status == STK_OK)
		status = stk_semset_allocate(&shape, prefix, alloc, out, out_len, &set, err);
	if (status == STK_OK)
	{
		for (int d = 0; d <= set.depth && status == STK_OK; d++)
			status = write_level(&m, d, &set);
		if (status != STK_OK)
			stk_free(alloc, *out);
	}
	merge_free(&m);
	return status;
}
