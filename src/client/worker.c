/*
 * Connections to workers: how they begin and end.
 */
#include "postgres.h"

#include "client/worker_impl.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/launch.h"
#include "client/shared.h"
#include "common/hashfn.h"
#include "guc.h"
#include "miscadmin.h"
#include "port.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * How long a welcome may take at least, whatever semtok.worker_timeout says. A private worker is a
 * program that has yet to be loaded and to measure its machine, on one that may be busy.
 */
#define WORKER_WELCOME_PRIVATE_MS 5000
#define WORKER_WELCOME_SHARED_MS 1000
/* Pings that measure the round trip. */
#define WORKER_PINGS 5
/* How long the shared worker may be away before a session does without it. */
#define WORKER_AWAY_MS 1000
/* How long it is not waited for again when that was in vain. */
#define WORKER_VAIN_MS 10000
/* How long the supervisor has to notice that a worker is gone which left a session. */
#define WORKER_NOTICE_MS 3000
/* How long a private worker has to end by itself when its session does. */
#define WORKER_EXIT_MS 1000
/* How long statistics may take. */
#define WORKER_STATISTICS_MS 1000
/* What a request costs beside its round trip: data is written, read, and written back. */
#define WORKER_REQUEST_US 100.0
/* Seconds that a private worker goes on without a device that has failed. */
#define WORKER_DEVICE_REST 10
/* Killed workers that have not ended yet. */
#define WORKER_DYING 8

static Worker *mine = NULL;
static char trouble[512];
static char remedy[256]; /* empty: none */
static pid_t dying[WORKER_DYING];
static bool exit_registered = false;

Worker *
WorkerMine(void)
{
	return mine;
}

const WorkerInfo *
WorkerConnected(void)
{
	return mine && mine->welcomed ? &mine->info : NULL;
}

const char *
WorkerTrouble(void)
{
	return trouble;
}

const char *
WorkerRemedy(void)
{
	return remedy[0] ? remedy : NULL;
}

static void WorkerSetTrouble(const char *format, ...) pg_attribute_printf(1, 2);

static void
WorkerSetTrouble(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(trouble, sizeof(trouble), format, args);
	va_end(args);
	remedy[0] = '\0';
}

/* After the trouble. NULL: none. */
static void
WorkerSetRemedy(const char *text)
{
	strlcpy(remedy, text ? text : "", sizeof(remedy));
}

/* Wait for a child's end, so many milliseconds. */
static bool
WorkerReapWithin(pid_t pid, int ms, int *status)
{
	for (int i = 0; i <= ms; i++)
	{
		if (WorkerReap(pid, status))
			return true;
		pg_usleep(1000);
	}
	return false;
}

static void
WorkerReapDying(void)
{
	int status;

	for (int i = 0; i < WORKER_DYING; i++)
		if (dying[i] != 0 && WorkerReap(dying[i], &status))
			dying[i] = 0;
}

/*
 * Kill a worker of ours. The kernel may take its time to free what it had: then it is reaped later.
 */
static void
WorkerKill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	WorkerReapDying();
	if (WorkerReapWithin(pid, 20, &status))
		return;
	for (int i = 0; i < WORKER_DYING; i++)
		if (dying[i] == 0)
		{
			dying[i] = pid;
			return;
		}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

static void
WorkerPublish(pid_t pid, bool restarted)
{
	SharedSession *session = SharedMine();
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&session->mutex);
	session->worker = pid;
	session->started = now;
	if (restarted)
		session->restarts++;
	SpinLockRelease(&session->mutex);
}

/* Close the connection; what was asked is lost. The process, where it is ours, is the caller's. */
static void
WorkerClose(Worker *worker)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &worker->requests)
	{
		WorkerRequest *request = dlist_container(WorkerRequest, node, iter.cur);

		dlist_delete(&request->node);
		request->answer = WORKER_LOST;
	}
	if (worker->channel)
		ChannelClose(worker->channel);
	if (worker == mine)
		mine = NULL;
	pfree(worker);
}

void
WorkerEnd(Worker *worker)
{
	pid_t pid = worker->pid;

	WorkerClose(worker);
	if (pid == 0)
		return;
	WorkerKill(pid);
	WorkerPublish(0, false);
}

/*
 * One that ended by itself leaves the connection a moment before it can be reaped; what it ended of
 * is worth that moment.
 */
void
WorkerGone(Worker *worker)
{
	int status;

	WorkerSetTrouble("%s", ChannelFailure(worker->channel));
	if (worker->pid != 0 && WorkerReapWithin(worker->pid, 10, &status))
	{
		WorkerSetTrouble("it %s", WorkerStatusText(status));
		worker->pid = 0;
		WorkerPublish(0, false);
	}
	/* A supervisor tells the log of its worker; nobody but itself does of a session's own. */
	WorkerSetRemedy(
		worker->info.shared
			? "The server log tells what became of it."
			: "The server's standard error, a part of most logs, has what it said itself.");
	ereport(LOG, (errmsg("lost %s: %s",
						 worker->info.shared ? "semtok's shared worker"
											 : "this session's worker of semtok",
						 trouble)));
	WorkerEnd(worker);
}

