/*
 * CALL semtok.tokenize: give a table's rows the ids of a tokenizer, batch by batch.
 *
 * A batch is a range of blocks of one table (a partition, where there are several), processed and
 * committed before the next begins; nothing is kept over the commit but names and numbers. A row
 * needs work when its embedding is not null and its id is not of the tokenizer, so a run that was
 * stopped goes on where it was, and a second run finds nothing to do. Every statement runs with
 * the caller's rights.
 *
 * Rows may be updated meanwhile: a row that moved behind the walk is found by a second one.
 *
 * A batch locks the relation with SHARE UPDATE EXCLUSIVE: it does not stop readers and writers, but
 * two runs would otherwise append the same code to an id.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "optimizer/plancat.h"
#include "parser/parse_coerce.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "tokenizer/args.h"
#include "tokenizer/progress.h"
#include "tokenizer/registry.h"
#include "types/bridge.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(semtok_tokenize);

enum
{
	ARG_RELATION,
	ARG_EMBEDDING,
	ARG_INTO_COLUMN,
	ARG_TOKENIZER,
	ARG_VERSION,
	ARG_BATCH_SIZE,
	ARG_COLLISIONS,
	ARG_WHERE_CLAUSE
};

/* A table to walk: the relation itself, or one of its partitions or children. */
typedef struct TokenizeTable
{
	Oid oid;
	BlockNumber blocks; /* when the run began: rows beyond are not ours */
	BlockNumber step;   /* blocks a batch */
} TokenizeTable;

typedef struct TokenizeRun
{
	Oid relation;
	const char *alias; /* the relation's own name, quoted, which where_clause may qualify with */
	const char *embedding; /* quoted, as is column */
	const char *column;
	const char *where; /* NULL = every row */
	const char *types; /* schema of semid, quoted */
	bool append;
	int batch_size;
	TokenizerInfo tokenizer;
	TokenizeTable *tables;
	int ntables;
	MemoryContext batch; /* reset with every batch */
	int64 rows;          /* given an id so far */
	TimestampTz noticed; /* when the last NOTICE went out, at first the start */
} TokenizeRun;

static void
TokenizeCheckRelation(Oid relation)
{
	char relkind = get_rel_relkind(relation);

	if (relkind == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relation)));
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table", get_rel_name(relation))));
}

/* A user column by name. */
static AttrNumber
TokenizeColumn(Oid relation, const char *column)
{
	AttrNumber attnum = get_attnum(relation, column);

	if (attnum <= InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", column,
							   get_rel_name(relation))));
	return attnum;
}

/* Refuse a caller who has a right neither on the relation nor on the column. */
static void
TokenizeCheckRight(Oid relation, AttrNumber attnum, const char *column, AclMode right)
{
	if (pg_class_aclcheck(relation, GetUserId(), right) != ACLCHECK_OK &&
		pg_attribute_aclcheck(relation, attnum, GetUserId(), right) != ACLCHECK_OK)
		aclcheck_error_col(ACLCHECK_NO_PRIV, OBJECT_COLUMN, get_rel_name(relation), column);
}

static void
TokenizeCheckColumns(Oid relation, const char *embedding, const char *column, bool append)
{
	AttrNumber from = TokenizeColumn(relation, embedding);
	AttrNumber into = TokenizeColumn(relation, column);
	Oid type;
	int32 typmod;
	Oid collation;
	Oid function;

	TokenizeCheckRight(relation, from, embedding, ACL_SELECT);
	TokenizeCheckRight(relation, into, column, ACL_SELECT);
	TokenizeCheckRight(relation, into, column, ACL_UPDATE);

	get_atttypetypmodcoll(relation, from, &type, &typmod, &collation);
	if (find_coercion_pathway(FLOAT4ARRAYOID, type, COERCION_EXPLICIT, &function) ==
		COERCION_PATH_NONE)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("expected column \"%s\" of a type with a cast to real[], not %s",
							   embedding, format_type_with_typemod(type, typmod))));

	get_atttypetypmodcoll(relation, into, &type, &typmod, &collation);
	if (getBaseTypeAndTypmod(type, &typmod) != SemtokTypeOid("semid"))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("expected column \"%s\" of type semid, not %s", column,
							   format_type_be(type))));
	if (append && typmod >= 0)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" of type %s has no room for an appended code", column,
							   format_type_with_typemod(type, typmod)),
						errhint("Use a column of type semid, without levels and codes.")));
}

