/*
 * Drawing from a trie by the numbers of items that its children show: the r-th item is found in as
 * many steps as its id has levels, without walking the others.
 *
 * Items are numbered from 0, root after root, below a node in ascending order of codes, and those
 * of an id after the items of ids that it begins. An index counts items that are there no more:
 * such a number may belong to no id, or to an id that has fewer items left.
 */
#ifndef STK_PICK_H
#define STK_PICK_H

#include <stdbool.h>

#include "alloc.h"
#include "semid.h"
#include "trie.h"

typedef struct stk_pick
{
	uint64_t number; /* the caller's, kept */
	uint64_t item;   /* in: which one is drawn; out: anything */
	bool found;      /* an id has this number */
	stk_semid id;
	uint64_t posting; /* the trie's handle */
	uint64_t copy;    /* which of the id's items, from 0 */
} stk_pick;

/*
 * Number of items below each root.
 *
 *   items  [n]  out
 */
extern stk_status stk_pick_count(stk_trie *trie, const stk_root *roots, size_t n, uint64_t *items);

/*
 * Find drawn items [n], whose numbers are below the sum of `items`, which stk_pick_count gave.
 * A node that several of them lie below is expanded once; draws are given back in ascending order
 * of their numbers. STK_ENOMEM, STK_ECORRUPT where counts contradict each other, and whatever
 * expand returns.
 */
extern stk_status stk_pick_find(stk_trie *trie, const stk_root *roots, const uint64_t *items,
								size_t n_roots, stk_pick *draws, size_t n, const stk_allocator *a);

#endif
