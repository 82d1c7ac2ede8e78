/*
 * What worker.c (connections: begin, end) and request.c (questions and answers) share.
 */
#ifndef SEMTOK_WORKER_IMPL_H
#define SEMTOK_WORKER_IMPL_H

#include "postgres.h"

#include "client/channel.h"
#include "client/worker.h"
#include "portability/instr_time.h"

/* A connection. */
typedef struct Worker
{
	Channel *channel;
	pid_t pid;     /* of a private worker, our child; 0 = shared */
	bool welcomed; /* it has said who it is; before, it is not pinged */
	WorkerInfo info;
	stk_configure settings; /* that a private worker was started with, or told of since */
	uint32 devices;         /* a hash of semtok.cuda_devices then */
	uint64 numbers;         /* given to requests so far */
	dlist_head requests;    /* asked, oldest first */
	uint32 nrequests;
	uint64 data; /* theirs */

	/* Signs of life. */
	uint64 messages; /* the channel's, when last looked */
	double quiet;    /* ms of the clock since when it has not risen */
	uint64 ping;     /* number of the ping under way; 0 = none */
	stk_pong pong;   /* the last one, as long as nothing has been asked or answered since */
} Worker;

/* Milliseconds of a clock that never goes back. */
static inline double
WorkerClock(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* The session's; NULL when there is none. */
extern Worker *WorkerMine(void);
/*
 * The channel has failed: tell the log, mark what was asked for as lost, and let the worker go. It
 * is freed.
 */
extern void WorkerGone(Worker *worker);
/* Let it go, nothing more being wanted of it. It is freed. Cannot fail. */
extern void WorkerEnd(Worker *worker);

/* WorkerCompose, WorkerAsk and WorkerWait on any connection. `until` 0: as long as it takes. */
extern uint8 *RequestCompose(Worker *worker, WorkerRequest *request, uint64 *number);
extern void RequestAsk(WorkerRequest *request, Size bytes, Spool *spool);
extern void RequestWait(WorkerRequest *request, double until);
/* Take what has come. False when the worker was lost by it. */
extern bool RequestsServe(Worker *worker);

#endif
