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
#include "tokenizer/args.h"
#include "tokenizer/registry.h"
#include "types/bridge.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(semtok_activate);

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

	LockDatabaseObject(SemtokRelationOid("tokenizer"), hash, TOKENIZER_LOCK_NAME, ExclusiveLock);
}

/*
 * Highest version now, whatever the transaction's snapshot shows, with the right to add to or
 * change the name checked, and whose the name is. 0 and the current user when the name is free.
 */
static int32
TokenizerCheckOwner(const char *name, TokenizerOwner *owner)
{
	TokenizerInfo newest;

	PushActiveSnapshot(GetLatestSnapshot());

	int32 last = TokenizerLastVersion(name, GetActiveSnapshot(), &newest);

	PopActiveSnapshot();
	if (last == 0)
	{
		TokenizerOwnerSet(owner, GetUserId());
		return 0;
	}
	*owner = newest.owner;

	/* A role that is gone leaves its tokenizers to superusers. */
	Oid role = TokenizerOwnerRole(owner);

	if (OidIsValid(role) ? !has_privs_of_role(GetUserId(), role) : !superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of tokenizer \"%s\"", name)));
	/* What is written next says what the role is called by now, and in this cluster. */
	if (OidIsValid(role))
		TokenizerOwnerSet(owner, role);
	return last;
}

