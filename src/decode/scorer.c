#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "decode/scorer.h"
#include "types/bridge.h"
#include "types/semid.h"

#define TOKENIZER_SETTING "semtok.scorer_tokenizer="

/* What a scorer has said of a prefix. */
typedef struct Answer
{
	stk_semid prefix; /* the key: unused codes are 0 */
	uint32 size;
	const float *logits; /* [size] */
} Answer;

struct Scorer
{
	FmgrInfo function;
	char *name;
	uint32 tokenizer;
	Datum context;
	bool context_is_null;
	Oid semid;
	int16 semid_len;
	bool semid_by_value;
	char semid_align;
	MemoryContext call; /* of one call: its arguments and result */
	MemoryContext kept; /* answers */
	HTAB *answers;
	Size kept_bytes;
};

/* Refuse what no probability can come of. */
static void
check_values(const float *logits, size_t n, uint32 size, const char *what)
{
	for (size_t i = 0; i < n * size; i++)
	{
		if (unlikely(isnan(logits[i]) || (isinf(logits[i]) && logits[i] > 0)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must be finite or -infinity, not %s (prefix %zu, code %zu)", what,
							isnan(logits[i]) ? "NaN" : "infinity", i / size + 1, i % size)));
	}
}

const float *
LogitsRows(ArrayType *array, size_t n, const char *what, uint32 *size)
{
	int ndim = ARR_NDIM(array);
	size_t total = ArrayGetNItems(ndim, ARR_DIMS(array));
	const float *logits = (const float *) ARR_DATA_PTR(array);

	if (ndim > 2)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected %s in one or two dimensions, not %d", what, ndim)));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a value of %s must not be null", what)));
	if (ndim == 2 && (size_t) ARR_DIMS(array)[0] != n)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected as many rows of %s as prefixes: %zu, not %d", what, n,
							   ARR_DIMS(array)[0])));
	if (total % n != 0)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected as many %s for each of %zu prefixes, not %zu in all", what,
							   n, total)));
	if (total == 0 || total / n > STK_MAX_CODE + 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected %s for 1 to %d codes, not %zu", what, STK_MAX_CODE + 1,
							   total / n)));
	*size = total / n;
	check_values(logits, n, *size, what);
	return logits;
}

/* The tokenizer that the function's own settings declare. */
static uint32
read_tokenizer(HeapTuple proc)
{
	bool isnull;
	Datum config = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_proconfig, &isnull);
	int tokenizer = 0;
	Datum *settings;
	int n;

	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL,
					  &n);
	for (int i = 0; i < n; i++)
	{
		char *setting = TextDatumGetCString(settings[i]);

		/* Set where the library was not loaded, it has not been checked. */
		if (pg_strncasecmp(setting, TOKENIZER_SETTING, strlen(TOKENIZER_SETTING)) == 0 &&
			(!parse_int(setting + strlen(TOKENIZER_SETTING), &tokenizer, 0, NULL) || tokenizer < 0))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected the id of a tokenizer in \"%s\"", setting)));
	}
	return (uint32) tokenizer;
}

/* Is it a function (jsonb, semid[], int) that returns real[], once? */
static bool
can_score(Form_pg_proc proc)
{
	return proc->prokind == PROKIND_FUNCTION && !proc->proretset && proc->pronargs == 3 &&
		   proc->proargtypes.values[0] == JSONBOID &&
		   proc->proargtypes.values[1] == get_array_type(SemtokTypeOid("semid")) &&
		   proc->proargtypes.values[2] == INT4OID && proc->prorettype == FLOAT4ARRAYOID;
}

/* Check the function and fill what its catalog row says. */
static void
read_function(Scorer *scorer, Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function with OID %u does not exist", function)));
	scorer->name = format_procedure(function);
	if (!can_score((Form_pg_proc) GETSTRUCT(tuple)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("%s cannot be a scorer", scorer->name),
				 errdetail("Expected a function (context jsonb, prefixes semid[], level "
						   "integer) that returns real[].")));
	if (!SemtokMayExecute(function))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION,
					   NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname));
	scorer->tokenizer = read_tokenizer(tuple);
	ReleaseSysCache(tuple);
	InvokeFunctionExecuteHook(function);
}

