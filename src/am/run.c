/*
 * Reading a run: pages through the map, records, children, and the whole run in order.
 */
#include "am/family.h"
#include "am/semtrie.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

SemtrieMap *
SemtrieMapMake(MemoryContext parent, const SemtrieDirectoryEntry *entries, size_t n, uint64 kind)
{
	MemoryContext context = AllocSetContextCreate(parent, "semtrie map", ALLOCSET_SMALL_SIZES);
	SemtrieMap *map = MemoryContextAllocZero(context, sizeof(SemtrieMap));

	map->context = context;
	map->refs = 1;
	map->extents = MemoryContextAllocHuge(context, mul_size(n + 1, sizeof(SemtrieExtent)));
	map->first = MemoryContextAllocHuge(context, mul_size(n + 1, sizeof(BlockNumber)));
	for (size_t i = 0; i < n; i++)
	{
		if (entries[i].retired != kind)
			continue;
		map->extents[map->n] = entries[i].extent;
		map->first[map->n] = map->pages;
		map->pages += entries[i].extent.count;
		map->n++;
	}
	return map;
}

/* Block of a logical page; InvalidBlockNumber past the end. */
BlockNumber
SemtrieMapBlock(const SemtrieMap *map, BlockNumber page)
{
	size_t lo = 0, hi = map->n;

	if (page >= map->pages)
		return InvalidBlockNumber;
	while (hi - lo > 1)
	{
		size_t middle = lo + (hi - lo) / 2;

		if (map->first[middle] <= page)
			lo = middle;
		else
			hi = middle;
	}
	return map->extents[lo].start + (page - map->first[lo]);
}

stk_status
SemtrieRunReadPage(const SemtrieRunView *view, BlockNumber page, char *copy)
{
	BlockNumber block = SemtrieMapBlock(view->map, page);

	CHECK_FOR_INTERRUPTS();
	if (block == InvalidBlockNumber)
		SemtrieReportCorrupt(view->index, SEMTRIE_META_BLOCK, "reference past the run's end");
	SemtrieCopyPage(view->index, block, view->strategy, copy);
	if (!SemtriePageIs(copy, SEMTRIE_PAGE_RUN, view->run_id, page))
		return STK_ERETRY;
	return STK_OK;
}

bool
SemtrieRecordIsSane(const char *record, size_t room)
{
	SemtrieRecord header;
	size_t least;

	if (room < sizeof(header))
		return false;
	memcpy(&header, record, sizeof(header));
	if (header.bytes < sizeof(header) || header.bytes > room || header.count == 0 ||
		(header.flags & ~SEMTRIE_CONTINUED) != 0)
		return false;
	switch (header.kind)
	{
		case SEMTRIE_RECORD_FAMILY:
			least = sizeof(uint16) + SEMTRIE_REF_BYTES;
			return sizeof(header) + header.count * least <= header.bytes;
		case SEMTRIE_RECORD_POSTING:
			return sizeof(header) + header.count * sizeof(ItemPointerData) == header.bytes;
		case SEMTRIE_RECORD_ROOTS:
			return sizeof(header) + header.count * SEMTRIE_ROOT_BYTES == header.bytes;
		default:
			return false;
	}
}

stk_status
SemtrieRunReadRecord(const SemtrieRunView *view, SemtrieRef ref, uint8 kind, char *buffer)
{
	BlockNumber page = SemtrieRefPage(ref);
	BlockNumber block = SemtrieMapBlock(view->map, page);
	uint32 offset = SemtrieRefOffset(ref);
	bool expected, sane = false;
	Buffer buf;
	Page p;

	CHECK_FOR_INTERRUPTS();
	if (block == InvalidBlockNumber)
		SemtrieReportCorrupt(view->index, SEMTRIE_META_BLOCK, "reference past the run's end");
	buf = ReadBufferExtended(view->index, MAIN_FORKNUM, block, RBM_NORMAL, view->strategy);
	LockBuffer(buf, BUFFER_LOCK_SHARE);
	p = BufferGetPage(buf);
	expected = SemtriePageIs(p, SEMTRIE_PAGE_RUN, view->run_id, page);
	if (expected)
	{
		uint32 end = ((PageHeader) p)->pd_lower;

		sane = offset >= SEMTRIE_PAGE_BEGIN && offset < end &&
			   SemtrieRecordIsSane((char *) p + offset, end - offset) &&
			   ((char *) p)[offset] == kind;
		if (sane)
		{
			SemtrieRecord header;

			memcpy(&header, (char *) p + offset, sizeof(header));
			memcpy(buffer, (char *) p + offset, header.bytes);
		}
	}
	UnlockReleaseBuffer(buf);
	if (!expected)
		return STK_ERETRY;
	if (!sane)
		SemtrieReportCorrupt(view->index, block, "reference to no such record");
	return STK_OK;
}

SemtrieRef
SemtrieRunContinuation(SemtrieRef ref)
{
	return SemtrieMakeRef((uint64) SemtrieRefPage(ref) + 1, SEMTRIE_PAGE_BEGIN);
}

