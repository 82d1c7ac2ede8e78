/*
 * Verifying the structure of a semtrie index.
 *
 * First the blocks: who uses which. Then the run twice, page by page, where records follow one
 * another without gaps, and as a trie from its roots: both must meet the same records, which is
 * seen by adding up a hash of their references.
 */
#include "am/check.h"

#include "am/family.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct Check
{
	Relation index;
	SemtrieMeta meta;
	BlockNumber blocks;
	SemtrieMap *map;
	SemtrieMap *history;
	uint64 limit; /* of the delta page before */
	SemtrieRunView view;
	Bitmapset *used;
	SemtrieRowCallback callback;
	void *state;

	/* what the trie turned out to hold */
	SemtrieRun found;
	uint64 records; /* sum of hashes of references */
	stk_semid id;   /* path of the walk */
} Check;

/* One walk of a posting: TIDs ascend, removed ones included by their blocks. */
typedef struct PostingOrder
{
	ItemPointerData last;
	bool any;
} PostingOrder;

static BlockNumber
block_of(const Check *check, SemtrieRef ref)
{
	return SemtrieMapBlock(check->map, SemtrieRefPage(ref));
}

static void
corrupt_at(const Check *check, SemtrieRef ref, const char *what)
{
	SemtrieReportCorrupt(check->index, block_of(check, ref), what);
}

/* Note the use of blocks; nobody else may use them. */
static void
use_blocks(Check *check, SemtrieExtent extent)
{
	if (extent.start >= check->blocks || extent.count > check->blocks - extent.start)
		SemtrieReportCorrupt(check->index, extent.start, "reference past the end of the index");
	for (BlockNumber i = 0; i < extent.count; i++)
	{
		if (bms_is_member((int) (extent.start + i), check->used))
			SemtrieReportCorrupt(check->index, extent.start + i, "block with two uses");
		check->used = bms_add_member(check->used, (int) (extent.start + i));
	}
}

static stk_status
check_directory(Check *check)
{
	SemtrieDirectoryEntry *entries;
	SemtrieExtentList pages = {0};
	size_t n;
	stk_status status = SemtrieReadDirectory(check->index, &check->meta, &entries, &n, &pages);

	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n; i++)
		use_blocks(check, entries[i].extent);
	for (size_t i = 0; i < pages.n; i++)
		use_blocks(check, pages.extents[i]);
	if (check->meta.reserve_count > SEMTRIE_MAX_RESERVE)
		SemtrieReportCorrupt(check->index, SEMTRIE_META_BLOCK, "impossible reserve");
	for (int i = 0; i < check->meta.reserve_count; i++)
		use_blocks(check, check->meta.reserve[i]);
	check->map = SemtrieMapMake(CurrentMemoryContext, entries, n, SEMTRIE_LIVE);
	check->history = SemtrieMapMake(CurrentMemoryContext, entries, n, SEMTRIE_HISTORY);
	check->view = (SemtrieRunView){check->index, check->meta.run.id, check->map, NULL};
	if (check->map->pages != check->meta.run.pages)
		SemtrieReportCorrupt(check->index, check->meta.directory,
							 "directory does not match the run");
	return STK_OK;
}

/* Copy a page of delta or history and check its entries; rows counts those that it has. */
static stk_status
check_delta_page(Check *check, BlockNumber block, uint64 seq, bool rows, char *page)
{
	const SemtrieDeltaHeader *header = SemtrieDeltaHeaderOf(page);
	uint32 offset = SEMTRIE_DELTA_BEGIN;
	SemtrieDeltaEntry entry;
	const uint8 *bytes;
	bool corrupt = false;

	CHECK_FOR_INTERRUPTS();
	SemtrieCopyPage(check->index, block, NULL, page);
	if (!SemtriePageIs(page, SEMTRIE_PAGE_DELTA, seq, 0))
		return STK_ERETRY;
	if (header->begin_limit < check->limit || header->limit < header->begin_limit)
		SemtrieReportCorrupt(check->index, block, "delta page with impossible limits");
	check->limit = header->limit;
	while (SemtrieDeltaNext(page, &offset, &entry, &bytes, &corrupt))
	{
		stk_semid id;
		bool removed = (entry.flags & SEMTRIE_DELTA_REMOVED) != 0;

		if ((entry.length > 0 && stk_semid_unpack(bytes, entry.length, &id) != STK_OK) ||
			(removed && (entry.length == 0 || (entry.flags & SEMTRIE_DELTA_DEAD))) ||
			ItemPointerIsValid(&entry.tid) == removed)
			SemtrieReportCorrupt(check->index, block, "delta entry that cannot be");
		if (rows && entry.flags == 0)
			check->callback(entry.length > 0 ? &id : NULL, &entry.tid, check->state);
	}
	if (corrupt)
		SemtrieReportCorrupt(check->index, block, "delta entry that cannot be");
	return STK_OK;
}

