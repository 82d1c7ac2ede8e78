/*
 * Questions to a worker and its answers, and telling whether it is alive.
 *
 * A worker that neither says anything nor takes a request for semtok.worker_timeout is asked for a
 * sign of life; a part of a message is none. It is lost when that does not come within the same
 * time again, or when it computes the same request as the last time without having got on with it.
 */
#include "postgres.h"

#include "client/worker_impl.h"

#include "guc.h"
#include "miscadmin.h"

/* Runs when the request's owner is reset or deleted, so it must not fail. */
static void
RequestReleased(void *arg)
{
	WorkerRequest *request = arg;

	if (request->answer != WORKER_ASKED)
		return;
	/* Its answer, and what goes on behind it, is nobody's any more. */
	WorkerEnd(request->worker);
}

WorkerRequest *
WorkerRequestCreate(MemoryContext owner)
{
	WorkerRequest *request = MemoryContextAllocZero(owner, sizeof(*request));

	request->owner = owner;
	request->callback.func = RequestReleased;
	request->callback.arg = request;
	MemoryContextRegisterResetCallback(owner, &request->callback);
	return request;
}

static void
RequestFinish(WorkerRequest *request, WorkerAnswer answer)
{
	Worker *worker = request->worker;

	dlist_delete(&request->node);
	worker->nrequests--;
	worker->data -= request->data;
	request->answer = answer;
	memset(&worker->pong, 0, sizeof(worker->pong));
}

static void
RequestAnswered(WorkerRequest *request, const stk_header *header, const uint8 *body)
{
	if (request->room < header->bytes)
	{
		if (request->body)
			pfree(request->body);
		request->body = NULL;
		request->room = 0;
		request->body = MemoryContextAlloc(request->owner, header->bytes);
		request->room = header->bytes;
	}
	if (header->bytes > 0)
		memcpy(request->body, body, header->bytes);
	request->kind = header->kind;
	request->bytes = header->bytes;
	RequestFinish(request, WORKER_ANSWERED);
}

static WorkerRequest *
RequestFind(Worker *worker, uint64 number)
{
	dlist_iter iter;

	dlist_foreach (iter, &worker->requests)
	{
		WorkerRequest *request = dlist_container(WorkerRequest, node, iter.cur);

		if (request->number == number)
			return request;
	}
	return NULL;
}

/*
 * The oldest that was asked before this number was given and has no answer; 0 = none. What a ping
 * of that number is answered by comes behind all answers given till then, so it is about this one.
 */
static uint64
RequestsOldest(Worker *worker, uint64 number)
{
	uint64 oldest = 0;

	if (worker->nrequests > 0)
		oldest = dlist_head_element(WorkerRequest, node, &worker->requests)->number;
	return oldest < number ? oldest : 0;
}

/* It lives; but does it get on? */
static void
RequestsPong(Worker *worker, const stk_header *header, const uint8 *body)
{
	stk_error err = {.level = -1};
	stk_pong pong;

	worker->ping = 0;
	if (stk_read_pong(body, header->bytes, &pong, &err) != STK_OK)
		ChannelFail(worker->channel, "it sent an answer that is none: %s", err.message);
	else if (pong.state == STK_WORK_NONE && RequestsOldest(worker, header->request) != 0)
		ChannelFail(worker->channel, "it forgot what it was asked for");
	else if (pong.state != STK_WORK_NONE && pong.request != RequestsOldest(worker, header->request))
		ChannelFail(worker->channel, "it told of a request that it was not asked for");
	else if (pong.state == STK_WORK_RUNNING && worker->pong.state == STK_WORK_RUNNING &&
			 worker->pong.request == pong.request && worker->pong.ticks == pong.ticks)
		ChannelFail(worker->channel, "its computation did not get on for %d ms",
					semtok_worker_timeout);
	worker->pong = pong;
}

static void
RequestsTake(Worker *worker, const stk_header *header, const uint8 *body)
{
	WorkerRequest *request;

	if (worker->ping != 0 && header->request == worker->ping && header->kind == STK_MSG_PONG)
	{
		RequestsPong(worker, header, body);
		return;
	}
	request = RequestFind(worker, header->request);
	if (!request)
		ChannelFail(worker->channel, "it answered what it was not asked for");
	else if (header->kind != STK_MSG_PROGRESS)
		RequestAnswered(request, header, body);
	else if (!request->progress || !request->progress(request->progress_ctx, body, header->bytes))
		ChannelFail(worker->channel, "it sent a report that is none");
}

