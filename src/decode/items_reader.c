#include "postgres.h"

#include "access/tableam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "am/reader.h"
#include "core/union.h"
#include "decode/items.h"
#include "types/bridge.h"

/* Searches again after STK_ERETRY this often before it gives up. */
#define MAX_ATTEMPTS 8

/* One leaf being read. */
typedef struct LeafReader
{
	SemtrieReader *index;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
} LeafReader;

struct ItemsReader
{
	int n_leaves;
	LeafReader *leaves;
	Snapshot snapshot;
	stk_allocator allocator;
	stk_union *merged; /* NULL for a single leaf, whose trie is used as it is */
	stk_union_source *sources;
};

ItemsReader *
ItemsReaderOpen(Items *items, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ItemsReader *reader = palloc0(sizeof(ItemsReader));

	reader->n_leaves = items->n_leaves;
	reader->leaves = palloc0(mul_size(items->n_leaves, sizeof(LeafReader)));
	reader->sources = palloc0(mul_size(items->n_leaves, sizeof(stk_union_source)));
	reader->snapshot = GetActiveSnapshot();
	reader->allocator = SemtokAllocator(context);
	for (int i = 0; i < items->n_leaves; i++)
	{
		ItemsLeaf *leaf = &items->leaves[i];
		LeafReader *lr = &reader->leaves[i];
		stk_union_source *source = &reader->sources[i];

		/* Serializable transactions lock a semtrie index as a whole, as its scans do. */
		PredicateLockRelation(leaf->index, reader->snapshot);
		pgstat_count_index_scan(leaf->index);
		lr->index = SemtrieReaderOpen(leaf->index, context);
		lr->fetch = table_index_fetch_begin(leaf->table);
		lr->slot = table_slot_create(leaf->table, NULL);
		source->trie = SemtrieReaderTrie(lr->index);
		source->roots = SemtrieReaderRoots(lr->index, &source->n_roots);
	}
	if (reader->n_leaves != 1)
	{
		stk_status status = stk_union_create(reader->sources, reader->n_leaves, &reader->allocator,
											 &reader->merged);

		if (status != STK_OK)
			SemtokReportStatus(status, NULL, "could not read the indexes");
	}
	MemoryContextSwitchTo(old);
	return reader;
}

void
ItemsReaderClose(ItemsReader *reader)
{
	stk_union_free(reader->merged);
	for (int i = 0; i < reader->n_leaves; i++)
	{
		ExecDropSingleTupleTableSlot(reader->leaves[i].slot);
		table_index_fetch_end(reader->leaves[i].fetch);
		SemtrieReaderClose(reader->leaves[i].index);
	}
}

stk_trie *
ItemsReaderTrie(ItemsReader *reader)
{
	return reader->merged ? stk_union_trie(reader->merged) : reader->sources[0].trie;
}

const stk_root *
ItemsReaderRoots(ItemsReader *reader, size_t *n)
{
	if (reader->merged)
		return stk_union_roots(reader->merged, n);
	*n = reader->sources[0].n_roots;
	return reader->sources[0].roots;
}

/* Count the visible rows behind one posting of one leaf, adding to *visible. */
static stk_status
count_visible(ItemsReader *reader, LeafReader *leaf, uint64 posting, int64 *visible)
{
	const ItemPointerData *tids;
	size_t n;
	stk_status status = SemtrieReaderPosting(leaf->index, posting, &tids, &n);

	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n; i++)
	{
		ItemPointerData tid = tids[i]; /* the fetch moves it along the HOT chain */
		bool call_again = false;

		CHECK_FOR_INTERRUPTS();
		if (table_index_fetch_tuple(leaf->fetch, &tid, reader->snapshot, leaf->slot, &call_again,
									NULL))
			(*visible)++;
		ExecClearTuple(leaf->slot);
	}
	return STK_OK;
}

stk_status
ItemsReaderVisible(ItemsReader *reader, uint64 posting, int64 *visible)
{
	const stk_union_posting *postings;
	size_t n;

	*visible = 0;
	if (reader->merged == NULL)
		return count_visible(reader, &reader->leaves[0], posting, visible);
	postings = stk_union_postings(reader->merged, posting, &n);
	for (size_t i = 0; i < n; i++)
	{
		stk_status status = count_visible(reader, &reader->leaves[postings[i].source],
										  postings[i].posting, visible);

		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

void
ItemsRetry(int attempt)
{
	CHECK_FOR_INTERRUPTS();
	if (attempt + 1 >= MAX_ATTEMPTS)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the index was rebuilt again and again during the search"),
						errhint("Try again.")));
}
