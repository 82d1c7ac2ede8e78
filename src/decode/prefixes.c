#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "decode/prefixes.h"
#include "decode/scope.h"
#include "types/bridge.h"
#include "types/semid.h"

/* Prefixes looked up together: enough to share the upper levels, few enough for work_mem. */
#define CHUNK 1024

/* The chunk being looked up, for core's callback. */
typedef struct Lookup
{
	const PrefixVerb *verb;
	PrefixChunk chunk;
	stk_error err;
} Lookup;

ArrayType *
PrefixesArg(FunctionCallInfo fcinfo, int argno, int *n)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(argno);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected prefixes of one dimension, not %d", ARR_NDIM(array))));
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return array;
}

/* One prefix; `number` counts from 1. */
static void
read_prefix(const PrefixVerb *verb, Datum value, bool isnull, int64 number, stk_prefix *prefix)
{
	stk_semid id;

	*prefix = (stk_prefix){.tokenizer = verb->tokenizer};
	if (isnull)
		return;
	SemidUnpack(DatumGetSemidPP(value), &id);
	if (id.tokenizer != 0 && verb->tokenizer != 0 && id.tokenizer != verb->tokenizer)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("prefix " INT64_FORMAT " is of tokenizer %u, expected tokenizer %u",
							   number, id.tokenizer, verb->tokenizer)));
	if (id.tokenizer != 0)
		prefix->tokenizer = id.tokenizer;
	prefix->levels = id.levels;
	memcpy(prefix->codes, id.codes, id.levels * sizeof(uint16));
}

/* Read the next prefixes; false when there are none. */
static bool
next_chunk(const PrefixVerb *verb, ArrayIterator iterator, stk_prefix *prefixes, PrefixChunk *chunk)
{
	Datum value;
	bool isnull;

	chunk->first += chunk->n;
	chunk->prefixes = prefixes;
	for (chunk->n = 0; chunk->n < CHUNK && array_iterate(iterator, &value, &isnull); chunk->n++)
		read_prefix(verb, value, isnull, chunk->first + chunk->n + 1, &prefixes[chunk->n]);
	return chunk->n > 0;
}

static stk_status
chunk_found(void *ctx, size_t prefix, const stk_child *at, const stk_child *children, size_t n)
{
	Lookup *lookup = ctx;

	CHECK_FOR_INTERRUPTS();
	return lookup->verb->found(lookup->verb->ctx, &lookup->chunk, prefix, at, children, n,
							   &lookup->err);
}

/* Look up one chunk in a scope; STK_ERETRY is returned, other failures are raised. */
static stk_status
lookup_chunk(Lookup *lookup, const Scope *scope)
{
	const PrefixVerb *verb = lookup->verb;
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_status status =
		stk_lookup(scope->trie, scope->roots, scope->n_roots, lookup->chunk.prefixes,
				   lookup->chunk.n, verb->codes_alone, &allocator, chunk_found, lookup);

	if (status != STK_OK && status != STK_ERETRY)
		SemtokReportStatus(status, &lookup->err, "could not read what follows the prefixes");
	if (status == STK_OK && verb->done)
		verb->done(verb->ctx, &lookup->chunk);
	return status;
}

/* Look all prefixes up, with a reader of their own for as many as work_mem holds the nodes of. */
static stk_status
lookup_items(Items *items, const PrefixVerb *verb, MemoryContext context, stk_prefix *prefixes)
{
	Lookup lookup = {.verb = verb, .err = {.level = -1}};
	ArrayIterator iterator = array_create_iterator(verb->prefixes, 0, NULL);
	ItemsReader *reader = NULL;
	stk_status status = STK_OK;
	Scope scope;

	verb->begin(verb->ctx);
	while (status == STK_OK && next_chunk(verb, iterator, prefixes, &lookup.chunk))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		if (reader == NULL)
		{
			reader = ItemsReaderOpen(items, context);
			status = ScopeOfReader(&scope, reader, verb->within, verb->exclude);
		}
		if (status == STK_OK)
			status = lookup_chunk(&lookup, &scope);
		MemoryContextSwitchTo(old);
		if (MemoryContextMemAllocated(context, true) > work_mem * (Size) 1024)
		{
			ItemsReaderClose(reader);
			MemoryContextReset(context);
			reader = NULL;
		}
	}
	if (reader)
		ItemsReaderClose(reader);
	MemoryContextReset(context);
	array_free_iterator(iterator);
	return status;
}

void
PrefixesOfItems(Oid relid, const PrefixVerb *verb)
{
	stk_prefix *prefixes = palloc(CHUNK * sizeof(stk_prefix));
	Items *items = ItemsOpen(relid);
	MemoryContext context;

	ItemsRefuseNodes(items, verb->name);
	context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok prefixes", ALLOCSET_DEFAULT_SIZES);
	for (int attempt = 0; lookup_items(items, verb, context, prefixes) != STK_OK; attempt++)
		ItemsRetry(attempt);
	MemoryContextDelete(context);
	ItemsClose(items);
	pfree(prefixes);
}

void
PrefixesOfSet(const stk_semset *set, const PrefixVerb *verb)
{
	stk_prefix *prefixes = palloc(CHUNK * sizeof(stk_prefix));
	ArrayIterator iterator = array_create_iterator(verb->prefixes, 0, NULL);
	Lookup lookup = {.verb = verb, .err = {.level = -1}};
	SetTrie trie;
	Scope scope;

	SetTrieInit(&trie, set);
	verb->begin(verb->ctx);
	while (next_chunk(verb, iterator, prefixes, &lookup.chunk))
	{
		if (ScopeOfSet(&scope, &trie, verb->within, verb->exclude) == STK_OK) /* always */
			(void) lookup_chunk(&lookup, &scope);
		ScopeEnd(&scope);
	}
	array_free_iterator(iterator);
	pfree(prefixes);
}
