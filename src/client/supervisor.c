/*
 * The background worker that keeps the shared semtokd running.
 *
 * It starts semtokd, asks it every second whether it lives, and replaces one that has ended or does
 * not answer, at once at first and then after longer and longer rests. It computes nothing and
 * trusts nothing that semtokd says. Only a program that was forked and exec'd may die without a
 * reset of the whole server, so semtokd is one; and it dies with this process, whichever way that
 * ends.
 *
 * One request is on its way at a time, so what is sent always fits into the socket.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/channel.h"
#include "client/launch.h"
#include "client/shared.h"
#include "client/supervisor.h"
#include "client/wait_event.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/protocol.h"

/* All times in milliseconds. */
#define SUPERVISOR_PING 1000    /* between two questions */
#define SUPERVISOR_START 10000  /* that semtokd may take to get ready */
#define SUPERVISOR_END 1000     /* that it may take to end before it is killed */
#define SUPERVISOR_KILLED 2000  /* that the kernel may take to end it */
#define SUPERVISOR_REST_MIN 100 /* before it is started again */
#define SUPERVISOR_REST_MAX 30000
#define SUPERVISOR_HEALTHY 60000      /* of life after which failures before it are forgotten */
#define SUPERVISOR_DEVICE_REST_MAX 60 /* s before a device that fails at once is tried again */

/* What is kept of the worker's settings, to see when they change. */
typedef struct SupervisorSettings
{
	int threads;
	int memory;
	int batch_max;
	int batch_wait_us;
	uint32 devices; /* a hash of semtok.cuda_devices */
} SupervisorSettings;

typedef struct Supervisor
{
	SharedWorker *shared;
	pid_t pid;        /* of semtokd; 0 = none */
	Channel *channel; /* to its descriptor 0 */
	bool ready;       /* it has said what it is */
	dev_t socket_dev; /* of the socket's file, as it was then */
	ino_t socket_ino;
	SupervisorSettings settings; /* that it has */

	uint64 request;    /* number of the last one */
	stk_kind expected; /* the answer to it; 0 = has come */
	int64 deadline;    /* for that */
	int64 next_ping;
	int64 next_start; /* when there is no worker */
	int64 started;    /* 0 = not since the last one was lost */
	int rest;         /* before the next start */
	int device_rest;  /* s that the worker goes on without a device that has failed */
	bool complained;  /* that it cannot be started */
} Supervisor;

static Supervisor supervisor;

PGDLLEXPORT void SemtokSupervisorMain(Datum arg);

