/*
 * An engine that computes nothing: it counts what it makes, takes memory for it, and waits or fails
 * when told to.
 */
#ifndef TEST_FAKE_ENGINE_H
#define TEST_FAKE_ENGINE_H

#include <sched.h>
#include <stdatomic.h>

#include "engine/engine.h"

struct stk_resident
{
	stk_allocator a;
	void *memory;
	bool wide;
};

typedef struct fake_engine
{
	stk_engine engine; /* first */
	size_t bytes;      /* that each takes */
	atomic_int loading;
	atomic_int loaded;
	atomic_int live;
	atomic_int fail;  /* so many loads that come */
	atomic_bool hold; /* no load returns while it is set */
} fake_engine;

static inline stk_status
fake_load(stk_engine *engine, const stk_exec *exec, const stk_codebook *cb, bool wide,
		  stk_resident **out, stk_error *err)
{
	fake_engine *e = (fake_engine *) engine;
	stk_resident *r;

	(void) cb;
	atomic_fetch_add(&e->loading, 1);
	while (atomic_load(&e->hold))
		sched_yield();
	if (atomic_load(&e->fail) > 0)
	{
		atomic_fetch_sub(&e->fail, 1);
		return stk_fail(err, STK_EINVAL, "told to fail");
	}
	r = stk_alloc_array(&exec->a, 1, sizeof(*r));
	if (!r)
		return STK_ENOMEM;
	r->a = exec->a;
	r->wide = wide;
	r->memory = stk_alloc_array(&exec->a, e->bytes, 1);
	if (!r->memory)
	{
		stk_free(&exec->a, r);
		return STK_ENOMEM;
	}
	atomic_fetch_add(&e->loaded, 1);
	atomic_fetch_add(&e->live, 1);
	*out = r;
	return STK_OK;
}

static inline void
fake_unload(stk_engine *engine, stk_resident *r)
{
	fake_engine *e = (fake_engine *) engine;
	stk_allocator a = r->a;

	stk_free(&a, r->memory);
	stk_free(&a, r);
	atomic_fetch_sub(&e->live, 1);
}

static inline void
fake_open(fake_engine *e, size_t bytes)
{
	static const stk_engine_ops ops = {.name = "fake", .load = fake_load, .unload = fake_unload};

	*e = (fake_engine){.engine = {.ops = &ops}, .bytes = bytes};
}

#endif
