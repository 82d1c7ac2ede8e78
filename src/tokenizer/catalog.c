/*
 * Reading the catalog of tokenizers.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "tokenizer/catalog.h"
#include "tokenizer/seen.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Columns of semtok.tokenizer that are read here. */
enum
{
	COLUMN_ID = 1,
	COLUMN_NAME = 2,
	COLUMN_VERSION = 3,
	COLUMN_METHOD = 4,
	COLUMN_METRIC = 5,
	COLUMN_DIM = 6,
	COLUMN_SIZES = 7,
	COLUMN_ACTIVE = 8,
	COLUMN_OWNER = 9,
	COLUMN_TRAINED_ROWS = 11,
	COLUMN_OPTIONS = 12,
	COLUMN_HASH = 13,
	COLUMN_COUNTS = 14,
	COLUMN_CODEBOOK = 15,
	COLUMN_OWNER_ID = 16,
	COLUMN_OWNER_CLUSTER = 17,
	COLUMN_STATE = 18
};

/* What a call site remembers: see TokenizerRefById. */
struct TokenizerSite
{
	TokenizerRef ref;
	SeenKey seen;      /* ref.info is what a lookup finds under this key */
	bool by_name;      /* the lookup was of the active version of ref.info.name */
	MemoryContext pin; /* holds the pin on ref.codebook; reset when the tokenizer changes */
};

Oid
SemtokRelationOid(const char *relname)
{
	Oid oid = get_relname_relid(relname, get_namespace_oid("semtok", false));

	if (!OidIsValid(oid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"semtok.%s\" does not exist", relname)));
	return oid;
}

static Datum
TokenizerColumn(HeapTuple tuple, Relation rel, int column)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);

	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("column %d of semtok.tokenizer is null", column)));
	return value;
}

/* An option that is a number of int's range and at least min, else min. */
static int
TokenizerOption(const Jsonb *options, const char *key, int min)
{
	JsonbValue buffer;
	JsonbValue *value;
	double number;

	if (!JB_ROOT_IS_OBJECT(options))
		return min;
	value =
		getKeyJsonValueFromContainer(&((Jsonb *) options)->root, key, (int) strlen(key), &buffer);
	if (!value || value->type != jbvNumeric)
		return min;
	number = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	return number >= min && number <= PG_INT32_MAX ? (int) number : min;
}

static void
TokenizerDamaged(int32 id)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("row of tokenizer %d in semtok.tokenizer is damaged", id)));
}

/* The columns that tell about the codebook: all of them are null where there is none. */
static void
TokenizerReadCodebookColumns(HeapTuple tuple, Relation rel, TokenizerInfo *info)
{
	info->registered = heap_attisnull(tuple, COLUMN_CODEBOOK, RelationGetDescr(rel));
	if (info->registered)
		return;

	char *metric = TextDatumGetCString(TokenizerColumn(tuple, rel, COLUMN_METRIC));
	bytea *hash = DatumGetByteaPP(TokenizerColumn(tuple, rel, COLUMN_HASH));

	info->dim = DatumGetInt32(TokenizerColumn(tuple, rel, COLUMN_DIM));
	if (stk_metric_parse(metric, &info->metric) != STK_OK ||
		VARSIZE_ANY_EXHDR(hash) != CODEBOOK_HASH_LENGTH)
		TokenizerDamaged(info->id);
	memcpy(info->hash, VARDATA_ANY(hash), CODEBOOK_HASH_LENGTH);
	pfree(metric);
}

static void
TokenizerReadOwner(HeapTuple tuple, Relation rel, TokenizerOwner *owner)
{
	bool unknown;
	Datum cluster = heap_getattr(tuple, COLUMN_OWNER_CLUSTER, RelationGetDescr(rel), &unknown);

	owner->name = *DatumGetName(TokenizerColumn(tuple, rel, COLUMN_OWNER));
	if (unknown)
		return;
	owner->cluster = DatumGetInt64(cluster);
	owner->role = DatumGetObjectId(TokenizerColumn(tuple, rel, COLUMN_OWNER_ID));
}

