/*
 * What a backend remembers of an index: the run's map and the delta, sorted.
 *
 * An entry is used only after it has been compared with a metapage read for this very scan, once
 * its snapshot exists. The map belongs to a generation. The delta's items belong to (identity,
 * head of the delta, vacuum_count) and are brought up to date by reading on from where the last
 * reader stopped: entries never move, and whenever bulk delete has marked some of them
 * vacuum_count is raised before any of their TIDs can be used again.
 *
 * Maps and deltas are counted references, because a scan may keep its own while the next one
 * brings the cache up to date; a delta that someone uses is copied before it is changed.
 */
#include "am/semtrie.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/catcache.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "compat.h"

/* Deltas kept that no scan uses, in all. */
#define MAX_IDLE_BYTES ((Size) 64 * 1024 * 1024)

typedef struct CacheEntry
{
	Oid index; /* hash key */
	Oid file;
	bool valid; /* false after an invalidation */
	uint64 identity;
	uint64 generation;
	uint64 head_seq;
	uint64 vacuum_count;
	uint64 last_used;
	SemtrieMap *map;
	SemtrieDelta *delta;

	/* where to read on; block is InvalidBlockNumber while there is no delta page */
	BlockNumber block;
	uint64 seq;
	uint32 offset;
} CacheEntry;

static HTAB *cache;
static uint64 clock_hand;

void
SemtrieMapRelease(SemtrieMap *map)
{
	if (map && --map->refs == 0)
		MemoryContextDelete(map->context);
}

void
SemtrieDeltaRelease(SemtrieDelta *delta)
{
	if (delta && --delta->refs == 0)
		MemoryContextDelete(delta->context);
}

static SemtrieDelta *
make_delta(void)
{
	MemoryContext context =
		AllocSetContextCreate(CacheMemoryContext, "semtrie delta", ALLOCSET_DEFAULT_SIZES);
	SemtrieDelta *delta = MemoryContextAllocZero(context, sizeof(SemtrieDelta));

	delta->context = context;
	delta->refs = 1;
	return delta;
}

static void
forget_contents(CacheEntry *entry)
{
	SemtrieMap *map = entry->map;
	SemtrieDelta *delta = entry->delta;

	entry->valid = false;
	entry->map = NULL;
	entry->delta = NULL;
	SemtrieMapRelease(map);
	SemtrieDeltaRelease(delta);
}

/* The relation may have got a new file, or be gone. */
static void
relcache_callback(Datum arg, Oid relid)
{
	if (relid == InvalidOid)
	{
		HASH_SEQ_STATUS status;
		CacheEntry *entry;

		hash_seq_init(&status, cache);
		while ((entry = hash_seq_search(&status)) != NULL)
			forget_contents(entry);
	}
	else
	{
		CacheEntry *entry = hash_search(cache, &relid, HASH_FIND, NULL);

		if (entry)
			forget_contents(entry);
	}
}

static CacheEntry *
find_entry(Relation index)
{
	Oid relid = RelationGetRelid(index);
	CacheEntry *entry;
	bool found;

	if (cache == NULL)
	{
		HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(CacheEntry)};

		if (CacheMemoryContext == NULL)
			CreateCacheMemoryContext();
		ctl.hcxt = CacheMemoryContext;
		cache = hash_create("semtrie indexes", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	}
	entry = hash_search(cache, &relid, HASH_ENTER, &found);
	if (!found)
		memset((char *) entry + sizeof(Oid), 0, sizeof(CacheEntry) - sizeof(Oid));
	entry->last_used = ++clock_hand;
	return entry;
}

/* Drop what has not been used for longest, until the rest is within bounds. */
static void
evict(const CacheEntry *keep)
{
	for (;;)
	{
		HASH_SEQ_STATUS status;
		CacheEntry *entry, *oldest = NULL;
		Size idle = 0;

		hash_seq_init(&status, cache);
		while ((entry = hash_seq_search(&status)) != NULL)
		{
			if (entry == keep || entry->delta == NULL || entry->delta->refs > 1)
				continue;
			idle += entry->delta->bytes;
			if (oldest == NULL || entry->last_used < oldest->last_used)
				oldest = entry;
		}
		if (idle <= MAX_IDLE_BYTES)
			return;
		forget_contents(oldest);
	}
}

