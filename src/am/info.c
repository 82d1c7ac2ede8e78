/*
 * semtok.index_info: what is in an index, in numbers.
 */
#include "am/semtrie.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_authid_d.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "compat.h"

PG_FUNCTION_INFO_V1(semtok_index_info);

#define INFO_COLUMNS 19

typedef struct DeltaCounts
{
	int64 pages;
	int64 entries;
	int64 dead;
} DeltaCounts;

Relation
SemtrieOpenIndex(Oid relid)
{
	Relation index = try_relation_open(relid, AccessShareLock);

	if (!index)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	if (index->rd_rel->relkind == RELKIND_PARTITIONED_INDEX)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is a partitioned index", RelationGetRelationName(index)),
						errhint("Name the index of one partition.")));
	if (index->rd_rel->relkind != RELKIND_INDEX || index->rd_indam->ambuild != semtrie_build)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a semtrie index", RelationGetRelationName(index))));
	if (!index->rd_index->indisready)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("index \"%s\" is not ready", RelationGetRelationName(index))));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot access temporary tables of other sessions")));
	return index;
}

void
SemtrieRequireInspection(Relation index)
{
	if (!SemtokOwnsRelation(index->rd_index->indrelid) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_STAT_SCAN_TABLES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for index \"%s\"", RelationGetRelationName(index)),
				 errdetail("Only the table's owner and members of pg_stat_scan_tables may "
						   "inspect its index.")));
}

static stk_status
count_delta(Relation index, const SemtrieMeta *meta, DeltaCounts *counts)
{
	BlockNumber block = meta->head;
	PGAlignedBlock page;

	memset(counts, 0, sizeof(*counts));
	for (uint64 seq = meta->head_seq; block != InvalidBlockNumber && seq <= meta->tail_seq; seq++)
	{
		uint32 offset = SEMTRIE_DELTA_BEGIN;
		SemtrieDeltaEntry entry;
		const uint8 *bytes;
		bool corrupt = false;

		CHECK_FOR_INTERRUPTS();
		SemtrieCopyPage(index, block, NULL, page.data);
		if (!SemtriePageIs(page.data, SEMTRIE_PAGE_DELTA, seq, 0))
			return STK_ERETRY;
		while (SemtrieDeltaNext(page.data, &offset, &entry, &bytes, &corrupt))
		{
			if (entry.flags == 0)
				counts->entries++;
			else if (entry.flags & SEMTRIE_DELTA_DEAD)
				counts->dead++;
		}
		if (corrupt)
			SemtrieReportCorrupt(index, block, "delta entry that cannot be");
		counts->pages++;
		block = ((SemtrieDeltaHeader *) (page.data + SEMTRIE_PAGE_BEGIN))->next;
	}
	return STK_OK;
}

/* Fill the columns from one metapage; STK_ERETRY when it is out of date on a standby. */
static stk_status
gather(Relation index, int64 *values)
{
	SemtrieMeta meta;
	SemtrieDirectoryEntry *entries;
	SemtrieExtentList directory = {0};
	DeltaCounts delta;
	BlockNumber blocks;
	int64 retired = 0, reserved = 0, history = 0, directory_pages = 0;
	size_t n;
	stk_status status;
	int i = 0;

	SemtrieReadState(index, &meta, &blocks);
	status = SemtrieReadDirectory(index, &meta, &entries, &n, &directory);
	if (status == STK_OK)
		status = count_delta(index, &meta, &delta);
	if (status != STK_OK)
		return status;
	for (size_t e = 0; e < n; e++)
	{
		if (entries[e].retired == SEMTRIE_HISTORY)
			history += entries[e].extent.count;
		else if (entries[e].retired != SEMTRIE_LIVE)
			retired += entries[e].extent.count;
	}
	for (size_t e = 0; e < directory.n; e++)
		directory_pages += directory.extents[e].count;
	for (int e = 0; e < meta.reserve_count; e++)
		reserved += meta.reserve[e].count;

	values[i++] = (int64) meta.generation;
	values[i++] = meta.run.pages > 0 ? 1 : 0;
	values[i++] = meta.run.tokenizers;
	values[i++] = meta.run.levels;
	values[i++] = (int64) meta.run.nodes;
	values[i++] = (int64) meta.run.ids;
	values[i++] = (int64) meta.run.items;
	values[i++] = (int64) meta.run.nulls_count;
	values[i++] = (int64) meta.dead;
	values[i++] = delta.entries;
	values[i++] = delta.dead;
	values[i++] = delta.pages;
	values[i++] = meta.run.pages;
	values[i++] = retired;
	values[i++] = reserved;
	values[i++] = (int64) blocks - 1 - meta.run.pages - directory_pages - delta.pages - history -
				  retired - reserved;
	values[i++] = (int64) blocks * BLCKSZ;
	values[i++] = (int64) meta.vacuum_count;
	values[i++] = history;
	Assert(i == INFO_COLUMNS);
	return STK_OK;
}

Datum
semtok_index_info(PG_FUNCTION_ARGS)
{
	Relation index = SemtrieOpenIndex(PG_GETARG_OID(0));
	TupleDesc tupdesc;
	int64 numbers[INFO_COLUMNS];
	Datum values[INFO_COLUMNS];
	bool nulls[INFO_COLUMNS] = {false};

	SemtrieRequireInspection(index);
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int tries = 1; gather(index, numbers) != STK_OK; tries++)
		if (tries == SEMTRIE_MAX_RETRIES)
			SemtrieReportRetries(index);
	relation_close(index, AccessShareLock);
	for (int i = 0; i < INFO_COLUMNS; i++)
		values[i] = Int64GetDatum(numbers[i]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