/* The pages that were merged: each is the next one's predecessor, the last one the delta's. */
static stk_status
check_history(Check *check)
{
	const SemtrieMeta *meta = &check->meta;
	uint64 first = meta->head == InvalidBlockNumber ? meta->tail_seq + 1 : meta->head_seq;
	BlockNumber block = SemtrieMapBlock(check->history, 0);
	PGAlignedBlock page;

	check->limit = meta->build_limit;
	if (first - meta->history_seq != check->history->pages)
		SemtrieReportCorrupt(check->index, meta->directory, "directory does not match the history");
	if (meta->oldest < SemtrieMakeVersion(meta->history_seq, SEMTRIE_DELTA_BEGIN) ||
		meta->oldest > SemtrieMakeVersion(meta->tail_seq + 1, SEMTRIE_DELTA_BEGIN))
		SemtrieReportCorrupt(check->index, SEMTRIE_META_BLOCK, "impossible oldest version");
	for (BlockNumber i = 0; i < check->history->pages; i++)
	{
		stk_status status = check_delta_page(check, block, meta->history_seq + i, false, page.data);

		if (status != STK_OK)
			return status;
		block = SemtrieMapBlock(check->history, i + 1);
		if (SemtrieDeltaHeaderOf(page.data)->next !=
			(block == InvalidBlockNumber ? meta->head : block))
			SemtrieReportCorrupt(check->index, block, "history out of order");
	}
	return STK_OK;
}

/* The pages up to the tail that the metapage named; inserts may go on behind it. */
static stk_status
check_delta(Check *check)
{
	const SemtrieMeta *meta = &check->meta;
	BlockNumber block = meta->head;
	PGAlignedBlock page;

	if ((meta->head == InvalidBlockNumber) != (meta->tail == InvalidBlockNumber) ||
		meta->head_seq > meta->tail_seq)
		SemtrieReportCorrupt(check->index, SEMTRIE_META_BLOCK, "impossible bounds of the delta");
	if (block == InvalidBlockNumber)
		return STK_OK;
	for (uint64 seq = meta->head_seq;; seq++)
	{
		stk_status status;

		use_blocks(check, (SemtrieExtent){block, 1});
		status = check_delta_page(check, block, seq, true, page.data);
		if (status != STK_OK)
			return status;
		if (seq == meta->tail_seq)
		{
			if (block != meta->tail)
				SemtrieReportCorrupt(check->index, block, "delta chain misses its tail");
			return STK_OK;
		}
		block = SemtrieDeltaHeaderOf(page.data)->next;
		if (block == InvalidBlockNumber)
			SemtrieReportCorrupt(check->index, meta->tail, "delta chain ends too early");
	}
}

static void
note_record(uint64 *sum, SemtrieRef ref)
{
	*sum += hash_bytes_extended((const unsigned char *) &ref, sizeof(ref), 0);
}

/* Every page's records, one after another; *records is the sum over their references. */
static stk_status
check_pages(Check *check, uint64 *records)
{
	PGAlignedBlock page;

	for (BlockNumber i = 0; i < check->map->pages; i++)
	{
		uint32 offset = SEMTRIE_PAGE_BEGIN;
		stk_status status = SemtrieRunReadPage(&check->view, i, page.data);
		uint32 end = ((PageHeader) page.data)->pd_lower;

		if (status != STK_OK)
			return status;
		while (offset < end)
		{
			SemtrieRecord header;

			if (!SemtrieRecordIsSane(page.data + offset, end - offset))
				SemtrieReportCorrupt(check->index, SemtrieMapBlock(check->map, i),
									 "record that cannot be");
			memcpy(&header, page.data + offset, sizeof(header));
			if ((header.flags & SEMTRIE_CONTINUED) && i + 1 == check->map->pages)
				SemtrieReportCorrupt(check->index, SemtrieMapBlock(check->map, i),
									 "record continues past the run's end");
			note_record(records, SemtrieMakeRef(i, offset));
			offset += header.bytes;
		}
	}
	return STK_OK;
}

