/*
 * Searches by a semtokd: those of several clients in one launch, each with its own answer, which is
 * the engine's of the cores; a set that is not here, one that is a lie, queries that cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalog.h"
#include "driver.h"
#include "engine/engine.h"
#include "worker/found.h"
#include "worker/hash.h"

#define CLIENTS 6
#define LEVELS 3
#define CODES 20
#define TERMS (LEVELS * CODES)
#define K 7

/* A set, and how it is called. */
typedef struct set
{
	catalog ids;
	uint8_t *stored;
	size_t bytes;
	stk_semset view;
	uint8_t hash[STK_HASH_BYTES];
} set;

static void
set_make(set *s)
{
	prng r = {5};

	catalog_random(&s->ids, &r, 2000, 1, LEVELS, LEVELS, CODES, false);
	assert_int_equal(stk_semset_build(s->ids.pointers, s->ids.lens, s->ids.n, 0, &stk_malloc, NULL,
									  &s->stored, &s->bytes, NULL),
					 STK_OK);
	assert_int_equal(stk_semset_view(s->stored, s->bytes, &s->view, NULL), STK_OK);
	assert_int_equal(stk_hash(s->stored, s->bytes, s->hash, NULL), STK_OK);
}

static void
set_free(set *s)
{
	catalog_free(&s->ids);
	free(s->stored);
}

/* Queries, what the engine finds, and the request for them. */
typedef struct asking
{
	stk_search_message m;
	double cost[40 * TERMS];
	uint8_t *expected; /* stk_found_bytes */
	uint64_t request;
} asking;

static void
asking_make(asking *a, const set *s, uint32_t n, uint64_t seed)
{
	prng r = {seed};
	stk_search_batch b = {.n = n, .levels = LEVELS, .tokenizer = 1, .beam_size = 30, .k = K};
	stk_exec exec = {.a = stk_malloc, .cpu = &stk_cpu_portable};
	stk_resident_trie *t;
	stk_engine *e;

	a->m = (stk_search_message){
		.n = n, .levels = LEVELS, .tokenizer = 1, .beam_size = 30, .k = K, .width = LEVELS};
	for (int l = 0; l < LEVELS; l++)
		a->m.sizes[l] = b.sizes[l] = CODES;
	memcpy(a->m.hash, s->hash, STK_HASH_BYTES);
	for (uint32_t i = 0; i < n * TERMS; i++)
		a->cost[i] = prng_uniform(&r) * 9;
	a->m.terms = (stk_data){.bytes = n * TERMS * sizeof(double), .inside = (uint8_t *) a->cost};
	a->expected = calloc(stk_found_bytes(n, K, LEVELS), 1);
	b.width = LEVELS;
	b.cost = a->cost;
	stk_found_arrays(a->expected, &b);
	assert_int_equal(stk_engine_cpu_open(&stk_malloc, &e, NULL), STK_OK);
	assert_int_equal(e->ops->trie_load(e, &exec, s->stored, s->bytes, &t, NULL), STK_OK);
	assert_int_equal(e->ops->search(e, &exec, t, &b, NULL), STK_OK);
	assert_true(b.found[0] == K);
	e->ops->trie_unload(e, t);
	e->ops->close(e);
}

static void
send_search(client *c, asking *a)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];

	a->request = ++c->last;
	send_message(c, out, stk_write_search(out, a->request, &a->m), -1);
}

static void
expect_found(client *c, const asking *a)
{
	stk_found m;

	expect(c, STK_MSG_FOUND, a->request);
	assert_int_equal(stk_read_found(c->body, c->header.bytes, &a->m, &m, NULL), STK_OK);
	assert_false(m.found.in_file);
	assert_memory_equal(m.found.inside, a->expected, m.found.bytes);
}

typedef size_t (*writer)(uint8_t *out, uint64_t request, const stk_load *m);

