#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "decode/scope.h"
#include "types/bridge.h"

/* Most tokenizers that an error lists. */
#define MAX_LISTED 8

/* Guard the trie, and restrict it where a set is given. */
static stk_status
make_scope(Scope *scope, stk_trie *trie, const stk_semset *within, const stk_semset *exclude)
{
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_status status;

	GuardTrie(&scope->guarded, trie);
	scope->trie = &scope->guarded.trie;
	scope->restricted = NULL;
	if (within == NULL && exclude == NULL)
		return STK_OK;
	status = stk_restricted_create(&scope->restricted, scope->trie, scope->roots, scope->n_roots,
								   within, exclude, &allocator);
	if (status == STK_OK)
	{
		scope->trie = stk_restricted_trie(scope->restricted);
		scope->roots = stk_restricted_roots(scope->restricted, &scope->n_roots);
	}
	else if (status != STK_ERETRY)
		SemtokReportStatus(status, NULL, "could not restrict the items");
	return status;
}

stk_status
ScopeOfReader(Scope *scope, ItemsReader *reader, const stk_semset *within,
			  const stk_semset *exclude)
{
	scope->reader = reader;
	scope->roots = ItemsReaderRoots(reader, &scope->n_roots);
	return make_scope(scope, ItemsReaderTrie(reader), within, exclude);
}

stk_status
ScopeOfSet(Scope *scope, SetTrie *set, const stk_semset *within, const stk_semset *exclude)
{
	scope->reader = NULL;
	scope->roots = set->roots;
	scope->n_roots = set->n_roots;
	return make_scope(scope, &set->trie.trie, within, exclude);
}

void
ScopeEnd(Scope *scope)
{
	stk_restricted_free(scope->restricted);
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
		ItemsReader *reader = ItemsReaderOpen(items, context);
		Scope scope;
		stk_status status = ScopeOfReader(&scope, reader, within, exclude);

		if (status == STK_OK)
			status = work(&scope, state);
		ItemsReaderClose(reader);
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
	Scope scope;
	SetTrie trie;

	SetTrieInit(&trie, set);
	if (ScopeOfSet(&scope, &trie, within, exclude) == STK_OK) /* always */
		(void) work(&scope, state);
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
