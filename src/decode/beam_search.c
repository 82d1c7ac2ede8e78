/*
 * One beam search over a trie.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/restricted.h"
#include "core/trie_cache.h"
#include "decode/beam.h"
#include "decode/guard.h"
#include "types/bridge.h"

#define FIRST_ROWS 16
#define WIDER 4 /* times as wide is a beam that was too narrow */

/* Let an expansion look for interrupts. */
static void
guard_space(BeamSpace *space)
{
	GuardedTrie *guarded = palloc(sizeof(GuardedTrie));

	GuardTrie(guarded, space->trie);
	space->trie = &guarded->trie;
}

/* Leave out what is excluded. */
static stk_status
restrict_space(BeamSpace *space, const stk_semset *exclude)
{
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_restricted *restricted;
	stk_status status = stk_restricted_create(&restricted, space->trie, space->roots,
											  space->n_roots, NULL, exclude, &allocator);

	if (status == STK_OK)
	{
		space->trie = stk_restricted_trie(restricted);
		space->roots = stk_restricted_roots(restricted, &space->n_roots);
	}
	else if (status != STK_ERETRY)
		SemtokReportStatus(status, NULL, "could not exclude ids");
	return status;
}

/* Keep what one query sees of the trie for the next. */
static void
remember_space(BeamSpace *space, size_t bytes)
{
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_trie_cache *cache;
	stk_status status = stk_trie_cache_create(&cache, space->trie, bytes, &allocator);

	if (status != STK_OK)
		SemtokReportStatus(status, NULL, "could not remember nodes");
	space->trie = stk_trie_cache_trie(cache);
}

stk_status
BeamSpaceInit(BeamSpace *space, stk_trie *trie, const stk_root *roots, size_t n_roots,
			  ItemsReader *reader, const DecodeOptions *options, size_t remembered)
{
	stk_status status = STK_OK;

	*space = (BeamSpace){.trie = trie, .roots = roots, .n_roots = n_roots, .reader = reader};
	guard_space(space);
	if (options->exclude)
		status = restrict_space(space, options->exclude);
	if (status == STK_OK && remembered > 0)
	{
		remember_space(space, remembered);
		guard_space(space); /* what is remembered is shown without the other guard */
	}
	return status;
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
take_hits(const BeamSpace *space, stk_decode *search, int k, BeamResult *result)
{
	while (result->n < k)
	{
		stk_status status;
		stk_hit hit;
		bool found;
		int64 items = 1;

		CHECK_FOR_INTERRUPTS();
		status = stk_decode_next(search, &found, &hit);
		if (status == STK_OK && found && space->reader)
			status = ItemsReaderVisible(space->reader, hit.posting, &items);
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
search_once(const BeamSpace *space, const stk_query *query, const stk_decode_options *options,
			int k, BeamResult *result, bool *dropped)
{
	MemoryContext context = CurrentMemoryContext;
	stk_allocator allocator = SemtokAllocator(context);
	stk_error err = {.level = -1};
	stk_decode *search;
	stk_status status = stk_decode_start(&search, query, space->trie, space->roots, space->n_roots,
										 options, &allocator, &err);

	*dropped = false;
	if (status == STK_OK)
	{
		status = take_hits(space, search, k, result);
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
BeamSearch(const BeamSpace *space, const stk_query *query, const DecodeOptions *options,
		   uint64 stream, BeamResult *result)
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
		status = search_once(space, query, &core, options->k, result, &dropped);
		MemoryContextReset(context);
	} while (status == STK_OK && result->n < options->k && dropped && widen(&core));
	if (status != STK_OK)
		result->n = 0;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return status;
}
