/*
 * Beam search over items: an index, a table or a semset.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "decode/beam.h"
#include "decode/guard.h"
#include "decode/items.h"
#include "decode/sets.h"
#include "tokenizer/args.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/semquery.h"
#include "types/semset.h"

#define MAX_BEAM 1000000       /* semtok.beam_width's limit too */
#define WITHIN_BYTES_OFFSET 12 /* of a semquery's stored form */

PG_FUNCTION_INFO_V1(semtok_beam_search);
PG_FUNCTION_INFO_V1(semtok_beam_search_set);

int
BeamCompareIds(const stk_semid *a, const stk_semid *b)
{
	uint8 abytes[STK_SEMID_MAX_BYTES];
	uint8 bbytes[STK_SEMID_MAX_BYTES];
	size_t alen = stk_semid_pack(a, abytes);
	size_t blen = stk_semid_pack(b, bbytes);

	return stk_semid_bytes_cmp(abytes, alen, bbytes, blen);
}

void
BeamEmit(BeamSink *sink, double cost, const stk_semid *id, int64 items)
{
	Datum values[4];
	bool nulls[4] = {0};

	sink->rank++;
	sink->last.cost = cost;
	sink->last.id = *id;
	values[0] = Int32GetDatum(sink->rank);
	values[1] = SemidMakeDatum(id);
	values[2] = Float8GetDatum(0.0 - cost); /* not -cost: a cost of 0 is a log-probability of 0 */
	values[3] = Int64GetDatum(items);
	tuplestore_putvalues(sink->rsinfo->setResult, sink->rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(values[1]));
}

/*
 * Begin the result set and read k, beam_size and temperature (arguments 2 to 4; a search without
 * sampling draws nothing from the seed, argument 5).
 */
static void
begin_beam(FunctionCallInfo fcinfo, BeamSink *sink)
{
	double temperature;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	*sink = (BeamSink){.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	ArgRequire(fcinfo, 2, "k");
	sink->k = PG_GETARG_INT32(2);
	ArgRequire(fcinfo, 3, "beam_size");
	sink->beam_size = PG_GETARG_INT32(3);
	ArgRequire(fcinfo, 4, "temperature");
	temperature = PG_GETARG_FLOAT8(4);
	if (sink->k < 1 || sink->k > MAX_BEAM)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("k must be between 1 and %d, not %d", MAX_BEAM, sink->k)));
	if (sink->beam_size < sink->k || sink->beam_size > MAX_BEAM)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("beam_size must be between k = %d and %d, not %d", sink->k, MAX_BEAM,
							   sink->beam_size)));
	if (isnan(temperature) || isinf(temperature) || temperature < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("temperature must be finite and not negative")));
	if (temperature != 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("sampling is not available yet: expected temperature 0")));
}

/* The same query under another norm, made from its logits; a set it carries stays. */
static Datum
change_norm(Datum semquery, stk_norm norm)
{
	const uint8 *bytes = (const uint8 *) PG_DETOAST_DATUM(semquery);
	size_t len = VARSIZE(bytes);
	const stk_query *query = SemqueryView(PointerGetDatum(bytes), CurrentMemoryContext);
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_error err = {.level = -1};
	uint32 within_len;
	uint8 *out;
	size_t out_len;
	stk_status status;

	if (query->kind == STK_QUERY_NEIGHBORS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a neighbors query has no logits to normalise")));
	if (query->norm == norm)
		return PointerGetDatum(bytes);
	/* The set, where there is one, is the last section. */
	memcpy(&within_len, bytes + WITHIN_BYTES_OFFSET, sizeof(within_len));
	status = stk_query_from_logits(query->logits[0], query->levels, query->sizes, query->tokenizer,
								   norm, within_len > 0 ? bytes + len - within_len : NULL,
								   within_len, &allocator, &out, &out_len, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not normalise the query");
	return SemqueryDatum(out, out_len);
}

/* The query (argument 1) under the norm asked for (argument 6). */
static Datum
read_query(FunctionCallInfo fcinfo)
{
	stk_norm norm;
	char *name;

	if (PG_ARGISNULL(6))
		return PG_GETARG_DATUM(1);
	name = text_to_cstring(PG_GETARG_TEXT_PP(6));
	if (stk_norm_parse(name, &norm) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected norm full, none or masked, not \"%s\"", name)));
	return change_norm(PG_GETARG_DATUM(1), norm);
}

