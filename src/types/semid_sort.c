/*
 * semid: sort support. A sort first compares the beginnings of ids as numbers, which decides
 * nearly all comparisons of ids of two or three levels.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/hyperloglog.h"
#include "utils/sortsupport.h"

#include "types/semid.h"

/* From so many rows on the sort asks for a judgement of its abbreviated keys. */
#define ROWS_TO_JUDGE 10000
/* Keys are worth their cost with one distinct key in so many rows; past this many, for good. */
#define ROWS_PER_KEY 2000.0
#define ENOUGH_KEYS 100000.0
/* 2^10 registers: a standard error of 3 %. */
#define REGISTER_BITS 10

/* How many distinct abbreviated keys there are. */
typedef struct KeyCount
{
	int64 rows;
	bool counting;
	hyperLogLogState keys;
} KeyCount;

static int
SemidSortCompare(Datum a, Datum b, SortSupport ssup)
{
	return SemidCompare(a, b);
}

static Datum
SemidAbbreviate(Datum original, SortSupport ssup)
{
	KeyCount *count = ssup->ssup_extra;
	struct varlena *v = DatumGetSemidPP(original);
	uint64 key = stk_semid_bytes_abbreviate(SemidBytes(v), SemidLength(v));

	if ((Pointer) v != DatumGetPointer(original))
		pfree(v);
	count->rows++;
	if (count->counting)
		addHyperLogLog(&count->keys,
					   DatumGetUInt32(hash_uint32((uint32) key ^ (uint32) (key >> 32))));
	return UInt64GetDatum(key);
}

/* Give the abbreviated keys up? Deep ids under one prefix would nearly all tie. */
static bool
SemidAbbreviateAbort(int memtupcount, SortSupport ssup)
{
	KeyCount *count = ssup->ssup_extra;
	double keys;

	if (memtupcount < ROWS_TO_JUDGE || count->rows < ROWS_TO_JUDGE || !count->counting)
		return false;
	keys = estimateHyperLogLog(&count->keys);
	if (keys > ENOUGH_KEYS)
		count->counting = false;
	return keys < count->rows / ROWS_PER_KEY;
}

PG_FUNCTION_INFO_V1(semid_sortsupport);
Datum
semid_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = SemidSortCompare;
	/* a key needs all 64 bits; compared as a number it sorts alike on every machine */
	if (ssup->abbreviate && sizeof(Datum) == sizeof(uint64))
	{
		MemoryContext old = MemoryContextSwitchTo(ssup->ssup_cxt);
		KeyCount *count = palloc0(sizeof(KeyCount));

		count->counting = true;
		initHyperLogLog(&count->keys, REGISTER_BITS);
		MemoryContextSwitchTo(old);
		ssup->ssup_extra = count;
		ssup->comparator = ssup_datum_unsigned_cmp;
		ssup->abbrev_converter = SemidAbbreviate;
		ssup->abbrev_abort = SemidAbbreviateAbort;
		ssup->abbrev_full_comparator = SemidSortCompare;
	}
	PG_RETURN_VOID();
}
