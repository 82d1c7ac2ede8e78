/*
 * What the views semtok.workers and semtok.stat_progress show.
 *
 * As in pg_stat_activity everybody sees that a session works, and what it does only its own role
 * and pg_read_all_stats. The shared worker is everybody's.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_authid_d.h"
#include "client/shared.h"
#include "client/worker.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(semtok_worker_list);
PG_FUNCTION_INFO_V1(semtok_progress_list);

/* Columns of the functions, in the order of their results. */
enum
{
	WORKER_KIND,
	WORKER_PID,
	WORKER_BACKEND,
	WORKER_ENGINE,
	WORKER_DEVICE,
	WORKER_DEVICE_MEMORY,
	WORKER_DEVICE_MEMORY_LIMIT,
	WORKER_THREADS,
	WORKER_MEMORY,
	WORKER_MEMORY_LIMIT,
	WORKER_CODEBOOKS,
	WORKER_TRIES,
	WORKER_CACHE_BYTES,
	WORKER_CLIENTS,
	WORKER_REQUESTS,
	WORKER_BATCHES,
	WORKER_ROWS,
	WORKER_SEARCHES,
	WORKER_FALLBACKS,
	WORKER_RESTARTS,
	WORKER_ROUND_TRIP_US,
	WORKER_OFFLOAD_ABOVE_US,
	WORKER_LAST_ERROR,
	WORKER_STARTED_AT,
	WORKER_STATE,
	WORKER_COLUMNS
};

enum
{
	PROGRESS_PID,
	PROGRESS_DATABASE,
	PROGRESS_ROLE,
	PROGRESS_VERB,
	PROGRESS_SUBJECT,
	PROGRESS_PHASE,
	PROGRESS_COMPUTED,
	PROGRESS_LEVEL,
	PROGRESS_LEVELS,
	PROGRESS_EPOCH,
	PROGRESS_EPOCHS,
	PROGRESS_ROWS_DONE,
	PROGRESS_ROWS_TOTAL,
	PROGRESS_LOSS,
	PROGRESS_RATE,
	PROGRESS_BEGAN,
	PROGRESS_ETA,
	PROGRESS_COLUMNS
};

/* A row of a result; a column that is not set is null. */
typedef struct ViewRow
{
	Datum values[Max((int) WORKER_COLUMNS, (int) PROGRESS_COLUMNS)];
	bool nulls[Max((int) WORKER_COLUMNS, (int) PROGRESS_COLUMNS)];
} ViewRow;

static void
ViewRowClear(ViewRow *row)
{
	memset(row->values, 0, sizeof(row->values));
	memset(row->nulls, true, sizeof(row->nulls));
}

