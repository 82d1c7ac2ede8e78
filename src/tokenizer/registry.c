/*
 * Writing the catalog of tokenizers: insert, activate.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "tokenizer/registry.h"
#include "types/bridge.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(semtok_activate);

/* Sub-ids of the catalog's lock tags, so that hashes of names and ids do not meet. */
enum
{
	LOCK_NAME = 1,
	LOCK_ID = 2
};

void
OwnerEnter(OwnerSection *section)
{
	Oid catalog = SemtokRelationOid("tokenizer");
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(catalog));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", catalog);

	Oid owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;

	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&section->user, &section->context);
	SetUserIdAndSecContext(owner, section->context | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION);
}

void
OwnerLeave(const OwnerSection *section)
{
	SetUserIdAndSecContext(section->user, section->context);
}

/* Until the end of the transaction nobody else changes versions of this name. */
static void
TokenizerLockName(const char *name)
{
	uint32 hash = hash_bytes((const unsigned char *) name, (int) strlen(name));

	LockDatabaseObject(SemtokRelationOid("tokenizer"), hash, LOCK_NAME, ExclusiveLock);
}

void
TokenizerLockId(int32 id, LOCKMODE mode)
{
	LockDatabaseObject(SemtokRelationOid("tokenizer"), (Oid) id, LOCK_ID, mode);
}

/*
 * Highest version now, whatever the transaction's snapshot shows, with the right to add to or
 * change the name checked, and whose the name is. 0 and the current user when the name is free.
 */
static int32
TokenizerCheckOwner(const char *name, NameData *owner_name)
{
	TokenizerInfo newest;

	PushActiveSnapshot(GetLatestSnapshot());

	int32 last = TokenizerLastVersion(name, GetActiveSnapshot(), &newest);

	PopActiveSnapshot();
	if (last == 0)
	{
		namestrcpy(owner_name, GetUserNameFromId(GetUserId(), false));
		return 0;
	}
	*owner_name = newest.owner;

	/* A role that is gone leaves its tokenizers to superusers. */
	Oid owner = get_role_oid(NameStr(*owner_name), true);

	if (OidIsValid(owner) ? !has_privs_of_role(GetUserId(), owner) : !superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of tokenizer \"%s\"", name)));
	return last;
}

void
TokenizerCheckWritable(const char *verb, const char *name)
{
	size_t len = strlen(name);
	NameData owner;

	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);
	if (len == 0 || len >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a tokenizer name of 1 to %d bytes, not %zu",
							   NAMEDATALEN - 1, len)));
	(void) TokenizerCheckOwner(name, &owner);
}

void
TokenizerLockForChange(const char *verb, const char *name)
{
	NameData owner;

	TokenizerCheckWritable(verb, name);
	TokenizerLockName(name);
	/* The name may have changed hands while the lock was another's. */
	(void) TokenizerCheckOwner(name, &owner);
}

static void
TokenizerInsertLog(int32 id, const TrainingLogRow *log, int nlog)
{
	static const char *const insert =
		"INSERT INTO semtok.training_log (tokenizer, step, level, epoch, metric, value, at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)";
	Oid types[] = {INT4OID, INT4OID, INT4OID, INT4OID, TEXTOID, FLOAT8OID, TIMESTAMPTZOID};
	SPIPlanPtr plan = SPI_prepare(insert, lengthof(types), types);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	for (int i = 0; i < nlog; i++)
	{
		Datum values[] = {Int32GetDatum(id),
						  Int32GetDatum(log[i].step),
						  Int32GetDatum(log[i].level),
						  Int32GetDatum(log[i].epoch),
						  CStringGetTextDatum(log[i].metric),
						  Float8GetDatum(log[i].value),
						  TimestampTzGetDatum(log[i].at)};
		char nulls[lengthof(values) + 1] = "       ";

		if (log[i].level < 0)
			nulls[2] = 'n';
		if (log[i].epoch < 0)
			nulls[3] = 'n';
		if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not insert into semtok.training_log");
	}
}

