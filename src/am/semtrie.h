/*
 * The semtrie access method: what its files share.
 *
 * An index is one run and a delta. The run is an immutable trie in a stream of records, written
 * in one pass over sorted input; the delta is a list of pages to which inserts append. A merge
 * writes run and delta as a new run and flips the metapage in one WAL record.
 *
 * Every page is a standard page with SemtrieSpecial at its end and pd_lower past its data:
 *
 *    META       block 0: SemtrieMeta
 *    RUN        records, one after another (see below)
 *    DELTA      SemtrieDeltaHeader, then entries
 *    DIRECTORY  SemtrieDirectoryHeader, then SemtrieDirectoryEntry: where the run's pages are,
 *               which delta pages are kept as history, and which blocks wait until nobody can
 *               need them any more
 *
 * A run is addressed by logical pages 0 .. n-1, which the directory's extents map to blocks; a
 * reference is a logical page and a byte offset there. Records do not straddle pages: what does
 * not fit continues, when SEMTRIE_CONTINUED says so, in the first record of the next logical
 * page. Records, in the host's byte order and without alignment:
 *
 *    FAMILY   all children of one node, ascending by code: u16 code[count]; u8 type[count] when
 *             the header's type is SEMTRIE_MIXED; then for each child, as its type has it,
 *                TAIL       u8 length unless the header has it, u16 code[length]
 *                ID, TAIL   heap TID; with LIST u32 count and the reference of a POSTING instead
 *                INNER      reference of its FAMILY, u32 items at and below
 *    POSTING  heap TID[count], ascending: the rows of one id, or those without one
 *    ROOTS    for each tokenizer, ascending: u32 tokenizer, reference of its FAMILY, u32 items
 *
 * Children precede their parents, ROOTS comes last, and what is below a child lies between what is
 * below its neighbours: SemtrieRunLocate finds the id of a place by that. VACUUM removes a TID by
 * setting its offset number to InvalidOffsetNumber in place: nothing in a run ever moves.
 *
 * Delta pages are numbered, and so is every place in them, a version: what changed since one is the
 * entries behind it (history.c). VACUUM appends an entry too for each id that it takes a row of.
 * A merge therefore keeps the newest of the pages that it has read, the history.
 *
 * Locks. Merge, bulk delete and the checker exclude each other by a heavyweight lock on block 0
 * (SemtrieLockMaintenance). Buffer locks: the delta's tail, then the metapage, then a page that
 * nothing refers to yet; nothing else is held together. Readers hold neither pins nor locks
 * between records, so that blocks may be reused only when every snapshot that could have read an
 * older metapage is gone; run ids and delta sequence numbers, which are never used twice, tell a
 * reader on a standby that it came too late.
 */
#ifndef SEMTOK_SEMTRIE_H
#define SEMTOK_SEMTRIE_H

#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/transam.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"
#include "utils/rel.h"

#include "compat.h"
#include "core/semid.h"
#include "core/status.h"

#define SEMTRIE_META_BLOCK 0
#define SEMTRIE_MAGIC 0x53544B54
#define SEMTRIE_VERSION 2
#define SEMTRIE_PAGE_ID 0xFF5E

#define SEMTRIE_EQUAL_STRATEGY 1
#define SEMTRIE_PREFIX_STRATEGY 2
#define SEMTRIE_COST_STRATEGY 3
#define SEMTRIE_STRATEGIES 3

#define SEMTRIE_DEFAULT_PENDING_LIMIT 4096 /* kB */
#define SEMTRIE_MIN_PENDING_LIMIT 64
#define SEMTRIE_MAX_PENDING_LIMIT (1024 * 1024)

#define SEMTRIE_DEFAULT_HISTORY_LIMIT 128 /* kB */
#define SEMTRIE_MIN_HISTORY_LIMIT 64
#define SEMTRIE_MAX_HISTORY_LIMIT (1024 * 1024)

/* The history may have as many pages as its limit, or this part of the run's if they are more. */
#define SEMTRIE_RUN_TO_HISTORY 8

/* An inserter merges only when the run is at most this many times the delta. */
#define SEMTRIE_RUN_TO_DELTA 16

/* How often a reader starts again on a page that is no longer what it was. */
#define SEMTRIE_MAX_RETRIES 5

