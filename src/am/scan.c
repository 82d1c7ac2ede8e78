/*
 * Index scans.
 *
 * Rows come in up to three phases: ids whose cost is finite, found by best-first (or beam)
 * search; ids that the query cannot score, whose cost is infinity, by walking; rows without id.
 * A scan without ORDER BY, or whose query is NULL, has the walk alone. Within each, ids and
 * then TIDs ascend, so that a scan can go on after the last row it returned when the index was
 * merged and recycled under it, as happens on a standby.
 */
#include "am/semtrie.h"

#include <math.h>

#include "access/relscan.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "am/filter.h"
#include "am/reader.h"
#include "core/search.h"
#include "guc.h"
#include "types/bridge.h"
#include "types/semquery.h"

typedef enum ScanPhase
{
	PHASE_SEARCH,
	PHASE_WALK,
	PHASE_NULLS,
	PHASE_END
} ScanPhase;

/* A place in the order of a scan's rows. */
typedef struct ScanPlace
{
	ScanPhase phase;
	double cost;
	stk_semid id;
	ItemPointerData tid;
} ScanPlace;

typedef struct SemtrieScan
{
	MemoryContext context;        /* reset by each rescan */
	MemoryContext search_context; /* its child: reader and search, reset by each retry */
	bool prepared;

	SemtrieCondition condition;
	const stk_query *query; /* NULL: no ORDER BY, or by a NULL query */
	int beam;               /* semtok.beam_width when the scan began */

	SemtrieReader *reader;
	stk_allocator allocator;
	stk_trie *trie;
	const stk_root *roots;
	size_t nroots;

	ScanPhase phase;
	stk_search *search;
	stk_walk *walk;
	size_t root; /* next to walk */

	/* rows of one id, or those without */
	stk_hit hit;
	bool has_cost;
	const ItemPointerData *tids;
	size_t ntids;
	size_t next;

	/* where to go on after a retry */
	bool has_last;
	bool resuming; /* rows up to the last returned one come again */
	ScanPlace last;
	int retries;
} SemtrieScan;

IndexScanDesc
semtrie_beginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc desc = RelationGetIndexScan(index, nkeys, norderbys);
	SemtrieScan *scan = palloc0(sizeof(SemtrieScan));

	scan->context =
		AllocSetContextCreate(CurrentMemoryContext, "semtrie scan", ALLOCSET_DEFAULT_SIZES);
	scan->search_context =
		AllocSetContextCreate(scan->context, "semtrie search", ALLOCSET_DEFAULT_SIZES);
	if (norderbys > 0)
	{
		desc->xs_orderbyvals = palloc0(sizeof(Datum) * norderbys);
		desc->xs_orderbynulls = palloc(sizeof(bool) * norderbys);
		memset(desc->xs_orderbynulls, true, sizeof(bool) * norderbys);
	}
	desc->opaque = scan;
	return desc;
}

/* For whoever wonders what a search cost; benchmarks read it. */
static void
log_search(IndexScanDesc desc, const SemtrieScan *scan)
{
	const stk_search_stats *stats;

	if (scan->search == NULL)
		return;
	stats = stk_search_get_stats(scan->search);
	ereport(DEBUG1, (errmsg_internal("search of semtrie index \"%s\" expanded " UINT64_FORMAT
									 " nodes, pushed " UINT64_FORMAT,
									 RelationGetRelationName(desc->indexRelation), stats->expanded,
									 stats->pushed)));
}

void
semtrie_rescan(IndexScanDesc desc, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	SemtrieScan *scan = desc->opaque;
	MemoryContext context = scan->context;

	if (keys && desc->numberOfKeys > 0)
		memmove(desc->keyData, keys, desc->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys && desc->numberOfOrderBys > 0)
		memmove(desc->orderByData, orderbys, desc->numberOfOrderBys * sizeof(ScanKeyData));

	log_search(desc, scan);
	MemoryContextReset(context);
	memset(scan, 0, sizeof(*scan));
	scan->context = context;
	scan->search_context = AllocSetContextCreate(context, "semtrie search", ALLOCSET_DEFAULT_SIZES);
}

void
semtrie_endscan(IndexScanDesc desc)
{
	SemtrieScan *scan = desc->opaque;

	log_search(desc, scan);
	MemoryContextDelete(scan->context);
	pfree(scan);
}

static void
report(stk_status status, const stk_error *err)
{
	if (status != STK_OK && status != STK_ERETRY)
		SemtokReportStatus(status, err, "could not search the semtrie index");
}

