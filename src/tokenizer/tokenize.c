/*
 * CALL semtok.tokenize: give a table's rows the ids of a tokenizer, batch by batch.
 *
 * A batch is a range of blocks of one table (a partition, where there are several), processed and
 * committed before the next begins (tokenize_batch.c); nothing is kept over the commit but names,
 * numbers and the pipe that encodes, which is empty then. A row needs work when its embedding is
 * not null and its id is not of the tokenizer, so a run that was stopped goes on where it was, and
 * a second run finds nothing to do. Every statement runs with the caller's rights.
 *
 * Rows may be updated meanwhile: one that moved behind the walk, or that changed after its
 * embedding was read, is found by a second walk, which locks the rows it reads. It is left out
 * where there can be no such row (tokenize_alone.c).
 *
 * A batch locks the relation with SHARE UPDATE EXCLUSIVE: it does not stop readers and writers, but
 * two runs would otherwise append the same code to an id.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "compat.h"
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
#include "tokenizer/tokenize.h"
#include "types/bridge.h"
#include "types/vector_cast.h"
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
	double density;     /* rows a block, as estimated */
	BlockNumber blocks; /* when the walk began: rows beyond are not ours */
	BlockNumber step;   /* blocks a batch */
} TokenizeTable;

/* A walk over tables, batch by batch. */
typedef struct TokenizeWalk
{
	TokenizeRun run;
	int batch_size;
	TokenizeTable *tables;
	int ntables;
	MemoryContext batch;    /* reset with every batch */
	Oid left;               /* the table of the last batch if that wrote rows, else InvalidOid */
	BlockNumber left_first; /* the blocks that their old versions are in */
	BlockNumber left_end;
	TokenizeAlone alone;
	TimestampTz noticed; /* when the last NOTICE went out, at first the start */
} TokenizeWalk;

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
TokenizeFindTables(TokenizeWalk *walk)
{
	List *oids;
	ListCell *cell;

	/* find_all_inheritors locks the children only */
	LockRelationOid(walk->run.relation, AccessShareLock);
	oids = find_all_inheritors(walk->run.relation, AccessShareLock, NULL);

	walk->tables = palloc(sizeof(TokenizeTable) * list_length(oids));
	foreach (cell, oids)
	{
		Relation rel = relation_open(lfirst_oid(cell), NoLock);
		TokenizeTable *table = &walk->tables[walk->ntables];
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

			double step = tuples < 1 ? 1 : walk->batch_size * (double) pages / tuples;

			table->density = pages < 1 ? 0 : tuples / pages;
			table->step = (BlockNumber) Max(1, Min(step, (double) MaxBlockNumber));
			walk->ntables++;
		}
		relation_close(rel, NoLock);
	}
}

