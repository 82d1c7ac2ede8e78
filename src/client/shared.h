/*
 * What sessions and the supervisor know together, in shared memory: of the shared worker, of the
 * private ones, and of work under way. With semtok in shared_preload_libraries, and on PostgreSQL
 * 17 and later always; elsewhere there is none of it. Nothing that is computed depends on it.
 */
#ifndef SEMTOK_SHARED_H
#define SEMTOK_SHARED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/spin.h"

#define SHARED_TEXT 160

/* Of the worker that the supervisor keeps; under the mutex. */
typedef struct SharedWorker
{
	slock_t mutex;
	pid_t supervisor; /* 0 = none runs */
	pid_t pid;        /* 0 = none runs, or not yet ready */
	TimestampTz started;
	TimestampTz next_start; /* backing off until then; 0 = not */
	int64 starts;
	char last_error[SHARED_TEXT]; /* empty: none so far */
} SharedWorker;

/*
 * What a session does in a worker of its own, or instead of one; its own to write, under the mutex
 * where others shall not see half of it.
 */
typedef struct SharedSession
{
	slock_t mutex;
	int pid; /* of the backend; 0 = free */
	Oid role;
	Oid database;
	pid_t worker;        /* private; 0 = none */
	TimestampTz started; /* of that */
	int64 fallbacks;     /* requests that the session had to compute itself */
	int64 restarts;      /* of private workers */
	char last_error[SHARED_TEXT];

	/* Work under way; verb is empty when there is none. */
	char verb[32];    /* "train" */
	char subject[64]; /* the tokenizer or the relation */
	char phase[32];
	char where[32]; /* "shared worker", "private worker", "session" */
	TimestampTz began;
	TimestampTz phase_began;
	int level; /* -1 = none */
	int levels;
	int epoch;
	int epochs;
	int64 rows_done;
	int64 rows_total; /* -1 = not known */
	double loss;      /* NaN = none */
} SharedSession;

typedef struct SharedState
{
	SharedWorker worker;
	bool preloaded;       /* so there is a supervisor, or will soon be one */
	int64 lost_fallbacks; /* of sessions that have ended; under worker.mutex */
	int nsessions;
	SharedSession sessions[FLEXIBLE_ARRAY_MEMBER]; /* [nsessions], one for each backend */
} SharedState;

/*
 * In _PG_init while shared_preload_libraries are loaded: ask for memory, register the supervisor.
 */
extern void SharedRequest(void);
/* NULL where there is none. */
extern SharedState *SharedGet(void);
/*
 * This backend's, taken at the first call and let go at its end. Without shared memory, or once all
 * are taken, one that only this session sees.
 */
extern SharedSession *SharedMine(void);
/* Copy a text into one of these fields, cut between characters where it is too long. */
extern void SharedSetText(char *to, Size size, const char *text);
/* Count a request that this session has to compute itself. */
extern void SharedNoteFallback(const char *why);

#endif
