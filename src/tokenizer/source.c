/*
 * Reading embeddings from a query of the caller, as its executor hands out the rows.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "tcop/dest.h"
#include "tokenizer/progress.h"
#include "tokenizer/readonly.h"
#include "tokenizer/source.h"
#include "types/bridge.h"
#include "types/codebook.h"
#include "types/vector_cast.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

/* Rows between two times that we tell how far we are. */
#define SOURCE_LOOK 32

static void
SourceErrorContext(void *arg)
{
	const SourcePlace *place = arg;

	errcontext("row %lld of the %s query", (long long) place->number, place->argument);
}

void
SourcePushPlace(SourcePlace *place, const char *argument, int64 number)
{
	place->argument = argument;
	place->number = number;
	place->callback = (ErrorContextCallback){
		.previous = error_context_stack, .callback = SourceErrorContext, .arg = place};
	error_context_stack = &place->callback;
}

void
SourceReportStatus(stk_status status, const stk_error *err, const char *failed,
				   const char *argument, const int64 *numbers, size_t n)
{
	SourcePlace place;

	if ((status == STK_EINVAL || status == STK_ERANGE) && err->row < n)
		SourcePushPlace(&place, argument, numbers[err->row]);
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

/* What a query that passed returns. */
typedef struct SourceShape
{
	bool keyed;
	Oid type; /* of the embeddings */
} SourceShape;

/* Does a value of this type become real[], other than by way of its text? */
static bool
SourceReads(Oid type, bool *by_text)
{
	Oid function;
	CoercionPathType path =
		find_coercion_pathway(FLOAT4ARRAYOID, getBaseType(type), COERCION_EXPLICIT, &function);

	*by_text = path == COERCION_PATH_COERCEVIAIO;
	return VectorCastReads(type) || (path != COERCION_PATH_NONE && !*by_text);
}

/* The last column must be embeddings. A text may be one, but not behind what can only be one. */
static void
SourceCheckType(const Source *source, const SourceShape *shape, Oid key)
{
	bool by_text;
	bool key_by_text;
	bool swapped = shape->keyed && SourceReads(key, &key_by_text);

	if (SourceReads(shape->type, &by_text) || (by_text && !swapped))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 shape->keyed ? errmsg("expected embeddings as the second column of %s, not type %s",
								   source->argument, format_type_be(shape->type))
						  : errmsg("expected embeddings from %s, not type %s", source->argument,
								   format_type_be(shape->type)),
			 swapped ? errhint("The key is the first column, the embedding the second: "
							   "SELECT id, embedding FROM ...")
					 : errhint("An embedding is an array of numbers, such as real[], or a "
							   "type of pgvector.")));
}

static SourceShape
SourceFindShape(const Source *source)
{
	SPIPlanPtr plan;
	SourceShape shape;

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

	int columns = statement->resultDesc->natts;

	shape.keyed = source->keyed && columns == 2;
	if (columns != 1 && !shape.keyed)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 source->keyed
				 ? errmsg("expected embeddings, or keys and embeddings, from %s, not %d columns",
						  source->argument, columns)
				 : errmsg("expected one column of embeddings from %s, not %d", source->argument,
						  columns)));
	shape.type = TupleDescAttr(statement->resultDesc, columns - 1)->atttypid;
	SourceCheckType(source, &shape, TupleDescAttr(statement->resultDesc, 0)->atttypid);
	SPI_finish();
	return shape;
}

void
SourceCheck(const Source *source)
{
	SourceFindShape(source);
}

/*
 * The query for a key, null where it has none, and real[]; what a comment at its end leaves open,
 * the new line closes.
 */
static char *
SourceCast(const char *query, const SourceShape *shape)
{
	size_t len = strlen(query);
	StringInfoData sql;

	while (len > 0 && (query[len - 1] == ';' || strchr(" \t\r\n\f", query[len - 1])))
		len--;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, %s FROM (\n",
					 shape->keyed ? "q.key::pg_catalog.text" : "NULL::pg_catalog.text",
					 VectorCastReads(shape->type) ? "semtok.embedding_of(q.embedding)"
												  : "q.embedding::pg_catalog.float4[]");
	appendBinaryStringInfo(&sql, query, (int) len);
	appendStringInfo(&sql, "\n) AS q(%sembedding)", shape->keyed ? "key, " : "");
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
	SourceShape shape;
	int dim;                     /* 0 = not known yet */
	ErrorContextCallback *outer; /* of the verb: what a row lacks is no fault of the query's SQL */
	int64 rows;
	int64 nulls;
	SourceRow row;
	void *ctx;
	TimestampTz noticed;
	MemoryContext caller;  /* that `row` runs in */
	MemoryContext scratch; /* reset with every row */
} SourceRun;

