/*
 * What pg_stat_activity shows of a process that waits for a worker.
 */
#include "postgres.h"

#include "client/wait_event.h"
#include "compat.h"

uint32
SemtokWaitEvent(SemtokWait wait)
{
	static const char *const names[] = {[SEMTOK_WAIT_START] = "SemtokWorkerStart",
										[SEMTOK_WAIT_REPLY] = "SemtokWorkerReply",
										[SEMTOK_WAIT_SUPERVISOR] = "SemtokSupervisorMain"};
	static uint32 events[lengthof(names)]; /* 0 = not asked for yet */

	if (events[wait] == 0)
		events[wait] = SemtokWaitEventNew(names[wait]);
	return events[wait];
}
