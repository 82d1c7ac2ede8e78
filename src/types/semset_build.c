/*
 * Making semsets: from text, from an array, by the aggregate.
 */
#include "postgres.h"

#include "types/semset.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "types/bridge.h"
#include "types/semid.h"

/* Interrupts are checked after this many ids. */
#define BUILD_STEP 4096

SemsetBuilder *
SemsetBuilderCreate(MemoryContext context)
{
	SemsetBuilder *builder = MemoryContextAllocZero(context, sizeof(SemsetBuilder));

	builder->context = context;
	return builder;
}

static void
BuilderReserve(SemsetBuilder *builder, Size more)
{
	Size needed = add_size(builder->bytes, more);
	Size capacity = Max(builder->capacity, 1024);

	if (needed <= builder->capacity)
		return;
	while (capacity < needed)
		capacity = mul_size(capacity, 2);
	builder->records = builder->records ? repalloc_huge(builder->records, capacity)
										: MemoryContextAllocHuge(builder->context, capacity);
	builder->capacity = capacity;
}

void
SemsetBuilderAdd(SemsetBuilder *builder, const uint8 *id, Size len)
{
	Assert(len <= STK_SEMID_MAX_BYTES);
	BuilderReserve(builder, 1 + len);
	builder->records[builder->bytes] = (uint8) len;
	memcpy(builder->records + builder->bytes + 1, id, len);
	builder->bytes += 1 + len;
	builder->n++;
}

static int
CompareRecords(const void *a, const void *b, void *arg)
{
	const uint8 *x = *(const uint8 *const *) a;
	const uint8 *y = *(const uint8 *const *) b;

	return stk_semid_bytes_cmp(x + 1, x[0], y + 1, y[0]);
}

struct varlena *
SemsetFromBytes(uint8 *bytes, Size len)
{
	if (len > MaxAllocSize)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a semset cannot be larger than %zu bytes, not %zu",
							   (Size) MaxAllocSize, (Size) len)));
	SET_VARSIZE(bytes, len);
	return (struct varlena *) bytes;
}

struct varlena *
SemsetBuilderFinish(const SemsetBuilder *builder)
{
	Size n = builder->n;
	const uint8 **ids = palloc_extended(mul_size(n, sizeof(uint8 *)), MCXT_ALLOC_HUGE);
	size_t *lens = palloc_extended(mul_size(n, sizeof(size_t)), MCXT_ALLOC_HUGE);
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	const uint8 *record = builder->records;
	uint8 *bytes;
	size_t len;
	stk_error err = {0};
	stk_status status;

	for (Size i = 0; i < n; i++)
	{
		ids[i] = record;
		record += 1 + record[0];
	}
	qsort_interruptible(ids, n, sizeof(uint8 *), CompareRecords, NULL);
	for (Size i = 0; i < n; i++)
	{
		lens[i] = ids[i][0];
		ids[i]++;
	}
	status = stk_semset_build(ids, lens, n, VARHDRSZ, &a, &SemtokMonitor, &bytes, &len, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not make semset");
	pfree(ids);
	pfree(lens);
	return SemsetFromBytes(bytes, len);
}

/* semset(semid[]): NULL elements are left out, as by the aggregate */
PG_FUNCTION_INFO_V1(semset_from_array);
Datum
semset_from_array(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	SemsetBuilder *builder = SemsetBuilderCreate(CurrentMemoryContext);
	ArrayIterator iterator = array_create_iterator(array, 0, NULL);
	Datum id;
	bool isnull;

	while (array_iterate(iterator, &id, &isnull))
	{
		if (builder->n % BUILD_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		if (!isnull)
		{
			struct varlena *v = DatumGetSemidPP(id);

			SemsetBuilderAdd(builder, SemidBytes(v), SemidLength(v));
		}
	}
	PG_RETURN_POINTER(SemsetBuilderFinish(builder));
}

static MemoryContext
AggContext(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "semset_agg called in non-aggregate context");
	return context;
}

/* Rows whose ids are all NULL make an empty set, no rows at all make NULL. */
PG_FUNCTION_INFO_V1(semset_agg_transition);
Datum
semset_agg_transition(PG_FUNCTION_ARGS)
{
	MemoryContext context = AggContext(fcinfo);
	SemsetBuilder *builder =
		PG_ARGISNULL(0) ? SemsetBuilderCreate(context) : (SemsetBuilder *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		struct varlena *v = PG_GETARG_SEMID_PP(1);

		SemsetBuilderAdd(builder, SemidBytes(v), SemidLength(v));
	}
	PG_RETURN_POINTER(builder);
}

PG_FUNCTION_INFO_V1(semset_agg_combine);
Datum
semset_agg_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = AggContext(fcinfo);
	SemsetBuilder *a = PG_ARGISNULL(0) ? NULL : (SemsetBuilder *) PG_GETARG_POINTER(0);
	SemsetBuilder *b = PG_ARGISNULL(1) ? NULL : (SemsetBuilder *) PG_GETARG_POINTER(1);

	if (b == NULL)
	{
		if (a == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(a);
	}
	if (a == NULL)
		a = SemsetBuilderCreate(context);
	BuilderReserve(a, b->bytes);
	if (b->bytes > 0)
		memcpy(a->records + a->bytes, b->records, b->bytes);
	a->bytes += b->bytes;
	a->n += b->n;
	PG_RETURN_POINTER(a);
}

PG_FUNCTION_INFO_V1(semset_agg_serialize);
Datum
semset_agg_serialize(PG_FUNCTION_ARGS)
{
	SemsetBuilder *builder = (SemsetBuilder *) PG_GETARG_POINTER(0);
	Size bytes = add_size(builder->bytes, VARHDRSZ);
	bytea *out;

	AggContext(fcinfo);
	if (!AllocSizeIsValid(bytes))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many ids for one parallel worker"),
						errhint("Set max_parallel_workers_per_gather to 0.")));
	out = palloc(bytes);
	SET_VARSIZE(out, bytes);
	if (builder->bytes > 0)
		memcpy(VARDATA(out), builder->records, builder->bytes);
	PG_RETURN_BYTEA_P(out);
}

PG_FUNCTION_INFO_V1(semset_agg_deserialize);
Datum
semset_agg_deserialize(PG_FUNCTION_ARGS)
{
	bytea *in = PG_GETARG_BYTEA_PP(0);
	SemsetBuilder *builder;

	AggContext(fcinfo);
	builder = SemsetBuilderCreate(CurrentMemoryContext);
	builder->bytes = VARSIZE_ANY_EXHDR(in);
	builder->capacity = builder->bytes;
	builder->records = palloc(builder->bytes);
	memcpy(builder->records, VARDATA_ANY(in), builder->bytes);
	for (Size at = 0; at < builder->bytes; at += 1 + builder->records[at])
		builder->n++;
	PG_RETURN_POINTER(builder);
}

PG_FUNCTION_INFO_V1(semset_agg_final);
Datum
semset_agg_final(PG_FUNCTION_ARGS)
{
	AggContext(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(SemsetBuilderFinish((SemsetBuilder *) PG_GETARG_POINTER(0)));
}