static void
ViewSet(ViewRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

/* A text, unless it is empty. Another database may have another encoding. */
static void
ViewSetText(ViewRow *row, int column, const char *text)
{
	char *copy;

	if (text[0] == '\0')
		return;
	copy = pstrdup(text);
	if (!pg_verifymbstr(copy, strlen(copy), true))
		for (char *c = copy; *c; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
	ViewSet(row, column, CStringGetTextDatum(copy));
}

static void
ViewPut(FunctionCallInfo fcinfo, ViewRow *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
	ViewRowClear(row);
}

/* May the user see what a session of this role does? */
static bool
ViewMaySee(Oid role)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		   has_privs_of_role(GetUserId(), role);
}

/*
 * The parts of the sessions that are taken, copied; their number. Without shared memory this one's.
 */
static int
ViewSessions(SharedSession **sessions)
{
	SharedState *state = SharedGet();
	int n = 0;

	*sessions = palloc(mul_size(state ? state->nsessions : 1, sizeof(SharedSession)));
	for (int i = 0; i < (state ? state->nsessions : 1); i++)
	{
		SharedSession *session = state ? &state->sessions[i] : SharedMine();

		SpinLockAcquire(&session->mutex);
		(*sessions)[n] = *session;
		SpinLockRelease(&session->mutex);
		if ((*sessions)[n].pid != 0)
			n++;
	}
	return n;
}

/* No clock here tells more than tenths of microseconds. */
static Datum
ViewTenths(double us)
{
	return Float8GetDatum(rint(us * 10) / 10);
}

/*
 * What the worker itself says, and of its own fallbacks with those of sessions; false when it does
 * not answer.
 */
static bool
WorkerColumns(ViewRow *row, bool shared, bool details, int64 *fallbacks)
{
	const WorkerInfo *connected = WorkerConnected();
	stk_statistics s;
	double round_trip_us;

	if (connected && connected->shared == shared)
		ViewSet(row, WORKER_OFFLOAD_ABOVE_US, ViewTenths(connected->offload_above_us));
	if (!WorkerStatistics(shared, &s, &round_trip_us))
		return false;
	ViewSetText(row, WORKER_ENGINE, s.engine);
	ViewSetText(row, WORKER_DEVICE, s.device);
	if (s.device_memory_limit > 0)
	{
		ViewSet(row, WORKER_DEVICE_MEMORY, Int64GetDatum((int64) s.device_memory));
		ViewSet(row, WORKER_DEVICE_MEMORY_LIMIT, Int64GetDatum((int64) s.device_memory_limit));
	}
	*fallbacks += (int64) s.fallbacks;
	ViewSet(row, WORKER_THREADS, Int32GetDatum((int32) s.threads));
	ViewSet(row, WORKER_MEMORY, Int64GetDatum((int64) s.memory_used));
	ViewSet(row, WORKER_MEMORY_LIMIT, Int64GetDatum((int64) s.memory));
	ViewSet(row, WORKER_CODEBOOKS, Int32GetDatum((int32) s.codebooks));
	ViewSet(row, WORKER_TRIES, Int32GetDatum((int32) s.tries));
	ViewSet(row, WORKER_CACHE_BYTES, Int64GetDatum((int64) s.cache_bytes));
	ViewSet(row, WORKER_CLIENTS, Int32GetDatum((int32) s.clients));
	ViewSet(row, WORKER_REQUESTS, Int64GetDatum((int64) s.requests));
	ViewSet(row, WORKER_BATCHES, Int64GetDatum((int64) s.batches));
	ViewSet(row, WORKER_ROWS, Int64GetDatum((int64) s.rows));
	ViewSet(row, WORKER_SEARCHES, Int64GetDatum((int64) s.searches));
	ViewSet(row, WORKER_ROUND_TRIP_US, ViewTenths(round_trip_us));
	/* What somebody's request failed of is for those who see everybody's requests. */
	if (details && s.last_error[0])
		ViewSetText(row, WORKER_LAST_ERROR, s.last_error);
	return true;
}

/* Does a session have a row of its own among the workers? */
static bool
WorkerOfSession(const SharedSession *session, bool preloaded)
{
	return session->worker != 0 ||
		   (!preloaded && (session->fallbacks > 0 || session->restarts > 0));
}

/* The worker that the supervisor keeps, or will. */
static void
WorkerShared(FunctionCallInfo fcinfo, SharedState *state, const SharedSession *sessions,
			 int nsessions)
{
	SharedWorker worker;
	int64 fallbacks;
	const char *run = "running";
	ViewRow row;

	SpinLockAcquire(&state->worker.mutex);
	worker = state->worker;
	fallbacks = state->lost_fallbacks;
	SpinLockRelease(&state->worker.mutex);
	for (int i = 0; i < nsessions; i++)
		if (!WorkerOfSession(&sessions[i], true))
			fallbacks += sessions[i].fallbacks;

	ViewRowClear(&row);
	ViewSetText(&row, WORKER_KIND, "shared");
	ViewSetText(&row, WORKER_LAST_ERROR, worker.last_error);
	if (worker.pid != 0)
	{
		ViewSet(&row, WORKER_PID, Int32GetDatum(worker.pid));
		ViewSet(&row, WORKER_STARTED_AT, TimestampTzGetDatum(worker.started));
		if (!WorkerColumns(&row, true, has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS),
						   &fallbacks))
			run = "not answering";
	}
	else if (worker.supervisor == 0)
		run = "no supervisor";
	else
		run = worker.next_start != 0 ? "waiting to restart" : "starting";
	ViewSet(&row, WORKER_FALLBACKS, Int64GetDatum(fallbacks));
	ViewSet(&row, WORKER_RESTARTS, Int64GetDatum(Max(worker.starts - 1, 0)));
	ViewSetText(&row, WORKER_STATE, run);
	ViewPut(fcinfo, &row);
}

static void
WorkerPrivate(FunctionCallInfo fcinfo, const SharedSession *session)
{
	ViewRow row;

	ViewRowClear(&row);
	ViewSetText(&row, WORKER_KIND, "private");
	ViewSet(&row, WORKER_BACKEND, Int32GetDatum(session->pid));
	if (session->worker != 0)
	{
		ViewSet(&row, WORKER_PID, Int32GetDatum(session->worker));
		ViewSet(&row, WORKER_STARTED_AT, TimestampTzGetDatum(session->started));
	}
	if (ViewMaySee(session->role))
	{
		const char *run = session->worker != 0 ? "running" : "none";
		int64 fallbacks = session->fallbacks;

		ViewSetText(&row, WORKER_LAST_ERROR, session->last_error);
		if (session->worker != 0 && session->pid == MyProcPid &&
			!WorkerColumns(&row, false, true, &fallbacks))
			run = "not answering";
		ViewSet(&row, WORKER_FALLBACKS, Int64GetDatum(fallbacks));
		ViewSet(&row, WORKER_RESTARTS, Int64GetDatum(session->restarts));
		ViewSetText(&row, WORKER_STATE, run);
	}
	ViewPut(fcinfo, &row);
}

