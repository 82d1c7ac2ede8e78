/* protocol: every message there and back, cut off, and with any byte changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "core/rqvae.h"
#include "messages.h"
#include "rows.h"

#define ROOM (STK_HEADER_BYTES + STK_BODY_MAX)

static uint8_t data[STK_INLINE_MAX + 1];

static stk_data
in_body(uint64_t bytes)
{
	return (stk_data){.bytes = bytes, .inside = data};
}

static stk_data
in_file(uint64_t offset, uint64_t bytes)
{
	return (stk_data){.in_file = true, .offset = offset, .bytes = bytes};
}

static stk_train_plan
small_plan(void)
{
	return (stk_train_plan){.method = STK_TRAIN_RQKMEANS,
							.metric = STK_L2,
							.levels = 2,
							.sizes = {3, 2},
							.dim = 4,
							.epochs = 7,
							.batch_size = 16,
							.resume = true,
							.seed = UINT64_MAX,
							.beam = 1};
}

/* Everything as large as it gets. */
static stk_train_plan
large_plan(void)
{
	stk_train_plan p = {.method = STK_TRAIN_EMA,
						.metric = STK_COSINE,
						.levels = STK_MAX_LEVELS,
						.dim = STK_MAX_DIM,
						.epochs = 1000,
						.batch_size = UINT32_MAX,
						.init = STK_INIT_KMEANSII,
						.decay = 1 - DBL_EPSILON,
						.restart_after = UINT32_MAX,
						.refine = 100,
						.beam = 4,
						.eval_every = INT32_MAX};

	for (int l = 0; l < STK_MAX_LEVELS; l++)
		p.sizes[l] = STK_MAX_CODES;
	return p;
}

static void
text_of(char *t, size_t size)
{
	for (size_t i = 0; i + 1 < size; i++)
		t[i] = (char) (' ' + i % 95);
}

static stk_evaluation
evaluation_of(const stk_train_plan *p, int levels)
{
	stk_evaluation e = {.rows = UINT64_MAX,
						.levels = levels,
						.mse = DBL_MIN,
						.relative_error = DBL_MAX,
						.ids = UINT64_MAX,
						.unique_fraction = 1,
						.largest = 1,
						.entropy = -0.0,
						.perplexity = INFINITY};

	for (int l = 0; l < levels; l++)
		e.level[l] = (stk_level_evaluation){.mse = l,
											.size = p->sizes[l],
											.used = (uint32_t) l % p->sizes[l],
											.dead = p->sizes[l] - (uint32_t) l % p->sizes[l],
											.gini = 0.5};
	return e;
}