/* Read the metapage's directory into a map. */
static stk_status
load_map(Relation index, const SemtrieMeta *meta, SemtrieMap **map)
{
	SemtrieDirectoryEntry *entries;
	size_t n;
	stk_status status = SemtrieReadDirectory(index, meta, &entries, &n, NULL);

	if (status != STK_OK)
		return status;
	*map = SemtrieMapMake(CacheMemoryContext, entries, n, SEMTRIE_LIVE);
	if (entries)
		pfree(entries);
	if ((*map)->pages != meta->run.pages)
	{
		SemtrieMapRelease(*map);
		SemtrieReportCorrupt(index, meta->directory, "directory does not match the run");
	}
	return STK_OK;
}

static void
make_room(SemtrieDelta *delta, size_t need)
{
	size_t capacity = delta->capacity ? delta->capacity : 64;

	if (delta->items && need <= delta->capacity)
		return;
	while (capacity < need)
		capacity *= 2;
	if (delta->items)
		delta->items = repalloc_huge(delta->items, mul_size(capacity, sizeof(SemtrieDeltaItem)));
	else
		delta->items =
			MemoryContextAllocHuge(delta->context, mul_size(capacity, sizeof(SemtrieDeltaItem)));
	delta->bytes += (capacity - delta->capacity) * sizeof(SemtrieDeltaItem);
	delta->capacity = capacity;
}

static void
add_item(SemtrieDelta *delta, const SemtrieDeltaEntry *entry, const uint8 *bytes)
{
	SemtrieDeltaItem *item;

	make_room(delta, delta->n + 1);
	item = &delta->items[delta->n];
	memset(item, 0, sizeof(*item));
	item->tid = entry->tid;
	if (entry->length > 0)
	{
		item->tokenizer = stk_semid_bytes_tokenizer(bytes);
		item->levels = (uint8) stk_semid_bytes_levels(entry->length);
		item->codes = MemoryContextAlloc(delta->context, item->levels * sizeof(uint16));
		for (int i = 0; i < item->levels; i++)
			item->codes[i] = stk_semid_bytes_code(bytes, i);
		delta->bytes += item->levels * sizeof(uint16) + 16;
	}
	delta->n++;
}

/* A copy with codes of its own. */
static SemtrieDelta *
copy_delta(const SemtrieDelta *from)
{
	SemtrieDelta *delta = make_delta();

	make_room(delta, from->n + 1);
	memcpy(delta->items, from->items, from->n * sizeof(SemtrieDeltaItem));
	for (size_t i = 0; i < from->n; i++)
	{
		Size bytes = delta->items[i].levels * sizeof(uint16);

		if (bytes == 0)
			continue;
		delta->items[i].codes = MemoryContextAlloc(delta->context, bytes);
		memcpy(delta->items[i].codes, from->items[i].codes, bytes);
		delta->bytes += bytes + 16;
	}
	delta->n = from->n;
	delta->nulls = from->nulls;
	return delta;
}

static int
compare_items(const void *a, const void *b)
{
	return SemtrieDeltaCompare(a, b);
}

/* items[0 .. sorted) are in order: sort the others, and merge them in from the end. */
static void
merge_new_items(SemtrieDelta *delta, size_t sorted)
{
	size_t added = delta->n - sorted;
	SemtrieDeltaItem *new_items;
	size_t to = delta->n;

	if (added == 0)
		return;
	new_items = delta->items + sorted;
	qsort(new_items, added, sizeof(SemtrieDeltaItem), compare_items);
	if (sorted == 0 || compare_items(&delta->items[sorted - 1], new_items) < 0)
		return;

	new_items =
		MemoryContextAllocHuge(CurrentMemoryContext, mul_size(added, sizeof(SemtrieDeltaItem)));
	memcpy(new_items, delta->items + sorted, added * sizeof(SemtrieDeltaItem));
	while (added > 0)
	{
		/* how many of the old ones come after the last new one */
		size_t lo = 0, hi = sorted;

		while (lo < hi)
		{
			size_t middle = lo + (hi - lo) / 2;

			if (compare_items(&delta->items[middle], &new_items[added - 1]) < 0)
				lo = middle + 1;
			else
				hi = middle;
		}
		to -= sorted - lo;
		memmove(delta->items + to, delta->items + lo, (sorted - lo) * sizeof(SemtrieDeltaItem));
		delta->items[--to] = new_items[--added];
		sorted = lo;
	}
	pfree(new_items);
}

