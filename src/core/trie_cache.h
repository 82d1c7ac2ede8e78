/*
 * A trie that remembers the children of the nodes it has shown: searches for many queries, one
 * after the other, read the upper levels once.
 */
#ifndef STK_TRIE_CACHE_H
#define STK_TRIE_CACHE_H

#include "alloc.h"
#include "trie.h"

typedef struct stk_trie_cache stk_trie_cache;

/*
 * Remember what `trie` shows, as much as fits into `bytes`: when that is full, nodes not yet seen
 * are passed through. trie outlives it and must not change; handles are its own. STK_ENOMEM.
 */
extern stk_status stk_trie_cache_create(stk_trie_cache **out, stk_trie *trie, size_t bytes,
										const stk_allocator *a);
extern void stk_trie_cache_free(stk_trie_cache *c);
extern stk_trie *stk_trie_cache_trie(stk_trie_cache *c);

#endif
