#include "worker/schedule.h"

#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "worker/device.h"
#include "worker/log.h"
#include "worker/request.h"
#include "worker/session.h"

/* Launches that found no room before a job counts as one that never does. */
#define MAX_ATTEMPTS 8
/* Trainings leave this share of the memory to others. */
#define TRAIN_LEAVES 8

/* Bytes that trainings may take together. */
static uint64_t
train_limit(const stk_server *s)
{
	return s->settings.memory - s->settings.memory / TRAIN_LEAVES;
}

void
stk_schedule_add(stk_server *s, stk_job *job)
{
	stk_queue_add(&s->queues[job->class], &job->session->seats[job->class], job);
}

void
stk_schedule_drop(stk_server *s, stk_job *job)
{
	stk_session *session = job->session;
	bool wanted = false;

	stk_session_lose(job);
	if (!job->launch)
	{
		if (!job->held)
			stk_queue_remove(&s->queues[job->class], &session->seats[job->class], job);
		stk_session_free_job(s, job);
		return;
	}
	for (const stk_job *j = job->launch->jobs; j; j = j->next)
		wanted |= j->session != NULL;
	if (!wanted)
	{
		job->launch->cancelled_ns = stk_now_ns();
		s->cancelled++;
		stk_outbox_cancel(s->shop.outbox, job->launch);
	}
}

/* What a job must have to be gathered. */
typedef struct gathering
{
	const stk_job *like;
	uint64_t room; /* rows */
} gathering;

static bool
can_join_encoding(const gathering *g, const stk_job *job)
{
	const stk_encode *m = &job->encode, *like = &g->like->encode;

	return m->n <= g->room && (m->device == STK_DEVICE_CUDA) == (like->device == STK_DEVICE_CUDA) &&
		   m->beam == like->beam && m->dim == like->dim && m->levels == like->levels &&
		   memcmp(m->hash, like->hash, STK_HASH_BYTES) == 0;
}

static bool
can_join_search(const gathering *g, const stk_job *job)
{
	const stk_search_message *m = &job->search, *like = &g->like->search;

	return m->n <= g->room && (m->device == STK_DEVICE_CUDA) == (like->device == STK_DEVICE_CUDA) &&
		   m->norm == like->norm && m->beam_size == like->beam_size && m->k == like->k &&
		   m->width == like->width && m->tokenizer == like->tokenizer &&
		   m->levels == like->levels && memcmp(m->sizes, like->sizes, sizeof(m->sizes)) == 0 &&
		   memcmp(m->hash, like->hash, STK_HASH_BYTES) == 0;
}

/*
 * What fails on a device together goes to the cores together, so not with one that insists on it.
 */
static bool
can_join(const void *ctx, const stk_job *job)
{
	const gathering *g = ctx;

	if (job->message.header.kind != g->like->message.header.kind || job->engine != g->like->engine)
		return false;
	return job->message.header.kind == STK_MSG_ENCODE ? can_join_encoding(g, job)
													  : can_join_search(g, job);
}

static uint64_t
rows_of(const stk_job *job)
{
	return job->message.header.kind == STK_MSG_SEARCH ? job->search.n : job->encode.n;
}

/* Let other sessions' jobs, in turn, be computed with the launch's first. */
static void
gather(stk_server *s, stk_launch *l)
{
	uint64_t piece = stk_launch_piece(&s->shop, l->jobs);
	stk_job *last = l->jobs;

	while (l->njobs < s->settings.batch_max && l->rows < piece)
	{
		gathering g = {l->jobs, piece - l->rows};
		stk_job *job = stk_queue_take_like(&s->queues[l->class], can_join, &g);

		if (!job)
			break;
		last->next = job;
		last = job;
		l->rows += rows_of(job);
		l->njobs++;
	}
}

/* Answer the first job of a class without computing it. */
static void
answer_first(stk_server *s, stk_class class, stk_kind answer)
{
	stk_job *job = stk_queue_take(&s->queues[class]);

	job->answer = answer;
	if (answer == STK_MSG_FAILED)
		stk_job_fail_status(job, STK_ENOMEM, NULL, 0);
	stk_session_answer(s, job);
}

/*
 * Is it worth waiting for more to compute together with this job? Then the timer will say when not.
 */
static bool
waits_for_more(stk_server *s, const stk_job *job)
{
	uint64_t until = job->since + (uint64_t) s->settings.batch_wait_us * 1000;
	uint64_t now;

	if (s->settings.batch_wait_us == 0 || s->queues[job->class].jobs >= s->settings.batch_max)
		return false;
	now = stk_now_ns();
	if (now >= until)
		return false;

	struct itimerspec at = {.it_value = {.tv_sec = (time_t) ((until - now) / 1000000000),
										 .tv_nsec = (long) ((until - now) % 1000000000)}};

	return timerfd_settime(s->timer, 0, &at, NULL) == 0;
}

