/*
 * What the tests and measurements of tries on a device share: random sets, and their tries there.
 */
#ifndef TEST_CUDA_TRIE_H
#define TEST_CUDA_TRIE_H

#include "catalog.h"
#include "device.h"
#include "trie_search.h"

/* A set, its trie here, and on the device. */
typedef struct there
{
	uint8_t *stored;
	size_t bytes;
	stk_semset set;
	void *block;
	stk_packed_trie here;
	stk_device_trie trie;
} there;

static inline void
there_init(there *t, const catalog *c)
{
	stk_error err = {.level = -1};
	size_t bytes;

	must(stk_semset_build(c->pointers, c->lens, c->n, 0, &stk_malloc, NULL, &t->stored, &t->bytes,
						  &err) == STK_OK,
		 "set", err.message);
	must(stk_semset_view(t->stored, t->bytes, &t->set, &err) == STK_OK, "set", err.message);
	must(stk_packed_trie_build(&t->set, &stk_malloc, NULL, &t->block, &bytes, &t->here, &err) ==
			 STK_OK,
		 "trie", err.message);
	must(stk_device_trie_create(&t->here, t->block, bytes, 0, &t->trie, &err) == STK_OK, "trie",
		 err.message);
}

static inline void
there_free(there *t)
{
	stk_device_trie_free(&t->trie);
	free(t->stored);
	free(t->block);
}

/* Random ids of as many levels, each code below `codes`. */
static inline void
even_catalog(catalog *c, size_t n, int levels, uint32_t codes, prng *r)
{
	stk_semid *ids = calloc(n, sizeof(stk_semid));

	for (size_t i = 0; i < n; i++)
	{
		ids[i].tokenizer = 1;
		ids[i].levels = levels;
		for (int l = 0; l < levels; l++)
			ids[i].codes[l] = (uint16_t) prng_below(r, codes);
	}
	catalog_init(c, ids, n, false);
}

/* A copy on the device. */
static inline void *
device_copy(const void *from, size_t bytes)
{
	void *to = device_memory(bytes);

	MUST_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
	return to;
}

#endif
