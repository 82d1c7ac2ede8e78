/*
 * Reading embeddings from a query of the caller, as its executor hands out the rows.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/dest.h"
#include "tokenizer/progress.h"
#include "tokenizer/readonly.h"
#include "tokenizer/source.h"
#include "types/bridge.h"
#include "types/codebook.h"
#include "types/vector_cast.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

/* Rows between two looks at the clock. */
#define SOURCE_LOOK 32

/* Which row an error is about. */
typedef struct SourcePlace
{
	const char *argument;
	int64 number;
} SourcePlace;

static void
SourceErrorContext(void *arg)
{
	const SourcePlace *place = arg;

	errcontext("row %lld of the %s query", (long long) place->number, place->argument);
}

void
SourceReportStatus(stk_status status, const stk_error *err, const char *failed,
				   const char *argument, const int64 *numbers, size_t n)
{
	bool known = (status == STK_EINVAL || status == STK_ERANGE) && err->row < n;
	SourcePlace place = {.argument = argument, .number = known ? numbers[err->row] : 0};
	ErrorContextCallback callback = {
		.previous = error_context_stack, .callback = SourceErrorContext, .arg = &place};

	if (known)
		error_context_stack = &callback;
	SemtokReportStatus(status, err, failed);
}

/* What the queries that a statement was rewritten to do. */
static void
SourceCheckQueries(const char *argument, List *queries)
{
	ListCell *cell;

	foreach (cell, queries)
	{
		const Query *query = lfirst_node(Query, cell);

		if (query->commandType == CMD_UTILITY)
			ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
							errmsg("expected a query that returns embeddings as %s", argument)));
		if (query->commandType != CMD_SELECT || query->hasModifyingCTE || query->rowMarks != NIL)
			ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
							errmsg("%s must only read", argument),
							errdetail("It is a query that %s.",
									  query->rowMarks == NIL ? "writes" : "locks rows")));
	}
}

Oid
SourceCheck(const Source *source)
{
	SPIPlanPtr plan;
	Oid type;

	SPI_connect();
	plan = SPI_prepare(source->query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));

	List *statements = SPI_plan_get_plan_sources(plan);

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR), errmsg("expected one query as %s, not %d",
													   source->argument, list_length(statements))));

	const CachedPlanSource *statement = linitial(statements);

	SourceCheckQueries(source->argument, statement->query_list);
	if (statement->resultDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("expected a query that returns embeddings as %s", source->argument)));
	if (statement->resultDesc->natts != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected one column of embeddings from %s, not %d",
							   source->argument, statement->resultDesc->natts)));
	type = TupleDescAttr(statement->resultDesc, 0)->atttypid;
	SPI_finish();
	return type;
}

/* The query for real[]; what a comment at its end leaves open, the new line closes. */
static char *
SourceCast(const char *query, Oid type)
{
	size_t len = strlen(query);
	StringInfoData sql;

	while (len > 0 && (query[len - 1] == ';' || strchr(" \t\r\n\f", query[len - 1])))
		len--;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM (\n",
					 VectorCastReads(type) ? "semtok.embedding_of(q.embedding)"
										   : "q.embedding::pg_catalog.float4[]");
	appendBinaryStringInfo(&sql, query, (int) len);
	appendStringInfoString(&sql, "\n) AS q(embedding)");
	return sql.data;
}

static bool
SourceIsZero(const float *x, int dim)
{
	for (int i = 0; i < dim; i++)
		if (x[i] != 0.0f)
			return false;
	return true;
}

/* A scan under way, which the executor hands its rows. */
typedef struct SourceRun
{
	DestReceiver receiver;
	const Source *source;
	Oid type; /* of the query's column */
	int dim;  /* 0 = not known yet */
	SourcePlace place;
	ErrorContextCallback *outer; /* of the verb: what a row lacks is no fault of the query's SQL */
	int64 nulls;
	SourceRow row;
	void *ctx;
	TimestampTz noticed;
	MemoryContext caller;  /* that `row` runs in */
	MemoryContext scratch; /* reset with every row */
} SourceRun;

static void
SourceTake(SourceRun *run, Datum value, bool isnull)
{
	if (isnull)
	{
		run->nulls++;
		return;
	}
	MemoryContextSwitchTo(run->scratch);

	const float *x = EmbeddingArg(value, run->dim, &run->dim);

	if (run->source->metric == STK_COSINE && SourceIsZero(x, run->dim))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a zero vector has no direction for metric cosine")));
	MemoryContextSwitchTo(run->caller);
	run->row(run->ctx, x, run->dim, run->place.number);
	MemoryContextReset(run->scratch);
}

/* The value lies where the executor has it, most often in a page of the table: nothing is copied. */
static bool
SourceReceive(TupleTableSlot *slot, DestReceiver *self)
{
	SourceRun *run = (SourceRun *) self;
	ErrorContextCallback *inner = error_context_stack;
	ErrorContextCallback callback = {
		.previous = run->outer, .callback = SourceErrorContext, .arg = &run->place};
	MemoryContext old = CurrentMemoryContext;
	bool isnull;
	Datum value = slot_getattr(slot, 1, &isnull);

	CHECK_FOR_INTERRUPTS();
	run->place.number++;
	error_context_stack = &callback;
	SourceTake(run, value, isnull);
	error_context_stack = inner;
	MemoryContextSwitchTo(old);
	if (run->place.number % SOURCE_LOOK == 0 && ProgressDue(&run->noticed))
		ereport(NOTICE,
				(errmsg("%s: %lld rows read", run->source->what, (long long) run->place.number)));
	return true;
}

static void
SourceStartup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
SourceShutdown(DestReceiver *self)
{
}

/* Not in parallel: who adds up what the rows give wants them in the same order every time. */
static void
SourceRead(void *arg)
{
	SourceRun *run = arg;
	SPIExecuteOptions options = {.must_return_tuples = true, .dest = &run->receiver};
	SPIPlanPtr plan;
	int result;

	SPI_connect();
	plan = SPI_prepare(SourceCast(run->source->query, run->type), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
	SPI_finish();
}

void
SourceScan(const Source *source, SourceRow row, void *ctx)
{
	SourceRun run = {.receiver = {.receiveSlot = SourceReceive,
								  .rStartup = SourceStartup,
								  .rShutdown = SourceShutdown,
								  .rDestroy = SourceShutdown,
								  .mydest = DestNone},
					 .source = source,
					 .dim = source->dim,
					 .place = {.argument = source->argument},
					 .row = row,
					 .ctx = ctx,
					 .outer = error_context_stack,
					 .noticed = GetCurrentTimestamp(),
					 .caller = CurrentMemoryContext};

	run.type = SourceCheck(source);
	run.scratch = AllocSetContextCreate(run.caller, "semtok source", ALLOCSET_DEFAULT_SIZES);
	ReadOnlyRun(source->argument, SourceRead, &run);
	MemoryContextDelete(run.scratch);

	if (run.nulls > 0)
		ereport(NOTICE, (errmsg_plural("skipped %lld row whose embedding is null",
									   "skipped %lld rows whose embedding is null",
									   (unsigned long) run.nulls, (long long) run.nulls)));
	if (run.place.number == run.nulls)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the %s query returned no embedding", source->argument)));
}