/* Take the scan's keys apart. */
static void
prepare(IndexScanDesc desc, SemtrieScan *scan)
{
	MemoryContext old;

	if (!IsMVCCSnapshot(desc->xs_snapshot))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("semtrie index \"%s\" can only be scanned with an MVCC snapshot",
							   RelationGetRelationName(desc->indexRelation))));
	if (desc->numberOfOrderBys > 1)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a semtrie index scan can be ordered by one query, not %d",
							   desc->numberOfOrderBys)));
	old = MemoryContextSwitchTo(scan->context);
	SemtrieConditionMake(&scan->condition, desc->keyData, desc->numberOfKeys);
	if (desc->numberOfOrderBys == 1 && !(desc->orderByData[0].sk_flags & SK_ISNULL))
	{
		scan->query = SemqueryView(desc->orderByData[0].sk_argument, scan->context);
		if (scan->query->kind == STK_QUERY_MASKED)
			SemqueryRefuseMasked();
	}
	MemoryContextSwitchTo(old);
	scan->beam = semtok_beam_width;
	scan->prepared = true;
	pgstat_count_index_scan(desc->indexRelation);
	SemtokCountSearch(desc);
}

/*
 * Open the index and start from the beginning, or from the phase of the last row returned. The
 * snapshot exists: the executor took it before the first row was asked for.
 */
static stk_status
start(IndexScanDesc desc, SemtrieScan *scan)
{
	MemoryContext old;
	SemtrieFilter *filter;
	const stk_root *roots;
	size_t nroots;
	stk_status status = STK_OK;
	stk_error err = {0};

	MemoryContextReset(scan->search_context);
	scan->reader = SemtrieReaderOpen(desc->indexRelation, scan->search_context);
	old = MemoryContextSwitchTo(scan->search_context);
	roots = SemtrieReaderRoots(scan->reader, &nroots);
	filter = SemtrieFilterMake(SemtrieReaderTrie(scan->reader), roots, nroots, &scan->condition);
	scan->trie = SemtrieFilterTrie(filter);
	scan->roots = SemtrieFilterRoots(filter, &scan->nroots);
	scan->allocator = SemtokAllocator(scan->search_context);
	MemoryContextSwitchTo(old);

	scan->search = NULL;
	scan->walk = NULL;
	scan->root = 0;
	scan->ntids = scan->next = 0;
	scan->resuming = scan->has_last;
	if (scan->has_last)
		scan->phase = scan->last.phase;
	else if (!scan->condition.ids)
		scan->phase = PHASE_NULLS;
	else
		scan->phase = scan->query ? PHASE_SEARCH : PHASE_WALK;

	if (scan->phase == PHASE_SEARCH)
		status = stk_search_start(&scan->search, scan->query, scan->trie, scan->roots, scan->nroots,
								  scan->beam, &scan->allocator, &err);
	report(status, &err);
	return status;
}

/* Next id of the walk through all roots; with a query, one that it cannot score. */
static stk_status
walk_next(SemtrieScan *scan, bool *found)
{
	for (;;)
	{
		stk_status status;

		CHECK_FOR_INTERRUPTS();
		if (scan->walk == NULL)
		{
			stk_prefix prefix = {0};

			*found = false;
			if (scan->root == scan->nroots)
				return STK_OK;
			prefix.tokenizer = scan->roots[scan->root].tokenizer;
			status = stk_walk_start(&scan->walk, scan->trie, scan->roots[scan->root].node, &prefix,
									&scan->allocator);
			if (status != STK_OK)
				return status;
			scan->root++;
		}
		status = stk_walk_next(scan->walk, found, &scan->hit);
		if (status != STK_OK)
			return status;
		if (!*found)
		{
			stk_walk_free(scan->walk);
			scan->walk = NULL;
			continue;
		}
		scan->has_cost = scan->query != NULL;
		if (scan->query)
		{
			uint8 bytes[STK_SEMID_MAX_BYTES];
			size_t length = stk_semid_pack(&scan->hit.id, bytes);

			scan->hit.cost = stk_query_cost(scan->query, bytes, length);
			if (!isinf(scan->hit.cost))
				continue;
		}
		return STK_OK;
	}
}

/* The phase is over. A beam search's survivors are all the rows there are. */
static void
next_phase(IndexScanDesc desc, SemtrieScan *scan)
{
	switch (scan->phase)
	{
		case PHASE_SEARCH:
			scan->phase = scan->beam > 0 ? PHASE_END : PHASE_WALK;
			log_search(desc, scan);
			stk_search_free(scan->search);
			scan->search = NULL;
			break;
		case PHASE_WALK:
			scan->phase = PHASE_NULLS;
			break;
		case PHASE_NULLS:
		case PHASE_END:
			scan->phase = PHASE_END;
			break;
	}
}

/* Order of the id at hand against the last row returned. */
static int
compare_with_last(const SemtrieScan *scan)
{
	if (scan->phase != scan->last.phase)
		return scan->phase < scan->last.phase ? -1 : 1;
	if (scan->phase == PHASE_NULLS)
		return 0;
	if (scan->has_cost && scan->hit.cost != scan->last.cost)
		return scan->hit.cost < scan->last.cost ? -1 : 1;
	return SemtrieCompareIds(&scan->hit.id, &scan->last.id);
}