/* Measure the tables again: rows that were updated have new places, most of them at the end. */
static void
TokenizeMeasureTables(TokenizeWalk *walk)
{
	for (int i = 0; i < walk->ntables; i++)
	{
		Relation rel = try_relation_open(walk->tables[i].oid, AccessShareLock);

		if (!rel)
			continue;
		walk->tables[i].blocks = RelationGetNumberOfBlocks(rel);
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

/* Where in the table an error arose. */
static void
TokenizeErrorContext(void *arg)
{
	const TokenizeRange *range = arg;

	errcontext("tokenizing blocks %u to %u of %s", range->first, range->end - 1, range->table);
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
 * Have the new versions of rows go where the last batch's old ones are, in a table that is locked.
 */
static void
TokenizeLeaveRoom(const TokenizeWalk *walk)
{
	Relation rel = relation_open(walk->left, NoLock);

	TokenizeMakeRoom(rel, walk->left_first, walk->left_end);
	relation_close(rel, NoLock);
}

/*
 * One batch, in a transaction of its own; the locks come first, so that its snapshots, whatever the
 * isolation level, see all that earlier holders did. False when the table is gone.
 */
static bool
TokenizeBatch(TokenizeWalk *walk, Oid table, TokenizeRange *range)
{
	TokenizeRun *run = &walk->run;
	ErrorContextCallback callback = {
		.previous = error_context_stack, .callback = TokenizeErrorContext, .arg = range};
	TokenizerInfo info;
	CommandId command;
	int64 rows;

	SPI_commit();
	MemoryContextReset(walk->batch);

	MemoryContext old = MemoryContextSwitchTo(walk->batch);

	range->relation = TokenizeLock(run->relation);
	range->table = table == run->relation ? range->relation : TokenizeLock(table);
	if (!range->relation || !range->table)
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	TokenizerLockId(run->tokenizer.id, AccessShareLock);
	EnsurePortalSnapshotExists();
	TokenizerGetById(run->tokenizer.id, &info);

	if (walk->left == table)
		TokenizeLeaveRoom(walk);
	rows = run->rows;
	command = GetCurrentCommandId(false);
	error_context_stack = &callback;
	TokenizeRangeRows(run, range);
	error_context_stack = callback.previous;
	/* Locking rows is a command, too, which the next one ends. */
	if (range->lock && run->statements > 0)
		command++;
	TokenizeAloneBatch(&walk->alone, table, command + run->statements);
	walk->left = run->rows > rows ? table : InvalidOid;
	walk->left_first = range->first;
	walk->left_end = range->end;
	MemoryContextSwitchTo(old);
	return true;
}

/* How far the walk is. What is still to come is estimated, and may have ids already. */
static void
TokenizeProgress(TokenizeWalk *walk, int table, BlockNumber done)
{
	double rest = 0;

	for (int i = table; i < walk->ntables; i++)
		rest += walk->tables[i].density * (walk->tables[i].blocks - (i == table ? done : 0));
	ProgressRows(walk->run.rows, walk->run.rows + (int64) rest);
	if (!ProgressDue(&walk->noticed))
		return;
	ereport(NOTICE, (errmsg("tokenizing %s: %lld rows, table %d of %d, block %u of %u",
							walk->run.alias, (long long) walk->run.rows, table + 1, walk->ntables,
							done, walk->tables[table].blocks)));
}

static void
TokenizeWalkTables(TokenizeWalk *walk, bool lock)
{
	for (int i = 0; i < walk->ntables; i++)
	{
		const TokenizeTable *table = &walk->tables[i];
		BlockNumber first = 0;

		while (first < table->blocks)
		{
			TokenizeRange range = {.first = first,
								   .end = first + Min(table->step, table->blocks - first),
								   .lock = lock};

			CHECK_FOR_INTERRUPTS();
			if (!TokenizeBatch(walk, table->oid, &range))
				break;
			first = range.end;
			TokenizeProgress(walk, i, first);
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

/* What reads a row's embedding as real[]. */
static const char *
TokenizeRead(const TokenizeRun *run, Oid type)
{
	return psprintf(VectorCastReads(type) ? "semtok.embedding_of(%s.%s)"
										  : "%s.%s::pg_catalog.float4[]",
					run->alias, run->embedding);
}

/* semtok.tokenize(relation, embedding, into_column, tokenizer, version, batch_size, …) */
Datum
semtok_tokenize(PG_FUNCTION_ARGS)
{
	TokenizeWalk walk = {0};
	TokenizeRun *run = &walk.run;

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
	run->relation = PG_GETARG_OID(ARG_RELATION);
	walk.batch_size = ArgInt(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, PG_INT32_MAX);
	run->append = TokenizeReadCollisions(ArgText(fcinfo, ARG_COLLISIONS, "collisions"));
	TokenizerGetByName(tokenizer, version, &run->tokenizer);
	TokenizerRequireCodebook(&run->tokenizer);
	TokenizeCheckRelation(run->relation);
	TokenizeCheckColumns(run->relation, embedding, column, run->append);
	if (run->append && check_enable_rls(run->relation, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot tell ids apart under row-level security"),
						errdetail("Rows that you cannot see may have the same ids.")));

	run->alias = pstrdup(quote_identifier(get_rel_name(run->relation)));
	run->embedding = pstrdup(quote_identifier(embedding));
	run->column = pstrdup(quote_identifier(column));
	run->read = TokenizeRead(run, get_atttype(run->relation, get_attnum(run->relation, embedding)));
	run->types = pstrdup(SemtokTypeSchema());
	run->semid = SemtokTypeOid("semid");
	run->semid_array = get_array_type(run->semid);
	if (!PG_ARGISNULL(ARG_WHERE_CLAUSE))
	{
		run->where = text_to_cstring(PG_GETARG_TEXT_PP(ARG_WHERE_CLAUSE));
		TokenizeCheckWhere(run);
	}
	TokenizeAloneBegin(&walk.alone);
	TokenizeFindTables(&walk);
	walk.noticed = GetCurrentTimestamp();
	walk.batch =
		AllocSetContextCreate(CurrentMemoryContext, "semtok tokenize", ALLOCSET_DEFAULT_SIZES);

	run->pipe = TokenizePipe(run, TokenizerCodebook(&run->tokenizer, CurrentMemoryContext));

	ProgressBegin("tokenize", get_rel_name(run->relation), CurrentMemoryContext);
	ProgressPhase("first walk");
	TokenizeWalkTables(&walk, run->append || SemtokPrunesEarly());
	SPI_commit();
	if (run->found > 0 && !TokenizeAloneProven(&walk.alone))
	{
		ProgressPhase("second walk");
		TokenizeMeasureTables(&walk);
		TokenizeWalkTables(&walk, true);
	}
	EncodePipeEnd(run->pipe);
	ProgressEnd();
	SPI_commit();
	SPI_finish();
	PG_RETURN_VOID();
}
