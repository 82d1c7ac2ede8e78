/*
 * Batches of searches by the engine of the cores: whatever the threads, the ids, order and bits of
 * core's stk_decode over another trie of the same ids; patience, memory, and several at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "catalog.h"
#include "core/decode.h"
#include "engine/engine.h"
#include "machines.h"

#define MAX_THREADS 3
#define LEFT_ALONE 0xa5

/* Ids, and queries for them. */
typedef struct problem
{
	catalog ids;
	uint8_t *stored;
	size_t stored_bytes;
	stk_search_batch b; /* its arrays are the problem's */
	uint8_t **queries;  /* [n] stored forms */
	size_t *query_bytes;
} problem;

static void *
filled(size_t n, size_t size)
{
	void *p = malloc(n * size + 1);

	memset(p, LEFT_ALONE, n * size + 1);
	return p;
}

static void
problem_init(problem *p, uint32_t kind, prng *r)
{
	stk_search_batch *b = &p->b;
	int depth = 1 + (int) prng_below(r, 5);
	uint32_t codes = 2 + prng_below(r, 30);
	float *logits;
	double *cost;
	size_t terms;
	stk_error err;

	catalog_random(&p->ids, r, kind % 7 == 0 ? kind : 1 + prng_below(r, 2000), 1 + kind % 2,
				   kind % 3 ? depth : 1, depth, codes, false);
	assert_int_equal(stk_semset_build(p->ids.pointers, p->ids.lens, p->ids.n, 0, &stk_malloc, NULL,
									  &p->stored, &p->stored_bytes, &err),
					 STK_OK);
	*b = (stk_search_batch){.n = 1 + prng_below(r, 20),
							.levels = 1 + (int) prng_below(r, (uint32_t) depth + (kind % 5 == 0)),
							.tokenizer = kind % 11 == 3 ? 77 : 1,
							.norm = (stk_norm) (kind % 3),
							.beam_size = 1 + prng_below(r, kind % 4 == 0 ? 3 : 60),
							.k = 1 + prng_below(r, 40),
							.width = depth};
	for (int l = 0; l < b->levels; l++)
		b->sizes[l] = kind % 6 == 0 ? 1 + prng_below(r, codes + 3) : codes;
	terms = stk_search_batch_terms(b);
	logits = malloc(b->n * terms * sizeof(float));
	cost = malloc(b->n * terms * sizeof(double));
	p->queries = calloc(b->n, sizeof(uint8_t *));
	p->query_bytes = calloc(b->n, sizeof(size_t));
	for (size_t i = 0; i < b->n; i++)
	{
		float *mine = logits + i * terms;
		stk_query q;

		for (size_t j = 0; j < terms; j++)
		{
			mine[j] = (float) (prng_uniform(r) * 8 - 4);
			/* Ties, and what can never be. */
			if (kind % 2)
				mine[j] = (float) (int) mine[j];
			if (kind % 4 == 1 && j % 5 == 3)
				mine[j] = -INFINITY;
		}
		mine[0] = 0;
		for (size_t j = 0, l = 0; l < (size_t) b->levels; j += b->sizes[l++])
			mine[j] = 0;
		assert_int_equal(stk_query_from_logits(mine, b->levels, b->sizes, b->tokenizer, b->norm,
											   NULL, 0, &stk_malloc, &p->queries[i],
											   &p->query_bytes[i], &err),
						 STK_OK);
		assert_int_equal(stk_query_view(p->queries[i], p->query_bytes[i], &q, &err), STK_OK);
		if (b->norm != STK_NORM_MASKED)
			memcpy(cost + i * terms, q.cost[0], terms * sizeof(double));
	}
	/* What a norm does not need is not looked at. */
	if (b->norm == STK_NORM_MASKED)
	{
		free(cost);
		cost = NULL;
	}
	else
	{
		free(logits);
		logits = NULL;
	}
	b->logits = logits;
	b->cost = cost;
	b->found = filled(b->n, sizeof(uint32_t));
	b->costs = filled(b->n * b->k, sizeof(double));
	b->lengths = filled(b->n * b->k, 1);
	b->codes = filled(b->n * b->k * (size_t) b->width, sizeof(uint16_t));
	b->dropped = filled(b->n, 1);
}

static void
problem_free(problem *p)
{
	for (size_t i = 0; i < p->b.n; i++)
		free(p->queries[i]);
	free(p->queries);
	free(p->query_bytes);
	free(p->stored);
	catalog_free(&p->ids);
	free((void *) (uintptr_t) p->b.logits);
	free((void *) (uintptr_t) p->b.cost);
	free(p->b.found);
	free(p->b.costs);
	free(p->b.lengths);
	free(p->b.codes);
	free(p->b.dropped);
}