/*
 * Read on from where the entry stands to the end of the chain. Reading past the metapage's tail is
 * harmless: what is there was committed later than the snapshot.
 */
static stk_status
catch_up(Relation index, CacheEntry *entry)
{
	size_t sorted = entry->delta->n;
	BlockNumber block = entry->block;
	uint64 seq = entry->seq;
	uint32 offset = entry->offset;
	PGAlignedBlock page;

	while (block != InvalidBlockNumber)
	{
		SemtrieDeltaEntry delta_entry;
		const uint8 *bytes;
		bool corrupt = false;
		BlockNumber next;

		CHECK_FOR_INTERRUPTS();
		SemtrieCopyPage(index, block, NULL, page.data);
		if (!SemtriePageIs(page.data, SEMTRIE_PAGE_DELTA, seq, 0))
			return STK_ERETRY;
		if (offset < ((PageHeader) page.data)->pd_lower && entry->delta->refs > 1)
		{
			SemtrieDelta *copy = copy_delta(entry->delta);

			SemtrieDeltaRelease(entry->delta);
			entry->delta = copy;
		}
		while (SemtrieDeltaNext(page.data, &offset, &delta_entry, &bytes, &corrupt))
			if (delta_entry.flags == 0)
				add_item(entry->delta, &delta_entry, bytes);
		if (corrupt)
			SemtrieReportCorrupt(index, block, "delta entry that cannot be");
		entry->block = block;
		entry->seq = seq;
		entry->offset = offset;

		next = ((SemtrieDeltaHeader *) (page.data + SEMTRIE_PAGE_BEGIN))->next;
		block = next;
		seq++;
		offset = SEMTRIE_DELTA_BEGIN;
	}
	merge_new_items(entry->delta, sorted);
	while (entry->delta->nulls < entry->delta->n &&
		   entry->delta->items[entry->delta->nulls].levels == 0)
		entry->delta->nulls++;
	return STK_OK;
}

/* Forget what does not belong to this metapage. */
static void
check_entry(CacheEntry *entry, Relation index, const SemtrieMeta *meta)
{
	if (!entry->valid || entry->file != SemtokRelFileNumber(index) ||
		entry->identity != meta->identity)
		forget_contents(entry);
	entry->file = SemtokRelFileNumber(index);
	entry->identity = meta->identity;

	if (entry->map && entry->generation != meta->generation)
	{
		SemtrieMapRelease(entry->map);
		entry->map = NULL;
	}
	if (entry->delta &&
		(entry->head_seq != meta->head_seq || entry->vacuum_count != meta->vacuum_count))
	{
		SemtrieDeltaRelease(entry->delta);
		entry->delta = NULL;
	}
}

stk_status
SemtrieCacheGet(Relation index, const SemtrieMeta *meta, SemtrieMap **map, SemtrieDelta **delta)
{
	CacheEntry *entry = find_entry(index);
	stk_status status;

	check_entry(entry, index, meta);
	entry->valid = false;
	if (entry->map == NULL)
	{
		SemtrieMap *loaded;

		status = load_map(index, meta, &loaded);
		if (status != STK_OK)
			return status;
		entry->map = loaded;
		entry->generation = meta->generation;
	}
	if (entry->delta == NULL)
	{
		entry->delta = make_delta();
		entry->head_seq = meta->head_seq;
		entry->vacuum_count = meta->vacuum_count;
		entry->block = meta->head;
		entry->seq = meta->head_seq;
		entry->offset = SEMTRIE_DELTA_BEGIN;
	}
	status = catch_up(index, entry);
	if (status != STK_OK)
		return status;
	entry->valid = true;
	entry->map->refs++;
	entry->delta->refs++;
	*map = entry->map;
	*delta = entry->delta;
	evict(entry);
	return STK_OK;
}
