/*
 * Any message of the protocol, for tests that treat all kinds alike.
 */
#ifndef TEST_MESSAGES_H
#define TEST_MESSAGES_H

#include <math.h>

#include "worker/found.h"
#include "worker/protocol.h"

typedef struct message
{
	stk_kind kind;
	union
	{
		stk_hello hello;
		stk_welcome welcome;
		stk_pong pong;
		stk_statistics statistics;
		stk_configure configure;
		stk_load load;
		stk_encode encode;
		stk_codes codes;
		stk_search_message search;
		stk_found found;
		stk_train_message train;
		stk_train_report progress;
		stk_trained trained;
		stk_failed failed;
	} as;
} message;

/* The request that an answer must fit. */
typedef struct asked
{
	uint32_t n;
	int levels;
	stk_train_plan plan;
	stk_search_message search;
} asked;

static const stk_kind message_kinds[] = {
	STK_MSG_HELLO,   STK_MSG_WELCOME, STK_MSG_PONG,   STK_MSG_STATISTICS_ARE, STK_MSG_CONFIGURE,
	STK_MSG_LOAD,    STK_MSG_ENCODE,  STK_MSG_CODES,  STK_MSG_TRAIN,          STK_MSG_PROGRESS,
	STK_MSG_TRAINED, STK_MSG_TRIE,    STK_MSG_SEARCH, STK_MSG_FOUND,          STK_MSG_FAILED};

#define MESSAGE_KINDS ((int) (sizeof(message_kinds) / sizeof(message_kinds[0])))

static inline stk_status
message_read(stk_kind kind, const uint8_t *body, size_t bytes, const asked *q, message *m,
			 stk_error *err)
{
	m->kind = kind;
	switch (kind)
	{
		case STK_MSG_HELLO:
			return stk_read_hello(body, bytes, &m->as.hello, err);
		case STK_MSG_WELCOME:
			return stk_read_welcome(body, bytes, &m->as.welcome, err);
		case STK_MSG_PONG:
			return stk_read_pong(body, bytes, &m->as.pong, err);
		case STK_MSG_STATISTICS_ARE:
			return stk_read_statistics(body, bytes, &m->as.statistics, err);
		case STK_MSG_CONFIGURE:
			return stk_read_configure(body, bytes, &m->as.configure, err);
		case STK_MSG_LOAD:
		case STK_MSG_TRIE:
			return stk_read_load(body, bytes, &m->as.load, err);
		case STK_MSG_ENCODE:
			return stk_read_encode(body, bytes, &m->as.encode, err);
		case STK_MSG_CODES:
			return stk_read_codes(body, bytes, q->n, q->levels, &m->as.codes, err);
		case STK_MSG_SEARCH:
			return stk_read_search(body, bytes, &m->as.search, err);
		case STK_MSG_FOUND:
			return stk_read_found(body, bytes, &q->search, &m->as.found, err);
		case STK_MSG_TRAIN:
			return stk_read_train(body, bytes, &m->as.train, err);
		case STK_MSG_PROGRESS:
			return stk_read_progress(body, bytes, &q->plan, &m->as.progress, err);
		case STK_MSG_TRAINED:
			return stk_read_trained(body, bytes, &q->plan, &m->as.trained, err);
		case STK_MSG_FAILED:
			return stk_read_failed(body, bytes, &m->as.failed, err);
		default:
			return stk_fail(err, STK_EINVAL, "kind %d has no body", (int) kind);
	}
}

static inline size_t
message_write(uint8_t *out, uint64_t request, const message *m)
{
	switch (m->kind)
	{
		case STK_MSG_HELLO:
			return stk_write_hello(out, request, &m->as.hello);
		case STK_MSG_WELCOME:
			return stk_write_welcome(out, request, &m->as.welcome);
		case STK_MSG_PONG:
			return stk_write_pong(out, request, &m->as.pong);
		case STK_MSG_STATISTICS_ARE:
			return stk_write_statistics(out, request, &m->as.statistics);
		case STK_MSG_CONFIGURE:
			return stk_write_configure(out, request, &m->as.configure);
		case STK_MSG_LOAD:
			return stk_write_load(out, request, &m->as.load);
		case STK_MSG_ENCODE:
			return stk_write_encode(out, request, &m->as.encode);
		case STK_MSG_CODES:
			return stk_write_codes(out, request, &m->as.codes);
		case STK_MSG_TRIE:
			return stk_write_trie(out, request, &m->as.load);
		case STK_MSG_SEARCH:
			return stk_write_search(out, request, &m->as.search);
		case STK_MSG_FOUND:
			return stk_write_found(out, request, &m->as.found);
		case STK_MSG_TRAIN:
			return stk_write_train(out, request, &m->as.train);
		case STK_MSG_PROGRESS:
			return stk_write_progress(out, request, &m->as.progress);
		case STK_MSG_TRAINED:
			return stk_write_trained(out, request, &m->as.trained);
		case STK_MSG_FAILED:
			return stk_write_failed(out, request, &m->as.failed);
		default:
			return stk_write_empty(out, m->kind, request);
	}
}