static void
check_tid(Check *check, SemtrieRef ref, PostingOrder *order, const ItemPointerData *tid,
		  const stk_semid *id)
{
	if (SemtrieTidIsRemoved(tid))
		return;
	if (!ItemPointerIsValid(tid) ||
		(order->any && ItemPointerCompare(&order->last, (ItemPointer) tid) >= 0))
		corrupt_at(check, ref, "TIDs out of order");
	order->last = *tid;
	order->any = true;
	check->callback(id, tid, check->state);
}

static stk_status
check_posting(Check *check, SemtrieRef ref, uint64 count, const stk_semid *id)
{
	PostingOrder order = {.any = false};
	SemtrieRef first = ref;
	PGAlignedBlock record;
	uint64 found = 0;

	for (;;)
	{
		SemtrieRecord header;
		stk_status status =
			SemtrieRunReadRecord(&check->view, ref, SEMTRIE_RECORD_POSTING, record.data);

		if (status != STK_OK)
			return status;
		note_record(&check->records, ref);
		memcpy(&header, record.data, sizeof(header));
		for (int i = 0; i < header.count; i++)
		{
			ItemPointerData tid;

			memcpy(&tid, record.data + sizeof(header) + i * sizeof(tid), sizeof(tid));
			check_tid(check, ref, &order, &tid, id);
		}
		found += header.count;
		if (!(header.flags & SEMTRIE_CONTINUED))
			break;
		ref = SemtrieRunContinuation(ref);
	}
	if (found != count)
		corrupt_at(check, first, "posting with a wrong count");
	return STK_OK;
}

/* The rows of the id that ends at a child, which is `depth` codes deep without its tail. */
static stk_status
check_own_rows(Check *check, SemtrieRef ref, const SemtrieRunChild *child, int depth)
{
	PostingOrder order = {.any = false};

	if (depth + child->tail_len > STK_MAX_LEVELS)
		corrupt_at(check, ref, "id with too many levels");
	check->id.levels = depth + child->tail_len;
	if (child->tail_len > 0)
		memcpy(check->id.codes + depth, child->tail, child->tail_len * sizeof(uint16));
	for (int i = depth; i < check->id.levels; i++)
		check->found.largest[i] = Max(check->found.largest[i], check->id.codes[i]);
	check->found.ids++;
	check->found.levels = Max(check->found.levels, (uint32) check->id.levels);
	if (child->type & SEMTRIE_LIST)
	{
		if (child->count < 2)
			corrupt_at(check, ref, "posting too short to be one");
		return check_posting(check, child->posting, child->count, &check->id);
	}
	check_tid(check, ref, &order, &child->tid, &check->id);
	return STK_OK;
}

/*
 * A family, whose children are `depth` codes deep, and all below, which must come after `after` and
 * in the children's order; *items is their number.
 */
static stk_status
check_family(Check *check, SemtrieRef ref, SemtrieRef after, int depth, uint64 *items)
{
	char *record = palloc(BLCKSZ);
	SemtrieRef first = ref;
	int last_code = -1;

	check_stack_depth();
	if (depth > STK_MAX_LEVELS)
		corrupt_at(check, ref, "trie deeper than an id can be");
	check->found.nodes++;
	*items = 0;
	for (;;)
	{
		SemtrieFamilyCursor cursor;
		SemtrieRunChild child;
		bool corrupt = false;
		stk_status status = SemtrieRunReadRecord(&check->view, ref, SEMTRIE_RECORD_FAMILY, record);

		if (status != STK_OK)
			return status;
		note_record(&check->records, ref);
		SemtrieFamilyCursorInit(&cursor, record);
		while (SemtrieFamilyCursorNext(&cursor, &child, &corrupt))
		{
			uint64 below = 0;

			if (child.code <= last_code)
				corrupt_at(check, ref, "codes out of order");
			last_code = child.code;
			check->id.codes[depth - 1] = child.code;
			check->found.largest[depth - 1] = Max(check->found.largest[depth - 1], child.code);
			check->found.level_children[depth - 1]++;
			if ((child.posting != SEMTRIE_NO_REF &&
				 (child.posting <= after || child.posting >= first)) ||
				((child.type & SEMTRIE_INNER) &&
				 (child.family <= Max(after, child.posting) || child.family >= first)))
				corrupt_at(check, ref, "records out of order");
			after = Max(after, child.posting);
			if (child.count > 0)
				status = check_own_rows(check, ref, &child, depth);
			if (status == STK_OK && (child.type & SEMTRIE_INNER))
			{
				status = check_family(check, child.family, after, depth + 1, &below);
				after = child.family;
			}
			if (status != STK_OK)
				return status;
			if (below + child.count != child.items)
				corrupt_at(check, ref, "wrong number of items below a child");
			*items += child.items;
		}
		if (corrupt || cursor.payload != record + cursor.header.bytes)
			corrupt_at(check, ref, "family that contradicts itself");
		if (!(cursor.header.flags & SEMTRIE_CONTINUED))
			break;
		ref = SemtrieRunContinuation(ref);
	}
	pfree(record);
	return STK_OK;
}

