#include "worker/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/device.h"
#include "worker/faults.h"
#include "worker/log.h"
#include "worker/schedule.h"
#include "worker/session.h"

/* What the loop computes itself, and what counts as small, in seconds of one thread. */
#define TINY_SECONDS 200e-6
#define SMALL_SECONDS 20e-3

bool
stk_request_computes(const stk_message *m)
{
	return m->header.kind >= STK_MSG_LOAD && m->header.kind <= STK_MSG_SEARCH;
}

/* Answer a request that has not become a job. */
static void
refuse(stk_server *s, stk_session *session, const stk_message *m, stk_failure failure,
	   const char *why)
{
	stk_failed failed = {.failure = failure, .row = UINT64_MAX, .level = -1};

	snprintf(failed.message, sizeof(failed.message), "%s", why);
	snprintf(s->last_error, sizeof(s->last_error), "%s", why);
	s->failures++;
	stk_session_send(s, session, s->scratch,
					 stk_write_failed(s->scratch, m->header.request, &failed));
}

/* The engine that large work goes to. */
static const stk_engine *
largest(const stk_server *s)
{
	return stk_device_usable(s, NULL, 0) ? s->shop.device : s->shop.cores;
}

static stk_status
take_hello(stk_server *s, stk_session *session, const stk_message *m, stk_error *err)
{
	stk_hello hello;
	stk_welcome welcome = {.version = STK_PROTOCOL_VERSION,
						   .program = SEMTOK_VERSION,
						   .pid = (uint32_t) getpid(),
						   .threads = s->settings.threads,
						   .window = STK_WINDOW,
						   .memory = s->settings.memory,
						   .rate = s->speeds.rate};
	stk_status status = stk_read_hello(m->body, m->header.bytes, &hello, err);

	if (status != STK_OK)
		return status;
	if (hello.version != STK_PROTOCOL_VERSION)
	{
		refuse(s, session, m, STK_FAILED_REQUEST, "this worker speaks another version");
		return STK_OK;
	}
	session->greeted = true;
	welcome.cuda = stk_device_usable(s, welcome.no_cuda, sizeof(welcome.no_cuda));
	snprintf(welcome.engine, sizeof(welcome.engine), "%s", largest(s)->ops->name);
	snprintf(welcome.device, sizeof(welcome.device), "%s", largest(s)->device);
	stk_session_send(s, session, s->scratch,
					 stk_write_welcome(s->scratch, m->header.request, &welcome));
	return STK_OK;
}

static void
take_ping(stk_server *s, stk_session *session, const stk_message *m)
{
	stk_pong pong = {.state = STK_WORK_NONE};

	if (session->njobs > 0)
	{
		const stk_job *job = session->jobs[0];

		pong.state = job->launch ? STK_WORK_RUNNING : STK_WORK_QUEUED;
		pong.request = job->message.header.request;
		pong.ticks = job->launch ? atomic_load(&job->launch->ticks) : 0;
	}
	stk_session_send(s, session, s->scratch, stk_write_pong(s->scratch, m->header.request, &pong));
}

static void
take_statistics(stk_server *s, stk_session *session, const stk_message *m)
{
	stk_cache_size cache = stk_cache_measure(s->shop.cache);
	stk_statistics t = {.pid = (uint32_t) getpid(),
						.threads = s->settings.threads,
						.clients = s->nsessions - (s->settings.listen_path ? 1 : 0),
						.running = s->running,
						.codebooks = cache.codebooks,
						.tries = cache.sets,
						.cache_bytes = cache.bytes,
						.memory_used = stk_budget_used(s->shop.budget),
						.memory = s->settings.memory,
						.requests = s->requests,
						.batches = s->batches,
						.rows = s->rows,
						.searches = s->searches,
						.failures = s->failures,
						.fallbacks = s->fallbacks};

	for (int c = 0; c < STK_CLASSES; c++)
		t.queued += (uint32_t) s->queues[c].jobs;
	if (s->shop.device)
	{
		stk_engine_state state;

		s->shop.device->ops->state(s->shop.device, &state);
		t.device_memory = state.memory;
		t.device_memory_limit = state.memory_limit;
	}
	snprintf(t.engine, sizeof(t.engine), "%s", largest(s)->ops->name);
	snprintf(t.device, sizeof(t.device), "%s", largest(s)->device);
	snprintf(t.last_error, sizeof(t.last_error), "%s", s->last_error);
	stk_session_send(s, session, s->scratch,
					 stk_write_statistics(s->scratch, m->header.request, &t));
}

