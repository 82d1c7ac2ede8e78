/*
 * semtok.catalog_version and semtok.changes: what an inference server needs to keep its own trie up
 * to date.
 *
 * The index's history says which ids to look at; whether one is present is asked of the index under
 * the caller's snapshot, as any search would.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "am/history.h"
#include "core/search.h"
#include "decode/items.h"
#include "types/bridge.h"
#include "types/semid.h"

PG_FUNCTION_INFO_V1(semtok_catalog_version);
PG_FUNCTION_INFO_V1(semtok_changes);

/* Ids after which a reader is opened anew, since it keeps what it has read. */
#define IDS_PER_READER 1000

typedef struct Lookup
{
	Items *items;
	MemoryContext context; /* the reader's */
	ItemsReader *reader;   /* NULL: not open */
	int ids;               /* asked of it */
} Lookup;

/* Open the items; only a plain table's index that outlives a crash has versions. */
static Items *
open_items(Oid relid, const char *what)
{
	Items *items = ItemsOpen(relid);

	ItemsRefuseNodes(items, what);
	if (items->table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s is not available on partitioned table \"%s\"", what,
							   RelationGetRelationName(items->table)),
						errhint("Ask each partition, whose indexes have versions of their own.")));
	if (items->table->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s is not available on unlogged table \"%s\"", what,
							   RelationGetRelationName(items->table)),
						errdetail("A crash empties it and its history.")));
	/* serializable transactions lock a semtrie index as a whole */
	PredicateLockRelation(items->leaves[0].index, GetActiveSnapshot());
	return items;
}

/* catalog_version(items regclass) */
Datum
semtok_catalog_version(PG_FUNCTION_ARGS)
{
	Items *items = open_items(PG_GETARG_OID(0), "catalog_version");
	uint64 version = SemtrieVersion(items->leaves[0].index, GetActiveSnapshot());

	ItemsClose(items);
	PG_RETURN_INT64((int64) version);
}

static void
close_reader(Lookup *lookup)
{
	if (lookup->reader)
		ItemsReaderClose(lookup->reader);
	lookup->reader = NULL;
	MemoryContextReset(lookup->context);
}

/* Does the snapshot see a row with this id? */
static stk_status
find_row(Lookup *lookup, const stk_semid *id, bool *present)
{
	size_t n;
	const stk_root *roots = ItemsReaderRoots(lookup->reader, &n);
	stk_trie *trie = ItemsReaderTrie(lookup->reader);

	*present = false;
	for (size_t i = 0; i < n; i++)
	{
		stk_child at;
		bool found;
		int64 visible;
		stk_status status;

		if (roots[i].tokenizer != id->tokenizer)
			continue;
		status = stk_seek(trie, roots[i].node, id->codes, id->levels, &found, &at);
		if (status == STK_OK && found && (at.flags & STK_CHILD_ID))
		{
			status = ItemsReaderVisible(lookup->reader, at.posting, &visible);
			*present = visible > 0;
		}
		return status;
	}
	return STK_OK;
}

static bool
is_present(Lookup *lookup, const stk_semid *id)
{
	for (int attempt = 0;; attempt++)
	{
		bool present;
		stk_status status;

		if (lookup->ids++ >= IDS_PER_READER || attempt > 0)
		{
			close_reader(lookup);
			lookup->ids = 1;
		}
		if (lookup->reader == NULL)
			lookup->reader = ItemsReaderOpen(lookup->items, lookup->context);
		status = find_row(lookup, id, &present);
		if (status == STK_OK)
			return present;
		if (status != STK_ERETRY)
			SemtokReportStatus(status, NULL, "could not read the items");
		ItemsRetry(attempt);
	}
}

static void
add_id(const stk_semid *id, void *state)
{
	ItemPointerData any;

	ItemPointerSet(&any, 0, FirstOffsetNumber);
	SemtrieSortAdd(state, id, &any);
}

/* Each id once, with whether it is present. */
static void
emit(FunctionCallInfo fcinfo, Lookup *lookup, SemtrieSort *sort)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	stk_semid id, last = {0};
	ItemPointerData tid;
	bool is_null;

	while (SemtrieSortNext(sort, &id, &is_null, &tid))
	{
		Datum values[2];
		bool nulls[2] = {0};

		CHECK_FOR_INTERRUPTS();
		if (last.levels > 0 && SemtrieCompareIds(&last, &id) == 0)
			continue;
		last = id;
		values[0] = SemidMakeDatum(&id);
		values[1] = BoolGetDatum(is_present(lookup, &id));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		pfree(DatumGetPointer(values[0]));
	}
}

/* changes(items regclass, since bigint) */
Datum
semtok_changes(PG_FUNCTION_ARGS)
{
	Lookup lookup = {0};
	SemtrieSort *sort;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	lookup.items = open_items(PG_GETARG_OID(0), "changes");
	lookup.context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok changes", ALLOCSET_DEFAULT_SIZES);
	sort = SemtrieSortStart(work_mem);
	SemtrieChanges(lookup.items->leaves[0].index, (uint64) PG_GETARG_INT64(1), add_id, sort);
	SemtrieSortPerform(sort);
	emit(fcinfo, &lookup, sort);
	SemtrieSortEnd(sort);
	close_reader(&lookup);
	MemoryContextDelete(lookup.context);
	ItemsClose(lookup.items);
	PG_RETURN_NULL();
}
