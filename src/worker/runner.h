/*
 * The threads that launches are run from: some for each class, so that a class never waits for
 * another one's. Computing itself is done by the threads of a team, which all of them share.
 *
 * All of this is called by the loop's thread.
 */
#ifndef STK_RUNNER_H
#define STK_RUNNER_H

#include "worker/launch.h"

typedef struct stk_runners stk_runners;

/* The threads that compute. Another one takes over when the settings change. */
typedef struct stk_team stk_team;

/* STK_ENOMEM. shop outlives them. They end with the program. */
extern stk_status stk_runners_start(const stk_shop *shop, stk_runners **out);
/* STK_ENOMEM. */
extern stk_status stk_team_start(int threads, stk_team **out);
/* Ends with the last launch that uses it. */
extern void stk_team_retire(stk_team *team);
extern int stk_team_threads(const stk_team *team);
extern const stk_pool *stk_team_pool(const stk_team *team, stk_urgency urgency);

/* Is one of this class's free? */
extern bool stk_runners_free(const stk_runners *r, stk_class class);
/* Run it on one that is free, with this team. */
extern void stk_runners_begin(stk_runners *r, stk_team *team, stk_launch *l);
/* Does one of them go on for longer than this after it was cancelled? */
extern bool stk_runners_stuck(const stk_runners *r, uint64_t now_ns, uint64_t patience_ns);
/* It has ended, as the outbox said: its runner is free. */
extern void stk_runners_ended(stk_runners *r, stk_launch *l);

#endif