void
TokenizerCheckWritable(const char *verb, const char *name)
{
	size_t len = strlen(name);
	TokenizerOwner owner;

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
	TokenizerOwner owner;

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
SizesDatum(int levels, const uint32 *sizes)
{
	Datum values[STK_MAX_LEVELS];

	for (int l = 0; l < levels; l++)
		values[l] = Int32GetDatum((int32) sizes[l]);
	return PointerGetDatum(
		construct_array(values, levels, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static Datum
CountsDatum(size_t n, const double *counts)
{
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

/* Columns of a new row, in the order of the statement that inserts it. */
enum
{
	NEW_ID,
	NEW_NAME,
	NEW_VERSION,
	NEW_METHOD,
	NEW_METRIC,
	NEW_DIM,
	NEW_SIZES,
	NEW_ACTIVE,
	NEW_OWNER,
	NEW_TRAINED_ROWS,
	NEW_OPTIONS,
	NEW_HASH,
	NEW_COUNTS,
	NEW_CODEBOOK,
	NEW_OWNER_ID,
	NEW_OWNER_CLUSTER,
	NEW_STATE,
	NEW_COLUMNS
};

/* Fill in what the codebook tells; without one, the sizes of the ids alone. */
static void
TokenizerCodebookColumns(const NewTokenizer *tokenizer, CodebookEntry *entry, Datum *values,
						 char *nulls)
{
	if (!entry)
	{
		values[NEW_SIZES] = SizesDatum(tokenizer->levels, tokenizer->sizes);
		nulls[NEW_METRIC] = nulls[NEW_DIM] = nulls[NEW_HASH] = nulls[NEW_COUNTS] = 'n';
		nulls[NEW_CODEBOOK] = 'n';
		return;
	}

	const stk_codebook *cb = CodebookView(entry);

	values[NEW_METRIC] = CStringGetTextDatum(stk_metric_name(cb->metric));
	values[NEW_DIM] = Int32GetDatum(stk_codebook_inputs(cb));
	values[NEW_SIZES] = SizesDatum(cb->levels, cb->sizes);
	values[NEW_HASH] = HashDatum(CodebookHash(entry));
	values[NEW_CODEBOOK] = tokenizer->codebook;
	if (tokenizer->counts)
		values[NEW_COUNTS] =
			CountsDatum(TokenizerCodewords(cb->levels, cb->sizes), tokenizer->counts);
	else
		nulls[NEW_COUNTS] = 'n';
}

/*
 * Is the id that was asked for this very tokenizer's already? Locks it, so that nobody else inserts
 * it meanwhile.
 */
static bool
TokenizerIsThere(const NewTokenizer *tokenizer, CodebookEntry *entry)
{
	TokenizerInfo info;
	bool found;
	bool same;

	TokenizerLockId(tokenizer->id, ExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
	found = TokenizerFindById(tokenizer->id, &info);
	PopActiveSnapshot();
	if (!found)
		return false;

	if (entry)
		same = !info.registered && memcmp(info.hash, CodebookHash(entry), sizeof(info.hash)) == 0;
	else
		same = info.registered && info.levels == tokenizer->levels &&
			   memcmp(info.sizes, tokenizer->sizes, sizeof(uint32) * info.levels) == 0;
	if (same && strcmp(info.name, tokenizer->name) == 0)
		return true;
	ereport(
		ERROR,
		(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("tokenizer with id %d exists already", info.id),
		 errdetail("It is version %d of tokenizer \"%s\", with %s.", info.version, info.name,
				   same ? "the same content" : "other content"),
		 errhint("An id means the same tokenizer on every node. Leave id out to get a new one.")));
}

int32
TokenizerInsert(const NewTokenizer *tokenizer)
{
	static const char *const insert =
		"INSERT INTO semtok.tokenizer (id, name, version, method, metric, dim, sizes, active,"
		" owner, trained_rows, options, hash, counts, codebook, owner_id, owner_cluster,"
		" state)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
	Oid types[NEW_COLUMNS] = {
		INT4OID, TEXTOID, INT4OID, TEXTOID,  TEXTOID,  INT4OID,        INT4ARRAYOID,
		BOOLOID, NAMEOID, INT8OID, JSONBOID, BYTEAOID, FLOAT8ARRAYOID, SemtokTypeOid("codebook"),
		OIDOID,  INT8OID, BYTEAOID};
	Datum values[NEW_COLUMNS] = {0};
	char nulls[NEW_COLUMNS];
	CodebookEntry *entry = NULL;
	OwnerSection section;
	int32 id = tokenizer->id;

	/* Late, so that a long training of the same name holds up nobody. */
	TokenizerLockName(tokenizer->name);

	TokenizerOwner owner;
	int32 last = TokenizerCheckOwner(tokenizer->name, &owner);

	if (tokenizer->codebook)
		entry = CodebookPin(tokenizer->codebook, CurrentMemoryContext);
	if (id != 0 && TokenizerIsThere(tokenizer, entry))
		return id;

	memset(nulls, ' ', sizeof(nulls));
	values[NEW_NAME] = CStringGetTextDatum(tokenizer->name);
	values[NEW_VERSION] = Int32GetDatum(last + 1);
	values[NEW_METHOD] = CStringGetTextDatum(tokenizer->method);
	values[NEW_ACTIVE] = BoolGetDatum(last == 0);
	values[NEW_OWNER] = NameGetDatum(&owner.name);
	values[NEW_OWNER_ID] = ObjectIdGetDatum(owner.role);
	values[NEW_OWNER_CLUSTER] = Int64GetDatum(owner.cluster);
	if (owner.cluster == 0)
		nulls[NEW_OWNER_ID] = nulls[NEW_OWNER_CLUSTER] = 'n';
	values[NEW_TRAINED_ROWS] = Int64GetDatum(tokenizer->rows);
	if (tokenizer->rows == 0)
		nulls[NEW_TRAINED_ROWS] = 'n';
	values[NEW_OPTIONS] = JsonbPGetDatum(tokenizer->options);
	TokenizerCodebookColumns(tokenizer, entry, values, nulls);
	values[NEW_STATE] = tokenizer->state;
	if (tokenizer->state == 0)
		nulls[NEW_STATE] = 'n';

	OwnerEnter(&section);
	if (id == 0)
		id = TokenizerNextId();
	else
		TokenizerReserveId(id);
	values[NEW_ID] = Int32GetDatum(id);
	SPI_connect();
	if (SPI_execute_with_args(insert, NEW_COLUMNS, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert into semtok.tokenizer");
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
	int32 version = ArgInt(fcinfo, 1, "version", 1, PG_INT32_MAX);
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