static stk_status
check_roots(Check *check)
{
	SemtrieRef ref = check->meta.run.roots;
	SemtrieRef after = SEMTRIE_NO_REF;
	int64 last = -1;
	PGAlignedBlock record;

	while (ref != SEMTRIE_NO_REF)
	{
		const char *entry = record.data + sizeof(SemtrieRecord);
		SemtrieRecord header;
		stk_status status =
			SemtrieRunReadRecord(&check->view, ref, SEMTRIE_RECORD_ROOTS, record.data);

		if (status != STK_OK)
			return status;
		note_record(&check->records, ref);
		memcpy(&header, record.data, sizeof(header));
		for (int i = 0; i < header.count; i++, entry += SEMTRIE_ROOT_BYTES)
		{
			uint32 items;
			uint64 found;

			memcpy(&check->id.tokenizer, entry, sizeof(uint32));
			memcpy(&items, entry + sizeof(uint32) + SEMTRIE_REF_BYTES, sizeof(uint32));
			if (check->id.tokenizer <= last)
				corrupt_at(check, ref, "tokenizers out of order");
			last = check->id.tokenizer;
			status = check_family(check, SemtrieReadRef(entry + sizeof(uint32)), after, 1, &found);
			after = SemtrieReadRef(entry + sizeof(uint32));
			if (status != STK_OK)
				return status;
			if (found != items)
				corrupt_at(check, ref, "wrong number of items below a root");
			check->found.items += found;
			check->found.tokenizers++;
		}
		ref = header.flags & SEMTRIE_CONTINUED ? SemtrieRunContinuation(ref) : SEMTRIE_NO_REF;
	}
	return STK_OK;
}

/* What the metapage says about the run against what was found. */
static void
check_counts(const Check *check)
{
	const SemtrieRun *run = &check->meta.run;
	const SemtrieRun *found = &check->found;

	if (run->items != found->items || run->ids != found->ids || run->nodes != found->nodes ||
		run->tokenizers != found->tokenizers || run->levels != found->levels ||
		memcmp(run->largest, found->largest, sizeof(run->largest)) != 0 ||
		memcmp(run->level_children, found->level_children, sizeof(run->level_children)) != 0)
		SemtrieReportCorrupt(check->index, SEMTRIE_META_BLOCK,
							 "the run's counts do not match its contents");
}

static stk_status
check_run(Check *check)
{
	uint64 records = 0;
	stk_status status = check_pages(check, &records);

	if (status == STK_OK)
		status = check_roots(check);
	if (status == STK_OK && check->meta.run.nulls != SEMTRIE_NO_REF)
		status = check_posting(check, check->meta.run.nulls, check->meta.run.nulls_count, NULL);
	if (status != STK_OK)
		return status;
	check_counts(check);
	if (records != check->records)
		SemtrieReportCorrupt(check->index, SEMTRIE_META_BLOCK,
							 "some records are not referred to, or more than once");
	return STK_OK;
}

stk_status
SemtrieCheckStructure(Relation index, SemtrieRowCallback callback, void *state)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtrie check", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Check check = {.index = index, .callback = callback, .state = state};
	stk_status status;

	SemtrieReadState(index, &check.meta, &check.blocks);

	/* one member past the end gives the set its size at once */
	check.used = bms_make_singleton((int) check.blocks);
	use_blocks(&check, (SemtrieExtent){SEMTRIE_META_BLOCK, 1});
	status = check_directory(&check);
	if (status == STK_OK)
		status = check_history(&check);
	if (status == STK_OK)
		status = check_delta(&check);
	if (status == STK_OK)
		status = check_run(&check);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return status;
}
