/*
 * What changed in a semtrie index since a version: the delta's entries behind it, those of pages
 * that were merged and kept as history included.
 *
 * Each page knows an xid that is larger than those of all entries before it (begin_limit), and
 * before its end (limit). They only grow from page to page: the newest place whose limit is not
 * beyond a snapshot's xmin has behind it every entry of a transaction that had not ended. Of a page
 * only beginning and end are such places, so that what changed since may name a page's ids that
 * did not.
 */
#include "am/history.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* A snapshot's xmin with its epoch. */
static uint64
full_xmin(Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint64 epoch = EpochFromFullTransactionId(next);

	/* it is at most half the circle behind */
	if (snapshot->xmin > XidFromFullTransactionId(next))
		epoch--;
	return epoch << 32 | snapshot->xmin;
}

/* Copy a page of delta or history. STK_ERETRY when the block holds something else by now. */
static stk_status
read_page(Relation index, BlockNumber block, uint64 seq, char *page)
{
	CHECK_FOR_INTERRUPTS();
	SemtrieCopyPage(index, block, NULL, page);
	return SemtriePageIs(page, SEMTRIE_PAGE_DELTA, seq, 0) ? STK_OK : STK_ERETRY;
}

/* The history's blocks. */
static stk_status
map_history(Relation index, const SemtrieMeta *meta, SemtrieMap **map)
{
	SemtrieDirectoryEntry *entries;
	size_t n;
	stk_status status = SemtrieReadDirectory(index, meta, &entries, &n, NULL);

	if (status != STK_OK)
		return status;
	*map = SemtrieMapMake(CurrentMemoryContext, entries, n, SEMTRIE_HISTORY);
	if (meta->head != InvalidBlockNumber && (*map)->pages != meta->head_seq - meta->history_seq)
		SemtrieReportCorrupt(index, meta->directory, "directory does not match the history");
	return STK_OK;
}

/* The newest page of the history whose beginning is within the limit. */
static stk_status
search_history(Relation index, const SemtrieMeta *meta, uint64 xmin, uint64 *version)
{
	SemtrieMap *map;
	BlockNumber lo = 0, hi;
	stk_status status = map_history(index, meta, &map);
	PGAlignedBlock page;

	if (status != STK_OK)
		return status;
	hi = map->pages;
	while (lo < hi)
	{
		BlockNumber middle = lo + (hi - lo) / 2;

		status =
			read_page(index, SemtrieMapBlock(map, middle), meta->history_seq + middle, page.data);
		if (status != STK_OK)
			return status;
		if (SemtrieDeltaHeaderOf(page.data)->begin_limit <= xmin)
			lo = middle + 1;
		else
			hi = middle;
	}
	if (lo > 0)
		*version = SemtrieMakeVersion(meta->history_seq + lo - 1, SEMTRIE_DELTA_BEGIN);
	return STK_OK;
}

/* The newest page of the delta whose beginning is within the limit, or one of the history. */
static stk_status
search_delta(Relation index, const SemtrieMeta *meta, uint64 xmin, uint64 *version)
{
	BlockNumber block = meta->head;
	uint64 seq = meta->head_seq;
	PGAlignedBlock page;

	for (; block != InvalidBlockNumber; seq++)
	{
		stk_status status = read_page(index, block, seq, page.data);

		if (status != STK_OK)
			return status;
		if (SemtrieDeltaHeaderOf(page.data)->begin_limit > xmin)
			break;
		*version = SemtrieMakeVersion(seq, SEMTRIE_DELTA_BEGIN);
		block = SemtrieDeltaHeaderOf(page.data)->next;
	}
	return seq == meta->head_seq ? search_history(index, meta, xmin, version) : STK_OK;
}

static stk_status
find_version(Relation index, uint64 xmin, uint64 *version)
{
	SemtrieMeta meta;
	PGAlignedBlock page;
	stk_status status;

	SemtrieReadMeta(index, &meta);
	*version = meta.oldest - 1;
	if (meta.tail == InvalidBlockNumber)
	{
		if (meta.build_limit <= xmin)
			*version = SemtrieMakeVersion(meta.tail_seq + 1, SEMTRIE_DELTA_BEGIN);
		return STK_OK;
	}
	status = read_page(index, meta.tail, meta.tail_seq, page.data);
	if (status != STK_OK)
		return status;
	if (SemtrieDeltaHeaderOf(page.data)->limit <= xmin)
		*version = SemtrieMakeVersion(meta.tail_seq, ((PageHeader) page.data)->pd_lower);
	else
		status = search_delta(index, &meta, xmin, version);
	return status;
}

