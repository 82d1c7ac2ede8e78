/*
 * The children in a FAMILY record of a run, one after the other. Inline: most of what reading an
 * index costs a search is here.
 */
#ifndef SEMTOK_SEMTRIE_FAMILY_H
#define SEMTOK_SEMTRIE_FAMILY_H

#include "am/semtrie.h"

typedef struct SemtrieRunChild
{
	uint16 code;
	uint8 type;
	uint8 tail_len;
	const char *tail; /* u16[tail_len], unaligned, in the record */
	ItemPointerData tid;
	uint32 tid_at;      /* where the record holds tid */
	SemtrieRef posting; /* LIST */
	uint32 count;       /* TIDs of the id */
	SemtrieRef family;  /* INNER */
	uint32 items;       /* at and below */
} SemtrieRunChild;

/* A cursor over one record's children. */
typedef struct SemtrieFamilyCursor
{
	const char *record;
	SemtrieRecord header;
	const char *types;   /* NULL when all are alike */
	const char *payload; /* of the next child */
	int i;
} SemtrieFamilyCursor;

/* record: checked by SemtrieRecordIsSane. */
static inline void
SemtrieFamilyCursorInit(SemtrieFamilyCursor *cursor, const char *record)
{
	const char *after_codes;

	cursor->record = record;
	memcpy(&cursor->header, record, sizeof(cursor->header));
	after_codes = record + sizeof(cursor->header) + cursor->header.count * sizeof(uint16);
	cursor->types = cursor->header.type == SEMTRIE_MIXED ? after_codes : NULL;
	cursor->payload = cursor->types ? after_codes + cursor->header.count : after_codes;
	cursor->i = 0;
}

/* Types that a child can have. */
static inline bool
SemtrieTypeIsPossible(uint8 type)
{
	switch (type)
	{
		case SEMTRIE_INNER:
		case SEMTRIE_ID:
		case SEMTRIE_ID | SEMTRIE_LIST:
		case SEMTRIE_INNER | SEMTRIE_ID:
		case SEMTRIE_INNER | SEMTRIE_ID | SEMTRIE_LIST:
		case SEMTRIE_TAIL:
		case SEMTRIE_TAIL | SEMTRIE_LIST:
			return true;
		default:
			return false;
	}
}

/* False at the end. A family that contradicts itself sets *corrupt and ends. */
static inline bool
SemtrieFamilyCursorNext(SemtrieFamilyCursor *cursor, SemtrieRunChild *child, bool *corrupt)
{
	const char *end = cursor->record + cursor->header.bytes;
	const char *p = cursor->payload;
	size_t need;

	if (cursor->i >= cursor->header.count)
		return false;
	memset(child, 0, sizeof(*child));
	memcpy(&child->code, cursor->record + sizeof(cursor->header) + cursor->i * sizeof(uint16),
		   sizeof(uint16));
	child->type = cursor->types ? (uint8) cursor->types[cursor->i] : cursor->header.type;
	*corrupt = true;
	if (!SemtrieTypeIsPossible(child->type) || p >= end)
		return false;

	if (child->type & SEMTRIE_TAIL)
	{
		child->tail_len = cursor->header.tail_len ? cursor->header.tail_len : (uint8) *p++;
		child->tail = p;
		if (child->tail_len == 0 || child->tail_len >= STK_MAX_LEVELS)
			return false;
	}
	need = child->tail_len * sizeof(uint16);
	if (child->type & (SEMTRIE_ID | SEMTRIE_TAIL))
		need += child->type & SEMTRIE_LIST ? SEMTRIE_LIST_BYTES : sizeof(ItemPointerData);
	if (child->type & SEMTRIE_INNER)
		need += SEMTRIE_INNER_BYTES;
	if (p + need > end)
		return false;

	p += child->tail_len * sizeof(uint16);
	if (child->type & SEMTRIE_LIST)
	{
		memcpy(&child->count, p, sizeof(uint32));
		child->posting = SemtrieReadRef(p + sizeof(uint32));
		p += SEMTRIE_LIST_BYTES;
	}
	else if (child->type & (SEMTRIE_ID | SEMTRIE_TAIL))
	{
		memcpy(&child->tid, p, sizeof(ItemPointerData));
		child->tid_at = (uint32) (p - cursor->record);
		child->count = 1;
		p += sizeof(ItemPointerData);
	}
	child->items = child->count;
	if (child->type & SEMTRIE_INNER)
	{
		child->family = SemtrieReadRef(p);
		memcpy(&child->items, p + SEMTRIE_REF_BYTES, sizeof(uint32));
		p += SEMTRIE_INNER_BYTES;
	}
	cursor->payload = p;
	cursor->i++;
	*corrupt = false;
	return true;
}

/* The child with this code, if it is not behind the cursor, which then stands after it (run.c). */
extern bool SemtrieFamilyCursorFind(SemtrieFamilyCursor *cursor, uint16 code,
									SemtrieRunChild *child, bool *corrupt);

#endif
