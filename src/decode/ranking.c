/*
 * semtok.evaluate_ranking: how good the ranked lists of a query are.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "core/ranking.h"
#include "decode/ranking_items.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "tokenizer/args.h"
#include "tokenizer/progress.h"
#include "tokenizer/readonly.h"
#include "types/bridge.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(semtok_evaluate_ranking);

#define FETCH_ROWS 100
#define RANKING_FAILED "could not evaluate the ranking"

/* Columns of the result. */
enum
{
	RANKING_GROUP,
	RANKING_METRIC,
	RANKING_CUTOFF,
	RANKING_VALUE,
	RANKING_LOW,
	RANKING_HIGH,
	RANKING_QUERIES,
	RANKING_COLUMNS
};

static const char *const metric_names[STK_RANK_METRICS] = {"recall", "ndcg", "mrr"};

typedef struct Ranking
{
	const char *query;
	const char *groups; /* NULL = none */
	int32 sample;       /* 0 = every row */
	uint64 seed;
	int n_cutoffs;
	uint32 cutoffs[STK_RANKING_CUTOFFS];

	Oid item_type;
	int16 item_len;
	bool item_byval;
	char item_align;
	bool one_relevant; /* the first column is an item, not an array of them */
	RankedItems *items;
	stk_ranking *ranking;
	int64 rows;
	int64 skipped; /* without relevant items */
	TimestampTz noticed;
	MemoryContext scratch; /* reset with every row */
	MemoryContext context; /* of items and ranking */
} Ranking;

/* The values of an array; NULL, with *n 0, for a null one. */
static Datum *
TakeItems(const Ranking *r, Datum array, bool isnull, const char *column, int *n)
{
	Datum *values;
	bool *nulls;

	*n = 0;
	if (isnull)
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(array), r->item_type, r->item_len, r->item_byval,
					  r->item_align, &values, &nulls, n);
	for (int i = 0; i < *n; i++)
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("row %lld of the query has a null among its %s items",
								   (long long) r->rows, column)));
	return values;
}

/* Mark the row's relevant items, each once, and count them: all, and of each group. */
static void
MarkRelevant(Ranking *r, const Datum *values, int n, uint32 *counts)
{
	for (int i = 0; i < n; i++)
	{
		RankedItem *item = RankedItemsGet(r->items, values[i]);

		CHECK_FOR_INTERRUPTS();
		if (item->relevant == r->rows)
			continue;
		item->relevant = r->rows;
		counts[0]++;
		if (item->group >= 0)
			counts[1 + item->group]++;
	}
}

/* Measure one list; counts are those of MarkRelevant. */
static void
TakeList(Ranking *r, const Datum *ranked, int n, const uint32 *counts)
{
	stk_rank_hit *hits =
		palloc_extended(mul_size(counts[0], sizeof(stk_rank_hit)), MCXT_ALLOC_HUGE);
	size_t n_hits = 0;
	stk_status status;

	for (int i = 0; i < n; i++)
	{
		RankedItem *item = RankedItemsGet(r->items, ranked[i]);
		uint32 place = (uint32) i + 1;

		CHECK_FOR_INTERRUPTS();
		if (item->best == 0 || place < item->best)
			item->best = place;
		if (item->relevant != r->rows || item->found == r->rows)
			continue;
		item->found = r->rows;
		hits[n_hits++] = (stk_rank_hit){.place = place, .group = item->group};
	}
	status = stk_ranking_add(r->ranking, hits, n_hits, counts, &SemtokMonitor);
	if (status != STK_OK)
		SemtokReportStatus(status, NULL, RANKING_FAILED);
}

static void
TakeRow(Ranking *r, HeapTuple tuple, TupleDesc desc)
{
	MemoryContext old = MemoryContextSwitchTo(r->scratch);
	bool no_relevant;
	bool no_ranked;
	Datum relevant = SPI_getbinval(tuple, desc, 1, &no_relevant);
	Datum ranked = SPI_getbinval(tuple, desc, 2, &no_ranked);
	Datum *relevant_items;
	Datum *ranked_items;
	int n_relevant;
	int n_ranked;
	uint32 *counts = palloc0(mul_size(1 + RankedItemsGroups(r->items), sizeof(uint32)));

	r->rows++;
	if (r->one_relevant)
	{
		relevant_items = &relevant;
		n_relevant = no_relevant ? 0 : 1;
	}
	else
		relevant_items = TakeItems(r, relevant, no_relevant, "relevant", &n_relevant);
	ranked_items = TakeItems(r, ranked, no_ranked, "ranked", &n_ranked);
	MarkRelevant(r, relevant_items, n_relevant, counts);
	if (n_relevant > 0)
		TakeList(r, ranked_items, n_ranked, counts);
	else
		r->skipped++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->scratch);
	ProgressRows(r->rows, -1);
	if (ProgressDue(&r->noticed))
		ereport(NOTICE, (errmsg("evaluating the ranking: %lld rows", (long long) r->rows)));
}

