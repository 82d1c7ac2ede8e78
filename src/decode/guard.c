#include "postgres.h"

#include "miscadmin.h"

#include "decode/guard.h"

static stk_status
guarded_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	stk_trie *inner = ((GuardedTrie *) trie)->inner;

	CHECK_FOR_INTERRUPTS();
	return inner->expand(inner, node, children, n);
}

static stk_status
guarded_codes(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	stk_trie *inner = ((GuardedTrie *) trie)->inner;

	CHECK_FOR_INTERRUPTS();
	return inner->codes(inner, node, children, n);
}

static stk_status
guarded_find(stk_trie *trie, uint64_t node, uint16_t code, bool *found, stk_child *child)
{
	stk_trie *inner = ((GuardedTrie *) trie)->inner;

	CHECK_FOR_INTERRUPTS();
	return inner->find(inner, node, code, found, child);
}

static stk_status
guarded_exceeds(stk_trie *trie, uint64_t node, uint64_t children, bool *more)
{
	stk_trie *inner = ((GuardedTrie *) trie)->inner;

	CHECK_FOR_INTERRUPTS();
	return inner->exceeds(inner, node, children, more);
}

void
GuardTrie(GuardedTrie *guarded, stk_trie *inner)
{
	guarded->trie = (stk_trie){.expand = guarded_expand,
							   .codes = inner->codes ? guarded_codes : NULL,
							   .find = inner->find ? guarded_find : NULL,
							   .exceeds = inner->exceeds ? guarded_exceeds : NULL};
	guarded->inner = inner;
}
