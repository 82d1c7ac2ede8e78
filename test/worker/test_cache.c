/* cache: by hash, within the budget, pinned ones kept, and each thing made once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fake_engine.h"
#include "worker/cache.h"
#include "worker/hash.h"

#define LEVELS 2
#define SIZE 16
#define DIM 8

/* A stored form, another one for each number. */
typedef struct stored
{
	uint8_t bytes[16 + LEVELS * SIZE * DIM * 4];
	uint8_t hash[STK_HASH_BYTES];
	int fills;
	stk_status status;
} stored;

static stored
store(uint32_t number)
{
	stored s = {.fills = 0};
	stk_codebook shape = {.levels = LEVELS, .dim = DIM, .sizes = {SIZE, SIZE}};
	size_t at = stk_codebook_write_shape(s.bytes, &shape);

	for (int i = 0; i < LEVELS * SIZE * DIM; i++)
	{
		float v = (float) ((number + 1) * (uint32_t) (i % 37 + 1));

		memcpy(s.bytes + at + 4 * (size_t) i, &v, 4);
	}
	assert_int_equal(stk_hash(s.bytes, sizeof(s.bytes), s.hash, NULL), STK_OK);
	return s;
}

static stk_status
fill_from(void *ctx, uint8_t *to, size_t bytes, stk_error *err)
{
	stored *s = ctx;

	s->fills++;
	if (s->status != STK_OK)
		return stk_fail(err, s->status, "told to fail");
	memcpy(to, s->bytes, bytes);
	return STK_OK;
}

static stk_status
put(stk_cache *c, stored *s, stk_cached **e, stk_error *err)
{
	return stk_cache_put(c, STK_CACHED_CODEBOOK, s->hash, sizeof(s->bytes), fill_from, s, e, err);
}

static void
open_cache(uint64_t limit, stk_budget **b, stk_cache **c)
{
	assert_int_equal(stk_budget_create(limit, b), STK_OK);
	assert_int_equal(stk_cache_create(*b, c), STK_OK);
}

static void
close_cache(stk_budget *b, stk_cache *c)
{
	stk_cache_free(c);
	assert_int_equal(stk_budget_used(b), 0);
	stk_budget_free(b);
}

/* NIST's example, and no bytes at all. */
static void
hashes(void **state)
{
	uint8_t h[STK_HASH_BYTES];

	(void) state;
	assert_int_equal(stk_hash("abc", 3, h, NULL), STK_OK);
	assert_hex(h, sizeof(h),
			   "ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad");
	assert_int_equal(stk_hash("", 0, h, NULL), STK_OK);
	assert_hex(h, sizeof(h),
			   "e3b0c442 98fc1c14 9afbf4c8 996fb924 27ae41e4 649b934c a495991b 7852b855");
}

static void
kept_by_hash(void **state)
{
	stk_budget *b;
	stk_cache *c;
	stored s = store(1), t = store(2);
	stk_cached *e, *again;
	stk_error err;

	(void) state;
	open_cache(1 << 20, &b, &c);
	assert_null(stk_cache_pin(c, STK_CACHED_CODEBOOK, s.hash));
	assert_int_equal(put(c, &s, &e, &err), STK_OK);
	assert_int_equal(stk_cached_codebook(e)->sizes[1], SIZE);
	assert_memory_equal(stk_cached_codebook(e)->codewords[0], s.bytes + 16, SIZE * DIM * 4);
	assert_ptr_equal(stk_cache_pin(c, STK_CACHED_CODEBOOK, s.hash), e);
	assert_null(stk_cache_pin(c, STK_CACHED_CODEBOOK, t.hash));
	assert_int_equal(put(c, &s, &again, &err), STK_OK);
	assert_ptr_equal(again, e);
	assert_int_equal(s.fills, 1);
	assert_int_equal(stk_cache_measure(c).codebooks, 1);
	assert_int_equal(stk_cache_measure(c).bytes, stk_budget_used(b));
	assert_in_range(stk_budget_used(b), sizeof(s.bytes), sizeof(s.bytes) + 2048);
	for (int i = 0; i < 3; i++)
		stk_cache_unpin(c, e);
	close_cache(b, c);
}

