/*
 * The session's connection to a worker: to the shared one where the supervisor keeps one, else to
 * one of its own, which the first request starts.
 *
 * What goes wrong with a worker is never an error here: a request is lost then. Errors that are
 * raised while waiting, and owners of requests that go before the answer has come, end the
 * connection, so that no late answer is taken for another's and the worker drops the work.
 */
#ifndef SEMTOK_WORKER_H
#define SEMTOK_WORKER_H

#include "postgres.h"

#include "client/spool.h"
#include "lib/ilist.h"
#include "worker/protocol.h"

/* What is known of the worker that this session is connected to. */
typedef struct WorkerInfo
{
	bool shared;
	stk_welcome welcome;
	double round_trip_us; /* of a ping, the best of several when the connection was made */
	/*
	 * One-thread time above which work goes to the worker under semtok.offload = auto: from there
	 * on the worker is sooner done.
	 */
	double offload_above_us;
} WorkerInfo;

/* NULL when there is no connection. */
extern const WorkerInfo *WorkerConnected(void);

/*
 * Be connected, or get so; with `launch` by starting a worker of one's own if need be. False when
 * there is no worker to be had: WorkerTrouble says why.
 */
extern bool WorkerConnect(bool launch);
/* Why there is no worker, or why the last one was lost. */
extern const char *WorkerTrouble(void);
/* What a user can do about that, or where there is more to read; NULL where nothing is known. */
extern const char *WorkerRemedy(void);

typedef enum WorkerAnswer
{
	WORKER_IDLE = 0, /* nothing has been asked */
	WORKER_ASKED,    /* the answer is not there yet */
	WORKER_ANSWERED, /* by `kind` and `body` */
	WORKER_LOST      /* the worker went before it answered */
} WorkerAnswer;

/* A question to the worker, again and again. */
typedef struct WorkerRequest
{
	WorkerAnswer answer;
	uint16 kind; /* of the answer */
	uint32 bytes;
	uint8 *body; /* [bytes] */

	uint64 data; /* bytes of data that come and go with it; for WorkerData */

	/* For messages that come before the answer; NULL where there is none. False: not understood. */
	bool (*progress)(void *ctx, const uint8 *body, uint32 bytes);
	void *progress_ctx;

	/* worker.c's own */
	struct Worker *worker;
	dlist_node node; /* among its worker's, while it is asked */
	uint64 number;
	uint32 room; /* of body */
	MemoryContext owner;
	MemoryContextCallback callback;
} WorkerRequest;

/* One that goes with its owner. */
extern WorkerRequest *WorkerRequestCreate(MemoryContext owner);
/*
 * Get ready to ask: the buffer to write the message into, and the number to give it. There must be
 * a connection. NULL when the worker is lost by now; the request is then, too.
 */
extern uint8 *WorkerCompose(WorkerRequest *request, uint64 *number);
/* Ask; with the spool's descriptor, unless it is NULL. */
extern void WorkerAsk(WorkerRequest *request, Size bytes, Spool *spool);
/* Take what has come, without waiting. */
extern void WorkerPoll(void);
/* Wait for the answer, or until the request is lost. */
extern void WorkerWait(WorkerRequest *request);
/* The answer is not one: the worker is lost, with all that it was asked for. */
extern void WorkerDistrust(WorkerRequest *request, const char *format, ...)
	pg_attribute_printf(2, 3);
/* Bytes of data that the worker has been asked about and has not answered yet. */
extern uint64 WorkerData(void);

/*
 * Ask for statistics, of the shared worker over a connection for this purpose alone, or of the
 * session's own. False when it does not answer in time (at most a second), or there is none.
 */
extern bool WorkerStatistics(bool shared, stk_statistics *s, double *round_trip_us);

#endif
