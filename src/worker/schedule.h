/*
 * Which jobs are computed when. Each class has runners of its own; sessions take turns; requests to
 * encode with the same codebook are gathered. A job that finds no room in memory waits for a launch
 * to end. The loop's thread.
 */
#ifndef STK_SCHEDULE_H
#define STK_SCHEDULE_H

#include "worker/server.h"

/* Let a job wait for its turn. */
extern void stk_schedule_add(stk_server *s, stk_job *job);
/* Its client has gone: forget it, and stop what nobody else waits for. */
extern void stk_schedule_drop(stk_server *s, stk_job *job);
/* Begin what can be begun. */
extern void stk_schedule(stk_server *s);
/* Take what the runners have to tell. */
extern void stk_schedule_collect(stk_server *s);

#endif
