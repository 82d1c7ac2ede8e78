/*
 * Pages of a semtrie index, its metapage and its blocks.
 */
#include "am/semtrie.h"

#include "access/xloginsert.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Add at most this many blocks at once: runs need neighbours, small indexes need to stay small. */
#define MAX_EXTEND_BLOCKS 64

/* Initialize a page without data. */
void
SemtriePageInit(Page page, SemtriePageKind kind, uint64 id, uint32 position)
{
	SemtrieSpecial *special;

	PageInit(page, BLCKSZ, sizeof(SemtrieSpecial));
	special = (SemtrieSpecial *) PageGetSpecialPointer(page);
	special->id = id;
	special->position = position;
	special->kind = kind;
	special->page_id = SEMTRIE_PAGE_ID;
}

bool
SemtriePageIs(Page page, SemtriePageKind kind, uint64 id, uint32 position)
{
	PageHeader header = (PageHeader) page;
	SemtrieSpecial *special;

	if (header->pd_special != SEMTRIE_PAGE_END || header->pd_lower < SEMTRIE_PAGE_BEGIN ||
		header->pd_lower > SEMTRIE_PAGE_END)
		return false;
	special = (SemtrieSpecial *) ((char *) page + SEMTRIE_PAGE_END);
	return special->page_id == SEMTRIE_PAGE_ID && special->kind == kind && special->id == id &&
		   special->position == position;
}

/*
 * Where a new index begins to number its delta's pages: beyond what the one that it replaces can
 * have reached, so that versions of that are too old. A page in 16 microseconds is more than can be
 * filled, and no index is replaced as soon; a version of 63 bits has room for them until the year
 * 2557 (2139 where blocks are 32 kB).
 */
static uint64
first_seq(void)
{
	return (uint64) GetCurrentTimestamp() >> 4;
}

/* An index without rows. */
void
SemtrieMetaInit(SemtrieMeta *meta)
{
	memset(meta, 0, sizeof(SemtrieMeta));
	meta->magic = SEMTRIE_MAGIC;
	meta->version = SEMTRIE_VERSION;
	meta->identity = pg_prng_uint64(&pg_global_prng_state);
	meta->generation = 1;
	meta->run.id = 1;
	meta->next_run_id = 2;
	meta->retire_fxid = U64FromFullTransactionId(FirstNormalFullTransactionId);
	meta->build_limit = meta->retire_fxid;
	meta->head_seq = meta->tail_seq = first_seq();
	meta->history_seq = meta->tail_seq + 1;
	meta->oldest = SemtrieMakeVersion(meta->history_seq, SEMTRIE_DELTA_BEGIN);
	meta->head = meta->tail = InvalidBlockNumber;
	meta->directory = InvalidBlockNumber;
}

void
SemtrieMetaPageInit(Page page, const SemtrieMeta *meta)
{
	StaticAssertStmt(sizeof(SemtrieMeta) <= SEMTRIE_PAGE_ROOM, "metapage too large");

	SemtriePageInit(page, SEMTRIE_PAGE_META, 0, 0);
	memcpy((char *) page + SEMTRIE_PAGE_BEGIN, meta, sizeof(SemtrieMeta));
	((PageHeader) page)->pd_lower = SEMTRIE_PAGE_BEGIN + sizeof(SemtrieMeta);
}

SemtrieMeta *
SemtrieMetaOnPage(Relation index, Page page)
{
	SemtrieMeta *meta = (SemtrieMeta *) ((char *) page + SEMTRIE_PAGE_BEGIN);

	if (!SemtriePageIs(page, SEMTRIE_PAGE_META, 0, 0) || meta->magic != SEMTRIE_MAGIC)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" is not a semtrie index", RelationGetRelationName(index))));
	if (meta->version != SEMTRIE_VERSION)
		ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
						errmsg("semtrie index \"%s\" has format version %u, expected %d",
							   RelationGetRelationName(index), meta->version, SEMTRIE_VERSION),
						errhint("REINDEX it.")));
	return meta;
}

/* Copy the metapage's contents. */
void
SemtrieReadMeta(Relation index, SemtrieMeta *meta)
{
	Buffer buffer = ReadBuffer(index, SEMTRIE_META_BLOCK);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(meta, SemtrieMetaOnPage(index, BufferGetPage(buffer)), sizeof(SemtrieMeta));
	UnlockReleaseBuffer(buffer);
}

/*
 * Inserters take blocks under the metapage's exclusive lock only, so that every block below the
 * size seen here is either referred to or free. Blocks beyond 2^31 - 1 (16 TB) have no room in
 * the sets that merge and check make.
 */