/* The session ends. */
static void
WorkerExit(int code, Datum arg)
{
	int status;

	if (mine)
	{
		pid_t pid = mine->pid;

		WorkerClose(mine);
		if (pid != 0 && !WorkerReapWithin(pid, WORKER_EXIT_MS, &status))
			WorkerKill(pid);
	}
	for (int i = 0; i < WORKER_DYING; i++)
		while (dying[i] != 0 && waitpid(dying[i], &status, 0) < 0 && errno == EINTR)
			;
}

/* What the settings say that a worker of the session's is to be. */
static stk_configure
WorkerSettings(void)
{
	return (stk_configure){.threads = (uint32) WorkerThreads(),
						   .memory = (uint64) semtok_worker_memory * 1024,
						   .batch_max = (uint32) semtok_batch_max,
						   .batch_wait_us = (uint32) semtok_batch_wait_us};
}

/* Whether devices are the same is all that is to be known of them. */
static uint32
WorkerDevices(void)
{
	return string_hash(semtok_cuda_devices, 1024);
}

/* A connection over a socket, which is closed when that is not possible. */
static Worker *
WorkerOpen(pgsocket sock, pid_t pid)
{
	Worker *volatile worker = NULL;

	PG_TRY();
	{
		Channel *channel = ChannelOpen(sock);

		worker = MemoryContextAllocExtended(TopMemoryContext, sizeof(Worker),
											MCXT_ALLOC_ZERO | MCXT_ALLOC_NO_OOM);
		if (!worker)
		{
			ChannelClose(channel);
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		}
		worker->channel = channel;
	}
	PG_CATCH();
	{
		if (pid != 0)
			WorkerKill(pid);
		PG_RE_THROW();
	}
	PG_END_TRY();
	worker->pid = pid;
	worker->info.shared = pid == 0;
	worker->settings = WorkerSettings();
	worker->devices = WorkerDevices();
	dlist_init(&worker->requests);
	return worker;
}

/* Ask for something without data, and wait for the answer. False when the worker was lost. */
static bool
WorkerAskShortly(Worker *worker, WorkerRequest *request, stk_kind kind, double until)
{
	stk_hello hello = {.version = STK_PROTOCOL_VERSION, .program = SEMTOK_VERSION};
	uint64 number;
	uint8 *out = RequestCompose(worker, request, &number);
	Size bytes;

	if (!out)
		return false;
	if (kind == STK_MSG_HELLO)
		bytes = stk_write_hello(out, number, &hello);
	else if (kind == STK_MSG_CONFIGURE)
		bytes = stk_write_configure(out, number, &worker->settings);
	else
		bytes = stk_write_empty(out, kind, number);
	RequestAsk(request, bytes, NULL);
	RequestWait(request, until);
	return request->answer == WORKER_ANSWERED;
}

/* Offloading takes a round trip and moves data, and saves the part that other cores take over. */
static double
WorkerOffloadAbove(const WorkerInfo *info)
{
	double threads = info->welcome.threads;
	double saved =
		threads > 1 ? 1 - 1 / threads : 0.25; /* one thread: while the session reads on */

	return (info->round_trip_us + WORKER_REQUEST_US) / saved;
}

/*
 * Hear who it is, and measure how far away. False, with the trouble, when it is of no use: freed.
 * heard, where that is asked for: whether it said anything.
 */
static bool
WorkerGreet(Worker *worker, MemoryContext context, double until, bool *heard)
{
	WorkerRequest *request = WorkerRequestCreate(context);
	stk_welcome *welcome = &worker->info.welcome;
	stk_error err = {.level = -1};

	if (heard)
		*heard = false;
	if (!WorkerAskShortly(worker, request, STK_MSG_HELLO, until))
		return false;
	if (heard)
		*heard = true;
	if (request->kind != STK_MSG_WELCOME ||
		stk_read_welcome(request->body, request->bytes, welcome, &err) != STK_OK)
	{
		ChannelFail(worker->channel, "it did not say who it is: %s", err.message);
		WorkerGone(worker);
		return false;
	}
	if (!WorkerIsOurs(welcome))
	{
		WorkerSetTrouble("it is of version %s, not %s", welcome->program, SEMTOK_VERSION);
		WorkerSetRemedy(
			worker->info.shared
				? "semtok was replaced while the server ran. Restart the server."
				: "semtok was replaced while this session used it. Begin a new session.");
		WorkerEnd(worker);
		return false;
	}
	for (int i = 0; i < WORKER_PINGS; i++)
	{
		double begin = WorkerClock();
		double us;

		if (!WorkerAskShortly(worker, request, STK_MSG_PING, until))
			return false;
		us = (WorkerClock() - begin) * 1000;
		if (i == 0 || us < worker->info.round_trip_us)
			worker->info.round_trip_us = us;
	}
	worker->info.offload_above_us = WorkerOffloadAbove(&worker->info);
	worker->welcomed = true;
	return true;
}

