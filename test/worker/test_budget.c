/* budget: limits, room that someone gives back, purses, large blocks, and many threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rows.h"
#include "worker/budget.h"
#include "worker/pages.h"

static stk_budget *
open_budget(uint64_t limit)
{
	stk_budget *b;

	assert_int_equal(stk_budget_create(limit, &b), STK_OK);
	return b;
}

static void
limits(void **state)
{
	stk_budget *b = open_budget(100);

	(void) state;
	assert_true(stk_budget_reserve(b, 60));
	assert_false(stk_budget_reserve(b, 41));
	assert_false(stk_budget_reserve(b, UINT64_MAX));
	assert_true(stk_budget_reserve(b, 40));
	assert_true(stk_budget_reserve(b, 0));
	assert_int_equal(stk_budget_used(b), 100);

	/* A lower limit takes nothing away, but lets nothing in before all is below it. */
	stk_budget_set_limit(b, 50);
	assert_int_equal(stk_budget_used(b), 100);
	assert_false(stk_budget_reserve(b, 0));
	stk_budget_release(b, 60);
	assert_false(stk_budget_reserve(b, 11));
	assert_true(stk_budget_reserve(b, 10));
	stk_budget_set_limit(b, 51);
	assert_int_equal(stk_budget_limit(b), 51);
	assert_true(stk_budget_reserve(b, 1));
	stk_budget_release(b, 51);
	stk_budget_free(b);
}

/* Someone who has so much to give back, in pieces of 10. */
typedef struct giver
{
	stk_budget *b;
	uint64_t has;
	uint64_t asked;
} giver;

static bool
give(void *ctx, uint64_t missing)
{
	giver *g = ctx;
	uint64_t piece = g->has < 10 ? g->has : 10;

	g->asked = missing;
	g->has -= piece;
	stk_budget_release(g->b, piece);
	return piece > 0;
}

static void
shortage(void **state)
{
	stk_budget *b = open_budget(100);
	giver g = {.b = b, .has = 80};

	(void) state;
	assert_true(stk_budget_reserve(b, 80));
	stk_budget_set_shortage(b, give, &g);
	assert_true(stk_budget_reserve(b, 20));
	assert_int_equal(g.has, 80);
	assert_true(stk_budget_reserve(b, 25));
	assert_int_equal(g.has, 50);
	assert_int_equal(g.asked, 5);
	assert_int_equal(stk_budget_used(b), 95);
	/* Nothing is given up for what never fits. */
	assert_false(stk_budget_reserve(b, 101));
	assert_int_equal(g.has, 50);
	/* All is, and it is not enough. */
	assert_false(stk_budget_reserve(b, 60));
	assert_int_equal(g.has, 0);
	assert_int_equal(stk_budget_used(b), 45);

	g.has = 45;
	stk_budget_set_limit(b, 20);
	assert_int_equal(stk_budget_used(b), 15);
	stk_budget_set_limit(b, 0);
	assert_int_equal(stk_budget_used(b), 0);
	stk_budget_free(b);
}

static void
purses(void **state)
{
	stk_budget *b = open_budget(10000);
	stk_purse p, q;
	stk_allocator a;
	char *x, *y;

	(void) state;
	assert_false(stk_purse_open(&p, b, 10001));
	assert_int_equal(stk_budget_used(b), 0);
	assert_true(stk_purse_open(&p, b, 1000));
	assert_true(stk_purse_open(&q, b, 6000));
	a = stk_purse_allocator(&p);

	/* Within what it holds, nothing changes; beyond, it takes as much as it needs. */
	x = stk_alloc_array(&a, 900, 1);
	memset(x, 1, 900);
	assert_int_equal(stk_budget_used(b), 7000);
	y = stk_alloc_array(&a, 2000, 1);
	memset(y, 2, 2000);
	assert_in_range(stk_purse_held(&p), 2900, 3000);
	assert_int_equal(stk_budget_used(b), 6000 + stk_purse_held(&p));
	assert_int_equal((uintptr_t) x % 16, 0);

	/* Not beyond the limit, also where a block grows; the block is kept. */
	assert_null(stk_alloc_array(&a, 1500, 1));
	assert_null(stk_realloc_array(&a, y, 3500, 1));
	assert_int_equal(y[1999], 2);
	assert_in_range(stk_purse_held(&p), 2900, 3000);
	assert_null(a.alloc(a.ctx, SIZE_MAX - 8));
	y = stk_realloc_array(&a, y, 2500, 1);
	assert_int_equal(y[1999], 2);
	y = stk_realloc_array(&a, y, 10, 1);
	assert_int_equal(y[9], 2);
	assert_int_equal(stk_budget_used(b), 7000);

	stk_free(&a, x);
	stk_free(&a, y);
	assert_int_equal(p.used, 0);
	x = stk_realloc_array(&a, NULL, 16, 1);
	stk_free(&a, x);
	stk_purse_close(&p);
	assert_int_equal(stk_budget_used(b), 6000);
	stk_purse_close(&q);
	assert_int_equal(stk_budget_used(b), 0);
	stk_budget_free(b);
}

/* Is this page of ours? */
static bool
is_mapped(const char *at)
{
	uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);
	unsigned char in_memory;

	return mincore((void *) ((uintptr_t) at / page * page), 1, &in_memory) == 0;
}

