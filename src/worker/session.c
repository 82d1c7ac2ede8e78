#include "worker/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "worker/faults.h"
#include "worker/log.h"
#include "worker/request.h"
#include "worker/schedule.h"

/* Let the loop look at it. */
static void
touch(stk_server *s, stk_session *session)
{
	if (session->touched)
		return;
	session->touched = true;
	session->touched_next = s->touched;
	s->touched = session;
}

void
stk_session_end(stk_server *s, stk_session *session)
{
	session->ended = true;
	touch(s, session);
}

stk_session *
stk_session_open(stk_server *s, int fd, bool control)
{
	stk_session *session = calloc(1, sizeof(*session));
	stk_connection c;

	stk_connection_init(&c, fd);
	c.control = control && s->settings.listen_path;

	struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};

	if (!session || epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
	{
		stk_connection_close(&c);
		free(session);
		return NULL;
	}
	session->connection = c;
	session->control = control;
	session->interest = event.events;
	session->next = s->sessions;
	if (s->sessions)
		s->sessions->prev = session;
	s->sessions = session;
	s->nsessions++;
	return session;
}

/* The client broke the rules: its connection goes, and nothing else. */
static void
end_broken(stk_server *s, stk_session *session, const stk_error *err)
{
	stk_log_line("closing a client's connection: %s", err->message);
	stk_session_end(s, session);
}

void
stk_session_send(stk_server *s, stk_session *session, uint8_t *message, size_t bytes)
{
	stk_header h = {0};

	if (session->ended)
		return;
	(void) stk_read_header(message, &h, NULL);
	STK_FAULT_ANSWER(session->connection.fd, message, &bytes, session->connection.control);
	if (bytes > 0 && !stk_connection_send(&session->connection, message, bytes))
		session->ended = true;
	touch(s, session);
	STK_FAULT(STK_STEP_ANSWERED, h.kind, session->connection.control);
}

void
stk_session_report(stk_server *s, stk_session *session, stk_launch *l, uint8_t *message,
				   size_t bytes)
{
	stk_session_send(s, session, message, bytes);
	if (stk_connection_unsent(&session->connection) == 0)
		stk_outbox_read(s->shop.outbox, l, 1);
	else
		l->unsent++;
}

void
stk_session_write(stk_server *s, stk_session *session)
{
	if (!stk_connection_flush(&session->connection))
	{
		stk_session_end(s, session);
		return;
	}
	touch(s, session);
	if (stk_connection_unsent(&session->connection) > 0)
		return;
	for (unsigned i = 0; i < session->njobs; i++)
	{
		stk_launch *l = session->jobs[i]->launch;

		if (l && l->unsent > 0)
		{
			stk_outbox_read(s->shop.outbox, l, l->unsent);
			l->unsent = 0;
		}
	}
}

static size_t
write_answer(stk_server *s, const stk_job *job)
{
	uint64_t request = job->message.header.request;
	stk_data data = {.bytes = job->result_bytes, .inside = job->result};

	data.in_file = job->result == NULL;
	if (job->answer == STK_MSG_CODES)
	{
		stk_codes m = {data};

		m.codes.offset = data.in_file ? job->encode.codes_at : 0;
		return stk_write_codes(s->scratch, request, &m);
	}
	if (job->answer == STK_MSG_FOUND)
	{
		stk_found m = {data};

		m.found.offset = data.in_file ? job->search.found_at : 0;
		return stk_write_found(s->scratch, request, &m);
	}
	if (job->answer == STK_MSG_TRAINED)
	{
		stk_trained m = {job->evaluations[0], job->evaluations[1], data};

		m.result.offset = data.in_file ? job->train.result_at : 0;
		return stk_write_trained(s->scratch, request, &m);
	}
	if (job->answer == STK_MSG_FAILED)
		return stk_write_failed(s->scratch, request, &job->failed);
	return stk_write_empty(s->scratch, job->answer, request);
}

static void
count_answer(stk_server *s, const stk_job *job)
{
	if (job->answer == STK_MSG_MISSING)
		return;
	s->requests++;
	if (job->answer == STK_MSG_CODES)
		s->rows += job->encode.n;
	else if (job->answer == STK_MSG_FOUND)
		s->searches += job->search.n;
	else if (job->answer == STK_MSG_TRAINED)
		s->rows += job->train.n;
	else if (job->answer == STK_MSG_FAILED)
	{
		s->failures++;
		snprintf(s->last_error, sizeof(s->last_error), "%.*s", (int) sizeof(s->last_error) - 1,
				 job->failed.message);
	}
}