void
SemtrieReadState(Relation index, SemtrieMeta *meta, BlockNumber *blocks)
{
	Buffer buffer = ReadBuffer(index, SEMTRIE_META_BLOCK);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(meta, SemtrieMetaOnPage(index, BufferGetPage(buffer)), sizeof(SemtrieMeta));
	*blocks = RelationGetNumberOfBlocks(index);
	UnlockReleaseBuffer(buffer);
	if (*blocks > PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("semtrie index \"%s\" has too many pages",
							   RelationGetRelationName(index))));
}

void
SemtrieWritePage(Relation index, BlockNumber block, Page image)
{
	Buffer buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK, NULL);

	START_CRIT_SECTION();
	memcpy(BufferGetPage(buffer), image, BLCKSZ);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(index))
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

Buffer
SemtrieExtend(Relation index)
{
	bool needs_lock = !RELATION_IS_LOCAL(index);
	Buffer buffer;

	if (needs_lock)
		LockRelationForExtension(index, ExclusiveLock);
	buffer = ReadBuffer(index, P_NEW);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (needs_lock)
		UnlockRelationForExtension(index, ExclusiveLock);
	return buffer;
}

void
SemtrieCopyPage(Relation index, BlockNumber block, BufferAccessStrategy strategy, char *copy)
{
	Buffer buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(copy, BufferGetPage(buffer), BLCKSZ);
	UnlockReleaseBuffer(buffer);
}

/*
 * Merge and bulk delete exclude each other: a merge that ran during a bulk delete could carry a
 * dead TID into the new run after its place in the old one was cleaned.
 */
void
SemtrieLockMaintenance(Relation index)
{
	LockPage(index, SEMTRIE_META_BLOCK, ExclusiveLock);
}

bool
SemtrieTryLockMaintenance(Relation index)
{
	return ConditionalLockPage(index, SEMTRIE_META_BLOCK, ExclusiveLock);
}

void
SemtrieUnlockMaintenance(Relation index)
{
	UnlockPage(index, SEMTRIE_META_BLOCK, ExclusiveLock);
}

void
SemtrieReportCorrupt(Relation index, BlockNumber block, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
					errmsg("semtrie index \"%s\" is corrupt at block %u: %s",
						   RelationGetRelationName(index), block, what),
					errhint("REINDEX it.")));
}

void
SemtrieReportRetries(Relation index)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("semtrie index \"%s\" was merged under the scan %d times in a row",
						   RelationGetRelationName(index), SEMTRIE_MAX_RETRIES),
					errhint("Retry the transaction.")));
}

void
SemtrieExtentAdd(SemtrieExtentList *list, BlockNumber start, BlockNumber count)
{
	if (count == 0)
		return;
	if (list->n > 0)
	{
		SemtrieExtent *last = &list->extents[list->n - 1];

		if (last->start + last->count == start)
		{
			last->count += count;
			return;
		}
	}
	if (list->n == list->capacity)
	{
		size_t capacity = list->capacity ? 2 * list->capacity : 16;
		Size bytes = mul_size(capacity, sizeof(SemtrieExtent));

		list->extents = list->extents ? repalloc_huge(list->extents, bytes)
									  : MemoryContextAllocHuge(CurrentMemoryContext, bytes);
		list->capacity = capacity;
	}
	list->extents[list->n++] = (SemtrieExtent){start, count};
}

/* Blocks go from the list's first extents on, so that runs stay at the relation's start. */
BlockNumber
SemtrieExtentTake(SemtrieExtentList *list)
{
	BlockNumber block;

	if (list->n == 0)
		return InvalidBlockNumber;
	block = list->extents[0].start++;
	if (--list->extents[0].count == 0)
	{
		list->n--;
		memmove(list->extents, list->extents + 1, list->n * sizeof(SemtrieExtent));
	}
	return block;
}

/*
 * A block to write. New ones are added in batches that grow with what was added before; those
 * left over at the end stay in the free list.
 */
BlockNumber
SemtrieSpaceTake(SemtrieSpace *space)
{
	bool needs_lock = !RELATION_IS_LOCAL(space->index);
	BlockNumber batch;

	CHECK_FOR_INTERRUPTS();
	if (space->free.n > 0)
		return SemtrieExtentTake(&space->free);

	batch = Min(MAX_EXTEND_BLOCKS, 1 + space->extended / 8);
	if (needs_lock)
		LockRelationForExtension(space->index, ExclusiveLock);
	for (BlockNumber i = 0; i < batch; i++)
	{
		Buffer buffer = ReadBuffer(space->index, P_NEW);

		SemtrieExtentAdd(&space->free, BufferGetBlockNumber(buffer), 1);
		ReleaseBuffer(buffer);
	}
	if (needs_lock)
		UnlockRelationForExtension(space->index, ExclusiveLock);
	space->extended += batch;
	return SemtrieExtentTake(&space->free);
}
