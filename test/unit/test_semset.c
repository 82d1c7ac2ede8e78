/*
 * semset: the stored form, the questions it answers, damaged bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "catalog.h"
#include "core/semset.h"
#include "failing.h"

static void
build(const catalog *c, uint8_t **bytes, size_t *len, stk_semset *set)
{
	stk_error err = {0};

	assert_int_equal(
		stk_semset_build(c->pointers, c->lens, c->n, 0, &stk_malloc, NULL, bytes, len, &err),
		STK_OK);
	if (stk_semset_check(*bytes, *len, &err) != STK_OK)
		fail_msg("%s", err.message);
	assert_int_equal(stk_semset_view(*bytes, *len, set, &err), STK_OK);
}

static void
make_catalog(catalog *c, const stk_semid *ids, size_t n)
{
	stk_semid *copy = calloc(n, sizeof(stk_semid));

	if (n > 0)
		memcpy(copy, ids, n * sizeof(stk_semid));
	catalog_init(c, copy, n, false);
}

/* The stored form is final. */
static void
test_golden_bytes(void **state)
{
	static const stk_semid ids[] = {
		{7, 1, {5}}, {7, 3, {5, 258, 9}}, {3, 2, {65535, 0}}, {7, 2, {5, 2}}};
	catalog c;
	uint8_t *bytes;
	size_t len;
	stk_semset set;
	stk_error err;

	(void) state;
	make_catalog(&c, ids, 4);
	build(&c, &bytes, &len, &set);
	assert_hex(bytes, len,
			   "01 03 0000 02000000 04000000"        /* version, depth, roots, ids */
			   "02000000 03000000 01000000"          /* nodes a level */
			   "03000000 07000000"                   /* tokenizers */
			   "00000000 01000000 02000000"          /* their first children */
			   "00000000 01000000 03000000"          /* level 1: first children */
			   "ffff 0500 02000000"                  /*   codes, ends */
			   "00000000 00000000 00000000 01000000" /* level 2 */
			   "0000 0200 0201 0000 03000000"
			   "0900 0000 01000000"); /* level 3 */
	free(bytes);

	/* Room for a length word in front. */
	assert_int_equal(
		stk_semset_build(c.pointers, c.lens, c.n, 4, &stk_malloc, NULL, &bytes, &len, &err),
		STK_OK);
	assert_hex(bytes, 8, "00000000 01030000");
	assert_int_equal(stk_semset_check(bytes + 4, len - 4, &err), STK_OK);
	free(bytes);
	catalog_free(&c);
}

static void
test_empty(void **state)
{
	catalog c;
	uint8_t *bytes;
	size_t len;
	stk_semset set;
	stk_semset_iter it;
	stk_semid id;
	static const uint8_t some[] = {0, 0, 0, 1, 0, 1};

	(void) state;
	make_catalog(&c, NULL, 0);
	build(&c, &bytes, &len, &set);
	assert_hex(bytes, len, "01 00 0000 00000000 00000000 00000000");
	stk_semset_iter_init(&it, &set);
	assert_false(stk_semset_iter_next(&it, &id));
	assert_false(stk_semset_contains(&set, some, sizeof(some)));
	assert_int_equal(stk_semset_root(&set, 0), UINT32_MAX);
	free(bytes);
	catalog_free(&c);
}

/*
 * RecTokens' CompactCSRTrie of {[1,2,1], [3,1,2], [3,1,3]}: nodes breadth first from 0 for the
 * root, a child's id its edge's index + 1. A set's numbering is the same less the root.
 */
static void
test_rectokens_golden_trie(void **state)
{
	static const stk_semid ids[] = {{1, 3, {1, 2, 1}}, {1, 3, {3, 1, 2}}, {1, 3, {3, 1, 3}}};
	static const uint32_t row_ptrs[] = {0, 2, 3, 4, 5, 7, 7, 7};
	static const uint16_t cols[] = {1, 3, 2, 1, 1, 2, 3};
	catalog c;
	uint8_t *bytes;
	size_t len;
	stk_semset set;
	uint32_t from, to;
	uint32_t row = 1;

	(void) state;
	make_catalog(&c, ids, 3);
	build(&c, &bytes, &len, &set);
	assert_int_equal(set.total_nodes, 7);
	stk_semset_children(&set, 0, 0, &from, &to);
	assert_int_equal(from, row_ptrs[0]);
	assert_int_equal(to, row_ptrs[1]);
	for (int d = 1; d <= set.depth; d++)
	{
		for (uint32_t i = 0; i < set.nodes[d]; i++, row++)
		{
			assert_int_equal(set.code[d][i], cols[set.base[d] + i]);
			/* RecTokens has no rows for its last level's nodes but one end. */
			if (d == set.depth)
				continue;
			stk_semset_children(&set, d, i, &from, &to);
			assert_int_equal(set.base[d + 1] + from, row_ptrs[row]);
			assert_int_equal(set.base[d + 1] + to, row_ptrs[row + 1]);
		}
	}
	free(bytes);
	catalog_free(&c);
}

