/*
 * Which codes may follow a prefix, and how many items lie below each.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "core/search.h"
#include "decode/items.h"
#include "decode/sets.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/semset.h"

PG_FUNCTION_INFO_V1(semtok_next_codes);
PG_FUNCTION_INFO_V1(semtok_next_codes_set);

/* Items below each code that follows the prefix, summed over the roots that match. */
typedef struct NextCodes
{
	uint64 items[STK_MAX_CODE + 1];
	bool present[STK_MAX_CODE + 1];
} NextCodes;

/* The prefix argument; null is the empty prefix of every tokenizer. */
static stk_prefix
prefix_arg(FunctionCallInfo fcinfo, int argno)
{
	stk_prefix prefix = {0};
	stk_semid id;

	if (PG_ARGISNULL(argno))
		return prefix;
	SemidUnpack(PG_GETARG_SEMID_PP(argno), &id);
	prefix.tokenizer = id.tokenizer;
	prefix.levels = id.levels;
	memcpy(prefix.codes, id.codes, id.levels * sizeof(uint16));
	return prefix;
}

static void
add_code(NextCodes *next, uint16 code, uint64 items)
{
	next->items[code] += items;
	next->present[code] = true;
}

/* Add the codes below the prefix in one root. */
static stk_status
add_root(NextCodes *next, stk_trie *trie, uint64 root, const stk_prefix *prefix)
{
	const stk_child *children;
	stk_child at;
	size_t n;
	bool found;
	stk_status status = stk_seek(trie, root, prefix->codes, prefix->levels, &found, &at);

	if (status != STK_OK || !found)
		return status;
	if (at.flags & STK_CHILD_TAIL)
		add_code(next, at.tail[0], at.items);
	if (!(at.flags & STK_CHILD_INNER))
		return STK_OK;
	status = trie->expand(trie, at.node, &children, &n);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n; i++)
		add_code(next, children[i].code, children[i].items);
	return STK_OK;
}

/* Gather the codes below the prefix in every root that it matches. */
static stk_status
gather(NextCodes *next, stk_trie *trie, const stk_root *roots, size_t n_roots,
	   const stk_prefix *prefix)
{
	for (size_t i = 0; i < n_roots; i++)
	{
		stk_status status;

		CHECK_FOR_INTERRUPTS();
		if (prefix->tokenizer != 0 && prefix->tokenizer != roots[i].tokenizer)
			continue;
		status = add_root(next, trie, roots[i].node, prefix);
		if (status == STK_ERETRY)
			return status;
		if (status != STK_OK)
			SemtokReportStatus(status, NULL, "could not read the items");
	}
	return STK_OK;
}

static void
emit(FunctionCallInfo fcinfo, const NextCodes *next)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int code = 0; code <= STK_MAX_CODE; code++)
	{
		Datum values[2];
		bool nulls[2] = {0};

		if (!next->present[code])
			continue;
		values[0] = Int32GetDatum(code);
		values[1] = Int64GetDatum((int64) next->items[code]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* next_codes(items regclass, prefix semid) */
Datum
semtok_next_codes(PG_FUNCTION_ARGS)
{
	NextCodes *next = palloc0(sizeof(NextCodes));
	MemoryContext context;
	stk_prefix prefix;
	Items *items;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	prefix = prefix_arg(fcinfo, 1);
	items = ItemsOpen(PG_GETARG_OID(0));
	ItemsRefuseNodes(items, "next_codes");
	context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok next_codes", ALLOCSET_DEFAULT_SIZES);
	for (int attempt = 0;; attempt++)
	{
		ItemsReader *reader = ItemsReaderOpen(items, context);
		size_t n_roots;
		const stk_root *roots = ItemsReaderRoots(reader, &n_roots);
		stk_status status = gather(next, ItemsReaderTrie(reader), roots, n_roots, &prefix);

		ItemsReaderClose(reader);
		MemoryContextReset(context);
		if (status == STK_OK)
			break;
		memset(next, 0, sizeof(NextCodes));
		ItemsRetry(attempt);
	}
	MemoryContextDelete(context);
	ItemsClose(items);
	emit(fcinfo, next);
	PG_RETURN_NULL();
}

/* next_codes_set(items semset, prefix semid) */
Datum
semtok_next_codes_set(PG_FUNCTION_ARGS)
{
	NextCodes *next = palloc0(sizeof(NextCodes));
	stk_prefix prefix;
	SetTrie set;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	prefix = prefix_arg(fcinfo, 1);
	SetTrieInit(&set, SemsetView(PG_GETARG_DATUM(0), CurrentMemoryContext));
	gather(next, &set.trie.trie, set.roots, set.n_roots, &prefix);
	emit(fcinfo, next);
	PG_RETURN_NULL();
}