/* The data that a message may have; returns how many. */
static inline int
message_data(message *m, stk_data *data[3])
{
	switch (m->kind)
	{
		case STK_MSG_LOAD:
		case STK_MSG_TRIE:
			data[0] = &m->as.load.data;
			return 1;
		case STK_MSG_ENCODE:
			data[0] = &m->as.encode.rows;
			return 1;
		case STK_MSG_CODES:
			data[0] = &m->as.codes.codes;
			return 1;
		case STK_MSG_SEARCH:
			data[0] = &m->as.search.terms;
			return 1;
		case STK_MSG_FOUND:
			data[0] = &m->as.found.found;
			return 1;
		case STK_MSG_TRAIN:
			data[0] = &m->as.train.rows;
			data[1] = &m->as.train.heldout;
			data[2] = &m->as.train.start;
			return 3;
		case STK_MSG_TRAINED:
			data[0] = &m->as.trained.result;
			return 1;
		default:
			return 0;
	}
}

/* Can it be computed with? Said apart from how protocol.c checks it. */

static inline bool
data_holds(const stk_data *d, uint64_t expected, const uint8_t *body, size_t bytes)
{
	if (d->bytes != expected)
		return false;
	if (d->in_file)
		return d->offset % 8 == 0 && d->bytes > 0 &&
			   (__int128) d->offset + d->bytes <= (__int128) INT64_MAX && !d->inside;
	return d->offset == 0 && d->bytes <= STK_INLINE_MAX &&
		   (d->bytes == 0 || (d->inside >= body && d->inside + d->bytes <= body + bytes));
}

static inline bool
answer_holds(uint64_t at, uint64_t bytes)
{
	return bytes <= STK_INLINE_MAX ? at == 0
								   : at % 8 == 0 && (__int128) at + bytes <= (__int128) INT64_MAX;
}

static inline bool
text_holds(const char *t, size_t size)
{
	size_t n = strnlen(t, size);

	for (size_t i = 0; i < n; i++)
		if (t[i] < 32 || t[i] > 126)
			return false;
	return n < size;
}

static inline bool
evaluation_holds(const stk_evaluation *e, const stk_train_plan *p, int levels)
{
	if (e->levels != levels || e->ids > e->rows || isnan(e->mse) || isnan(e->perplexity))
		return false;
	for (int l = 0; l < levels; l++)
		if (e->level[l].size != p->sizes[l] || e->level[l].used > p->sizes[l] ||
			e->level[l].dead != p->sizes[l] - e->level[l].used || isnan(e->level[l].gini))
			return false;
	return true;
}

static inline uint64_t
result_bytes(const stk_train_plan *p)
{
	uint64_t codewords = 0;

	for (int l = 0; l < p->levels; l++)
		codewords += p->sizes[l];
	return codewords * ((uint64_t) p->dim * 4 + 8);
}

static inline bool
train_holds(const stk_train_message *m, const uint8_t *body, size_t bytes)
{
	const stk_train_plan *p = &m->plan;
	unsigned __int128 rows = (unsigned __int128) m->n * (uint64_t) p->dim * 4;
	unsigned __int128 heldout = (unsigned __int128) m->heldout_n * (uint64_t) p->dim * 4;
	stk_error err;

	return stk_train_check(p, &err) == STK_OK && m->n >= 1 && rows <= INT64_MAX &&
		   heldout <= INT64_MAX && (int) m->device <= STK_DEVICE_CUDA &&
		   data_holds(&m->rows, (uint64_t) rows, body, bytes) &&
		   data_holds(&m->heldout, (uint64_t) heldout, body, bytes) &&
		   data_holds(&m->start, p->resume ? result_bytes(p) : 0, body, bytes) &&
		   answer_holds(m->result_at, result_bytes(p));
}

static inline uint64_t
found_bytes(const stk_search_message *m)
{
	uint64_t ids = (uint64_t) m->n * m->k;
	uint64_t bytes = ids * 8 + ids * (uint64_t) m->width * 2 + ids;

	while (bytes % 4 != 0)
		bytes++;
	return bytes + (uint64_t) m->n * 5;
}

static inline bool
search_holds(const stk_search_message *m, const uint8_t *body, size_t bytes)
{
	uint64_t terms = 0;

	if (m->levels < 1 || m->levels > STK_MAX_LEVELS)
		return false;
	for (int l = 0; l < m->levels; l++)
	{
		if (m->sizes[l] < 1 || m->sizes[l] > STK_MAX_CODES)
			return false;
		terms += m->sizes[l];
	}
	terms *= (uint64_t) m->n * (m->norm == STK_NORM_MASKED ? 4 : 8);
	return (int) m->device <= STK_DEVICE_CUDA && m->n >= 1 && m->n <= STK_SEARCH_MAX_QUERIES &&
		   (int) m->norm <= STK_NORM_MASKED && m->beam_size >= 1 && m->beam_size <= STK_MAX_BEAM &&
		   m->k >= 1 && m->k <= STK_SEARCH_MAX_IDS && m->width >= 1 && m->width <= STK_MAX_LEVELS &&
		   terms <= STK_SEARCH_MAX_BYTES && found_bytes(m) <= STK_SEARCH_MAX_BYTES &&
		   data_holds(&m->terms, terms, body, bytes) && answer_holds(m->found_at, found_bytes(m));
}