static int64
SupervisorNow(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

static SupervisorSettings
SupervisorWanted(void)
{
	return (SupervisorSettings){.threads = WorkerThreads(),
								.memory = semtok_worker_memory,
								.batch_max = semtok_batch_max,
								.batch_wait_us = semtok_batch_wait_us,
								.devices = string_hash(semtok_cuda_devices, 1024)};
}

/* Has the worker ended within so many milliseconds? */
static bool
SupervisorAwaitEnd(int timeout, int *status)
{
	int64 until = SupervisorNow() + timeout;

	while (!WorkerReap(supervisor.pid, status))
	{
		if (SupervisorNow() >= until)
			return false;
		pg_usleep(2000);
	}
	return true;
}

/*
 * End the worker: by the end of its descriptor 0, and by force if that does not do. Returns what
 * waitpid says of it.
 */
static int
SupervisorEndWorker(bool gently)
{
	int status = 0;

	ChannelClose(supervisor.channel);
	if (gently)
		kill(supervisor.pid, SIGTERM);
	if (!gently || !SupervisorAwaitEnd(SUPERVISOR_END, &status))
	{
		kill(supervisor.pid, SIGKILL);
		if (!SupervisorAwaitEnd(SUPERVISOR_KILLED, &status))
			ereport(WARNING, (errmsg("semtok's worker (PID %d) does not end although it was killed",
									 (int) supervisor.pid),
							  errhint("The kernel or a device driver holds it.")));
	}
	supervisor.pid = 0;
	supervisor.ready = false;
	supervisor.expected = 0;
	return status;
}

/* Tell the others. pid 0: no worker; then error and, in milliseconds from now, the next start. */
static void
SupervisorPublish(pid_t pid, const char *error, int rest)
{
	SharedWorker *shared = supervisor.shared;
	TimestampTz now = GetCurrentTimestamp();
	char text[SHARED_TEXT];

	SharedSetText(text, sizeof(text), error ? error : "");
	SpinLockAcquire(&shared->mutex);
	shared->pid = pid;
	if (pid != 0)
		shared->started = now;
	shared->next_start = pid != 0 ? 0 : TimestampTzPlusMilliseconds(now, rest);
	if (error)
		strcpy(shared->last_error, text);
	SpinLockRelease(&shared->mutex);
}

/*
 * There is no worker: rest before the next start, longer if this one has not lived for long.
 * Returns for how long.
 */
static int
SupervisorRest(const char *error)
{
	int64 now = SupervisorNow();
	int rest;

	if (supervisor.started != 0 && now - supervisor.started >= SUPERVISOR_HEALTHY)
		supervisor.rest = SUPERVISOR_REST_MIN;
	supervisor.started = 0;
	rest = supervisor.rest;
	supervisor.next_start = now + rest;
	SupervisorPublish(0, error, rest);
	supervisor.rest = Min(2 * rest, SUPERVISOR_REST_MAX);
	return rest;
}

/*
 * The worker ended so that a new one has its device again. That is at once; but where the device
 * fails soon after each start, the worker goes on without it for longer each time.
 */
static void
SupervisorDeviceFailed(void)
{
	int64 served = SupervisorNow() - supervisor.started - supervisor.device_rest * INT64CONST(1000);

	supervisor.device_rest = served >= SUPERVISOR_HEALTHY
								 ? 1
								 : Min(2 * supervisor.device_rest, SUPERVISOR_DEVICE_REST_MAX);
	supervisor.rest = SUPERVISOR_REST_MIN;
}

/* The worker is of no more use: it has ended by itself, or this is why it must. */
static void
SupervisorLost(const char *why)
{
	pid_t pid = supervisor.pid;
	int status = SupervisorEndWorker(false);
	int rest;

	if (!why && WIFEXITED(status) && WEXITSTATUS(status) == STK_EXIT_DEVICE)
		SupervisorDeviceFailed();
	if (!why)
		why = WorkerStatusText(status);
	rest = SupervisorRest(psprintf("worker %s", why));
	ereport(LOG, (errmsg("semtok worker (PID %d) %s; restarting in %d ms", (int) pid, why, rest)));
}

/* The worker is well, but another one is to take its place at once. */
static void
SupervisorReplace(const char *why)
{
	pid_t pid = supervisor.pid;

	SupervisorEndWorker(true);
	supervisor.rest = 0;
	SupervisorRest(NULL);
	supervisor.rest = SUPERVISOR_REST_MIN;
	supervisor.device_rest = 1;
	ereport(LOG, (errmsg("semtok worker (PID %d) is replaced %s", (int) pid, why)));
}

/* The channel has failed. A worker that has ended tells by its status why. */
static void
SupervisorFailed(void)
{
	SupervisorLost(ChannelEnded(supervisor.channel)
					   ? NULL
					   : psprintf("is ended because %s", ChannelFailure(supervisor.channel)));
}

/*
 * Send the request in the channel's buffer, while nothing else is on its way, and expect an answer.
 */
static void
SupervisorSend(size_t length, stk_kind expected, int timeout)
{
	ChannelBeginSend(supervisor.channel, length, -1);
	ChannelSend(supervisor.channel);
	supervisor.expected = expected;
	supervisor.deadline = SupervisorNow() + timeout;
	if (ChannelFailure(supervisor.channel))
		SupervisorFailed();
}

static void
SupervisorHello(void)
{
	uint8 *out = ChannelBuffer(supervisor.channel);
	stk_hello hello = {.version = STK_PROTOCOL_VERSION, .program = SEMTOK_VERSION};

	SupervisorSend(stk_write_hello(out, ++supervisor.request, &hello), STK_MSG_WELCOME,
				   SUPERVISOR_START);
}

static void
SupervisorConfigure(const SupervisorSettings *wanted)
{
	uint8 *out = ChannelBuffer(supervisor.channel);
	stk_configure configure = {.threads = wanted->threads,
							   .memory = (uint64) wanted->memory * 1024,
							   .batch_max = wanted->batch_max,
							   .batch_wait_us = wanted->batch_wait_us};

	supervisor.settings = *wanted;
	SupervisorSend(stk_write_configure(out, ++supervisor.request, &configure), STK_MSG_DONE,
				   semtok_worker_timeout);
}

/* Is the file that clients connect to still the worker's? */
static bool
SupervisorHasSocket(void)
{
	struct stat st;

	return lstat(SEMTOK_SOCKET, &st) == 0 && S_ISSOCK(st.st_mode) &&
		   st.st_dev == supervisor.socket_dev && st.st_ino == supervisor.socket_ino;
}

static void
SupervisorPing(void)
{
	supervisor.next_ping = SupervisorNow() + SUPERVISOR_PING;
	if (!SupervisorHasSocket())
		SupervisorLost("is ended because its socket \"" SEMTOK_SOCKET "\" was removed");
	else
		SupervisorSend(
			stk_write_empty(ChannelBuffer(supervisor.channel), STK_MSG_PING, ++supervisor.request),
			STK_MSG_PONG, semtok_worker_timeout);
}

/* It cannot be started: say why once, and try again later. */
static void
SupervisorComplain(const ErrorData *error)
{
	SupervisorRest(psprintf("could not be started: %s", error->message));
	ereport(supervisor.complained ? DEBUG1 : WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not start semtok worker: %s", error->message),
			 errdetail("Sessions compute by themselves until it can be started."),
			 error->hint ? errhint("%s", error->hint) : 0));
	supervisor.complained = true;
}

