#include "worker/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/hash.h"

#define BUCKETS 1024
/* What one takes beside its stored form. */
#define OVERHEAD (sizeof(stk_cached) + 64)
/* How often someone who waits for another thread asks whether to go on. */
#define WAIT_NS 20000000

/* What an engine has made; ready once one of the last two is there, by what it is made of. */
typedef struct made
{
	struct made *next;
	stk_engine *engine;
	bool wide;
	stk_purse purse; /* what it is made from */
	stk_resident *resident;
	stk_resident_trie *trie;
} made;

struct stk_cached
{
	stk_cached_kind kind;
	uint8_t hash[STK_HASH_BYTES];
	stk_purse purse; /* of the stored form */
	uint8_t *stored;
	size_t stored_bytes;
	union
	{
		/* A view of it. */
		stk_codebook cb;
		stk_semset set;
	};

	/* Under the cache's lock. */
	stk_cached *chain;         /* of the same bucket */
	stk_cached *newer, *older; /* by the time it was last pinned */
	unsigned int pins;
	made *made;
	uint64_t bytes; /* of the budget, but for what is being made */
};

struct stk_cache
{
	stk_budget *budget;

	/* Not held while anything is reserved, computed or freed. */
	pthread_mutex_t lock;
	pthread_cond_t finished; /* someone has made what others may wait for, or has failed to */
	stk_cached *buckets[BUCKETS];
	stk_cached *newest, *oldest;
	stk_cache_size size;
};

static stk_cached **
bucket(stk_cache *c, const uint8_t *hash)
{
	return &c->buckets[(hash[0] | hash[1] << 8) % BUCKETS];
}

/* Take it out of the order of use. */
static void
unlink_use(stk_cache *c, stk_cached *e)
{
	*(e->newer ? &e->newer->older : &c->newest) = e->older;
	*(e->older ? &e->older->newer : &c->oldest) = e->newer;
	e->newer = e->older = NULL;
}

static void
link_newest(stk_cache *c, stk_cached *e)
{
	e->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
}

/* The count of its kind. */
static uint32_t *
number_of(stk_cache *c, stk_cached_kind kind)
{
	return kind == STK_CACHED_CODEBOOK ? &c->size.codebooks : &c->size.sets;
}

/* Pin what is called so; NULL when there is none. With the lock held. */
static stk_cached *
find(stk_cache *c, stk_cached_kind kind, const uint8_t *hash)
{
	for (stk_cached *e = *bucket(c, hash); e; e = e->chain)
	{
		if (e->kind != kind || memcmp(e->hash, hash, STK_HASH_BYTES) != 0)
			continue;
		e->pins++;
		unlink_use(c, e);
		link_newest(c, e);
		return e;
	}
	return NULL;
}

/* Take it out of the cache, with the lock held; it can then be freed without. */
static void
take_out(stk_cache *c, stk_cached *e)
{
	stk_cached **at = bucket(c, e->hash);

	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	unlink_use(c, e);
	--*number_of(c, e->kind);
	c->size.bytes -= e->bytes;
}

static void
free_made(made *m)
{
	if (m->trie)
		m->engine->ops->trie_unload(m->engine, m->trie);
	else
		m->engine->ops->unload(m->engine, m->resident);
	stk_purse_close(&m->purse);
	free(m);
}

static void
free_cached(stk_cached *e)
{
	stk_allocator a = stk_purse_allocator(&e->purse);

	while (e->made)
	{
		made *m = e->made;

		e->made = m->next;
		free_made(m);
	}
	stk_free(&a, e->stored);
	stk_purse_close(&e->purse);
	free(e);
}

