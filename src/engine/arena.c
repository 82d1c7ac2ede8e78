#include "engine/arena.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLOCK_BYTES ((size_t) 256 << 10)
#define ALIGNMENT 16

struct stk_arena_block
{
	stk_arena_block *next;
	size_t used; /* bytes of `room` */
	size_t size;
	_Alignas(ALIGNMENT) char room[];
};

/* Before each piece: its size. */
typedef struct head
{
	_Alignas(ALIGNMENT) size_t size;
} head;

static size_t
rounded(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* A block with room for so many bytes becomes the one under way. */
static bool
add_block(stk_arena *arena, size_t bytes)
{
	size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
	stk_arena_block *block;

	pthread_mutex_lock(arena->lock);
	block = arena->from->alloc(arena->from->ctx, sizeof(stk_arena_block) + size);
	pthread_mutex_unlock(arena->lock);
	if (!block)
		return false;
	*block = (stk_arena_block){.next = arena->blocks, .size = size};
	arena->blocks = block;
	return true;
}

static void *
arena_alloc(void *ctx, size_t size)
{
	stk_arena *arena = ctx;
	stk_arena_block *block = arena->blocks;
	size_t bytes;
	head *h;

	if (size > SIZE_MAX / 2)
		return NULL;
	bytes = sizeof(head) + rounded(size);
	if (!block || block->size - block->used < bytes)
	{
		if (!add_block(arena, bytes))
			return NULL;
		block = arena->blocks;
	}
	h = (head *) (void *) (block->room + block->used);
	h->size = size;
	block->used += bytes;
	arena->last = (char *) (h + 1);
	return arena->last;
}

static void *
arena_realloc(void *ctx, void *ptr, size_t size)
{
	stk_arena *arena = ctx;
	stk_arena_block *block = arena->blocks;
	head *h;
	void *moved;

	if (!ptr)
		return arena_alloc(ctx, size);
	h = (head *) ptr - 1;
	if (size <= h->size)
		return ptr;
	if ((char *) ptr == arena->last && size <= SIZE_MAX / 2)
	{
		size_t more = rounded(size) - rounded(h->size);

		if (more <= block->size - block->used)
		{
			block->used += more;
			h->size = size;
			return ptr;
		}
	}
	moved = arena_alloc(ctx, size);
	if (moved)
		memcpy(moved, ptr, h->size);
	return moved;
}

static void
arena_release(void *ctx, void *ptr)
{
	(void) ctx;
	(void) ptr;
}

void
stk_arena_init(stk_arena *arena, const stk_allocator *from, pthread_mutex_t *lock)
{
	*arena = (stk_arena){.from = from, .lock = lock};
}

stk_allocator
stk_arena_allocator(stk_arena *arena)
{
	return (stk_allocator){arena_alloc, arena_realloc, arena_release, arena};
}

/* Give back all blocks but the first `keep`. */
static void
release_blocks(stk_arena *arena, int keep)
{
	stk_arena_block **at = &arena->blocks;
	stk_arena_block *block;

	for (; keep > 0 && *at; keep--)
		at = &(*at)->next;
	block = *at;
	*at = NULL;
	while (block)
	{
		stk_arena_block *next = block->next;

		pthread_mutex_lock(arena->lock);
		arena->from->free(arena->from->ctx, block);
		pthread_mutex_unlock(arena->lock);
		block = next;
	}
	arena->last = NULL;
}

void
stk_arena_empty(stk_arena *arena)
{
	release_blocks(arena, 1);
	if (arena->blocks)
		arena->blocks->used = 0;
}

void
stk_arena_free(stk_arena *arena)
{
	release_blocks(arena, 0);
}
