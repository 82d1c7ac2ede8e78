/*
 * A set of semantic IDs laid out for devices: a trie in 32-bit node handles, in one block of bytes
 * without pointers that is copied as it is.
 *
 * Nodes with several ids at or below them have their children in slots: a slot of its own that
 * counts them, then one slot a child, ascending by code. Where only one id is left below a node,
 * its further codes lie in one piece, a tail, and nothing else is kept of the nodes on the way: a
 * million random ids of eight levels take 20 MB, where a slot a node would take 45. A handle is
 * the same for everybody who gets to a node, and no two nodes have the same, leaves apart.
 *
 *    bits 31, 30   what it is (stk_node_kind)
 *    bits 29 .. 0  INNER: the slot that counts its children; TAIL: where the next code lies
 *
 * The block: u32 link[slots], u32 tail_end[(tail_codes + 31) / 32], u32 root[roots],
 * u32 tokenizer[roots], u16 code[slots], u16 tail[tail_codes]. link has the count or a child's
 * handle; bit i of tail_end says that the id ends after tail[i].
 */
#ifndef STK_PACKED_TRIE_H
#define STK_PACKED_TRIE_H

#include <stdbool.h>

#include "alloc.h"
#include "both_sides.h"
#include "semset.h"

/* A node's handle. */
typedef uint32_t stk_node;

typedef enum stk_node_kind
{
	STK_NODE_INNER = 0,
	STK_NODE_INNER_ID = 1, /* an id ends there, too */
	STK_NODE_TAIL = 2,     /* one id below */
	STK_NODE_LEAF = 3      /* an id ends there, and nothing goes on */
} stk_node_kind;

#define STK_NODE_LEAF_HANDLE UINT32_C(0xc0000000)
/* No node; listed, it has no children. */
#define STK_NODE_NONE UINT32_C(0xffffffff)
/* Slots, and codes of tails, are fewer. */
#define STK_PACKED_MOST (UINT32_C(1) << 30)

/* A view: pointers into the block, wherever it is. */
typedef struct stk_packed_trie
{
	uint32_t slots;
	uint32_t tail_codes;
	uint32_t roots;
	uint32_t most_children; /* of any node */
	int depth;              /* levels of the longest id */
	const uint32_t *link;
	const uint32_t *tail_end;
	const stk_node *root;      /* [roots] */
	const uint32_t *tokenizer; /* [roots], ascending */
	const uint16_t *code;
	const uint16_t *tail;
} stk_packed_trie;

/* A node's children: codes[0] .. codes[n - 1], ascending. */
typedef struct stk_node_children
{
	const uint16_t *codes;
	uint32_t n;
	uint32_t at; /* the first child's slot, or its place in a tail */
	bool tail;
} stk_node_children;

/*
 * Lay out a set that was checked. *block is allocated through a, *view points into it. STK_ERANGE:
 * more slots or codes than a handle can say; STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_packed_trie_build(const stk_semset *set, const stk_allocator *a,
										const stk_monitor *monitor, void **block, size_t *bytes,
										stk_packed_trie *view, stk_error *err);

/* Point the view's arrays into a copy of the block at `block`; its numbers are known. */
extern void stk_packed_trie_attach(stk_packed_trie *view, const void *block);

static STK_BOTH_SIDES inline stk_node_kind
stk_node_what(stk_node node)
{
	return (stk_node_kind) (node >> 30);
}

/* Does an id end at this node? */
static STK_BOTH_SIDES inline bool
stk_node_is_id(stk_node node)
{
	return node >> 30 & 1 && node != STK_NODE_NONE;
}

/* Has it children? */
static STK_BOTH_SIDES inline bool
stk_node_goes_on(stk_node node)
{
	return node < STK_NODE_LEAF_HANDLE;
}

static STK_BOTH_SIDES inline stk_node_children
stk_node_list(const stk_packed_trie *t, stk_node node)
{
	uint32_t at = node & (STK_PACKED_MOST - 1);
	stk_node_children c;

	c.tail = stk_node_what(node) == STK_NODE_TAIL;
	if (c.tail)
	{
		c.codes = t->tail + at;
		c.n = 1;
		c.at = at;
	}
	else if (stk_node_goes_on(node))
	{
		c.codes = t->code + at + 1;
		c.n = t->link[at];
		c.at = at + 1;
	}
	else
	{
		c.codes = t->code;
		c.n = 0;
		c.at = 0;
	}
	return c;
}

/* The handle of child i, i < c->n. */
static STK_BOTH_SIDES inline stk_node
stk_node_child(const stk_packed_trie *t, const stk_node_children *c, uint32_t i)
{
	if (!c->tail)
		return t->link[c->at + i];
	if (t->tail_end[c->at >> 5] >> (c->at & 31) & 1)
		return STK_NODE_LEAF_HANDLE;
	return (uint32_t) STK_NODE_TAIL << 30 | (c->at + 1);
}

/* The child with this code, or STK_NODE_NONE. */
static STK_BOTH_SIDES inline stk_node
stk_node_find(const stk_packed_trie *t, stk_node node, uint16_t code)
{
	stk_node_children c = stk_node_list(t, node);
	uint32_t from = 0;
	uint32_t to = c.n;

	while (from < to)
	{
		uint32_t mid = from + (to - from) / 2;

		if (c.codes[mid] < code)
			from = mid + 1;
		else
			to = mid;
	}
	return from < c.n && c.codes[from] == code ? stk_node_child(t, &c, from) : STK_NODE_NONE;
}

#endif