/* semtok.worker_list() → setof record: the shared worker, and the sessions' own */
Datum
semtok_worker_list(PG_FUNCTION_ARGS)
{
	SharedState *state = SharedGet();
	bool preloaded = state && state->preloaded;
	SharedSession *sessions;
	int n = ViewSessions(&sessions);

	InitMaterializedSRF(fcinfo, 0);
	if (preloaded)
		WorkerShared(fcinfo, state, sessions, n);
	for (int i = 0; i < n; i++)
		if (WorkerOfSession(&sessions[i], preloaded))
			WorkerPrivate(fcinfo, &sessions[i]);
	return (Datum) 0;
}

/* How much of its phase a session has done, 0 to 1; NaN when that is not known. */
static double
ProgressShare(const SharedSession *session)
{
	if (session->epochs > 0 && session->level < 0)
		return (double) session->epoch / session->epochs;
	if (session->epochs > 0 && session->levels > 0)
		return ((double) session->level + (double) session->epoch / session->epochs) /
			   session->levels;
	if (session->rows_total > 0)
		return (double) session->rows_done / session->rows_total;
	return NAN;
}

static void
ProgressDetails(ViewRow *row, const SharedSession *session)
{
	double seconds = (double) (GetCurrentTimestamp() - session->phase_began) / USECS_PER_SEC;
	double share = ProgressShare(session);

	ViewSetText(row, PROGRESS_VERB, session->verb);
	ViewSetText(row, PROGRESS_SUBJECT, session->subject);
	ViewSetText(row, PROGRESS_PHASE, session->phase);
	ViewSetText(row, PROGRESS_COMPUTED, session->where);
	if (session->level >= 0)
		ViewSet(row, PROGRESS_LEVEL, Int32GetDatum(session->level));
	if (session->levels > 0)
		ViewSet(row, PROGRESS_LEVELS, Int32GetDatum(session->levels));
	if (session->epochs > 0)
	{
		ViewSet(row, PROGRESS_EPOCH, Int32GetDatum(session->epoch));
		ViewSet(row, PROGRESS_EPOCHS, Int32GetDatum(session->epochs));
	}
	ViewSet(row, PROGRESS_ROWS_DONE, Int64GetDatum(session->rows_done));
	if (session->rows_total >= 0)
		ViewSet(row, PROGRESS_ROWS_TOTAL, Int64GetDatum(session->rows_total));
	if (!isnan(session->loss))
		ViewSet(row, PROGRESS_LOSS, Float8GetDatum(session->loss));
	ViewSet(row, PROGRESS_BEGAN, TimestampTzGetDatum(session->began));
	if (seconds > 0 && session->rows_done > 0)
		ViewSet(row, PROGRESS_RATE, Float8GetDatum((double) session->rows_done / seconds));
	/* Beyond a year nothing is known. */
	if (seconds > 0 && share > 0 && seconds / share < 365.0 * SECS_PER_DAY)
		ViewSet(
			row, PROGRESS_ETA,
			TimestampTzGetDatum(session->phase_began + (int64) (seconds / share * USECS_PER_SEC)));
}

/* semtok.progress_list() → setof record: the sessions at work */
Datum
semtok_progress_list(PG_FUNCTION_ARGS)
{
	SharedSession *sessions;
	int n = ViewSessions(&sessions);
	ViewRow row;

	InitMaterializedSRF(fcinfo, 0);
	ViewRowClear(&row);
	for (int i = 0; i < n; i++)
	{
		const SharedSession *session = &sessions[i];

		if (session->verb[0] == '\0')
			continue;
		ViewSet(&row, PROGRESS_PID, Int32GetDatum(session->pid));
		ViewSet(&row, PROGRESS_DATABASE, ObjectIdGetDatum(session->database));
		ViewSet(&row, PROGRESS_ROLE, ObjectIdGetDatum(session->role));
		if (ViewMaySee(session->role))
			ProgressDetails(&row, session);
		ViewPut(fcinfo, &row);
	}
	return (Datum) 0;
}
