/*
 * Each message is described once, by a function that passes its fields through a wire: when writing
 * they are put there, when reading they are taken from there and checked.
 */
#include "worker/protocol.h"

#include <float.h>
#include <limits.h>
#include <string.h>

#include "core/method.h"
#include "worker/found.h"
#include "worker/wire.h"

/*
 * Where an answer of so many bytes goes: into the file at *at, or, when it is short, into a body.
 */
static uint64_t
answer_at(wire *w, uint64_t at, uint64_t bytes)
{
	at = u64(w, w->out && bytes <= STK_INLINE_MAX ? 0 : at);
	if (w->out)
		return at;
	if (bytes > STK_INLINE_MAX)
		check_place(w, at, bytes);
	else if (at != 0)
		refuse(w, "a short answer is to go into a file");
	return at;
}

/* An answer's data: exactly so many bytes, in a file only if they are too many for a body. */
static void
check_answer(wire *w, const stk_data *d, uint64_t bytes, const char *what)
{
	check_bytes(w, d->bytes, bytes, 1, what);
	if (d->in_file != (bytes > STK_INLINE_MAX))
		refuse(w, "%s are %s a file", what, d->in_file ? "in" : "not in");
}

static void
header(wire *w, stk_header *h)
{
	if (u32(w, STK_PROTOCOL_MAGIC) != STK_PROTOCOL_MAGIC)
		refuse(w, "not a message of semtok's");
	h->kind = (uint16_t) within(w, h->kind, 0, UINT16_MAX, "kind of message");
	h->with_file = flag(w, h->with_file, "file with the message");
	h->request = u64(w, h->request);
	h->bytes = within(w, h->bytes, 0, STK_BODY_MAX, "length of the message");
	if (!w->out && h->request == 0)
		refuse(w, "request has no number");
}

static void
hello(wire *w, stk_hello *m)
{
	m->version = u16(w, m->version);
	text(w, m->program, sizeof(m->program), "version");
}

static void
welcome(wire *w, stk_welcome *m)
{
	m->version = u16(w, m->version);
	text(w, m->program, sizeof(m->program), "version");
	m->pid = within(w, m->pid, 1, INT_MAX, "process id");
	m->threads = within(w, m->threads, 1, STK_MAX_THREADS, "number of threads");
	m->window = within(w, m->window, 1, STK_MAX_WINDOW, "window");
	m->memory = u64(w, m->memory);
	m->rate = real(w, m->rate, "rate");
	if (!w->out && !(m->rate > 0 && m->rate <= DBL_MAX))
		refuse(w, "rate is %g, expected more than 0", m->rate);
	text(w, m->engine, sizeof(m->engine), "engine");
	text(w, m->device, sizeof(m->device), "device");
	m->cuda = flag(w, m->cuda, "cuda");
	text(w, m->no_cuda, sizeof(m->no_cuda), "reason");
}

static void
pong(wire *w, stk_pong *m)
{
	m->state = (stk_work_state) within(w, m->state, STK_WORK_NONE, STK_WORK_RUNNING, "state");
	m->request = u64(w, m->request);
	m->ticks = u64(w, m->ticks);
	if (!w->out && (m->state == STK_WORK_NONE) != (m->request == 0))
		refuse(w, "state and request contradict each other");
}

static void
statistics(wire *w, stk_statistics *m)
{
	m->pid = within(w, m->pid, 1, INT_MAX, "process id");
	m->threads = within(w, m->threads, 1, STK_MAX_THREADS, "number of threads");
	m->clients = u32(w, m->clients);
	m->queued = u32(w, m->queued);
	m->running = u32(w, m->running);
	m->codebooks = u32(w, m->codebooks);
	m->tries = u64(w, m->tries);
	m->cache_bytes = u64(w, m->cache_bytes);
	m->memory_used = u64(w, m->memory_used);
	m->memory = u64(w, m->memory);
	m->requests = u64(w, m->requests);
	m->batches = u64(w, m->batches);
	m->rows = u64(w, m->rows);
	m->searches = u64(w, m->searches);
	m->failures = u64(w, m->failures);
	m->fallbacks = u64(w, m->fallbacks);
	m->device_memory = u64(w, m->device_memory);
	m->device_memory_limit = u64(w, m->device_memory_limit);
	text(w, m->engine, sizeof(m->engine), "engine");
	text(w, m->device, sizeof(m->device), "device");
	text(w, m->last_error, sizeof(m->last_error), "error");
}

