/*
 * Codebooks and sets that the worker keeps, by the hash of their stored form, with what engines
 * have made of them: of a set a trie. All in the budget: where that is short, those least recently
 * pinned go, except what is pinned. Any thread may call any of this.
 */
#ifndef STK_CACHE_H
#define STK_CACHE_H

#include "engine/engine.h"
#include "worker/budget.h"
#include "worker/protocol.h"

typedef struct stk_cache stk_cache;

/* A codebook or set of the cache. Whoever holds a pin may use it. */
typedef struct stk_cached stk_cached;

typedef enum stk_cached_kind
{
	STK_CACHED_CODEBOOK,
	STK_CACHED_SET
} stk_cached_kind;

/* The cache becomes the one whom the budget asks for room. STK_ENOMEM; free with stk_cache_free. */
extern stk_status stk_cache_create(stk_budget *budget, stk_cache **out);
/* Nothing is pinned any more; the engines are still open. */
extern void stk_cache_free(stk_cache *c);

/* Pin what is of this kind and has this hash; NULL when it is not here. */
extern stk_cached *stk_cache_pin(stk_cache *c, stk_cached_kind kind,
								 const uint8_t hash[STK_HASH_BYTES]);
extern void stk_cache_unpin(stk_cache *c, stk_cached *e);

/*
 * Keep one, and pin it. fill writes its stored form to `to`; its error is the caller's. Not
 * called when it is here already. STK_ENOMEM when there is no room for it now, STK_ECORRUPT when
 * the bytes have another hash or are none of this kind.
 */
extern stk_status
stk_cache_put(stk_cache *c, stk_cached_kind kind, const uint8_t hash[STK_HASH_BYTES], size_t bytes,
			  stk_status (*fill)(void *ctx, uint8_t *to, size_t bytes, stk_error *err), void *ctx,
			  stk_cached **out, stk_error *err);

extern const stk_codebook *stk_cached_codebook(const stk_cached *e);
extern const stk_semset *stk_cached_set(const stk_cached *e);

/*
 * What the engine has made of it, for beams wider than 1 if `wide`; good as long as e is pinned.
 * Makes it where it is not there yet, with exec but for its memory, which the cache accounts for;
 * waits where another thread is at it, as long as exec->monitor lets it. Errors as the engine's
 * load, STK_ENOMEM also when the budget has no room for it now.
 */
extern stk_status stk_cache_resident(stk_cache *c, stk_cached *e, stk_engine *engine, bool wide,
									 const stk_exec *exec, const stk_resident **out,
									 stk_error *err);
/* The same of a set. */
extern stk_status stk_cache_trie(stk_cache *c, stk_cached *e, stk_engine *engine,
								 const stk_exec *exec, const stk_resident_trie **out,
								 stk_error *err);
/* Of a codebook, where it is there already; else NULL. Never waits. */
extern const stk_resident *stk_cache_ready(stk_cache *c, stk_cached *e, const stk_engine *engine,
										   bool wide);

typedef struct stk_cache_size
{
	uint32_t codebooks;
	uint32_t sets;
	uint64_t bytes;
} stk_cache_size;

extern stk_cache_size stk_cache_measure(stk_cache *c);

#endif