/* Two samples of each kind: the least and the most that it can say. */
static void
sample(stk_kind kind, bool most, message *m, asked *q)
{
	memset(m, 0, sizeof(*m));
	memset(q, 0, sizeof(*q));
	m->kind = kind;
	q->n = most ? STK_ENCODE_MAX_ROWS : 1;
	q->levels = most ? STK_MAX_LEVELS : 1;
	q->plan = most ? large_plan() : small_plan();
	q->search = most ? (stk_search_message){.n = 70, .k = 30, .width = 32}
					 : (stk_search_message){.n = 1, .k = 1, .width = 1};
	switch (kind)
	{
		case STK_MSG_HELLO:
			m->as.hello.version = most ? UINT16_MAX : 0;
			if (most)
				text_of(m->as.hello.program, STK_TEXT_BYTES);
			break;
		case STK_MSG_WELCOME:
			m->as.welcome = (stk_welcome){.version = 1,
										  .program = "0.1.0",
										  .pid = most ? INT32_MAX : 1,
										  .threads = most ? STK_MAX_THREADS : 1,
										  .window = most ? STK_MAX_WINDOW : 1,
										  .memory = most ? UINT64_MAX : 0,
										  .rate = most ? DBL_MAX : DBL_TRUE_MIN,
										  .engine = "cpu"};
			if (most)
			{
				text_of(m->as.welcome.device, STK_TEXT_BYTES);
				text_of(m->as.welcome.no_cuda, STK_TEXT_BYTES);
				m->as.welcome.cuda = true;
			}
			break;
		case STK_MSG_PONG:
			if (most)
				m->as.pong = (stk_pong){STK_WORK_RUNNING, UINT64_MAX, UINT64_MAX};
			break;
		case STK_MSG_STATISTICS_ARE:
			if (most)
				memset(&m->as.statistics, 0xff, offsetof(stk_statistics, engine));
			m->as.statistics.pid = most ? INT32_MAX : 1;
			m->as.statistics.threads = most ? STK_MAX_THREADS : 1;
			if (most)
				text_of(m->as.statistics.last_error, STK_TEXT_BYTES);
			break;
		case STK_MSG_CONFIGURE:
			m->as.configure = most ? (stk_configure){STK_MAX_THREADS, UINT64_MAX, STK_MAX_BATCH,
													 STK_MAX_BATCH_WAIT_US}
								   : (stk_configure){1, 0, 1, 0};
			break;
		case STK_MSG_LOAD:
		case STK_MSG_TRIE:
			memset(m->as.load.hash, most ? 0xff : 0, STK_HASH_BYTES);
			m->as.load.data = most ? in_file(INT64_MAX - 7, 7) : in_body(1);
			break;
		case STK_MSG_ENCODE:
			if (most)
			{
				uint64_t rows = (uint64_t) STK_ENCODE_MAX_ROWS * STK_MAX_DIM * 4;
				uint64_t codes = (uint64_t) STK_ENCODE_MAX_ROWS * STK_MAX_LEVELS * 2;

				m->as.encode = (stk_encode){.device = STK_DEVICE_CUDA,
											.beam = STK_ENCODE_MAX_BEAM,
											.dim = STK_MAX_DIM,
											.levels = STK_MAX_LEVELS,
											.n = STK_ENCODE_MAX_ROWS,
											.rows = in_file((INT64_MAX - rows) / 8 * 8, rows),
											.codes_at = (INT64_MAX - codes) / 8 * 8};
				memset(m->as.encode.hash, 0xff, STK_HASH_BYTES);
			}
			else
				m->as.encode =
					(stk_encode){.beam = 1, .dim = 1, .levels = 1, .n = 1, .rows = in_body(4)};
			break;
		case STK_MSG_CODES:
			m->as.codes.codes =
				most ? in_file(8, (uint64_t) q->n * (uint64_t) q->levels * 2) : in_body(2);
			break;
		case STK_MSG_SEARCH:
			m->as.search = (stk_search_message){.n = most ? STK_SEARCH_MAX_QUERIES : 1,
												.levels = most ? STK_MAX_LEVELS : 1,
												.tokenizer = most ? UINT32_MAX : 0,
												.norm = most ? STK_NORM_NONE : STK_NORM_MASKED,
												.device = most ? STK_DEVICE_CUDA : STK_DEVICE_AUTO,
												.beam_size = most ? STK_MAX_BEAM : 1,
												.k = most ? 224 : 1,
												.width = most ? STK_MAX_LEVELS : 1};
			memset(m->as.search.hash, most ? 0xff : 0, STK_HASH_BYTES);
			for (int l = 0; l < m->as.search.levels; l++)
				m->as.search.sizes[l] = most ? 64 : 1;
			/* As many bytes as there can be. */
			m->as.search.terms = most ? in_file(8, STK_SEARCH_MAX_BYTES) : in_body(4);
			m->as.search.found_at = most ? 1ull << 62 : 0;
			break;
		case STK_MSG_FOUND:
			m->as.found.found =
				most ? in_file(8, found_bytes(&q->search)) : in_body(found_bytes(&q->search));
			break;
		case STK_MSG_TRAIN:
			m->as.train.plan = q->plan;
			m->as.train.n = most ? (INT64_MAX / (4 * STK_MAX_DIM)) : 2;
			m->as.train.rows = most ? in_file(0, m->as.train.n * 4 * STK_MAX_DIM) : in_body(32);
			if (most)
			{
				m->as.train.device = STK_DEVICE_CUDA;
				m->as.train.heldout_n = m->as.train.n - 1;
				m->as.train.heldout = in_file(8, m->as.train.heldout_n * 4 * STK_MAX_DIM);
				m->as.train.result_at = 1ull << 62;
			}
			else
				m->as.train.start = in_body(result_bytes(&q->plan));
			break;
		case STK_MSG_PROGRESS:
			m->as.progress.level = most ? -1 : 0;
			if (most)
			{
				m->as.progress.epoch = q->plan.refine + 1;
				m->as.progress.objective = -INFINITY;
				m->as.progress.empty = UINT32_MAX;
				m->as.progress.trained = STK_MAX_LEVELS;
				m->as.progress.evaluated = true;
				m->as.progress.heldout = evaluation_of(&q->plan, STK_MAX_LEVELS);
				m->as.progress.nnumbers = STK_TRAIN_MAX_NUMBERS;
				for (int i = 0; i < STK_TRAIN_MAX_NUMBERS; i++)
				{
					m->as.progress.numbers[i].metric = (stk_train_metric) (i % STK_TRAIN_METRICS);
					m->as.progress.numbers[i].heldout = i % 2;
					m->as.progress.numbers[i].level = i % (STK_MAX_LEVELS + 1) - 1;
					m->as.progress.numbers[i].value = i / 3.0;
				}
			}
			break;
		case STK_MSG_TRAINED:
			m->as.trained.rows = evaluation_of(&q->plan, q->plan.levels);
			if (most)
				m->as.trained.heldout = evaluation_of(&q->plan, q->plan.levels);
			m->as.trained.result =
				most ? in_file(16, result_bytes(&q->plan)) : in_body(result_bytes(&q->plan));
			break;
		default:
			m->as.failed.failure = most ? STK_FAILED_ENDING : STK_FAILED_COMPUTATION;
			m->as.failed.status = most ? STK_EDEVICE : STK_EINVAL;
			m->as.failed.which = most ? STK_ROWS_HELDOUT : STK_ROWS_NONE;
			m->as.failed.row = most ? UINT64_MAX : 0;
			m->as.failed.level = most ? STK_MAX_LEVELS - 1 : -1;
			if (most)
				text_of(m->as.failed.message, sizeof(m->as.failed.message));
	}
}