static void
configure(wire *w, stk_configure *m)
{
	m->threads = within(w, m->threads, 1, STK_MAX_THREADS, "number of threads");
	m->memory = u64(w, m->memory);
	m->batch_max = within(w, m->batch_max, 1, STK_MAX_BATCH, "requests of a launch");
	m->batch_wait_us = within(w, m->batch_wait_us, 0, STK_MAX_BATCH_WAIT_US, "wait for a launch");
}

static void
load(wire *w, stk_load *m)
{
	stk_data *data[] = {&m->data};

	hash(w, m->hash);
	place(w, &m->data);
	if (!w->out && m->data.bytes == 0)
		refuse(w, "what is to be kept is empty");
	inside(w, data, 1);
}

static uint64_t
codes_bytes(uint32_t n, int levels)
{
	return (uint64_t) n * (uint64_t) levels * sizeof(uint16_t);
}

static void
encode(wire *w, stk_encode *m)
{
	stk_data *data[] = {&m->rows};

	hash(w, m->hash);
	m->device = (stk_device) within(w, m->device, STK_DEVICE_AUTO, STK_DEVICE_CUDA, "device");
	m->beam = (int) within(w, (uint32_t) m->beam, 1, STK_ENCODE_MAX_BEAM, "beam");
	m->dim = (int) within(w, (uint32_t) m->dim, 1, STK_MAX_DIM, "number of dimensions");
	m->levels = (int) within(w, (uint32_t) m->levels, 1, STK_MAX_LEVELS, "number of levels");
	m->n = within(w, m->n, 1, STK_ENCODE_MAX_ROWS, "number of rows");
	place(w, &m->rows);
	if (!w->out)
		check_bytes(w, m->rows.bytes, m->n, (uint64_t) m->dim * sizeof(float), "rows");
	m->codes_at = answer_at(w, m->codes_at, codes_bytes(m->n, m->levels));
	inside(w, data, 1);
}

static void
codes(wire *w, stk_codes *m)
{
	stk_data *data[] = {&m->codes};

	place(w, &m->codes);
	inside(w, data, 1);
}

/* The sum of sizes. */
static uint64_t
terms_of(const stk_search_message *m)
{
	uint64_t terms = 0;

	for (int l = 0; l < m->levels; l++)
		terms += m->sizes[l];
	return terms;
}

static void
search(wire *w, stk_search_message *m)
{
	stk_data *data[] = {&m->terms};

	hash(w, m->hash);
	m->device = (stk_device) within(w, m->device, STK_DEVICE_AUTO, STK_DEVICE_CUDA, "device");
	m->n = within(w, m->n, 1, STK_SEARCH_MAX_QUERIES, "number of queries");
	m->levels = (int) within(w, (uint32_t) m->levels, 1, STK_MAX_LEVELS, "number of levels");
	for (int l = 0; l < m->levels; l++)
		m->sizes[l] = within(w, m->sizes[l], 1, STK_MAX_CODES, "size of a level");
	m->tokenizer = u32(w, m->tokenizer);
	m->norm = (stk_norm) within(w, m->norm, STK_NORM_FULL, STK_NORM_MASKED, "norm");
	m->beam_size = within(w, m->beam_size, 1, STK_MAX_BEAM, "beam");
	m->k = within(w, m->k, 1, STK_SEARCH_MAX_IDS, "number of ids");
	m->width = (int) within(w, (uint32_t) m->width, 1, STK_MAX_LEVELS, "codes of an id");
	place(w, &m->terms);
	if (!w->out)
	{
		check_bytes(w, m->terms.bytes, m->n, stk_search_row_bytes(m), "terms");
		if (m->terms.bytes > STK_SEARCH_MAX_BYTES ||
			stk_found_bytes(m->n, m->k, m->width) > STK_SEARCH_MAX_BYTES)
			refuse(w, "a search has more than %llu bytes",
				   (unsigned long long) STK_SEARCH_MAX_BYTES);
	}
	m->found_at = answer_at(w, m->found_at, stk_found_bytes(m->n, m->k, m->width));
	inside(w, data, 1);
}

