/*
 * Training, wherever it is computed.
 */
#include "postgres.h"

#include "client/offload_impl.h"

#include <math.h>

#include "core/fpenv.h"
#include "core/method.h"
#include "guc.h"
#include "portability/instr_time.h"
#include "types/bridge.h"
#include "utils/memutils.h"

/* Rows in the spool, for core. */
typedef struct SpoolRows
{
	Spool *spool;
	uint64 at;
	int dim;
} SpoolRows;

static stk_status
SpoolRowsRead(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const SpoolRows *rows = ctx;
	Size row = sizeof(float) * rows->dim;

	SpoolRead(rows->spool, rows->at + first * row, x, count * row);
	return STK_OK;
}

static double
TrainSeconds(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_DOUBLE(now);
}

/*
 * In the session, on one thread. An error of a report or of reading leaves core by the way errors
 * go, so what core has set is put right here: its memory is `context`.
 */
static stk_status
TrainHere(const OffloadTraining *t, const stk_train_plan *plan, MemoryContext context,
		  stk_train_result *result, stk_error *err)
{
	SpoolRows ctx = {t->spool, t->rows_at, t->plan.dim};
	SpoolRows heldout_ctx = {t->spool, t->heldout_at, t->plan.dim};
	stk_rows rows = {t->n, SpoolRowsRead, &ctx};
	stk_rows heldout = {t->heldout_n, SpoolRowsRead, &heldout_ctx};
	stk_exec exec = SemtokExec(context);
	stk_fpenv env = stk_fpenv_enter();
	volatile stk_status status = STK_OK;

	stk_fpenv_leave(env);
	exec.seconds = TrainSeconds;
	PG_TRY();
	{
		status = stk_train(plan, &exec, &rows, t->heldout_n > 0 ? &heldout : NULL, t->report,
						   t->report_ctx, result, err);
	}
	PG_FINALLY();
	{
		stk_fpenv_leave(env);
	}
	PG_END_TRY();
	return status;
}

/* A training that a worker is asked for. */
typedef struct RemoteTraining
{
	const OffloadTraining *t;
	stk_train_plan plan;      /* resumes from any state that came with a report */
	stk_train_result *result; /* which that is put into */
	int epoch;                /* and its epoch; 0 = none came */
	MemoryContext context;
	WorkerRequest *request;
	uint64 result_bytes;
	uint64 result_at; /* in the spool; unused when the result is short */
	uint64 start_at;
	uint64 states_at; /* unused without checkpoints */
	bool placed;      /* the three are known */
	uint64 reports;   /* in this attempt */
} RemoteTraining;

typedef enum RemoteEnd
{
	REMOTE_DONE, /* with a status */
	REMOTE_LOST,
	REMOTE_REFUSED /* the session is to compute; a warning has been given */
} RemoteEnd;

/* What a worker says is wrong with the rows. */
typedef struct RemoteFault
{
	stk_status status;
	stk_train_which which;
	size_t row;
	int level;
} RemoteFault;

/* Reports that a training gives at most: of every epoch of every level, and of each encoding. */
static uint64
RemoteReports(const stk_train_plan *plan)
{
	return (uint64) plan->levels * plan->epochs + plan->refine + 2;
}

/*
 * Take the state that a report names, if it is whole: what is written meanwhile is none. It is
 * where another attempt goes on from.
 */
static void
RemoteTakeState(RemoteTraining *remote, stk_train_report *report)
{
	const stk_method *method = stk_method_of(remote->plan.method);
	stk_allocator a = SemtokAllocator(remote->context);
	uint8 *state = MemoryContextAllocHuge(remote->context, remote->result_bytes);
	stk_error err = {.level = -1};
	int epoch;

	SpoolRead(remote->t->spool, remote->states_at + (report->place - 1) * remote->result_bytes,
			  state, remote->result_bytes);
	if (method->epoch(&remote->plan, &a, state, &epoch, &err) == STK_OK && epoch == report->epoch)
	{
		memcpy(remote->result->state, state, remote->result_bytes);
		report->state = remote->result->state;
		remote->plan.resume = true;
		remote->epoch = epoch;
	}
	pfree(state);
}

