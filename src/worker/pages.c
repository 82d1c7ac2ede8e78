#include "worker/pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t) 2 << 20)

size_t
stk_pages_taken(size_t bytes)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

/* Huge pages lie at their multiples only: map so much more that one is within, and cut it out. */
static char *
map_aligned(size_t taken, int protection)
{
	size_t all = taken + HUGE_PAGE;
	char *at = mmap(NULL, all, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (at == MAP_FAILED)
		return NULL;
	before = (HUGE_PAGE - (uintptr_t) at % HUGE_PAGE) % HUGE_PAGE;
	if (before > 0)
		munmap(at, before);
	munmap(at + before + taken, all - before - taken);
	return at + before;
}

void *
stk_pages_map(size_t bytes)
{
	size_t taken = stk_pages_taken(bytes);
	char *block = map_aligned(taken, PROT_READ | PROT_WRITE);

	/* Small pages do as well where the kernel gives no others. */
	if (block)
		(void) madvise(block, taken, MADV_HUGEPAGE);
	return block;
}

void *
stk_pages_resize(void *block, size_t before, size_t bytes)
{
	size_t old = stk_pages_taken(before);
	size_t taken = stk_pages_taken(bytes);
	char *to;

	if (taken == old)
		return block;
	if (taken < old)
	{
		munmap((char *) block + taken, old - taken);
		return block;
	}
	/* Its pages are moved, not copied, to a place as well aligned; its advice goes along. */
	to = map_aligned(taken, PROT_NONE);
	if (!to)
		return NULL;
	if (mremap(block, old, taken, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
	{
		munmap(to, taken);
		return NULL;
	}
	return to;
}

void
stk_pages_unmap(void *block, size_t bytes)
{
	munmap(block, stk_pages_taken(bytes));
}
