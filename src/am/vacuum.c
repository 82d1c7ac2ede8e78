/*
 * VACUUM: take dead rows out of run and delta, then merge.
 *
 * A row in the run loses its TID's offset number, a delta entry is flagged: nothing moves, so a
 * reader never misses what it should see. TIDs that readers have in memory stay harmless until
 * the heap reuses them, which begins after bulk delete returns, and whoever takes a snapshot
 * after that reads a higher vacuum_count.
 *
 * Before a row is taken out, an entry in the delta says whose id that is, for those who ask what
 * changed. Where that would be more than the history keeps, older versions are too old instead.
 */
#include "am/semtrie.h"

#include "access/generic_xlog.h"
#include "commands/tablespace.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct BulkDelete
{
	Relation index;
	BufferAccessStrategy strategy;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void *callback_state;
	uint16 *offsets; /* of this page's dead TIDs or entries */
	int noffsets;
	uint64 dead_in_run;

	/* places in the run that are to be marked */
	SemtrieRef *places;
	size_t nplaces;

	/* what the delta is told */
	bool forgotten;    /* older versions are too old: nothing more */
	uint64 log_room;   /* bytes of entries that may come yet */
	size_t log_filled; /* bytes in log */
	char log[SEMTRIE_REMOVED_ROOM];
} BulkDelete;

/* Places gathered before they are marked. */
#define MAX_PLACES ((size_t) 128 * 1024)

/* Note a TID of the page at hand, and whether it is dead. */
static void
visit_tid(uint32 offset, ItemPointer tid, void *state)
{
	BulkDelete *bulk = state;

	if (SemtrieTidIsRemoved(tid))
		return;
	if (bulk->callback(tid, bulk->callback_state))
		bulk->offsets[bulk->noffsets++] = (uint16) offset;
	else
		bulk->stats->num_index_tuples++;
}

/*
 * Mark what was found on a page, in place. Only this changes TIDs and flags, and the
 * maintenance lock keeps it to one backend, so that the offsets found in a copy hold.
 */
static void
mark_dead(BulkDelete *bulk, BlockNumber block, bool in_run)
{
	Buffer buffer;
	GenericXLogState *state;
	Page page;

	if (bulk->noffsets == 0)
		return;
	buffer = ReadBufferExtended(bulk->index, MAIN_FORKNUM, block, RBM_NORMAL, bulk->strategy);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(bulk->index);
	page = GenericXLogRegisterBuffer(state, buffer, 0);
	for (int i = 0; i < bulk->noffsets; i++)
	{
		char *at = (char *) page + bulk->offsets[i];

		if (in_run)
		{
			OffsetNumber removed = InvalidOffsetNumber;

			memcpy(at + offsetof(ItemPointerData, ip_posid), &removed, sizeof(removed));
		}
		else
			((SemtrieDeltaEntry *) at)->flags |= SEMTRIE_DELTA_DEAD;
	}
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
	bulk->stats->tuples_removed += bulk->noffsets;
	if (in_run)
		bulk->dead_in_run += bulk->noffsets;
	bulk->noffsets = 0;
}

/* Write the log out. */
static void
flush_log(BulkDelete *bulk)
{
	if (bulk->log_filled > 0)
		SemtrieDeltaAppendRemoved(bulk->index, bulk->log, bulk->log_filled);
	bulk->log_filled = 0;
}

/* Log that a row with this id is about to be removed. */
static void
log_removed(BulkDelete *bulk, const uint8 *bytes, size_t length)
{
	size_t need = sizeof(SemtrieDeltaEntry) + length;

	if (bulk->forgotten)
		return;
	if (need > bulk->log_room)
	{
		SemtrieDeltaForget(bulk->index);
		bulk->forgotten = true;
		bulk->log_filled = 0;
		return;
	}
	if (bulk->log_filled + need > sizeof(bulk->log))
		flush_log(bulk);
	bulk->log_filled += SemtrieDeltaRemovedEntry(bulk->log + bulk->log_filled, bytes, length);
	bulk->log_room -= need;
}

static void
log_removed_id(const stk_semid *id, void *state)
{
	uint8 bytes[STK_SEMID_MAX_BYTES];

	log_removed(state, bytes, stk_semid_pack(id, bytes));
}

/* Log, then mark, the places gathered. */
static void
mark_places(BulkDelete *bulk, const SemtrieRunView *view, const SemtrieRun *run)
{
	if (bulk->nplaces > 0 && !bulk->forgotten)
		SemtrieRunLocate(view, run, bulk->places, bulk->nplaces, log_removed_id, bulk);
	flush_log(bulk);
	for (size_t i = 0; i < bulk->nplaces; i++)
	{
		BlockNumber page = SemtrieRefPage(bulk->places[i]);

		bulk->offsets[bulk->noffsets++] = (uint16) SemtrieRefOffset(bulk->places[i]);
		if (i + 1 < bulk->nplaces && SemtrieRefPage(bulk->places[i + 1]) == page)
			continue;
		SemtokVacuumDelayPoint();
		mark_dead(bulk, SemtrieMapBlock(view->map, page), true);
	}
	bulk->nplaces = 0;
}