static bool
RemoteReport(void *ctx, const uint8 *body, uint32 bytes)
{
	RemoteTraining *remote = ctx;
	stk_error err = {.level = -1};
	stk_train_report report;

	if (stk_read_progress(body, bytes, &remote->plan, &report, &err) != STK_OK)
		return false;
	/* Each makes the session's log longer: no honest worker sends more than there are epochs. */
	if (++remote->reports > RemoteReports(&remote->plan))
		return false;
	if (report.place > 0)
		RemoteTakeState(remote, &report);
	if (remote->t->report)
		remote->t->report(remote->t->report_ctx, &report);
	return true;
}

static Size
RemoteCodewords(const stk_train_plan *plan)
{
	Size codewords = 0;

	for (int l = 0; l < plan->levels; l++)
		codewords += plan->sizes[l];
	return codewords;
}

/* The form in which codewords and counts travel: one behind the other. */
static uint8 *
RemotePackStart(const RemoteTraining *remote, const stk_train_result *result)
{
	Size n = RemoteCodewords(&remote->plan);
	Size codewords = n * remote->plan.dim * sizeof(float);
	uint8 *start = MemoryContextAllocHuge(remote->context, remote->result_bytes);

	if (result->state)
		return memcpy(start, result->state, remote->result_bytes);
	memcpy(start, result->codewords, codewords);
	memcpy(start + codewords, result->counts, n * sizeof(double));
	return start;
}

static void
RemotePlace(RemoteTraining *remote)
{
	Spool *spool = remote->t->spool;
	bool states = remote->plan.checkpoint_every > 0;

	if (remote->placed)
		return;
	if (remote->result_bytes > STK_INLINE_MAX)
		remote->result_at = SpoolReserve(spool, remote->result_bytes);
	if (remote->result_bytes > STK_INLINE_MAX && (remote->plan.resume || states))
		remote->start_at = SpoolReserve(spool, remote->result_bytes);
	if (states)
		remote->states_at = SpoolReserve(spool, remote->result_bytes * STK_TRAIN_STATES);
	remote->placed = true;
}

static void
RemoteAsk(RemoteTraining *remote, const stk_train_result *result)
{
	const OffloadTraining *t = remote->t;
	uint64 width = (uint64) t->plan.dim * sizeof(float);
	stk_train_message m = {.plan = remote->plan,
						   .device = OffloadDevice(t->device),
						   .n = t->n,
						   .heldout_n = t->heldout_n,
						   .rows = {.in_file = true, .offset = t->rows_at, .bytes = t->n * width}};
	uint64 number;
	uint8 *out;

	if (t->heldout_n > 0)
		m.heldout =
			(stk_data){.in_file = true, .offset = t->heldout_at, .bytes = t->heldout_n * width};
	RemotePlace(remote);
	m.result_at = remote->result_at;
	m.states_at = remote->states_at;
	if (remote->plan.resume)
	{
		uint8 *start = RemotePackStart(remote, result);
		bool in_file = remote->result_bytes > STK_INLINE_MAX;

		m.start = (stk_data){.in_file = in_file,
							 .offset = in_file ? remote->start_at : 0,
							 .bytes = remote->result_bytes,
							 .inside = start};
		if (in_file)
			SpoolWrite(t->spool, remote->start_at, start, remote->result_bytes);
	}
	remote->reports = 0;
	out = WorkerCompose(remote->request, &number);
	if (out)
		WorkerAsk(remote->request, stk_write_train(out, number, &m), t->spool);
	OffloadWhere(WorkerConnected());
	WorkerWait(remote->request);
}

/* Is this a state that a codebook can be made of? */
static bool
RemoteIsState(const RemoteTraining *remote, const uint8 *state)
{
	stk_allocator a = SemtokAllocator(remote->context);
	stk_error err = {.level = -1};
	uint8_t *stored;
	size_t bytes;

	if (stk_method_of(remote->plan.method)
			->store(&remote->plan, &a, state, &stored, &bytes, &err) != STK_OK)
		return false;
	pfree(stored);
	return true;
}

