#include "engine/search_cpu.h"

#include <stdatomic.h>
#include <string.h>

#include "core/trie_cache.h"
#include "engine/arena.h"

/* Queries of a task: enough to be worth its start, few enough to be shared evenly. */
#define TASK_QUERIES 4
/* Nodes expanded between two looks at the monitor. */
#define LOOK_NODES 256
/* Nodes that a thread keeps for the queries that follow. */
#define CACHE_BYTES ((size_t) 2 << 20)

struct batch_run;

/* What a thread searches with, from its first task to the end of the batch. */
typedef struct searcher
{
	stk_trie
		trie; /* first, so that a stk_trie * is one of these: the set's, looking at the monitor */
	struct batch_run *run;
	bool begun;
	unsigned nodes; /* expanded since the last look */
	stk_arena keep; /* of what lives as long as the searcher */
	stk_arena each; /* of a query */
	stk_allocator keep_a;
	stk_semset_trie set;
	stk_trie_cache *cache;
} searcher;

typedef struct batch_run
{
	const stk_exec *exec;
	const stk_semset *semset;
	const stk_search_batch *batch;
	stk_root root;
	bool has_root;
	stk_decode_options options;
	pthread_mutex_t lock; /* of exec->a */
	searcher *searchers;  /* [threads] */
	atomic_int status;    /* the first failure */
} batch_run;

static stk_status
look(searcher *s)
{
	if (++s->nodes % LOOK_NODES != 0 || !stk_should_stop(s->run->exec->monitor))
		return STK_OK;
	return STK_ECANCELED;
}

static stk_status
expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	searcher *s = (searcher *) trie;
	stk_status status = look(s);

	return status == STK_OK ? s->set.trie.expand(&s->set.trie, node, children, n) : status;
}

static stk_status
begin(searcher *s, batch_run *run)
{
	s->run = run;
	s->begun = true;
	s->trie.expand = expand;
	stk_arena_init(&s->keep, &run->exec->a, &run->lock);
	stk_arena_init(&s->each, &run->exec->a, &run->lock);
	s->keep_a = stk_arena_allocator(&s->keep);
	stk_semset_trie_init(&s->set, run->semset, &s->keep_a);
	return stk_trie_cache_create(&s->cache, &s->trie, CACHE_BYTES, &s->keep_a);
}

static void
end(searcher *s)
{
	if (!s->begun)
		return;
	stk_arena_free(&s->each);
	stk_arena_free(&s->keep);
}

/* The query, as core knows it; points into the batch. */
static void
view_query(const stk_search_batch *b, size_t query, stk_query *q)
{
	size_t at = query * stk_search_batch_terms(b);

	*q = (stk_query){.kind = b->norm == STK_NORM_MASKED ? STK_QUERY_MASKED : STK_QUERY_LEVELS,
					 .norm = b->norm,
					 .levels = b->levels,
					 .tokenizer = b->tokenizer};
	for (int l = 0; l < b->levels; l++)
	{
		q->sizes[l] = b->sizes[l];
		if (b->norm == STK_NORM_MASKED)
			q->logits[l] = b->logits + at;
		else
			q->cost[l] = b->cost + at;
		at += b->sizes[l];
	}
}

static void
put_hit(const stk_search_batch *b, size_t query, const stk_hit *hit)
{
	size_t at = query * b->k + b->found[query]++;
	uint16_t *codes = b->codes + at * (size_t) b->width;

	b->costs[at] = hit->cost;
	b->lengths[at] = (uint8_t) hit->id.levels;
	memset(codes, 0, (size_t) b->width * sizeof(uint16_t));
	memcpy(codes, hit->id.codes, (size_t) hit->id.levels * sizeof(uint16_t));
}

static stk_status
search(searcher *s, size_t query)
{
	const stk_search_batch *b = s->run->batch;
	stk_allocator a = stk_arena_allocator(&s->each);
	stk_decode *d = NULL;
	stk_query q;
	bool found = true;
	stk_hit hit;
	stk_status status;

	b->found[query] = 0;
	b->dropped[query] = 0;
	view_query(b, query, &q);
	status = stk_decode_start(&d, &q, stk_trie_cache_trie(s->cache), &s->run->root,
							  s->run->has_root, &s->run->options, &a, NULL);
	while (status == STK_OK && found && b->found[query] < b->k)
	{
		status = stk_decode_next(d, &found, &hit);
		if (status == STK_OK && found)
			put_hit(b, query, &hit);
	}
	if (status == STK_OK)
		b->dropped[query] = b->found[query] < b->k && stk_decode_dropped(d);
	stk_decode_free(d);
	stk_arena_empty(&s->each);
	return status;
}

static void
run_task(void *arg, size_t index, int thread)
{
	batch_run *run = arg;
	searcher *s = &run->searchers[thread];
	size_t query = index * TASK_QUERIES;
	size_t last = query + TASK_QUERIES < run->batch->n ? query + TASK_QUERIES : run->batch->n;
	stk_status status = s->begun ? STK_OK : begin(s, run);
	int none = STK_OK;

	while (query < last && status == STK_OK && atomic_load(&run->status) == STK_OK)
	{
		if (stk_should_stop(run->exec->monitor))
			status = STK_ECANCELED;
		else
			status = search(s, query++);
	}
	if (status != STK_OK)
		atomic_compare_exchange_strong(&run->status, &none, (int) status);
}

stk_status
stk_search_cpu(const stk_exec *exec, const stk_semset *set, const stk_search_batch *b,
			   stk_error *err)
{
	int threads = stk_threads(exec->pool);
	uint32_t root = stk_semset_root(set, b->tokenizer);
	batch_run run = {.exec = exec,
					 .semset = set,
					 .batch = b,
					 .root = {.tokenizer = b->tokenizer, .node = root},
					 .has_root = root != UINT32_MAX};

	if (b->width < set->depth)
		return stk_fail(err, STK_EINVAL, "ids of %d codes do not fit where there is room for %d",
						set->depth, b->width);
	stk_decode_defaults(&run.options);
	run.options.norm = b->norm;
	run.options.beam_size = b->beam_size;
	run.searchers = stk_alloc_array(&exec->a, (size_t) threads, sizeof(searcher));
	if (!run.searchers)
		return STK_ENOMEM;
	memset(run.searchers, 0, (size_t) threads * sizeof(searcher));
	pthread_mutex_init(&run.lock, NULL);
	stk_run(exec->pool, run_task, &run, (b->n + TASK_QUERIES - 1) / TASK_QUERIES);
	for (int i = 0; i < threads; i++)
		end(&run.searchers[i]);
	pthread_mutex_destroy(&run.lock);
	stk_free(&exec->a, run.searchers);
	return (stk_status) atomic_load(&run.status);
}
