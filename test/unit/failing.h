/*
 * An allocator that gives out so many blocks, then none, and counts those not yet freed.
 */
#ifndef TEST_FAILING_H
#define TEST_FAILING_H

#include <stdlib.h>

#include "core/alloc.h"

typedef struct failing_allocator
{
	long allowed; /* calls that may still succeed */
	long live;    /* blocks given out and not freed */
} failing_allocator;

static inline void *
failing_alloc(void *ctx, size_t size)
{
	failing_allocator *f = ctx;

	if (f->allowed-- <= 0)
		return NULL;
	f->live++;
	return malloc(size ? size : 1);
}

static inline void *
failing_realloc(void *ctx, void *ptr, size_t size)
{
	failing_allocator *f = ctx;

	if (f->allowed-- <= 0)
		return NULL;
	if (!ptr)
		f->live++;
	return realloc(ptr, size ? size : 1);
}

static inline void
failing_free(void *ctx, void *ptr)
{
	failing_allocator *f = ctx;

	if (ptr)
		f->live--;
	free(ptr);
}

static inline stk_allocator
failing_init(failing_allocator *f, long allowed)
{
	f->allowed = allowed;
	f->live = 0;
	return (stk_allocator){failing_alloc, failing_realloc, failing_free, f};
}

#endif
