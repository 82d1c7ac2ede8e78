/*
 * CALL semtok.tokenize: the rows of one batch.
 *
 * A cursor reads the embeddings of the rows that need an id and adds them to a pipe; as codes come
 * out of it, statements write them, many rows each, while a worker encodes the rows behind.
 *
 * A row is written by its ctid, and only the version of it that was read: a version never changes,
 * so the id is that of its embedding. No other row can have come to that ctid: whoever deletes or
 * updates a version that our transaction's snapshot sees, VACUUM and pruning leave its line pointer
 * alone as long as that snapshot lasts, which is until the batch commits, and what gives rows new
 * places (VACUUM FULL, CLUSTER, TRUNCATE) waits for the lock that we have on the table. Where a
 * setting has rows pruned all the same (SemtokPrunesEarly), the first walk locks them, too. A row
 * that was updated meanwhile is passed over, and needs an id still; the second walk locks what it
 * reads, so that nothing can pass it over again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/itemptr.h"
#include "tokenizer/tokenize.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

/* Rows that one statement writes. */
#define TOKENIZE_WRITE 1024
/* Rows a fetch: small, as one embedding can have 64 kB. */
#define TOKENIZE_FETCH 32

struct TokenizeRows
{
	const TokenizeRange *range;
	SPIPlanPtr write; /* NULL = nothing written yet */
	/* With codes, and not yet written. */
	size_t n;
	size_t capacity;
	ItemPointerData *tids; /* [capacity] */
	Datum *ids;            /* [capacity] semid */
	MemoryContext own;     /* the two arrays are in it */
	MemoryContext pieces;  /* of the ids, and of what is made to write them */

	ItemPointerData blamed; /* the row that an error is about */
	ErrorContextCallback callback;
};

/* The pipe's tag for a row. */
static int64
TokenizeTag(const ItemPointerData *tid)
{
	return (int64) ItemPointerGetBlockNumberNoCheck(tid) << 16 |
		   ItemPointerGetOffsetNumberNoCheck(tid);
}

static ItemPointerData
TokenizeTid(int64 tag)
{
	ItemPointerData tid;

	ItemPointerSet(&tid, (BlockNumber) (tag >> 16), (OffsetNumber) (tag & 0xffff));
	return tid;
}

static void
TokenizeRowContext(void *arg)
{
	const ItemPointerData *tid = arg;

	errcontext("embedding of row (%u,%u)", ItemPointerGetBlockNumberNoCheck(tid),
			   ItemPointerGetOffsetNumberNoCheck(tid));
}

/* Push an error context that names a row. */
static void
TokenizeBlame(void *ctx, int64 tag)
{
	TokenizeRows *rows = ((TokenizeRun *) ctx)->under_way;

	rows->blamed = TokenizeTid(tag);
	rows->callback = (ErrorContextCallback){
		.previous = error_context_stack, .callback = TokenizeRowContext, .arg = &rows->blamed};
	error_context_stack = &rows->callback;
}

static void
TokenizeCheckResult(int result, int expected)
{
	if (result != expected)
		elog(ERROR, "unexpected result of a statement: %s", SPI_result_code_string(result));
}

