/*
 * Which codes may follow prefixes, and how many items lie below each.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "decode/prefixes.h"
#include "types/bridge.h"
#include "types/semset.h"

PG_FUNCTION_INFO_V1(semtok_next_codes);
PG_FUNCTION_INFO_V1(semtok_next_codes_set);
PG_FUNCTION_INFO_V1(semtok_next_codes_batch);
PG_FUNCTION_INFO_V1(semtok_next_codes_batch_set);

/* A code that follows a prefix below one root. */
typedef struct NextCode
{
	uint32 prefix; /* number in its chunk */
	uint16 code;
	uint64 items;
} NextCode;

/* Where the answers go: a chunk's gathered, then its rows. */
typedef struct NextCodes
{
	ReturnSetInfo *rsinfo;
	bool batch; /* rows tell which prefix */
	MemoryContext context;
	NextCode *codes;
	Size n;
	Size room;
} NextCodes;

static void
begin_codes(void *ctx)
{
	NextCodes *next = ctx;

	tuplestore_clear(next->rsinfo->setResult);
	next->n = 0;
}

/* Gather the codes below a prefix in one root. */
static stk_status
add_codes(void *ctx, const PrefixChunk *chunk, size_t prefix, const stk_child *at,
		  const stk_child *children, size_t n, stk_error *err)
{
	NextCodes *next = ctx;

	if (next->n + n > next->room)
	{
		next->room = Max(next->n + n, 2 * next->room);
		if (next->codes)
			next->codes = repalloc_huge(next->codes, next->room * sizeof(NextCode));
		else
			next->codes = MemoryContextAllocHuge(next->context, next->room * sizeof(NextCode));
	}
	for (size_t i = 0; i < n; i++)
		next->codes[next->n++] = (NextCode){
			.prefix = (uint32) prefix, .code = children[i].code, .items = children[i].items};
	return STK_OK;
}

static int
compare_codes(const void *x, const void *y)
{
	const NextCode *a = x;
	const NextCode *b = y;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	return (int) a->code - (int) b->code;
}

/* Return a chunk's rows: a code's items summed over the roots. */
static void
emit_codes(void *ctx, const PrefixChunk *chunk)
{
	NextCodes *next = ctx;
	Size i = 0;

	qsort(next->codes, next->n, sizeof(NextCode), compare_codes);
	while (i < next->n)
	{
		const NextCode *first = &next->codes[i];
		uint64 items = 0;
		Datum values[3];
		bool nulls[3] = {0};

		for (; i < next->n && compare_codes(first, &next->codes[i]) == 0; i++)
			items += next->codes[i].items;
		values[0] = Int32GetDatum((int32) (chunk->first + first->prefix + 1));
		values[1] = Int32GetDatum(first->code);
		values[2] = Int64GetDatum((int64) items);
		tuplestore_putvalues(next->rsinfo->setResult, next->rsinfo->setDesc, values + !next->batch,
							 nulls);
	}
	next->n = 0;
}

/* A verb's second argument, prefix semid, as an array of it. */
static ArrayType *
array_of_prefix(FunctionCallInfo fcinfo)
{
	Datum value = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	bool isnull = PG_ARGISNULL(1);
	Oid type = SemtokTypeOid("semid");
	int dims[1] = {1};
	int lbs[1] = {1};
	int16 len;
	bool byval;
	char align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return construct_md_array(&value, &isnull, 1, dims, lbs, type, len, byval, align);
}

/* The verb (items, prefix semid), or with batch (items, prefixes semid[]). */
static Datum
next_codes(FunctionCallInfo fcinfo, const char *name, bool items, bool batch)
{
	NextCodes next = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo,
					  .batch = batch,
					  .context = CurrentMemoryContext};
	PrefixVerb verb = {
		.name = name, .ctx = &next, .begin = begin_codes, .found = add_codes, .done = emit_codes};
	int n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || (batch && PG_ARGISNULL(1)))
		PG_RETURN_NULL();
	verb.prefixes = batch ? PrefixesArg(fcinfo, 1, &n) : array_of_prefix(fcinfo);
	if (items)
		PrefixesOfItems(PG_GETARG_OID(0), &verb);
	else
		PrefixesOfSet(SemsetArg(fcinfo, 0), &verb);
	PG_RETURN_NULL();
}

Datum
semtok_next_codes(PG_FUNCTION_ARGS)
{
	return next_codes(fcinfo, "next_codes", true, false);
}

Datum
semtok_next_codes_set(PG_FUNCTION_ARGS)
{
	return next_codes(fcinfo, "next_codes_set", false, false);
}

Datum
semtok_next_codes_batch(PG_FUNCTION_ARGS)
{
	return next_codes(fcinfo, "next_codes_batch", true, true);
}

Datum
semtok_next_codes_batch_set(PG_FUNCTION_ARGS)
{
	return next_codes(fcinfo, "next_codes_batch_set", false, true);
}
