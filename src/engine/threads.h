/*
 * A pool of threads for core, on pthreads. For programs of our own: a backend never has threads.
 */
#ifndef STK_THREADS_H
#define STK_THREADS_H

#include "core/pool.h"
#include "core/status.h"

typedef struct stk_threads_pool stk_threads_pool;

/*
 * Start a pool of `threads` >= 1, the thread that calls stk_run being one of them. Signals stay
 * blocked in the others. STK_ENOMEM; free with stk_threads_stop.
 */
extern stk_status stk_threads_start(int threads, stk_threads_pool **out);
/* End the threads; no task may be running. */
extern void stk_threads_stop(stk_threads_pool *t);
/*
 * What core takes; valid until the stop. One thread at a time may run tasks on it, and a task none.
 */
extern const stk_pool *stk_threads_as_pool(const stk_threads_pool *t);

#endif
