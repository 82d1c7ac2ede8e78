#include "trie_cache.h"

#include <stdbool.h>
#include <string.h>

/* Children are laid into blocks of about so many bytes. */
#define BLOCK_BYTES (256 * 1024)

typedef struct cache_entry
{
	uint64_t node;
	const stk_child *children; /* NULL: the entry is free */
	size_t n;
} cache_entry;

typedef struct cache_block
{
	struct cache_block *next;
} cache_block;

struct stk_trie_cache
{
	stk_trie trie; /* first, so that a stk_trie * is one of these */
	stk_trie *inner;
	stk_allocator a;
	size_t left;          /* bytes that may still be taken */
	cache_entry *entries; /* a hash table, open addressing */
	size_t n;
	size_t room; /* a power of two */
	cache_block *blocks;
	char *free; /* of the block under way */
	size_t free_bytes;
};

static size_t
place_of(const stk_trie_cache *c, uint64_t node)
{
	uint64_t h = node * 0x9e3779b97f4a7c15;

	return (size_t) (h ^ h >> 32) & (c->room - 1);
}

/* The node's entry, or the free one where it would be. */
static cache_entry *
find(const stk_trie_cache *c, uint64_t node)
{
	size_t i = place_of(c, node);

	while (c->entries[i].children && c->entries[i].node != node)
		i = (i + 1) & (c->room - 1);
	return &c->entries[i];
}

/* Take from what may be used; false when it is too little. */
static bool
charge(stk_trie_cache *c, size_t bytes)
{
	if (bytes > c->left)
		return false;
	c->left -= bytes;
	return true;
}

/* Twice the table, unless there is no room for one. */
static void
grow(stk_trie_cache *c)
{
	stk_trie_cache larger = *c;

	larger.room = c->room * 2;
	if (larger.room * sizeof(cache_entry) > c->left)
		return;
	larger.entries = stk_alloc_array(&c->a, larger.room, sizeof(cache_entry));
	if (!larger.entries)
		return;
	memset(larger.entries, 0, larger.room * sizeof(cache_entry));
	larger.left -= larger.room * sizeof(cache_entry);
	for (size_t i = 0; i < c->room; i++)
		if (c->entries[i].children)
			*find(&larger, c->entries[i].node) = c->entries[i];
	larger.left += c->room * sizeof(cache_entry);
	stk_free(&c->a, c->entries);
	*c = larger;
}

/* Room for children, NULL when there is none. */
static stk_child *
room_for(stk_trie_cache *c, size_t n)
{
	size_t bytes = (n ? n : 1) * sizeof(stk_child);
	stk_child *room;

	if (bytes > c->free_bytes)
	{
		size_t size = sizeof(cache_block) + (bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES);
		cache_block *block;

		if (!charge(c, size))
			return NULL;
		block = stk_alloc_array(&c->a, size, 1);
		if (!block)
			return NULL;
		block->next = c->blocks;
		c->blocks = block;
		c->free = (char *) (block + 1);
		c->free_bytes = size - sizeof(cache_block);
	}
	room = (stk_child *) c->free;
	c->free += bytes;
	c->free_bytes -= bytes;
	return room;
}

static stk_status
cache_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	stk_trie_cache *c = (stk_trie_cache *) trie;
	cache_entry *e = find(c, node);
	stk_child *copy;
	stk_status status;

	if (e->children)
	{
		*children = e->children;
		*n = e->n;
		return STK_OK;
	}
	status = c->inner->expand(c->inner, node, children, n);
	if (status != STK_OK)
		return status;
	if (2 * (c->n + 1) > c->room)
	{
		grow(c);
		if (2 * (c->n + 1) > c->room)
			return STK_OK;
		e = find(c, node);
	}
	copy = room_for(c, *n);
	if (!copy)
		return STK_OK;
	if (*n > 0)
		memcpy(copy, *children, *n * sizeof(stk_child));
	*e = (cache_entry){node, copy, *n};
	c->n++;
	*children = copy;
	return STK_OK;
}

stk_status
stk_trie_cache_create(stk_trie_cache **out, stk_trie *trie, size_t bytes, const stk_allocator *a)
{
	stk_trie_cache *c = stk_alloc_array(a, 1, sizeof(*c));

	*out = NULL;
	if (!c)
		return STK_ENOMEM;
	memset(c, 0, sizeof(*c));
	c->trie.expand = cache_expand;
	c->inner = trie;
	c->a = *a;
	c->left = bytes;
	c->room = 256;
	c->entries = stk_alloc_array(a, c->room, sizeof(cache_entry));
	if (!c->entries)
	{
		stk_free(a, c);
		return STK_ENOMEM;
	}
	memset(c->entries, 0, c->room * sizeof(cache_entry));
	*out = c;
	return STK_OK;
}

void
stk_trie_cache_free(stk_trie_cache *c)
{
	if (!c)
		return;

	stk_allocator a = c->a;

	while (c->blocks)
	{
		cache_block *next = c->blocks->next;

		stk_free(&a, c->blocks);
		c->blocks = next;
	}
	stk_free(&a, c->entries);
	stk_free(&a, c);
}

stk_trie *
stk_trie_cache_trie(stk_trie_cache *c)
{
	return &c->trie;
}
