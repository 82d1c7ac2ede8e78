#include "postgres.h"

#include "storage/shmem.h"

#include "decode/sets.h"
#include "types/bridge.h"

void
SetTrieInit(SetTrie *trie, const stk_semset *set)
{
	trie->allocator = SemtokAllocator(CurrentMemoryContext);
	trie->n_roots = set->roots;
	trie->roots = palloc(mul_size(Max(set->roots, 1), sizeof(stk_root)));
	for (uint32 i = 0; i < set->roots; i++)
		trie->roots[i] = (stk_root){.tokenizer = set->tokenizer[i], .node = i};
	stk_semset_trie_init(&trie->trie, set, &trie->allocator);
}
