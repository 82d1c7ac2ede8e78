/*
 * Beam search over items: an index, a table or a semset; for one query or for many.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "decode/beam.h"
#include "decode/beam_call.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/semquery.h"
#include "types/semset.h"

#define WITHIN_BYTES_OFFSET 12 /* of a semquery's stored form */

PG_FUNCTION_INFO_V1(semtok_beam_search);
PG_FUNCTION_INFO_V1(semtok_beam_search_set);
PG_FUNCTION_INFO_V1(semtok_beam_search_batch);
PG_FUNCTION_INFO_V1(semtok_beam_search_batch_set);

/* (items, query or queries, k, …): the same for all four. */
static const DecodeArgs beam_args = {.k = 2,
									 .beam_size = 3,
									 .temperature = 4,
									 .seed = 5,
									 .top_k = 6,
									 .top_p = 7,
									 .norm = 8,
									 .length_penalty = 9,
									 .exact = 10,
									 .exclude = 11,
									 .max_per_prefix = 12,
									 .sampler = 13,
									 .candidates = 14};

void
BeamEmit(BeamSink *sink, double cost, const stk_semid *id, int64 items)
{
	Datum sid = SemidMakeDatum(id);
	Datum values[5];
	bool nulls[5] = {0};
	int n = 0;

	if (sink->query > 0)
		values[n++] = Int32GetDatum(sink->query);
	values[n++] = Int32GetDatum(++sink->rank);
	values[n++] = sid;
	values[n++] = Float8GetDatum(0.0 - cost); /* not -cost: a cost of 0 is a log-probability of 0 */
	values[n++] = Int64GetDatum(items);
	tuplestore_putvalues(sink->rsinfo->setResult, sink->rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(sid));
}

/* Is there a level at which no code has a probability? Norm full cannot be taken of it. */
static bool
allows_nothing(const stk_query *query)
{
	for (int level = 0; level < query->levels; level++)
	{
		uint32 code = 0;

		while (code < query->sizes[level] && isinf(query->logits[level][code]))
			code++;
		if (code == query->sizes[level])
			return true;
	}
	return false;
}

/*
 * The same query under another norm, made from its logits; a set it carries stays. 0 when nothing
 * is possible.
 */
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
	if (norm == STK_NORM_FULL && allows_nothing(query))
		return (Datum) 0;
	/* The set, where there is one, is the last section. */
	memcpy(&within_len, bytes + WITHIN_BYTES_OFFSET, sizeof(within_len));
	status = stk_query_from_logits(query->logits[0], query->levels, query->sizes, query->tokenizer,
								   norm, within_len > 0 ? bytes + len - within_len : NULL,
								   within_len, &allocator, &out, &out_len, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not normalise the query");
	return SemqueryDatum(out, out_len);
}

/* Read the arguments and begin the result set; false when there is nothing to search, or for. */
static bool
begin_call(FunctionCallInfo fcinfo, BeamCall *call, bool batch)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	*call = (BeamCall){.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo, .batch = batch};
	DecodeOptionsRead(fcinfo, &beam_args, &call->options);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return false;
	if (batch)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), SemtokTypeOid("semquery"), -1, false,
						  TYPALIGN_DOUBLE, &call->queries, &call->nulls, &call->n_queries);
	else
	{
		call->query = PG_GETARG_DATUM(1);
		call->queries = &call->query;
		call->n_queries = 1;
	}
	return true;
}

/* Refuse queries that the options or the items do not allow. */
static void
check_query(const BeamCall *call, const stk_query *query)
{
	bool drawn = call->options.core.temperature > 0;

	if (drawn && query->kind == STK_QUERY_NEIGHBORS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a neighbors query has no logits to draw from"),
						errhint("Use temperature 0.")));
	if (call->items == NULL)
		return;
	if (query->kind == STK_QUERY_MASKED)
		ItemsRefuseNodes(call->items, "norm masked without a set");
	if (drawn && query->norm != STK_NORM_MASKED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a temperature above 0 on a table or an index needs norm masked, not %s",
						stk_norm_name(query->norm)),
				 errhint("Use norm => 'masked', or beam_search_set with a semset built by "
						 "semset_agg.")));
}

const stk_query *
BeamReadQuery(const BeamCall *call, int number, Datum *semquery)
{
	const stk_query *query;

	*semquery = call->queries[number];
	if (call->options.norm_given)
		*semquery = change_norm(*semquery, call->options.core.norm);
	if (*semquery == 0)
		return NULL;
	query = SemqueryView(*semquery, CurrentMemoryContext);
	check_query(call, query);
	return query;
}

void
BeamReturn(const BeamCall *call, int number, const BeamResult *result)
{
	BeamSink sink = {.rsinfo = call->rsinfo, .query = call->batch ? number + 1 : 0, .k = result->n};

	for (int i = 0; i < result->n; i++)
		BeamEmit(&sink, result->rows[i].cost, &result->rows[i].id, result->rows[i].items);
}