typedef enum SemtriePageKind
{
	SEMTRIE_PAGE_META = 1,
	SEMTRIE_PAGE_RUN,
	SEMTRIE_PAGE_DELTA,
	SEMTRIE_PAGE_DIRECTORY
} SemtriePageKind;

typedef struct SemtrieSpecial
{
	uint64 id;       /* RUN: run id; DELTA: sequence number; DIRECTORY: generation */
	uint32 position; /* RUN: logical page; DIRECTORY: position in the chain */
	uint16 kind;     /* SemtriePageKind */
	uint16 page_id;  /* SEMTRIE_PAGE_ID, for tools that look at raw pages */
} SemtrieSpecial;

#define SEMTRIE_PAGE_BEGIN SizeOfPageHeaderData
#define SEMTRIE_PAGE_END (BLCKSZ - MAXALIGN(sizeof(SemtrieSpecial)))
#define SEMTRIE_PAGE_ROOM (SEMTRIE_PAGE_END - SEMTRIE_PAGE_BEGIN)

typedef struct SemtrieExtent
{
	BlockNumber start;
	BlockNumber count;
} SemtrieExtent;

/* Logical page << 16 | offset; no record starts at offset 0. */
typedef uint64 SemtrieRef;
#define SEMTRIE_NO_REF 0
#define SemtrieMakeRef(page, offset) ((uint64) (page) << 16 | (uint64) (offset))
#define SemtrieRefPage(ref) ((BlockNumber) ((ref) >> 16))
#define SemtrieRefOffset(ref) ((uint32) ((ref) &0xFFFF))
#define SEMTRIE_REF_BYTES 6

#define SEMTRIE_RECORD_FAMILY 1
#define SEMTRIE_RECORD_POSTING 2
#define SEMTRIE_RECORD_ROOTS 3

#define SEMTRIE_CONTINUED 1

typedef struct SemtrieRecord
{
	uint8 kind;     /* SEMTRIE_RECORD_… */
	uint8 flags;    /* SEMTRIE_CONTINUED */
	uint8 type;     /* FAMILY: every child's type, or SEMTRIE_MIXED */
	uint8 tail_len; /* FAMILY: every tail's length, or 0 when tails say themselves */
	uint16 count;   /* children, TIDs or roots in this record */
	uint16 bytes;   /* of the whole record, this header included */
} SemtrieRecord;

/* What a child has. INNER and ID may come together; TAIL comes alone; LIST with ID or TAIL. */
#define SEMTRIE_INNER 1
#define SEMTRIE_ID 2
#define SEMTRIE_TAIL 4
#define SEMTRIE_LIST 8
#define SEMTRIE_MIXED 0

#define SEMTRIE_LIST_BYTES (sizeof(uint32) + SEMTRIE_REF_BYTES)
#define SEMTRIE_INNER_BYTES (SEMTRIE_REF_BYTES + sizeof(uint32))
#define SEMTRIE_ROOT_BYTES (2 * sizeof(uint32) + SEMTRIE_REF_BYTES)

/* A run. Counts include what VACUUM has removed since it was written. */
typedef struct SemtrieRun
{
	uint64 id;
	SemtrieRef roots; /* ROOTS, or SEMTRIE_NO_REF when there is no id */
	SemtrieRef nulls; /* POSTING of the rows without id, or SEMTRIE_NO_REF */
	uint64 items;     /* TIDs under ids */
	uint64 nulls_count;
	uint64 ids;   /* distinct */
	uint64 nodes; /* families */
	BlockNumber pages;
	uint32 tokenizers;
	uint32 levels;                         /* of the longest id */
	uint32 largest[STK_MAX_LEVELS];        /* largest code of each level */
	uint64 level_children[STK_MAX_LEVELS]; /* children in the families of each level */
} SemtrieRun;

#define SEMTRIE_MAX_RESERVE 32