static void
wrong_ones_refused(void **state)
{
	stk_budget *b;
	stk_cache *c;
	stored s = store(1);
	stk_cached *e;
	stk_error err;
	uint8_t junk[100] = {9};
	stored j = s;

	(void) state;
	open_cache(1 << 20, &b, &c);
	s.bytes[40] ^= 1;
	assert_int_equal(put(c, &s, &e, &err), STK_ECORRUPT);
	assert_string_equal(err.message, "codebook does not have the hash that it is called by");
	s.bytes[40] ^= 1;
	s.status = STK_EIO;
	assert_int_equal(put(c, &s, &e, &err), STK_EIO);
	assert_string_equal(err.message, "told to fail");

	/* The right hash of what is no codebook. */
	memcpy(j.bytes, junk, sizeof(junk));
	stk_hash(j.bytes, sizeof(j.bytes), j.hash, NULL);
	assert_int_equal(put(c, &j, &e, &err), STK_ECORRUPT);
	assert_string_equal(err.message, "codebook has format version 9, expected 1 or 2");
	assert_int_equal(
		stk_cache_put(c, STK_CACHED_CODEBOOK, j.hash, 1 << 21, fill_from, &j, &e, &err),
		STK_ENOMEM);
	assert_int_equal(stk_budget_used(b), 0);
	assert_null(stk_cache_pin(c, STK_CACHED_CODEBOOK, s.hash));
	assert_int_equal(stk_cache_measure(c).codebooks, 0);
	close_cache(b, c);
}

/* A set is kept beside codebooks, as another kind, and is a trie for an engine. */
static void
sets_are_kept_too(void **state)
{
	stk_exec exec = {.cpu = &stk_cpu_portable, .a = stk_malloc};
	stk_semid id = {.tokenizer = 7, .levels = 2, .codes = {3, 4}};
	uint8_t packed[STK_SEMID_MAX_BYTES];
	const uint8_t *ids = packed;
	size_t len = stk_semid_pack(&id, packed), bytes;
	const stk_resident_trie *t, *again;
	stored s = {.fills = 0};
	stk_engine *engine;
	uint8_t *stored_set;
	stk_cached *e;
	stk_budget *b;
	stk_cache *c;
	stk_error err;

	(void) state;
	open_cache(1 << 20, &b, &c);
	assert_int_equal(stk_engine_cpu_open(&stk_malloc, &engine, &err), STK_OK);
	assert_int_equal(
		stk_semset_build(&ids, &len, 1, 0, &stk_malloc, NULL, &stored_set, &bytes, &err), STK_OK);
	memcpy(s.bytes, stored_set, bytes);
	assert_int_equal(stk_hash(s.bytes, bytes, s.hash, NULL), STK_OK);
	/* The right hash, of another kind. */
	assert_int_equal(stk_cache_put(c, STK_CACHED_CODEBOOK, s.hash, bytes, fill_from, &s, &e, &err),
					 STK_ECORRUPT);
	assert_int_equal(stk_cache_put(c, STK_CACHED_SET, s.hash, bytes, fill_from, &s, &e, &err),
					 STK_OK);
	assert_null(stk_cache_pin(c, STK_CACHED_CODEBOOK, s.hash));
	assert_int_equal(stk_cache_measure(c).sets, 1);
	assert_int_equal(stk_cache_measure(c).codebooks, 0);
	assert_int_equal(stk_cached_set(e)->ids, 1);
	assert_int_equal(stk_cache_trie(c, e, engine, &exec, &t, &err), STK_OK);
	assert_int_equal(stk_cache_trie(c, e, engine, &exec, &again, &err), STK_OK);
	assert_ptr_equal(t, again);
	assert_int_equal(stk_cache_measure(c).bytes, stk_budget_used(b));
	stk_cache_unpin(c, e);

	/* What contradicts itself is refused, whatever its hash. */
	s.bytes[bytes - 4] ^= 0xff;
	assert_int_equal(stk_hash(s.bytes, bytes, s.hash, NULL), STK_OK);
	assert_int_equal(stk_cache_put(c, STK_CACHED_SET, s.hash, bytes, fill_from, &s, &e, &err),
					 STK_ECORRUPT);
	free(stored_set);
	close_cache(b, c);
	engine->ops->close(engine);
}