static void
clean_run(BulkDelete *bulk, const SemtrieMeta *meta)
{
	SemtrieRunView view = {bulk->index, meta->run.id, NULL, bulk->strategy};
	SemtrieDirectoryEntry *entries;
	size_t n;
	SemtrieMap *map;
	PGAlignedBlock page;

	if (SemtrieReadDirectory(bulk->index, meta, &entries, &n, NULL) != STK_OK)
		SemtrieReportCorrupt(bulk->index, meta->directory, "expected a directory page");
	map = SemtrieMapMake(CurrentMemoryContext, entries, n, SEMTRIE_LIVE);
	view.map = map;
	for (BlockNumber i = 0; i < map->pages; i++)
	{
		BlockNumber block = SemtrieMapBlock(map, i);

		SemtokVacuumDelayPoint();
		if (SemtrieRunReadPage(&view, i, page.data) != STK_OK)
			SemtrieReportCorrupt(bulk->index, block, "page of another run");
		if (!SemtrieRunPageTids(page.data, visit_tid, bulk))
			SemtrieReportCorrupt(bulk->index, block, "records that contradict themselves");
		for (int j = 0; j < bulk->noffsets; j++)
			bulk->places[bulk->nplaces++] = SemtrieMakeRef(i, bulk->offsets[j]);
		bulk->noffsets = 0;
		if (bulk->nplaces > MAX_PLACES)
			mark_places(bulk, &view, &meta->run);
	}
	mark_places(bulk, &view, &meta->run);
	SemtrieMapRelease(map);
}

/* From the head to the tail as it is when the walk gets there; later rows are not dead. */
static void
clean_delta(BulkDelete *bulk, const SemtrieMeta *meta)
{
	BlockNumber block = meta->head;
	PGAlignedBlock page;

	for (uint64 seq = meta->head_seq; block != InvalidBlockNumber; seq++)
	{
		uint32 offset = SEMTRIE_DELTA_BEGIN;
		uint32 at = offset;
		SemtrieDeltaEntry entry;
		const uint8 *bytes;
		bool corrupt = false;

		SemtokVacuumDelayPoint();
		SemtrieCopyPage(bulk->index, block, bulk->strategy, page.data);
		if (!SemtriePageIs(page.data, SEMTRIE_PAGE_DELTA, seq, 0))
			SemtrieReportCorrupt(bulk->index, block, "expected a delta page");
		for (; SemtrieDeltaNext(page.data, &offset, &entry, &bytes, &corrupt); at = offset)
		{
			int before = bulk->noffsets;

			if (entry.flags == 0)
				visit_tid(at, &entry.tid, bulk);
			if (bulk->noffsets > before && entry.length > 0)
				log_removed(bulk, bytes, entry.length);
		}
		if (corrupt)
			SemtrieReportCorrupt(bulk->index, block, "delta entry that cannot be");
		flush_log(bulk);
		mark_dead(bulk, block, false);
		block = ((SemtrieDeltaHeader *) (page.data + SEMTRIE_PAGE_BEGIN))->next;
	}
}

/*
 * Tell the caches. Always, even when nothing was removed now: a bulk delete that failed half-way
 * may have removed it before.
 */
static void
raise_vacuum_count(BulkDelete *bulk)
{
	Buffer buffer = ReadBuffer(bulk->index, SEMTRIE_META_BLOCK);
	GenericXLogState *state;
	SemtrieMeta *meta;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(bulk->index);
	meta =
		(SemtrieMeta *) ((char *) GenericXLogRegisterBuffer(state, buffer, 0) + SEMTRIE_PAGE_BEGIN);
	meta->vacuum_count++;
	meta->dead += bulk->dead_in_run;
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

IndexBulkDeleteResult *
semtrie_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
				   IndexBulkDeleteCallback callback, void *callback_state)
{
	BulkDelete bulk = {.index = info->index,
					   .strategy = info->strategy,
					   .callback = callback,
					   .callback_state = callback_state};
	SemtrieMeta meta;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->num_index_tuples = 0;
	bulk.stats = stats;
	bulk.offsets = palloc(sizeof(uint16) * BLCKSZ / sizeof(ItemPointerData));
	bulk.places = palloc(sizeof(SemtrieRef) * (MAX_PLACES + 1 + BLCKSZ / sizeof(ItemPointerData)));

	/* From the first page to the last; see SemtrieLockMaintenance. */
	SemtrieLockMaintenance(info->index);
	SemtrieReadMeta(info->index, &meta);
	bulk.log_room = SemtrieHistoryLimit(info->index, meta.run.pages) * SEMTRIE_PAGE_ROOM;
	clean_run(&bulk, &meta);
	clean_delta(&bulk, &meta);
	raise_vacuum_count(&bulk);
	SemtrieUnlockMaintenance(info->index);
	pfree(bulk.offsets);
	pfree(bulk.places);
	return stats;
}

/*
 * Rewriting the run pays when rows wait in the delta, when a tenth of the run is dead, or when what
 * the delta says of removals is in the readers' way.
 */
static bool
worth_merging(Relation index, const SemtrieMeta *meta)
{
	return meta->dead * 10 > meta->run.items + meta->run.nulls_count ||
		   (meta->tail != InvalidBlockNumber && SemtrieDeltaIsLarge(index, meta)) ||
		   SemtrieDeltaHasRows(index, meta);
}

IndexBulkDeleteResult *
semtrie_vacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	SemtrieMeta meta;

	if (info->analyze_only)
		return stats;
	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));

	/* Sorting may need a temporary file; no catalog access under the lock. */
	PrepareTempTablespaces();
	SemtrieLockMaintenance(info->index);
	SemtrieReadMeta(info->index, &meta);
	if (worth_merging(info->index, &meta))
	{
		SemtrieMerge(info->index, info->strategy);
		SemtrieReadMeta(info->index, &meta);
	}
	SemtrieUnlockMaintenance(info->index);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	stats->num_index_tuples = (double) (meta.run.items + meta.run.nulls_count) - (double) meta.dead;
	stats->estimated_count = false;
	return stats;
}