stk_status
BeamAnswer(const BeamCall *call, const Scope *scope, int number)
{
	BeamResult result = {.context = CurrentMemoryContext};
	Datum semquery;
	const stk_query *query = BeamReadQuery(call, number, &semquery);
	stk_status status = STK_OK;

	if (query)
		status = BeamSearch(scope, query, &call->options, number, &result);
	if (status == STK_OK)
		BeamReturn(call, number, &result);
	return status;
}

/*
 * Answer queries until all are, or the scope has grown beyond work_mem: what was read of it is kept
 * for the next query.
 */
static stk_status
search_scope(BeamCall *call, const Scope *scope, MemoryContext scope_context)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "semtok beam search query",
												  ALLOCSET_DEFAULT_SIZES);
	stk_status status = STK_OK;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!BeamIsNull(call, call->next))
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			status = BeamAnswer(call, scope, call->next);
			MemoryContextSwitchTo(old);
			if (status != STK_OK)
				break;
			MemoryContextReset(context);
		}
		call->next++;
	} while (call->next < call->n_queries &&
			 MemoryContextMemAllocated(scope_context, true) <= work_mem * (Size) 1024);
	MemoryContextDelete(context);
	return status;
}

void
BeamRememberForCall(const BeamCall *call, Scope *scope)
{
	if (call->n_queries > 1)
		BeamRemember(scope, work_mem * (Size) 1024 / 4 * 3);
}

/* Open the items, answer queries, close them. */
static stk_status
search_opened(BeamCall *call, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ItemsReader *reader = ItemsReaderOpen(call->items, context);
	Scope scope;
	stk_status status = ScopeOfReader(&scope, reader, NULL, call->options.exclude);

	if (status == STK_OK)
		BeamRememberForCall(call, &scope);
	MemoryContextSwitchTo(old);
	if (status == STK_OK)
		status = search_scope(call, &scope, context);
	ItemsReaderClose(reader);
	MemoryContextReset(context);
	return status;
}

/* Search the indexes of the items, again where they were rebuilt under the search. */
static void
search_items(BeamCall *call)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok beam search", ALLOCSET_DEFAULT_SIZES);
	int attempt = 0;

	while (call->next < call->n_queries)
	{
		int before = call->next;

		if (search_opened(call, context) == STK_OK)
			continue;
		if (call->next > before)
			attempt = 0;
		ItemsRetry(attempt++);
	}
	MemoryContextDelete(context);
}

/* The searches by the executor; it plans each. */
static void
search_by_executor(BeamCall *call)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok beam search", ALLOCSET_DEFAULT_SIZES);

	for (; call->next < call->n_queries; call->next++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		BeamResult result = {.context = context};

		CHECK_FOR_INTERRUPTS();
		if (!BeamIsNull(call, call->next))
		{
			Datum semquery;

			if (BeamReadQuery(call, call->next, &semquery))
				BeamSearchExecutor(call->items, semquery, &call->options, &result);
			BeamReturn(call, call->next, &result);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/* Refuse what shows nodes where that must not be. */
static void
refuse_nodes(const stk_decode_options *options, const Items *items)
{
	if (options->temperature > 0)
		ItemsRefuseNodes(items, "a temperature above 0");
	if (options->top_k > 0)
		ItemsRefuseNodes(items, "top_k");
	if (options->top_p < 1)
		ItemsRefuseNodes(items, "top_p");
}

/* beam_search and beam_search_batch */
static Datum
beam_search(FunctionCallInfo fcinfo, bool batch)
{
	BeamCall call;

	if (begin_call(fcinfo, &call, batch))
	{
		call.items = ItemsOpen(PG_GETARG_OID(0));
		refuse_nodes(&call.options.core, call.items);
		if (call.items->row_security || call.items->unsafe_index)
			search_by_executor(&call);
		else
			search_items(&call);
		ItemsClose(call.items);
	}
	PG_RETURN_NULL();
}

/* beam_search_set and beam_search_batch_set */
static Datum
beam_search_set(FunctionCallInfo fcinfo, bool batch)
{
	BeamCall call;

	if (begin_call(fcinfo, &call, batch))
		BeamSearchSet(&call, PG_DETOAST_DATUM(PG_GETARG_DATUM(0)));
	PG_RETURN_NULL();
}

/*
 * (items regclass, query semquery, k int, beam_size int, temperature float8, seed bigint,
 *  top_k int, top_p float8, norm text, length_penalty float8, exact boolean, exclude semset,
 *  max_per_prefix jsonb, sampler text, candidates int), and so the others.
 */
Datum
semtok_beam_search(PG_FUNCTION_ARGS)
{
	return beam_search(fcinfo, false);
}

Datum
semtok_beam_search_set(PG_FUNCTION_ARGS)
{
	return beam_search_set(fcinfo, false);
}

Datum
semtok_beam_search_batch(PG_FUNCTION_ARGS)
{
	return beam_search(fcinfo, true);
}

Datum
semtok_beam_search_batch_set(PG_FUNCTION_ARGS)
{
	return beam_search_set(fcinfo, true);
}
