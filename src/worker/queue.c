#include "worker/queue.h"

/* Let a seat that was not in the ring be the last whose turn comes. */
static void
enter(stk_queue *q, stk_seat *seat)
{
	if (!q->turn)
	{
		seat->next = seat->prev = seat;
		q->turn = seat;
		return;
	}
	seat->next = q->turn;
	seat->prev = q->turn->prev;
	seat->prev->next = seat;
	seat->next->prev = seat;
}

static void
leave(stk_queue *q, stk_seat *seat)
{
	if (seat->next == seat)
		q->turn = NULL;
	else
	{
		seat->prev->next = seat->next;
		seat->next->prev = seat->prev;
		if (q->turn == seat)
			q->turn = seat->next;
	}
	seat->next = seat->prev = NULL;
}

void
stk_queue_add(stk_queue *q, stk_seat *seat, stk_job *job)
{
	job->next = NULL;
	if (seat->first)
		seat->last->next = job;
	else
	{
		seat->first = job;
		enter(q, seat);
	}
	seat->last = job;
	q->jobs++;
}

void
stk_queue_put_back(stk_queue *q, stk_seat *seat, stk_job *job)
{
	job->next = seat->first;
	if (!seat->first)
	{
		seat->last = job;
		enter(q, seat);
	}
	seat->first = job;
	q->turn = seat;
	q->jobs++;
}

stk_job *
stk_queue_peek(const stk_queue *q)
{
	return q->turn ? q->turn->first : NULL;
}

/* The first job of a seat, which then is the last whose turn comes. */
static stk_job *
take_first(stk_queue *q, stk_seat *seat)
{
	stk_job *job = seat->first;

	seat->first = job->next;
	leave(q, seat);
	if (seat->first)
		enter(q, seat);
	job->next = NULL;
	q->jobs--;
	return job;
}

stk_job *
stk_queue_take(stk_queue *q)
{
	return q->turn ? take_first(q, q->turn) : NULL;
}

stk_job *
stk_queue_take_like(stk_queue *q, bool (*like)(const void *ctx, const stk_job *job),
					const void *ctx)
{
	stk_seat *seat = q->turn;

	if (!seat)
		return NULL;
	do
	{
		if (like(ctx, seat->first))
			return take_first(q, seat);
		seat = seat->next;
	} while (seat != q->turn);
	return NULL;
}

void
stk_queue_remove(stk_queue *q, stk_seat *seat, stk_job *job)
{
	stk_job *before = NULL;

	for (stk_job *j = seat->first; j != job; j = j->next)
		before = j;
	if (before)
		before->next = job->next;
	else
		seat->first = job->next;
	if (seat->last == job)
		seat->last = before;
	if (!seat->first)
		leave(q, seat);
	job->next = NULL;
	q->jobs--;
}
