/*
 * Items found by their numbers, against counting through the ids of random catalogs; counts that
 * have grown stale; counts that contradict each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalog.h"
#include "core/pick.h"
#include "core/search.h"
#include "failing.h"

/* A catalog that hides some ids but still counts them, or (less = true) counts too few. */
typedef struct liar
{
	stk_trie trie; /* first */
	stk_trie *inner;
	stk_child children[512];
	bool less;
} liar;

static stk_status
liar_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	liar *l = (liar *) trie;
	size_t n_inner;
	stk_status status = l->inner->expand(l->inner, node, children, &n_inner);

	*n = 0;
	for (size_t i = 0; i < n_inner; i++)
	{
		stk_child child = (*children)[i];

		if (l->less && child.flags & STK_CHILD_INNER)
			child.items = 1;
		if (l->less || child.flags & STK_CHILD_INNER || child.code % 2 == 0)
			l->children[(*n)++] = child;
	}
	*children = l->children;
	return status;
}

/* Items before and of each id, in the order that draws count in: an id after those it begins. */
static uint64_t
number_of(const catalog *c, size_t of)
{
	const stk_semid *id = &c->ids[of];
	uint64_t before = 0;

	for (size_t i = 0; i < c->n; i++)
	{
		const stk_semid *other = &c->ids[i];
		bool extends = other->tokenizer == id->tokenizer && other->levels > id->levels &&
					   memcmp(other->codes, id->codes, (size_t) id->levels * 2) == 0;
		bool begins = other->tokenizer == id->tokenizer && other->levels < id->levels &&
					  memcmp(other->codes, id->codes, (size_t) other->levels * 2) == 0;

		if (extends || (i < of && !begins))
			before += c->items[i];
	}
	return before;
}

static size_t
id_index(const catalog *c, const stk_semid *id)
{
	for (size_t i = 0; i < c->n; i++)
		if (catalog_compare(&c->ids[i], id) == 0)
			return i;
	fail_msg("no such id");
	return 0;
}

/* Every item of random catalogs, in any order and some twice. */
static void
test_all(void **state)
{
	prng r = {7};

	(void) state;
	for (int round = 0; round < 1500; round++)
	{
		size_t rows = 1 + prng_below(&r, 90);
		uint64_t items[16], total = 0;
		stk_pick draws[100];
		catalog c;

		catalog_random(&c, &r, rows, 1 + prng_below(&r, 3), 1, 1 + (int) prng_below(&r, 5),
					   1 + prng_below(&r, 6), prng_below(&r, 2));
		assert_int_equal(stk_pick_count(&c.trie, c.roots, c.n_roots, items), STK_OK);
		for (size_t i = 0; i < c.n_roots; i++)
			total += items[i];
		assert_int_equal(total, rows);
		for (size_t i = 0; i < 100; i++)
		{
			draws[i].number = i < rows ? rows - 1 - i : prng_below(&r, (uint32_t) rows);
			draws[i].item = draws[i].number;
		}
		assert_int_equal(stk_pick_find(&c.trie, c.roots, items, c.n_roots, draws, 100, &stk_malloc),
						 STK_OK);
		for (size_t i = 0; i < 100; i++)
		{
			size_t at;

			assert_true(draws[i].found);
			at = id_index(&c, &draws[i].id);
			assert_int_equal(draws[i].posting, at);
			assert_true(draws[i].copy < c.items[at]);
			assert_int_equal(number_of(&c, at) + draws[i].copy, draws[i].number);
			assert_true(i == 0 || draws[i - 1].number <= draws[i].number);
		}
		catalog_free(&c);
	}
}