Scorer *
ScorerOpen(Oid function, Datum context, bool context_is_null)
{
	Scorer *scorer = palloc0(sizeof(Scorer));
	HASHCTL control = {.keysize = sizeof(stk_semid), .entrysize = sizeof(Answer)};

	read_function(scorer, function);
	fmgr_info(function, &scorer->function);
	scorer->context = context;
	scorer->context_is_null = context_is_null;
	scorer->semid = SemtokTypeOid("semid");
	get_typlenbyvalalign(scorer->semid, &scorer->semid_len, &scorer->semid_by_value,
						 &scorer->semid_align);
	scorer->call =
		AllocSetContextCreate(CurrentMemoryContext, "semtok scorer call", ALLOCSET_DEFAULT_SIZES);
	scorer->kept = AllocSetContextCreate(CurrentMemoryContext, "semtok scorer answers",
										 ALLOCSET_DEFAULT_SIZES);
	control.hcxt = scorer->kept;
	scorer->answers =
		hash_create("semtok scorer answers", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return scorer;
}

const char *
ScorerName(const Scorer *scorer)
{
	return scorer->name;
}

uint32
ScorerTokenizer(const Scorer *scorer)
{
	return scorer->tokenizer;
}

/* An id as a key: the same bytes for the same prefix. */
static stk_semid
key_of(const stk_semid *id)
{
	stk_semid key;

	memset(&key, 0, sizeof(key));
	key.tokenizer = id->tokenizer;
	key.levels = id->levels;
	memcpy(key.codes, id->codes, id->levels * sizeof(uint16));
	return key;
}

/* The prefixes as a semid[]; the empty one is a null. */
static Datum
prefixes_datum(Scorer *scorer, const stk_beam *const *prefixes, size_t n)
{
	Datum *ids = MemoryContextAllocHuge(scorer->call, mul_size(n, sizeof(Datum)));
	bool *nulls = palloc0(n);
	int dims[1] = {n};
	int bounds[1] = {1};

	for (size_t i = 0; i < n; i++)
	{
		nulls[i] = prefixes[i]->id.levels == 0;
		ids[i] = nulls[i] ? (Datum) 0 : SemidMakeDatum(&prefixes[i]->id);
	}
	return PointerGetDatum(construct_md_array(ids, nulls, 1, dims, bounds, scorer->semid,
											  scorer->semid_len, scorer->semid_by_value,
											  scorer->semid_align));
}

/* Call the function; in the context of calls, where the logits lie. */
static const float *
ask(Scorer *scorer, const stk_beam *const *prefixes, size_t n, int level, uint32 *size)
{
	LOCAL_FCINFO(fcinfo, 3);
	PgStat_FunctionCallUsage usage;
	char *what = psprintf("logits of scorer %s", scorer->name);
	Datum result;

	check_stack_depth(); /* a scorer may search by a scorer */
	InitFunctionCallInfoData(*fcinfo, &scorer->function, 3, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = scorer->context;
	fcinfo->args[0].isnull = scorer->context_is_null;
	fcinfo->args[1].value = prefixes_datum(scorer, prefixes, n);
	fcinfo->args[1].isnull = false;
	fcinfo->args[2].value = Int32GetDatum(level);
	fcinfo->args[2].isnull = false;
	if (scorer->function.fn_strict && scorer->context_is_null)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("scorer %s is strict: expected a context", scorer->name)));
	pgstat_init_function_usage(fcinfo, &usage);
	result = FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, true);
	if (fcinfo->isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", what)));
	return LogitsRows(DatumGetArrayTypeP(result), n, what, size);
}

/* Keep an answer, where there is room. */
static void
keep(Scorer *scorer, const stk_semid *prefix, const float *logits, uint32 size)
{
	stk_semid key = key_of(prefix);
	Size bytes = size * sizeof(float);
	Answer *answer;
	float *copy;

	if (scorer->kept_bytes + bytes + sizeof(Answer) > (Size) work_mem * 1024)
		return;
	copy = MemoryContextAlloc(scorer->kept, bytes);
	memcpy(copy, logits, bytes);
	answer = hash_search(scorer->answers, &key, HASH_ENTER, NULL);
	answer->size = size;
	answer->logits = copy;
	scorer->kept_bytes += bytes + sizeof(Answer);
}

/* Put answers of different sizes into rows of one; codes that one says nothing of cannot be. */
static const float *
gather(Answer *const *answers, size_t n, const float *asked, uint32 asked_size, uint32 *size)
{
	float *rows;

	*size = asked_size;
	for (size_t i = 0; i < n; i++)
		if (answers[i] != NULL && answers[i]->size > *size)
			*size = answers[i]->size;
	rows = palloc_extended(mul_size(mul_size(n, *size), sizeof(float)), MCXT_ALLOC_HUGE);
	for (size_t i = 0; i < n; i++)
	{
		const float *logits = answers[i] ? answers[i]->logits : asked;
		uint32 given = answers[i] ? answers[i]->size : asked_size;

		memcpy(rows + i * *size, logits, given * sizeof(float));
		for (uint32 code = given; code < *size; code++)
			rows[i * *size + code] = -INFINITY;
		if (answers[i] == NULL)
			asked += asked_size;
	}
	return rows;
}

const float *
ScorerLogits(Scorer *scorer, const stk_beam *prefixes, size_t n, int level, uint32 *size)
{
	MemoryContext old;
	const stk_beam **wanted;
	const float *logits = NULL;
	Answer **answers;
	uint32 asked_size = 0;
	size_t asked = 0;

	MemoryContextReset(scorer->call);
	old = MemoryContextSwitchTo(scorer->call);
	wanted = palloc_extended(mul_size(n, sizeof(*wanted)), MCXT_ALLOC_HUGE);
	answers = palloc_extended(mul_size(n, sizeof(*answers)), MCXT_ALLOC_HUGE);
	for (size_t i = 0; i < n; i++)
	{
		stk_semid key = key_of(&prefixes[i].id);

		answers[i] = hash_search(scorer->answers, &key, HASH_FIND, NULL);
		if (answers[i] == NULL)
			wanted[asked++] = &prefixes[i];
	}
	if (asked > 0)
		logits = ask(scorer, wanted, asked, level, &asked_size);
	for (size_t i = 0; i < asked; i++)
		keep(scorer, &wanted[i]->id, logits + i * asked_size, asked_size);
	if (asked < n)
		logits = gather(answers, n, logits, asked_size, size);
	else
		*size = asked_size;
	MemoryContextSwitchTo(old);
	return logits;
}