/* The tables to walk, measured now. */
static void
TokenizeFindTables(TokenizeRun *run)
{
	List *oids;
	ListCell *cell;

	/* find_all_inheritors locks the children only */
	LockRelationOid(run->relation, AccessShareLock);
	oids = find_all_inheritors(run->relation, AccessShareLock, NULL);

	run->tables = palloc(sizeof(TokenizeTable) * list_length(oids));
	foreach (cell, oids)
	{
		Relation rel = relation_open(lfirst_oid(cell), NoLock);
		TokenizeTable *table = &run->tables[run->ntables];
		BlockNumber pages;
		double tuples;
		double allvisible;

		if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("cannot tokenize foreign table \"%s\"", RelationGetRelationName(rel))));
		if (rel->rd_rel->relkind == RELKIND_RELATION)
		{
			table->oid = RelationGetRelid(rel);
			table->blocks = RelationGetNumberOfBlocks(rel);
			estimate_rel_size(rel, NULL, &pages, &tuples, &allvisible);

			double step = tuples < 1 ? 1 : run->batch_size * (double) pages / tuples;

			table->step = (BlockNumber) Max(1, Min(step, (double) MaxBlockNumber));
			run->ntables++;
		}
		relation_close(rel, NoLock);
	}
}

/*
 * Fail now rather than in the first batch: the caller's condition must fit into a statement, in
 * parentheses, which keep its OR apart from our AND, and without, so that it closes no more of them
 * than it opens.
 */
static void
TokenizeCheckWhere(const TokenizeRun *run)
{
	static const char *const forms[] = {"SELECT FROM %s AS %s WHERE %s",
										"SELECT FROM %s AS %s WHERE (\n%s\n)"};
	const char *relation = quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(run->relation)), get_rel_name(run->relation));

	for (int i = 0; i < lengthof(forms); i++)
	{
		SPIPlanPtr plan =
			SPI_prepare(psprintf(forms[i], relation, run->alias, run->where), 0, NULL);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_freeplan(plan);
	}
}

/* The rows of a block range that need an id: $1 tokenizer, $2 and $3 the range. */
static void
TokenizeAppendTodo(StringInfo sql, const TokenizeRun *run)
{
	appendStringInfo(sql,
					 "%1$s.ctid OPERATOR(pg_catalog.>=) $2"
					 " AND %1$s.ctid OPERATOR(pg_catalog.<) $3"
					 " AND %1$s.%2$s IS NOT NULL AND (%1$s.%3$s IS NULL"
					 " OR %4$s.semid_tokenizer(%1$s.%3$s) OPERATOR(pg_catalog.<>) $1)",
					 run->alias, run->embedding, run->column, run->types);
	if (run->where)
		appendStringInfo(sql, " AND (\n%s\n)", run->where);
}

static void
TokenizeExecute(const char *sql, int nargs, Oid *types, Datum *values, int expected)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);

	if (result != expected)
		elog(ERROR, "unexpected result of a statement: %s", SPI_result_code_string(result));
}

/* One statement; a row that is updated meanwhile is encoded again from its new embedding. */
static void
TokenizeKeep(TokenizeRun *run, const char *table, Datum *range)
{
	Oid types[] = {INT4OID, TIDOID, TIDOID};
	Datum values[] = {Int32GetDatum(run->tokenizer.id), range[0], range[1]};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "UPDATE ONLY %1$s AS %2$s"
					 " SET %3$s = semtok.encode_row($1, %2$s.%4$s::pg_catalog.float4[], %2$s.ctid)"
					 " WHERE ",
					 table, run->alias, run->column, run->embedding);
	TokenizeAppendTodo(&sql, run);
	TokenizeExecute(sql.data, lengthof(types), types, values, SPI_OK_UPDATE);
	run->rows += SPI_processed;
}

/*
 * Two statements: the first locks the rows, so that the second, whose snapshot is newer, sees them
 * as they will stay. It numbers the rows of an id, going on after the highest number that the
 * whole relation has: the bare id is number 0.
 */