/*
 * All of an RQ-VAE's plan there and back, with room for its states; and a state that nobody wants.
 */
static void
networks_travel(void **state)
{
	uint8_t *out = malloc(ROOM);
	stk_train_plan plan = {.method = STK_TRAIN_RQVAE, .levels = 2, .sizes = {3, 2}, .dim = 4};
	stk_train_message m = {.n = 1ull << 32, .states_at = 1ull << 40, .result_at = 1ull << 20};
	stk_train_message back;
	stk_train_report report = {.epoch = 1, .trained = 2, .place = STK_TRAIN_STATES};
	stk_train_report got;
	stk_error err = {0};
	size_t len;

	(void) state;
	stk_rqvae_defaults(STK_RQVAE_OURS, &plan);
	plan.beam = 1;
	plan.checkpoint_every = 3;
	plan.rqvae.clip = 1.5;
	plan.rqvae.diversity = 0.125;
	plan.rqvae.learnable = true;
	plan.rqvae.delay = 2;
	plan.rqvae.patience = 7;
	m.plan = plan;
	m.rows = in_file(8, m.n * 4 * sizeof(float));
	len = stk_write_train(out, 1, &m);
	assert_int_equal(stk_read_train(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &back, &err),
					 STK_OK);
	assert_memory_equal(&back.plan, &plan, sizeof(plan));
	assert_int_equal(back.states_at, m.states_at);
	assert_int_equal(stk_train_result_bytes(&plan), stk_rqvae_state_bytes(&plan));
	assert_true(stk_train_needs_file(&back));
	m.states_at = 4;
	len = stk_write_train(out, 1, &m);
	assert_int_equal(stk_read_train(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &back, &err),
					 STK_ECORRUPT);

	len = stk_write_progress(out, 1, &report) - STK_HEADER_BYTES;
	assert_int_equal(stk_read_progress(out + STK_HEADER_BYTES, len, &plan, &got, &err), STK_OK);
	assert_int_equal(got.place, STK_TRAIN_STATES);
	plan.checkpoint_every = 0;
	assert_int_equal(stk_read_progress(out + STK_HEADER_BYTES, len, &plan, &got, &err),
					 STK_ECORRUPT);
	plan.checkpoint_every = 1;
	report.nnumbers = 1;
	report.numbers[0].level = 2;
	len = stk_write_progress(out, 1, &report) - STK_HEADER_BYTES;
	assert_int_equal(stk_read_progress(out + STK_HEADER_BYTES, len, &plan, &got, &err),
					 STK_ECORRUPT);
	free(out);
}

/* Every sample, written, to a function. */
static void
each_sample(void (*check)(const message *m, const asked *q, const uint8_t *body, size_t bytes))
{
	uint8_t *out = malloc(ROOM);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 7);
	for (int k = 0; k < MESSAGE_KINDS; k++)
	{
		for (int most = 0; most < 2; most++)
		{
			message m;
			asked q;
			stk_header h;
			stk_error err = {0};
			size_t len;

			sample(message_kinds[k], most, &m, &q);
			len = message_write(out, 42, &m);
			assert_true(len <= ROOM);
			assert_int_equal(stk_read_header(out, &h, &err), STK_OK);
			assert_int_equal(h.kind, m.kind);
			assert_int_equal(h.request, 42);
			assert_int_equal(h.bytes, len - STK_HEADER_BYTES);
			check(&m, &q, out + STK_HEADER_BYTES, h.bytes);
		}
	}
	free(out);
}

/* Read from a block that ends where the message ends. */
static stk_status
read_exactly(stk_kind kind, const uint8_t *body, size_t bytes, const asked *q, message *m,
			 stk_error *err)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	stk_status status;

	memcpy(copy, body, bytes);
	status = message_read(kind, copy, bytes, q, m, err);
	free(copy);
	return status;
}

