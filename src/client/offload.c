/*
 * What is computed where.
 */
#include "postgres.h"

#include "client/offload_impl.h"

#include "access/xact.h"
#include "client/launch.h"
#include "client/shared.h"
#include "guc.h"
#include "tokenizer/progress.h"

/* Work that starts a private worker: several times what starting one takes. */
#define OFFLOAD_START_MS 50.0
/* Work that looks for the shared worker. */
#define OFFLOAD_LOOK_MS 1.0
/* Multiply-adds a ms, one thread, of a processor that is not known: what AVX2 does about. */
#define OFFLOAD_RATE 4e6

/*
 * Is this work for a worker that is connected? Answers that come back late are still worth it
 * when they come sooner than the session's.
 */
static bool
OffloadPays(const WorkerInfo *info, double multiply_adds)
{
	return multiply_adds / info->welcome.rate * 1e6 >= info->offload_above_us;
}

double
OffloadAssumed(double multiply_adds)
{
	return multiply_adds / OFFLOAD_RATE;
}

/* So many bytes at least would have to be in a worker. */
pg_noreturn static void
OffloadTooMuch(uint64 bytes)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("expected at most %d kB of data for a worker, not %llu kB",
					semtok_max_worker_bytes, (unsigned long long) ((bytes + 1023) / 1024)),
			 errhint("semtok.max_worker_bytes is the limit. With semtok.offload = auto the session "
					 "computes, where device cuda is not asked for.")));
}

bool
OffloadGoes(stk_device device, double multiply_adds, double known_ms, uint64 bytes, bool *away)
{
	bool always = semtok_offload == OFFLOAD_ON || device == STK_DEVICE_CUDA;
	bool launch = always || known_ms >= OFFLOAD_START_MS;

	*away = false;
	if (semtok_offload == OFFLOAD_OFF || (semtok_offload == OFFLOAD_AUTO && !WorkerPossible()))
		return false;
	if (bytes > OffloadLimit())
	{
		if (always)
			OffloadTooMuch(bytes);
		return false;
	}
	if (!WorkerConnected() && !launch && known_ms < OFFLOAD_LOOK_MS)
		return false;
	if (!WorkerConnect(launch))
	{
		*away = launch;
		if (launch)
			OffloadFallback(device, WorkerTrouble(), WorkerRemedy());
		return false;
	}
	return always || OffloadPays(WorkerConnected(), multiply_adds);
}

void
OffloadFallback(stk_device device, const char *why, const char *remedy)
{
	static TimestampTz warned = 0;

	if (device == STK_DEVICE_CUDA)
		OffloadDeviceFailed(why);
	SharedNoteFallback(why);
	if (warned == GetCurrentStatementStartTimestamp())
		return;
	warned = GetCurrentStatementStartTimestamp();
	ereport(WARNING, (errmsg("semtok computes in the session what was meant for a worker: %s", why),
					  errdetail("The answer is the same, but takes longer."),
					  remedy ? errhint("%s", remedy) : 0));
}

char *
OffloadFailure(const stk_failed *failed)
{
	static const char *const what[] = {[STK_FAILED_COMPUTATION] = "it could not compute",
									   [STK_FAILED_MEMORY] = "it has too little memory",
									   [STK_FAILED_DATA] = "it could not get at the data",
									   [STK_FAILED_REQUEST] = "it did not understand the request",
									   [STK_FAILED_DEVICE] = "it has no such device",
									   [STK_FAILED_ENDING] = "it is about to end"};

	if (failed->message[0] == '\0')
		return pstrdup(what[failed->failure]);
	if (failed->failure == STK_FAILED_DEVICE)
		return pstrdup(failed->message);
	return psprintf("%s: %s", what[failed->failure], failed->message);
}

const char *
OffloadRemedy(const stk_failed *failed)
{
	return failed->failure == STK_FAILED_MEMORY ? "Raise semtok.worker_memory." : NULL;
}

uint64
OffloadLimit(void)
{
	return semtok_max_worker_bytes < 0 ? UINT64_MAX : (uint64) semtok_max_worker_bytes * 1024;
}

void
OffloadWhere(const WorkerInfo *info)
{
	ProgressWhere(!info ? "session" : info->shared ? "shared worker" : "private worker");
}

stk_device
OffloadDevice(stk_device device)
{
	return device != STK_DEVICE_AUTO ? device : (stk_device) semtok_device;
}

void
OffloadNoDevice(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("there is no CUDA device that semtok can compute on"), errdetail("%s", why),
			 errhint("Where neither the call nor semtok.device asks for cuda, the processor "
					 "computes.")));
}

void
OffloadDeviceFailed(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYSTEM_ERROR), errmsg("could not compute on device cuda: %s", why),
			 errhint("Where neither the call nor semtok.device asks for cuda, the processor "
					 "computes instead.")));
}

void
OffloadCheckDevice(stk_device device)
{
	const WorkerInfo *worker;

	if (OffloadDevice(device) != STK_DEVICE_CUDA)
		return;
	if (semtok_offload == OFFLOAD_OFF)
		OffloadNoDevice("A worker process would compute there, and semtok.offload is off.");
	if (!WorkerPossible() || !WorkerConnect(true))
		OffloadNoDevice(psprintf("There is no worker process: %s.", WorkerTrouble()));
	worker = WorkerConnected();
	if (!worker->welcome.cuda)
		OffloadNoDevice(psprintf("The worker process says: %s.", worker->welcome.no_cuda));
}
