/*
 * The delta: pages to which inserts append.
 *
 * Entries never move, and bulk delete marks them in place, so that a reader can go on where it
 * stopped. The tail is the only page without a next one; a page with one never gets an entry
 * again.
 */
#include "am/semtrie.h"

#include "access/generic_xlog.h"
#include "miscadmin.h"

bool
SemtrieDeltaNext(const char *page, uint32 *offset, SemtrieDeltaEntry *entry, const uint8 **bytes,
				 bool *corrupt)
{
	uint32 end = ((const PageHeaderData *) page)->pd_lower;

	if (*offset >= end)
		return false;
	*corrupt = true;
	if (end - *offset < sizeof(*entry))
		return false;
	memcpy(entry, page + *offset, sizeof(*entry));
	if ((entry->flags & ~SEMTRIE_DELTA_DEAD) != 0 ||
		entry->length > end - *offset - sizeof(*entry) ||
		(entry->length > 0 && (entry->length < STK_SEMID_HEADER + 2 ||
							   entry->length > STK_SEMID_MAX_BYTES || entry->length % 2 != 0)))
		return false;
	*bytes = (const uint8 *) page + *offset + sizeof(*entry);
	*offset += sizeof(*entry) + entry->length;
	*corrupt = false;
	return true;
}

bool
SemtrieDeltaHasEntries(Relation index, const SemtrieMeta *meta)
{
	PGAlignedBlock page;

	if (meta->tail == InvalidBlockNumber)
		return false;
	if (meta->head_seq != meta->tail_seq)
		return true;
	SemtrieCopyPage(index, meta->tail, NULL, page.data);
	return ((PageHeader) page.data)->pd_lower > SEMTRIE_DELTA_BEGIN;
}

int
SemtrieDeltaCompare(const SemtrieDeltaItem *a, const SemtrieDeltaItem *b)
{
	int n = Min(a->levels, b->levels);

	/* rows without id first */
	if (n == 0 && a->levels != b->levels)
		return a->levels == 0 ? -1 : 1;
	if (a->tokenizer != b->tokenizer)
		return a->tokenizer < b->tokenizer ? -1 : 1;
	for (int i = 0; i < n; i++)
		if (a->codes[i] != b->codes[i])
			return a->codes[i] < b->codes[i] ? -1 : 1;
	if (a->levels != b->levels)
		return a->levels < b->levels ? -1 : 1;
	return ItemPointerCompare((ItemPointer) &a->tid, (ItemPointer) &b->tid);
}

static void
delta_page_init(Page page, uint64 seq)
{
	SemtrieDeltaHeader *header = (SemtrieDeltaHeader *) ((char *) page + SEMTRIE_PAGE_BEGIN);

	SemtriePageInit(page, SEMTRIE_PAGE_DELTA, seq, 0);
	header->next = InvalidBlockNumber;
	header->reserved = 0;
	((PageHeader) page)->pd_lower = SEMTRIE_DELTA_BEGIN;
}

static BlockNumber
delta_next_block(Page page)
{
	return ((SemtrieDeltaHeader *) ((char *) page + SEMTRIE_PAGE_BEGIN))->next;
}

/*
 * A block for a new delta page, exclusively locked: from the metapage's reserve, or a new one.
 * Whatever was taken from the reserve is gone from it when the caller's WAL record is.
 */
static Buffer
new_delta_buffer(Relation index, const SemtrieMeta *meta)
{
	if (meta->reserve_count > 0)
		return ReadBufferExtended(index, MAIN_FORKNUM, meta->reserve[meta->reserve_count - 1].start,
								  RBM_ZERO_AND_LOCK, NULL);
	return SemtrieExtend(index);
}

/* Make a new page the tail in the metapage's copy that a WAL record is being made of. */
static void
meta_add_tail(SemtrieMeta *meta, BlockNumber block, uint64 seq)
{
	if (meta->reserve_count > 0)
	{
		SemtrieExtent *last = &meta->reserve[meta->reserve_count - 1];

		Assert(last->start == block);
		last->start++;
		if (--last->count == 0)
			meta->reserve_count--;
	}
	if (meta->head == InvalidBlockNumber)
	{
		meta->head = block;
		meta->head_seq = seq;
	}
	meta->tail = block;
	meta->tail_seq = seq;
}