/* Was this hit returned before the search was started again? */
static bool
returned_before(const BeamSink *sink, const stk_hit *hit)
{
	if (sink->rank == 0 || hit->cost > sink->last.cost)
		return false;
	return hit->cost < sink->last.cost || BeamCompareIds(&hit->id, &sink->last.id) <= 0;
}

/*
 * Search a trie and return rows until there are k. With a reader, ids without visible rows are
 * passed over; without one every id counts once.
 */
static stk_status
search_trie(const stk_query *query, stk_trie *trie, const stk_root *roots, size_t n_roots,
			ItemsReader *reader, BeamSink *sink)
{
	GuardedTrie guarded;
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_error err = {.level = -1};
	stk_search *search;
	stk_status status;

	GuardTrie(&guarded, trie);
	status = stk_search_start(&search, query, &guarded.trie, roots, n_roots, sink->beam_size,
							  &allocator, &err);
	if (status != STK_OK)
	{
		if (status != STK_ERETRY)
			SemtokReportStatus(status, &err, "could not start the search");
		return status;
	}
	while (sink->rank < sink->k)
	{
		stk_hit hit;
		bool found;
		int64 items = 1;

		CHECK_FOR_INTERRUPTS();
		status = stk_search_next(search, &found, &hit);
		if (status != STK_OK || !found)
			break;
		if (returned_before(sink, &hit))
			continue;
		if (reader)
		{
			status = ItemsReaderVisible(reader, hit.posting, &items);
			if (status != STK_OK)
				break;
		}
		if (items > 0)
			BeamEmit(sink, hit.cost, &hit.id, items);
	}
	stk_search_free(search);
	if (status != STK_OK && status != STK_ERETRY)
		SemtokReportStatus(status, NULL, "could not search the items");
	return status;
}

/* Search the indexes of the items, again where they were rebuilt under the search. */
static void
search_items(Items *items, Datum semquery, BeamSink *sink)
{
	const stk_query *query = SemqueryView(semquery, CurrentMemoryContext);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok beam search", ALLOCSET_DEFAULT_SIZES);

	for (int attempt = 0;; attempt++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		ItemsReader *reader = ItemsReaderOpen(items, context);
		size_t n_roots;
		const stk_root *roots = ItemsReaderRoots(reader, &n_roots);
		stk_status status =
			search_trie(query, ItemsReaderTrie(reader), roots, n_roots, reader, sink);

		ItemsReaderClose(reader);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (status == STK_OK)
			break;
		ItemsRetry(attempt);
	}
	MemoryContextDelete(context);
}

/*
 * beam_search(items regclass, query semquery, k int, beam_size int, temperature float8,
 *             seed bigint, norm text)
 */
Datum
semtok_beam_search(PG_FUNCTION_ARGS)
{
	BeamSink sink;
	Datum semquery;
	Items *items;

	begin_beam(fcinfo, &sink);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	semquery = read_query(fcinfo);
	items = ItemsOpen(PG_GETARG_OID(0));
	if (SemqueryView(semquery, CurrentMemoryContext)->kind == STK_QUERY_MASKED)
		ItemsRefuseNodes(items, "norm masked without a set");
	if (items->row_security || items->unsafe_index)
		BeamSearchExecutor(items, semquery, &sink);
	else
		search_items(items, semquery, &sink);
	ItemsClose(items);
	PG_RETURN_NULL();
}

/* beam_search_set(items semset, …): the same over a set. */
Datum
semtok_beam_search_set(PG_FUNCTION_ARGS)
{
	BeamSink sink;
	SetTrie set;
	const stk_query *query;

	begin_beam(fcinfo, &sink);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	query = SemqueryView(read_query(fcinfo), CurrentMemoryContext);
	SetTrieInit(&set, SemsetView(PG_GETARG_DATUM(0), CurrentMemoryContext));
	search_trie(query, &set.trie.trie, set.roots, set.n_roots, NULL, &sink);
	PG_RETURN_NULL();
}