/* Items that the trie shows, by walking it. */
static uint64_t
count_shown(const catalog *c, stk_trie *trie)
{
	uint64_t shown = 0;

	for (size_t i = 0; i < c->n_roots; i++)
	{
		stk_prefix prefix = {.tokenizer = c->roots[i].tokenizer};
		stk_walk *walk;
		stk_hit hit;
		bool found;

		assert_int_equal(stk_walk_start(&walk, trie, c->roots[i].node, &prefix, &stk_malloc),
						 STK_OK);
		while (stk_walk_next(walk, &found, &hit) == STK_OK && found)
			shown += c->items[hit.posting];
		stk_walk_free(walk);
	}
	return shown;
}

/*
 * Counts above what is there: each item that is has one number; other numbers have no id, or one
 * with fewer items.
 */
static void
test_stale(void **state)
{
	prng r = {8};
	size_t nowhere = 0;

	(void) state;
	for (int round = 0; round < 600; round++)
	{
		liar l = {.trie = {liar_expand}};
		uint64_t items[16], total = 0, found = 0;
		stk_pick draws[100];
		catalog c;

		catalog_random(&c, &r, 1 + prng_below(&r, 99), 2, 1, 3, 5, prng_below(&r, 2));
		l.inner = &c.trie;
		assert_int_equal(stk_pick_count(&l.trie, c.roots, c.n_roots, items), STK_OK);
		for (size_t i = 0; i < c.n_roots; i++)
			total += items[i];
		assert_in_range(total, 0, 100);
		for (size_t i = 0; i < total; i++)
			draws[i] = (stk_pick){.number = i, .item = i};
		assert_int_equal(
			stk_pick_find(&l.trie, c.roots, items, c.n_roots, draws, total, &stk_malloc), STK_OK);
		for (size_t i = 0; i < total; i++)
		{
			if (!draws[i].found || draws[i].copy >= c.items[id_index(&c, &draws[i].id)])
			{
				nowhere++;
				continue;
			}
			found++;
			for (size_t j = 0; j < i; j++)
				assert_false(draws[j].found && draws[j].copy == draws[i].copy &&
							 catalog_compare(&draws[j].id, &draws[i].id) == 0);
		}
		assert_int_equal(found, count_shown(&c, &l.trie));
		catalog_free(&c);
	}
	assert_true(nowhere > 1000);
}

/* Fewer than there are: said, for some items could never be drawn. */
static void
test_contradiction(void **state)
{
	stk_semid *ids = calloc(3, sizeof(stk_semid));
	liar l = {.trie = {liar_expand}, .less = true};
	stk_pick draw = {0};
	uint64_t items[1];
	catalog c;

	(void) state;
	ids[0] = (stk_semid){0, 3, {1, 2, 3}};
	ids[1] = (stk_semid){0, 3, {1, 2, 4}};
	ids[2] = (stk_semid){0, 3, {1, 3, 4}};
	catalog_init(&c, ids, 3, true);
	l.inner = &c.trie;
	assert_int_equal(stk_pick_count(&l.trie, c.roots, 1, items), STK_OK);
	assert_int_equal(stk_pick_find(&l.trie, c.roots, items, 1, &draw, 1, &stk_malloc),
					 STK_ECORRUPT);
	catalog_free(&c);
}

static void
test_memory(void **state)
{
	prng r = {9};
	uint64_t items[1];
	long allowed = 0;
	stk_status status;
	catalog c;

	(void) state;
	catalog_random(&c, &r, 50, 1, 3, 3, 3, true);
	assert_int_equal(stk_pick_count(&c.trie, c.roots, 1, items), STK_OK);
	do
	{
		stk_pick draws[5] = {{.item = 3}, {.item = 1}, {.item = 4}, {.item = 1}, {.item = 49}};
		failing_allocator f;
		stk_allocator a = failing_init(&f, allowed++);

		status = stk_pick_find(&c.trie, c.roots, items, 1, draws, 5, &a);
		assert_int_equal(f.live, 0);
		assert_true(status == STK_OK || status == STK_ENOMEM);
	} while (status != STK_OK);
	assert_int_equal(allowed, 4);
	catalog_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_contradiction),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