/* Blocks that have pages of their own, and those on the way to them and back. */
static void
large_blocks(void **state)
{
	const size_t large = STK_PAGES_MIN;
	const size_t page = (size_t) sysconf(_SC_PAGESIZE);
	stk_budget *b = open_budget(32 * large);
	stk_purse p;
	stk_allocator a = stk_purse_allocator(&p);
	char *x, *end;

	(void) state;
	assert_true(stk_purse_open(&p, b, 0));
	x = stk_alloc_array(&a, large, 1);
	assert_int_equal((uintptr_t) x % ((size_t) 2 << 20), 16);
	assert_int_equal(stk_budget_used(b), large + page);
	memset(x, 7, large);

	/* Its length is counted and had, at every one. */
	x = stk_realloc_array(&a, x, 4 * large, 1);
	assert_int_equal((uintptr_t) x % ((size_t) 2 << 20), 16);
	assert_int_equal(stk_budget_used(b), 4 * large + page);
	assert_true(x[0] == 7 && x[large - 1] == 7);
	x[4 * large - 1] = 8;
	assert_null(stk_realloc_array(&a, x, 33 * large, 1));
	assert_int_equal(stk_budget_used(b), 4 * large + page);
	assert_int_equal(x[4 * large - 1], 8);
	end = x + 4 * large - 1;
	x = stk_realloc_array(&a, x, 2 * large, 1);
	assert_int_equal(stk_budget_used(b), 2 * large + page);
	assert_false(is_mapped(end));
	assert_true(x[0] == 7 && x[large - 1] == 7);
	x = stk_realloc_array(&a, x, 1000, 1);
	assert_in_range(stk_budget_used(b), 1000, 1100);
	assert_int_equal(x[999], 7);
	x = stk_realloc_array(&a, x, large, 1);
	assert_int_equal(stk_budget_used(b), large + page);
	assert_int_equal(x[999], 7);
	end = x + large - 1;
	*end = 1;
	stk_free(&a, x);
	assert_false(is_mapped(end));
	assert_int_equal(stk_budget_used(b), 0);
	stk_purse_close(&p);
	stk_budget_free(b);
}

/* Blocks of any length made longer and shorter at random keep what they hold. */
static void
lengths_at_random(void **state)
{
	stk_budget *b = open_budget(STK_PAGES_MIN * 16);
	stk_purse p;
	stk_allocator a = stk_purse_allocator(&p);
	size_t bytes[4] = {0};
	char *blocks[4] = {NULL};
	uint64_t seed = 1;

	(void) state;
	assert_true(stk_purse_open(&p, b, 0));
	for (size_t i = 0; i < unit_size(400, 200, 50); i++)
	{
		size_t k = next_bits(&seed) % 4;
		size_t to = 1 + next_bits(&seed) % (next_bits(&seed) % 2 ? 3 * STK_PAGES_MIN : 10000);
		size_t kept = to < bytes[k] ? to : bytes[k];
		char *x = stk_realloc_array(&a, blocks[k], to, 1);
		uint64_t all = 0;

		assert_non_null(x);
		for (size_t at = 0; at < kept; at += 511)
			assert_int_equal(x[at], (char) (at / 511 + k));
		for (size_t at = 0; at < to; at += 511)
			x[at] = (char) (at / 511 + k);
		blocks[k] = x;
		bytes[k] = to;
		for (int j = 0; j < 4; j++)
			all += bytes[j];
		assert_in_range(stk_budget_used(b), all, all + 4 * 8192);
	}
	for (int k = 0; k < 4; k++)
		stk_free(&a, blocks[k]);
	assert_int_equal(stk_budget_used(b), 0);
	stk_purse_close(&p);
	stk_budget_free(b);
}

/* Threads with purses of their own: never more than the limit is allocated, and nothing is left. */
#define THREADS 4
#define LIMIT 20000

static stk_budget *shared;
static atomic_long live;
static atomic_int refused, beyond;

static void *
spend(void *arg)
{
	uint64_t seed = (uint64_t) (uintptr_t) arg + 1;
	size_t rounds = unit_size(5000, 2000, 200);
	stk_purse p;
	stk_allocator a = stk_purse_allocator(&p);

	for (size_t i = 0; i < rounds; i++)
	{
		void *blocks[6];
		long sizes[6];

		if (!stk_purse_open(&p, shared, next_bits(&seed) % 3000))
		{
			atomic_fetch_add(&refused, 1);
			continue;
		}
		for (int k = 0; k < 6; k++)
		{
			sizes[k] = (long) (next_bits(&seed) % 2000);
			blocks[k] = stk_alloc_array(&a, (size_t) sizes[k], 1);
			if (!blocks[k])
				atomic_fetch_add(&refused, 1);
			else if (atomic_fetch_add(&live, sizes[k]) + sizes[k] > LIMIT)
				atomic_fetch_add(&beyond, 1);
			sched_yield();
		}
		for (int k = 0; k < 6; k++)
			if (blocks[k])
			{
				atomic_fetch_sub(&live, sizes[k]);
				stk_free(&a, blocks[k]);
			}
		stk_purse_close(&p);
	}
	return NULL;
}

static void
threads(void **state)
{
	pthread_t t[THREADS];

	(void) state;
	shared = open_budget(LIMIT);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, spend, (void *) i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&beyond), 0);
	assert_int_equal(atomic_load(&live), 0);
	assert_int_equal(stk_budget_used(shared), 0);
	stk_budget_free(shared);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits),
		cmocka_unit_test(shortage),
		cmocka_unit_test(purses),
		cmocka_unit_test(large_blocks),
		cmocka_unit_test(lengths_at_random),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