/* Fifty used in turn within a budget for about ten, of which two stay pinned. */
static void
fifty_in_turn(void **state)
{
	const uint64_t limit = 10 * (sizeof(((stored *) 0)->bytes) + 4096 + 2048);
	stk_exec exec = {.cpu = &stk_cpu_portable, .a = stk_malloc};
	const stk_resident *pinned[2];
	stk_cached *keep[2];
	fake_engine engine;
	stk_budget *b;
	stk_cache *c;
	stk_error err;

	(void) state;
	fake_open(&engine, 4096);
	open_cache(limit, &b, &c);
	for (uint32_t round = 0; round < 3; round++)
	{
		for (uint32_t i = 0; i < 50; i++)
		{
			stored s = store(i);
			const stk_resident *r;
			stk_cached *e;

			assert_int_equal(put(c, &s, &e, &err), STK_OK);
			assert_int_equal(stk_cache_resident(c, e, &engine.engine, false, &exec, &r, &err),
							 STK_OK);
			assert_true(stk_budget_used(b) <= limit);
			assert_int_equal(stk_cache_measure(c).bytes, stk_budget_used(b));
			if (round == 0 && i < 2)
			{
				keep[i] = e;
				pinned[i] = r;
				continue;
			}
			if (i < 2)
			{
				assert_ptr_equal(e, keep[i]);
				assert_ptr_equal(r, pinned[i]);
				assert_int_equal(s.fills, 0);
			}
			else
				assert_int_equal(s.fills, 1);
			stk_cache_unpin(c, e);
		}
	}
	assert_int_equal(stk_cache_measure(c).codebooks, atomic_load(&engine.live));
	assert_in_range(stk_cache_measure(c).codebooks, 10, 11);
	assert_int_equal(atomic_load(&engine.loaded), 2 + 3 * 48);

	/*
	 * Somebody else's request, and a lower limit, get room from the cache; not from what is pinned.
	 */
	assert_true(stk_budget_reserve(b, limit / 2));
	assert_in_range(stk_cache_measure(c).codebooks, 4, 6);
	stk_budget_release(b, limit / 2);
	stk_budget_set_limit(b, limit / 100);
	assert_int_equal(stk_cache_measure(c).codebooks, 2);
	for (int i = 0; i < 2; i++)
	{
		assert_ptr_equal(stk_cache_ready(c, keep[i], &engine.engine, false), pinned[i]);
		stk_cache_unpin(c, keep[i]);
	}
	close_cache(b, c);
	assert_int_equal(atomic_load(&engine.live), 0);
}

/* The one that was pinned longest ago goes first; nothing goes for what would not fit anyway. */
static void
least_recently_used_goes(void **state)
{
	stored s[4];
	stk_cached *e;
	stk_budget *b;
	stk_cache *c;
	stk_error err;

	(void) state;
	open_cache(3 * (sizeof(s[0].bytes) + 1500), &b, &c);
	for (uint32_t i = 0; i < 4; i++)
		s[i] = store(i);
	for (uint32_t i = 0; i < 3; i++)
	{
		assert_int_equal(put(c, &s[i], &e, &err), STK_OK);
		stk_cache_unpin(c, e);
	}
	stk_cache_unpin(c, stk_cache_pin(c, STK_CACHED_CODEBOOK, s[0].hash));
	e = stk_cache_pin(c, STK_CACHED_CODEBOOK, s[1].hash);
	assert_false(stk_budget_reserve(b, stk_budget_limit(b) - 1));
	assert_int_equal(stk_cache_measure(c).codebooks, 3);
	stk_cache_unpin(c, e);
	assert_int_equal(put(c, &s[3], &e, &err), STK_OK);
	stk_cache_unpin(c, e);
	assert_null(stk_cache_pin(c, STK_CACHED_CODEBOOK, s[2].hash));
	for (uint32_t i = 0; i < 4; i++)
		if (i != 2)
		{
			e = stk_cache_pin(c, STK_CACHED_CODEBOOK, s[i].hash);
			assert_non_null(e);
			stk_cache_unpin(c, e);
		}
	close_cache(b, c);
}