static void
found(wire *w, stk_found *m)
{
	stk_data *data[] = {&m->found};

	place(w, &m->found);
	inside(w, data, 1);
}

/* Numbers are checked with the whole plan: here only those that lengths depend on. */
static void
rqvae_plan(wire *w, stk_rqvae_plan *p)
{
	p->latent = integer(w, p->latent);
	p->n_encoder = (int) within(w, (uint32_t) p->n_encoder, 0, STK_RQVAE_MAX_HIDDEN, "layers");
	for (int i = 0; i < p->n_encoder; i++)
		p->encoder[i] = u32(w, p->encoder[i]);
	p->n_decoder = (int) within(w, (uint32_t) p->n_decoder, 0, STK_RQVAE_MAX_HIDDEN, "layers");
	for (int i = 0; i < p->n_decoder; i++)
		p->decoder[i] = u32(w, p->decoder[i]);
	p->activation = (stk_activation) within(w, p->activation, 0, STK_ACTIVATIONS - 1, "activation");
	p->standardize = (stk_rqvae_standardize) within(w, p->standardize, STK_RQVAE_AS_IS,
													STK_RQVAE_EACH, "standardization");
	p->learning_rate = real(w, p->learning_rate, "learning rate");
	p->weight_decay = real(w, p->weight_decay, "weight decay");
	p->beta1 = real(w, p->beta1, "beta");
	p->beta2 = real(w, p->beta2, "beta");
	p->epsilon = real(w, p->epsilon, "epsilon");
	p->warmup = u32(w, p->warmup);
	p->schedule = (stk_rqvae_schedule) within(w, p->schedule, STK_RQVAE_CONSTANT, STK_RQVAE_COSINE,
											  "schedule");
	p->clip = real(w, p->clip, "clip");
	p->average = real(w, p->average, "average");
	p->commitment = real(w, p->commitment, "commitment");
	p->learnable = flag(w, p->learnable, "learnable");
	p->flow = flag(w, p->flow, "flow");
	p->diversity = real(w, p->diversity, "diversity");
	p->init = (stk_rqvae_init) within(w, p->init, STK_RQVAE_FIRST_BATCH, STK_RQVAE_LLOYD, "start");
	p->delay = integer(w, p->delay);
	p->patience = integer(w, p->patience);
}

static void
plan(wire *w, stk_train_plan *p)
{
	p->method = (stk_train_method) within(w, p->method, 0, STK_TRAIN_METHODS - 1, "method");
	p->metric = (stk_metric) within(w, p->metric, STK_L2, STK_COSINE, "metric");
	p->levels = (int) within(w, (uint32_t) p->levels, 1, STK_MAX_LEVELS, "number of levels");
	for (int l = 0; l < p->levels; l++)
		p->sizes[l] = within(w, p->sizes[l], 1, STK_MAX_CODES, "size of a level");
	p->dim = (int) within(w, (uint32_t) p->dim, 1, STK_MAX_DIM, "number of dimensions");
	p->epochs = integer(w, p->epochs);
	p->batch_size = u64(w, p->batch_size);
	p->init = (stk_init) within(w, p->init, STK_INIT_KMEANSPP, STK_INIT_KMEANSII, "init");
	p->seed = u64(w, p->seed);
	p->empty = (stk_empty) within(w, p->empty, STK_EMPTY_KEEP, STK_EMPTY_FARTHEST, "empty");
	p->balance = real(w, p->balance, "balance");
	p->resume = flag(w, p->resume, "resume");
	p->decay = real(w, p->decay, "decay");
	p->restart_after = u32(w, p->restart_after);
	p->refine = integer(w, p->refine);
	p->beam = integer(w, p->beam);
	p->eval_every = integer(w, p->eval_every);
	p->checkpoint_every = integer(w, p->checkpoint_every);
	if (p->method == STK_TRAIN_RQVAE)
		rqvae_plan(w, &p->rqvae);
}

