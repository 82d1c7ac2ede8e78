/*
 * The trie's layout for devices: every set comes back, node by node, by the functions that kernels
 * walk it with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalog.h"
#include "core/packed_trie.h"
#include "core/semset.h"
#include "failing.h"
#include "rows.h"

/* A set, and its layout. */
typedef struct packed
{
	uint8_t *bytes;
	stk_semset set;
	void *block;
	size_t block_bytes;
	stk_packed_trie trie;
} packed;

static void
pack(packed *p, const catalog *c)
{
	size_t len;
	stk_error err = {.level = -1};

	assert_int_equal(
		stk_semset_build(c->pointers, c->lens, c->n, 0, &stk_malloc, NULL, &p->bytes, &len, &err),
		STK_OK);
	assert_int_equal(stk_semset_view(p->bytes, len, &p->set, &err), STK_OK);
	assert_int_equal(stk_packed_trie_build(&p->set, &stk_malloc, NULL, &p->block, &p->block_bytes,
										   &p->trie, &err),
					 STK_OK);
}

static void
unpack(packed *p)
{
	free(p->bytes);
	free(p->block);
}

/* The nodes at and below a place, both ways at once; returns the ids there. */
static uint64_t
walk(const packed *p, int level, uint32_t node, stk_node handle)
{
	stk_node_children children = stk_node_list(&p->trie, handle);
	uint32_t from, to;
	uint64_t ids = 0;

	stk_semset_children(&p->set, level, node, &from, &to);
	assert_int_equal(children.n, to - from);
	assert_int_equal(stk_node_goes_on(handle), to > from);
	assert_true(to - from <= p->trie.most_children);
	if (level > 0)
	{
		assert_int_equal(stk_node_is_id(handle), stk_semset_is_id(&p->set, level, node));
		ids += stk_node_is_id(handle);
	}
	for (uint32_t i = 0; i < children.n; i++)
	{
		stk_node child = stk_node_child(&p->trie, &children, i);

		assert_int_equal(children.codes[i], p->set.code[level + 1][from + i]);
		assert_int_equal(stk_node_find(&p->trie, handle, children.codes[i]), child);
		if (children.codes[i] > 0 && (i == 0 || children.codes[i - 1] < children.codes[i] - 1))
			assert_int_equal(stk_node_find(&p->trie, handle, (uint16_t) (children.codes[i] - 1)),
							 STK_NODE_NONE);
		ids += walk(p, level + 1, from + i, child);
	}
	return ids;
}

static void
check(const packed *p)
{
	uint64_t ids = 0;

	assert_int_equal(p->trie.roots, p->set.roots);
	assert_int_equal(p->trie.depth, p->set.depth);
	for (uint32_t r = 0; r < p->trie.roots; r++)
	{
		assert_int_equal(p->trie.tokenizer[r], p->set.tokenizer[r]);
		ids += walk(p, 0, r, p->trie.root[r]);
	}
	assert_int_equal(ids, p->set.ids);
}

/* Ragged ids of several tokenizers, dense and sparse: ids below ids, lone tails. */
static void
test_random(void **state)
{
	prng r = {20261122};

	(void) state;
	for (int round = 0; round < 400; round++)
	{
		size_t n = prng_below(&r, round % 10 == 0 ? 2 : 300);
		uint32_t codes = 1 + prng_below(&r, round % 3 == 0 ? 65536 : 5);
		int levels = 1 + (int) prng_below(&r, round % 7 == 0 ? STK_MAX_LEVELS : 5);
		stk_semid *ids = calloc(n ? n : 1, sizeof(stk_semid));
		catalog c;
		packed p;

		for (size_t i = 0; i < n; i++)
		{
			ids[i].tokenizer = prng_below(&r, 1 + (uint32_t) round % 4);
			ids[i].levels = round % 2 ? levels : 1 + (int) prng_below(&r, (uint32_t) levels);
			for (int l = 0; l < ids[i].levels; l++)
				ids[i].codes[l] = (uint16_t) prng_below(&r, codes);
		}
		catalog_init(&c, ids, n, false);
		pack(&p, &c);
		check(&p);
		unpack(&p);
		catalog_free(&c);
	}
}