/* The query without what would close it early: white space and semicolons at its end. */
static void
AppendSubquery(StringInfo sql, const char *query)
{
	size_t len = strlen(query);

	while (len > 0 && (query[len - 1] == ';' || strchr(" \t\r\n\f", query[len - 1])))
		len--;
	appendStringInfoString(sql, "(\n");
	appendBinaryStringInfo(sql, query, (int) len);
	appendStringInfoString(sql, "\n)");
}

/* Prepare one SELECT of two columns and return what it returns; in the SPI context. */
static TupleDesc
Prepare(const char *query, const char *argument, const char *columns)
{
	SPIPlanPtr plan = SPI_prepare(query, 0, NULL);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));

	List *statements = SPI_plan_get_plan_sources(plan);

	if (list_length(statements) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("expected one query as %s, not %d",
															  argument, list_length(statements))));

	const CachedPlanSource *source = linitial(statements);

	ReadOnlyCheckQueries(argument, columns, source->query_list);
	if (source->resultDesc->natts != 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected two columns, %s, from %s, not %d", columns, argument,
							   source->resultDesc->natts)));
	return source->resultDesc;
}

/* What type the items have, from the columns' types. */
static void
FindItemType(Ranking *r)
{
	TupleDesc desc = Prepare(r->query, "query", "relevant and ranked items");
	Oid relevant = getBaseType(TupleDescAttr(desc, 0)->atttypid);
	Oid ranked = getBaseType(TupleDescAttr(desc, 1)->atttypid);

	r->item_type = get_element_type(ranked);
	if (!OidIsValid(r->item_type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("expected an array of items, best first, as the second column of query, "
						"not type %s",
						format_type_be(TupleDescAttr(desc, 1)->atttypid))));
	r->one_relevant = relevant == r->item_type;
	if (!r->one_relevant && relevant != ranked)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("expected the relevant items as %s or %s, like the ranked ones, "
							   "not type %s",
							   format_type_be(r->item_type), format_type_be(ranked),
							   format_type_be(TupleDescAttr(desc, 0)->atttypid))));
	get_typlenbyvalalign(r->item_type, &r->item_len, &r->item_byval, &r->item_align);
}

/* Run a query and hand each row to `take`. */
static void
ScanRows(Ranking *r, const char *sql, void (*take)(Ranking *r, HeapTuple tuple, TupleDesc desc))
{
	Portal portal =
		SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, CURSOR_OPT_NO_SCROLL);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			CHECK_FOR_INTERRUPTS();
			take(r, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

static void
TakeGroup(Ranking *r, HeapTuple tuple, TupleDesc desc)
{
	bool isnull;
	Datum item = SPI_getbinval(tuple, desc, 1, &isnull);
	char *group = SPI_getvalue(tuple, desc, 2);

	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("groups has a null item")));
	if (group)
		RankedItemsAssign(r->items, item, group);
	else
		RankedItemsGet(r->items, item);
}

static void
ReadGroups(Ranking *r)
{
	StringInfoData sql;

	Prepare(r->groups, "groups", "items and their groups");
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT g.item::%s, g.name::pg_catalog.text FROM ",
					 format_type_be_qualified(r->item_type));
	AppendSubquery(&sql, r->groups);
	appendStringInfoString(&sql, " AS g(item, name)");
	ScanRows(r, sql.data, TakeGroup);
}

/*
 * A sample is by row number, so that rows alike are drawn like any other. The planner leaves the
 * lists of rows that are not drawn unmade where the query is plain and makes them by stable means.
 */
static void
ReadLists(Ranking *r)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT q.relevant, q.ranked FROM ");
	AppendSubquery(&sql, r->query);
	appendStringInfoString(&sql, " AS q(relevant, ranked)");
	if (r->sample > 0)
		appendStringInfo(&sql,
						 " ORDER BY pg_catalog.hashint8extended(pg_catalog.row_number() OVER (),"
						 " '%lld'::pg_catalog.int8) LIMIT %d",
						 (long long) r->seed, r->sample);
	ScanRows(r, sql.data, TakeRow);
}

static void
Read(void *arg)
{
	Ranking *r = arg;
	MemoryContext old;
	stk_allocator allocator = SemtokAllocator(r->context);
	stk_status status;

	SPI_connect();
	FindItemType(r);
	old = MemoryContextSwitchTo(r->context);
	r->items = RankedItemsCreate(r->item_type);
	MemoryContextSwitchTo(old);
	if (r->groups)
		ReadGroups(r);
	status = stk_ranking_create(&r->ranking, r->cutoffs, r->n_cutoffs, RankedItemsGroups(r->items),
								&allocator);
	if (status != STK_OK)
		SemtokReportStatus(status, NULL, RANKING_FAILED);
	ReadLists(r);
	SPI_finish();
}

