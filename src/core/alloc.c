#include "alloc.h"

#include <stdint.h>
#include <stdlib.h>

static void *
libc_alloc(void *ctx, size_t size)
{
	(void) ctx;
	return malloc(size ? size : 1);
}

static void *
libc_realloc(void *ctx, void *ptr, size_t size)
{
	(void) ctx;
	return realloc(ptr, size ? size : 1);
}

static void
libc_free(void *ctx, void *ptr)
{
	(void) ctx;
	free(ptr);
}

const stk_allocator stk_malloc = {libc_alloc, libc_realloc, libc_free, NULL};

void *
stk_alloc_array(const stk_allocator *a, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / 2 / size)
		return NULL;
	return a->alloc(a->ctx, n * size);
}

void *
stk_realloc_array(const stk_allocator *a, void *ptr, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / 2 / size)
		return NULL;
	return a->realloc(a->ctx, ptr, n * size);
}

void
stk_free(const stk_allocator *a, void *ptr)
{
	if (ptr)
		a->free(a->ctx, ptr);
}