/* Is what was found for a query what core finds over the plain list of ids? Returns how many. */
static size_t
check_query(problem *p, size_t query)
{
	const stk_search_batch *b = &p->b;
	stk_decode_options options;
	stk_decode *d;
	stk_query q;
	stk_hit hit;
	bool found = true;
	size_t n = 0;

	stk_decode_defaults(&options);
	options.beam_size = b->beam_size;
	assert_int_equal(stk_query_view(p->queries[query], p->query_bytes[query], &q, NULL), STK_OK);
	assert_int_equal(stk_decode_start(&d, &q, &p->ids.trie, p->ids.roots, p->ids.n_roots, &options,
									  &stk_malloc, NULL),
					 STK_OK);
	while (n < b->k)
	{
		size_t at = query * b->k + n;

		assert_int_equal(stk_decode_next(d, &found, &hit), STK_OK);
		if (!found)
			break;
		assert_true(n < b->found[query]);
		assert_memory_equal(&b->costs[at], &hit.cost, sizeof(double));
		assert_int_equal(b->lengths[at], hit.id.levels);
		for (int l = 0; l < b->width; l++)
			assert_int_equal(b->codes[at * (size_t) b->width + (size_t) l],
							 l < hit.id.levels ? hit.id.codes[l] : 0);
		n++;
	}
	assert_int_equal(b->found[query], n);
	assert_int_equal(b->dropped[query], n < b->k && stk_decode_dropped(d));
	stk_decode_free(d);
	/* Behind the last one nothing is written. */
	if (n < b->k)
		assert_int_equal(b->lengths[query * b->k + n], LEFT_ALONE);
	return n;
}

static stk_engine *
open_engine(void)
{
	stk_engine *e;

	assert_int_equal(stk_engine_cpu_open(&stk_malloc, &e, NULL), STK_OK);
	return e;
}

static stk_exec
exec_on(const stk_pool *pool)
{
	return (stk_exec){.a = stk_malloc, .cpu = &stk_cpu_portable, .pool = pool};
}

static void
finds_what_core_finds(void **state)
{
	uint32_t kinds = (uint32_t) unit_size(600, 150, 20);
	stk_engine *e = open_engine();
	stk_crew *crews[MAX_THREADS + 1] = {NULL};
	prng r = {41};
	size_t found = 0, dropped = 0, none = 0;

	(void) state;
	for (int t = 1; t <= MAX_THREADS; t++)
		assert_int_equal(stk_crew_start(t, &crews[t]), STK_OK);
	for (uint32_t kind = 0; kind < kinds; kind++)
	{
		int threads = (int) (kind % (MAX_THREADS + 1));
		stk_exec exec = exec_on(threads ? stk_crew_pool(crews[threads], STK_URGENT) : NULL);
		stk_resident_trie *t;
		problem p;

		problem_init(&p, kind, &r);
		assert_int_equal(e->ops->trie_load(e, &exec, p.stored, p.stored_bytes, &t, NULL), STK_OK);
		assert_true(e->ops->trie_bytes(t) > 0);
		assert_true(!e->ops->takes_search || e->ops->takes_search(e, &p.b));
		assert_int_equal(e->ops->search(e, &exec, t, &p.b, NULL), STK_OK);
		for (size_t i = 0; i < p.b.n; i++)
		{
			size_t n = check_query(&p, i);

			found += n;
			none += n == 0;
			dropped += p.b.dropped[i];
		}
		e->ops->trie_unload(e, t);
		problem_free(&p);
	}
	print_message("found %zu ids; %zu queries dropped some, %zu have none\n", found, dropped, none);
	assert_true(found > 0 && dropped > 0 && none > 0);
	for (int t = 1; t <= MAX_THREADS; t++)
		stk_crew_stop(crews[t]);
	e->ops->close(e);
}

/* Room for shorter ids than there are is refused, not overrun. */
static void
refuses_too_little_room(void **state)
{
	stk_engine *e = open_engine();
	stk_exec exec = exec_on(NULL);
	stk_resident_trie *t;
	prng r = {43};
	problem p;
	stk_error err;

	(void) state;
	problem_init(&p, 1, &r);
	assert_int_equal(e->ops->trie_load(e, &exec, p.stored, p.stored_bytes, &t, NULL), STK_OK);
	p.b.width--;
	assert_int_equal(e->ops->search(e, &exec, t, &p.b, &err), STK_EINVAL);
	assert_non_null(strstr(err.message, "do not fit"));
	p.b.width++;
	e->ops->trie_unload(e, t);
	problem_free(&p);
	e->ops->close(e);
}

/* Whatever fails, nothing is left; whenever it is stopped, it stops. */
static void
failures_leave_nothing_behind(void **state)
{
	prng r = {42};
	problem p;
	stk_crew *crew;

	(void) state;
	problem_init(&p, 8, &r);
	assert_int_equal(stk_crew_start(2, &crew), STK_OK);
	for (int canceled = 0; canceled <= 1; canceled++)
	{
		bool done = false;

		for (long left = 0; !done; left++)
		{
			short_memory memory = {canceled ? 1000000 : left, 0};
			long looks = left;
			stk_monitor monitor = {stop_countdown, &looks};
			stk_exec exec = exec_on(canceled ? NULL : stk_crew_pool(crew, STK_URGENT));
			stk_engine *e = open_engine();
			stk_resident_trie *t;
			stk_status status;

			exec.a = short_allocator(&memory);
			exec.monitor = canceled ? &monitor : NULL;
			status = e->ops->trie_load(e, &exec, p.stored, p.stored_bytes, &t, NULL);
			if (status == STK_OK)
			{
				status = e->ops->search(e, &exec, t, &p.b, NULL);
				e->ops->trie_unload(e, t);
			}
			else
				assert_null(t);
			e->ops->close(e);
			done = status == STK_OK;
			if (!done)
				assert_int_equal(status, canceled ? STK_ECANCELED : STK_ENOMEM);
			assert_int_equal(memory.live, 0);
			assert_true(!done || left > 2);
		}
	}
	stk_crew_stop(crew);
	problem_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_core_finds),
		cmocka_unit_test(refuses_too_little_room),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("engine_search", tests, NULL, NULL);
}
