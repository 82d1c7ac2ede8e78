/*
 * How many results were taken below each prefix, where that is limited. Private to core.
 */
#ifndef STK_QUOTA_H
#define STK_QUOTA_H

#include "alloc.h"
#include "semid.h"

typedef struct quota_entry
{
	uint64_t hash;
	uint64_t taken;
	uint32_t tokenizer;
	int levels; /* 0: not in use */
	uint16_t codes[STK_MAX_LEVELS];
} quota_entry;

typedef struct stk_quota
{
	stk_allocator a;
	const uint64_t *limit; /* [STK_MAX_LEVELS + 1]: of prefixes of so many codes; 0 = any number */
	quota_entry *entries;  /* a hash table, open addressing */
	size_t n;
	size_t room; /* a power of two, or 0 */
} stk_quota;

/* limit outlives it. */
extern void stk_quota_init(stk_quota *q, const uint64_t *limit, const stk_allocator *a);
extern void stk_quota_free(stk_quota *q);

/* Count a result. STK_ENOMEM. */
extern stk_status stk_quota_take(stk_quota *q, const stk_semid *id);

/* May no more come below this prefix, or a prefix of it? q may be NULL: there is no limit. */
extern bool stk_quota_full(const stk_quota *q, uint32_t tokenizer, const uint16_t *codes,
						   int levels);

#endif
