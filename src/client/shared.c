/*
 * What sessions and the supervisor know together, in shared memory.
 *
 * A library that was preloaded has its memory from the postmaster, which makes it anew after a
 * crash. Others share a segment that the first session makes, on PostgreSQL 17 and later. A
 * session's part is the one of its number among the backends, so that taking one needs no lock and
 * two never meet.
 */
#include "postgres.h"

#include "client/launch.h"
#include "client/shared.h"
#include "client/supervisor.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

static SharedState *shared_state = NULL;
/* What SharedMine gave; own_session is for a session that has no part of shared memory. */
static SharedSession own_session;
static SharedSession *my_session = NULL;

static shmem_request_hook_type next_request = NULL;
static shmem_startup_hook_type next_startup = NULL;

static Size
SharedSize(void)
{
	return add_size(offsetof(SharedState, sessions), mul_size(MaxBackends, sizeof(SharedSession)));
}

/* A session's part of which nothing is known. */
static void
SharedSessionClear(SharedSession *session)
{
	memset((char *) session + offsetof(SharedSession, pid), 0,
		   sizeof(SharedSession) - offsetof(SharedSession, pid));
}

static void
SharedInit(void *memory)
{
	SharedState *state = memory;

	memset(state, 0, SharedSize());
	SpinLockInit(&state->worker.mutex);
	state->nsessions = MaxBackends;
	for (int i = 0; i < state->nsessions; i++)
		SpinLockInit(&state->sessions[i].mutex);
}

static void
SharedOnRequest(void)
{
	if (next_request)
		next_request();
	RequestAddinShmemSpace(SharedSize());
}

static void
SharedOnStartup(void)
{
	bool found;

	if (next_startup)
		next_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared_state = ShmemInitStruct("semtok", SharedSize(), &found);
	if (!found)
	{
		SharedInit(shared_state);
		shared_state->preloaded = true;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
SharedRequest(void)
{
	next_request = shmem_request_hook;
	shmem_request_hook = SharedOnRequest;
	next_startup = shmem_startup_hook;
	shmem_startup_hook = SharedOnStartup;
	if (WorkerPossible())
		SupervisorRegister();
}

SharedState *
SharedGet(void)
{
	char name[64];

	if (shared_state)
		return shared_state;
	/* Sessions that have loaded another version of the library share a segment of their own. */
	snprintf(name, sizeof(name), "semtok %s %zu", SEMTOK_VERSION, SharedSize());
	shared_state = SemtokNamedSegment(name, SharedSize(), SharedInit);
	return shared_state;
}

/* Let go of this session's part. What exits after this sees one of its own. */
static void
SharedLeave(int code, Datum arg)
{
	SharedSession *session = my_session;
	int64 fallbacks = session->fallbacks;

	own_session = *session;
	my_session = &own_session;

	SpinLockAcquire(&session->mutex);
	SharedSessionClear(session);
	SpinLockRelease(&session->mutex);

	SpinLockAcquire(&shared_state->worker.mutex);
	shared_state->lost_fallbacks += fallbacks;
	SpinLockRelease(&shared_state->worker.mutex);
}

SharedSession *
SharedMine(void)
{
	SharedState *state;
	int number = SemtokBackendNumber();

	if (my_session)
		return my_session;
	state = SharedGet();
	if (state && number >= 0 && number < state->nsessions)
	{
		my_session = &state->sessions[number];
		before_shmem_exit(SharedLeave, (Datum) 0);
	}
	else
	{
		my_session = &own_session;
		SpinLockInit(&my_session->mutex);
	}
	SpinLockAcquire(&my_session->mutex);
	SharedSessionClear(my_session);
	my_session->pid = MyProcPid;
	my_session->role = GetAuthenticatedUserId();
	my_session->database = MyDatabaseId;
	SpinLockRelease(&my_session->mutex);
	return my_session;
}

void
SharedSetText(char *to, Size size, const char *text)
{
	int length = pg_mbcliplen(text, strlen(text), size - 1);

	memcpy(to, text, length);
	to[length] = '\0';
}

void
SharedNoteFallback(const char *why)
{
	SharedSession *mine = SharedMine();
	char text[SHARED_TEXT];

	SharedSetText(text, sizeof(text), why);
	SpinLockAcquire(&mine->mutex);
	mine->fallbacks++;
	strcpy(mine->last_error, text);
	SpinLockRelease(&mine->mutex);
}