/* Put a new tail after `tail`, or make the first page when tail is InvalidBuffer. */
static void
link_tail(Relation index, Buffer tail, Buffer metabuf)
{
	SemtrieMeta *meta = SemtrieMetaOnPage(index, BufferGetPage(metabuf));
	uint64 seq = meta->tail_seq + 1;
	Buffer buffer = new_delta_buffer(index, meta);
	BlockNumber block = BufferGetBlockNumber(buffer);
	GenericXLogState *state = GenericXLogStart(index);
	Page page;

	page = GenericXLogRegisterBuffer(state, buffer, GENERIC_XLOG_FULL_IMAGE);
	delta_page_init(page, seq);
	page = GenericXLogRegisterBuffer(state, metabuf, 0);
	meta_add_tail((SemtrieMeta *) ((char *) page + SEMTRIE_PAGE_BEGIN), block, seq);
	if (BufferIsValid(tail))
	{
		page = GenericXLogRegisterBuffer(state, tail, 0);
		((SemtrieDeltaHeader *) ((char *) page + SEMTRIE_PAGE_BEGIN))->next = block;
	}
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

/* Make the first delta page, unless someone else has meanwhile. */
static void
create_delta(Relation index)
{
	Buffer metabuf = ReadBuffer(index, SEMTRIE_META_BLOCK);

	LockBuffer(metabuf, BUFFER_LOCK_EXCLUSIVE);
	if (SemtrieMetaOnPage(index, BufferGetPage(metabuf))->tail == InvalidBlockNumber)
		link_tail(index, InvalidBuffer, metabuf);
	UnlockReleaseBuffer(metabuf);
}

/*
 * The tail page, exclusively locked. Between reading the metapage and locking the page another
 * inserter may have added a tail; the page then says so, or is not that page any more.
 */
static Buffer
lock_tail(Relation index)
{
	uint64 last_seq = 0;

	for (;;)
	{
		SemtrieMeta meta;
		Buffer buffer;
		Page page;

		CHECK_FOR_INTERRUPTS();
		SemtrieReadMeta(index, &meta);
		if (meta.tail == InvalidBlockNumber)
		{
			create_delta(index);
			continue;
		}
		buffer = ReadBuffer(index, meta.tail);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		if (SemtriePageIs(page, SEMTRIE_PAGE_DELTA, meta.tail_seq, 0) &&
			delta_next_block(page) == InvalidBlockNumber)
			return buffer;
		UnlockReleaseBuffer(buffer);
		if (meta.tail_seq == last_seq)
			SemtrieReportCorrupt(index, meta.tail, "expected the delta's tail");
		last_seq = meta.tail_seq;
	}
}

/*
 * Is the delta larger than it should be? A merge rewrites the run, so that a delta that is small
 * beside it waits: what is written in all stays within a constant factor of what was inserted.
 */
static bool
delta_is_large(Relation index, const SemtrieMeta *meta)
{
	uint64 pages = meta->tail_seq - meta->head_seq + 1;

	return pages * (BLCKSZ / 1024) > (uint64) SemtriePendingLimit(index) &&
		   pages > meta->run.pages / SEMTRIE_RUN_TO_DELTA;
}

/* Add a tail after the locked one; true when the delta is then larger than it should be. */
static bool
roll_tail(Relation index, Buffer tail)
{
	Buffer metabuf = ReadBuffer(index, SEMTRIE_META_BLOCK);
	bool large;

	LockBuffer(metabuf, BUFFER_LOCK_EXCLUSIVE);
	link_tail(index, tail, metabuf);
	large = delta_is_large(index, SemtrieMetaOnPage(index, BufferGetPage(metabuf)));
	UnlockReleaseBuffer(metabuf);
	return large;
}

void
SemtrieDeltaRoll(Relation index)
{
	Buffer tail = lock_tail(index);

	roll_tail(index, tail);
	UnlockReleaseBuffer(tail);
}

void
SemtrieDeltaAppend(Relation index, const uint8 *bytes, size_t length, ItemPointer tid,
				   bool *over_limit)
{
	SemtrieDeltaEntry entry = {.flags = 0, .length = (uint8) length, .tid = *tid};
	size_t need = sizeof(entry) + length;

	*over_limit = false;
	for (;;)
	{
		Buffer tail = lock_tail(index);
		uint32 at = ((PageHeader) BufferGetPage(tail))->pd_lower;

		if (at + need <= SEMTRIE_PAGE_END)
		{
			GenericXLogState *state = GenericXLogStart(index);
			Page page = GenericXLogRegisterBuffer(state, tail, 0);

			memcpy((char *) page + at, &entry, sizeof(entry));
			if (length > 0)
				memcpy((char *) page + at + sizeof(entry), bytes, length);
			((PageHeader) page)->pd_lower = (LocationIndex) (at + need);
			GenericXLogFinish(state);
			UnlockReleaseBuffer(tail);
			return;
		}
		*over_limit |= roll_tail(index, tail);
		UnlockReleaseBuffer(tail);
	}
}
