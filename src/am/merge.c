/*
 * Merging run and delta into a new run.
 *
 * Until the metapage is flipped, nothing refers to what a merge writes, and nothing that the old
 * generation needs is touched: an error or a crash before leaves blocks that nothing refers to,
 * which the next merge finds, because free is what nothing refers to. After the flip the old run
 * and directory are retired: readers that read the metapage before may still come for them, so
 * that they are free only once no snapshot is older than the flip. Delta pages become history,
 * and are retired when that has grown beyond its limit.
 */
#include "am/semtrie.h"

#include "access/generic_xlog.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

typedef struct Merge
{
	Relation index;
	BufferAccessStrategy strategy;
	SemtrieMeta meta; /* as read after the delta was closed */
	SemtrieMap *map;
	SemtrieSpace space;
	SemtrieDirectoryEntry *entries; /* the old directory */
	size_t nentries;
	SemtrieExtentList directory_pages;
	SemtrieExtentList delta_pages; /* closed: they go into the run, then into the history */
	SemtrieSort *sort;             /* their live entries */
	BlockNumber new_head;          /* first delta page that stays, or InvalidBlockNumber */
	uint64 new_head_seq;
	uint64 new_history_seq;
} Merge;

/* Can nobody who read an older metapage need these blocks any more? */
static bool
is_removable(const Merge *merge, const SemtrieDirectoryEntry *entry)
{
	uint64 fxid = entry->retired == SEMTRIE_RETIRED_NOW ? merge->meta.retire_fxid : entry->retired;

	return GlobalVisCheckRemovableFullXid(NULL, FullTransactionIdFromU64(fxid));
}

static void
mark_used(Bitmapset **used, SemtrieExtent extent)
{
	if (extent.count > 0)
		*used = bms_add_range(*used, (int) extent.start, (int) (extent.start + extent.count - 1));
}

/*
 * Read the delta's pages up to the tail as it is now; all but the tail are closed. Their live
 * entries go to the sort, and their blocks into *used.
 */
static void
read_delta(Merge *merge, Bitmapset **used)
{
	BlockNumber block = merge->meta.head;
	PGAlignedBlock page;

	for (uint64 seq = merge->meta.head_seq; block != InvalidBlockNumber; seq++)
	{
		uint32 offset = SEMTRIE_DELTA_BEGIN;
		SemtrieDeltaEntry entry;
		const uint8 *bytes;
		bool corrupt = false;

		CHECK_FOR_INTERRUPTS();
		mark_used(used, (SemtrieExtent){block, 1});
		if (seq == merge->meta.tail_seq)
		{
			merge->new_head = block;
			merge->new_head_seq = seq;
			return;
		}
		SemtrieCopyPage(merge->index, block, merge->strategy, page.data);
		if (!SemtriePageIs(page.data, SEMTRIE_PAGE_DELTA, seq, 0))
			SemtrieReportCorrupt(merge->index, block, "expected a delta page");
		while (SemtrieDeltaNext(page.data, &offset, &entry, &bytes, &corrupt))
		{
			stk_semid id;

			if (entry.flags != 0)
				continue;
			if (entry.length > 0 && stk_semid_unpack(bytes, entry.length, &id) != STK_OK)
				SemtrieReportCorrupt(merge->index, block, "delta entry that cannot be");
			SemtrieSortAdd(merge->sort, entry.length > 0 ? &id : NULL, &entry.tid);
		}
		if (corrupt)
			SemtrieReportCorrupt(merge->index, block, "delta entry that cannot be");
		SemtrieExtentAdd(&merge->delta_pages, block, 1);
		block = ((SemtrieDeltaHeader *) (page.data + SEMTRIE_PAGE_BEGIN))->next;
	}
	if (merge->meta.head != InvalidBlockNumber)
		SemtrieReportCorrupt(merge->index, merge->meta.tail, "delta chain ends too early");
}

/* Find the blocks that nothing refers to, reading everything that refers to blocks. */
static void
find_free_blocks(Merge *merge)
{
	Bitmapset *used;
	BlockNumber blocks;

	SemtrieReadState(merge->index, &merge->meta, &blocks);

	/* one member past the end gives the set its size at once */
	used = bms_make_singleton((int) blocks);
	used = bms_add_member(used, SEMTRIE_META_BLOCK);
	if (SemtrieReadDirectory(merge->index, &merge->meta, &merge->entries, &merge->nentries,
							 &merge->directory_pages) != STK_OK)
		SemtrieReportCorrupt(merge->index, merge->meta.directory, "expected a directory page");
	for (size_t i = 0; i < merge->nentries; i++)
	{
		SemtrieDirectoryEntry *entry = &merge->entries[i];

		/* asked once: the answer may change while the merge runs */
		if (entry->retired != SEMTRIE_LIVE && entry->retired != SEMTRIE_HISTORY &&
			is_removable(merge, entry))
			entry->extent.count = 0;
		mark_used(&used, entry->extent);
	}
	for (size_t i = 0; i < merge->directory_pages.n; i++)
		mark_used(&used, merge->directory_pages.extents[i]);
	for (int i = 0; i < merge->meta.reserve_count; i++)
		mark_used(&used, merge->meta.reserve[i]);
	read_delta(merge, &used);

	for (BlockNumber block = 0; block < blocks; block++)
		if (!bms_is_member((int) block, used))
			SemtrieExtentAdd(&merge->space.free, block, 1);
	bms_free(used);
}

