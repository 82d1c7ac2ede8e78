/*
 * CREATE INDEX: sort the table's ids, write one run, then the metapage.
 */
#include "am/semtrie.h"

#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "storage/smgr.h"
#include "utils/memutils.h"

#include "types/semid.h"

typedef struct BuildState
{
	SemtrieSort *sort;
	MemoryContext context; /* reset for each row */
	double rows;
} BuildState;

static void
build_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive,
			   void *state)
{
	BuildState *build = state;
	MemoryContext old = MemoryContextSwitchTo(build->context);

	if (isnull[0])
		SemtrieSortAdd(build->sort, NULL, tid);
	else
	{
		stk_semid id;

		SemidUnpack(DatumGetSemidPP(values[0]), &id);
		SemtrieSortAdd(build->sort, &id, tid);
	}
	build->rows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->context);
}

/* Put a list of extents into directory entries. */
static SemtrieDirectoryEntry *
live_entries(const SemtrieExtentList *extents)
{
	SemtrieDirectoryEntry *entries = palloc(sizeof(SemtrieDirectoryEntry) * (extents->n + 1));

	for (size_t i = 0; i < extents->n; i++)
		entries[i] = (SemtrieDirectoryEntry){extents->extents[i], SEMTRIE_LIVE};
	return entries;
}

/* Write everything that was sorted, and the metapage last. */
static void
write_index(Relation index, SemtrieSort *sort)
{
	SemtrieSpace space = {.index = index};
	SemtrieExtentList extents = {0};
	SemtrieMeta meta;
	SemtrieWriter *writer;
	PGAlignedBlock page;
	stk_semid id;
	bool is_null;
	ItemPointerData tid;

	SemtrieMetaInit(&meta);
	if (SemtrieSpaceTake(&space) != SEMTRIE_META_BLOCK)
		elog(ERROR, "index \"%s\" is not empty", RelationGetRelationName(index));

	writer = SemtrieWriterStart(index, &space, meta.run.id);
	while (SemtrieSortNext(sort, &id, &is_null, &tid))
	{
		if (is_null)
			SemtrieWriterAddNull(writer, &tid);
		else
			SemtrieWriterAdd(writer, &id, &tid);
	}
	SemtrieWriterFinish(writer, &meta.run, &extents);
	meta.build_limit = U64FromFullTransactionId(ReadNextFullTransactionId());
	if (extents.n > 0)
		SemtrieWriteDirectory(&space, meta.generation, live_entries(&extents), extents.n,
							  &meta.directory);
	for (size_t i = 0; i < space.free.n && i < SEMTRIE_MAX_RESERVE; i++)
		meta.reserve[meta.reserve_count++] = space.free.extents[i];
	SemtrieMetaPageInit(page.data, &meta);
	SemtrieWritePage(index, SEMTRIE_META_BLOCK, page.data);
}

IndexBuildResult *
semtrie_build(Relation heap, Relation index, IndexInfo *info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	BuildState build = {0};

	if (info->ii_ExclusionOps != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method \"semtrie\" does not support exclusion constraints")));
	build.sort = SemtrieSortStart(maintenance_work_mem);
	build.context =
		AllocSetContextCreate(CurrentMemoryContext, "semtrie build", ALLOCSET_DEFAULT_SIZES);
	result->heap_tuples =
		table_index_build_scan(heap, index, info, true, true, build_callback, &build, NULL);
	SemtrieSortPerform(build.sort);
	write_index(index, build.sort);
	SemtrieSortEnd(build.sort);
	MemoryContextDelete(build.context);
	result->index_tuples = build.rows;
	return result;
}

/* The init fork of an unlogged index: WAL-logged although the main fork is not. */
void
semtrie_buildempty(Relation index)
{
	SemtrieMeta meta;
	Buffer buffer = ReadBufferExtended(index, INIT_FORKNUM, P_NEW, RBM_NORMAL, NULL);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	SemtrieMetaInit(&meta);
	START_CRIT_SECTION();
	SemtrieMetaPageInit(BufferGetPage(buffer), &meta);
	MarkBufferDirty(buffer);
	log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}