static void
ReturnRow(ReturnSetInfo *rsinfo, const char *group, const char *metric, uint32 cutoff,
		  const stk_rank_estimate *e)
{
	Datum values[RANKING_COLUMNS];
	bool nulls[RANKING_COLUMNS] = {false};

	values[RANKING_GROUP] = group ? CStringGetTextDatum(group) : (Datum) 0;
	nulls[RANKING_GROUP] = group == NULL;
	values[RANKING_METRIC] = CStringGetTextDatum(metric);
	values[RANKING_CUTOFF] = Int32GetDatum((int32) cutoff);
	values[RANKING_VALUE] = Float8GetDatum(e->value);
	nulls[RANKING_VALUE] = isnan(e->value);
	values[RANKING_LOW] = Float8GetDatum(e->low);
	nulls[RANKING_LOW] = isnan(e->low);
	values[RANKING_HIGH] = Float8GetDatum(e->high);
	nulls[RANKING_HIGH] = isnan(e->high);
	values[RANKING_QUERIES] = Int64GetDatum((int64) e->queries);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The share of a group's items, or of all those known, that some list has. */
static void
ReturnCoverage(ReturnSetInfo *rsinfo, const Ranking *r, int group, const char *name, uint32 cutoff,
			   uint64 queries)
{
	stk_rank_estimate e = {.value = NAN, .low = NAN, .high = NAN, .queries = queries};
	int64 known;
	int64 covered;

	RankedItemsCover(r->items, group, cutoff, &known, &covered);
	if (known > 0)
		e.value = (double) covered / (double) known;
	ReturnRow(rsinfo, name, "coverage", cutoff, &e);
}

static void
ReturnFigures(ReturnSetInfo *rsinfo, const Ranking *r, const stk_rank_estimate *figures)
{
	for (int g = -1; g < RankedItemsGroups(r->items); g++)
	{
		const char *name = g < 0 ? NULL : RankedItemsGroupName(r->items, g);
		const stk_rank_estimate *of_group =
			figures + (size_t) (g + 1) * (size_t) r->n_cutoffs * STK_RANK_METRICS;

		for (int m = 0; m < STK_RANK_METRICS; m++)
			for (int c = 0; c < r->n_cutoffs; c++)
				ReturnRow(rsinfo, name, metric_names[m], r->cutoffs[c],
						  &of_group[c * STK_RANK_METRICS + m]);
		for (int c = 0; c < r->n_cutoffs; c++)
			ReturnCoverage(rsinfo, r, g, name, r->cutoffs[c], (uint64) (r->rows - r->skipped));
	}
}

static void
ReadCutoffs(FunctionCallInfo fcinfo, Ranking *r)
{
	ArrayType *array;
	Datum *values;
	bool *nulls;

	ArgRequire(fcinfo, 1, "cutoffs");
	array = PG_GETARG_ARRAYTYPE_P(1);
	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &values, &nulls,
					  &r->n_cutoffs);
	if (r->n_cutoffs < 1 || r->n_cutoffs > STK_RANKING_CUTOFFS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected 1 to %d cutoffs, not %d", STK_RANKING_CUTOFFS, r->n_cutoffs)));
	for (int c = 0; c < r->n_cutoffs; c++)
	{
		if (nulls[c] || DatumGetInt32(values[c]) < 1)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected cutoffs of 1 or more, not %s",
								   nulls[c] ? "null" : psprintf("%d", DatumGetInt32(values[c])))));
		r->cutoffs[c] = (uint32) DatumGetInt32(values[c]);
	}
}

/* evaluate_ranking(query text, cutoffs int[], sample int, seed bigint, groups text) */
Datum
semtok_evaluate_ranking(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Ranking r = {.query = ArgText(fcinfo, 0, "query"),
				 .noticed = GetCurrentTimestamp(),
				 .context = CurrentMemoryContext};
	stk_rank_estimate *figures;
	stk_status status;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ReadCutoffs(fcinfo, &r);
	if (!PG_ARGISNULL(2))
		r.sample = ArgInt(fcinfo, 2, "sample", 1, PG_INT32_MAX);
	ArgRequire(fcinfo, 3, "seed");
	r.seed = (uint64) PG_GETARG_INT64(3);
	r.groups = PG_ARGISNULL(4) ? NULL : ArgText(fcinfo, 4, "groups");
	r.scratch = AllocSetContextCreate(r.context, "semtok ranking", ALLOCSET_DEFAULT_SIZES);
	ProgressBegin("evaluate_ranking", "", r.context);
	ProgressPhase("evaluating");
	ReadOnlyRun("query", Read, &r);
	if (r.skipped > 0)
		ereport(NOTICE, (errmsg_plural("skipped %lld row without relevant items",
									   "skipped %lld rows without relevant items",
									   (unsigned long) r.skipped, (long long) r.skipped)));
	if (r.rows == r.skipped)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the query returned no row with relevant items")));
	figures = palloc(mul_size(mul_size(1 + RankedItemsGroups(r.items), r.n_cutoffs),
							  STK_RANK_METRICS * sizeof(stk_rank_estimate)));
	ProgressPhase("intervals");
	status = stk_ranking_finish(r.ranking, r.seed, &SemtokMonitor, figures);
	if (status != STK_OK)
		SemtokReportStatus(status, NULL, RANKING_FAILED);
	ProgressEnd();
	ReturnFigures(rsinfo, &r, figures);
	return (Datum) 0;
}