static void
SupervisorStart(void)
{
	MemoryContext context = CurrentMemoryContext;
	int sock;

	PG_TRY();
	{
		supervisor.settings = SupervisorWanted();
		supervisor.pid = WorkerLaunch(SEMTOK_SOCKET, supervisor.device_rest, &sock);
		supervisor.channel = ChannelOpen(sock);
	}
	PG_CATCH();
	{
		ErrorData *error;

		/* One whose channel cannot be made ends by itself: its descriptor 0 is closed. */
		supervisor.pid = 0;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		SupervisorComplain(error);
		return;
	}
	PG_END_TRY();
	supervisor.started = SupervisorNow();
	SpinLockAcquire(&supervisor.shared->mutex);
	supervisor.shared->starts++;
	SpinLockRelease(&supervisor.shared->mutex);
	SupervisorHello();
}

/* It has said what it is: clients may come. */
static void
SupervisorWelcome(const stk_welcome *welcome)
{
	struct stat st;

	if (!WorkerIsOurs(welcome))
	{
		supervisor.rest = SUPERVISOR_REST_MAX;
		SupervisorLost(psprintf("is ended because it is of version %s, not %s", welcome->program,
								SEMTOK_VERSION));
		return;
	}
	if (lstat(SEMTOK_SOCKET, &st) != 0)
	{
		SupervisorLost("is ended because it has no socket \"" SEMTOK_SOCKET "\"");
		return;
	}
	supervisor.socket_dev = st.st_dev;
	supervisor.socket_ino = st.st_ino;
	supervisor.ready = true;
	supervisor.complained = false;
	supervisor.next_ping = SupervisorNow() + SUPERVISOR_PING;
	SupervisorPublish(supervisor.pid, NULL, 0);
	ereport(LOG, (errmsg("semtok worker started (PID %d): engine %s on %s, %u threads, %llu MB",
						 (int) supervisor.pid, welcome->engine, welcome->device, welcome->threads,
						 (unsigned long long) (welcome->memory / (1024 * 1024)))));
}

static void
SupervisorTake(const stk_header *header, const uint8 *body)
{
	stk_kind expected = supervisor.expected;
	stk_error err = {.level = -1};
	stk_welcome welcome;
	stk_pong pong;
	stk_failed failed;
	stk_status status = STK_OK;

	if (header->request != supervisor.request || expected == 0 ||
		(header->kind != expected && header->kind != STK_MSG_FAILED))
	{
		SupervisorLost("is ended because it answered what it was not asked");
		return;
	}
	supervisor.expected = 0;
	switch (header->kind)
	{
		case STK_MSG_WELCOME:
			status = stk_read_welcome(body, header->bytes, &welcome, &err);
			if (status == STK_OK)
				SupervisorWelcome(&welcome);
			break;
		case STK_MSG_PONG:
			status = stk_read_pong(body, header->bytes, &pong, &err);
			break;
		case STK_MSG_FAILED:
			status = stk_read_failed(body, header->bytes, &failed, &err);
			if (status == STK_OK && expected == STK_MSG_DONE)
				ereport(WARNING,
						(errmsg("semtok worker (PID %d) does not take its new settings: %s",
								(int) supervisor.pid, failed.message)));
			else if (status == STK_OK)
				SupervisorLost(psprintf("is ended because it is not ready: %s", failed.message));
			break;
	}
	if (status != STK_OK)
		SupervisorLost(psprintf("is ended because its answer makes no sense: %s", err.message));
}