/* The values of a row's embedding; an error names the row. */
static const float *
SourceEmbedding(SourceRun *run, Datum value)
{
	SourcePlace place;

	SourcePushPlace(&place, run->source->argument, run->rows);

	const float *x = EmbeddingArg(value, run->dim, &run->dim);

	if (run->source->metric == STK_COSINE && SourceIsZero(x, run->dim))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a zero vector has no direction for metric cosine")));
	error_context_stack = place.callback.previous;
	return x;
}

static void
SourceTake(SourceRun *run, TupleTableSlot *slot)
{
	bool no_key;
	bool isnull;
	Datum key = slot_getattr(slot, 1, &no_key);
	Datum value = slot_getattr(slot, 2, &isnull);

	run->rows++;
	if (isnull)
		run->nulls++;
	if (isnull && !run->source->all_rows)
		return;
	MemoryContextSwitchTo(run->scratch);

	SourceItem item = {.number = run->rows, .key = no_key ? NULL : DatumGetTextPP(key)};

	if (!isnull)
		item.x = SourceEmbedding(run, value);
	item.dim = run->dim;
	MemoryContextSwitchTo(run->caller);
	run->row(run->ctx, &item);
	MemoryContextReset(run->scratch);
}

/* How far it is. */
static void
SourceTell(SourceRun *run)
{
	ProgressRows(run->rows, -1);
	if (ProgressDue(&run->noticed))
		ereport(NOTICE, (errmsg("%s: %lld rows read", run->source->what, (long long) run->rows)));
}

/* The value lies where the executor has it, most often in a page of the table: nothing is copied. */
static bool
SourceReceive(TupleTableSlot *slot, DestReceiver *self)
{
	SourceRun *run = (SourceRun *) self;
	ErrorContextCallback *inner = error_context_stack;
	MemoryContext old = CurrentMemoryContext;

	CHECK_FOR_INTERRUPTS();
	error_context_stack = run->outer;
	SourceTake(run, slot);
	error_context_stack = inner;
	MemoryContextSwitchTo(old);
	if (run->rows % SOURCE_LOOK == 0)
		SourceTell(run);
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

/* How many rows it will have, where the plan is as simple as a guess at that is good; else 0. */
static double
SourceExpected(SPIPlanPtr plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	const Plan *tree = linitial_node(PlannedStmt, cached->stmt_list)->planTree;
	double rows = IsA(tree, SeqScan) && tree->qual == NIL ? tree->plan_rows : 0;

	ReleaseCachedPlan(cached, NULL);
	return rows;
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
	plan = SPI_prepare(SourceCast(run->source->query, &run->shape), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (run->source->expect)
		run->source->expect(run->ctx, SourceExpected(plan));
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
					 .shape = SourceFindShape(source),
					 .dim = source->dim,
					 .row = row,
					 .ctx = ctx,
					 .outer = error_context_stack,
					 .noticed = GetCurrentTimestamp(),
					 .caller = CurrentMemoryContext};

	run.scratch = AllocSetContextCreate(run.caller, "semtok source", ALLOCSET_DEFAULT_SIZES);
	do
	{
		run.rows = 0;
		run.nulls = 0;
		ReadOnlyRun(source->argument, SourceRead, &run);
	} while (source->again && source->again(ctx));
	MemoryContextDelete(run.scratch);
	if (source->all_rows)
		return;

	if (run.nulls > 0)
		ereport(NOTICE, (errmsg_plural("skipped %lld row whose embedding is null",
									   "skipped %lld rows whose embedding is null",
									   (unsigned long) run.nulls, (long long) run.nulls)));
	if (run.rows == run.nulls)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the %s query returned no embedding", source->argument)));
}
