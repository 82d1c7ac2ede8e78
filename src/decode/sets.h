/*
 * A semset as a trie with its roots, for the verbs whose names end in _set.
 */
#ifndef SEMTOK_SETS_H
#define SEMTOK_SETS_H

#include "postgres.h"

#include "core/semset.h"

typedef struct SetTrie
{
	stk_semset_trie trie;
	stk_allocator allocator;
	stk_root *roots;
	size_t n_roots;
} SetTrie;

/* Make it in the current memory context; the set must outlive it. */
extern void SetTrieInit(SetTrie *trie, const stk_semset *set);

#endif