/* Take what has come. */
static void
SupervisorRead(void)
{
	stk_header header;
	const uint8 *body;

	while (supervisor.pid != 0 && ChannelReceive(supervisor.channel, &header, &body))
		SupervisorTake(&header, body);
	if (supervisor.pid != 0 && ChannelFailure(supervisor.channel))
		SupervisorFailed();
}

/* Do what is due. */
static void
SupervisorAct(void)
{
	SupervisorSettings wanted;

	if (supervisor.pid == 0)
	{
		/* One that did not end although it was killed may have by now. */
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (SupervisorNow() >= supervisor.next_start)
			SupervisorStart();
		return;
	}
	/* An answer that came while this process did not run is in time. */
	SupervisorRead();
	if (supervisor.pid == 0)
		return;
	if (supervisor.expected != 0)
	{
		if (SupervisorNow() >= supervisor.deadline)
			SupervisorLost("is ended because it does not answer");
		return;
	}
	wanted = SupervisorWanted();
	if (wanted.devices != supervisor.settings.devices)
		SupervisorReplace("for semtok.cuda_devices");
	else if (memcmp(&wanted, &supervisor.settings, sizeof(wanted)) != 0)
		SupervisorConfigure(&wanted);
	else if (SupervisorNow() >= supervisor.next_ping)
		SupervisorPing();
}

/* Wait until something is due, something comes, or somebody wants something. */
static void
SupervisorWait(void)
{
	int64 due = supervisor.pid == 0   ? supervisor.next_start
				: supervisor.expected ? supervisor.deadline
									  : supervisor.next_ping;
	long timeout = (long) Max(due - SupervisorNow(), 0);

	if (supervisor.pid != 0)
		ChannelWait(supervisor.channel, timeout, SEMTOK_WAIT_SUPERVISOR);
	else if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
					   SemtokWaitEvent(SEMTOK_WAIT_SUPERVISOR)) &
			 WL_LATCH_SET)
		ResetLatch(MyLatch);
}

/* However this process ends, the worker does, too. */
static void
SupervisorLeave(int code, Datum arg)
{
	if (supervisor.pid != 0)
		SupervisorEndWorker(true);
	SpinLockAcquire(&supervisor.shared->mutex);
	supervisor.shared->supervisor = 0;
	supervisor.shared->pid = 0;
	supervisor.shared->next_start = 0;
	SpinLockRelease(&supervisor.shared->mutex);
}

void
SemtokSupervisorMain(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	/*
	 * To no database: so that pg_stat_activity shows this process and pg_terminate_backend finds
	 * it.
	 */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	supervisor.shared = &SharedGet()->worker;
	supervisor.rest = SUPERVISOR_REST_MIN;
	supervisor.device_rest = 1;
	supervisor.next_start = SupervisorNow();
	before_shmem_exit(SupervisorLeave, (Datum) 0);
	SpinLockAcquire(&supervisor.shared->mutex);
	supervisor.shared->supervisor = MyProcPid;
	SpinLockRelease(&supervisor.shared->mutex);

	context = AllocSetContextCreate(TopMemoryContext, "semtok supervisor", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	while (!ShutdownRequestPending)
	{
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			/* What kept the worker from living may have been mended. */
			supervisor.rest = SUPERVISOR_REST_MIN;
			supervisor.next_start = Min(supervisor.next_start, SupervisorNow());
		}
		SupervisorAct();
		SupervisorWait();
	}
	/*
	 * Other than 0, so that one that was terminated, not stopped with the server, is started again.
	 */
	proc_exit(1);
}

void
SupervisorRegister(void)
{
	BackgroundWorker worker = {
		.bgw_name = "semtok supervisor",
		.bgw_type = "semtok supervisor",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_ConsistentState,
		.bgw_restart_time = 1,
		.bgw_library_name = "semtok",
		.bgw_function_name = "SemtokSupervisorMain",
	};

	RegisterBackgroundWorker(&worker);
}