static uint64_t
naive_count(const catalog *c, const stk_semid *prefix)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->ids[i].tokenizer == prefix->tokenizer && c->ids[i].levels >= prefix->levels &&
			 memcmp(c->ids[i].codes, prefix->codes, (size_t) prefix->levels * 2) == 0;
	return n;
}

/* Walk the set as a trie and compare every node with the list of ids. */
static uint64_t
walk_trie(stk_semset_trie *t, const catalog *c, uint64_t node, stk_semid *path)
{
	const stk_child *children;
	stk_child *copy;
	size_t n;
	uint64_t ids = 0;

	assert_int_equal(t->trie.expand(&t->trie, node, &children, &n), STK_OK);
	assert_true(n > 0);
	copy = calloc(n, sizeof(stk_child));
	memcpy(copy, children, n * sizeof(stk_child));
	path->levels++;
	for (size_t i = 0; i < n; i++)
	{
		uint8_t bytes[STK_SEMID_MAX_BYTES];
		uint64_t below = 0;
		bool is_id = (copy[i].flags & STK_CHILD_ID) != 0;

		path->codes[path->levels - 1] = copy[i].code;
		assert_true(i == 0 || copy[i - 1].code < copy[i].code);
		assert_true(copy[i].flags != 0 && !(copy[i].flags & STK_CHILD_TAIL));
		assert_int_equal(is_id, stk_semset_contains(t->set, bytes, stk_semid_pack(path, bytes)));
		if (copy[i].flags & STK_CHILD_INNER)
			below = walk_trie(t, c, copy[i].node, path);
		assert_int_equal(copy[i].items, below + is_id);
		assert_int_equal(copy[i].items, naive_count(c, path));
		ids += copy[i].items;
	}
	path->levels--;
	free(copy);
	return ids;
}

static void
test_random(void **state)
{
	prng r = {1};

	(void) state;
	for (int round = 0; round < 300; round++)
	{
		catalog c;
		uint8_t *bytes;
		size_t len;
		stk_semset set;
		stk_semset_iter it;
		stk_semid id;
		stk_semset_trie trie;
		uint32_t codes = 1 + prng_below(&r, round % 4 ? 5 : 3000);

		catalog_random(&c, &r, prng_below(&r, 200), 1 + prng_below(&r, 4), 1,
					   1 + (int) prng_below(&r, round % 9 ? 5 : 32), codes, false);
		build(&c, &bytes, &len, &set);
		assert_int_equal(set.ids, c.n);
		assert_int_equal(set.roots, c.n_roots);

		stk_semset_iter_init(&it, &set);
		for (size_t i = 0; i < c.n; i++)
		{
			assert_true(stk_semset_iter_next(&it, &id));
			assert_int_equal(catalog_compare(&id, &c.ids[i]), 0);
			assert_true(stk_semset_contains(&set, c.bytes[i], c.lens[i]));
		}
		assert_false(stk_semset_iter_next(&it, &id));
		assert_false(stk_semset_iter_next(&it, &id));

		stk_semset_trie_init(&trie, &set, &stk_malloc);
		for (uint32_t i = 0; i < set.roots; i++)
		{
			stk_semid path = {.tokenizer = c.roots[i].tokenizer};

			assert_int_equal(stk_semset_root(&set, path.tokenizer), i);
			assert_int_equal(walk_trie(&trie, &c, i, &path), stk_semset_count(&set, 0, i));
			assert_int_equal(stk_semset_count(&set, 0, i), naive_count(&c, &path));
		}
		assert_int_equal(stk_semset_root(&set, 5), UINT32_MAX);
		stk_semset_trie_reset(&trie);

		for (int tries = 0; tries < 50; tries++)
		{
			uint8_t packed[STK_SEMID_MAX_BYTES];
			bool member = false;

			id.tokenizer = 1 + prng_below(&r, 5);
			id.levels = 1 + (int) prng_below(&r, 6);
			for (int l = 0; l < id.levels; l++)
				id.codes[l] = (uint16_t) prng_below(&r, codes + 1);
			for (size_t i = 0; i < c.n; i++)
				member |= catalog_compare(&c.ids[i], &id) == 0;
			assert_int_equal(stk_semset_contains(&set, packed, stk_semid_pack(&id, packed)),
							 member);
		}
		free(bytes);
		catalog_free(&c);
	}
}

