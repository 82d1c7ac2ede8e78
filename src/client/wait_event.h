/*
 * What pg_stat_activity shows of a process that waits for a worker.
 */
#ifndef SEMTOK_WAIT_EVENT_H
#define SEMTOK_WAIT_EVENT_H

#include "postgres.h"

typedef enum SemtokWait
{
	SEMTOK_WAIT_START = 0, /* for a private worker to get ready: SemtokWorkerStart */
	SEMTOK_WAIT_REPLY,     /* for a worker's answer: SemtokWorkerReply */
	SEMTOK_WAIT_SUPERVISOR /* the supervisor has nothing to do: SemtokSupervisorMain */
} SemtokWait;

/* For WaitLatch and its like. Before PostgreSQL 17 they are all shown as Extension. */
extern uint32 SemtokWaitEvent(SemtokWait wait);

#endif