static void
train(wire *w, stk_train_message *m)
{
	stk_data *data[] = {&m->rows, &m->heldout, &m->start};
	stk_error why = {.level = -1};
	uint64_t result, width;

	plan(w, &m->plan);
	if (!w->out && !w->failed && stk_train_check(&m->plan, &why) != STK_OK)
		refuse(w, "%s", why.message);
	result = stk_train_result_bytes(&m->plan);
	width = (uint64_t) m->plan.dim * sizeof(float);
	m->device = (stk_device) within(w, m->device, STK_DEVICE_AUTO, STK_DEVICE_CUDA, "device");
	m->n = u64(w, m->n);
	m->heldout_n = u64(w, m->heldout_n);
	place(w, &m->rows);
	place(w, &m->heldout);
	place(w, &m->start);
	if (!w->out)
	{
		if (m->n == 0)
			refuse(w, "no rows to train on");
		check_bytes(w, m->rows.bytes, m->n, width, "rows");
		check_bytes(w, m->heldout.bytes, m->heldout_n, width, "held-out rows");
		check_bytes(w, m->start.bytes, m->plan.resume ? result : 0, 1, "codewords to start from");
	}
	m->result_at = answer_at(w, m->result_at, result);
	m->states_at = u64(w, m->states_at);
	if (!w->out && m->plan.checkpoint_every > 0)
	{
		if (result > INT64_MAX / STK_TRAIN_STATES)
			refuse(w, "states have no possible size");
		else
			check_place(w, m->states_at, result * STK_TRAIN_STATES);
	}
	inside(w, data, 3);
}

static void
evaluation(wire *w, stk_evaluation *e)
{
	e->rows = u64(w, e->rows);
	e->levels = (int) within(w, (uint32_t) e->levels, 0, STK_MAX_LEVELS, "number of levels");
	e->mse = real(w, e->mse, "error");
	e->relative_error = real(w, e->relative_error, "relative error");
	e->ids = u64(w, e->ids);
	e->unique_fraction = real(w, e->unique_fraction, "share of ids");
	e->collision_rate = real(w, e->collision_rate, "collision rate");
	e->largest = u64(w, e->largest);
	e->entropy = real(w, e->entropy, "entropy");
	e->perplexity = real(w, e->perplexity, "perplexity");
	if (!w->out && (e->ids > e->rows || e->largest > e->rows))
		refuse(w, "more ids than rows");
	for (int l = 0; l < e->levels; l++)
	{
		stk_level_evaluation *v = &e->level[l];

		v->mse = real(w, v->mse, "error");
		v->relative_error = real(w, v->relative_error, "relative error");
		v->size = within(w, v->size, 1, STK_MAX_CODES, "size of a level");
		v->used = within(w, v->used, 0, v->size, "number of codes in use");
		v->dead = within(w, v->dead, 0, v->size, "number of dead codes");
		v->usage = real(w, v->usage, "use");
		v->entropy = real(w, v->entropy, "entropy");
		v->perplexity = real(w, v->perplexity, "perplexity");
		v->gini = real(w, v->gini, "Gini coefficient");
		if (!w->out && v->used + v->dead != v->size)
			refuse(w, "codes in use and dead ones are not all codes");
	}
}

/* A measuring of the first `levels` of what the plan makes; or of nothing, where that may be. */
static void
check_evaluation(wire *w, const stk_evaluation *e, const stk_train_plan *p, int levels, bool none)
{
	if (none && e->rows == 0 && e->levels == 0)
		return;
	if (e->levels != levels)
		refuse(w, "%d levels were measured, expected %d", e->levels, levels);
	for (int l = 0; l < levels && !w->failed; l++)
		if (e->level[l].size != p->sizes[l])
			refuse(w, "measured level %d has size %u, expected %u", l, e->level[l].size,
				   p->sizes[l]);
}

static void
progress(wire *w, stk_train_report *m)
{
	m->level = level_or_none(w, m->level, STK_MAX_LEVELS);
	m->epoch = (int) within(w, (uint32_t) m->epoch, 0, INT_MAX, "epoch");
	m->objective = real(w, m->objective, "objective");
	m->empty = u32(w, m->empty);
	m->trained = (int) within(w, (uint32_t) m->trained, 0, STK_MAX_LEVELS, "number of levels");
	m->evaluated = flag(w, m->evaluated, "evaluation");
	if (m->evaluated)
		evaluation(w, &m->heldout);
	m->nnumbers = (int) within(w, (uint32_t) m->nnumbers, 0, STK_TRAIN_MAX_NUMBERS, "numbers");
	for (int i = 0; i < m->nnumbers; i++)
	{
		stk_train_number *n = &m->numbers[i];

		n->metric = (stk_train_metric) within(w, n->metric, 0, STK_TRAIN_METRICS - 1, "metric");
		n->heldout = flag(w, n->heldout, "held-out");
		n->level = level_or_none(w, n->level, STK_MAX_LEVELS);
		n->value = real(w, n->value, "value");
	}
	m->place = (int) within(w, (uint32_t) m->place, 0, STK_TRAIN_STATES, "place of a state");
}