/* Order of (id, TID) as the run has it; rows without id last. */
static int
compare_rows(const stk_semid *a, bool a_null, ItemPointer a_tid, const stk_semid *b, bool b_null,
			 ItemPointer b_tid)
{
	if (a_null != b_null)
		return a_null ? 1 : -1;
	if (!a_null)
	{
		int order = SemtrieCompareIds(a, b);

		if (order != 0)
			return order;
	}
	return ItemPointerCompare(a_tid, b_tid);
}

/* Write the old run and the sorted delta as one new run. */
static void
write_run(Merge *merge, SemtrieRun *run, SemtrieExtentList *extents)
{
	SemtrieRunView view = {merge->index, merge->meta.run.id, merge->map, merge->strategy};
	SemtrieRunIterator *old = SemtrieRunIterate(&view, &merge->meta.run);
	SemtrieWriter *writer =
		SemtrieWriterStart(merge->index, &merge->space, merge->meta.next_run_id);
	stk_semid old_id, new_id;
	ItemPointerData old_tid, new_tid;
	bool old_null, new_null;
	bool has_old = SemtrieRunIteratorNext(old, &old_id, &old_null, &old_tid);
	bool has_new = SemtrieSortNext(merge->sort, &new_id, &new_null, &new_tid);

	for (uint64 rows = 0; has_old || has_new; rows++)
	{
		bool take_old = has_old && (!has_new || compare_rows(&old_id, old_null, &old_tid, &new_id,
															 new_null, &new_tid) < 0);
		bool is_null = take_old ? old_null : new_null;
		ItemPointer tid = take_old ? &old_tid : &new_tid;

		if (rows % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (is_null)
			SemtrieWriterAddNull(writer, tid);
		else
			SemtrieWriterAdd(writer, take_old ? &old_id : &new_id, tid);
		if (take_old)
			has_old = SemtrieRunIteratorNext(old, &old_id, &old_null, &old_tid);
		else
			has_new = SemtrieSortNext(merge->sort, &new_id, &new_null, &new_tid);
	}
	SemtrieWriterFinish(writer, run, extents);
}

static void
add_entries(SemtrieDirectoryEntry *entries, size_t *n, const SemtrieExtentList *list,
			uint64 retired)
{
	for (size_t i = 0; i < list->n; i++)
		entries[(*n)++] = (SemtrieDirectoryEntry){list->extents[i], retired};
}

/* Pages of the history or of the delta, oldest first: the first *surplus of all are dropped. */
static void
keep_history(SemtrieExtent extent, uint64 *surplus, SemtrieExtentList *kept,
			 SemtrieExtentList *dropped)
{
	BlockNumber n = (BlockNumber) Min(*surplus, extent.count);

	SemtrieExtentAdd(dropped, extent.start, n);
	SemtrieExtentAdd(kept, extent.start + n, extent.count - n);
	*surplus -= n;
}

/* What was history and what the merge has read becomes history, up to its limit. */
static void
make_history(Merge *merge, BlockNumber run_pages, SemtrieExtentList *kept,
			 SemtrieExtentList *dropped)
{
	uint64 limit = SemtrieHistoryLimit(merge->index, run_pages);
	uint64 pages, surplus;

	merge->new_history_seq = merge->meta.history_seq;
	if (merge->new_head == InvalidBlockNumber)
		return;
	pages = merge->new_head_seq - merge->meta.history_seq;
	surplus = pages > limit ? pages - limit : 0;
	merge->new_history_seq += surplus;
	for (size_t i = 0; i < merge->nentries; i++)
		if (merge->entries[i].retired == SEMTRIE_HISTORY)
			keep_history(merge->entries[i].extent, &surplus, kept, dropped);
	for (size_t i = 0; i < merge->delta_pages.n; i++)
		keep_history(merge->delta_pages.extents[i], &surplus, kept, dropped);
}

/* The new run's extents, the history, then everything that waits to be reused. */
static BlockNumber
write_directory(Merge *merge, const SemtrieExtentList *extents, BlockNumber run_pages)
{
	/* one extent may be cut in two */
	size_t most =
		extents->n + merge->nentries + merge->directory_pages.n + merge->delta_pages.n + 1;
	SemtrieDirectoryEntry *entries = MemoryContextAllocHuge(
		CurrentMemoryContext, mul_size(most + 1, sizeof(SemtrieDirectoryEntry)));
	SemtrieExtentList kept = {0}, dropped = {0};
	BlockNumber head = InvalidBlockNumber;
	size_t n = 0;

	make_history(merge, run_pages, &kept, &dropped);
	add_entries(entries, &n, extents, SEMTRIE_LIVE);
	add_entries(entries, &n, &kept, SEMTRIE_HISTORY);
	for (size_t i = 0; i < merge->nentries; i++)
	{
		SemtrieDirectoryEntry entry = merge->entries[i];

		if (entry.retired == SEMTRIE_LIVE)
			entry.retired = SEMTRIE_RETIRED_NOW;
		else if (entry.extent.count == 0 || entry.retired == SEMTRIE_HISTORY)
			continue;
		else if (entry.retired == SEMTRIE_RETIRED_NOW)
			entry.retired = merge->meta.retire_fxid;
		entries[n++] = entry;
	}
	add_entries(entries, &n, &merge->directory_pages, SEMTRIE_RETIRED_NOW);
	add_entries(entries, &n, &dropped, SEMTRIE_RETIRED_NOW);
	if (n > 0)
		SemtrieWriteDirectory(&merge->space, merge->meta.generation + 1, entries, n, &head);
	pfree(entries);
	return head;
}

/* Give the coming delta pages blocks that are free. */
static void
fill_reserve(SemtrieMeta *meta, SemtrieSpace *space, BlockNumber wanted)
{
	BlockNumber have = 0;

	for (int i = 0; i < meta->reserve_count; i++)
		have += meta->reserve[i].count;
	for (size_t i = space->free.n; i > 0 && have < wanted; i--)
	{
		SemtrieExtent extent = space->free.extents[i - 1];

		if (meta->reserve_count == SEMTRIE_MAX_RESERVE)
			break;
		extent.count = Min(extent.count, wanted - have);
		meta->reserve[meta->reserve_count++] = extent;
		have += extent.count;
	}
}

/*
 * Make the new generation the index, in one WAL record. The transaction id that guards the retired
 * blocks is read under the metapage's lock: a snapshot that saw the old metapage was taken
 * before, and so holds the horizon below it.
 */
static void
flip(Merge *merge, const SemtrieRun *run, BlockNumber directory)
{
	/* about as many as a full delta has, and what VACUUM may log */
	BlockNumber reserve = (BlockNumber) (SemtriePendingLimit(merge->index) / (BLCKSZ / 1024) + 1 +
										 SemtrieHistoryLimit(merge->index, run->pages));
	Buffer buffer = ReadBuffer(merge->index, SEMTRIE_META_BLOCK);
	GenericXLogState *state;
	SemtrieMeta *meta;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(merge->index);
	meta =
		(SemtrieMeta *) ((char *) GenericXLogRegisterBuffer(state, buffer, 0) + SEMTRIE_PAGE_BEGIN);
	meta->run = *run;
	meta->next_run_id = run->id + 1;
	meta->generation++;
	meta->dead = 0;
	if (merge->new_head != InvalidBlockNumber)
	{
		meta->head = merge->new_head;
		meta->head_seq = merge->new_head_seq;
	}
	meta->history_seq = merge->new_history_seq;
	meta->oldest = Max(meta->oldest, SemtrieMakeVersion(meta->history_seq, SEMTRIE_DELTA_BEGIN));
	meta->directory = directory;
	meta->retire_fxid = U64FromFullTransactionId(ReadNextFullTransactionId());
	fill_reserve(meta, &merge->space, reserve);
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

void
SemtrieMerge(Relation index, BufferAccessStrategy strategy)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtrie merge", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Merge merge = {.index = index, .strategy = strategy, .new_head = InvalidBlockNumber};
	SemtrieExtentList extents = {0};
	SemtrieRun run;
	BlockNumber directory;

	SemtrieReadMeta(index, &merge.meta);
	if (SemtrieDeltaHasRows(index, &merge.meta))
		SemtrieDeltaRoll(index);

	merge.space.index = index;
	merge.sort = SemtrieSortStart(maintenance_work_mem);
	find_free_blocks(&merge);
	SemtrieSortPerform(merge.sort);
	merge.map = SemtrieMapMake(context, merge.entries, merge.nentries, SEMTRIE_LIVE);
	write_run(&merge, &run, &extents);
	SemtrieSortEnd(merge.sort);
	directory = write_directory(&merge, &extents, run.pages);
	flip(&merge, &run, directory);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