/*
 * Nothing is read behind the last answer: who asked for that alone finds the worker still there,
 * even if it was its last word.
 */
bool
RequestsServe(Worker *worker)
{
	stk_header header;
	const uint8 *body;

	PG_TRY();
	{
		while (ChannelReceive(worker->channel, &header, &body))
		{
			RequestsTake(worker, &header, body);
			if (worker->nrequests == 0)
				break;
		}
	}
	PG_CATCH();
	{
		WorkerEnd(worker);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!ChannelFailure(worker->channel))
		return true;
	WorkerGone(worker);
	return false;
}

/* A wait begins: the time since the last one does not count. */
static void
RequestsWatchBegin(Worker *worker)
{
	worker->quiet = WorkerClock();
	worker->messages = ChannelMessages(worker->channel);
}

/* Look for signs of life, and ask for one. Milliseconds to wait for it now. */
static long
RequestsWatch(Worker *worker)
{
	double now = WorkerClock();
	double left;

	if (worker->messages != ChannelMessages(worker->channel))
	{
		worker->messages = ChannelMessages(worker->channel);
		worker->quiet = now;
	}
	left = worker->quiet + semtok_worker_timeout - now;
	if (left > 0)
		return (long) left + 1;
	if (!ChannelSend(worker->channel))
		ChannelFail(worker->channel, "it took no request for %d ms", semtok_worker_timeout);
	else if (worker->ping != 0)
		ChannelFail(worker->channel, "it did not answer for %d ms", semtok_worker_timeout);
	else if (worker->welcomed)
	{
		worker->ping = ++worker->numbers;
		ChannelBeginSend(
			worker->channel,
			stk_write_empty(ChannelBuffer(worker->channel), STK_MSG_PING, worker->ping), -1);
		ChannelSend(worker->channel);
	}
	worker->quiet = now;
	return semtok_worker_timeout;
}

/* Wait for the next thing to happen. False when the worker was lost. */
static bool
RequestsWait(Worker *worker, double until)
{
	long timeout = RequestsWatch(worker);

	if (until > 0)
	{
		double left = until - WorkerClock();

		if (left <= 0)
			ChannelFail(worker->channel, "it did not answer in time");
		timeout = Min(timeout, (long) Max(left, 0) + 1);
	}
	if (!ChannelFailure(worker->channel))
	{
		PG_TRY();
		{
			ChannelWait(worker->channel, timeout,
						worker->welcomed ? SEMTOK_WAIT_REPLY : SEMTOK_WAIT_START);
		}
		PG_CATCH();
		{
			WorkerEnd(worker);
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	return RequestsServe(worker);
}

uint8 *
RequestCompose(Worker *worker, WorkerRequest *request, uint64 *number)
{
	uint32 window = worker->welcomed ? worker->info.welcome.window : 1;

	Assert(request->answer != WORKER_ASKED);
	request->answer = WORKER_LOST;
	request->worker = worker;
	RequestsWatchBegin(worker);
	while (worker->nrequests >= window || !ChannelSend(worker->channel))
		if (!RequestsWait(worker, 0))
			return NULL;
	*number = request->number = ++worker->numbers;
	return ChannelBuffer(worker->channel);
}

/*
 * The descriptor is the kernel's until another file is used, as may happen whenever there is a
 * wait, so it is asked for anew as long as the message has not begun to leave.
 */
void
RequestAsk(WorkerRequest *request, Size bytes, Spool *spool)
{
	Worker *worker = request->worker;

	request->answer = WORKER_ASKED;
	dlist_push_tail(&worker->requests, &request->node);
	worker->nrequests++;
	worker->data += request->data;
	memset(&worker->pong, 0, sizeof(worker->pong));
	for (;;)
	{
		if (!ChannelBegun(worker->channel))
			ChannelBeginSend(worker->channel, bytes, spool ? SpoolDescriptor(spool) : -1);
		if (ChannelSend(worker->channel) || !RequestsWait(worker, 0))
			break;
	}
}

void
RequestWait(WorkerRequest *request, double until)
{
	Worker *worker = request->worker;

	if (request->answer != WORKER_ASKED)
		return;
	RequestsWatchBegin(worker);
	if (!RequestsServe(worker))
		return;
	while (request->answer == WORKER_ASKED)
		if (!RequestsWait(worker, until))
			return;
}