static inline bool
message_holds(const message *m, const asked *q, const uint8_t *body, size_t bytes)
{
	const stk_encode *e = &m->as.encode;
	const stk_train_report *r = &m->as.progress;
	const stk_failed *f = &m->as.failed;

	switch (m->kind)
	{
		case STK_MSG_HELLO:
			return text_holds(m->as.hello.program, STK_TEXT_BYTES);
		case STK_MSG_WELCOME:
			return m->as.welcome.pid >= 1 && m->as.welcome.pid <= INT32_MAX &&
				   m->as.welcome.threads >= 1 && m->as.welcome.threads <= STK_MAX_THREADS &&
				   m->as.welcome.window >= 1 && m->as.welcome.window <= STK_MAX_WINDOW &&
				   m->as.welcome.rate > 0 && isfinite(m->as.welcome.rate) &&
				   text_holds(m->as.welcome.program, STK_TEXT_BYTES) &&
				   text_holds(m->as.welcome.engine, STK_TEXT_BYTES) &&
				   text_holds(m->as.welcome.device, STK_TEXT_BYTES) &&
				   text_holds(m->as.welcome.no_cuda, STK_TEXT_BYTES);
		case STK_MSG_PONG:
			return (int) m->as.pong.state <= STK_WORK_RUNNING &&
				   (m->as.pong.request == 0) == (m->as.pong.state == STK_WORK_NONE);
		case STK_MSG_STATISTICS_ARE:
			return text_holds(m->as.statistics.last_error, STK_TEXT_BYTES) &&
				   text_holds(m->as.statistics.engine, STK_TEXT_BYTES) &&
				   text_holds(m->as.statistics.device, STK_TEXT_BYTES);
		case STK_MSG_CONFIGURE:
			return m->as.configure.threads >= 1 && m->as.configure.threads <= STK_MAX_THREADS &&
				   m->as.configure.batch_max >= 1 && m->as.configure.batch_max <= STK_MAX_BATCH &&
				   m->as.configure.batch_wait_us <= STK_MAX_BATCH_WAIT_US;
		case STK_MSG_SEARCH:
			return search_holds(&m->as.search, body, bytes);
		case STK_MSG_FOUND:
			return data_holds(&m->as.found.found, found_bytes(&q->search), body, bytes);
		case STK_MSG_LOAD:
		case STK_MSG_TRIE:
			return m->as.load.data.bytes >= 1 &&
				   data_holds(&m->as.load.data, m->as.load.data.bytes, body, bytes);
		case STK_MSG_ENCODE:
			return (int) e->device <= STK_DEVICE_CUDA && e->beam >= 1 &&
				   e->beam <= STK_ENCODE_MAX_BEAM && e->dim >= 1 && e->dim <= STK_MAX_DIM &&
				   e->levels >= 1 && e->levels <= STK_MAX_LEVELS && e->n >= 1 &&
				   e->n <= STK_ENCODE_MAX_ROWS &&
				   data_holds(&e->rows, (uint64_t) e->n * (uint64_t) e->dim * 4, body, bytes) &&
				   answer_holds(e->codes_at, (uint64_t) e->n * (uint64_t) e->levels * 2);
		case STK_MSG_CODES:
			return data_holds(&m->as.codes.codes, (uint64_t) q->n * (uint64_t) q->levels * 2, body,
							  bytes);
		case STK_MSG_TRAIN:
			return train_holds(&m->as.train, body, bytes);
		case STK_MSG_PROGRESS:
			return r->level >= -1 && r->level < q->plan.levels && r->epoch >= 0 &&
				   r->epoch <= (r->level < 0 ? q->plan.refine + 1 : q->plan.epochs) &&
				   !isnan(r->objective) && r->trained >= 0 && r->trained <= q->plan.levels &&
				   (!r->evaluated || evaluation_holds(&r->heldout, &q->plan, r->trained));
		case STK_MSG_TRAINED:
			return evaluation_holds(&m->as.trained.rows, &q->plan, q->plan.levels) &&
				   (evaluation_holds(&m->as.trained.heldout, &q->plan, q->plan.levels) ||
					(m->as.trained.heldout.rows == 0 && m->as.trained.heldout.levels == 0)) &&
				   data_holds(&m->as.trained.result, result_bytes(&q->plan), body, bytes);
		case STK_MSG_FAILED:
			return f->failure >= STK_FAILED_COMPUTATION && f->failure <= STK_FAILED_ENDING &&
				   f->status <= STK_EDEVICE && f->which <= STK_ROWS_HELDOUT && f->level >= -1 &&
				   f->level < STK_MAX_LEVELS && text_holds(f->message, sizeof(f->message));
		default:
			return false;
	}
}

#endif