static Datum
TokenizerSizes(const stk_codebook *cb)
{
	Datum sizes[STK_MAX_LEVELS];

	for (int l = 0; l < cb->levels; l++)
		sizes[l] = Int32GetDatum((int32) cb->sizes[l]);
	return PointerGetDatum(
		construct_array(sizes, cb->levels, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static Datum
CountsDatum(const stk_codebook *cb, const double *counts)
{
	size_t n = TokenizerCodewords(cb->levels, cb->sizes);
	Datum *values = palloc(mul_size(n, sizeof(Datum)));

	for (size_t k = 0; k < n; k++)
		values[k] = Float8GetDatum(counts[k]);
	return PointerGetDatum(construct_array(values, (int) n, FLOAT8OID, sizeof(float8),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static Datum
HashDatum(const uint8 *hash)
{
	bytea *result = palloc(VARHDRSZ + CODEBOOK_HASH_LENGTH);

	SET_VARSIZE(result, VARHDRSZ + CODEBOOK_HASH_LENGTH);
	memcpy(VARDATA(result), hash, CODEBOOK_HASH_LENGTH);
	return PointerGetDatum(result);
}

int32
TokenizerInsert(const NewTokenizer *tokenizer)
{
	static const char *const insert =
		"INSERT INTO semtok.tokenizer (name, version, method, metric, dim, sizes, active, owner,"
		" trained_rows, options, hash, counts, codebook)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id";
	Oid types[] = {TEXTOID,
				   INT4OID,
				   TEXTOID,
				   TEXTOID,
				   INT4OID,
				   INT4ARRAYOID,
				   BOOLOID,
				   NAMEOID,
				   INT8OID,
				   JSONBOID,
				   BYTEAOID,
				   FLOAT8ARRAYOID,
				   SemtokTypeOid("codebook")};
	OwnerSection section;
	bool isnull;

	/* Late, so that a long training of the same name holds up nobody. */
	TokenizerLockName(tokenizer->name);

	NameData owner;
	int32 last = TokenizerCheckOwner(tokenizer->name, &owner);
	CodebookEntry *entry = CodebookPin(tokenizer->codebook, CurrentMemoryContext);
	const stk_codebook *cb = CodebookView(entry);

	Datum values[] = {CStringGetTextDatum(tokenizer->name),
					  Int32GetDatum(last + 1),
					  CStringGetTextDatum(tokenizer->method),
					  CStringGetTextDatum(stk_metric_name(cb->metric)),
					  Int32GetDatum(cb->dim),
					  TokenizerSizes(cb),
					  BoolGetDatum(last == 0),
					  NameGetDatum(&owner),
					  Int64GetDatum(tokenizer->rows),
					  JsonbPGetDatum(tokenizer->options),
					  HashDatum(CodebookHash(entry)),
					  CountsDatum(cb, tokenizer->counts),
					  tokenizer->codebook};

	OwnerEnter(&section);
	SPI_connect();
	if (SPI_execute_with_args(insert, lengthof(types), types, values, NULL, false, 0) !=
		SPI_OK_INSERT_RETURNING)
		elog(ERROR, "could not insert into semtok.tokenizer");

	int32 id =
		DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));

	TokenizerInsertLog(id, tokenizer->log, tokenizer->nlog);
	SPI_finish();
	OwnerLeave(&section);
	return id;
}

/*
 * semtok.activate(name text, version int)
 *
 * Two statements: the unique index that allows one active version is checked row by row.
 */
Datum
semtok_activate(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int32 version = PG_GETARG_INT32(1);
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {CStringGetTextDatum(name), Int32GetDatum(version)};
	OwnerSection section;
	TokenizerInfo info;

	TokenizerLockForChange("semtok.activate()", name);
	PushActiveSnapshot(GetLatestSnapshot());
	TokenizerGetByName(name, version, &info);
	PopActiveSnapshot();

	OwnerEnter(&section);
	SPI_connect();
	SPI_execute_with_args("UPDATE semtok.tokenizer SET active = false"
						  " WHERE name OPERATOR(pg_catalog.=) $1 AND active"
						  " AND version OPERATOR(pg_catalog.<>) $2",
						  2, types, values, NULL, false, 0);
	SPI_execute_with_args("UPDATE semtok.tokenizer SET active = true"
						  " WHERE name OPERATOR(pg_catalog.=) $1 AND NOT active"
						  " AND version OPERATOR(pg_catalog.=) $2",
						  2, types, values, NULL, false, 0);
	SPI_finish();
	OwnerLeave(&section);
	PG_RETURN_VOID();
}
