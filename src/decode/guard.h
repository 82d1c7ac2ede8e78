/*
 * A trie that looks for interrupts: expanding the nodes of a wide beam can take long.
 */
#ifndef SEMTOK_DECODE_GUARD_H
#define SEMTOK_DECODE_GUARD_H

#include "postgres.h"

#include "core/trie.h"

typedef struct GuardedTrie
{
	stk_trie trie; /* first, so that a stk_trie * is one of these */
	stk_trie *inner;
} GuardedTrie;

/*
 * Guard a trie, which must outlive it. An interrupt raises its error inside expand: whoever calls
 * it may hold nothing but memory of a context.
 */
extern void GuardTrie(GuardedTrie *guarded, stk_trie *inner);

#endif