/* Take what was learnt, if it is a codebook. */
static bool
RemoteTakeResult(RemoteTraining *remote, const stk_data *data, stk_train_result *result)
{
	Size n = RemoteCodewords(&remote->plan);
	Size values = n * remote->plan.dim;
	uint8 *bytes = MemoryContextAllocHuge(remote->context, remote->result_bytes);
	const float *codewords = (const float *) bytes;

	if (data->in_file)
		SpoolRead(remote->t->spool, remote->result_at, bytes, remote->result_bytes);
	else
		memcpy(bytes, data->inside, remote->result_bytes);
	if (result->state)
	{
		bool sound = RemoteIsState(remote, bytes);

		if (sound)
			memcpy(result->state, bytes, remote->result_bytes);
		pfree(bytes);
		return sound;
	}
	for (Size i = 0; i < values; i++)
		if (!isfinite(codewords[i]))
			return false;
	for (Size i = 0; i < n; i++)
	{
		double count;

		memcpy(&count, bytes + values * sizeof(float) + i * sizeof(double), sizeof(double));
		if (!(count >= 0 && isfinite(count)))
			return false;
	}
	memcpy(result->codewords, bytes, values * sizeof(float));
	memcpy(result->counts, bytes + values * sizeof(float), n * sizeof(double));
	pfree(bytes);
	return true;
}

static RemoteEnd
RemoteTrained(RemoteTraining *remote, stk_train_result *result, stk_status *status)
{
	WorkerRequest *request = remote->request;
	stk_error err = {.level = -1};
	stk_trained m;

	if (stk_read_trained(request->body, request->bytes, &remote->plan, &m, &err) != STK_OK)
		WorkerDistrust(request, "it sent a training that is none: %s", err.message);
	else if (m.rows.rows != remote->t->n || m.heldout.rows != remote->t->heldout_n)
		WorkerDistrust(request, "it trained on other rows");
	else if (!RemoteTakeResult(remote, &m.result, result))
		WorkerDistrust(request, "it sent numbers that are not finite");
	else
	{
		result->rows = m.rows;
		result->heldout = m.heldout;
		result->which = STK_ROWS_NONE;
		*status = STK_OK;
		return REMOTE_DONE;
	}
	return REMOTE_LOST;
}

static RemoteEnd
RemoteFailed(RemoteTraining *remote, stk_train_result *result, stk_status *status, stk_error *err)
{
	WorkerRequest *request = remote->request;
	stk_error unread = {.level = -1};
	stk_failed m;
	bool named;

	if (stk_read_failed(request->body, request->bytes, &m, &unread) != STK_OK)
	{
		WorkerDistrust(request, "it sent a failure that is none: %s", unread.message);
		return REMOTE_LOST;
	}
	if (m.failure != STK_FAILED_COMPUTATION || (m.status != STK_EINVAL && m.status != STK_ERANGE))
	{
		OffloadFallback(OffloadDevice(remote->t->device), OffloadFailure(&m), OffloadRemedy(&m));
		return REMOTE_REFUSED;
	}
	named = (m.which == STK_ROWS_TRAINING && m.row < remote->t->n) ||
			(m.which == STK_ROWS_HELDOUT && m.row < remote->t->heldout_n);
	result->which = named ? m.which : STK_ROWS_NONE;
	err->row = named ? (size_t) m.row : SIZE_MAX;
	err->level = m.level;
	strlcpy(err->message, m.message, sizeof(err->message));
	*status = m.status;
	return REMOTE_DONE;
}

/* One attempt; there is a connection. */
static RemoteEnd
RemoteAttempt(RemoteTraining *remote, stk_train_result *result, stk_status *status, stk_error *err)
{
	WorkerRequest *request = remote->request;

	RemoteAsk(remote, result);
	if (request->answer == WORKER_LOST)
		return REMOTE_LOST;
	if (request->kind == STK_MSG_TRAINED)
		return RemoteTrained(remote, result, status);
	if (request->kind == STK_MSG_FAILED)
		return RemoteFailed(remote, result, status, err);
	WorkerDistrust(request, "it sent an answer to another question");
	return REMOTE_LOST;
}

