#include "worker/budget.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "worker/faults.h"
#include "worker/pages.h"

struct stk_budget
{
	pthread_mutex_t lock; /* held by no call of anyone else's code */
	uint64_t limit;
	uint64_t used;

	stk_budget_shortage shortage;
	void *shortage_ctx;
};

stk_status
stk_budget_create(uint64_t limit, stk_budget **out)
{
	stk_budget *b = calloc(1, sizeof(*b));

	if (!b)
		return STK_ENOMEM;
	if (pthread_mutex_init(&b->lock, NULL) != 0)
	{
		free(b);
		return STK_ENOMEM;
	}
	b->limit = limit;
	*out = b;
	return STK_OK;
}

void
stk_budget_free(stk_budget *b)
{
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void
stk_budget_set_shortage(stk_budget *b, stk_budget_shortage shortage, void *ctx)
{
	pthread_mutex_lock(&b->lock);
	b->shortage = shortage;
	b->shortage_ctx = ctx;
	pthread_mutex_unlock(&b->lock);
}

uint64_t
stk_budget_limit(stk_budget *b)
{
	uint64_t limit;

	pthread_mutex_lock(&b->lock);
	limit = b->limit;
	pthread_mutex_unlock(&b->lock);
	return limit;
}

uint64_t
stk_budget_used(stk_budget *b)
{
	uint64_t used;

	pthread_mutex_lock(&b->lock);
	used = b->used;
	pthread_mutex_unlock(&b->lock);
	return used;
}

bool
stk_budget_reserve(stk_budget *b, uint64_t bytes)
{
	for (;;)
	{
		stk_budget_shortage shortage;
		void *ctx;
		uint64_t missing;

		pthread_mutex_lock(&b->lock);
		if (b->used <= b->limit && bytes <= b->limit - b->used)
		{
			b->used += bytes;
			pthread_mutex_unlock(&b->lock);
			return true;
		}
		/* Nothing is given up for what would not fit into an empty budget. */
		shortage = bytes <= b->limit ? b->shortage : NULL;
		ctx = b->shortage_ctx;
		missing = b->used - (b->limit - bytes);
		pthread_mutex_unlock(&b->lock);
		if (!shortage || !shortage(ctx, missing))
			return false;
	}
}

void
stk_budget_release(stk_budget *b, uint64_t bytes)
{
	pthread_mutex_lock(&b->lock);
	b->used -= bytes;
	pthread_mutex_unlock(&b->lock);
}

void
stk_budget_set_limit(stk_budget *b, uint64_t limit)
{
	stk_budget_shortage shortage;
	void *ctx;
	bool beyond;

	pthread_mutex_lock(&b->lock);
	b->limit = limit;
	beyond = b->used > limit;
	shortage = b->shortage;
	ctx = b->shortage_ctx;
	pthread_mutex_unlock(&b->lock);
	/* Little by little, since not all of it may be to be had. */
	while (beyond && shortage && shortage(ctx, 1))
		beyond = stk_budget_used(b) > limit;
}

/*
 * Each block is preceded by its size. Counted is what it takes: of a small one what malloc itself
 * takes, too, some 16 bytes; of a large one its pages.
 */
typedef struct block
{
	uint64_t counted;
	size_t bytes; /* of all this */
	max_align_t data[];
} block;

#define MALLOC_OVERHEAD 16

static bool
is_large(size_t bytes)
{
	return bytes >= STK_PAGES_MIN;
}

static uint64_t
taken(size_t bytes)
{
	return is_large(bytes) ? stk_pages_taken(bytes) : bytes + MALLOC_OVERHEAD;
}

static void
free_block(block *b)
{
	if (b && is_large(b->bytes))
		stk_pages_unmap(b, b->bytes);
	else
		free(b);
}

/* As realloc; b may be NULL. Between small and large it is copied: both are there for a moment. */
static block *
resize_block(block *b, size_t bytes)
{
	block *to;

	if (is_large(bytes) && b && is_large(b->bytes))
		return stk_pages_resize(b, b->bytes, bytes);
	if (!is_large(bytes) && !(b && is_large(b->bytes)))
		return realloc(b, bytes);
	to = is_large(bytes) ? stk_pages_map(bytes) : malloc(bytes);
	if (to && b)
	{
		memcpy(to, b, b->bytes < bytes ? b->bytes : bytes);
		free_block(b);
	}
	return to;
}

/* Bytes held when so many are used. */
static uint64_t
held(const stk_purse *p, uint64_t used)
{
	return used > p->base ? used : p->base;
}

static bool
count(stk_purse *p, uint64_t used)
{
	uint64_t before = held(p, p->used);
	uint64_t after = held(p, used);

	if (after > before && !stk_budget_reserve(p->budget, after - before))
		return false;
	if (after < before)
		stk_budget_release(p->budget, before - after);
	p->used = used;
	return true;
}

static block *
block_of(void *data)
{
	return (block *) (void *) ((char *) data - offsetof(block, data));
}

static void
purse_free(void *ctx, void *ptr)
{
	stk_purse *p = ctx;
	block *b;

	if (!ptr)
		return;
	b = block_of(ptr);
	(void) count(p, p->used - b->counted);
	free_block(b);
}

static void *
purse_realloc(void *ctx, void *ptr, size_t size)
{
	stk_purse *p = ctx;
	block *b = ptr ? block_of(ptr) : NULL;
	uint64_t before = b ? b->counted : 0;
	uint64_t after;
	size_t bytes;

	if (size > SIZE_MAX / 4 || STK_FAULT_MEMORY())
		return NULL;
	bytes = offsetof(block, data) + size;
	after = taken(bytes);
	if (after > before && !count(p, p->used + (after - before)))
		return NULL;
	b = resize_block(b, bytes);
	if (!b)
	{
		if (after > before)
			(void) count(p, p->used - (after - before));
		return NULL;
	}
	if (after < before)
		(void) count(p, p->used - (before - after));
	b->counted = after;
	b->bytes = bytes;
	return b->data;
}

static void *
purse_alloc(void *ctx, size_t size)
{
	return purse_realloc(ctx, NULL, size);
}

bool
stk_purse_open(stk_purse *p, stk_budget *b, uint64_t bytes)
{
	if (!stk_budget_reserve(b, bytes))
		return false;
	*p = (stk_purse){.budget = b, .base = bytes};
	return true;
}

void
stk_purse_close(stk_purse *p)
{
	stk_budget_release(p->budget, stk_purse_held(p));
	*p = (stk_purse){0};
}

stk_allocator
stk_purse_allocator(stk_purse *p)
{
	return (stk_allocator){purse_alloc, purse_realloc, purse_free, p};
}

uint64_t
stk_purse_held(const stk_purse *p)
{
	return held(p, p->used);
}