/* tid[] and semid[] of the rows to be written. */
static void
TokenizeArrays(const TokenizeRun *run, const TokenizeRows *rows, Datum *tids, Datum *ids)
{
	Datum *pointers = palloc(sizeof(Datum) * rows->n);
	int16 len;
	bool byval;
	char align;

	for (size_t i = 0; i < rows->n; i++)
		pointers[i] = PointerGetDatum(&rows->tids[i]);
	*tids = PointerGetDatum(construct_array(pointers, (int) rows->n, TIDOID,
											sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	get_typlenbyvalalign(run->semid, &len, &byval, &align);
	*ids =
		PointerGetDatum(construct_array(rows->ids, (int) rows->n, run->semid, len, byval, align));
	pfree(pointers);
}

/*
 * Plan a statement that joins an array of ctids, of a length not known yet, to the table: row by
 * row of the array, each fetched by its ctid, which on an estimate the planner may miss. The plan
 * serves all pieces of the batch; the table cannot be altered meanwhile. With plan_cache_mode =
 * force_custom_plan, which goes before what we ask for, each piece is planned again, as the planner
 * sees fit: slower, but with the same result.
 */
static void
TokenizePlanByTid(SPIPlanPtr plan)
{
	static const char *const settings[][2] = {
		{"enable_nestloop", "on"},   {"enable_tidscan", "on"},  {"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"}, {"enable_seqscan", "off"}, {"enable_material", "off"}};
	int level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
						  GUC_ACTION_SAVE, true, 0, false);
	ReleaseCachedPlan(SPI_plan_get_cached_plan(plan), NULL);
	AtEOXact_GUC(false, level);
}

/*
 * $1: ctids, $2: their ids. A row that changes under the statement's own eyes is checked again, as
 * it is by then. Servers before 15.15 and 17.7 do not check again what a scan by ctid looks for, so
 * the condition is said once more in a form that no scan takes over.
 */
static SPIPlanPtr
TokenizePrepareWrite(const TokenizeRun *run, const char *table)
{
	Oid types[] = {TIDARRAYOID, run->semid_array};
	StringInfoData sql;
	SPIPlanPtr plan;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "UPDATE ONLY %1$s AS x SET %2$s = v.sid"
					 " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS v(tid, sid)"
					 " WHERE x.ctid OPERATOR(pg_catalog.=) v.tid"
					 " AND (x.ctid OPERATOR(pg_catalog.=) v.tid) IS TRUE",
					 table, run->column);
	plan = SPI_prepare_cursor(sql.data, lengthof(types), types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	TokenizePlanByTid(plan);
	return plan;
}

/* Write the rows that have codes. */
static void
TokenizeWrite(TokenizeRun *run, TokenizeRows *rows)
{
	MemoryContext old = MemoryContextSwitchTo(rows->pieces);
	Datum values[2];

	if (rows->n > 0)
	{
		if (rows->write == NULL)
			rows->write = TokenizePrepareWrite(run, rows->range->table);
		TokenizeArrays(run, rows, &values[0], &values[1]);
		TokenizeCheckResult(SPI_execute_plan(rows->write, values, NULL, false, 0), SPI_OK_UPDATE);
		run->rows += SPI_processed;
		run->statements++;
		rows->n = 0;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(rows->pieces);
}

/*
 * Write the rows, which are locked, with the ids that tell them apart: the statement, whose
 * snapshot is newer than their locks, numbers the rows of an id, going on after the highest number
 * that the whole relation has: the bare id is number 0.
 */
static void
TokenizeAppend(TokenizeRun *run, TokenizeRows *rows)
{
	Oid types[] = {INT4OID, TIDARRAYOID, INT4OID, run->semid_array};
	Datum values[] = {Int32GetDatum(run->tokenizer.id), 0, Int32GetDatum(run->tokenizer.levels), 0};
	StringInfoData sql;

	if (rows->n == 0)
		return;
	TokenizeArrays(run, rows, &values[1], &values[3]);
	initStringInfo(&sql);
	appendStringInfo(
		&sql,
		"WITH coded AS MATERIALIZED ("
		"SELECT v.tid, v.base"
		" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($4)) AS v(tid, base)"
		"), taken AS MATERIALIZED ("
		"SELECT %4$s.semid_prefix(x.%2$s, $3) AS base, pg_catalog.max("
		"CASE WHEN %4$s.semid_levels(x.%2$s) OPERATOR(pg_catalog.=) $3 THEN 0 ELSE "
		"%4$s.semid_code(x.%2$s, $3) END) AS top"
		" FROM %3$s AS x WHERE %4$s.semid_tokenizer(x.%2$s) OPERATOR(pg_catalog.=) $1"
		" AND (%4$s.semid_levels(x.%2$s) OPERATOR(pg_catalog.=) $3"
		" OR %4$s.semid_levels(x.%2$s) OPERATOR(pg_catalog.=) ($3 OPERATOR(pg_catalog.+) 1))"
		" AND %4$s.semid_prefix(x.%2$s, $3) OPERATOR(%4$s.=) ANY (SELECT c.base FROM coded AS c)"
		" GROUP BY 1"
		"), numbered AS MATERIALIZED ("
		"SELECT c.tid, c.base, pg_catalog.row_number() OVER (PARTITION BY c.base ORDER BY c.tid)"
		" OPERATOR(pg_catalog.+) COALESCE(t.top, -1) AS number"
		" FROM coded AS c LEFT JOIN taken AS t ON t.base OPERATOR(%4$s.=) c.base"
		") UPDATE ONLY %1$s AS x SET %2$s ="
		" CASE WHEN n.number OPERATOR(pg_catalog.=) 0 THEN n.base"
		" ELSE n.base OPERATOR(%4$s.||) n.number::pg_catalog.int4 END"
		" FROM numbered AS n WHERE x.ctid OPERATOR(pg_catalog.=) n.tid"
		" AND x.ctid OPERATOR(pg_catalog.=) ANY ($2)",
		rows->range->table, run->column, rows->range->relation, run->types);
	TokenizeCheckResult(
		SPI_execute_with_args(sql.data, lengthof(types), types, values, NULL, false, 0),
		SPI_OK_UPDATE);
	run->rows += SPI_processed;
	run->statements++;
}

/* Room for one row more. */
static void
TokenizeGrow(TokenizeRows *rows)
{
	MemoryContext old = MemoryContextSwitchTo(rows->own);

	rows->capacity = Max(TOKENIZE_WRITE, rows->capacity * 2);
	if (rows->tids == NULL)
	{
		rows->tids = palloc(sizeof(ItemPointerData) * rows->capacity);
		rows->ids = palloc(sizeof(Datum) * rows->capacity);
	}
	else
	{
		rows->tids = repalloc_huge(rows->tids, mul_size(rows->capacity, sizeof(ItemPointerData)));
		rows->ids = repalloc_huge(rows->ids, mul_size(rows->capacity, sizeof(Datum)));
	}
	MemoryContextSwitchTo(old);
}

/* Codes come out of the pipe. Ids are told apart over the whole batch, else written at once. */
static void
TokenizeTake(void *ctx, const float *x, const int64 *tags, size_t n, const uint16 *codes)
{
	TokenizeRun *run = ctx;
	TokenizeRows *rows = run->under_way;
	int levels = run->tokenizer.levels;

	for (size_t i = 0; i < n; i++)
	{
		stk_semid id = {.tokenizer = (uint32) run->tokenizer.id, .levels = levels};
		MemoryContext old;

		if (rows->n == rows->capacity)
			TokenizeGrow(rows);
		memcpy(id.codes, codes + i * levels, sizeof(uint16) * levels);
		old = MemoryContextSwitchTo(rows->pieces);
		rows->tids[rows->n] = TokenizeTid(tags[i]);
		rows->ids[rows->n++] = SemidMakeDatum(&id);
		MemoryContextSwitchTo(old);
		if (rows->n == TOKENIZE_WRITE && !run->append)
			TokenizeWrite(run, rows);
	}
}

EncodePipe *
TokenizePipe(TokenizeRun *run, CodebookEntry *codebook)
{
	EncodePipeOptions options = {.codebook = codebook,
								 .beam = run->tokenizer.beam,
								 .device = STK_DEVICE_AUTO,
								 .failed = "could not encode embedding",
								 .take = TokenizeTake,
								 .blame = TokenizeBlame,
								 .ctx = run};

	return EncodePipeBegin(&options);
}

/* A cursor over the rows that need an id. */
static Portal
TokenizeOpen(const TokenizeRun *run, const TokenizeRange *range)
{
	ItemPointerData first;
	ItemPointerData end;
	Oid types[] = {INT4OID, TIDOID, TIDOID};
	Datum values[] = {Int32GetDatum(run->tokenizer.id), PointerGetDatum(&first),
					  PointerGetDatum(&end)};
	StringInfoData sql;

	ItemPointerSet(&first, range->first, 0);
	ItemPointerSet(&end, range->end, 0);
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT %1$s.ctid, %5$s FROM ONLY %6$s AS %1$s"
					 " WHERE %1$s.ctid OPERATOR(pg_catalog.>=) $2"
					 " AND %1$s.ctid OPERATOR(pg_catalog.<) $3"
					 " AND %1$s.%2$s IS NOT NULL AND (%1$s.%3$s IS NULL"
					 " OR %4$s.semid_tokenizer(%1$s.%3$s) OPERATOR(pg_catalog.<>) $1)",
					 run->alias, run->embedding, run->column, run->types, run->read, range->table);
	if (run->where)
		appendStringInfo(&sql, " AND (\n%s\n)", run->where);
	if (range->lock)
		appendStringInfoString(&sql, " FOR NO KEY UPDATE");
	return SPI_cursor_open_with_args(NULL, sql.data, lengthof(types), types, values, NULL, false,
									 CURSOR_OPT_NO_SCROLL);
}

/* Add a row's embedding; an error about it names the row. */
static void
TokenizeAdd(TokenizeRun *run, const ItemPointerData *tid, Datum embedding, MemoryContext scratch)
{
	ErrorContextCallback *outer = error_context_stack;
	MemoryContext old = MemoryContextSwitchTo(scratch);
	int64 tag = TokenizeTag(tid);
	int dim;

	TokenizeBlame(run, tag);

	const float *x = EmbeddingArg(embedding, run->tokenizer.dim, &dim);

	error_context_stack = outer;
	MemoryContextSwitchTo(old);
	EncodePipeAdd(run->pipe, x, tag);
	MemoryContextReset(scratch);
}

void
TokenizeRangeRows(TokenizeRun *run, const TokenizeRange *range)
{
	TokenizeRows rows = {.range = range,
						 .own = CurrentMemoryContext,
						 .pieces = AllocSetContextCreate(CurrentMemoryContext, "semtok ids",
														 ALLOCSET_DEFAULT_SIZES)};
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "semtok embedding", ALLOCSET_DEFAULT_SIZES);
	Portal portal = TokenizeOpen(run, range);

	run->under_way = &rows;
	run->statements = 0;
	for (;;)
	{
		SPI_cursor_fetch(portal, true, TOKENIZE_FETCH);

		/* Adding a row can write others, by SPI. */
		SPITupleTable *fetched = SPI_tuptable;
		uint64 n = SPI_processed;

		if (n == 0)
			break;
		run->found += n;
		for (uint64 i = 0; i < n; i++)
		{
			bool isnull;
			Datum tid = SPI_getbinval(fetched->vals[i], fetched->tupdesc, 1, &isnull);
			Datum embedding = SPI_getbinval(fetched->vals[i], fetched->tupdesc, 2, &isnull);

			CHECK_FOR_INTERRUPTS();
			if (!isnull) /* a cast may have made it null */
				TokenizeAdd(run, (ItemPointer) DatumGetPointer(tid), embedding, scratch);
		}
		SPI_freetuptable(fetched);
	}
	EncodePipeFlush(run->pipe);
	if (run->append)
		TokenizeAppend(run, &rows);
	else
		TokenizeWrite(run, &rows);
	SPI_cursor_close(portal);
	if (rows.write)
		SPI_freeplan(rows.write);
	run->under_way = NULL;
}
