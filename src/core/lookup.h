/*
 * Many prefixes found in a trie at once: walked level by level together, so that a node which
 * several of them pass through is expanded once.
 */
#ifndef STK_LOOKUP_H
#define STK_LOOKUP_H

#include "alloc.h"
#include "search.h"

/*
 * Told of a prefix that exists below a root.
 *
 *   prefix    its number among those asked for
 *   at        what it leads to, as of stk_seek
 *   children  [n]  what may follow it, ascending by code; the only code of a tail too
 *
 * Both are valid during the call, which must not use the trie. What it returns, if not STK_OK,
 * ends the lookup.
 */
typedef stk_status (*stk_lookup_found)(void *ctx, size_t prefix, const stk_child *at,
									   const stk_child *children, size_t n);

/*
 * Find prefixes [n], of any order, equal ones among them. One whose tokenizer is 0 is looked for
 * below every root, others below the root of their tokenizer; found is called once for each root
 * that has the prefix. codes_alone: of the children it wants no more than the codes. Memory from a,
 * in proportion to n, is given back. STK_ENOMEM, and whatever expand and found return.
 */
extern stk_status stk_lookup(stk_trie *trie, const stk_root *roots, size_t n_roots,
							 const stk_prefix *prefixes, size_t n, bool codes_alone,
							 const stk_allocator *a, stk_lookup_found found, void *ctx);

#endif
