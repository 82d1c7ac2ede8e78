/*
 * A random catalog of ids as a trie, for the tests of the searches: with or without one-id tails,
 * with ids below ids, several tokenizers and several items an id.
 */
#ifndef TEST_CATALOG_H
#define TEST_CATALOG_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/search.h"
#include "core/semid.h"
#include "core/trie.h"

typedef struct prng
{
	uint64_t state;
} prng;

/* splitmix64 */
static inline uint64_t
prng_next(prng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint32_t
prng_below(prng *r, uint32_t n)
{
	return (uint32_t) (prng_next(r) % n);
}

static inline double
prng_uniform(prng *r)
{
	return (double) (prng_next(r) >> 11) * 0x1p-53;
}

typedef struct catalog
{
	stk_trie trie; /* first */
	bool tails;    /* show subtrees of one id as tails */
	size_t n;
	stk_semid *ids; /* ascending, each once */
	uint64_t *items;
	uint8_t (*bytes)[STK_SEMID_MAX_BYTES];
	size_t *lens;
	const uint8_t **pointers;
	stk_root roots[16];
	size_t n_roots;
	stk_child *children;
	uint64_t expansions;
} catalog;

/* A node is a run of ids that share their first `depth` codes. */
static inline uint64_t
catalog_node(size_t from, size_t to, int depth)
{
	return (uint64_t) from << 34 | (uint64_t) to << 6 | (uint64_t) depth;
}

static inline stk_status
catalog_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	catalog *c = (catalog *) trie;
	size_t from = node >> 34;
	size_t to = node >> 6 & 0xfffffff;
	int depth = (int) (node & 63);

	c->expansions++;
	*n = 0;
	if (from < to && c->ids[from].levels == depth)
		from++;
	while (from < to)
	{
		stk_child *child = &c->children[(*n)++];
		size_t end = from;
		const stk_semid *id = &c->ids[from];

		memset(child, 0, sizeof(*child));
		child->code = id->codes[depth];
		while (end < to && c->ids[end].codes[depth] == child->code)
			child->items += c->items[end++];
		if (end - from == 1 && id->levels > depth + 1 && c->tails)
		{
			child->flags = STK_CHILD_TAIL;
			child->tail_len = (uint8_t) (id->levels - depth - 1);
			child->tail = id->codes + depth + 1;
			child->posting = from;
		}
		else
		{
			if (id->levels == depth + 1)
			{
				child->flags |= STK_CHILD_ID;
				child->posting = from;
			}
			if (end - from > 1 || id->levels > depth + 1)
			{
				child->flags |= STK_CHILD_INNER;
				child->node = catalog_node(from, end, depth + 1);
			}
		}
		from = end;
	}
	*children = c->children;
	return STK_OK;
}

static inline stk_status
catalog_exceeds(stk_trie *trie, uint64_t node, uint64_t children, bool *more)
{
	const catalog *c = (catalog *) trie;
	size_t from = node >> 34;
	size_t to = node >> 6 & 0xfffffff;
	int depth = (int) (node & 63);
	uint64_t n = 0;

	if (from < to && c->ids[from].levels == depth)
		from++;
	for (size_t i = from; i < to; i++)
		n += i == from || c->ids[i].codes[depth] != c->ids[i - 1].codes[depth];
	*more = n > children;
	return STK_OK;
}

static inline int
catalog_compare(const void *x, const void *y)
{
	const stk_semid *a = x;
	const stk_semid *b = y;
	uint8_t p[STK_SEMID_MAX_BYTES], q[STK_SEMID_MAX_BYTES];
	size_t plen = stk_semid_pack(a, p);
	size_t qlen = stk_semid_pack(b, q);

	return stk_semid_bytes_cmp(p, plen, q, qlen);
}

/* ids is taken over: sorted, duplicates counted as items. */
static inline void
catalog_init(catalog *c, stk_semid *ids, size_t n, bool tails)
{
	memset(c, 0, sizeof(*c));
	c->trie.expand = catalog_expand;
	c->trie.exceeds = catalog_exceeds;
	c->tails = tails;
	c->ids = ids;
	c->items = calloc(n + 1, sizeof(uint64_t));
	c->bytes = calloc(n + 1, sizeof(*c->bytes));
	c->lens = calloc(n + 1, sizeof(size_t));
	c->pointers = calloc(n + 1, sizeof(uint8_t *));
	c->children = calloc(n + 1, sizeof(stk_child));
	qsort(ids, n, sizeof(stk_semid), catalog_compare);
	for (size_t i = 0; i < n; i++)
	{
		if (c->n == 0 || catalog_compare(&ids[c->n - 1], &ids[i]) != 0)
			ids[c->n++] = ids[i];
		c->items[c->n - 1]++;
	}
	for (size_t i = 0; i < c->n; i++)
	{
		size_t end = i;

		c->lens[i] = stk_semid_pack(&ids[i], c->bytes[i]);
		c->pointers[i] = c->bytes[i];
		if (i > 0 && ids[i].tokenizer == ids[i - 1].tokenizer)
			continue;
		while (end < c->n && ids[end].tokenizer == ids[i].tokenizer)
			end++;
		c->roots[c->n_roots++] = (stk_root){ids[i].tokenizer, catalog_node(i, end, 0)};
	}
}

/* Random ids: tokenizers 1 .. tokenizers, levels in a range, codes below `codes`. */
static inline void
catalog_random(catalog *c, prng *r, size_t n, uint32_t tokenizers, int min_levels, int max_levels,
			   uint32_t codes, bool tails)
{
	stk_semid *ids = calloc(n + 1, sizeof(stk_semid));

	for (size_t i = 0; i < n; i++)
	{
		ids[i].tokenizer = 1 + prng_below(r, tokenizers);
		ids[i].levels = min_levels + (int) prng_below(r, (uint32_t) (max_levels - min_levels + 1));
		for (int l = 0; l < ids[i].levels; l++)
			ids[i].codes[l] = (uint16_t) prng_below(r, codes);
	}
	catalog_init(c, ids, n, tails);
}

static inline void
catalog_free(catalog *c)
{
	free(c->ids);
	free(c->items);
	free(c->bytes);
	free(c->lens);
	free(c->pointers);
	free(c->children);
}

#endif