static void
check_round_trip(const message *m, const asked *q, const uint8_t *body, size_t bytes)
{
	message in, back = *m;
	stk_data *sent[3], *got[3];
	stk_error err = {0};
	int n = message_data(&back, sent);

	memset(&in, 0, sizeof(in));
	if (message_read(m->kind, body, bytes, q, &in, &err) != STK_OK)
		fail_msg("kind %d: %s", m->kind, err.message);
	assert_true(message_holds(&in, q, body, bytes));
	assert_int_equal(message_data(&in, got), n);
	for (int i = 0; i < n; i++)
	{
		if (!sent[i]->in_file && sent[i]->bytes > 0)
			assert_memory_equal(got[i]->inside, sent[i]->inside, sent[i]->bytes);
		got[i]->inside = sent[i]->inside = NULL;
	}
	assert_memory_equal(&in, &back, sizeof(in));
}

static void
round_trips(void **state)
{
	(void) state;
	each_sample(check_round_trip);
}

static void
check_cuts(const message *m, const asked *q, const uint8_t *body, size_t bytes)
{
	stk_error err = {0};
	message in;

	for (size_t cut = 0; cut < bytes; cut++)
	{
		assert_int_equal(read_exactly(m->kind, body, cut, q, &in, &err), STK_ECORRUPT);
		assert_string_equal(err.message, "message is cut off");
	}
	assert_int_equal(message_read(m->kind, body, bytes + 1, q, &in, &err), STK_ECORRUPT);
}

static void
cuts_are_refused(void **state)
{
	(void) state;
	each_sample(check_cuts);
}

/* What is accepted can be computed with, and says all that its bytes say: written again, they are
 * the same. */
static void
check_changes(const message *m, const asked *q, const uint8_t *body, size_t bytes)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	uint8_t *again = malloc(ROOM);
	int many = (int) unit_size(9, 9, 60);

	for (size_t i = 0; i < bytes; i++)
	{
		for (int change = 1; change < 256; change += change < 8 ? 1 : many)
		{
			stk_error err = {.level = -1};
			message in;
			stk_status status;

			memcpy(copy, body, bytes);
			copy[i] ^= (uint8_t) change;
			status = message_read(m->kind, copy, bytes, q, &in, &err);
			if (status != STK_OK)
			{
				assert_int_equal(status, STK_ECORRUPT);
				assert_true(err.message[0] != 0);
				continue;
			}
			if (!message_holds(&in, q, copy, bytes))
				fail_msg("kind %d, byte %zu: accepted as %02x", m->kind, i, copy[i]);
			assert_int_equal(message_write(again, 1, &in), STK_HEADER_BYTES + bytes);
			assert_memory_equal(again + STK_HEADER_BYTES, copy, bytes);
		}
	}
	free(again);
	free(copy);
}

static void
changes_are_refused_or_sound(void **state)
{
	(void) state;
	each_sample(check_changes);
}

/* What stays the same on every machine. */
static void
golden_bytes(void **state)
{
	static const uint8_t row[4] = {0, 0, 0x80, 0x3f};
	stk_encode m = {.device = STK_DEVICE_CPU,
					.beam = 2,
					.dim = 1,
					.levels = 3,
					.n = 1,
					.rows = {.bytes = 4, .inside = row}};
	uint8_t *out = malloc(ROOM);

	(void) state;
	memset(m.hash, 0xab, STK_HASH_BYTES);
	assert_int_equal(stk_write_encode(out, 0x0102030405060708, &m), 24 + 84);
	assert_hex(out, 24, "53544b31 06000000 00000000 0807060504030201 54000000");
	assert_hex(out + 24 + 32, 52,
			   "01000000 02000000 01000000 03000000 01000000"
			   "00000000 0000000000000000 0400000000000000"
			   "0000000000000000 0000803f");
	free(out);
}

static void
headers(void **state)
{
	const stk_header most = {
		.kind = UINT16_MAX, .with_file = true, .request = UINT64_MAX, .bytes = STK_BODY_MAX};
	uint8_t out[STK_HEADER_BYTES], again[STK_HEADER_BYTES];
	stk_header h;
	stk_error err;

	(void) state;
	assert_int_equal(stk_write_header(out, &most), STK_HEADER_BYTES);
	assert_int_equal(stk_read_header(out, &h, &err), STK_OK);
	assert_int_equal(h.kind, UINT16_MAX);
	assert_true(h.with_file);
	assert_int_equal(h.request, UINT64_MAX);
	assert_int_equal(h.bytes, STK_BODY_MAX);
	for (size_t i = 0; i < STK_HEADER_BYTES; i++)
	{
		for (int change = 1; change < 256; change++)
		{
			out[i] ^= (uint8_t) change;
			if (stk_read_header(out, &h, &err) == STK_OK)
			{
				assert_true(i >= 4 && h.bytes <= STK_BODY_MAX && h.request > 0);
				stk_write_header(again, &h);
				assert_memory_equal(again, out, STK_HEADER_BYTES);
			}
			out[i] ^= (uint8_t) change;
		}
	}
	assert_int_equal(stk_write_empty(out, STK_MSG_PING, 0), STK_HEADER_BYTES);
	assert_int_equal(stk_read_header(out, &h, &err), STK_ECORRUPT);
	assert_string_equal(err.message, "request has no number");
}