static stk_status
take_configure(stk_server *s, stk_session *session, const stk_message *m, stk_error *err)
{
	stk_configure c;
	stk_status status = stk_read_configure(m->body, m->header.bytes, &c, err);

	if (status != STK_OK)
		return status;
	if (!session->control)
	{
		refuse(s, session, m, STK_FAILED_REQUEST, "only who started this worker may configure it");
		return STK_OK;
	}
	if (c.threads != s->settings.threads)
	{
		stk_team *team;

		if (stk_team_start((int) c.threads, &team) != STK_OK)
		{
			refuse(s, session, m, STK_FAILED_MEMORY, "could not start so many threads");
			return STK_OK;
		}
		/* What runs goes on with the threads that it began with. */
		stk_team_retire(s->team);
		s->team = team;
	}
	s->settings.threads = c.threads;
	s->settings.memory = c.memory;
	s->settings.batch_max = c.batch_max;
	s->settings.batch_wait_us = c.batch_wait_us;
	stk_budget_set_limit(s->shop.budget, c.memory);
	stk_session_send(s, session, s->scratch,
					 stk_write_empty(s->scratch, STK_MSG_DONE, m->header.request));
	return STK_OK;
}

/* Data that is said to be in a file needs one. */
static stk_status
check_file(const stk_message *m, bool needed, stk_error *err)
{
	if (needed && m->file < 0)
		return stk_fail(err, STK_ECORRUPT, "a request came without the file that it speaks of");
	return STK_OK;
}

/* Make it one of the session's jobs; NULL, and answered, when there is no memory. */
static stk_job *
begin_job(stk_server *s, stk_session *session, stk_message *m)
{
	uint64_t bytes = sizeof(stk_job) + m->header.bytes;
	stk_message copy = *m;
	stk_job *job = NULL;

	if (stk_budget_reserve(s->shop.budget, bytes))
	{
		job = stk_job_create(session, m);
		m->body = NULL;
		m->file = -1;
		if (!job)
			stk_budget_release(s->shop.budget, bytes);
	}
	if (!job)
	{
		refuse(s, session, &copy, STK_FAILED_MEMORY, "there is no memory for the request");
		return NULL;
	}
	job->counted = bytes;
	job->since = stk_now_ns();
	session->jobs[session->njobs++] = job;
	return job;
}

/* Give a job the answer that it failed. */
static void
fail_job(stk_server *s, stk_job *job, stk_failure failure, stk_status status, const char *why)
{
	stk_error err = {.row = SIZE_MAX, .level = -1};

	snprintf(err.message, sizeof(err.message), "%s", why);
	stk_job_fail(job, failure, status, &err);
	stk_session_answer(s, job);
}

static stk_status
take_load(stk_server *s, stk_session *session, stk_message *m, stk_error *err)
{
	stk_load load;
	stk_status status = stk_read_load(m->body, m->header.bytes, &load, err);
	stk_job *job;

	if (status == STK_OK)
		status = check_file(m, load.data.in_file, err);
	if (status != STK_OK || !(job = begin_job(s, session, m)))
		return status;
	job->load = load;
	job->class = STK_CLASS_LOAD;
	if (load.data.bytes > s->settings.memory)
		fail_job(s, job, STK_FAILED_MEMORY, STK_ENOMEM,
				 "what is to be kept is larger than the memory");
	else
		stk_schedule_add(s, job);
	return STK_OK;
}

/* Multiply-adds that encoding takes, at most. */
static uint64_t
encode_cost(const stk_codebook *cb, const stk_encode *m)
{
	uint64_t codewords = 0;

	for (int l = 0; l < cb->levels; l++)
		codewords += cb->sizes[l];
	return (uint64_t) m->n * (codewords * (uint64_t) cb->dim * (uint64_t) m->beam +
							  (uint64_t) stk_network_multiply_adds(&cb->network));
}

