/*
 * Jobs of one class that wait. Sessions take turns, each with its jobs in the order they came: one
 * that asks for much waits behind its own.
 */
#ifndef STK_QUEUE_H
#define STK_QUEUE_H

#include "worker/job.h"

/* A session's place in a queue; zero = it has nothing there. */
typedef struct stk_seat
{
	struct stk_seat *next; /* whose turn comes after */
	struct stk_seat *prev;
	stk_job *first;
	stk_job *last;
} stk_seat;

typedef struct stk_queue
{
	stk_seat *turn; /* whose turn it is; a ring; NULL = empty */
	size_t jobs;
} stk_queue;

/* As the last of the session that has this seat. */
extern void stk_queue_add(stk_queue *q, stk_seat *seat, stk_job *job);
/* As the first of its session, whose turn it is again: what was taken and could not be begun. */
extern void stk_queue_put_back(stk_queue *q, stk_seat *seat, stk_job *job);
/* The first job of the session whose turn it is; NULL = none. It stays. */
extern stk_job *stk_queue_peek(const stk_queue *q);
/* Take it out; it is the next one's turn. */
extern stk_job *stk_queue_take(stk_queue *q);
/*
 * Take out the first job of the next session, in turn, whose first job is like this; NULL = none.
 */
extern stk_job *stk_queue_take_like(stk_queue *q, bool (*like)(const void *ctx, const stk_job *job),
									const void *ctx);
/* Take out this job of the session that has this seat. */
extern void stk_queue_remove(stk_queue *q, stk_seat *seat, stk_job *job);

#endif