typedef struct SemtrieMeta
{
	uint32 magic;
	uint32 version;
	uint64 identity;     /* random: tells a rebuilt index from the one a cache remembers */
	uint64 generation;   /* raised by each merge */
	uint64 vacuum_count; /* raised at the end of each bulk delete */
	uint64 dead;         /* TIDs that VACUUM removed from the run */
	uint64 next_run_id;
	uint64 retire_fxid; /* of the blocks that this generation's merge retired */

	/* What changed: pages history_seq .. head_seq - 1 are kept, listed in the directory. */
	uint64 history_seq;
	uint64 oldest;      /* version from which on changes are known */
	uint64 build_limit; /* next full transaction id when the index had been built */

	/* Delta pages, oldest to newest; InvalidBlockNumber before the first insert. */
	uint64 head_seq;
	uint64 tail_seq;
	BlockNumber head;
	BlockNumber tail;

	BlockNumber directory; /* first page of the chain, or InvalidBlockNumber */
	uint16 leading_keys;   /* columns above the id: 0 */
	uint16 reserve_count;
	SemtrieExtent reserve[SEMTRIE_MAX_RESERVE]; /* blocks for coming delta pages */
	SemtrieRun run;
} SemtrieMeta;

typedef struct SemtrieDeltaHeader
{
	BlockNumber next; /* InvalidBlockNumber on the tail */
	uint32 reserved;

	/* Full transaction ids that are larger than those of all entries before this page's first … */
	uint64 begin_limit;
	uint64 limit; /* … and before its end */
} SemtrieDeltaHeader;

#define SEMTRIE_DELTA_DEAD 1
#define SEMTRIE_DELTA_REMOVED 2 /* no row: VACUUM took one of this id out of the index */

/* Followed by the id's stored form; length 0 is a row without id. */
typedef struct SemtrieDeltaEntry
{
	uint8 flags;
	uint8 length;
	ItemPointerData tid;
} SemtrieDeltaEntry;

#define SEMTRIE_DELTA_BEGIN (SEMTRIE_PAGE_BEGIN + sizeof(SemtrieDeltaHeader))

/* A version: a place in the delta, which grows with every entry and is never used twice. */
#define SemtrieMakeVersion(seq, offset) ((uint64) (seq) *BLCKSZ + (offset))
#define SemtrieVersionSeq(version) ((version) / BLCKSZ)
#define SemtrieVersionOffset(version) ((uint32) ((version) % BLCKSZ))

/* When a directory entry's blocks were retired: a full transaction id, or one of these. */
#define SEMTRIE_LIVE 0        /* part of the run, in logical order */
#define SEMTRIE_RETIRED_NOW 1 /* at the metapage's retire_fxid */
#define SEMTRIE_HISTORY 2     /* delta pages that were merged, oldest first */

typedef struct SemtrieDirectoryEntry
{
	SemtrieExtent extent;
	uint64 retired;
} SemtrieDirectoryEntry;

typedef struct SemtrieDirectoryHeader
{
	BlockNumber next;
	uint32 count;
} SemtrieDirectoryHeader;

#define SEMTRIE_DIRECTORY_BEGIN (SEMTRIE_PAGE_BEGIN + sizeof(SemtrieDirectoryHeader))
#define SEMTRIE_DIRECTORY_ENTRIES                                                                  \
	((SEMTRIE_PAGE_END - SEMTRIE_DIRECTORY_BEGIN) / sizeof(SemtrieDirectoryEntry))

static inline SemtrieRef
SemtrieReadRef(const char *p)
{
	uint32 page;
	uint16 offset;

	memcpy(&page, p, sizeof(page));
	memcpy(&offset, p + sizeof(page), sizeof(offset));
	return SemtrieMakeRef(page, offset);
}

static inline void
SemtrieWriteRef(char *p, SemtrieRef ref)
{
	uint32 page = SemtrieRefPage(ref);
	uint16 offset = SemtrieRefOffset(ref);

	memcpy(p, &page, sizeof(page));
	memcpy(p + sizeof(page), &offset, sizeof(offset));
}

/* A TID as VACUUM leaves it where a row was. */
static inline bool
SemtrieTidIsRemoved(const ItemPointerData *tid)
{
	return tid->ip_posid == InvalidOffsetNumber;
}

/* Order of ids: tokenizer, then codes, a prefix before its extensions. */
static inline int
SemtrieCompareIds(const stk_semid *a, const stk_semid *b)
{
	int n = Min(a->levels, b->levels);

	if (a->tokenizer != b->tokenizer)
		return a->tokenizer < b->tokenizer ? -1 : 1;
	for (int i = 0; i < n; i++)
		if (a->codes[i] != b->codes[i])
			return a->codes[i] < b->codes[i] ? -1 : 1;
	return (a->levels > b->levels) - (a->levels < b->levels);
}