/* A socket connected to the shared worker; PGINVALID_SOCKET when it does not listen. */
static pgsocket
WorkerReachShared(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SEMTOK_SOCKET};
	pgsocket sock;
	uid_t uid;
	gid_t gid;

	if (!AcquireExternalFD())
		return PGINVALID_SOCKET;
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	if (sock != PGINVALID_SOCKET && fcntl(sock, F_SETFD, FD_CLOEXEC) == 0 && pg_set_noblock(sock) &&
		connect(sock, (struct sockaddr *) &address, sizeof(address)) == 0 &&
		getpeereid(sock, &uid, &gid) == 0 && uid == geteuid())
		return sock;
	if (sock != PGINVALID_SOCKET)
		close(sock);
	ReleaseExternalFD();
	return PGINVALID_SOCKET;
}

/* Does a supervisor keep a shared worker, and is that to be back within so many ms? */
static bool
WorkerIsKept(int ms, bool *soon)
{
	SharedState *state = SharedGet();
	TimestampTz next;
	pid_t supervisor;

	*soon = false;
	if (!state)
		return false;
	SpinLockAcquire(&state->worker.mutex);
	supervisor = state->worker.supervisor;
	next = state->worker.next_start;
	SpinLockRelease(&state->worker.mutex);
	*soon = next == 0 || !TimestampDifferenceExceeds(GetCurrentTimestamp(), next, ms);
	return supervisor != 0;
}

/* Reach the shared worker, which may be starting anew at the moment. */
static pgsocket
WorkerFindShared(bool *kept)
{
	static double patient_from = 0; /* of the clock */
	double now = WorkerClock();
	double until = now < patient_from ? now : now + WORKER_AWAY_MS;
	pgsocket sock = WorkerReachShared();
	bool soon;

	*kept = WorkerIsKept(WORKER_AWAY_MS, &soon);
	while (sock == PGINVALID_SOCKET && *kept && soon && WorkerClock() < until)
	{
		if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
					  SemtokWaitEvent(SEMTOK_WAIT_START)) &
			WL_LATCH_SET)
			ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		sock = WorkerReachShared();
		*kept = WorkerIsKept(WORKER_AWAY_MS, &soon);
	}
	if (sock == PGINVALID_SOCKET && until > now && WorkerClock() >= until)
		patient_from = WorkerClock() + WORKER_VAIN_MS;
	return sock;
}

static pid_t
WorkerKeptPid(void)
{
	SharedState *state = SharedGet();
	pid_t pid = 0;

	if (!state)
		return 0;
	SpinLockAcquire(&state->worker.mutex);
	pid = state->worker.pid;
	SpinLockRelease(&state->worker.mutex);
	return pid;
}

/* Does the supervisor find within a moment that this shared worker is gone? */
static bool
WorkerIsGone(pid_t pid)
{
	double until = WorkerClock() + WORKER_NOTICE_MS;

	while (WorkerKeptPid() == pid && WorkerClock() < until)
	{
		if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
					  SemtokWaitEvent(SEMTOK_WAIT_START)) &
			WL_LATCH_SET)
			ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return WorkerKeptPid() != pid;
}

/* The session's own. An error that it cannot be started with is no error of the statement's. */
static pid_t
WorkerStart(pgsocket *sock)
{
	MemoryContext old = CurrentMemoryContext;
	volatile pid_t pid = 0;
	int end = PGINVALID_SOCKET;

	PG_TRY();
	{
		pid = WorkerLaunch(NULL, WORKER_DEVICE_REST, &end);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		WorkerSetTrouble("%s", error->message);
		WorkerSetRemedy(error->hint);
		FreeErrorData(error);
	}
	PG_END_TRY();
	*sock = end;
	return pid;
}

/* Make it the session's, and greet it. */
static bool
WorkerAdopt(Worker *worker, bool *heard)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok worker", ALLOCSET_SMALL_SIZES);
	int least = worker->info.shared ? WORKER_WELCOME_SHARED_MS : WORKER_WELCOME_PRIVATE_MS;
	bool good;

	mine = worker;
	good = WorkerGreet(worker, context, WorkerClock() + Max(semtok_worker_timeout, least), heard);
	MemoryContextDelete(context);
	return good;
}