static void
residents(void **state)
{
	stk_exec exec = {.cpu = &stk_cpu_portable, .a = stk_malloc};
	const stk_resident *greedy, *wide, *r;
	fake_engine engine, other;
	stored s = store(1);
	stk_cached *e;
	stk_budget *b;
	stk_cache *c;
	stk_error err;

	(void) state;
	fake_open(&engine, 100);
	fake_open(&other, 100);
	open_cache(1 << 16, &b, &c);
	assert_int_equal(put(c, &s, &e, &err), STK_OK);
	assert_null(stk_cache_ready(c, e, &engine.engine, false));
	assert_int_equal(stk_cache_resident(c, e, &engine.engine, false, &exec, &greedy, &err), STK_OK);
	assert_ptr_equal(stk_cache_ready(c, e, &engine.engine, false), greedy);
	assert_null(stk_cache_ready(c, e, &engine.engine, true));
	assert_null(stk_cache_ready(c, e, &other.engine, false));
	assert_int_equal(stk_cache_resident(c, e, &engine.engine, true, &exec, &wide, &err), STK_OK);
	assert_true(wide->wide && !greedy->wide);
	assert_int_equal(stk_cache_resident(c, e, &engine.engine, true, &exec, &r, &err), STK_OK);
	assert_ptr_equal(r, wide);
	assert_int_equal(atomic_load(&engine.loaded), 2);

	/* What is wide serves greedy encoding. */
	assert_int_equal(stk_cache_resident(c, e, &other.engine, true, &exec, &wide, &err), STK_OK);
	assert_int_equal(stk_cache_resident(c, e, &other.engine, false, &exec, &r, &err), STK_OK);
	assert_ptr_equal(r, wide);
	assert_int_equal(atomic_load(&other.loaded), 1);

	/* One that fails leaves nothing, and the next may succeed. */
	stk_cache_unpin(c, e);
	s = store(2);
	assert_int_equal(put(c, &s, &e, &err), STK_OK);
	atomic_store(&engine.fail, 1);
	assert_int_equal(stk_cache_resident(c, e, &engine.engine, true, &exec, &r, &err), STK_EINVAL);
	engine.bytes = 1 << 17;
	assert_int_equal(stk_cache_resident(c, e, &engine.engine, true, &exec, &r, &err), STK_ENOMEM);
	engine.bytes = 100;
	assert_int_equal(stk_cache_measure(c).bytes, stk_budget_used(b));
	assert_int_equal(stk_cache_resident(c, e, &engine.engine, true, &exec, &r, &err), STK_OK);
	stk_cache_unpin(c, e);
	close_cache(b, c);
	assert_int_equal(atomic_load(&engine.live) + atomic_load(&other.live), 0);
}

/* Threads that want the same at once. */
#define THREADS 6

typedef struct wanted
{
	stk_cache *c;
	stk_engine *engine;
	stored s;
	bool impatient;
	stk_status status;
	stk_cached *e;
	const stk_resident *r;
	atomic_int *started;
} wanted;

static bool
at_once(void *ctx)
{
	return ((wanted *) ctx)->impatient;
}

static void *
want(void *arg)
{
	wanted *w = arg;
	stk_monitor monitor = {at_once, w};
	stk_exec exec = {.cpu = &stk_cpu_portable, .a = stk_malloc, .monitor = &monitor};
	stk_error err;

	atomic_fetch_add(w->started, 1);
	w->status = put(w->c, &w->s, &w->e, &err);
	if (w->status == STK_OK)
		w->status = stk_cache_resident(w->c, w->e, w->engine, true, &exec, &w->r, &err);
	return NULL;
}

static void
same_wanted_at_once(void **state)
{
	fake_engine engine;
	wanted w[THREADS];
	pthread_t t[THREADS];
	stk_budget *b;
	stk_cache *c;

	(void) state;
	/*
	 * Without a failure; with one, after which another thread makes it; with an impatient thread.
	 */
	for (int kind = 0; kind < 3; kind++)
	{
		atomic_int started = 0;
		int made_by = -1, failures = 0, canceled = 0;

		fake_open(&engine, 1000);
		open_cache(1 << 20, &b, &c);
		atomic_store(&engine.hold, true);
		atomic_store(&engine.fail, kind == 1);
		for (int i = 0; i < THREADS; i++)
		{
			w[i] = (wanted){.c = c,
							.engine = &engine.engine,
							.s = store(1),
							.impatient = kind == 2 && i == THREADS - 1,
							.started = &started};
			assert_int_equal(pthread_create(&t[i], NULL, want, &w[i]), 0);
			/* The patient ones come first. */
			while (i == 0 && atomic_load(&engine.loading) == 0)
				sched_yield();
		}
		/* An impatient one goes though nothing is finished. */
		if (kind == 2)
			pthread_join(t[THREADS - 1], NULL);
		while (atomic_load(&started) < THREADS)
			sched_yield();
		atomic_store(&engine.hold, false);
		for (int i = 0; i < THREADS - (kind == 2); i++)
			pthread_join(t[i], NULL);
		for (int i = 0; i < THREADS; i++)
		{
			assert_ptr_equal(w[i].e, w[0].e);
			if (w[i].status == STK_EINVAL)
				failures++;
			else if (w[i].status == STK_ECANCELED)
				canceled++;
			else
			{
				assert_int_equal(w[i].status, STK_OK);
				assert_true(made_by < 0 || w[i].r == w[made_by].r);
				made_by = i;
			}
			stk_cache_unpin(c, w[i].e);
		}
		assert_int_equal(failures, kind == 1);
		assert_int_equal(canceled, kind == 2);
		assert_int_equal(atomic_load(&engine.loaded), 1);
		assert_int_equal(stk_cache_measure(c).codebooks, 1);
		assert_int_equal(stk_cache_measure(c).bytes, stk_budget_used(b));
		close_cache(b, c);
		assert_int_equal(atomic_load(&engine.live), 0);
	}
}