/* A message that its writer should not have sent is refused for this reason. */
static void
assert_refused(const message *m, const asked *q, const char *reason)
{
	uint8_t *out = malloc(ROOM);
	size_t len = message_write(out, 1, m);
	stk_error err = {0};
	message in;

	assert_int_equal(
		message_read(m->kind, out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, q, &in, &err),
		STK_ECORRUPT);
	assert_string_equal(err.message, reason);
	free(out);
}

static void
searches_refused(void **state)
{
	message m;
	asked q;
	stk_search_message *s = &m.as.search;

	(void) state;
	sample(STK_MSG_SEARCH, false, &m, &q);
	s->n = 0;
	assert_refused(&m, &q, "number of queries is 0, expected 1 to 65536");
	sample(STK_MSG_SEARCH, false, &m, &q);
	s->n = 2;
	assert_refused(&m, &q, "terms have 4 bytes, expected 8");
	s->norm = STK_NORM_FULL;
	s->n = 1;
	assert_refused(&m, &q, "terms have 4 bytes, expected 8");
	s->norm = (stk_norm) 3;
	assert_refused(&m, &q, "norm is 3, expected 0 to 2");
	sample(STK_MSG_SEARCH, false, &m, &q);
	s->sizes[0] = STK_MAX_CODES + 1;
	assert_refused(&m, &q, "size of a level is 65537, expected 1 to 65536");
	sample(STK_MSG_SEARCH, false, &m, &q);
	s->beam_size = STK_MAX_BEAM + 1;
	assert_refused(&m, &q, "beam is 1000001, expected 1 to 1000000");
	sample(STK_MSG_SEARCH, false, &m, &q);
	s->k = 0;
	assert_refused(&m, &q, "number of ids is 0, expected 1 to 1000000");
	sample(STK_MSG_SEARCH, false, &m, &q);
	s->width = 0;
	assert_refused(&m, &q, "codes of an id is 0, expected 1 to 32");
	sample(STK_MSG_SEARCH, true, &m, &q);
	s->k++;
	assert_refused(&m, &q, "a search has more than 1073741824 bytes");
	sample(STK_MSG_SEARCH, true, &m, &q);
	s->sizes[3]++;
	assert_refused(&m, &q, "terms have 1073741824 bytes, expected 1074266112");
	sample(STK_MSG_SEARCH, true, &m, &q);
	s->found_at = 3;
	assert_refused(&m, &q, "offset 3 is not a multiple of 8");
	sample(STK_MSG_FOUND, false, &m, &q);
	q.search.k = 2;
	assert_refused(&m, &q, "ids found have 17 bytes, expected 29");
	sample(STK_MSG_TRIE, false, &m, &q);
	m.as.load.data.bytes = 0;
	assert_refused(&m, &q, "what is to be kept is empty");
}