/* page.c: pages, the metapage, blocks */

extern void SemtriePageInit(Page page, SemtriePageKind kind, uint64 id, uint32 position);
/* Is this the page that a reader expects? Safe on any bytes. */
extern bool SemtriePageIs(Page page, SemtriePageKind kind, uint64 id, uint32 position);
extern void SemtrieMetaInit(SemtrieMeta *meta);
extern void SemtrieMetaPageInit(Page page, const SemtrieMeta *meta);
/* The metapage's contents; the caller holds a lock. Errors name what is wrong. */
extern SemtrieMeta *SemtrieMetaOnPage(Relation index, Page page);
extern void SemtrieReadMeta(Relation index, SemtrieMeta *meta);
/* The metapage and the relation's size at the same moment. */
extern void SemtrieReadState(Relation index, SemtrieMeta *meta, BlockNumber *blocks);
/* Write a page into a block of its own, WAL-logged where the relation is. */
extern void SemtrieWritePage(Relation index, BlockNumber block, Page image);
/* Pinned and exclusively locked new block at the end of the relation. */
extern Buffer SemtrieExtend(Relation index);
/* Read one page into copy (BLCKSZ bytes) under a share lock. */
extern void SemtrieCopyPage(Relation index, BlockNumber block, BufferAccessStrategy strategy,
							char *copy);
extern void SemtrieLockMaintenance(Relation index);
extern bool SemtrieTryLockMaintenance(Relation index);
extern void SemtrieUnlockMaintenance(Relation index);
pg_noreturn extern void SemtrieReportCorrupt(Relation index, BlockNumber block, const char *what);
pg_noreturn extern void SemtrieReportRetries(Relation index);

/* A growing list of extents; adjacent blocks join. */
typedef struct SemtrieExtentList
{
	SemtrieExtent *extents;
	size_t n;
	size_t capacity;
} SemtrieExtentList;

extern void SemtrieExtentAdd(SemtrieExtentList *list, BlockNumber start, BlockNumber count);
/* Remove and return one block; InvalidBlockNumber when the list is empty. */
extern BlockNumber SemtrieExtentTake(SemtrieExtentList *list);

/* Blocks to write into: those that are free, then new ones at the end. */
typedef struct SemtrieSpace
{
	Relation index;
	SemtrieExtentList free;
	BlockNumber extended; /* blocks added to the relation */
} SemtrieSpace;

extern BlockNumber SemtrieSpaceTake(SemtrieSpace *space);

/* directory.c */

extern void SemtrieWriteDirectory(SemtrieSpace *space, uint64 generation,
								  const SemtrieDirectoryEntry *entries, size_t n,
								  BlockNumber *head);
/*
 * Read a metapage's directory: entries and, when pages is not NULL, the blocks it occupies.
 * Allocated in the current context. STK_ERETRY when a page is no longer part of it.
 */
extern stk_status SemtrieReadDirectory(Relation index, const SemtrieMeta *meta,
									   SemtrieDirectoryEntry **entries, size_t *n,
									   SemtrieExtentList *pages);

/* writer.c: a run from sorted input */

typedef struct SemtrieWriter SemtrieWriter;

/* Everything lives in the current context. */
extern SemtrieWriter *SemtrieWriterStart(Relation index, SemtrieSpace *space, uint64 run_id);
/* Ids ascending; TIDs of one id ascending. */
extern void SemtrieWriterAdd(SemtrieWriter *writer, const stk_semid *id, ItemPointer tid);
/* Rows without id, TIDs ascending, after all ids. */
extern void SemtrieWriterAddNull(SemtrieWriter *writer, ItemPointer tid);
extern void SemtrieWriterFinish(SemtrieWriter *writer, SemtrieRun *run, SemtrieExtentList *extents);

/* sort.c: order-preserving keys of (semid, TID), NULL last */

typedef struct SemtrieSort SemtrieSort;