/* Bytes of every child's payload; 0 where they differ. */
static size_t
payload_bytes(const SemtrieFamilyCursor *cursor)
{
	uint8 type = cursor->header.type;
	size_t bytes = 0;

	if (cursor->types || (type & SEMTRIE_TAIL && cursor->header.tail_len == 0))
		return 0;
	if (type & SEMTRIE_TAIL)
		bytes += cursor->header.tail_len * sizeof(uint16);
	if (type & (SEMTRIE_ID | SEMTRIE_TAIL))
		bytes += type & SEMTRIE_LIST ? SEMTRIE_LIST_BYTES : sizeof(ItemPointerData);
	if (type & SEMTRIE_INNER)
		bytes += SEMTRIE_INNER_BYTES;
	return bytes;
}

/* The code of a record's child. */
static uint16
code_at(const SemtrieFamilyCursor *cursor, int i)
{
	uint16 code;

	memcpy(&code, cursor->record + sizeof(cursor->header) + i * sizeof(uint16), sizeof(code));
	return code;
}

bool
SemtrieFamilyCursorFind(SemtrieFamilyCursor *cursor, uint16 code, SemtrieRunChild *child,
						bool *corrupt)
{
	size_t bytes = payload_bytes(cursor);
	int from = cursor->i;
	int to = cursor->header.count;

	*corrupt = false;
	while (from < to)
	{
		int middle = from + (to - from) / 2;

		if (code_at(cursor, middle) < code)
			from = middle + 1;
		else
			to = middle;
	}
	if (from == cursor->header.count || code_at(cursor, from) != code)
		return false;
	if (bytes > 0)
	{
		cursor->payload += (from - cursor->i) * bytes;
		cursor->i = from;
	}
	while (SemtrieFamilyCursorNext(cursor, child, corrupt))
		if (child->code == code)
			return true;
	return false;
}

/* False when the page's records contradict themselves. */
bool
SemtrieRunPageTids(const char *page, SemtrieTidCallback callback, void *state)
{
	uint32 end = ((const PageHeaderData *) page)->pd_lower;
	uint32 offset = SEMTRIE_PAGE_BEGIN;

	while (offset < end)
	{
		const char *record = page + offset;
		SemtrieRecord header;

		if (!SemtrieRecordIsSane(record, end - offset))
			return false;
		memcpy(&header, record, sizeof(header));
		if (header.kind == SEMTRIE_RECORD_POSTING)
		{
			for (uint32 at = sizeof(header); at < header.bytes; at += sizeof(ItemPointerData))
			{
				ItemPointerData tid;

				memcpy(&tid, record + at, sizeof(tid));
				callback(offset + at, &tid, state);
			}
		}
		else if (header.kind == SEMTRIE_RECORD_FAMILY)
		{
			SemtrieFamilyCursor cursor;
			SemtrieRunChild child;
			bool corrupt = false;

			SemtrieFamilyCursorInit(&cursor, record);
			while (SemtrieFamilyCursorNext(&cursor, &child, &corrupt))
				if (child.tid_at != 0)
					callback(offset + child.tid_at, &child.tid, state);
			if (corrupt)
				return false;
		}
		offset += header.bytes;
	}
	return true;
}

/* One level of the path that the iterator is on. */
typedef struct IteratorFrame
{
	PGAlignedBlock record;
	SemtrieFamilyCursor cursor;
	SemtrieRef ref;           /* of the record */
	SemtrieRef pending_inner; /* family of the child whose own rows came first */
} IteratorFrame;

struct SemtrieRunIterator
{
	const SemtrieRunView *view;
	SemtrieRef nulls;

	/* roots, then the families of the path */
	char *roots;
	SemtrieRecord roots_header;
	SemtrieRef roots_ref;
	int root;
	IteratorFrame *frames[STK_MAX_LEVELS];
	int depth; /* frames in use */

	/* rows of the current id */
	stk_semid id;
	bool is_null;
	ItemPointerData single;
	bool has_single;
	char *posting;
	SemtrieRecord posting_header;
	SemtrieRef posting_ref;
	int posting_at; /* next TID of the posting's record */
};

SemtrieRunIterator *
SemtrieRunIterate(const SemtrieRunView *view, const SemtrieRun *run)
{
	SemtrieRunIterator *it = palloc0(sizeof(SemtrieRunIterator));

	it->view = view;
	it->nulls = run->nulls;
	it->roots = palloc(BLCKSZ);
	it->roots_ref = run->roots;
	it->posting = palloc(BLCKSZ);
	return it;
}

/* Nothing recycles a run's pages while its iterator holds the maintenance lock. */
static void
read_record(SemtrieRunIterator *it, SemtrieRef ref, uint8 kind, char *buffer, SemtrieRecord *header)
{
	if (SemtrieRunReadRecord(it->view, ref, kind, buffer) != STK_OK)
		SemtrieReportCorrupt(it->view->index, SemtrieMapBlock(it->view->map, SemtrieRefPage(ref)),
							 "page of another run");
	memcpy(header, buffer, sizeof(*header));
}

