/*
 * An abstract trie of semantic IDs of one tokenizer, seen one node at a time.
 *
 * Search algorithms walk any trie through this: a semset, the semtrie index with its pending
 * entries, a test's array. A node is a 64-bit handle that only the trie understands. Children
 * come in ascending code order, each code once.
 */
#ifndef STK_TRIE_H
#define STK_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "semid.h"
#include "status.h"

/* What a child is; bits may be combined (a ragged catalog has ids below ids). */
#define STK_CHILD_INNER 1  /* has children: `node` is its handle */
#define STK_CHILD_ID 2     /* an id ends at this child: `posting` is its handle */
#define STK_CHILD_TAIL 4   /* exactly one id below, `tail` levels deeper; never with the others */
#define STK_CHILD_UNSURE 8 /* of glance, with INNER: whether an id is left below, settle says */

typedef struct stk_child
{
	uint16_t code;
	uint8_t flags;
	uint8_t tail_len;     /* STK_CHILD_TAIL: number of further codes, >= 1 */
	uint32_t ids;         /* no more than the ids at and below; 0 says nothing */
	const uint16_t *tail; /* lives as long as the trie */
	uint64_t node;        /* STK_CHILD_INNER */
	uint64_t posting;     /* STK_CHILD_ID or STK_CHILD_TAIL */
	uint64_t items;       /* items at and below (an index counts rows not yet vacuumed) */
} stk_child;

/* The bit of a node's handle that is kept for tries that wrap others (restricted.h). */
#define STK_HANDLE_WRAPPER (UINT64_C(1) << 62)

typedef struct stk_trie stk_trie;
struct stk_trie
{
	/*
	 * Children of node, ascending by code. The array is valid until the next call on this trie.
	 * STK_ERETRY when the trie has been replaced meanwhile; other codes as they come.
	 */
	stk_status (*expand)(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n);
	/*
	 * expand for those who want the codes alone: what else the children say is not known; NULL: it
	 * costs as much.
	 */
	stk_status (*codes)(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n);
	/*
	 * One child, where that costs less than all of them; NULL: it does not. *child is the caller's;
	 * an array that expand gave stays.
	 */
	stk_status (*find)(stk_trie *trie, uint64_t node, uint16_t code, bool *found, stk_child *child);
	/*
	 * Has a node more children than this? *more is true only where that was seen without reading
	 * them all; NULL: it never is. An array that expand gave stays.
	 */
	stk_status (*exceeds)(stk_trie *trie, uint64_t node, uint64_t children, bool *more);
	/*
	 * expand for those who want few of the children: without a look below each, so that some are
	 * STK_CHILD_UNSURE; NULL: expand does without, too.
	 */
	stk_status (*glance)(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n);
	/*
	 * The look: *flags are those of an unsure child, of which UNSURE goes, and INNER where nothing
	 * is left. An array that glance gave stays.
	 */
	stk_status (*settle)(stk_trie *trie, const stk_child *child, uint8_t *flags);
};

/* The only child of a tail. */
static inline stk_child
stk_tail_child(const stk_child *at)
{
	stk_child child = *at;

	child.code = *child.tail++;
	if (--child.tail_len == 0)
	{
		child.flags = STK_CHILD_ID;
		child.tail = NULL;
	}
	return child;
}

/* So many children are looked for one by one rather than among all that a node has. */
#define STK_FEW_CHILDREN 32

/*
 * The children of a node that have these codes, of a trie that can find them.
 *
 *   codes     [n]  ascending
 *   children  [n]  out: the first *found are filled
 */
static inline stk_status
stk_trie_find_few(stk_trie *trie, uint64_t node, const uint16_t *codes, size_t n,
				  stk_child *children, size_t *found)
{
	stk_status status = STK_OK;

	*found = 0;
	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		bool is_there = false;

		status = trie->find(trie, node, codes[i], &is_there, &children[*found]);
		*found += is_there;
	}
	return status;
}

/* Where a search starts: one root for each tokenizer in the catalog, ascending. */
typedef struct stk_root
{
	uint32_t tokenizer;
	uint64_t node;
} stk_root;

#endif