/* What one query of two levels finds in a set of three ids, and how an answer can be wrong. */
static void
found_is_checked(void **state)
{
	static const uint8_t ids[3][3] = {{1, 0, 0}, {1, 0, 1}, {1, 1, 0}};
	stk_semid id = {.tokenizer = 1, .levels = 2};
	uint8_t packed[3][STK_SEMID_MAX_BYTES];
	const uint8_t *pointers[3];
	size_t lens[3], bytes;
	double cost[4] = {1, 4, 3, 5};
	_Alignas(8) uint8_t memory[256];
	stk_search_batch b = {.n = 1,
						  .levels = 2,
						  .sizes = {2, 2},
						  .tokenizer = 1,
						  .cost = cost,
						  .beam_size = 4,
						  .k = 4,
						  .width = 3};
	stk_semset set;
	uint8_t *stored;
	stk_error err;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		id.codes[0] = ids[i][1];
		id.codes[1] = ids[i][2];
		lens[i] = stk_semid_pack(&id, packed[i]);
		pointers[i] = packed[i];
	}
	assert_int_equal(
		stk_semset_build(pointers, lens, 3, 0, &stk_malloc, NULL, &stored, &bytes, &err), STK_OK);
	assert_int_equal(stk_semset_view(stored, bytes, &set, &err), STK_OK);
	assert_true(stk_found_bytes(b.n, b.k, b.width) <= sizeof(memory));

	for (int wrong = 0; wrong < 14; wrong++)
	{
		memset(memory, 0xee, sizeof(memory));
		stk_found_arrays(memory, &b);
		b.found[0] = 3;
		b.dropped[0] = 0;
		for (int i = 0; i < 3; i++)
		{
			b.costs[i] = cost[ids[i][1]] + cost[2 + ids[i][2]];
			b.lengths[i] = 2;
			b.codes[3 * i] = ids[i][1];
			b.codes[3 * i + 1] = ids[i][2];
			b.codes[3 * i + 2] = 0;
		}
		b.tokenizer = 1;
		b.cost = cost;
		switch (wrong)
		{
			case 1:
				b.found[0] = 5;
				break;
			case 2:
				b.dropped[0] = 2;
				break;
			case 3:
				b.costs[1] += 1e-9;
				break;
			case 4:
				b.costs[1] = NAN;
				break;
			case 5:
				b.costs[2] = INFINITY;
				break;
			case 6:
				b.lengths[0] = 1;
				break;
			case 7:
				b.lengths[0] = 4;
				break;
			case 8:
				b.codes[2] = 1;
				break;
			case 9: /* not a member */
				b.codes[7] = 1;
				b.costs[2] = cost[1] + cost[3];
				break;
			case 10: /* out of the order */
				b.codes[0] = 1;
				b.costs[0] = b.costs[2];
				break;
			case 11: /* twice */
				b.codes[4] = 0;
				b.costs[1] = b.costs[0];
				break;
			case 12: /* of a tokenizer that the set has not */
				b.tokenizer = 2;
				break;
			case 13: /* a code that is beyond its level, where costs are not looked at */
				b.cost = NULL;
				b.codes[1] = 9;
				break;
			default:
				break;
		}
		assert_int_equal(stk_found_check(&b, &set, &err), wrong == 0 ? STK_OK : STK_ECORRUPT);
	}
	free(stored);
}

static void
encodes_refused(void **state)
{
	message m;
	asked q;
	stk_encode *e = &m.as.encode;

	(void) state;
	sample(STK_MSG_ENCODE, false, &m, &q);
	e->n = 0;
	assert_refused(&m, &q, "number of rows is 0, expected 1 to 1048576");
	e->n = STK_ENCODE_MAX_ROWS + 1;
	assert_refused(&m, &q, "number of rows is 1048577, expected 1 to 1048576");
	e->n = 2;
	assert_refused(&m, &q, "rows have 4 bytes, expected 8");
	e->n = 1;
	e->rows = in_file(4, 4);
	assert_refused(&m, &q, "offset 4 is not a multiple of 8");
	e->n = 2;
	e->rows = in_file((uint64_t) INT64_MAX - 7, 8);
	assert_refused(&m, &q, "8 bytes at offset 9223372036854775800 are beyond any file");
	sample(STK_MSG_ENCODE, true, &m, &q);
	e->codes_at = UINT64_MAX - 7;
	assert_refused(&m, &q, "67108864 bytes at offset 18446744073709551608 are beyond any file");
	sample(STK_MSG_ENCODE, false, &m, &q);
	e->beam = 0;
	assert_refused(&m, &q, "beam is 0, expected 1 to 4096");
	e->beam = -1;
	assert_refused(&m, &q, "beam is 4294967295, expected 1 to 4096");
	e->beam = 1;
	e->device = (stk_device) 3;
	assert_refused(&m, &q, "device is 3, expected 0 to 2");
	e->device = STK_DEVICE_CPU;
	e->dim = STK_MAX_DIM;
	e->n = 2;
	e->rows = in_body(STK_INLINE_MAX);
	assert_refused(&m, &q, "rows have 65536 bytes, expected 128000");
}

/* A short answer has no place in the file: the writer sees to it, the reader insists. */
static void
short_answers_have_no_place(void **state)
{
	uint8_t *out = malloc(ROOM);
	stk_error err;
	message m, in;
	asked q;
	size_t len;

	(void) state;
	sample(STK_MSG_ENCODE, false, &m, &q);
	m.as.encode.codes_at = 8;
	m.as.encode.rows = in_file(8, 4);
	len = message_write(out, 1, &m);
	assert_int_equal(
		message_read(m.kind, out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &q, &in, &err),
		STK_OK);
	assert_int_equal(in.as.encode.codes_at, 0);
	out[len - 8] = 8;
	assert_int_equal(
		message_read(m.kind, out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &q, &in, &err),
		STK_ECORRUPT);
	assert_string_equal(err.message, "a short answer is to go into a file");
	free(out);
}