/* Have the bytes kept by this name, by the kind of request that the writer makes. */
static uint64_t
send_stored(client *c, writer compose, const uint8_t *hash, const uint8_t *stored, size_t bytes)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_load m = {.data = {.bytes = bytes, .inside = stored}};

	memcpy(m.hash, hash, STK_HASH_BYTES);
	send_message(c, out, compose(out, ++c->last, &m), -1);
	return c->last;
}

/* They wait for the last one, not for the minute; the one whose query cannot be fails alone. */
static void
searches_are_gathered(void **state)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "268435456",       "--batch-max", "6",
									   "--batch-wait-us", "60000000",    NULL};
	daemon_process d;
	client clients[CLIENTS];
	asking a[CLIENTS];
	stk_statistics s;
	set ids;

	(void) state;
	set_make(&ids);
	start_with(&d, true, more);
	for (int i = 0; i < CLIENTS; i++)
	{
		join(&d, &clients[i]);
		asking_make(&a[i], &ids, 10 + (uint32_t) i, (uint64_t) i);
	}
	send_search(&clients[0], &a[0]);
	expect(&clients[0], STK_MSG_MISSING, a[0].request);
	expect(&clients[0], STK_MSG_DONE,
		   send_stored(&clients[0], stk_write_trie, ids.hash, ids.stored, ids.bytes));
	a[2].cost[TERMS + 3] = NAN;
	for (int i = 0; i < CLIENTS; i++)
		send_search(&clients[i], &a[i]);
	for (int i = 0; i < CLIENTS; i++)
	{
		if (i == 2)
		{
			stk_failed f = expect_failure(&clients[i], a[i].request, STK_FAILED_COMPUTATION);

			assert_int_equal(f.row, 1);
		}
		else
			expect_found(&clients[i], &a[i]);
	}
	s = statistics(&d.zero);
	assert_int_equal(s.batches, 1);
	assert_int_equal(s.tries, 1);
	assert_int_equal(s.codebooks, 0);
	assert_int_equal(s.searches, 10 + 11 + 13 + 14 + 15);
	assert_int_equal(s.failures, 1);
	for (int i = 0; i < CLIENTS; i++)
	{
		free(a[i].expected);
		leave(&clients[i]);
	}
	stop(&d);
	set_free(&ids);
}

static void
lies_are_refused(void **state)
{
	daemon_process d;
	client c;
	asking a;
	set ids;
	uint64_t request;

	(void) state;
	set_make(&ids);
	start(&d, true);
	join(&d, &c);
	asking_make(&a, &ids, 3, 1);
	/* As a codebook, another set by this name, bytes that contradict themselves. */
	request = send_stored(&c, stk_write_load, ids.hash, ids.stored, ids.bytes);
	expect_failure(&c, request, STK_FAILED_DATA);
	ids.stored[ids.bytes - 8] ^= 1;
	request = send_stored(&c, stk_write_trie, ids.hash, ids.stored, ids.bytes);
	expect_failure(&c, request, STK_FAILED_DATA);
	assert_int_equal(stk_hash(ids.stored, 40, ids.hash, NULL), STK_OK);
	request = send_stored(&c, stk_write_trie, ids.hash, ids.stored, 40);
	expect_failure(&c, request, STK_FAILED_DATA);
	ids.stored[ids.bytes - 8] ^= 1;
	assert_int_equal(stk_hash(ids.stored, ids.bytes, ids.hash, NULL), STK_OK);
	expect(&c, STK_MSG_DONE, send_stored(&c, stk_write_trie, ids.hash, ids.stored, ids.bytes));
	/* Room for shorter ids than the set has. */
	a.m.width = LEVELS - 1;
	send_search(&c, &a);
	expect_failure(&c, a.request, STK_FAILED_REQUEST);
	a.m.width = LEVELS;
	send_search(&c, &a);
	expect_found(&c, &a);
	free(a.expected);
	leave(&c);
	stop(&d);
	set_free(&ids);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(searches_are_gathered),
		cmocka_unit_test(lies_are_refused),
	};

	return cmocka_run_group_tests_name("search", tests, NULL, NULL);
}
