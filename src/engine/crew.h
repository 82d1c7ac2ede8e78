/*
 * Threads that several computations share fairly.
 *
 * Each computation runs its tasks through a pool, from a thread of its own. No more tasks run at a
 * time than the crew has threads, whoever computes them: the crew's threads, and a computation's
 * own thread while nobody else is to come first. So tasks, which core keeps short, are the time
 * slices.
 *
 * Which task is next: urgent computations come first, those of the same urgency take turns. But of
 * STK_CREW_SHARE tasks in a row one is a background computation's where one waits, so that a flood
 * of urgent ones slows it down and never stops it. A long background computation delays an urgent
 * one by the tasks in flight and one of STK_CREW_SHARE thereafter.
 */
#ifndef STK_CREW_H
#define STK_CREW_H

#include "core/pool.h"
#include "core/status.h"

#define STK_CREW_SHARE 16

typedef struct stk_crew stk_crew;

typedef enum stk_urgency
{
	STK_URGENT = 0,    /* someone waits for a short answer */
	STK_BACKGROUND = 1 /* a training */
} stk_urgency;

/* Start `threads` >= 1 threads, signals blocked in them. STK_ENOMEM; free with stk_crew_stop. */
extern stk_status stk_crew_start(int threads, stk_crew **out);
/* End the threads; no computation may be running on them. crew may be NULL. */
extern void stk_crew_stop(stk_crew *crew);
extern int stk_crew_threads(const stk_crew *crew);

/*
 * A pool for any number of computations of this urgency, each in a thread of its own and none in a
 * task; valid until the crew stops.
 */
extern const stk_pool *stk_crew_pool(const stk_crew *crew, stk_urgency urgency);

#endif