static void
trainings_refused(void **state)
{
	message m;
	asked q;
	stk_train_message *t = &m.as.train;

	(void) state;
	sample(STK_MSG_TRAIN, true, &m, &q);
	t->n = 1ull << 62;
	assert_refused(&m, &q, "rows have no possible size");
	t->n = 0;
	assert_refused(&m, &q, "no rows to train on");
	sample(STK_MSG_TRAIN, true, &m, &q);
	t->heldout_n = UINT64_MAX;
	assert_refused(&m, &q, "held-out rows have no possible size");
	sample(STK_MSG_TRAIN, true, &m, &q);
	t->plan.decay = NAN;
	assert_refused(&m, &q, "decay is not a number");
	t->plan.decay = 1;
	assert_refused(&m, &q, "decay must be at least 0 and less than 1");
	sample(STK_MSG_TRAIN, false, &m, &q);
	t->start = (stk_data){0};
	assert_refused(&m, &q, "codewords to start from have 0 bytes, expected 120");
	sample(STK_MSG_TRAIN, false, &m, &q);
	t->plan.resume = false;
	assert_refused(&m, &q, "codewords to start from have 120 bytes, expected 0");
	t->plan.epochs = 0;
	t->start = (stk_data){0};
	{
		stk_error why;

		assert_int_not_equal(stk_train_check(&t->plan, &why), STK_OK);
		assert_refused(&m, &q, why.message);
	}
}

static void
answers_refused(void **state)
{
	message m;
	asked q;

	(void) state;
	sample(STK_MSG_CODES, false, &m, &q);
	m.as.codes.codes = in_file(0, 2);
	assert_refused(&m, &q, "codes are in a file");
	sample(STK_MSG_CODES, true, &m, &q);
	q.n--;
	assert_refused(&m, &q, "codes have 67108864 bytes, expected 67108800");

	sample(STK_MSG_PROGRESS, true, &m, &q);
	m.as.progress.objective = NAN;
	assert_refused(&m, &q, "objective is not a number");
	sample(STK_MSG_PROGRESS, false, &m, &q);
	m.as.progress.level = 2;
	assert_refused(&m, &q, "epoch 0 of level 2, with 0 levels trained, is not of this training");
	m.as.progress.level = 1;
	m.as.progress.epoch = 8;
	assert_refused(&m, &q, "epoch 8 of level 1, with 0 levels trained, is not of this training");
	m.as.progress.epoch = 1;
	m.as.progress.trained = 3;
	assert_refused(&m, &q, "epoch 1 of level 1, with 3 levels trained, is not of this training");
	m.as.progress.trained = 1;
	m.as.progress.evaluated = true;
	m.as.progress.heldout = evaluation_of(&q.plan, 2);
	assert_refused(&m, &q, "2 levels were measured, expected 1");

	sample(STK_MSG_TRAINED, false, &m, &q);
	m.as.trained.rows.levels = 0;
	m.as.trained.rows.rows = 0;
	m.as.trained.rows.ids = m.as.trained.rows.largest = 0;
	assert_refused(&m, &q, "0 levels were measured, expected 2");
	sample(STK_MSG_TRAINED, false, &m, &q);
	m.as.trained.rows.level[1].size = 3;
	m.as.trained.rows.level[1].dead = 2;
	assert_refused(&m, &q, "measured level 1 has size 3, expected 2");
	m.as.trained.rows.level[1].dead = 3;
	assert_refused(&m, &q, "codes in use and dead ones are not all codes");
	sample(STK_MSG_TRAINED, false, &m, &q);
	m.as.trained.rows.largest = m.as.trained.rows.rows = 1;
	assert_refused(&m, &q, "more ids than rows");
	m.as.trained.rows.ids = 0;
	m.as.trained.rows.largest = 2;
	assert_refused(&m, &q, "more ids than rows");
	sample(STK_MSG_TRAINED, false, &m, &q);
	m.as.trained.result = in_body(119);
	assert_refused(&m, &q, "codewords have 119 bytes, expected 120");

	sample(STK_MSG_FAILED, false, &m, &q);
	m.as.failed.status = STK_OK;
	assert_refused(&m, &q, "a computation is said to have failed without an error");
	sample(STK_MSG_WELCOME, false, &m, &q);
	m.as.welcome.rate = INFINITY;
	assert_refused(&m, &q, "rate is inf, expected more than 0");
	m.as.welcome.rate = 0;
	assert_refused(&m, &q, "rate is 0, expected more than 0");
	sample(STK_MSG_PONG, false, &m, &q);
	m.as.pong.request = 1;
	assert_refused(&m, &q, "state and request contradict each other");
	sample(STK_MSG_LOAD, false, &m, &q);
	m.as.load.data.bytes = 0;
	assert_refused(&m, &q, "what is to be kept is empty");
}

