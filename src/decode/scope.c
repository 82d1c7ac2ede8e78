#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "decode/guard.h"
#include "decode/scope.h"
#include "decode/sets.h"
#include "types/bridge.h"

/* Most tokenizers that an error lists. */
#define MAX_LISTED 8

/* Restrict the trie where a set is given, and work on it. */
static stk_status
work_within(Scope *scope, const stk_semset *within, const stk_semset *exclude, ScopeWork work,
			void *state)
{
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_restricted *restricted;
	GuardedTrie guarded;
	stk_status status;

	GuardTrie(&guarded, scope->trie);
	scope->trie = &guarded.trie;
	if (within != NULL || exclude != NULL)
	{
		status = stk_restricted_create(&restricted, scope->trie, scope->roots, scope->n_roots,
									   within, exclude, &allocator);
		if (status == STK_ERETRY)
			return status;
		if (status != STK_OK)
			SemtokReportStatus(status, NULL, "could not restrict the items");
		scope->trie = stk_restricted_trie(restricted);
		scope->roots = stk_restricted_roots(restricted, &scope->n_roots);
	}
	/* What a restricted trie holds goes with the memory context. */
	return work(scope, state);
}

void
ScopeOverItems(Oid relid, const char *verb, const stk_semset *within, const stk_semset *exclude,
			   ScopeWork work, void *state)
{
	Items *items = ItemsOpen(relid);
	MemoryContext context;

	ItemsRefuseNodes(items, verb);
	context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok decoding", ALLOCSET_DEFAULT_SIZES);
	for (int attempt = 0;; attempt++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Scope scope = {.reader = ItemsReaderOpen(items, context)};
		stk_status status;

		scope.trie = ItemsReaderTrie(scope.reader);
		scope.roots = ItemsReaderRoots(scope.reader, &scope.n_roots);
		status = work_within(&scope, within, exclude, work, state);
		ItemsReaderClose(scope.reader);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (status == STK_OK)
			break;
		ItemsRetry(attempt);
	}
	MemoryContextDelete(context);
	ItemsClose(items);
}

void
ScopeOverSet(const stk_semset *set, const stk_semset *within, const stk_semset *exclude,
			 ScopeWork work, void *state)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok decoding", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Scope scope = {0};
	SetTrie trie;

	SetTrieInit(&trie, set);
	scope.trie = &trie.trie.trie;
	scope.roots = trie.roots;
	scope.n_roots = trie.n_roots;
	(void) work_within(&scope, within, exclude, work, state); /* a set never changes */
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

stk_status
ScopeVisible(const Scope *scope, uint64 posting, int64 *visible)
{
	if (scope->reader != NULL)
		return ItemsReaderVisible(scope->reader, posting, visible);
	*visible = 1;
	return STK_OK;
}

const stk_root *
ScopeRoot(const Scope *scope, uint32 tokenizer)
{
	for (size_t i = 0; i < scope->n_roots; i++)
		if (scope->roots[i].tokenizer == tokenizer)
			return &scope->roots[i];
	return NULL;
}

char *
ScopeTokenizers(const Scope *scope)
{
	StringInfoData names;

	initStringInfo(&names);
	appendStringInfo(&names, "tokenizer%s ", scope->n_roots == 1 ? "" : "s");
	for (size_t i = 0; i < scope->n_roots && i < MAX_LISTED; i++)
		appendStringInfo(&names, "%s%u", i == 0 ? "" : ", ", scope->roots[i].tokenizer);
	if (scope->n_roots > MAX_LISTED)
		appendStringInfoString(&names, ", …");
	return names.data;
}