/* Read a row; one that the verbs cannot have written is an error. */
static void
TokenizerReadRow(HeapTuple tuple, Relation rel, TokenizerInfo *info)
{
	memset(info, 0, sizeof(*info));
	info->id = DatumGetInt32(TokenizerColumn(tuple, rel, COLUMN_ID));
	info->version = DatumGetInt32(TokenizerColumn(tuple, rel, COLUMN_VERSION));
	info->active = DatumGetBool(TokenizerColumn(tuple, rel, COLUMN_ACTIVE));
	TokenizerReadOwner(tuple, rel, &info->owner);

	char *name = TextDatumGetCString(TokenizerColumn(tuple, rel, COLUMN_NAME));
	ArrayType *sizes = DatumGetArrayTypeP(TokenizerColumn(tuple, rel, COLUMN_SIZES));
	char *method = TextDatumGetCString(TokenizerColumn(tuple, rel, COLUMN_METHOD));
	Jsonb *options = DatumGetJsonbP(TokenizerColumn(tuple, rel, COLUMN_OPTIONS));
	bool unknown;
	Datum rows = heap_getattr(tuple, COLUMN_TRAINED_ROWS, RelationGetDescr(rel), &unknown);

	strlcpy(info->name, name, sizeof(info->name));
	strlcpy(info->method, method, sizeof(info->method));
	info->rows = unknown ? 0 : DatumGetInt64(rows);
	info->beam = Min(TokenizerOption(options, "beam", 1), ENCODE_MAX_BEAM);
	info->refined = TokenizerOption(options, "refine", 0) > 0;
	info->levels = ArrayGetNItems(ARR_NDIM(sizes), ARR_DIMS(sizes));
	if (ARR_ELEMTYPE(sizes) != INT4OID || ARR_HASNULL(sizes) || info->levels < 1 ||
		info->levels > STK_MAX_LEVELS)
		TokenizerDamaged(info->id);
	for (int l = 0; l < info->levels; l++)
		info->sizes[l] = (uint32) ((const int32 *) ARR_DATA_PTR(sizes))[l];
	TokenizerReadCodebookColumns(tuple, rel, info);
	pfree(name);
	pfree(method);
}

/* Find the only row that the keys allow and `active_only` asks for. */
static bool
TokenizerFind(const char *index, ScanKey keys, int nkeys, bool active_only, TokenizerInfo *info)
{
	Relation rel = table_open(SemtokRelationOid("tokenizer"), AccessShareLock);
	SysScanDesc scan =
		systable_beginscan(rel, SemtokRelationOid(index), true, GetActiveSnapshot(), nkeys, keys);
	HeapTuple tuple;
	bool found = false;

	/* Where indexes are ignored the scan passes rows that a partial index would not hold. */
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (active_only && !DatumGetBool(TokenizerColumn(tuple, rel, COLUMN_ACTIVE)))
			continue;
		TokenizerReadRow(tuple, rel, info);
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

bool
TokenizerFindById(int32 id, TokenizerInfo *info)
{
	ScanKeyData key;

	ScanKeyInit(&key, COLUMN_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(id));
	return TokenizerFind("tokenizer_pkey", &key, 1, false, info);
}

/* The column's collation is "C", which is what ScanKeyInit assumes. */
static void
TokenizerNameKey(ScanKey key, const text *name)
{
	ScanKeyInit(key, COLUMN_NAME, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(name));
}

static bool
TokenizerFindActiveText(const text *name, TokenizerInfo *info)
{
	ScanKeyData key;

	TokenizerNameKey(&key, name);
	return TokenizerFind("tokenizer_active_key", &key, 1, true, info);
}

bool
TokenizerFindActive(const char *name, TokenizerInfo *info)
{
	return TokenizerFindActiveText(cstring_to_text(name), info);
}

bool
TokenizerFindVersion(const char *name, int32 version, TokenizerInfo *info)
{
	ScanKeyData keys[2];

	TokenizerNameKey(&keys[0], cstring_to_text(name));
	ScanKeyInit(&keys[1], COLUMN_VERSION, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(version));
	return TokenizerFind("tokenizer_name_version_key", keys, 2, false, info);
}

void
TokenizerGetById(int32 id, TokenizerInfo *info)
{
	if (!TokenizerFindById(id, info))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("tokenizer with id %d does not exist", id)));
}