/* Two threads that read the same in at the same time: one of them keeps it. */
typedef struct reading
{
	stk_cache *c;
	stored s;
	atomic_int *at_it;
	stk_status status;
	stk_cached *e;
} reading;

static stk_status
fill_together(void *ctx, uint8_t *to, size_t bytes, stk_error *err)
{
	reading *r = ctx;

	atomic_fetch_add(r->at_it, 1);
	while (atomic_load(r->at_it) < 2)
		sched_yield();
	return fill_from(&r->s, to, bytes, err);
}

static void *
read_in(void *arg)
{
	reading *r = arg;
	stk_error err;

	r->status = stk_cache_put(r->c, STK_CACHED_CODEBOOK, r->s.hash, sizeof(r->s.bytes),
							  fill_together, r, &r->e, &err);
	return NULL;
}

static void
same_put_at_once(void **state)
{
	atomic_int at_it = 0;
	reading r[2];
	pthread_t t[2];
	stk_budget *b;
	stk_cache *c;

	(void) state;
	open_cache(1 << 20, &b, &c);
	for (int i = 0; i < 2; i++)
	{
		r[i] = (reading){.c = c, .s = store(1), .at_it = &at_it};
		assert_int_equal(pthread_create(&t[i], NULL, read_in, &r[i]), 0);
	}
	for (int i = 0; i < 2; i++)
	{
		pthread_join(t[i], NULL);
		assert_int_equal(r[i].status, STK_OK);
		assert_int_equal(r[i].s.fills, 1);
	}
	assert_ptr_equal(r[0].e, r[1].e);
	assert_int_equal(stk_cache_measure(c).codebooks, 1);
	assert_int_equal(stk_cache_measure(c).bytes, stk_budget_used(b));
	for (int i = 0; i < 2; i++)
		stk_cache_unpin(c, r[i].e);
	close_cache(b, c);
}

/* Threads that use more codebooks than fit, in any order. */
typedef struct user
{
	stk_cache *c;
	stk_engine *engine;
	uint64_t seed;
	int wrong;
	int served;
} user;

static void *
use(void *arg)
{
	user *u = arg;
	stk_exec exec = {.cpu = &stk_cpu_portable, .a = stk_malloc};
	prng r = {u->seed};
	size_t rounds = 300;

	for (size_t i = 0; i < rounds; i++)
	{
		stored s = store(prng_below(&r, 12));
		const stk_resident *resident;
		stk_cached *e = NULL;
		stk_error err;
		stk_status status = put(u->c, &s, &e, &err);

		if (status == STK_OK)
			status =
				stk_cache_resident(u->c, e, u->engine, prng_below(&r, 2), &exec, &resident, &err);
		if (status == STK_OK)
		{
			sched_yield();
			u->served++;
			if (memcmp(stk_cached_codebook(e)->codewords[0], s.bytes + 16, SIZE * DIM * 4) != 0)
				u->wrong++;
		}
		else if (status != STK_ENOMEM)
			u->wrong++;
		if (e)
			stk_cache_unpin(u->c, e);
	}
	return NULL;
}

static void
many_threads(void **state)
{
	fake_engine engine;
	user u[4];
	pthread_t t[4];
	stk_budget *b;
	stk_cache *c;

	(void) state;
	fake_open(&engine, 500);
	open_cache(5 * (sizeof(((stored *) 0)->bytes) + 1500), &b, &c);
	for (int i = 0; i < 4; i++)
	{
		u[i] = (user){.c = c, .engine = &engine.engine, .seed = (uint64_t) i};
		assert_int_equal(pthread_create(&t[i], NULL, use, &u[i]), 0);
	}
	for (int i = 0; i < 4; i++)
	{
		pthread_join(t[i], NULL);
		assert_int_equal(u[i].wrong, 0);
		assert_true(u[i].served > 0);
	}
	assert_int_equal(stk_cache_measure(c).bytes, stk_budget_used(b));
	close_cache(b, c);
	assert_int_equal(atomic_load(&engine.live), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes),
		cmocka_unit_test(kept_by_hash),
		cmocka_unit_test(wrong_ones_refused),
		cmocka_unit_test(sets_are_kept_too),
		cmocka_unit_test(fifty_in_turn),
		cmocka_unit_test(least_recently_used_goes),
		cmocka_unit_test(residents),
		cmocka_unit_test(same_wanted_at_once),
		cmocka_unit_test(same_put_at_once),
		cmocka_unit_test(many_threads),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