/* Tell the session's own worker of settings that have changed since it began. */
static void
WorkerReconfigure(Worker *worker)
{
	stk_configure now = WorkerSettings();
	stk_configure *told = &worker->settings;
	MemoryContext context;

	if (now.threads == told->threads && now.memory == told->memory &&
		now.batch_max == told->batch_max && now.batch_wait_us == told->batch_wait_us)
		return;
	*told = now;
	context = AllocSetContextCreate(CurrentMemoryContext, "semtok worker", ALLOCSET_SMALL_SIZES);
	WorkerAskShortly(worker, WorkerRequestCreate(context), STK_MSG_CONFIGURE, 0);
	MemoryContextDelete(context);
}

bool
WorkerConnect(bool launch)
{
	static bool had_private = false;
	Worker *worker;
	pgsocket sock;
	bool kept;
	pid_t pid;

	WorkerReapDying();
	/* An error broke off its greeting. */
	if (mine && !mine->welcomed)
		WorkerEnd(mine);
	/* One that has gone while nothing was asked of it was not lost on the way. */
	if (mine && mine->nrequests == 0)
		WorkerPoll();
	if (mine && mine->nrequests == 0 && mine->pid != 0)
	{
		if (mine->devices == WorkerDevices())
			WorkerReconfigure(mine);
		else
			WorkerEnd(mine);
	}
	if (mine)
		return true;

	if (!exit_registered)
		on_proc_exit(WorkerExit, 0);
	exit_registered = true;
	/*
	 * One that dies leaves its clients a moment before the socket that it listens on goes: a
	 * session that it left may reach it again, and is to have the next one.
	 */
	for (int attempt = 0; attempt < 2; attempt++)
	{
		bool heard;

		sock = WorkerFindShared(&kept);
		if (sock == PGINVALID_SOCKET)
			break;
		pid = WorkerKeptPid();
		if (WorkerAdopt(WorkerOpen(sock, 0), &heard))
			return true;
		if (heard || attempt > 0 || !WorkerIsGone(pid))
			return false;
	}
	if (kept)
	{
		WorkerSetTrouble("the shared worker does not run");
		WorkerSetRemedy("The server log tells why.");
		return false;
	}
	if (!launch)
		return false;
	pid = WorkerStart(&sock);
	if (pid == 0)
		return false;
	worker = WorkerOpen(sock, pid);
	WorkerPublish(pid, had_private);
	had_private = true;
	return WorkerAdopt(worker, NULL);
}

uint8 *
WorkerCompose(WorkerRequest *request, uint64 *number)
{
	return RequestCompose(mine, request, number);
}

void
WorkerAsk(WorkerRequest *request, Size bytes, Spool *spool)
{
	RequestAsk(request, bytes, spool);
}

void
WorkerPoll(void)
{
	if (mine)
		RequestsServe(mine);
}

void
WorkerWait(WorkerRequest *request)
{
	RequestWait(request, 0);
}

uint64
WorkerData(void)
{
	return mine ? mine->data : 0;
}

void
WorkerDistrust(WorkerRequest *request, const char *format, ...)
{
	char reason[256];
	va_list args;

	request->answer = WORKER_LOST;
	if (!mine || mine != request->worker)
		return;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	ChannelFail(mine->channel, "%s", reason);
	WorkerGone(mine);
}

static bool
WorkerReadStatistics(const WorkerRequest *request, stk_statistics *s)
{
	stk_error err = {.level = -1};

	return request->kind == STK_MSG_STATISTICS_ARE &&
		   stk_read_statistics(request->body, request->bytes, s, &err) == STK_OK;
}

bool
WorkerStatistics(bool shared, stk_statistics *s, double *round_trip_us)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok statistics", ALLOCSET_SMALL_SIZES);
	WorkerRequest *request = WorkerRequestCreate(context);
	double until = WorkerClock() + WORKER_STATISTICS_MS;
	bool good = false;

	if (shared)
	{
		pgsocket sock = WorkerReachShared();
		Worker *worker = sock == PGINVALID_SOCKET ? NULL : WorkerOpen(sock, 0);

		if (worker && WorkerGreet(worker, context, until, NULL))
		{
			*round_trip_us = worker->info.round_trip_us;
			if (WorkerAskShortly(worker, request, STK_MSG_STATISTICS, until))
			{
				good = WorkerReadStatistics(request, s);
				WorkerEnd(worker);
			}
		}
	}
	else if (mine && !mine->info.shared)
	{
		*round_trip_us = mine->info.round_trip_us;
		if (WorkerAskShortly(mine, request, STK_MSG_STATISTICS, until))
		{
			good = WorkerReadStatistics(request, s);
			if (!good)
				WorkerDistrust(request, "it sent statistics that are none");
		}
	}
	MemoryContextDelete(context);
	return good;
}