/* Encode here and now. False when it is not to be: too much, or not everything is at hand. */
static bool
encode_at_once(stk_server *s, stk_session *session, const stk_message *m, const stk_encode *e,
			   stk_cached *pin)
{
	stk_engine *engine = s->shop.cores;
	size_t x_bytes = (size_t) e->n * (size_t) e->dim * sizeof(float);
	size_t bytes = (size_t) e->n * (size_t) e->levels * sizeof(uint16_t);
	const stk_resident *resident;
	stk_exec exec = {.a = stk_purse_allocator(&s->purse), .cpu = &s->shop.cpu};
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status = STK_ENOMEM;
	stk_job answer = {.message = *m, .encode = *e, .session = session};
	float *x;
	uint16_t *codes;

	if (e->device == STK_DEVICE_CUDA || e->rows.in_file || bytes > STK_INLINE_MAX ||
		(double) encode_cost(stk_cached_codebook(pin), e) > s->speeds.rate * TINY_SECONDS)
		return false;
	resident = stk_cache_ready(s->shop.cache, pin, engine, e->beam > 1);
	if (!resident)
		return false;
	x = stk_alloc_array(&exec.a, x_bytes + bytes, 1);
	if (x)
	{
		codes = (uint16_t *) (void *) ((char *) x + x_bytes);
		memcpy(x, e->rows.inside, x_bytes);
		STK_FAULT(STK_STEP_COMPUTE, STK_MSG_ENCODE, false);
		status = engine->ops->encode(engine, &exec, resident, x, e->n, e->beam, codes, &err);
		STK_FAULT(STK_STEP_COMPUTED, STK_MSG_ENCODE, false);
	}
	if (status == STK_OK)
	{
		STK_FAULT_RESULT(STK_MSG_ENCODE, codes, bytes);
		answer.answer = STK_MSG_CODES;
		answer.result = (uint8_t *) codes;
		answer.result_bytes = bytes;
	}
	else if (status != STK_ENOMEM)
		stk_job_fail_status(&answer, status, &err, 0);
	if (status != STK_ENOMEM)
	{
		s->batches++;
		stk_session_send_answer(s, &answer);
	}
	stk_free(&exec.a, x);
	return status != STK_ENOMEM;
}

/* The hash of what an encoding or a search needs. */
static const uint8_t *
needed(const stk_job *job)
{
	return job->message.header.kind == STK_MSG_SEARCH ? job->search.hash : job->encode.hash;
}

/* Does this session load what the job needs? */
static bool
is_loading(const stk_session *session, const stk_job *job)
{
	stk_kind load = job->message.header.kind == STK_MSG_SEARCH ? STK_MSG_TRIE : STK_MSG_LOAD;

	for (unsigned i = 0; i < session->njobs; i++)
		if (session->jobs[i]->message.header.kind == load &&
			memcmp(session->jobs[i]->load.hash, needed(job), STK_HASH_BYTES) == 0)
			return true;
	return false;
}

stk_cached *
stk_request_pin(stk_server *s, const stk_job *job)
{
	return stk_cache_pin(s->shop.cache,
						 job->message.header.kind == STK_MSG_SEARCH ? STK_CACHED_SET
																	: STK_CACHED_CODEBOOK,
						 needed(job));
}

/* Is what is pinned one that the job can be computed with? Then by which engine, and the work. */
static bool
choose_engine(stk_server *s, stk_job *job, const stk_cached *pin, double *work)
{
	if (job->message.header.kind == STK_MSG_SEARCH)
	{
		const stk_semset *set = stk_cached_set(pin);
		const stk_search_message *m = &job->search;

		if (m->width < set->depth)
			return false;
		*work = stk_search_work(set, m->levels, m->beam_size) * m->n;
		job->engine = stk_device_for_search(s, m, *work);
		return true;
	}
	const stk_codebook *cb = stk_cached_codebook(pin);

	if (stk_codebook_inputs(cb) != job->encode.dim || cb->levels != job->encode.levels)
		return false;
	*work = (double) encode_cost(cb, &job->encode);
	job->engine = stk_device_for_encode(s, cb, &job->encode);
	return true;
}

void
stk_request_admit(stk_server *s, stk_job *job)
{
	stk_cached *pin = stk_request_pin(s, job);
	double work;

	job->held = false;
	if (!pin && is_loading(job->session, job))
	{
		job->held = true;
		return;
	}
	if (!pin)
	{
		job->answer = STK_MSG_MISSING;
		stk_session_answer(s, job);
		return;
	}
	if (!choose_engine(s, job, pin, &work))
		fail_job(s, job, STK_FAILED_REQUEST, STK_EINVAL,
				 job->message.header.kind == STK_MSG_SEARCH ? "the ids of the set are longer"
															: "the codebook has another shape");
	else
	{
		job->class = work <= s->speeds.rate * SMALL_SECONDS ? STK_CLASS_SMALL : STK_CLASS_BULK;
		stk_schedule_add(s, job);
	}
	stk_cache_unpin(s->shop.cache, pin);
}

