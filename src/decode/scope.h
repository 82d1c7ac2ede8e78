/*
 * What a decoding verb works on: the items of its first argument as one trie, restricted to a set
 * and without another.
 */
#ifndef SEMTOK_DECODE_SCOPE_H
#define SEMTOK_DECODE_SCOPE_H

#include "postgres.h"

#include "core/restricted.h"
#include "core/semset.h"
#include "core/trie.h"
#include "decode/guard.h"
#include "decode/items.h"
#include "decode/sets.h"

typedef struct Scope
{
	stk_trie *trie; /* looks for interrupts */
	const stk_root *roots;
	size_t n_roots;
	ItemsReader *reader; /* NULL over a set */
	GuardedTrie guarded;
	stk_restricted *restricted; /* NULL where no set is given */
} Scope;

/*
 * The scope of what a reader or a set has, which outlive it as within and exclude do; these may be
 * NULL. It keeps its address. STK_OK or, for a set never, STK_ERETRY; other failures are raised.
 * What it allocates goes with the current memory context, or by ScopeEnd.
 */
extern stk_status ScopeOfReader(Scope *scope, ItemsReader *reader, const stk_semset *within,
								const stk_semset *exclude);
extern stk_status ScopeOfSet(Scope *scope, SetTrie *set, const stk_semset *within,
							 const stk_semset *exclude);
extern void ScopeEnd(Scope *scope);

/*
 * The verb's work on them, in a memory context that is emptied afterwards. Where it answers
 * STK_ERETRY it is called again, from the start, over the index as it is then; other statuses than
 * STK_OK it reports itself. May raise errors.
 */
typedef stk_status (*ScopeWork)(const Scope *scope, void *state);

/*
 * Work over a table or an index, whose nodes are shown: refused where row security applies (0A000,
 * `verb` begins the message) or the caller lacks SELECT. within and exclude may be NULL.
 */
extern void ScopeOverItems(Oid relid, const char *verb, const stk_semset *within,
						   const stk_semset *exclude, ScopeWork work, void *state);
/* The same over a set. */
extern void ScopeOverSet(const stk_semset *set, const stk_semset *within, const stk_semset *exclude,
						 ScopeWork work, void *state);

/* How many rows behind a posting handle the caller may see; 1 over a set. */
extern stk_status ScopeVisible(const Scope *scope, uint64 posting, int64 *visible);

/* The root of a tokenizer, or NULL. */
extern const stk_root *ScopeRoot(const Scope *scope, uint32 tokenizer);
/* "tokenizer 3", "tokenizers 3, 4": those that the items have ids of; palloc'd. */
extern char *ScopeTokenizers(const Scope *scope);

#endif