void
stk_session_send_answer(stk_server *s, const stk_job *job)
{
	count_answer(s, job);
	stk_session_send(s, job->session, s->scratch, write_answer(s, job));
}

void
stk_session_answer(stk_server *s, stk_job *job)
{
	stk_session_send_answer(s, job);
	stk_session_lose(job);
	stk_session_free_job(s, job);
}

void
stk_session_lose(stk_job *job)
{
	stk_session *session = job->session;
	unsigned i = 0;

	while (session->jobs[i] != job)
		i++;
	session->njobs--;
	memmove(&session->jobs[i], &session->jobs[i + 1],
			(session->njobs - i) * sizeof(session->jobs[0]));
	job->session = NULL;
}

void
stk_session_free_job(stk_server *s, stk_job *job)
{
	stk_budget_release(s->shop.budget, job->counted);
	stk_job_free(job);
}

/* May this message come now? */
static bool
follows_rules(stk_session *session, const stk_header *h, stk_error *err)
{
	if (h->request <= session->last_request)
		stk_fail(err, STK_ECORRUPT, "request %llu came after request %llu",
				 (unsigned long long) h->request, (unsigned long long) session->last_request);
	else if (!session->greeted && h->kind != STK_MSG_HELLO)
		stk_fail(err, STK_ECORRUPT, "a message of kind %u came before the greeting",
				 (unsigned) h->kind);
	else
		return true;
	return false;
}

void
stk_session_read(stk_server *s, stk_session *session)
{
	stk_message m;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_receipt receipt = stk_connection_receive(&session->connection, &m, &err);

	if (receipt == STK_NOT_YET)
		return;
	if (receipt == STK_BROKEN)
		end_broken(s, session, &err);
	else if (receipt == STK_GONE)
		stk_session_end(s, session);
	else if (!follows_rules(session, &m.header, &err))
	{
		stk_message_free(&m);
		end_broken(s, session, &err);
	}
	else
	{
		session->last_request = m.header.request;
		if (session->njobs == STK_WINDOW && stk_request_computes(&m))
		{
			session->parked = m;
			session->has_parked = true;
			touch(s, session);
		}
		else if (!stk_request_take(s, session, &m, &err))
			end_broken(s, session, &err);
	}
}

/* Take the request that waits for the window, if there is room now. */
static void
unpark(stk_server *s, stk_session *session)
{
	stk_message m = session->parked;
	stk_error err = {.row = SIZE_MAX, .level = -1};

	if (!session->has_parked || session->njobs == STK_WINDOW || session->ended)
		return;
	session->has_parked = false;
	if (!stk_request_take(s, session, &m, &err))
		end_broken(s, session, &err);
}

/* Close it and drop what it asked for. */
static void
close_session(stk_server *s, stk_session *session)
{
	s->ending |= session->control;
	while (session->njobs > 0)
		stk_schedule_drop(s, session->jobs[session->njobs - 1]);
	if (session->has_parked)
		stk_message_free(&session->parked);
	if (session->next)
		session->next->prev = session->prev;
	if (session->prev)
		session->prev->next = session->next;
	else
		s->sessions = session->next;
	s->nsessions--;
	stk_connection_close(&session->connection);
	free(session);
}

/*
 * What to wait for. A client with a request too many, or one that does not read its answers, is not
 * read; that it has gone is noticed all the same.
 */
static uint32_t
wanted_events(const stk_session *session)
{
	bool unsent = stk_connection_unsent(&session->connection) > 0;

	return (unsent || session->has_parked ? EPOLLRDHUP : EPOLLIN) | (unsent ? EPOLLOUT : 0);
}

void
stk_session_settle(stk_server *s, stk_session *session)
{
	unpark(s, session);

	struct epoll_event event = {.events = wanted_events(session), .data.ptr = session};

	if (!session->ended && event.events != session->interest)
	{
		session->interest = event.events;
		if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, session->connection.fd, &event) != 0)
			session->ended = true;
	}
	session->touched = false;
	if (session->ended)
		close_session(s, session);
}