/*
 * Has a training diverged, as those of some methods may? It is the plan that is at fault, by which
 * every worker would.
 */
static bool
RemoteDiverged(const RemoteTraining *remote, const stk_train_result *result)
{
	return stk_method_of(remote->plan.method)->state_bytes && result->which == STK_ROWS_NONE;
}

/* Two workers have found the same fault: it is there. */
static bool
RemoteAgree(const RemoteFault *a, const RemoteFault *b)
{
	return a->status == b->status && a->which == b->which && a->row == b->row &&
		   a->level == b->level;
}

/*
 * In a worker, if that is to be. A worker that is lost is followed by another one, once. One that
 * finds fault with the rows may be wrong itself, so that another one is asked, too: where the two
 * disagree the session will see.
 */
static RemoteEnd
TrainAway(const OffloadTraining *t, stk_train_plan *plan, MemoryContext context,
		  void (*restarted)(void *ctx, int epoch), stk_train_result *result, stk_status *status,
		  stk_error *err)
{
	RemoteTraining remote = {.t = t,
							 .plan = *plan,
							 .result = result,
							 .context = context,
							 .result_bytes = stk_train_result_bytes(plan)};
	RemoteFault faults[2] = {{.status = STK_OK}};
	RemoteEnd end = REMOTE_LOST;

	remote.request = WorkerRequestCreate(context);
	remote.request->progress = RemoteReport;
	remote.request->progress_ctx = &remote;
	for (int attempt = 0; attempt < 2 && end == REMOTE_LOST; attempt++)
	{
		if (attempt > 0 && !WorkerConnect(true))
			break;
		end = RemoteAttempt(&remote, result, status, err);
		if (end == REMOTE_DONE && *status != STK_OK && !RemoteDiverged(&remote, result))
		{
			faults[attempt] = (RemoteFault){*status, result->which, err->row, err->level};
			if (attempt == 0 || !RemoteAgree(&faults[0], &faults[1]))
			{
				WorkerDistrust(remote.request, "it finds fault with the rows");
				end = REMOTE_LOST;
			}
		}
		if (end != REMOTE_DONE && remote.reports > 0 && restarted)
			restarted(t->report_ctx, remote.epoch);
	}
	plan->resume = remote.plan.resume;
	if (end == REMOTE_LOST)
		OffloadFallback(OffloadDevice(t->device), WorkerTrouble(), WorkerRemedy());
	return end;
}

/* Is it for a worker? */
static bool
TrainGoes(const OffloadTraining *t)
{
	uint64 width = (uint64) t->plan.dim * sizeof(float);
	uint64 parts = 1 + (t->plan.resume || t->plan.checkpoint_every > 0) +
				   (t->plan.checkpoint_every > 0 ? STK_TRAIN_STATES : 0);
	uint64 bytes = (t->n + t->heldout_n) * width + stk_train_result_bytes(&t->plan) * parts;
	double work = (double) t->n * (t->plan.epochs + t->plan.refine) *
				  stk_method_of(t->plan.method)->work(&t->plan);
	bool away;

	return OffloadGoes(OffloadDevice(t->device), work, OffloadAssumed(work), bytes, &away);
}

stk_status
OffloadTrain(const OffloadTraining *t, void (*restarted)(void *ctx, int epoch),
			 stk_train_result *result, stk_error *err)
{
	stk_train_plan plan = t->plan;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok training", ALLOCSET_DEFAULT_SIZES);
	stk_status status = STK_OK;

	OffloadCheckDevice(t->device);
	if (!TrainGoes(t) ||
		TrainAway(t, &plan, context, restarted, result, &status, err) != REMOTE_DONE)
	{
		OffloadWhere(NULL);
		status = TrainHere(t, &plan, context, result, err);
	}
	MemoryContextDelete(context);
	return status;
}