/* Can the first job of the class begin now? May answer it instead. */
static bool
may_begin(stk_server *s, stk_class class, uint64_t *train_bytes)
{
	const stk_job *job = stk_queue_peek(&s->queues[class]);

	if (!job || s->blocked[class] || !stk_runners_free(s->runners, class))
		return false;
	if (class == STK_CLASS_TRAIN)
	{
		*train_bytes = stk_launch_train_bytes(job, stk_team_threads(s->team));
		if (*train_bytes > train_limit(s))
			answer_first(s, class, STK_MSG_FAILED);
		else
			return s->train_bytes + *train_bytes <= train_limit(s);
		return may_begin(s, class, train_bytes);
	}
	return class != STK_CLASS_SMALL || !waits_for_more(s, job);
}

/* Begin the first job of the class, and what can be gathered with it. */
static void
begin(stk_server *s, stk_class class, uint64_t train_bytes)
{
	const stk_job *first = stk_queue_peek(&s->queues[class]);
	bool gathers = class == STK_CLASS_SMALL || class == STK_CLASS_BULK;
	stk_cached *pin = NULL;
	stk_launch *l;
	stk_letter *last;

	if (gathers && !(pin = stk_request_pin(s, first)))
	{
		answer_first(s, class, STK_MSG_MISSING);
		return;
	}
	l = calloc(1, sizeof(*l));
	last = malloc(sizeof(*last));
	if (!l || !last)
	{
		free(l);
		free(last);
		if (pin)
			stk_cache_unpin(s->shop.cache, pin);
		answer_first(s, class, STK_MSG_FAILED);
		return;
	}
	l->last = last;
	l->class = class;
	l->pin = pin;
	l->train_bytes = train_bytes;
	l->jobs = stk_queue_take(&s->queues[class]);
	l->engine = l->jobs->engine;
	l->njobs = 1;
	if (gathers)
	{
		l->rows = rows_of(l->jobs);
		gather(s, l);
	}
	for (stk_job *job = l->jobs; job; job = job->next)
		job->launch = l;
	s->running++;
	s->train_bytes += train_bytes;
	stk_runners_begin(s->runners, s->team, l);
}

void
stk_schedule(stk_server *s)
{
	for (stk_class class = 0; class < STK_CLASSES; class ++)
	{
		uint64_t train_bytes = 0;

		while (may_begin(s, class, &train_bytes))
			begin(s, class, train_bytes);
	}
}

/* Jobs that waited for what this one has loaded, or failed to. */
static void
admit_held(stk_server *s, stk_session *session)
{
	for (unsigned i = 0; i < session->njobs;)
	{
		stk_job *job = session->jobs[i];

		if (job->held)
			stk_request_admit(s, job);
		/* It may have been answered, and another one be here now. */
		if (i < session->njobs && session->jobs[i] == job)
			i++;
	}
}

/* A job of a launch that has ended. */
static void
end_job(stk_server *s, const stk_launch *l, stk_job *job)
{
	stk_session *session = job->session;
	bool load =
		job->message.header.kind == STK_MSG_LOAD || job->message.header.kind == STK_MSG_TRIE;

	job->launch = NULL;
	if (!session)
	{
		stk_session_free_job(s, job);
		return;
	}
	/* Nothing else is there that would give up memory, twice: there never will be room. */
	if (l->no_room && job->answer == 0)
	{
		job->attempts++;
		if (job->attempts < MAX_ATTEMPTS && (s->running > 0 || job->attempts < 2))
		{
			s->blocked[l->class] = s->running > 0;
			stk_queue_put_back(&s->queues[l->class], &session->seats[l->class], job);
			return;
		}
		stk_job_fail_status(job, STK_ENOMEM, NULL, 0);
	}
	if (l->unheard)
	{
		stk_log_line("closing a client's connection: it does not read what it is sent");
		stk_session_end(s, session);
	}
	stk_session_answer(s, job);
	if (load)
		admit_held(s, session);
}

static void
end_launch(stk_server *s, stk_launch *l)
{
	stk_job *next;

	stk_runners_ended(s->runners, l);
	s->running--;
	s->cancelled -= l->cancelled_ns > 0;
	s->train_bytes -= l->train_bytes;
	memset(s->blocked, 0, sizeof(s->blocked));
	if (l->pin)
		stk_cache_unpin(s->shop.cache, l->pin);
	if (l->class != STK_CLASS_LOAD && !l->no_room)
		s->batches++;
	stk_device_report(s, l);
	for (stk_job *job = l->jobs; job; job = next)
	{
		next = job->next;
		end_job(s, l, job);
	}
	free(l);
}

void
stk_schedule_collect(stk_server *s)
{
	stk_letter *next;

	for (stk_letter *letter = stk_outbox_take(s->shop.outbox); letter; letter = next)
	{
		stk_launch *l = letter->launch;
		stk_session *session = l->jobs->session;

		next = letter->next;
		if (letter->bytes == 0)
			end_launch(s, l);
		else if (session)
			stk_session_report(s, session, l, letter->message, letter->bytes);
		else
			stk_outbox_read(s->shop.outbox, l, 1);
		free(letter);
	}
}