static void
test_duplicates_and_order(void **state)
{
	static const stk_semid ids[] = {{1, 1, {1}}, {1, 2, {1, 1}}, {1, 2, {1, 3}}};
	catalog c;
	uint8_t *once, *twice;
	size_t once_len, twice_len;
	const uint8_t *pointers[6];
	size_t lens[6];
	stk_semset set;
	stk_error err = {0};

	(void) state;
	make_catalog(&c, ids, 3);
	build(&c, &once, &once_len, &set);
	for (int i = 0; i < 6; i++)
	{
		pointers[i] = c.pointers[i / 2];
		lens[i] = c.lens[i / 2];
	}
	assert_int_equal(
		stk_semset_build(pointers, lens, 6, 0, &stk_malloc, NULL, &twice, &twice_len, &err),
		STK_OK);
	assert_int_equal(twice_len, once_len);
	assert_memory_equal(twice, once, once_len);
	free(twice);

	/* Any pair out of order is refused. */
	for (int i = 0; i < 2; i++)
	{
		pointers[0] = c.pointers[i + 1];
		lens[0] = c.lens[i + 1];
		pointers[1] = c.pointers[i];
		lens[1] = c.lens[i];
		assert_int_equal(
			stk_semset_build(pointers, lens, 2, 0, &stk_malloc, NULL, &twice, &twice_len, &err),
			STK_EINVAL);
		assert_string_equal(err.message, "semids are not in ascending order");
	}

	/* So are bytes that are no semid. */
	lens[0] = 5;
	assert_int_equal(
		stk_semset_build(pointers, lens, 1, 0, &stk_malloc, NULL, &twice, &twice_len, &err),
		STK_EINVAL);
	lens[0] = 7;
	assert_int_equal(
		stk_semset_build(pointers, lens, 1, 0, &stk_malloc, NULL, &twice, &twice_len, &err),
		STK_EINVAL);
	lens[0] = STK_SEMID_MAX_BYTES + 2;
	assert_int_equal(
		stk_semset_build(pointers, lens, 1, 0, &stk_malloc, NULL, &twice, &twice_len, &err),
		STK_EINVAL);
	free(once);
	catalog_free(&c);
}

/* Each kind of contradiction is found. */
static void
test_contradictions(void **state)
{
	static const stk_semid ids[] = {
		{7, 1, {5}}, {7, 3, {5, 258, 9}}, {3, 2, {65535, 0}}, {7, 2, {5, 2}}};
	static const struct
	{
		size_t offset;
		uint8_t value;
	} damages[] = {
		{0, 2},    /* version */
		{1, 2},    /* depth */
		{1, 33},   /* depth */
		{2, 1},    /* not zero */
		{4, 1},    /* roots */
		{8, 5},    /* ids */
		{12, 3},   /* nodes */
		{24, 7},   /* tokenizers do not ascend */
		{27, 128}, /* tokenizer out of range */
		{32, 1},   /* the first root's children begin late */
		{36, 0},   /* a root without children */
		{40, 1},   /* the roots' children end early */
		{48, 9},   /* a level's offsets leave the next level */
		{52, 2},   /* and end early */
		{60, 0},   /* an inner id is no id: one less than said */
		{60, 6},   /* a padding bit */
		{61, 1},   /* padding */
		{83, 2},   /* siblings do not ascend */
		{88, 0},   /* leaves without ids */
		{94, 1},   /* padding of the codes */
	};
	catalog c;
	uint8_t *bytes;
	size_t len;
	stk_semset set;
	stk_error err;

	(void) state;
	make_catalog(&c, ids, 4);
	build(&c, &bytes, &len, &set);
	for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++)
	{
		uint8_t was = bytes[damages[i].offset];

		assert_int_not_equal(was, damages[i].value);
		bytes[damages[i].offset] = damages[i].value;
		err.message[0] = 0;
		if (stk_semset_check(bytes, len, &err) != STK_ECORRUPT || err.message[0] == 0)
			fail_msg("byte %zu set to %d was not found", damages[i].offset, damages[i].value);
		bytes[damages[i].offset] = was;
	}
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(stk_semset_check(bytes, cut, &err), STK_ECORRUPT);
	free(bytes);
	catalog_free(&c);
}

