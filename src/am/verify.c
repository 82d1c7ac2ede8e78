/*
 * semtok.index_check: is an index what it should be, and does it hold every row of its table?
 *
 * The second question is asked as amcheck does: everything in the index goes into a Bloom
 * filter, then every row that a snapshot taken before sees must be in it. A missing row goes
 * unnoticed with a small probability; a row that is there is never reported.
 */
#include "am/check.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "lib/bloomfilter.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "types/semid.h"

PG_FUNCTION_INFO_V1(semtok_index_check);

typedef struct Verify
{
	Relation heap;
	Relation index;
	BlockNumber last_block; /* largest heap block that the index refers to */
	bool any;
	bloom_filter *filter;  /* NULL unless rows are compared */
	MemoryContext context; /* reset for each row */
} Verify;

/* Bytes that stand for a row in the filter; returns how many. */
static size_t
fingerprint(const stk_semid *id, const ItemPointerData *tid, uint8 *out)
{
	size_t length = id ? stk_semid_pack(id, out) : 0;

	memcpy(out + length, tid, sizeof(ItemPointerData));
	return length + sizeof(ItemPointerData);
}

static void
index_row(const stk_semid *id, const ItemPointerData *tid, void *state)
{
	Verify *verify = state;
	uint8 bytes[STK_SEMID_MAX_BYTES + sizeof(ItemPointerData)];

	verify->last_block = Max(verify->any ? verify->last_block : 0, ItemPointerGetBlockNumber(tid));
	verify->any = true;
	if (verify->filter)
		bloom_add_element(verify->filter, bytes, fingerprint(id, tid, bytes));
}

static void
heap_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	Verify *verify = state;
	MemoryContext old = MemoryContextSwitchTo(verify->context);
	uint8 bytes[STK_SEMID_MAX_BYTES + sizeof(ItemPointerData)];
	stk_semid id;
	size_t length;

	CHECK_FOR_INTERRUPTS();
	if (!isnull[0])
		SemidUnpack(DatumGetSemidPP(values[0]), &id);
	length = fingerprint(isnull[0] ? NULL : &id, tid, bytes);
	if (bloom_lacks_element(verify->filter, bytes, length))
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("row (%u,%u) of table \"%s\" is not in semtrie index \"%s\"",
						ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid),
						RelationGetRelationName(verify->heap), RelationGetRelationName(index)),
				 errhint("REINDEX it.")));
	MemoryContextSwitchTo(old);
	MemoryContextReset(verify->context);
}

static void
check_structure(Verify *verify)
{
	stk_status status;
	int tries = 0;

	do
	{
		SemtrieLockMaintenance(verify->index);
		status = SemtrieCheckStructure(verify->index, index_row, verify);
		SemtrieUnlockMaintenance(verify->index);
		if (status != STK_OK && ++tries == SEMTRIE_MAX_RETRIES)
			SemtrieReportRetries(verify->index);
	} while (status != STK_OK);
	if (verify->any && verify->last_block >= RelationGetNumberOfBlocks(verify->heap))
		ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
						errmsg("semtrie index \"%s\" refers to block %u of table \"%s\", which "
							   "does not exist",
							   RelationGetRelationName(verify->index), verify->last_block,
							   RelationGetRelationName(verify->heap))));
}

/* Every row that the snapshot sees, as CREATE INDEX would see it, must be in the filter. */
static void
check_heap(Verify *verify, Snapshot snapshot)
{
	IndexInfo *info = BuildIndexInfo(verify->index);
	TableScanDesc scan = table_beginscan_strat(verify->heap, snapshot, 0, NULL, true, true);

	/* with this, an MVCC snapshot decides which rows count */
	info->ii_Concurrent = true;
	table_index_build_scan(verify->heap, verify->index, info, true, false, heap_row, verify, scan);
}

/*
 * A transaction that began before CREATE INDEX may see rows of broken HOT chains that the index
 * rightly lacks.
 */
static void
require_usable_snapshot(Relation index, Snapshot snapshot)
{
	if (IsolationUsesXactSnapshot() && index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							   snapshot->xmin))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("index \"%s\" cannot be verified using the transaction's snapshot",
							   RelationGetRelationName(index))));
}

static void
check_with_heap(Verify *verify)
{
	Snapshot snapshot = RegisterSnapshot(GetTransactionSnapshot());
	SemtrieMeta meta;
	int64 rows;

	require_usable_snapshot(verify->index, snapshot);
	SemtrieReadMeta(verify->index, &meta);
	rows = (int64) (meta.run.items + meta.run.nulls_count);
	if (meta.tail != InvalidBlockNumber)
		rows += (int64) (meta.tail_seq - meta.head_seq + 1) *
				(BLCKSZ / (sizeof(SemtrieDeltaEntry) + STK_SEMID_HEADER + 2));
	verify->filter =
		bloom_create(rows, maintenance_work_mem, pg_prng_uint64(&pg_global_prng_state));
	verify->context =
		AllocSetContextCreate(CurrentMemoryContext, "semtrie verify", ALLOCSET_DEFAULT_SIZES);
	check_structure(verify);
	check_heap(verify, snapshot);
	MemoryContextDelete(verify->context);
	bloom_free(verify->filter);
	UnregisterSnapshot(snapshot);
}

Datum
semtok_index_check(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	Oid heap_relid = IndexGetRelation(relid, true);
	Verify verify = {0};
	Oid user;
	int security, nest_level;

	/* the table before its index, as everyone does */
	if (OidIsValid(heap_relid))
		verify.heap = table_open(heap_relid, AccessShareLock);
	verify.index = SemtrieOpenIndex(relid);
	if (verify.heap == NULL || verify.index->rd_index->indrelid != heap_relid)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table of index \"%s\" is gone", RelationGetRelationName(verify.index))));
	SemtrieRequireInspection(verify.index);
	if (!verify.index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", RelationGetRelationName(verify.index))));

	/* the index's expressions run as the table's owner, as they do in CREATE INDEX */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(verify.heap->rd_rel->relowner, security | SECURITY_RESTRICTED_OPERATION);
	nest_level = NewGUCNestLevel();
	if (PG_GETARG_BOOL(1))
		check_with_heap(&verify);
	else
		check_structure(&verify);
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(user, security);
	relation_close(verify.index, AccessShareLock);
	table_close(verify.heap, AccessShareLock);
	PG_RETURN_VOID();
}
