/*
 * Memory for one thread's computation, which allocates much and keeps little: taken in blocks from
 * an allocator that threads share, and given back all at once.
 *
 * What is freed is not reused before the arena is emptied.
 */
#ifndef STK_ARENA_H
#define STK_ARENA_H

#include <pthread.h>

#include "core/alloc.h"

typedef struct stk_arena_block stk_arena_block;

typedef struct stk_arena
{
	const stk_allocator *from;
	pthread_mutex_t *lock;   /* held while `from` is called */
	stk_arena_block *blocks; /* the one under way first */
	char *last;              /* allocated last: it can grow where it is */
} stk_arena;

extern void stk_arena_init(stk_arena *arena, const stk_allocator *from, pthread_mutex_t *lock);
/* Its allocator, for one thread at a time. */
extern stk_allocator stk_arena_allocator(stk_arena *arena);
/* Everything allocated from it is gone; one block stays for what comes next. */
extern void stk_arena_empty(stk_arena *arena);
/* The same, and no block stays. */
extern void stk_arena_free(stk_arena *arena);

#endif