/* A node with all the children that there can be, some of which go on. */
static void
test_all_children(void **state)
{
	size_t n = 65536 + 2 * 300;
	stk_semid *ids = calloc(n, sizeof(stk_semid));
	catalog c;
	packed p;

	(void) state;
	for (uint32_t i = 0; i < 65536; i++)
	{
		ids[i].levels = 1;
		ids[i].codes[0] = (uint16_t) i;
	}
	for (uint32_t i = 65536; i < n; i++)
	{
		ids[i].levels = 3;
		ids[i].codes[0] = (uint16_t) (i * 97);
		ids[i].codes[1] = (uint16_t) i;
		ids[i].codes[2] = 65535;
	}
	catalog_init(&c, ids, n, false);
	pack(&p, &c);
	assert_int_equal(p.trie.most_children, 65536);
	check(&p);
	unpack(&p);
	catalog_free(&c);
}

/* What it is for: random ids of eight levels take 25 bytes each or less. */
static void
test_compact(void **state)
{
	size_t n = unit_size(1000000, 200000, 30000);
	stk_semid *ids = calloc(n, sizeof(stk_semid));
	prng r = {7};
	catalog c;
	packed p;

	(void) state;
	for (size_t i = 0; i < n; i++)
	{
		ids[i].levels = 8;
		for (int l = 0; l < 8; l++)
			ids[i].codes[l] = (uint16_t) prng_below(&r, 2048);
	}
	catalog_init(&c, ids, n, false);
	pack(&p, &c);
	assert_true(p.block_bytes <= 25 * n);
	check(&p);
	unpack(&p);
	catalog_free(&c);
}

/* A copy of the block elsewhere is the same trie. */
static void
test_copy(void **state)
{
	stk_semid *ids = calloc(2, sizeof(stk_semid));
	uint32_t *copy;
	catalog c;
	packed p;

	(void) state;
	ids[0] = (stk_semid){.tokenizer = 3, .levels = 3, .codes = {1, 2, 3}};
	ids[1] = (stk_semid){.tokenizer = 9, .levels = 2, .codes = {1, 2}};
	catalog_init(&c, ids, 2, false);
	pack(&p, &c);
	copy = malloc(p.block_bytes);
	memcpy(copy, p.block, p.block_bytes);
	memset(p.block, 0x5a, p.block_bytes);
	stk_packed_trie_attach(&p.trie, copy);
	check(&p);
	free(copy);
	unpack(&p);
	catalog_free(&c);
}

static bool
stop_now(void *ctx)
{
	(void) ctx;
	return true;
}

static void
test_failures(void **state)
{
	stk_semid *ids = calloc(3, sizeof(stk_semid));
	stk_monitor stop = {stop_now, NULL};
	stk_packed_trie trie;
	void *block;
	size_t bytes;
	catalog c;
	packed p;
	stk_error err = {.level = -1};
	stk_status status = STK_ENOMEM;

	(void) state;
	for (uint16_t i = 0; i < 3; i++)
		ids[i] = (stk_semid){.tokenizer = 1, .levels = 2, .codes = {i, 1}};
	catalog_init(&c, ids, 3, false);
	pack(&p, &c);
	for (long allowed = 0; status == STK_ENOMEM; allowed++)
	{
		failing_allocator f;
		stk_allocator a = failing_init(&f, allowed);

		status = stk_packed_trie_build(&p.set, &a, NULL, &block, &bytes, &trie, &err);
		stk_free(&a, status == STK_OK ? block : NULL);
		assert_int_equal(f.live, 0);
	}
	assert_int_equal(status, STK_OK);
	assert_int_equal(stk_packed_trie_build(&p.set, &stk_malloc, &stop, &block, &bytes, &trie, &err),
					 STK_ECANCELED);
	assert_null(block);
	unpack(&p);
	catalog_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),
									   cmocka_unit_test(test_all_children),
									   cmocka_unit_test(test_compact), cmocka_unit_test(test_copy),
									   cmocka_unit_test(test_failures)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