static void
TokenizeAppend(TokenizeRun *run, const char *table, const char *relation, Datum *range)
{
	Oid range_types[] = {INT4OID, TIDOID, TIDOID};
	Datum range_values[] = {Int32GetDatum(run->tokenizer.id), range[0], range[1]};
	Oid types[] = {INT4OID, TIDARRAYOID, INT4OID};
	StringInfoData sql;
	bool isnull;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT pg_catalog.array_agg(l.tid) FROM"
					 " (SELECT %1$s.ctid AS tid FROM ONLY %2$s AS %1$s WHERE ",
					 run->alias, table);
	TokenizeAppendTodo(&sql, run);
	appendStringInfoString(&sql, " FOR NO KEY UPDATE) AS l");
	TokenizeExecute(sql.data, lengthof(range_types), range_types, range_values, SPI_OK_SELECT);

	SPITupleTable *locked = SPI_tuptable;
	Datum tids = SPI_getbinval(locked->vals[0], locked->tupdesc, 1, &isnull);

	if (isnull)
	{
		SPI_freetuptable(locked);
		return;
	}

	Datum values[] = {Int32GetDatum(run->tokenizer.id), tids, Int32GetDatum(run->tokenizer.levels)};

	resetStringInfo(&sql);
	appendStringInfo(
		&sql,
		"WITH coded AS MATERIALIZED ("
		"SELECT x.ctid AS tid,"
		" semtok.encode_row($1, x.%3$s::pg_catalog.float4[], x.ctid) AS base"
		" FROM ONLY %1$s AS x WHERE x.ctid OPERATOR(pg_catalog.=) ANY ($2)"
		"), taken AS MATERIALIZED ("
		"SELECT %5$s.semid_prefix(x.%2$s, $3) AS base, pg_catalog.max("
		"CASE WHEN %5$s.semid_levels(x.%2$s) OPERATOR(pg_catalog.=) $3 THEN 0 ELSE "
		"%5$s.semid_code(x.%2$s, $3) END) AS top"
		" FROM %4$s AS x WHERE %5$s.semid_tokenizer(x.%2$s) OPERATOR(pg_catalog.=) $1"
		" AND (%5$s.semid_levels(x.%2$s) OPERATOR(pg_catalog.=) $3"
		" OR %5$s.semid_levels(x.%2$s) OPERATOR(pg_catalog.=) ($3 OPERATOR(pg_catalog.+) 1))"
		" AND %5$s.semid_prefix(x.%2$s, $3) OPERATOR(%5$s.=) ANY (SELECT c.base FROM coded AS c)"
		" GROUP BY 1"
		"), numbered AS MATERIALIZED ("
		"SELECT c.tid, c.base, pg_catalog.row_number() OVER (PARTITION BY c.base ORDER BY c.tid)"
		" OPERATOR(pg_catalog.+) COALESCE(t.top, -1) AS number"
		" FROM coded AS c LEFT JOIN taken AS t ON t.base OPERATOR(%5$s.=) c.base"
		") UPDATE ONLY %1$s AS x SET %2$s ="
		" CASE WHEN n.number OPERATOR(pg_catalog.=) 0 THEN n.base"
		" ELSE n.base OPERATOR(%5$s.||) n.number::pg_catalog.int4 END"
		" FROM numbered AS n WHERE x.ctid OPERATOR(pg_catalog.=) n.tid"
		" AND x.ctid OPERATOR(pg_catalog.=) ANY ($2)",
		table, run->column, run->embedding, relation, run->types);
	TokenizeExecute(sql.data, lengthof(types), types, values, SPI_OK_UPDATE);
	run->rows += SPI_processed;
	SPI_freetuptable(locked);
}

/* Where in the table an error arose. */
typedef struct TokenizePlace
{
	const char *table;
	BlockNumber first;
	BlockNumber end;
} TokenizePlace;

static void
TokenizeErrorContext(void *arg)
{
	const TokenizePlace *place = arg;

	errcontext("tokenizing blocks %u to %u of %s", place->first, place->end - 1, place->table);
}

/* A relation's name as SQL wants it, or NULL when it is gone. Locks it. */
static const char *
TokenizeLock(Oid oid)
{
	Relation rel = try_relation_open(oid, ShareUpdateExclusiveLock);

	if (!rel)
		return NULL;

	char *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
											RelationGetRelationName(rel));

	relation_close(rel, NoLock);
	return name;
}

/*
 * One batch, in a transaction of its own; the locks come first, so that its snapshots, whatever the
 * isolation level, see all that earlier holders did. False when the table is gone.
 */
static bool
TokenizeBatch(TokenizeRun *run, const TokenizeTable *table, BlockNumber first, BlockNumber end)
{
	ItemPointerData tids[2];
	Datum range[] = {PointerGetDatum(&tids[0]), PointerGetDatum(&tids[1])};
	TokenizePlace place = {.first = first, .end = end};
	ErrorContextCallback callback = {
		.previous = error_context_stack, .callback = TokenizeErrorContext, .arg = &place};
	TokenizerInfo info;

	SPI_commit();
	MemoryContextReset(run->batch);

	MemoryContext old = MemoryContextSwitchTo(run->batch);
	const char *relation = TokenizeLock(run->relation);

	place.table = table->oid == run->relation ? relation : TokenizeLock(table->oid);
	if (!relation || !place.table)
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	TokenizerLockId(run->tokenizer.id, AccessShareLock);
	EnsurePortalSnapshotExists();
	TokenizerGetById(run->tokenizer.id, &info);

	error_context_stack = &callback;
	ItemPointerSet(&tids[0], first, 0);
	ItemPointerSet(&tids[1], end, 0);
	if (run->append)
		TokenizeAppend(run, place.table, relation, range);
	else
		TokenizeKeep(run, place.table, range);
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(old);
	return true;
}