/* A length of data within that no body has room for is refused before it is looked for. */
static void
too_much_within_is_refused(void **state)
{
	uint8_t *out = malloc(2 * ROOM);
	message m, in;
	asked q;
	stk_error err;
	size_t len;

	(void) state;
	sample(STK_MSG_LOAD, false, &m, &q);
	m.as.load.data = in_body(STK_INLINE_MAX + 1);
	len = stk_write_load(out, 1, &m.as.load);
	assert_int_equal(
		stk_read_load(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &in.as.load, &err),
		STK_ECORRUPT);
	assert_string_equal(err.message, "more than 65536 bytes of data within a message");

	/* Three pieces, each small enough. */
	sample(STK_MSG_TRAIN, false, &m, &q);
	m.as.train.n = m.as.train.heldout_n = 2500;
	m.as.train.rows = m.as.train.heldout = in_body(40000);
	len = stk_write_train(out, 1, &m.as.train);
	assert_int_equal(
		stk_read_train(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &in.as.train, &err),
		STK_ECORRUPT);
	assert_string_equal(err.message, "more than 65536 bytes of data within a message");
	free(out);
}

/* What somebody else's text may hold is made printable on its way out, and cut to its room. */
static void
texts(void **state)
{
	stk_failed m = {.failure = STK_FAILED_DATA, .level = -1}, in;
	uint8_t *out = malloc(ROOM);
	stk_error err;
	size_t len, at;

	(void) state;
	strcpy(m.message, "line\none \xc3\xa4");
	len = stk_write_failed(out, 1, &m);
	assert_int_equal(stk_read_failed(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &in, &err),
					 STK_OK);
	assert_string_equal(in.message, "line?one ??");
	memset(m.message, 'x', sizeof(m.message));
	len = stk_write_failed(out, 1, &m);
	assert_int_equal(stk_read_failed(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &in, &err),
					 STK_OK);
	assert_int_equal(strlen(in.message), sizeof(in.message) - 1);

	/* Not terminated; something after the end; a control character. */
	at = len - sizeof(m.message);
	out[len - 1] = 'x';
	assert_int_equal(stk_read_failed(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &in, &err),
					 STK_ECORRUPT);
	out[len - 1] = 0;
	out[at + 3] = 0;
	assert_int_equal(stk_read_failed(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &in, &err),
					 STK_ECORRUPT);
	out[at + 3] = '\n';
	assert_int_equal(stk_read_failed(out + STK_HEADER_BYTES, len - STK_HEADER_BYTES, &in, &err),
					 STK_ECORRUPT);
	assert_string_equal(err.message, "message is not a printable text");
	free(out);
}

static void
files_needed(void **state)
{
	message m;
	asked q;

	(void) state;
	sample(STK_MSG_ENCODE, false, &m, &q);
	assert_false(stk_encode_needs_file(&m.as.encode));
	m.as.encode.rows.in_file = true;
	assert_true(stk_encode_needs_file(&m.as.encode));
	m.as.encode.rows.in_file = false;
	m.as.encode.n = STK_INLINE_MAX / 2;
	assert_false(stk_encode_needs_file(&m.as.encode));
	m.as.encode.n++;
	assert_true(stk_encode_needs_file(&m.as.encode));

	sample(STK_MSG_TRAIN, false, &m, &q);
	assert_false(stk_train_needs_file(&m.as.train));
	m.as.train.start.in_file = true;
	assert_true(stk_train_needs_file(&m.as.train));
	m.as.train.start.in_file = false;
	m.as.train.plan.dim = STK_MAX_DIM;
	assert_true(stk_train_needs_file(&m.as.train));
}

static void
result_sizes(void **state)
{
	stk_train_plan p = small_plan();

	(void) state;
	assert_int_equal(stk_train_result_bytes(&p), 5 * (4 * 4 + 8));
	p = large_plan();
	assert_int_equal(stk_train_result_bytes(&p), 32ull * 65536 * (16000 * 4 + 8));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_bytes),
		cmocka_unit_test(headers),
		cmocka_unit_test(networks_travel),
		cmocka_unit_test(round_trips),
		cmocka_unit_test(cuts_are_refused),
		cmocka_unit_test(changes_are_refused_or_sound),
		cmocka_unit_test(encodes_refused),
		cmocka_unit_test(searches_refused),
		cmocka_unit_test(found_is_checked),
		cmocka_unit_test(short_answers_have_no_place),
		cmocka_unit_test(trainings_refused),
		cmocka_unit_test(answers_refused),
		cmocka_unit_test(too_much_within_is_refused),
		cmocka_unit_test(texts),
		cmocka_unit_test(files_needed),
		cmocka_unit_test(result_sizes),
	};

	return cmocka_run_group_tests_name("protocol", tests, NULL, NULL);
}
