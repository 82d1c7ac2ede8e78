/*
 * Threads, as core sees them: someone else's. The worker, the unit tests and the benchmarks hand
 * in a pool; a backend never does, and everything then runs in the calling thread.
 *
 * No result depends on the number of threads or on which thread takes which task.
 */
#ifndef STK_POOL_H
#define STK_POOL_H

#include <stddef.h>

typedef void (*stk_task)(void *arg, size_t index, int thread);

typedef struct stk_pool
{
	int threads; /* at most so many tasks run at once; >= 1 */
	/*
	 * Call task(arg, index, thread) once for each index 0 .. n - 1, in any order, where no two
	 * tasks with the same thread, 0 .. threads - 1, run at once. Returns when all are done.
	 */
	void (*run)(void *ctx, stk_task task, void *arg, size_t n);
	void *ctx;
} stk_pool;

/* Threads that stk_run may use: room for per-thread scratch. */
static inline int
stk_threads(const stk_pool *pool)
{
	return pool ? pool->threads : 1;
}

/*
 * Run n tasks on the pool, or in this thread when it is NULL. Each task computes in core's
 * floating-point environment.
 */
extern void stk_run(const stk_pool *pool, stk_task task, void *arg, size_t n);

#endif
