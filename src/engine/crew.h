/*
 * Threads that several computations share fairly.
 *
 * Each computation runs its tasks through a pool of its own, from a thread of its own, which waits.
 * A thread of the crew that is free takes its next task from the waiting computations: urgent ones
 * first, those of the same urgency in turn. So tasks, which core keeps short, are the time slices,
 * and a long computation delays a short one by no more than a task.
 */
#ifndef STK_CREW_H
#define STK_CREW_H

#include "core/pool.h"
#include "core/status.h"

typedef struct stk_crew stk_crew;

typedef enum stk_urgency
{
	STK_URGENT = 0,    /* someone waits for a short answer */
	STK_BACKGROUND = 1 /* a training */
} stk_urgency;

/* Start `threads` >= 1 threads, signals blocked in them. STK_ENOMEM; free with stk_crew_stop. */
extern stk_status stk_crew_start(int threads, stk_crew **out);
/* End the threads; no computation may be running on them. */
extern void stk_crew_stop(stk_crew *crew);
extern int stk_crew_threads(const stk_crew *crew);

/*
 * A pool for one computation at a time, valid until the crew stops. stk_run on it from one thread,
 * not from a task; other computations may run on pools of their own meanwhile.
 */
extern stk_pool stk_crew_pool(stk_crew *crew, stk_urgency urgency);

#endif
