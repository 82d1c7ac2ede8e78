/*
 * One beam search over a trie.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/trie_cache.h"
#include "decode/beam.h"
#include "types/bridge.h"

#define FIRST_ROWS 16
#define WIDER 4 /* times as wide is a beam that was too narrow */

void
BeamRemember(Scope *scope, size_t bytes)
{
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	GuardedTrie *guarded = palloc(sizeof(GuardedTrie));
	stk_trie_cache *cache;
	stk_status status = stk_trie_cache_create(&cache, scope->trie, bytes, &allocator);

	if (status != STK_OK)
		SemtokReportStatus(status, NULL, "could not remember nodes");
	/* What is remembered is shown without the scope's own guard. */
	GuardTrie(guarded, stk_trie_cache_trie(cache));
	scope->trie = &guarded->trie;
}

void
BeamAdd(BeamResult *result, const stk_semid *id, double cost, int64 items)
{
	if (result->n == result->room)
	{
		Size room = result->room ? (Size) result->room * 2 : FIRST_ROWS;

		result->rows = result->rows
						   ? repalloc_huge(result->rows, room * sizeof(BeamRow))
						   : MemoryContextAllocHuge(result->context, room * sizeof(BeamRow));
		result->room = (int) room;
	}
	result->rows[result->n++] = (BeamRow){.id = *id, .cost = cost, .items = items};
}

/* Take hits until there are k results. */
static stk_status
take_hits(const Scope *scope, stk_decode *search, int k, BeamResult *result)
{
	while (result->n < k)
	{
		stk_status status;
		stk_hit hit;
		bool found;
		int64 items = 1;

		CHECK_FOR_INTERRUPTS();
		status = stk_decode_next(search, &found, &hit);
		if (status == STK_OK && found)
			status = ScopeVisible(scope, hit.posting, &items);
		if (status != STK_OK || !found)
			return status;
		if (items == 0)
			continue;
		status = stk_decode_took(search, &hit);
		if (status != STK_OK)
			return status;
		BeamAdd(result, &hit.id, hit.cost, items);
	}
	return STK_OK;
}

/* One search. *dropped: another way of searching may find more. */
static stk_status
search_once(const Scope *scope, const stk_query *query, const stk_decode_options *options, int k,
			BeamResult *result, bool *dropped)
{
	MemoryContext context = CurrentMemoryContext;
	stk_allocator allocator = SemtokAllocator(context);
	stk_error err = {.level = -1};
	stk_decode *search;
	stk_status status = stk_decode_start(&search, query, scope->trie, scope->roots, scope->n_roots,
										 options, &allocator, &err);

	*dropped = false;
	if (status == STK_OK)
	{
		status = take_hits(scope, search, k, result);
		*dropped = stk_decode_dropped(search);
		stk_decode_free(search);
	}
	if (status != STK_OK && status != STK_ERETRY)
		SemtokReportStatus(status, &err, "could not search the items");
	return status;
}

/* Search in another way that drops less; false when there is none. */
static bool
widen(stk_decode_options *options)
{
	if (options->temperature == 0)
	{
		if (options->exact)
			return false;
		options->exact = true;
		return true;
	}
	if (options->beam_size == STK_MAX_BEAM)
		return false;
	/* What is drawn depends on paths alone: a wider beam draws the same and then more. */
	options->beam_size = Min(options->beam_size * WIDER, STK_MAX_BEAM);
	return true;
}

stk_status
BeamSearch(const Scope *scope, const stk_query *query, const DecodeOptions *options, uint64 stream,
		   BeamResult *result)
{
	stk_decode_options core = options->core;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok beam search", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	stk_status status;
	bool dropped;

	core.stream = stream;
	do
	{
		result->n = 0;
		status = search_once(scope, query, &core, options->k, result, &dropped);
		MemoryContextReset(context);
	} while (status == STK_OK && result->n < options->k && dropped && widen(&core));
	if (status != STK_OK)
		result->n = 0;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return status;
}