static void
TokenizerNameMissing(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("tokenizer \"%s\" does not exist", name)));
}

void
TokenizerGetByName(const char *name, int32 version, TokenizerInfo *info)
{
	if (version == 0)
	{
		if (!TokenizerFindActive(name, info))
			TokenizerNameMissing(name);
	}
	else if (!TokenizerFindVersion(name, version, info))
	{
		if (TokenizerLastVersion(name, GetActiveSnapshot(), NULL) == 0)
			TokenizerNameMissing(name);
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("version %d of tokenizer \"%s\" does not exist", version, name)));
	}
}

int32
TokenizerLastVersion(const char *name, Snapshot snapshot, TokenizerInfo *newest)
{
	Relation rel = table_open(SemtokRelationOid("tokenizer"), AccessShareLock);
	ScanKeyData key;
	HeapTuple tuple;
	int32 last = 0;

	TokenizerNameKey(&key, cstring_to_text(name));
	SysScanDesc scan = systable_beginscan(rel, SemtokRelationOid("tokenizer_name_version_key"),
										  true, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		int32 version = DatumGetInt32(TokenizerColumn(tuple, rel, COLUMN_VERSION));

		if (version <= last)
			continue;
		last = version;
		if (newest)
			TokenizerReadRow(tuple, rel, newest);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return last;
}

size_t
TokenizerCodewords(int levels, const uint32 *sizes)
{
	size_t n = 0;

	for (int l = 0; l < levels; l++)
		n += sizes[l];
	return n;
}

/* A copy of one column of a row found before; 0 when it is null, or the row gone. */
static Datum
TokenizerFetch(const TokenizerInfo *info, int column)
{
	Relation rel = table_open(SemtokRelationOid("tokenizer"), AccessShareLock);
	ScanKeyData key;
	HeapTuple tuple;
	bool isnull = true;
	Datum value = 0;

	ScanKeyInit(&key, COLUMN_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(info->id));
	SysScanDesc scan = systable_beginscan(rel, SemtokRelationOid("tokenizer_pkey"), true,
										  GetActiveSnapshot(), 1, &key);

	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		value = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);
	if (!isnull)
		value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return isnull ? 0 : value;
}

double *
TokenizerCounts(const TokenizerInfo *info)
{
	size_t n = TokenizerCodewords(info->levels, info->sizes);
	Datum value = TokenizerFetch(info, COLUMN_COUNTS);
	ArrayType *array = (ArrayType *) DatumGetPointer(value);
	double *counts;
	bool sound;

	if (!array)
		return NULL;
	counts = (double *) ARR_DATA_PTR(array);
	sound = ARR_ELEMTYPE(array) == FLOAT8OID && !ARR_HASNULL(array) &&
			(size_t) ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == n;
	for (size_t k = 0; k < n && sound; k++)
		sound = counts[k] >= 0 && !isinf(counts[k]);
	if (!sound)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("counts of tokenizer %d in semtok.tokenizer are damaged", info->id)));
	return counts;
}

bytea *
TokenizerState(const TokenizerInfo *info)
{
	return (bytea *) DatumGetPointer(TokenizerFetch(info, COLUMN_STATE));
}

Jsonb *
TokenizerOptions(const TokenizerInfo *info)
{
	Datum value = TokenizerFetch(info, COLUMN_OPTIONS);
	Jsonb *options = DatumGetPointer(value) ? DatumGetJsonbP(value) : NULL;

	if (!options || !JB_ROOT_IS_OBJECT(options))
		TokenizerDamaged(info->id);
	return options;
}

char *
TokenizerOptionsText(const TokenizerInfo *info)
{
	Datum value = TokenizerFetch(info, COLUMN_OPTIONS);
	Jsonb *options = DatumGetPointer(value) ? DatumGetJsonbP(value) : NULL;

	return options ? JsonbToCString(NULL, &options->root, VARSIZE(options)) : pstrdup("{}");
}

void
TokenizerRequireCodebook(const TokenizerInfo *info)
{
	if (info->registered)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("version %d of tokenizer \"%s\" has no codebook", info->version,
							   info->name),
						errdetail("It was registered for ids that come from elsewhere."),
						errhint("Train or import a version that has one, and activate it.")));
}