static void
TokenizeNotice(TokenizeRun *run, int table, BlockNumber done)
{
	if (!ProgressDue(&run->noticed))
		return;
	ereport(NOTICE, (errmsg("tokenizing %s: %lld rows, table %d of %d, block %u of %u", run->alias,
							(long long) run->rows, table + 1, run->ntables, done,
							run->tables[table].blocks)));
}

static void
TokenizeWalk(TokenizeRun *run)
{
	for (int i = 0; i < run->ntables; i++)
	{
		const TokenizeTable *table = &run->tables[i];
		BlockNumber first = 0;

		while (first < table->blocks)
		{
			BlockNumber end = first + Min(table->step, table->blocks - first);

			CHECK_FOR_INTERRUPTS();
			if (!TokenizeBatch(run, table, first, end))
				break;
			first = end;
			TokenizeNotice(run, i, first);
		}
	}
}

static bool
TokenizeReadCollisions(const char *collisions)
{
	if (strcmp(collisions, "append") == 0)
		return true;
	if (strcmp(collisions, "keep") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected collisions keep or append, not \"%s\"", collisions)));
	return false;
}

/* semtok.tokenize(relation, embedding, into_column, tokenizer, version, batch_size, …) */
Datum
semtok_tokenize(PG_FUNCTION_ARGS)
{
	TokenizeRun run = {0};

	if (!fcinfo->context || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("semtok.tokenize() cannot run inside a transaction block"),
						errhint("It commits after every batch: CALL it outside of BEGIN ... COMMIT "
								"and of functions, in a driver with autocommit on.")));
	ArgRequire(fcinfo, ARG_RELATION, "relation");
	ArgRequire(fcinfo, ARG_EMBEDDING, "embedding");
	ArgRequire(fcinfo, ARG_INTO_COLUMN, "into_column");
	PreventCommandIfReadOnly("semtok.tokenize()");

	/* What is allocated from here on outlives the commits. */
	SPI_connect_ext(SPI_OPT_NONATOMIC);

	const char *embedding = NameStr(*PG_GETARG_NAME(ARG_EMBEDDING));
	const char *column = NameStr(*PG_GETARG_NAME(ARG_INTO_COLUMN));
	const char *tokenizer = ArgText(fcinfo, ARG_TOKENIZER, "tokenizer");
	int32 version = 0;

	if (!PG_ARGISNULL(ARG_VERSION))
		version = ArgInt(fcinfo, ARG_VERSION, "version", 1, PG_INT32_MAX);
	run.relation = PG_GETARG_OID(ARG_RELATION);
	run.batch_size = ArgInt(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, PG_INT32_MAX);
	run.append = TokenizeReadCollisions(ArgText(fcinfo, ARG_COLLISIONS, "collisions"));
	TokenizerGetByName(tokenizer, version, &run.tokenizer);
	TokenizerRequireCodebook(&run.tokenizer);
	TokenizeCheckRelation(run.relation);
	TokenizeCheckColumns(run.relation, embedding, column, run.append);
	if (run.append && check_enable_rls(run.relation, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot tell ids apart under row-level security"),
						errdetail("Rows that you cannot see may have the same ids.")));

	run.alias = pstrdup(quote_identifier(get_rel_name(run.relation)));
	run.embedding = pstrdup(quote_identifier(embedding));
	run.column = pstrdup(quote_identifier(column));
	run.types = pstrdup(SemtokTypeSchema());
	if (!PG_ARGISNULL(ARG_WHERE_CLAUSE))
	{
		run.where = text_to_cstring(PG_GETARG_TEXT_PP(ARG_WHERE_CLAUSE));
		TokenizeCheckWhere(&run);
	}
	TokenizeFindTables(&run);
	run.noticed = GetCurrentTimestamp();
	run.batch =
		AllocSetContextCreate(CurrentMemoryContext, "semtok tokenize", ALLOCSET_DEFAULT_SIZES);

	TokenizeWalk(&run);
	if (run.rows > 0)
		TokenizeWalk(&run);
	SPI_commit();
	SPI_finish();
	PG_RETURN_VOID();
}