extern SemtrieSort *SemtrieSortStart(int work_mem);
/* id NULL: a row without. */
extern void SemtrieSortAdd(SemtrieSort *sort, const stk_semid *id, ItemPointer tid);
extern void SemtrieSortPerform(SemtrieSort *sort);
/* False at the end; *is_null tells a row without id. */
extern bool SemtrieSortNext(SemtrieSort *sort, stk_semid *id, bool *is_null, ItemPointer tid);
extern void SemtrieSortEnd(SemtrieSort *sort);

/* run.c: reading a run */

/* Logical pages (of the history: pages from its first on) to blocks, of one generation. */
typedef struct SemtrieMap
{
	MemoryContext context; /* of its own */
	int refs;
	BlockNumber pages;
	size_t n;
	SemtrieExtent *extents;
	BlockNumber *first; /* [n] logical page at which each extent begins */
} SemtrieMap;

typedef struct SemtrieRunView
{
	Relation index;
	uint64 run_id;
	const SemtrieMap *map;
	BufferAccessStrategy strategy;
} SemtrieRunView;

/* Make a map of a directory's LIVE or HISTORY entries. Its context is a child of the parent. */
extern SemtrieMap *SemtrieMapMake(MemoryContext parent, const SemtrieDirectoryEntry *entries,
								  size_t n, uint64 kind);
extern BlockNumber SemtrieMapBlock(const SemtrieMap *map, BlockNumber page);
/* Copy a logical page. STK_ERETRY when the block holds something else by now. */
extern stk_status SemtrieRunReadPage(const SemtrieRunView *view, BlockNumber page, char *copy);
/* Copy one record into buffer (BLCKSZ bytes) and check its header against the page. */
extern stk_status SemtrieRunReadRecord(const SemtrieRunView *view, SemtrieRef ref, uint8 kind,
									   char *buffer);
/* Where the next piece of a continued record is. */
extern SemtrieRef SemtrieRunContinuation(SemtrieRef ref);
/* Check a record's header: sane and within room bytes. */
extern bool SemtrieRecordIsSane(const char *record, size_t room);
/* Where the TIDs of one page are: calls back with the offset of each, removed ones too. */
typedef void (*SemtrieTidCallback)(uint32 offset, ItemPointer tid, void *state);
extern bool SemtrieRunPageTids(const char *page, SemtrieTidCallback callback, void *state);

/* All (id, TID) of a run in order, then the rows without id; removed TIDs are left out. */
typedef struct SemtrieRunIterator SemtrieRunIterator;

extern SemtrieRunIterator *SemtrieRunIterate(const SemtrieRunView *view, const SemtrieRun *run);
extern bool SemtrieRunIteratorNext(SemtrieRunIterator *it, stk_semid *id, bool *is_null,
								   ItemPointer tid);

/* locate.c: the ids of places in a run */

typedef void (*SemtrieIdCallback)(const stk_semid *id, void *state);

/*
 * Call back with each id that has a TID at one of these places (page and offset of the TID,
 * ascending); its cost is that of the families on their paths. A place that is no TID's is an
 * error.
 */
extern void SemtrieRunLocate(const SemtrieRunView *view, const SemtrieRun *run,
							 const SemtrieRef *places, size_t n, SemtrieIdCallback callback,
							 void *state);

/* delta.c: the delta's pages */

typedef struct SemtrieDeltaItem
{
	uint16 *codes; /* [levels] */
	uint32 tokenizer;
	ItemPointerData tid;
	uint8 levels; /* 0: a row without id */
} SemtrieDeltaItem;

/* Walk one page's entries. False at the end; sets *corrupt when an entry is not possible. */
extern bool SemtrieDeltaNext(const char *page, uint32 *offset, SemtrieDeltaEntry *entry,
							 const uint8 **bytes, bool *corrupt);
static inline SemtrieDeltaHeader *
SemtrieDeltaHeaderOf(const void *page)
{
	return (SemtrieDeltaHeader *) ((char *) page + SEMTRIE_PAGE_BEGIN);
}

/* Is any row in the delta? Its tail may be fresh, or tell of removed ids only. */
extern bool SemtrieDeltaHasRows(Relation index, const SemtrieMeta *meta);
/*
 * Is the delta larger than it should be? A merge rewrites the run, so that a delta that is small
 * beside it waits: what is written in all stays within a constant factor of what was inserted.
 */
