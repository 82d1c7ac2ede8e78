/*
 * The session's connection to a worker: to the shared one where the supervisor keeps one, else to one
 * of its own, which the first request starts.
 */
#ifndef SEMTOK_WORKER_H
#define SEMTOK_WORKER_H

#include "postgres.h"

#include "worker/protocol.h"

/* What is known of the worker that this session is connected to. */
typedef struct WorkerInfo
{
	bool shared;
	stk_welcome welcome;
	double round_trip_us; /* of a ping, the best of several when the connection was made */
	/*
	 * One-thread time above which work goes to the worker under semtok.offload = auto: from there on
	 * the worker is sooner done.
	 */
	double offload_above_us;
} WorkerInfo;

/* NULL when there is no connection. */
extern const WorkerInfo *WorkerConnected(void);

/*
 * Ask for statistics, of the shared worker over a connection for this purpose alone, or of the
 * session's own. False when it does not answer in time (at most a second), or there is none.
 */
extern bool WorkerStatistics(bool shared, stk_statistics *s, double *round_trip_us);

#endif