uint64
SemtrieVersion(Relation index, Snapshot snapshot)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtrie version", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	uint64 version;

	for (int tries = 1; find_version(index, full_xmin(snapshot), &version) != STK_OK; tries++)
		if (tries == SEMTRIE_MAX_RETRIES)
			SemtrieReportRetries(index);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return version;
}

/* One reading of the entries behind a version. */
typedef struct ChangesScan
{
	Relation index;
	uint64 since;
	uint64 end; /* of what was read */
	SemtrieIdCallback callback;
	void *state;
	PGAlignedBlock page;
} ChangesScan;

/* Call back for the entries of a page that lie behind the version. */
static stk_status
scan_page(ChangesScan *scan, BlockNumber block, uint64 seq)
{
	uint32 offset = SEMTRIE_DELTA_BEGIN, at = offset;
	SemtrieDeltaEntry entry;
	const uint8 *bytes;
	bool corrupt = false;
	stk_status status = read_page(scan->index, block, seq, scan->page.data);

	if (status != STK_OK)
		return status;
	for (; SemtrieDeltaNext(scan->page.data, &offset, &entry, &bytes, &corrupt); at = offset)
	{
		stk_semid id;

		if (entry.length == 0 || SemtrieMakeVersion(seq, at) < scan->since)
			continue;
		if (stk_semid_unpack(bytes, entry.length, &id) != STK_OK)
			SemtrieReportCorrupt(scan->index, block, "delta entry that cannot be");
		scan->callback(&id, scan->state);
	}
	if (corrupt)
		SemtrieReportCorrupt(scan->index, block, "delta entry that cannot be");
	scan->end = SemtrieMakeVersion(seq, offset);
	return STK_OK;
}

static void
report_version(Relation index, uint64 since, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("version " INT64_FORMAT " of index \"%s\" is %s", (int64) since,
						   RelationGetRelationName(index), what),
					errhint("Make a full export: semset_agg and semtok.catalog_version in one "
							"REPEATABLE READ transaction.")));
}

static stk_status
scan_changes(ChangesScan *scan)
{
	SemtrieMeta meta;
	SemtrieMap *map;
	BlockNumber block;
	stk_status status;

	SemtrieReadMeta(scan->index, &meta);
	if ((int64) scan->since < (int64) meta.oldest)
		report_version(scan->index, scan->since, "too old");
	status = map_history(scan->index, &meta, &map);
	for (uint64 seq = Max(meta.history_seq, SemtrieVersionSeq(scan->since));
		 status == STK_OK && map->pages > 0 && seq < meta.head_seq; seq++)
		status = scan_page(scan, SemtrieMapBlock(map, (BlockNumber) (seq - meta.history_seq)), seq);

	scan->end = SemtrieMakeVersion(meta.tail_seq + 1, SEMTRIE_DELTA_BEGIN);
	block = meta.head;
	for (uint64 seq = meta.head_seq; status == STK_OK && block != InvalidBlockNumber; seq++)
	{
		status = scan_page(scan, block, seq);
		block = SemtrieDeltaHeaderOf(scan->page.data)->next;
	}
	if (status == STK_OK && scan->since > scan->end)
		report_version(scan->index, scan->since, "ahead of its last one");
	return status;
}

void
SemtrieChanges(Relation index, uint64 since, SemtrieIdCallback callback, void *state)
{
	ChangesScan *scan = palloc0(sizeof(ChangesScan));

	scan->index = index;
	scan->since = since;
	scan->callback = callback;
	scan->state = state;
	for (int tries = 1; scan_changes(scan) != STK_OK; tries++)
		if (tries == SEMTRIE_MAX_RETRIES)
			SemtrieReportRetries(index);
	pfree(scan);
}
