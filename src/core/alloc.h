/*
 * How core gets memory: through what its caller hands it. The PostgreSQL side passes a memory
 * context, the worker and the unit tests pass malloc.
 */
#ifndef STK_ALLOC_H
#define STK_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

typedef struct stk_allocator
{
	void *(*alloc)(void *ctx, size_t size);              /* NULL when there is no memory */
	void *(*realloc)(void *ctx, void *ptr, size_t size); /* ptr may be NULL */
	void (*free)(void *ctx, void *ptr);                  /* ptr may be NULL */
	void *ctx;
} stk_allocator;

/* The C library's malloc. */
extern const stk_allocator stk_malloc;

/* Allocate n * size bytes; NULL on overflow or when there is no memory. */
extern void *stk_alloc_array(const stk_allocator *a, size_t n, size_t size);
/* Grow or shrink to n * size bytes; NULL (and ptr kept) on overflow or when there is no memory. */
extern void *stk_realloc_array(const stk_allocator *a, void *ptr, size_t n, size_t size);
extern void stk_free(const stk_allocator *a, void *ptr);

/*
 * Long computations call this between bounded pieces of work. Returning true stops the
 * computation with STK_ECANCELED. NULL means never stop.
 */
typedef struct stk_monitor
{
	bool (*stop)(void *ctx);
	void *ctx;
} stk_monitor;

static inline bool
stk_should_stop(const stk_monitor *m)
{
	return m && m->stop && m->stop(m->ctx);
}

#endif