/* Damaged bytes are refused or make another set that can be walked, and never anything worse. */
static void
test_damaged_bytes(void **state)
{
	prng r = {2};
	int accepted = 0;

	(void) state;
	for (int round = 0; round < 200; round++)
	{
		catalog c;
		uint8_t *bytes;
		size_t len;
		stk_semset set;

		catalog_random(&c, &r, prng_below(&r, 30), 3, 1, 4, 4, false);
		build(&c, &bytes, &len, &set);
		for (int i = 0; i < 100; i++)
		{
			size_t damaged_len;
			uint8_t *damaged = damage(&r, bytes, len, &damaged_len);
			stk_error err;

			if (stk_semset_check(damaged, damaged_len, &err) == STK_OK)
			{
				stk_semset_iter it;
				stk_semid id, last;
				uint32_t n = 0;

				assert_int_equal(stk_semset_view(damaged, damaged_len, &set, &err), STK_OK);
				stk_semset_iter_init(&it, &set);
				while (stk_semset_iter_next(&it, &id))
				{
					if (n++ > 0)
						assert_true(catalog_compare(&last, &id) < 0);
					last = id;
				}
				assert_int_equal(n, set.ids);
				accepted++;
			}
			free(damaged);
		}
		free(bytes);
		catalog_free(&c);
	}
	assert_true(accepted > 0);
}

static void
test_no_memory(void **state)
{
	static const stk_semid ids[] = {{1, 2, {1, 1}}};
	catalog c;
	failing_allocator fa;
	stk_allocator a = failing_init(&fa, 0);
	uint8_t *bytes;
	size_t len;
	stk_semset set;
	stk_semset_trie trie;
	const stk_child *children;
	size_t n;
	stk_error err;

	(void) state;
	make_catalog(&c, ids, 1);
	assert_int_equal(stk_semset_build(c.pointers, c.lens, c.n, 0, &a, NULL, &bytes, &len, &err),
					 STK_ENOMEM);
	build(&c, &bytes, &len, &set);
	stk_semset_trie_init(&trie, &set, &a);
	assert_int_equal(trie.trie.expand(&trie.trie, 0, &children, &n), STK_ENOMEM);
	stk_semset_trie_reset(&trie);
	assert_int_equal(fa.live, 0);
	free(bytes);
	catalog_free(&c);
}

/* Counts down; stops at 0. */
static bool
stop_at_zero(void *ctx)
{
	return (*(int *) ctx)-- == 0;
}

static void
test_build_stops(void **state)
{
	static const stk_semid ids[] = {{1, 2, {1, 1}}};
	catalog c;

	(void) state;
	make_catalog(&c, ids, 1);
	/* looked at once in each of the two passes; a third look does not come */
	for (int looks = 0; looks < 3; looks++)
	{
		failing_allocator fa;
		stk_allocator a = failing_init(&fa, 1000);
		int left = looks;
		stk_monitor monitor = {stop_at_zero, &left};
		uint8_t *bytes = NULL;
		size_t len;
		stk_error err;

		assert_int_equal(
			stk_semset_build(c.pointers, c.lens, c.n, 0, &a, &monitor, &bytes, &len, &err),
			looks < 2 ? STK_ECANCELED : STK_OK);
		assert_int_equal(fa.live, looks < 2 ? 0 : 1);
		if (looks == 2)
			free(bytes);
	}
	catalog_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build_stops),    cmocka_unit_test(test_golden_bytes),
		cmocka_unit_test(test_empty),          cmocka_unit_test(test_rectokens_golden_trie),
		cmocka_unit_test(test_random),         cmocka_unit_test(test_duplicates_and_order),
		cmocka_unit_test(test_contradictions), cmocka_unit_test(test_damaged_bytes),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
