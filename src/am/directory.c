/*
 * The directory: where a run's pages are, and which blocks wait to be reused.
 *
 * A chain of pages that is written once, before the metapage refers to it.
 */
#include "am/semtrie.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

void
SemtrieWriteDirectory(SemtrieSpace *space, uint64 generation, const SemtrieDirectoryEntry *entries,
					  size_t n, BlockNumber *head)
{
	size_t npages = (n + SEMTRIE_DIRECTORY_ENTRIES - 1) / SEMTRIE_DIRECTORY_ENTRIES;
	BlockNumber *blocks = palloc(sizeof(BlockNumber) * (npages + 1));
	PGAlignedBlock page;

	for (size_t i = 0; i < npages; i++)
		blocks[i] = SemtrieSpaceTake(space);
	blocks[npages] = InvalidBlockNumber;
	for (size_t i = 0; i < npages; i++)
	{
		SemtrieDirectoryHeader *header =
			(SemtrieDirectoryHeader *) (page.data + SEMTRIE_PAGE_BEGIN);
		size_t done = i * SEMTRIE_DIRECTORY_ENTRIES;
		size_t bytes;

		SemtriePageInit(page.data, SEMTRIE_PAGE_DIRECTORY, generation, (uint32) i);
		header->next = blocks[i + 1];
		header->count = (uint32) Min(n - done, SEMTRIE_DIRECTORY_ENTRIES);
		bytes = header->count * sizeof(SemtrieDirectoryEntry);
		memcpy(page.data + SEMTRIE_DIRECTORY_BEGIN, entries + done, bytes);
		((PageHeader) page.data)->pd_lower = (LocationIndex) (SEMTRIE_DIRECTORY_BEGIN + bytes);
		SemtrieWritePage(space->index, blocks[i], page.data);
	}
	*head = blocks[0];
	pfree(blocks);
}

stk_status
SemtrieReadDirectory(Relation index, const SemtrieMeta *meta, SemtrieDirectoryEntry **entries,
					 size_t *n, SemtrieExtentList *pages)
{
	SemtrieDirectoryEntry *all = NULL;
	size_t total = 0;
	uint32 position = 0;
	PGAlignedBlock page;

	for (BlockNumber block = meta->directory; block != InvalidBlockNumber; position++)
	{
		SemtrieDirectoryHeader *header =
			(SemtrieDirectoryHeader *) (page.data + SEMTRIE_PAGE_BEGIN);
		size_t bytes;

		CHECK_FOR_INTERRUPTS();
		SemtrieCopyPage(index, block, NULL, page.data);
		if (!SemtriePageIs(page.data, SEMTRIE_PAGE_DIRECTORY, meta->generation, position))
			return STK_ERETRY;
		if (header->count == 0 || header->count > SEMTRIE_DIRECTORY_ENTRIES)
			SemtrieReportCorrupt(index, block, "directory page with an impossible count");

		bytes = mul_size(total + header->count, sizeof(SemtrieDirectoryEntry));
		all = all ? repalloc_huge(all, bytes) : MemoryContextAllocHuge(CurrentMemoryContext, bytes);
		memcpy(all + total, page.data + SEMTRIE_DIRECTORY_BEGIN,
			   header->count * sizeof(SemtrieDirectoryEntry));
		total += header->count;
		if (pages)
			SemtrieExtentAdd(pages, block, 1);
		block = header->next;
	}
	*entries = all;
	*n = total;
	return STK_OK;
}
