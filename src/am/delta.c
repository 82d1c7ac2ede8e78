/*
 * The delta: pages to which inserts append.
 *
 * Entries never move, and bulk delete marks them in place, so that a reader can go on where it
 * stopped. The tail is the only page without a next one; a page with one never gets an entry
 * again. Entries with flags are not rows of the index.
 */
#include "am/semtrie.h"

#include "access/generic_xlog.h"
#include "access/xact.h"
#include "miscadmin.h"

static BlockNumber
delta_next_block(const char *page)
{
	return SemtrieDeltaHeaderOf(page)->next;
}

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
	if ((entry->flags & ~(SEMTRIE_DELTA_DEAD | SEMTRIE_DELTA_REMOVED)) != 0 ||
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
SemtrieDeltaHasRows(Relation index, const SemtrieMeta *meta)
{
	BlockNumber block = meta->head;
	PGAlignedBlock page;

	for (uint64 seq = meta->head_seq; block != InvalidBlockNumber; seq++)
	{
		uint32 offset = SEMTRIE_DELTA_BEGIN;
		SemtrieDeltaEntry entry;
		const uint8 *bytes;
		bool corrupt = false;

		CHECK_FOR_INTERRUPTS();
		SemtrieCopyPage(index, block, NULL, page.data);
		if (!SemtriePageIs(page.data, SEMTRIE_PAGE_DELTA, seq, 0))
			SemtrieReportCorrupt(index, block, "expected a delta page");
		while (SemtrieDeltaNext(page.data, &offset, &entry, &bytes, &corrupt))
			if (!(entry.flags & SEMTRIE_DELTA_REMOVED))
				return true;
		if (corrupt)
			SemtrieReportCorrupt(index, block, "delta entry that cannot be");
		block = delta_next_block(page.data);
	}
	return false;
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
delta_page_init(Page page, uint64 seq, uint64 limit)
{
	SemtrieDeltaHeader *header = SemtrieDeltaHeaderOf(page);

	SemtriePageInit(page, SEMTRIE_PAGE_DELTA, seq, 0);
	header->next = InvalidBlockNumber;
	header->reserved = 0;
	header->begin_limit = limit;
	header->limit = limit;
	((PageHeader) page)->pd_lower = SEMTRIE_DELTA_BEGIN;
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

/*
 * The limit of an entry that tells of a removal. A snapshot that there is now has not seen xid
 * `next` end, which may be the oldest that it says runs: it gets no version behind the entry,
 * whatever it has read before.
 */
static uint64
removal_limit(void)
{
	return U64FromFullTransactionId(ReadNextFullTransactionId()) + 1;
}

/*
 * Put a new tail after `tail`, or make the first page when tail is InvalidBuffer. With forget, no
 * change before it is known any more.
 */
static void
link_tail(Relation index, Buffer tail, Buffer metabuf, bool forget)
{
	SemtrieMeta *meta = SemtrieMetaOnPage(index, BufferGetPage(metabuf));
	uint64 seq = meta->tail_seq + 1;
	uint64 limit =
		BufferIsValid(tail) ? SemtrieDeltaHeaderOf(BufferGetPage(tail))->limit : meta->build_limit;
	uint64 forget_limit = forget ? removal_limit() : 0;
	Buffer buffer = new_delta_buffer(index, meta);
	BlockNumber block = BufferGetBlockNumber(buffer);
	GenericXLogState *state = GenericXLogStart(index);
	Page page;

	page = GenericXLogRegisterBuffer(state, buffer, GENERIC_XLOG_FULL_IMAGE);
	delta_page_init(page, seq, Max(limit, forget_limit));
	page = GenericXLogRegisterBuffer(state, metabuf, 0);
	meta = (SemtrieMeta *) ((char *) page + SEMTRIE_PAGE_BEGIN);
	meta_add_tail(meta, block, seq);
	if (forget)
		meta->oldest = SemtrieMakeVersion(seq, SEMTRIE_DELTA_BEGIN);
	if (BufferIsValid(tail))
	{
		page = GenericXLogRegisterBuffer(state, tail, 0);
		SemtrieDeltaHeaderOf(page)->next = block;
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
		link_tail(index, InvalidBuffer, metabuf, false);
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
			delta_next_block((char *) page) == InvalidBlockNumber)
			return buffer;
		UnlockReleaseBuffer(buffer);
		if (meta.tail_seq == last_seq)
			SemtrieReportCorrupt(index, meta.tail, "expected the delta's tail");
		last_seq = meta.tail_seq;
	}
}

bool
SemtrieDeltaIsLarge(Relation index, const SemtrieMeta *meta)
{
	uint64 pages = meta->tail_seq - meta->head_seq + 1;

	return pages * (BLCKSZ / 1024) > (uint64) SemtriePendingLimit(index) &&
		   pages > meta->run.pages / SEMTRIE_RUN_TO_DELTA;
}

/* Add a tail after the locked one; true when the delta is then larger than it should be. */
static bool
roll_tail(Relation index, Buffer tail, bool forget)
{
	Buffer metabuf = ReadBuffer(index, SEMTRIE_META_BLOCK);
	bool large;

	LockBuffer(metabuf, BUFFER_LOCK_EXCLUSIVE);
	link_tail(index, tail, metabuf, forget);
	large = SemtrieDeltaIsLarge(index, SemtrieMetaOnPage(index, BufferGetPage(metabuf)));
	UnlockReleaseBuffer(metabuf);
	return large;
}

void
SemtrieDeltaRoll(Relation index)
{
	Buffer tail = lock_tail(index);

	roll_tail(index, tail, false);
	UnlockReleaseBuffer(tail);
}

void
SemtrieDeltaForget(Relation index)
{
	Buffer tail = lock_tail(index);

	roll_tail(index, tail, true);
	UnlockReleaseBuffer(tail);
}

/* Put an entry into buffer; returns its bytes. */
static size_t
make_entry(char *buffer, uint8 flags, const uint8 *bytes, size_t length, const ItemPointerData *tid)
{
	SemtrieDeltaEntry entry = {.flags = flags, .length = (uint8) length, .tid = *tid};

	memcpy(buffer, &entry, sizeof(entry));
	if (length > 0)
		memcpy(buffer + sizeof(entry), bytes, length);
	return sizeof(entry) + length;
}

/* Append entries to one page; true when the delta has become larger than it should be. */
static bool
append(Relation index, const char *entries, size_t bytes, uint64 limit)
{
	bool over_limit = false;

	for (;;)
	{
		Buffer tail = lock_tail(index);
		uint32 at = ((PageHeader) BufferGetPage(tail))->pd_lower;

		if (at + bytes <= SEMTRIE_PAGE_END)
		{
			GenericXLogState *state = GenericXLogStart(index);
			Page page = GenericXLogRegisterBuffer(state, tail, 0);

			SemtrieDeltaHeader *header = SemtrieDeltaHeaderOf(page);

			memcpy((char *) page + at, entries, bytes);
			((PageHeader) page)->pd_lower = (LocationIndex) (at + bytes);
			header->limit = Max(header->limit, limit);
			GenericXLogFinish(state);
			UnlockReleaseBuffer(tail);
			return over_limit;
		}
		over_limit |= roll_tail(index, tail, false);
		UnlockReleaseBuffer(tail);
	}
}

/*
 * The entry belongs to the row's inserting transaction, this one, whose xid bounds it in the page.
 * Only CREATE INDEX CONCURRENTLY adds rows of others, before anyone can ask for a version.
 */
void
SemtrieDeltaAppend(Relation index, const uint8 *bytes, size_t length, ItemPointer tid,
				   bool *over_limit)
{
	char entry[sizeof(SemtrieDeltaEntry) + STK_SEMID_MAX_BYTES];
	FullTransactionId fxid = GetCurrentFullTransactionIdIfAny();

	if (!FullTransactionIdIsValid(fxid))
		fxid = ReadNextFullTransactionId();
	*over_limit = append(index, entry, make_entry(entry, 0, bytes, length, tid),
						 U64FromFullTransactionId(fxid) + 1);
}

size_t
SemtrieDeltaRemovedEntry(char *entry, const uint8 *bytes, size_t length)
{
	ItemPointerData none;

	ItemPointerSetInvalid(&none);
	return make_entry(entry, SEMTRIE_DELTA_REMOVED, bytes, length, &none);
}

void
SemtrieDeltaAppendRemoved(Relation index, const char *entries, size_t bytes)
{
	Assert(bytes <= SEMTRIE_REMOVED_ROOM);
	append(index, entries, bytes, removal_limit());
}