stk_metric
TokenizerRowMetric(const TokenizerInfo *info)
{
	const stk_codebook *cb = CodebookView(TokenizerCodebook(info, CurrentMemoryContext));

	return cb->network.inputs ? STK_L2 : info->metric;
}

CodebookEntry *
TokenizerCodebook(const TokenizerInfo *info, MemoryContext owner)
{
	CodebookEntry *entry;

	TokenizerRequireCodebook(info);
	entry = CodebookPinByHash(info->hash, owner);
	if (entry)
		return entry;

	Relation rel = table_open(SemtokRelationOid("tokenizer"), AccessShareLock);
	ScanKeyData key;

	ScanKeyInit(&key, COLUMN_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(info->id));
	SysScanDesc scan = systable_beginscan(rel, SemtokRelationOid("tokenizer_pkey"), true,
										  GetActiveSnapshot(), 1, &key);
	HeapTuple tuple = systable_getnext(scan);

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("tokenizer with id %d does not exist", info->id)));
	entry = CodebookPin(TokenizerColumn(tuple, rel, COLUMN_CODEBOOK), owner);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (memcmp(CodebookHash(entry), info->hash, CODEBOOK_HASH_LENGTH) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("codebook of tokenizer %d does not match its hash", info->id)));
	return entry;
}

TokenizerSite *
TokenizerSiteCreate(MemoryContext context)
{
	TokenizerSite *site = MemoryContextAllocZero(context, sizeof(*site));

	site->pin = AllocSetContextCreate(context, "semtok tokenizer", ALLOCSET_SMALL_SIZES);
	return site;
}

static TokenizerSite *
TokenizerSiteOf(FunctionCallInfo fcinfo)
{
	if (!fcinfo->flinfo->fn_extra)
		fcinfo->flinfo->fn_extra = TokenizerSiteCreate(fcinfo->flinfo->fn_mcxt);
	return fcinfo->flinfo->fn_extra;
}

/*
 * Make the site refer to info, found under the active snapshot, pinning the codebook unless it is
 * the one pinned already.
 */
static const TokenizerRef *
TokenizerSiteUse(TokenizerSite *site, const TokenizerInfo *info, bool by_name)
{
	if (!site->ref.codebook || memcmp(site->ref.info.hash, info->hash, CODEBOOK_HASH_LENGTH) != 0)
	{
		site->ref.codebook = NULL;
		MemoryContextReset(site->pin);
		site->ref.codebook = TokenizerCodebook(info, site->pin);
	}
	site->ref.info = *info;
	site->by_name = by_name;
	SeenTake(&site->seen, GetActiveSnapshot());
	return &site->ref;
}

static bool
TokenizerIsNamed(const TokenizerInfo *info, const text *name)
{
	size_t len = strlen(info->name);

	return VARSIZE_ANY_EXHDR(name) == len && memcmp(VARDATA_ANY(name), info->name, len) == 0;
}

const TokenizerRef *
TokenizerRefById(FunctionCallInfo fcinfo, int32 id)
{
	TokenizerSite *site = TokenizerSiteOf(fcinfo);
	TokenizerInfo info;

	if (site->ref.codebook && site->ref.info.id == id && SeenSame(&site->seen, GetActiveSnapshot()))
		return &site->ref;
	TokenizerGetById(id, &info);
	return TokenizerSiteUse(site, &info, false);
}

const TokenizerRef *
TokenizerSiteByName(TokenizerSite *site, const text *name)
{
	TokenizerInfo info;

	if (site->ref.codebook && site->by_name && TokenizerIsNamed(&site->ref.info, name) &&
		SeenSame(&site->seen, GetActiveSnapshot()))
		return &site->ref;
	if (!TokenizerFindActiveText(name, &info))
		TokenizerNameMissing(text_to_cstring(name));
	return TokenizerSiteUse(site, &info, true);
}

const TokenizerRef *
TokenizerRefByName(FunctionCallInfo fcinfo, const text *name)
{
	return TokenizerSiteByName(TokenizerSiteOf(fcinfo), name);
}