static void
trained(wire *w, stk_trained *m)
{
	stk_data *data[] = {&m->result};

	evaluation(w, &m->rows);
	evaluation(w, &m->heldout);
	place(w, &m->result);
	inside(w, data, 1);
}

static void
failed(wire *w, stk_failed *m)
{
	m->failure =
		(stk_failure) within(w, m->failure, STK_FAILED_COMPUTATION, STK_FAILED_ENDING, "failure");
	m->status = (stk_status) within(w, m->status, STK_OK, STK_EDEVICE, "status");
	m->which = (stk_train_which) within(w, m->which, STK_ROWS_NONE, STK_ROWS_HELDOUT, "rows");
	m->row = u64(w, m->row);
	m->level = level_or_none(w, m->level, STK_MAX_LEVELS);
	text(w, m->message, sizeof(m->message), "message");
	if (!w->out && m->failure == STK_FAILED_COMPUTATION && m->status == STK_OK)
		refuse(w, "a computation is said to have failed without an error");
}

uint64_t
stk_train_result_bytes(const stk_train_plan *p)
{
	const stk_method *method = stk_method_of(p->method);
	uint64_t codewords = 0;
	uint64_t bytes;

	if (method->state_bytes)
		return method->state_bytes(p);
	for (int l = 0; l < p->levels; l++)
		if (__builtin_add_overflow(codewords, p->sizes[l], &codewords))
			return 0;
	if (__builtin_mul_overflow((uint64_t) p->dim, sizeof(float), &bytes) ||
		__builtin_add_overflow(bytes, sizeof(double), &bytes) ||
		__builtin_mul_overflow(bytes, codewords, &bytes))
		return 0;
	return bytes;
}

uint64_t
stk_search_row_bytes(const stk_search_message *m)
{
	return terms_of(m) * (m->norm == STK_NORM_MASKED ? sizeof(float) : sizeof(double));
}

bool
stk_encode_needs_file(const stk_encode *m)
{
	return m->rows.in_file || codes_bytes(m->n, m->levels) > STK_INLINE_MAX;
}

bool
stk_train_needs_file(const stk_train_message *m)
{
	return m->rows.in_file || m->heldout.in_file || m->start.in_file ||
		   m->plan.checkpoint_every > 0 || stk_train_result_bytes(&m->plan) > STK_INLINE_MAX;
}

bool
stk_search_needs_file(const stk_search_message *m)
{
	return m->terms.in_file || stk_found_bytes(m->n, m->k, m->width) > STK_INLINE_MAX;
}

size_t
stk_write_header(uint8_t *out, const stk_header *h)
{
	wire w = {.out = out};
	stk_header copy = *h;

	header(&w, &copy);
	return w.at;
}

size_t
stk_write_empty(uint8_t *out, stk_kind kind, uint64_t request)
{
	wire w = writer(out);

	return written(&w, kind, request, false);
}

/* A message is written from a copy, since what describes it also reads. */
#define WRITER(name, type, kind, with_file)                                                        \
	size_t stk_write_##name(uint8_t *out, uint64_t request, const type *m)                         \
	{                                                                                              \
		wire w = writer(out);                                                                      \
		type copy = *m;                                                                            \
                                                                                                   \
		name(&w, &copy);                                                                           \
		return written(&w, kind, request, with_file);                                              \
	}