/* Is there the device that is wanted? Answers the request where it is not. */
static bool
has_device(stk_server *s, stk_session *session, const stk_message *m, stk_device wanted)
{
	char why[STK_TEXT_BYTES];

	if (wanted != STK_DEVICE_CUDA || stk_device_usable(s, why, sizeof(why)))
		return true;
	refuse(s, session, m, STK_FAILED_DEVICE, why);
	return false;
}

static stk_status
take_encode(stk_server *s, stk_session *session, stk_message *m, stk_error *err)
{
	stk_encode e;
	stk_status status = stk_read_encode(m->body, m->header.bytes, &e, err);
	stk_cached *pin;
	stk_job *job;
	bool done = false;

	if (status == STK_OK)
		status = check_file(m, stk_encode_needs_file(&e), err);
	if (status != STK_OK)
		return status;
	if (!has_device(s, session, m, e.device))
		return STK_OK;
	pin = stk_cache_pin(s->shop.cache, STK_CACHED_CODEBOOK, e.hash);
	if (pin)
	{
		const stk_codebook *cb = stk_cached_codebook(pin);

		done = stk_codebook_inputs(cb) == e.dim && cb->levels == e.levels &&
			   encode_at_once(s, session, m, &e, pin);
		stk_cache_unpin(s->shop.cache, pin);
	}
	if (done || !(job = begin_job(s, session, m)))
		return STK_OK;
	job->encode = e;
	stk_request_admit(s, job);
	return STK_OK;
}

static stk_status
take_search(stk_server *s, stk_session *session, stk_message *m, stk_error *err)
{
	stk_search_message search;
	stk_status status = stk_read_search(m->body, m->header.bytes, &search, err);
	stk_job *job;

	if (status == STK_OK)
		status = check_file(m, stk_search_needs_file(&search), err);
	if (status != STK_OK)
		return status;
	if (!has_device(s, session, m, search.device) || !(job = begin_job(s, session, m)))
		return STK_OK;
	job->search = search;
	stk_request_admit(s, job);
	return STK_OK;
}

static stk_status
take_train(stk_server *s, stk_session *session, stk_message *m, stk_error *err)
{
	stk_train_message t;
	stk_status status = stk_read_train(m->body, m->header.bytes, &t, err);
	stk_job *job;

	if (status == STK_OK)
		status = check_file(m, stk_train_needs_file(&t), err);
	if (status != STK_OK)
		return status;
	if (!has_device(s, session, m, t.device))
		return STK_OK;
	job = begin_job(s, session, m);
	if (!job)
		return STK_OK;
	job->train = t;
	job->engine = stk_device_for_train(s, &job->train);
	job->class = STK_CLASS_TRAIN;
	stk_schedule_add(s, job);
	return STK_OK;
}

/* Requests to compute do not come from who only controls a worker that others use. */
static bool
is_allowed(const stk_server *s, const stk_session *session, const stk_message *m)
{
	return !(session->control && s->settings.listen_path && stk_request_computes(m));
}

bool
stk_request_take(stk_server *s, stk_session *session, stk_message *m, stk_error *err)
{
	stk_status status = STK_OK;

	if (!is_allowed(s, session, m))
		refuse(s, session, m, STK_FAILED_REQUEST, "this connection is not for requests to compute");
	else
	{
		switch (m->header.kind)
		{
			case STK_MSG_HELLO:
				status = take_hello(s, session, m, err);
				break;
			case STK_MSG_PING:
				take_ping(s, session, m);
				break;
			case STK_MSG_STATISTICS:
				take_statistics(s, session, m);
				break;
			case STK_MSG_CONFIGURE:
				status = take_configure(s, session, m, err);
				break;
			case STK_MSG_LOAD:
			case STK_MSG_TRIE:
				status = take_load(s, session, m, err);
				break;
			case STK_MSG_ENCODE:
				status = take_encode(s, session, m, err);
				break;
			case STK_MSG_SEARCH:
				status = take_search(s, session, m, err);
				break;
			case STK_MSG_TRAIN:
				status = take_train(s, session, m, err);
				break;
			default:
				refuse(s, session, m, STK_FAILED_REQUEST, "this kind of request is not known here");
				break;
		}
	}
	/* What a job has taken over is no longer here. */
	stk_message_free(m);
	return status == STK_OK;
}
