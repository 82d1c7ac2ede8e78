#include "quota.h"

#include <string.h>

void
stk_quota_init(stk_quota *q, const uint64_t *limit, const stk_allocator *a)
{
	memset(q, 0, sizeof(*q));
	q->a = *a;
	q->limit = limit;
}

void
stk_quota_free(stk_quota *q)
{
	stk_free(&q->a, q->entries);
}

/* FNV-1a over the tokenizer and the codes, mixed: the table looks at the low bits. */
static uint64_t
hash_prefix(uint32_t tokenizer, const uint16_t *codes, int levels)
{
	uint64_t h = 0xcbf29ce484222325;

	h = (h ^ tokenizer) * 0x100000001b3;
	h = (h ^ (uint64_t) levels) * 0x100000001b3;
	for (int l = 0; l < levels; l++)
		h = (h ^ codes[l]) * 0x100000001b3;
	return h ^ h >> 32;
}

/* The prefix's entry, or the free one where it would be; the table has a free one. */
static quota_entry *
find(const stk_quota *q, uint64_t hash, uint32_t tokenizer, const uint16_t *codes, int levels)
{
	size_t i = (size_t) hash & (q->room - 1);

	for (;; i = (i + 1) & (q->room - 1))
	{
		quota_entry *e = &q->entries[i];

		if (e->levels == 0 ||
			(e->hash == hash && e->tokenizer == tokenizer && e->levels == levels &&
			 memcmp(e->codes, codes, (size_t) levels * sizeof(uint16_t)) == 0))
			return e;
	}
}

static stk_status
grow(stk_quota *q)
{
	stk_quota larger = *q;

	larger.room = q->room ? q->room * 2 : 64;
	larger.entries = stk_alloc_array(&q->a, larger.room, sizeof(quota_entry));
	if (!larger.entries)
		return STK_ENOMEM;
	memset(larger.entries, 0, larger.room * sizeof(quota_entry));
	for (size_t i = 0; i < q->room; i++)
	{
		const quota_entry *e = &q->entries[i];

		if (e->levels > 0)
			*find(&larger, e->hash, e->tokenizer, e->codes, e->levels) = *e;
	}
	stk_free(&q->a, q->entries);
	*q = larger;
	return STK_OK;
}

stk_status
stk_quota_take(stk_quota *q, const stk_semid *id)
{
	for (int d = 1; d <= id->levels; d++)
	{
		uint64_t hash;
		quota_entry *e;

		if (q->limit[d] == 0)
			continue;
		if (2 * (q->n + 1) > q->room)
		{
			stk_status status = grow(q);

			if (status != STK_OK)
				return status;
		}
		hash = hash_prefix(id->tokenizer, id->codes, d);
		e = find(q, hash, id->tokenizer, id->codes, d);
		if (e->levels == 0)
		{
			e->hash = hash;
			e->tokenizer = id->tokenizer;
			e->levels = d;
			memcpy(e->codes, id->codes, (size_t) d * sizeof(uint16_t));
			q->n++;
		}
		e->taken++;
	}
	return STK_OK;
}

bool
stk_quota_full(const stk_quota *q, uint32_t tokenizer, const uint16_t *codes, int levels)
{
	if (!q || q->n == 0)
		return false;
	for (int d = 1; d <= levels; d++)
		if (q->limit[d] != 0 &&
			find(q, hash_prefix(tokenizer, codes, d), tokenizer, codes, d)->taken >= q->limit[d])
			return true;
	return false;
}
