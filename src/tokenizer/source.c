/*
 * Reading embeddings from a query of the caller, as its executor hands out the rows.
 *
 * Where some of the rows of a whole table are enough, and the planner has parallel workers for it,
 * the executor leaves the others out. Then nobody knows a row's number, so when a row turns up that
 * an error is to name, the query is read again, row by row.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "tcop/dest.h"
#include "tokenizer/progress.h"
#include "tokenizer/readonly.h"
#include "tokenizer/sample_candidate.h"
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

	if ((status == STK_EINVAL || status == STK_ERANGE) && err->row < n && numbers[err->row] > 0)
		SourcePushPlace(&place, argument, numbers[err->row]);
	SemtokReportStatus(status, err, failed);
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

/* A table's name alone is what is most often taken for a query. */
static void
SourceSyntaxHint(void *arg)
{
	const Source *source = arg;

	if (geterrcode() == ERRCODE_SYNTAX_ERROR && strpbrk(source->query, " \t\r\n\f") == NULL)
		errhint("Expected a query as %s: SELECT embedding FROM %s", source->argument,
				source->query);
}

static SPIPlanPtr
SourceParse(const Source *source)
{
	ErrorContextCallback hint = {error_context_stack, SourceSyntaxHint,
								 unconstify(Source *, source)};
	SPIPlanPtr plan;

	error_context_stack = &hint;
	plan = SPI_prepare(source->query, 0, NULL);
	error_context_stack = hint.previous;
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static void
SourceRefuseColumns(const Source *source, int columns)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 source->keyed
				 ? errmsg("expected embeddings, or keys and embeddings, from %s, not %d columns",
						  source->argument, columns)
				 : errmsg("expected one column of embeddings from %s, not %d", source->argument,
						  columns),
			 errhint("Select %s: SELECT %sembedding FROM ...",
					 source->keyed ? "one key at most" : "the embeddings alone",
					 source->keyed ? "id, " : "")));
}

static SourceShape
SourceFindShape(const Source *source)
{
	SPIPlanPtr plan;
	SourceShape shape;

	SPI_connect();
	plan = SourceParse(source);

	List *statements = SPI_plan_get_plan_sources(plan);

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR), errmsg("expected one query as %s, not %d",
													   source->argument, list_length(statements))));

	const CachedPlanSource *statement = linitial(statements);

	ReadOnlyCheckQueries(source->argument, "embeddings", statement->query_list);

	int columns = statement->resultDesc->natts;

	shape.keyed = source->keyed && columns == 2;
	if (columns != 1 && !shape.keyed)
		SourceRefuseColumns(source, columns);
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
 * the new line closes. filter: NULL = of all rows.
 */
static char *
SourceCast(const char *query, const SourceShape *shape, const SourceFilter *filter)
{
	const char *embedding = VectorCastReads(shape->type) ? "semtok.embedding_of(q.embedding)"
														 : "q.embedding::pg_catalog.float4[]";
	size_t len = strlen(query);
	StringInfoData sql;

	while (len > 0 && (query[len - 1] == ';' || strchr(" \t\r\n\f", query[len - 1])))
		len--;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, %s FROM (\n",
					 shape->keyed ? "q.key::pg_catalog.text" : "NULL::pg_catalog.text", embedding);
	appendBinaryStringInfo(&sql, query, (int) len);
	appendStringInfo(&sql, "\n) AS q(%sembedding)", shape->keyed ? "key, " : "");
	if (filter)
		appendStringInfo(&sql, " WHERE semtok.sample_candidate(%s, '%lld', '%lld')", embedding,
						 (long long) filter->seed, (long long) filter->bar);
	return sql.data;
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
	bool serial;  /* all rows are read, in their order, whatever there are workers for */
	double share; /* of the rows that come, about; less than 1 where some are left out */
	bool faulty;  /* a row came that only an error that names it does justice to */
	SourceRow row;
	void *ctx;
	TimestampTz noticed;
	MemoryContext caller;  /* that `row` runs in */
	MemoryContext scratch; /* reset with every row */
} SourceRun;

