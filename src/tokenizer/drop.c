/*
 * semtok.drop_tokenizer: remove versions of a tokenizer that no stored id needs.
 *
 * The catalog has no dependency records from columns to tokenizers: which ids a column holds is
 * found by looking. That is done as each table's owner, as PostgreSQL checks foreign keys: planning
 * a query runs functions that the owner's indexes name, which must not run with greater rights.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tokenizer/args.h"
#include "tokenizer/registry.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(semtok_drop_tokenizer);

/* A column of type semid, or of a domain over it. */
typedef struct SemidColumn
{
	Oid relation;
	AttrNumber attnum;
} SemidColumn;

/* Run a query that reads, seeing what is committed by now. */
static void
DropSelect(const char *sql, int nargs, Oid *types, Datum *values)
{
	SPIPlanPtr plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL || SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(),
											 InvalidSnapshot, true, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "query of the catalog failed: %s", SPI_result_code_string(SPI_result));
	SPI_freeplan(plan);
}

/*
 * Every column that can hold ids. Other sessions' temporary tables cannot be read, and materialized
 * views that are not populated hold nothing.
 */
static SemidColumn *
DropFindColumns(int *ncolumns)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(SemtokTypeOid("semid"))};
	SemidColumn *columns;

	DropSelect("WITH RECURSIVE semids AS ("
			   "SELECT $1 AS oid UNION ALL SELECT t.oid FROM semids AS s, pg_catalog.pg_type AS t"
			   " WHERE t.typbasetype OPERATOR(pg_catalog.=) s.oid"
			   " AND t.typtype OPERATOR(pg_catalog.=) 'd'"
			   ") SELECT a.attrelid, a.attnum FROM semids AS s, pg_catalog.pg_attribute AS a,"
			   " pg_catalog.pg_class AS c WHERE a.atttypid OPERATOR(pg_catalog.=) s.oid"
			   " AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped"
			   " AND c.oid OPERATOR(pg_catalog.=) a.attrelid"
			   " AND (c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'm')"
			   " AND c.relispopulated AND (c.relpersistence OPERATOR(pg_catalog.<>) 't'"
			   " OR c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())"
			   " ORDER BY a.attrelid, a.attnum",
			   lengthof(types), types, values);
	*ncolumns = (int) SPI_processed;
	columns = palloc(sizeof(SemidColumn) * Max(SPI_processed, 1));
	for (int i = 0; i < *ncolumns; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		bool isnull;

		columns[i].relation =
			DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		columns[i].attnum = DatumGetInt16(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return columns;
}

/* Does a column hold an id of the tokenizer? False, too, when the table is gone. */
static bool
DropColumnHolds(const SemidColumn *column, int32 id)
{
	Relation rel = try_relation_open(column->relation, AccessShareLock);
	stk_semid low = {.tokenizer = (uint32) id, .levels = 1};
	stk_semid high = {.tokenizer = (uint32) id, .levels = STK_MAX_LEVELS};
	Oid semid = SemtokTypeOid("semid");
	Oid types[] = {semid, semid};
	const char *schema = SemtokTypeSchema();
	StringInfoData sql;
	bool isnull;

	if (!rel)
		return false;

	char *name = get_attname(column->relation, column->attnum, true);

	/* All ids of a tokenizer lie between these two, so that a btree can answer. */
	memset(high.codes, 0xff, sizeof(high.codes));

	Datum values[] = {SemidMakeDatum(&low), SemidMakeDatum(&high)};

	initStringInfo(&sql);
	if (name)
		appendStringInfo(&sql,
						 "SELECT EXISTS (SELECT FROM ONLY %1$s AS x"
						 " WHERE x.%2$s OPERATOR(%3$s.>=) $1 AND x.%2$s OPERATOR(%3$s.<=) $2)",
						 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
													RelationGetRelationName(rel)),
						 quote_identifier(name), schema);

	Oid owner = rel->rd_rel->relowner;
	Oid user;
	int context;

	relation_close(rel, NoLock);
	if (!name)
		return false;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	DropSelect(sql.data, lengthof(types), types, values);
	SetUserIdAndSecContext(user, context);

	bool holds =
		DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));

	SPI_freetuptable(SPI_tuptable);
	return holds;
}

/* Refuse to drop a version whose ids are stored; from here on tokenize cannot store new ones. */
static void
DropCheckUnused(const char *name, int32 id, int32 version, const SemidColumn *columns, int ncolumns)
{
	TokenizerLockId(id, AccessExclusiveLock);
	for (int i = 0; i < ncolumns; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (DropColumnHolds(&columns[i], id))
			ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
							errmsg("cannot drop version %d of tokenizer \"%s\": its ids are in use",
								   version, name),
							errdetail("Column \"%s\" of table \"%s\" holds some.",
									  get_attname(columns[i].relation, columns[i].attnum, false),
									  get_rel_name(columns[i].relation))));
	}
}

/* Check every version that is to go: version 0 means all. */
static void
DropCheck(const char *name, int32 version)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(name)};
	int ncolumns;
	SemidColumn *columns = DropFindColumns(&ncolumns);
	bool found = false;
	int nversions;

	DropSelect("SELECT id, version, active FROM semtok.tokenizer"
			   " WHERE name OPERATOR(pg_catalog.=) $1 ORDER BY version",
			   lengthof(types), types, values);
	nversions = (int) SPI_processed;

	SPITupleTable *versions = SPI_tuptable;

	for (int i = 0; i < nversions; i++)
	{
		bool isnull;
		int32 id = DatumGetInt32(SPI_getbinval(versions->vals[i], versions->tupdesc, 1, &isnull));
		int32 v = DatumGetInt32(SPI_getbinval(versions->vals[i], versions->tupdesc, 2, &isnull));
		bool active = DatumGetBool(SPI_getbinval(versions->vals[i], versions->tupdesc, 3, &isnull));

		if (version != 0 && v != version)
			continue;
		found = true;
		if (version != 0 && active && nversions > 1)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
							errmsg("version %d of tokenizer \"%s\" is active", v, name),
							errhint("Activate another version first.")));
		DropCheckUnused(name, id, v, columns, ncolumns);
	}
	if (nversions == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("tokenizer \"%s\" does not exist", name)));
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("version %d of tokenizer \"%s\" does not exist", version, name)));
}

/* semtok.drop_tokenizer(name text, version int) */
Datum
semtok_drop_tokenizer(PG_FUNCTION_ARGS)
{
	OwnerSection section;

	char *name = ArgText(fcinfo, 0, "name");
	int32 version = PG_ARGISNULL(1) ? 0 : ArgInt(fcinfo, 1, "version", 1, PG_INT32_MAX);
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {CStringGetTextDatum(name), Int32GetDatum(version)};

	TokenizerLockForChange("semtok.drop_tokenizer()", name);

	OwnerEnter(&section);
	SPI_connect();
	DropCheck(name, version);
	/*
	 * A foreign key would take the log along, but stand in the way of pg_restore -j, which loads
	 * the two tables in any order.
	 */
	if (SPI_execute_with_args("WITH gone AS (DELETE FROM semtok.tokenizer"
							  " WHERE name OPERATOR(pg_catalog.=) $1"
							  " AND ($2 OPERATOR(pg_catalog.=) 0"
							  " OR version OPERATOR(pg_catalog.=) $2) RETURNING id)"
							  " DELETE FROM semtok.training_log AS l USING gone AS g"
							  " WHERE l.tokenizer OPERATOR(pg_catalog.=) g.id",
							  lengthof(types), types, values, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete from semtok.tokenizer");
	SPI_finish();
	OwnerLeave(&section);
	PG_RETURN_VOID();
}
