/*
 * Reading embeddings from a query of the caller, through a cursor.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tokenizer/progress.h"
#include "tokenizer/source.h"
#include "types/codebook.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

/* Rows a fetch: small, as one embedding can have 64 kB. */
#define SOURCE_FETCH 256

static void
SourceErrorContext(void *arg)
{
	errcontext("row %lld of the source query", (long long) *(const int64 *) arg);
}

/* Refuse what is not one query of one column. */
static void
SourceCheck(const char *query)
{
	SPIPlanPtr plan = SPI_prepare(query, 0, NULL);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));

	List *sources = SPI_plan_get_plan_sources(plan);

	if (list_length(sources) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("expected one query as source, not %d", list_length(sources))));

	TupleDesc desc = ((CachedPlanSource *) linitial(sources))->resultDesc;

	if (desc == NULL)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("expected a query that returns embeddings as source")));
	if (desc->natts != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected one column of embeddings from source, not %d", desc->natts)));
	SPI_freeplan(plan);
}

/* The query with its column cast; what a comment at its end leaves open, the new line closes. */
static char *
SourceCast(const char *query)
{
	size_t len = strlen(query);
	StringInfoData sql;

	while (len > 0 && (query[len - 1] == ';' || strchr(" \t\r\n\f", query[len - 1])))
		len--;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT q.embedding::pg_catalog.float4[] FROM (\n");
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

void
SourceScan(const char *query, const char *what, int dim, stk_metric metric, SourceRow row,
		   void *ctx)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "semtok source", ALLOCSET_DEFAULT_SIZES);
	int64 number = 0;
	int64 nulls = 0;
	TimestampTz noticed = GetCurrentTimestamp();

	SPI_connect();
	SourceCheck(query);

	Portal portal = SPI_cursor_open_with_args(NULL, SourceCast(query), 0, NULL, NULL, NULL, false,
											  CURSOR_OPT_NO_SCROLL);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, SOURCE_FETCH);
		if (SPI_processed == 0)
			break;

		ErrorContextCallback callback = {
			.previous = error_context_stack, .callback = SourceErrorContext, .arg = &number};

		error_context_stack = &callback;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool isnull;
			Datum value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

			CHECK_FOR_INTERRUPTS();
			number++;
			if (isnull)
			{
				nulls++;
				continue;
			}
			MemoryContextSwitchTo(scratch);

			const float *x = EmbeddingArg(value, dim, &dim);

			if (metric == STK_COSINE && SourceIsZero(x, dim))
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("a zero vector has no direction for metric cosine")));
			MemoryContextSwitchTo(caller);
			row(ctx, x, dim);
			MemoryContextReset(scratch);
		}
		error_context_stack = callback.previous;
		SPI_freetuptable(SPI_tuptable);
		if (ProgressDue(&noticed))
			ereport(NOTICE, (errmsg("%s: %lld rows read", what, (long long) number)));
	}
	SPI_cursor_close(portal);
	SPI_finish();
	MemoryContextDelete(scratch);

	if (nulls > 0)
		ereport(NOTICE, (errmsg_plural("skipped %lld row whose embedding is null",
									   "skipped %lld rows whose embedding is null",
									   (unsigned long) nulls, (long long) nulls)));
	if (number == nulls)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the source query returned no embedding")));
}