extern bool SemtrieDeltaIsLarge(Relation index, const SemtrieMeta *meta);
/* Append; the caller then merges when *over_limit. */
extern void SemtrieDeltaAppend(Relation index, const uint8 *bytes, size_t length, ItemPointer tid,
							   bool *over_limit);
/* Bytes of entries that are appended at once: four times as many fill a page. */
#define SEMTRIE_REMOVED_ROOM ((SEMTRIE_PAGE_END - SEMTRIE_DELTA_BEGIN) / 4)
/* Put an entry that tells of a removed id into entries[]; returns its bytes. */
extern size_t SemtrieDeltaRemovedEntry(char *entry, const uint8 *bytes, size_t length);
extern void SemtrieDeltaAppendRemoved(Relation index, const char *entries, size_t bytes);
/* Make a fresh tail, so that every delta page before it is closed. */
extern void SemtrieDeltaRoll(Relation index);
/* The same, and changes are known from its beginning on only. */
extern void SemtrieDeltaForget(Relation index);
/* Order of items: rows without id, then ids ascending, then TIDs. */
extern int SemtrieDeltaCompare(const SemtrieDeltaItem *a, const SemtrieDeltaItem *b);

/* cache.c: what a backend remembers of an index */

/* The delta's live entries in order. */
typedef struct SemtrieDelta
{
	MemoryContext context; /* of its own */
	int refs;
	SemtrieDeltaItem *items;
	size_t n;
	size_t capacity;
	size_t nulls; /* the first items are the rows without id */
	Size bytes;   /* memory held, about */
} SemtrieDelta;

/*
 * Map and delta that belong to a metapage just read; both come with a reference that
 * SemtrieMapRelease and SemtrieDeltaRelease give back. STK_ERETRY as elsewhere.
 */
extern stk_status SemtrieCacheGet(Relation index, const SemtrieMeta *meta, SemtrieMap **map,
								  SemtrieDelta **delta);
extern void SemtrieMapRelease(SemtrieMap *map);
extern void SemtrieDeltaRelease(SemtrieDelta *delta);

/* merge.c */

/* Merge under the maintenance lock, which the caller holds. */
extern void SemtrieMerge(Relation index, BufferAccessStrategy strategy);

/* handler.c */

extern int SemtriePendingLimit(Relation index); /* kB */
/* How many pages the history of an index may have whose run has so many. */
extern uint64 SemtrieHistoryLimit(Relation index, BlockNumber run_pages);
/* Define the storage parameters; called when the module is loaded. */
extern void SemtrieDefineOptions(void);

/* info.c */

/*
 * Open a semtrie index under AccessShareLock. Another relation is an error (42809), so is an index
 * that is still being built (55000).
 */
extern Relation SemtrieOpenIndex(Oid relid);
/* Raise 42501 unless the user owns the table or is in pg_stat_scan_tables. */
extern void SemtrieRequireInspection(Relation index);

/* callbacks */

extern IndexBuildResult *semtrie_build(Relation heap, Relation index, IndexInfo *info);
extern void semtrie_buildempty(Relation index);
extern bool semtrie_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
						   Relation heap, IndexUniqueCheck check_unique, bool index_unchanged,
						   IndexInfo *info);
extern IndexBulkDeleteResult *semtrie_bulkdelete(IndexVacuumInfo *info,
												 IndexBulkDeleteResult *stats,
												 IndexBulkDeleteCallback callback, void *state);
extern IndexBulkDeleteResult *semtrie_vacuumcleanup(IndexVacuumInfo *info,
													IndexBulkDeleteResult *stats);
extern void semtrie_costestimate(struct PlannerInfo *root, struct IndexPath *path,
								 double loop_count, Cost *startup, Cost *total,
								 Selectivity *selectivity, double *correlation, double *pages);
extern IndexScanDesc semtrie_beginscan(Relation index, int nkeys, int norderbys);
extern void semtrie_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						   int norderbys);
extern bool semtrie_gettuple(IndexScanDesc scan, ScanDirection direction);
extern int64 semtrie_getbitmap(IndexScanDesc scan, TIDBitmap *tbm);
extern void semtrie_endscan(IndexScanDesc scan);
extern bool semtrie_validate(Oid opclass);

#endif