/* Leave out the rows of the id at hand that were returned before the retry. */
static void
skip_returned(SemtrieScan *scan)
{
	int order = compare_with_last(scan);

	if (order > 0)
		scan->resuming = false;
	else if (order < 0)
		scan->ntids = 0;
	else
		while (scan->next < scan->ntids &&
			   ItemPointerCompare((ItemPointer) &scan->tids[scan->next], &scan->last.tid) <= 0)
			scan->next++;
}

/* Get the next id's rows into tids[next .. ntids); ntids = 0 in PHASE_END. */
static stk_status
next_rows(IndexScanDesc desc, SemtrieScan *scan)
{
	scan->ntids = scan->next = 0;
	while (scan->phase != PHASE_END)
	{
		stk_status status = STK_OK;
		bool found = false;

		switch (scan->phase)
		{
			case PHASE_SEARCH:
				status = stk_search_next(scan->search, &found, &scan->hit);
				scan->has_cost = true;
				break;
			case PHASE_WALK:
				status = walk_next(scan, &found);
				break;
			case PHASE_NULLS:
				scan->has_cost = false;
				if (scan->condition.nulls)
					status = SemtrieReaderNulls(scan->reader, &scan->tids, &scan->ntids);
				break;
			case PHASE_END:
				break;
		}
		if (status == STK_OK && found)
			status =
				SemtrieReaderPosting(scan->reader, scan->hit.posting, &scan->tids, &scan->ntids);
		if (status != STK_OK)
			return status;
		if (scan->resuming && scan->ntids > 0)
			skip_returned(scan);
		if (scan->phase == PHASE_NULLS)
		{
			/* all of them at once; compare_with_last still needs the phase */
			if (scan->next < scan->ntids)
				return STK_OK;
			next_phase(desc, scan);
		}
		else if (!found)
			next_phase(desc, scan);
		else if (scan->next < scan->ntids)
			return STK_OK;
		scan->ntids = scan->next = 0;
	}
	return STK_OK;
}

/* Make tids[next] the next row; false when there is none. */
static bool
find_row(IndexScanDesc desc, SemtrieScan *scan)
{
	if (!scan->prepared)
		prepare(desc, scan);
	while (scan->next >= scan->ntids)
	{
		stk_status status = STK_OK;

		if (scan->reader == NULL)
			status = start(desc, scan);
		else if (scan->phase == PHASE_NULLS && scan->ntids > 0)
			scan->phase = PHASE_END;
		if (status == STK_OK)
			status = next_rows(desc, scan);
		report(status, NULL);
		if (status == STK_ERETRY)
		{
			if (++scan->retries >= SEMTRIE_MAX_RETRIES)
				SemtrieReportRetries(desc->indexRelation);
			scan->reader = NULL;
			scan->ntids = scan->next = 0;
			continue;
		}
		if (scan->phase == PHASE_END)
			return false;
	}
	return true;
}

bool
semtrie_gettuple(IndexScanDesc desc, ScanDirection direction)
{
	SemtrieScan *scan = desc->opaque;

	if (!ScanDirectionIsForward(direction))
		elog(ERROR, "semtrie only supports forward scans");
	if (!find_row(desc, scan))
		return false;

	desc->xs_heaptid = scan->tids[scan->next++];
	desc->xs_recheck = false;
	if (desc->numberOfOrderBys > 0)
	{
		IndexOrderByDistance distance = {.value = scan->has_cost ? scan->hit.cost : 0,
										 .isnull = !scan->has_cost};
		Oid type = FLOAT8OID;

		index_store_float8_orderby_distances(desc, &type, &distance, false);
	}
	scan->has_last = true;
	scan->last.phase = scan->phase;
	scan->last.cost = scan->hit.cost;
	scan->last.id = scan->hit.id;
	scan->last.tid = desc->xs_heaptid;
	scan->retries = 0;
	return true;
}

int64
semtrie_getbitmap(IndexScanDesc desc, TIDBitmap *tbm)
{
	SemtrieScan *scan = desc->opaque;
	int64 n = 0;

	while (find_row(desc, scan))
	{
		size_t rows = scan->ntids - scan->next;

		CHECK_FOR_INTERRUPTS();
		for (size_t done = 0; done < rows; done += 1000)
			tbm_add_tuples(tbm, (ItemPointer) &scan->tids[scan->next + done],
						   (int) Min(rows - done, 1000), false);
		scan->has_last = true;
		scan->last.phase = scan->phase;
		scan->last.cost = scan->hit.cost;
		scan->last.id = scan->hit.id;
		scan->last.tid = scan->tids[scan->ntids - 1];
		scan->next = scan->ntids;
		scan->retries = 0;
		n += (int64) rows;
	}
	return n;
}