WRITER(hello, stk_hello, STK_MSG_HELLO, false)
WRITER(welcome, stk_welcome, STK_MSG_WELCOME, false)
WRITER(pong, stk_pong, STK_MSG_PONG, false)
WRITER(statistics, stk_statistics, STK_MSG_STATISTICS_ARE, false)
WRITER(configure, stk_configure, STK_MSG_CONFIGURE, false)
WRITER(load, stk_load, STK_MSG_LOAD, m->data.in_file)
WRITER(encode, stk_encode, STK_MSG_ENCODE, stk_encode_needs_file(m))
WRITER(codes, stk_codes, STK_MSG_CODES, false)
WRITER(search, stk_search_message, STK_MSG_SEARCH, stk_search_needs_file(m))
WRITER(found, stk_found, STK_MSG_FOUND, false)
WRITER(train, stk_train_message, STK_MSG_TRAIN, stk_train_needs_file(m))
WRITER(progress, stk_train_report, STK_MSG_PROGRESS, false)
WRITER(trained, stk_trained, STK_MSG_TRAINED, false)
WRITER(failed, stk_failed, STK_MSG_FAILED, false)

size_t
stk_write_trie(uint8_t *out, uint64_t request, const stk_load *m)
{
	wire w = writer(out);
	stk_load copy = *m;

	load(&w, &copy);
	return written(&w, STK_MSG_TRIE, request, m->data.in_file);
}

stk_status
stk_read_header(const uint8_t *in, stk_header *h, stk_error *err)
{
	wire w = reader(in, STK_HEADER_BYTES, err);

	memset(h, 0, sizeof(*h));
	header(&w, h);
	return finish(&w);
}

#define READER(name, type)                                                                         \
	stk_status stk_read_##name(const uint8_t *body, size_t bytes, type *m, stk_error *err)         \
	{                                                                                              \
		wire w = reader(body, bytes, err);                                                         \
                                                                                                   \
		memset(m, 0, sizeof(*m));                                                                  \
		name(&w, m);                                                                               \
		return finish(&w);                                                                         \
	}

READER(hello, stk_hello)
READER(welcome, stk_welcome)
READER(pong, stk_pong)
READER(statistics, stk_statistics)
READER(configure, stk_configure)
READER(load, stk_load)
READER(encode, stk_encode)
READER(search, stk_search_message)
READER(train, stk_train_message)
READER(failed, stk_failed)

stk_status
stk_read_codes(const uint8_t *body, size_t bytes, uint32_t n, int levels, stk_codes *m,
			   stk_error *err)
{
	wire w = reader(body, bytes, err);

	memset(m, 0, sizeof(*m));
	codes(&w, m);
	check_answer(&w, &m->codes, codes_bytes(n, levels), "codes");
	return finish(&w);
}

stk_status
stk_read_found(const uint8_t *body, size_t bytes, const stk_search_message *request, stk_found *m,
			   stk_error *err)
{
	wire w = reader(body, bytes, err);

	memset(m, 0, sizeof(*m));
	found(&w, m);
	check_answer(&w, &m->found, stk_found_bytes(request->n, request->k, request->width),
				 "ids found");
	return finish(&w);
}

stk_status
stk_read_progress(const uint8_t *body, size_t bytes, const stk_train_plan *p, stk_train_report *m,
				  stk_error *err)
{
	wire w = reader(body, bytes, err);
	int last;

	memset(m, 0, sizeof(*m));
	progress(&w, m);
	/* Refinement reports its rounds, the encoding before them and the last one. */
	last = m->level < 0 ? p->refine + 1 : p->epochs;
	if (m->level >= p->levels || m->trained > p->levels || m->epoch > last)
		refuse(&w, "epoch %d of level %d, with %d levels trained, is not of this training",
			   m->epoch, m->level, m->trained);
	if (m->evaluated)
		check_evaluation(&w, &m->heldout, p, m->trained, false);
	for (int i = 0; i < m->nnumbers; i++)
		if (m->numbers[i].level >= p->levels)
			refuse(&w, "a number of level %d is not of this training", m->numbers[i].level);
	if (m->place > 0 && p->checkpoint_every == 0)
		refuse(&w, "a state that nobody asked for");
	return finish(&w);
}

stk_status
stk_read_trained(const uint8_t *body, size_t bytes, const stk_train_plan *p, stk_trained *m,
				 stk_error *err)
{
	wire w = reader(body, bytes, err);

	memset(m, 0, sizeof(*m));
	trained(&w, m);
	check_evaluation(&w, &m->rows, p, p->levels, false);
	check_evaluation(&w, &m->heldout, p, p->levels, true);
	check_answer(&w, &m->result, stk_train_result_bytes(p), "codewords");
	return finish(&w);
}