static void
enter_family(SemtrieRunIterator *it, SemtrieRef ref)
{
	IteratorFrame *frame;
	SemtrieRecord header;

	if (it->depth == STK_MAX_LEVELS)
		SemtrieReportCorrupt(it->view->index, SemtrieMapBlock(it->view->map, SemtrieRefPage(ref)),
							 "trie deeper than an id can be");
	if (it->frames[it->depth] == NULL)
		it->frames[it->depth] = palloc(sizeof(IteratorFrame));
	frame = it->frames[it->depth++];
	read_record(it, ref, SEMTRIE_RECORD_FAMILY, frame->record.data, &header);
	frame->ref = ref;
	frame->pending_inner = SEMTRIE_NO_REF;
	SemtrieFamilyCursorInit(&frame->cursor, frame->record.data);
}

/* Enter the next tokenizer's root; false at the end. */
static bool
next_root(SemtrieRunIterator *it)
{
	const char *entry;

	if (it->roots_ref == SEMTRIE_NO_REF)
		return false;
	if (it->root == 0)
		read_record(it, it->roots_ref, SEMTRIE_RECORD_ROOTS, it->roots, &it->roots_header);
	if (it->root == it->roots_header.count)
	{
		it->root = 0;
		it->roots_ref = it->roots_header.flags & SEMTRIE_CONTINUED
							? SemtrieRunContinuation(it->roots_ref)
							: SEMTRIE_NO_REF;
		return next_root(it);
	}
	entry = it->roots + sizeof(SemtrieRecord) + it->root++ * SEMTRIE_ROOT_BYTES;
	memcpy(&it->id.tokenizer, entry, sizeof(uint32));
	enter_family(it, SemtrieReadRef(entry + sizeof(uint32)));
	return true;
}

/* Next TID of the current id's posting; false at its end. */
static bool
next_of_posting(SemtrieRunIterator *it, ItemPointer tid)
{
	if (it->has_single)
	{
		it->has_single = false;
		*tid = it->single;
		return true;
	}
	while (it->posting_ref != SEMTRIE_NO_REF)
	{
		if (it->posting_at == 0)
			read_record(it, it->posting_ref, SEMTRIE_RECORD_POSTING, it->posting,
						&it->posting_header);
		if (it->posting_at < it->posting_header.count)
		{
			memcpy(tid,
				   it->posting + sizeof(SemtrieRecord) + it->posting_at++ * sizeof(ItemPointerData),
				   sizeof(*tid));
			return true;
		}
		it->posting_at = 0;
		it->posting_ref = it->posting_header.flags & SEMTRIE_CONTINUED
							  ? SemtrieRunContinuation(it->posting_ref)
							  : SEMTRIE_NO_REF;
	}
	return false;
}

/* Go to the next id with a posting; false after the last row. */
static bool
next_posting(SemtrieRunIterator *it)
{
	for (;;)
	{
		IteratorFrame *frame;
		SemtrieRunChild child;
		bool corrupt = false;

		if (it->depth == 0)
		{
			if (next_root(it))
				continue;
			if (it->is_null || it->nulls == SEMTRIE_NO_REF)
				return false;
			it->is_null = true;
			it->posting_ref = it->nulls;
			return true;
		}
		frame = it->frames[it->depth - 1];
		if (frame->pending_inner != SEMTRIE_NO_REF)
		{
			SemtrieRef ref = frame->pending_inner;

			frame->pending_inner = SEMTRIE_NO_REF;
			enter_family(it, ref);
			continue;
		}
		if (!SemtrieFamilyCursorNext(&frame->cursor, &child, &corrupt))
		{
			SemtrieRef ref = frame->ref;

			if (corrupt)
				SemtrieReportCorrupt(it->view->index,
									 SemtrieMapBlock(it->view->map, SemtrieRefPage(ref)),
									 "family that contradicts itself");
			it->depth--;
			if (frame->cursor.header.flags & SEMTRIE_CONTINUED)
				enter_family(it, SemtrieRunContinuation(ref));
			continue;
		}
		it->id.codes[it->depth - 1] = child.code;
		if (child.type & SEMTRIE_INNER)
			frame->pending_inner = child.family;
		if (child.count == 0)
			continue;
		it->id.levels = it->depth + child.tail_len;
		if (it->id.levels > STK_MAX_LEVELS)
			SemtrieReportCorrupt(it->view->index,
								 SemtrieMapBlock(it->view->map, SemtrieRefPage(frame->ref)),
								 "id with too many levels");
		if (child.tail_len > 0)
			memcpy(it->id.codes + it->depth, child.tail, child.tail_len * sizeof(uint16));
		it->has_single = child.posting == SEMTRIE_NO_REF;
		it->single = child.tid;
		it->posting_ref = child.posting;
		return true;
	}
}

bool
SemtrieRunIteratorNext(SemtrieRunIterator *it, stk_semid *id, bool *is_null, ItemPointer tid)
{
	for (;;)
	{
		while (next_of_posting(it, tid))
		{
			if (SemtrieTidIsRemoved(tid))
				continue;
			*is_null = it->is_null;
			if (!it->is_null)
				*id = it->id;
			return true;
		}
		if (!next_posting(it))
			return false;
	}
}