/* Make room, if what nobody has pinned is enough for it: what was used last goes last. */
static bool
evict(void *ctx, uint64_t missing)
{
	stk_cache *c = ctx;
	stk_cached *going = NULL;
	uint64_t free_bytes = 0;

	pthread_mutex_lock(&c->lock);
	for (stk_cached *e = c->oldest; e && free_bytes < missing; e = e->newer)
		if (e->pins == 0)
			free_bytes += e->bytes;
	if (free_bytes >= missing)
	{
		stk_cached *next;

		free_bytes = 0;
		for (stk_cached *e = c->oldest; free_bytes < missing; e = next)
		{
			next = e->newer;
			if (e->pins > 0)
				continue;
			free_bytes += e->bytes;
			take_out(c, e);
			e->chain = going;
			going = e;
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (!going)
		return false;
	while (going)
	{
		stk_cached *e = going;

		going = e->chain;
		free_cached(e);
	}
	return true;
}

stk_status
stk_cache_create(stk_budget *budget, stk_cache **out)
{
	stk_cache *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return STK_ENOMEM;
	c->budget = budget;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->finished, &attr);
	pthread_condattr_destroy(&attr);
	stk_budget_set_shortage(budget, evict, c);
	*out = c;
	return STK_OK;
}

void
stk_cache_free(stk_cache *c)
{
	stk_budget_set_shortage(c->budget, NULL, NULL);
	while (c->oldest)
	{
		stk_cached *e = c->oldest;

		take_out(c, e);
		free_cached(e);
	}
	pthread_cond_destroy(&c->finished);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

stk_cached *
stk_cache_pin(stk_cache *c, stk_cached_kind kind, const uint8_t hash[STK_HASH_BYTES])
{
	stk_cached *e;

	pthread_mutex_lock(&c->lock);
	e = find(c, kind, hash);
	pthread_mutex_unlock(&c->lock);
	return e;
}

void
stk_cache_unpin(stk_cache *c, stk_cached *e)
{
	pthread_mutex_lock(&c->lock);
	e->pins--;
	pthread_mutex_unlock(&c->lock);
}

static const char *
name_of(stk_cached_kind kind)
{
	return kind == STK_CACHED_CODEBOOK ? "codebook" : "set";
}

/* Fill e, which has its hash, and see that it is what it is called. */
static stk_status
read_in(stk_cached *e, size_t bytes,
		stk_status (*fill)(void *ctx, uint8_t *to, size_t bytes, stk_error *err), void *ctx,
		stk_error *err)
{
	stk_allocator a = stk_purse_allocator(&e->purse);
	uint8_t found[STK_HASH_BYTES];
	stk_status status;

	e->stored = stk_alloc_array(&a, bytes, 1);
	if (!e->stored)
		return stk_fail(err, STK_ENOMEM, "no memory for a %s of %zu bytes", name_of(e->kind),
						bytes);
	e->stored_bytes = bytes;
	status = fill(ctx, e->stored, bytes, err);
	if (status == STK_OK)
		status = stk_hash(e->stored, bytes, found, err);
	if (status == STK_OK && memcmp(found, e->hash, STK_HASH_BYTES) != 0)
		status = stk_fail(err, STK_ECORRUPT, "%s does not have the hash that it is called by",
						  name_of(e->kind));
	if (status == STK_OK && e->kind == STK_CACHED_CODEBOOK)
		status = stk_codebook_view(e->stored, bytes, &e->cb, err);
	else if (status == STK_OK)
	{
		status = stk_semset_check(e->stored, bytes, err);
		if (status == STK_OK)
			status = stk_semset_view(e->stored, bytes, &e->set, err);
	}
	e->bytes = stk_purse_held(&e->purse);
	return status;
}

stk_status
stk_cache_put(stk_cache *c, stk_cached_kind kind, const uint8_t hash[STK_HASH_BYTES], size_t bytes,
			  stk_status (*fill)(void *ctx, uint8_t *to, size_t bytes, stk_error *err), void *ctx,
			  stk_cached **out, stk_error *err)
{
	stk_cached *e = stk_cache_pin(c, kind, hash);
	stk_cached *other;
	stk_status status;

	if (e)
	{
		*out = e;
		return STK_OK;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return STK_ENOMEM;
	e->kind = kind;
	memcpy(e->hash, hash, STK_HASH_BYTES);
	if (bytes > SIZE_MAX / 2 || !stk_purse_open(&e->purse, c->budget, bytes + OVERHEAD))
	{
		free(e);
		return stk_fail(err, STK_ENOMEM, "no memory for a %s of %zu bytes", name_of(kind), bytes);
	}
	status = read_in(e, bytes, fill, ctx, err);
	if (status != STK_OK)
	{
		free_cached(e);
		return status;
	}

	/* Another thread may have read it meanwhile. */
	pthread_mutex_lock(&c->lock);
	other = find(c, kind, hash);
	if (!other)
	{
		e->pins = 1;
		e->chain = *bucket(c, hash);
		*bucket(c, hash) = e;
		link_newest(c, e);
		++*number_of(c, kind);
		c->size.bytes += e->bytes;
	}
	pthread_mutex_unlock(&c->lock);
	if (other)
		free_cached(e);
	*out = other ? other : e;
	return STK_OK;
}

const stk_codebook *
stk_cached_codebook(const stk_cached *e)
{
	return &e->cb;
}

const stk_semset *
stk_cached_set(const stk_cached *e)
{
	return &e->set;
}

static bool
is_ready(const made *m)
{
	return m->resident || m->trie;
}

/* What serves: what is made for wide beams serves greedy encoding too. With the lock held. */
static const made *
find_ready(const stk_cached *e, const stk_engine *engine, bool wide)
{
	for (const made *m = e->made; m; m = m->next)
		if (is_ready(m) && m->engine == engine && (m->wide || !wide))
			return m;
	return NULL;
}

const stk_resident *
stk_cache_ready(stk_cache *c, stk_cached *e, const stk_engine *engine, bool wide)
{
	const made *m;

	pthread_mutex_lock(&c->lock);
	m = find_ready(e, engine, wide);
	pthread_mutex_unlock(&c->lock);
	return m ? m->resident : NULL;
}

/* Does a thread make this right now? With the lock held. */
static bool
is_being_made(const stk_cached *e, const stk_engine *engine, bool wide)
{
	for (const made *m = e->made; m; m = m->next)
		if (!is_ready(m) && m->engine == engine && m->wide == wide)
			return true;
	return false;
}

/* Until someone has finished something, or it is time to look around. With the lock held. */
static void
wait_a_little(stk_cache *c)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WAIT_NS;
	if (until.tv_nsec >= 1000000000)
	{
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&c->finished, &c->lock, &until);
}

/* Make m, which is in e's list and not ready, or take it out again. */
static stk_status
make(stk_cache *c, stk_cached *e, made *m, const stk_exec *exec, stk_error *err)
{
	const stk_engine_ops *ops = m->engine->ops;
	stk_exec own = *exec;
	stk_resident *resident = NULL;
	stk_resident_trie *trie = NULL;
	stk_status status = STK_ENOMEM;

	if (stk_purse_open(&m->purse, c->budget, 0))
	{
		own.a = stk_purse_allocator(&m->purse);
		if (e->kind == STK_CACHED_CODEBOOK)
			status = ops->load(m->engine, &own, &e->cb, m->wide, &resident, err);
		else
			status = ops->trie_load(m->engine, &own, e->stored, e->stored_bytes, &trie, err);
		if (status != STK_OK)
			stk_purse_close(&m->purse);
	}

	pthread_mutex_lock(&c->lock);
	if (status == STK_OK)
	{
		uint64_t bytes = stk_purse_held(&m->purse);

		m->resident = resident;
		m->trie = trie;
		e->bytes += bytes;
		c->size.bytes += bytes;
	}
	else
	{
		made **at = &e->made;

		while (*at != m)
			at = &(*at)->next;
		*at = m->next;
	}
	pthread_cond_broadcast(&c->finished);
	pthread_mutex_unlock(&c->lock);
	if (status != STK_OK)
		free(m);
	return status;
}

/* What the engine has made, or makes now; *out is not moved or freed as long as e is pinned. */
static stk_status
get_made(stk_cache *c, stk_cached *e, stk_engine *engine, bool wide, const stk_exec *exec,
		 const made **out, stk_error *err)
{
	made *m = calloc(1, sizeof(*m));
	stk_status status = STK_OK;

	if (!m)
		return STK_ENOMEM;
	m->engine = engine;
	m->wide = wide;
	pthread_mutex_lock(&c->lock);
	while (!(*out = find_ready(e, engine, wide)) && is_being_made(e, engine, wide) &&
		   status == STK_OK)
	{
		wait_a_little(c);
		if (stk_should_stop(exec->monitor))
			status = STK_ECANCELED;
	}
	if (*out || status != STK_OK)
	{
		pthread_mutex_unlock(&c->lock);
		free(m);
		return *out ? STK_OK : status;
	}
	m->next = e->made;
	e->made = m;
	pthread_mutex_unlock(&c->lock);
	status = make(c, e, m, exec, err);
	if (status == STK_OK)
		*out = m;
	return status;
}

stk_status
stk_cache_resident(stk_cache *c, stk_cached *e, stk_engine *engine, bool wide, const stk_exec *exec,
				   const stk_resident **out, stk_error *err)
{
	const made *m;
	stk_status status = get_made(c, e, engine, wide, exec, &m, err);

	*out = status == STK_OK ? m->resident : NULL;
	return status;
}

stk_status
stk_cache_trie(stk_cache *c, stk_cached *e, stk_engine *engine, const stk_exec *exec,
			   const stk_resident_trie **out, stk_error *err)
{
	const made *m;
	stk_status status = get_made(c, e, engine, false, exec, &m, err);

	*out = status == STK_OK ? m->trie : NULL;
	return status;
}

stk_cache_size
stk_cache_measure(stk_cache *c)
{
	stk_cache_size size;

	pthread_mutex_lock(&c->lock);
	size = c->size;
	pthread_mutex_unlock(&c->lock);
	return size;
}