/* The metric has no use for it. */
static bool
SourceIsUseless(const SourceRun *run, const float *x)
{
	return run->source->metric == STK_COSINE && EmbeddingIsZero(x, run->dim);
}

/* The values of a row's embedding; an error names the row. */
static const float *
SourceEmbedding(SourceRun *run, Datum value)
{
	SourcePlace place;

	SourcePushPlace(&place, run->source->argument, run->rows);

	const float *x = EmbeddingArg(value, run->dim, &run->dim);

	if (SourceIsUseless(run, x))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a zero vector has no direction for metric cosine")));
	error_context_stack = place.callback.previous;
	return x;
}

/* The same where a row has no number. NULL: it has a fault. */
static const float *
SourceSomeEmbedding(SourceRun *run, Datum value)
{
	const float *x = EmbeddingTry(value, run->dim, &run->dim);

	run->faulty = !x || SourceIsUseless(run, x);
	return run->faulty ? NULL : x;
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

	SourceItem item = {.number = run->share < 1 ? 0 : run->rows,
					   .key = no_key ? NULL : DatumGetTextPP(key)};

	if (!isnull)
		item.x = run->share < 1 ? SourceSomeEmbedding(run, value) : SourceEmbedding(run, value);
	item.dim = run->dim;
	MemoryContextSwitchTo(run->caller);
	if (!run->faulty)
		run->row(run->ctx, &item);
	MemoryContextReset(run->scratch);
}

/* How far it is. */
static void
SourceTell(SourceRun *run)
{
	int64 rows = run->nulls + (int64) ((double) (run->rows - run->nulls) / run->share);

	ProgressRows(rows, -1);
	if (ProgressDue(&run->noticed))
		ereport(NOTICE, (errmsg("%s: %lld rows read", run->source->what, (long long) rows)));
}

/*
 * The value lies where the executor has it, most often in a page of the table: nothing is copied.
 */
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
	return !run->faulty;
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

static SPIPlanPtr
SourcePrepare(const SourceRun *run, const SourceFilter *filter, int cursor_options)
{
	SPIPlanPtr plan = SPI_prepare_cursor(SourceCast(run->source->query, &run->shape, filter), 0,
										 NULL, cursor_options);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

/*
 * The plan for some of the rows, if that has workers and the user may execute the filter; else
 * NULL.
 */
static SPIPlanPtr
SourcePrepareSome(const SourceRun *run, const SourceFilter *filter)
{
	SPIPlanPtr plan;
	CachedPlan *cached;
	bool parallel;

	if (!SampleCandidateUsable())
		return NULL;
	plan = SourcePrepare(run, filter, CURSOR_OPT_PARALLEL_OK);
	cached = SPI_plan_get_cached_plan(plan);
	parallel = IsA(linitial_node(PlannedStmt, cached->stmt_list)->planTree, Gather);
	ReleaseCachedPlan(cached, NULL);
	return parallel ? plan : NULL;
}

/*
 * All rows are not read in parallel: who adds up what they give wants them in the same order every
 * time.
 */
static void
SourceRead(void *arg)
{
	SourceRun *run = arg;
	const Source *source = run->source;
	SPIExecuteOptions options = {.must_return_tuples = true, .dest = &run->receiver};
	SourceFilter filter;
	SPIPlanPtr plan, some;
	int result;

	SPI_connect();
	plan = SourcePrepare(run, NULL, 0);
	run->share = 1;
	if (source->expect && source->expect(run->ctx, SourceExpected(plan), &filter) && !run->serial &&
		(some = SourcePrepareSome(run, &filter)) != NULL)
	{
		plan = some;
		run->share = Max(ldexp((double) filter.bar, -64), DBL_MIN);
	}
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
	SPI_finish();
}

/* Is it to be read again? */
static bool
SourceAgain(SourceRun *run)
{
	const Source *source = run->source;

	if (!source->again)
		return false;
	run->serial = run->faulty;
	run->faulty = false;
	/* Workers met rows in another order, so the first of now says what dimensions there are to be. */
	if (run->serial)
		run->dim = source->dim;
	return source->again(run->ctx, run->serial) || run->serial;
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
	} while (SourceAgain(&run));
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
