/*
 * A trie restricted to a set and without another: what the sets leave is all there is.
 *
 * Both are walked in step with the trie. A child exists where an id at or below it is left, so a
 * softmax over a node's children is one over what can be reached. Whether one is left is found by
 * walking the sets below the child, at most as many nodes as they have there, and mostly without
 * a walk: where the trie says that it has more ids there than are excluded.
 */
#ifndef STK_RESTRICTED_H
#define STK_RESTRICTED_H

#include "alloc.h"
#include "semset.h"
#include "trie.h"

typedef struct stk_restricted stk_restricted;

/*
 * Restrict a trie. All arguments outlive it; memory, which grows with the nodes expanded where a
 * set has ids, comes from a. Nodes without such ids keep the trie's own handles and cost nothing.
 *
 *   roots    [n]  of the trie, ascending
 *   within   only its ids exist; NULL = all
 *   exclude  its ids do not exist; NULL = none
 *
 * The trie's children say how many ids or items `trie` has there, the excluded included.
 * STK_ENOMEM; and whatever trie's expand returns, as roots without ids are left out.
 */
extern stk_status stk_restricted_create(stk_restricted **out, stk_trie *trie, const stk_root *roots,
										size_t n, const stk_semset *within,
										const stk_semset *exclude, const stk_allocator *a);
extern void stk_restricted_free(stk_restricted *r);

/* Posting handles are those of the trie within. */
extern stk_trie *stk_restricted_trie(stk_restricted *r);
extern const stk_root *stk_restricted_roots(const stk_restricted *r, size_t *n);

#endif
