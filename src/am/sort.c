/*
 * Sorting (semid, TID) pairs within a memory budget, for builds and merges.
 *
 * A pair becomes a byte string whose memcmp order is the order wanted, so that the sort is one of
 * bytea, whose abbreviated keys (the first eight bytes) then hold most ids completely:
 *
 *    tokenizer   number of significant bytes (0 to 4), then those, big-endian; 5 alone: no id
 *    each code   c + 1, big-endian in 2 bytes; 65534 and 65535 are FFFF00 and FFFF01
 *    end         0000, so that a prefix comes before its extensions
 *    TID         block and offset, big-endian
 */
#include "am/semtrie.h"

#include "catalog/pg_collation_d.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "utils/tuplesort.h"

#include "compat.h"

#define NULL_MARK 5
#define TID_BYTES 6
#define MAX_KEY (5 + 3 * STK_MAX_LEVELS + 2 + TID_BYTES)

struct SemtrieSort
{
	Tuplesortstate *state;
};

SemtrieSort *
SemtrieSortStart(int work_mem)
{
	SemtrieSort *sort = palloc(sizeof(SemtrieSort));

	sort->state = tuplesort_begin_datum(BYTEAOID, ByteaLessOperator, InvalidOid, false, work_mem,
										NULL, TUPLESORT_NONE);
	return sort;
}

static uint8 *
encode_id(uint8 *p, const stk_semid *id)
{
	int bytes = 0;

	while (bytes < 4 && id->tokenizer >> (8 * bytes) != 0)
		bytes++;
	*p++ = (uint8) bytes;
	while (bytes-- > 0)
		*p++ = (uint8) (id->tokenizer >> (8 * bytes));
	for (int i = 0; i < id->levels; i++)
	{
		uint32 c = (uint32) id->codes[i] + 1;

		if (c >= 0xFFFF)
		{
			*p++ = 0xFF;
			*p++ = 0xFF;
			*p++ = (uint8) (c - 0xFFFF);
		}
		else
		{
			*p++ = (uint8) (c >> 8);
			*p++ = (uint8) c;
		}
	}
	*p++ = 0;
	*p++ = 0;
	return p;
}

void
SemtrieSortAdd(SemtrieSort *sort, const stk_semid *id, ItemPointer tid)
{
	union
	{
		struct varlena header;
		char bytes[VARHDRSZ + MAX_KEY];
	} key;
	uint8 *p = (uint8 *) key.bytes + VARHDRSZ;
	BlockNumber block = ItemPointerGetBlockNumber(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumber(tid);

	if (id)
		p = encode_id(p, id);
	else
		*p++ = NULL_MARK;
	*p++ = (uint8) (block >> 24);
	*p++ = (uint8) (block >> 16);
	*p++ = (uint8) (block >> 8);
	*p++ = (uint8) block;
	*p++ = (uint8) (offset >> 8);
	*p++ = (uint8) offset;
	SET_VARSIZE(&key.header, p - (uint8 *) key.bytes);
	tuplesort_putdatum(sort->state, PointerGetDatum(&key), false);
}

void
SemtrieSortPerform(SemtrieSort *sort)
{
	tuplesort_performsort(sort->state);
}

bool
SemtrieSortNext(SemtrieSort *sort, stk_semid *id, bool *is_null, ItemPointer tid)
{
	Datum datum;
	bool isnull;
	const uint8 *p;

	if (!SemtokTuplesortGetDatum(sort->state, &datum, &isnull))
		return false;
	p = (const uint8 *) VARDATA_ANY(DatumGetPointer(datum));
	*is_null = *p == NULL_MARK;
	if (*is_null)
		p++;
	else
	{
		int bytes = *p++;

		id->tokenizer = 0;
		while (bytes-- > 0)
			id->tokenizer = id->tokenizer << 8 | *p++;
		id->levels = 0;
		for (;;)
		{
			uint32 c = (uint32) p[0] << 8 | p[1];

			p += 2;
			if (c == 0)
				break;
			if (c == 0xFFFF)
				c += *p++;
			id->codes[id->levels++] = (uint16) (c - 1);
		}
	}
	ItemPointerSet(
		tid, (BlockNumber) p[0] << 24 | (BlockNumber) p[1] << 16 | (BlockNumber) p[2] << 8 | p[3],
		(OffsetNumber) (p[4] << 8 | p[5]));
	pfree(DatumGetPointer(datum));
	return true;
}

void
SemtrieSortEnd(SemtrieSort *sort)
{
	tuplesort_end(sort->state);
	pfree(sort);
}
