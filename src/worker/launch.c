#include "worker/launch.h"

#include <stdlib.h>
#include <string.h>

#include "core/method.h"
#include "worker/faults.h"
#include "worker/found.h"
#include "worker/launch_impl.h"
#include "worker/outbox.h"
#include "worker/server.h"

/* Rows of so many bytes that are in memory at a time. */
static uint64_t
rows_of_a_piece(const stk_shop *shop, uint64_t row)
{
	uint64_t bytes = stk_budget_limit(shop->budget) / PIECE_SHARE;

	bytes = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
	return bytes < row ? 1 : bytes / row;
}

/* Bytes of a row and of its answer. */
static uint64_t
row_bytes(const stk_job *job)
{
	if (job->message.header.kind == STK_MSG_SEARCH)
		return stk_search_row_bytes(&job->search) +
			   stk_found_bytes(1, job->search.k, job->search.width);
	return (uint64_t) job->encode.dim * sizeof(float) +
		   (uint64_t) job->encode.levels * sizeof(uint16_t);
}

uint64_t
stk_launch_piece(const stk_shop *shop, const stk_job *job)
{
	return rows_of_a_piece(shop, row_bytes(job));
}

uint64_t
stk_launch_train_bytes(const stk_job *job, int threads)
{
	const stk_train_message *m = &job->train;
	uint64_t result = stk_train_result_bytes(&m->plan);
	size_t bytes;

	if (m->n > SIZE_MAX || m->heldout_n > SIZE_MAX)
		return UINT64_MAX;
	bytes = stk_train_bytes(&m->plan, (size_t) m->n, (size_t) m->heldout_n, threads);
	return bytes > SIZE_MAX - result ? UINT64_MAX : bytes + result;
}

bool
launch_stops(void *ctx)
{
	stk_launch *l = ctx;

	STK_FAULT(STK_STEP_COMPUTING, l->jobs->message.header.kind, false);
	atomic_fetch_add_explicit(&l->ticks, 1, memory_order_relaxed);
	return atomic_load_explicit(&l->cancelled, memory_order_relaxed);
}

/* Write codes of rows first .. first + n - 1 of the job to where its answer takes them from. */
static stk_status
put_codes(stk_job *job, uint64_t first, uint64_t n, const uint16_t *codes, stk_error *err)
{
	uint64_t row = (uint64_t) job->encode.levels * sizeof(uint16_t);

	if (job->result)
	{
		memcpy(job->result + first * row, codes, n * row);
		return STK_OK;
	}
	if (STK_FAULT_DISK())
		return stk_fail(err, STK_EIO, "no space left on device");
	return stk_job_write(job, job->encode.codes_at + first * row, codes, n * row, err);
}

/* Make room for an answer that goes inside. */
static stk_status
begin_codes(stk_job *job)
{
	job->result_bytes = (uint64_t) job->encode.n * (uint64_t) job->encode.levels * sizeof(uint16_t);
	if (job->result_bytes > STK_INLINE_MAX || job->result)
		return STK_OK;
	job->result = malloc(job->result_bytes);
	return job->result ? STK_OK : STK_ENOMEM;
}

bool
launch_falls_back(launch_run *r, stk_device wanted, const stk_error *err)
{
	if (wanted == STK_DEVICE_CUDA)
		return false;
	r->launch->fallbacks++;
	memcpy(r->launch->fallback, err->message, sizeof(r->launch->fallback));
	return true;
}

/* The launch's codebook, made ready for an engine, encodes with it. */
static stk_status
encode_by(launch_run *r, stk_engine *e, const float *x, uint64_t n, int beam, uint16_t *codes,
		  stk_error *err)
{
	const stk_resident *resident;
	stk_status status =
		stk_cache_resident(r->shop->cache, r->launch->pin, e, beam > 1, &r->exec, &resident, err);

	if (status == STK_OK)
		status = e->ops->encode(e, &r->exec, resident, x, n, beam, codes, err);
	return status;
}

static stk_status
encode(launch_run *r, stk_device wanted, const float *x, uint64_t n, int beam, uint16_t *codes,
	   size_t bytes, stk_error *err)
{
	stk_error why = {.row = SIZE_MAX, .level = -1};
	stk_status status;

	STK_FAULT(STK_STEP_COMPUTE, STK_MSG_ENCODE, false);
	status = encode_by(r, r->launch->engine, x, n, beam, codes, &why);
	if (status == STK_EDEVICE && launch_falls_back(r, wanted, &why))
		status = encode_by(r, r->shop->cores, x, n, beam, codes, &why);
	if (err)
		*err = why;
	STK_FAULT(STK_STEP_COMPUTED, STK_MSG_ENCODE, false);
	if (status == STK_OK)
		STK_FAULT_RESULT(STK_MSG_ENCODE, codes, bytes);
	(void) bytes;
	return status;
}

/* Encode one job, in pieces. Returns false when memory ran out. */
static bool
encode_one(launch_run *r, stk_job *job)
{
	const stk_encode *m = &job->encode;
	uint64_t row = (uint64_t) m->dim * sizeof(float);
	uint64_t piece = stk_launch_piece(r->shop, job);
	uint64_t first = 0;
	float *x;
	uint16_t *codes;
	stk_status status = begin_codes(job);
	stk_error err = {.row = SIZE_MAX, .level = -1};

	piece = piece < m->n ? piece : m->n;
	x = stk_alloc_array(&r->exec.a, piece, row);
	codes = stk_alloc_array(&r->exec.a, piece, (size_t) m->levels * sizeof(uint16_t));
	if (!x || !codes)
		status = STK_ENOMEM;
	while (status == STK_OK && first < m->n)
	{
		uint64_t n = m->n - first < piece ? m->n - first : piece;

		status = launch_stops(r->launch) ? STK_ECANCELED : STK_OK;
		if (status == STK_OK)
			status = stk_job_read(job, &m->rows, first * row, x, n * row, &err);
		if (status == STK_OK)
			status = encode(r, m->device, x, n, m->beam, codes,
							n * (size_t) m->levels * sizeof(uint16_t), &err);
		if (status == STK_OK)
			status = put_codes(job, first, n, codes, &err);
		if (status == STK_OK)
			first += n;
	}
	stk_free(&r->exec.a, x);
	stk_free(&r->exec.a, codes);
	if (status == STK_ENOMEM)
		return false;
	if (status == STK_OK)
		job->answer = STK_MSG_CODES;
	else
		stk_job_fail_status(job, status, &err, first);
	return true;
}

/* Encode all jobs in one call of the engine. False: they are to be done one by one. */
static bool
encode_together(launch_run *r)
{
	stk_launch *l = r->launch;
	size_t dim = (size_t) l->jobs->encode.dim;
	size_t levels = (size_t) l->jobs->encode.levels;
	float *x = stk_alloc_array(&r->exec.a, l->rows, dim * sizeof(float));
	uint16_t *codes = stk_alloc_array(&r->exec.a, l->rows, levels * sizeof(uint16_t));
	bool done = x && codes;
	uint64_t at = 0;

	for (stk_job *job = l->jobs; job && done; job = job->next)
	{
		done = begin_codes(job) == STK_OK &&
			   stk_job_read(job, &job->encode.rows, 0, x + at * dim,
							job->encode.n * dim * sizeof(float), NULL) == STK_OK;
		at += job->encode.n;
	}
	done = done && encode(r, l->jobs->encode.device, x, l->rows, l->jobs->encode.beam, codes,
						  l->rows * levels * sizeof(uint16_t), NULL) == STK_OK;
	at = 0;
	for (stk_job *job = l->jobs; job && done; job = job->next)
	{
		done = put_codes(job, 0, job->encode.n, codes + at * levels, NULL) == STK_OK;
		at += job->encode.n;
	}
	stk_free(&r->exec.a, x);
	stk_free(&r->exec.a, codes);
	for (stk_job *job = l->jobs; job && done; job = job->next)
		job->answer = STK_MSG_CODES;
	return done;
}

static void
run_encode(launch_run *r)
{
	stk_launch *l = r->launch;

	/* What fails together is repeated job by job: an error is then about the right one's row. */
	if (l->njobs > 1 && encode_together(r))
		return;
	for (stk_job *job = l->jobs; job && !l->no_room; job = job->next)
		l->no_room = !encode_one(r, job);
}

/* Read what is to be kept for the cache, piece by piece, so that it can be stopped. */
static stk_status
fill_stored(void *ctx, uint8_t *to, size_t bytes, stk_error *err)
{
	launch_run *r = ctx;
	stk_job *job = r->launch->jobs;
	stk_status status = STK_OK;

	for (size_t at = 0; at < bytes && status == STK_OK; at += PIECE_BYTES)
	{
		size_t n = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;

		status = launch_stops(r->launch) ? STK_ECANCELED
										 : stk_job_read(job, &job->load.data, at, to + at, n, err);
	}
	return status;
}

/* Make it ready for the cores, which may always be needed; a device gets it with the first work. */
static stk_status
make_ready(launch_run *r, stk_cached *cached, bool trie, stk_error *err)
{
	const stk_resident *resident;
	const stk_resident_trie *resident_trie;

	if (trie)
		return stk_cache_trie(r->shop->cache, cached, r->shop->cores, &r->exec, &resident_trie,
							  err);
	return stk_cache_resident(r->shop->cache, cached, r->shop->cores, false, &r->exec, &resident,
							  err);
}

static void
run_load(launch_run *r)
{
	stk_job *job = r->launch->jobs;
	bool trie = job->message.header.kind == STK_MSG_TRIE;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_cached *cached;
	stk_status status;

	STK_FAULT(STK_STEP_COMPUTE, job->message.header.kind, false);
	status = stk_cache_put(r->shop->cache, trie ? STK_CACHED_SET : STK_CACHED_CODEBOOK,
						   job->load.hash, job->load.data.bytes, fill_stored, r, &cached, &err);
	if (status == STK_OK)
	{
		status = make_ready(r, cached, trie, &err);
		stk_cache_unpin(r->shop->cache, cached);
	}
	STK_FAULT(STK_STEP_COMPUTED, job->message.header.kind, false);
	if (status == STK_OK)
		job->answer = STK_MSG_DONE;
	else if (status == STK_ENOMEM)
		r->launch->no_room = true;
	else if (status == STK_ECORRUPT)
		stk_job_fail(job, STK_FAILED_DATA, status, &err);
	else
		stk_job_fail_status(job, status, &err, 0);
}

/* Rows of a training, in its file or message. */
typedef struct train_rows
{
	const stk_job *job;
	const stk_data *data;
	size_t row; /* bytes */
} train_rows;

static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const train_rows *rows = ctx;

	return stk_job_read(rows->job, rows->data, (uint64_t) first * rows->row, x, count * rows->row,
						err);
}

/* Put a state where its report will name it. One not written is none: the next may be. */
static int
put_state(launch_run *r, const uint8_t *state)
{
	const stk_job *job = r->launch->jobs;
	uint64_t bytes = stk_train_result_bytes(&job->train.plan);
	uint64_t place = r->states++ % STK_TRAIN_STATES;
	stk_error unsaid = {.row = SIZE_MAX, .level = -1};

	if (stk_job_write(job, job->train.states_at + place * bytes, state, bytes, &unsaid) != STK_OK)
		return 0;
	return (int) place + 1;
}

static void
report(void *ctx, const stk_train_report *progress)
{
	launch_run *r = ctx;
	stk_train_report with;

	/* One that begins again has the same to say. */
	if (++r->reports <= r->said)
		return;
	if (progress->state)
	{
		with = *progress;
		with.place = put_state(r, progress->state);
		progress = &with;
	}
	stk_outbox_report(r->shop->outbox, r->launch, progress);
}

/* What a training comes to, in the parts that its message has one behind the other. */
typedef struct train_parts
{
	stk_train_result result;
	size_t bytes[2]; /* of codewords and of counts; or of the state, and none */
} train_parts;

static void *
part(const train_parts *p, int i)
{
	return i > 0             ? (void *) p->result.counts
		   : p->result.state ? (void *) p->result.state
							 : (void *) p->result.codewords;
}

static stk_status
make_parts(launch_run *r, const stk_train_plan *plan, train_parts *p)
{
	const stk_allocator *a = &r->exec.a;
	size_t codewords = stk_plan_codes(plan);

	if (stk_method_of(plan->method)->state_bytes)
	{
		p->bytes[0] = (size_t) stk_train_result_bytes(plan);
		p->result.state = stk_alloc_array(a, p->bytes[0], 1);
		return p->result.state ? STK_OK : STK_ENOMEM;
	}
	p->bytes[0] = codewords * (size_t) plan->dim * sizeof(float);
	p->bytes[1] = codewords * sizeof(double);
	p->result.codewords = stk_alloc_array(a, p->bytes[0], 1);
	p->result.counts = stk_alloc_array(a, p->bytes[1], 1);
	return p->result.codewords && p->result.counts ? STK_OK : STK_ENOMEM;
}

static void
free_parts(launch_run *r, train_parts *p)
{
	stk_free(&r->exec.a, p->result.codewords);
	stk_free(&r->exec.a, p->result.counts);
	stk_free(&r->exec.a, p->result.state);
}

/* The answer's result: inside, or written to the file. */
static stk_status
put_result(stk_job *job, const train_parts *p, stk_error *err)
{
	stk_status status = STK_OK;
	uint64_t at = 0;

	STK_FAULT_RESULT(STK_MSG_TRAIN, part(p, 0), p->bytes[0]);
	job->result_bytes = p->bytes[0] + p->bytes[1];
	if (job->result_bytes <= STK_INLINE_MAX)
	{
		job->result = malloc(job->result_bytes);
		if (!job->result)
			return STK_ENOMEM;
	}
	else if (STK_FAULT_DISK())
		return stk_fail(err, STK_EIO, "no space left on device");
	for (int i = 0; i < 2 && p->bytes[i] > 0 && status == STK_OK; at += p->bytes[i++])
	{
		if (job->result)
			memcpy(job->result + at, part(p, i), p->bytes[i]);
		else
			status = stk_job_write(job, job->train.result_at + at, part(p, i), p->bytes[i], err);
	}
	return status;
}

static stk_status
train_by(launch_run *r, stk_engine *e, stk_job *job, train_parts *p, stk_error *err)
{
	const stk_train_message *m = &job->train;
	size_t row = (size_t) m->plan.dim * sizeof(float);
	train_rows training = {job, &m->rows, row};
	train_rows heldout = {job, &m->heldout, row};
	stk_rows rows = {(size_t) m->n, read_rows, &training};
	stk_rows held = {(size_t) m->heldout_n, read_rows, &heldout};
	stk_status status = STK_OK;

	if (m->plan.resume)
	{
		status = stk_job_read(job, &m->start, 0, part(p, 0), p->bytes[0], err);
		if (status == STK_OK && p->bytes[1] > 0)
			status = stk_job_read(job, &m->start, p->bytes[0], part(p, 1), p->bytes[1], err);
	}
	if (status == STK_OK)
	{
		STK_FAULT(STK_STEP_COMPUTE, STK_MSG_TRAIN, false);
		status = e->ops->train(e, &r->exec, &m->plan, &rows, m->heldout_n > 0 ? &held : NULL,
							   report, r, &p->result, err);
		STK_FAULT(STK_STEP_COMPUTED, STK_MSG_TRAIN, false);
	}
	return status;
}

static stk_status
train(launch_run *r, stk_job *job, train_parts *p, stk_error *err)
{
	stk_status status = train_by(r, r->launch->engine, job, p, err);

	if (status == STK_EDEVICE && launch_falls_back(r, job->train.device, err))
	{
		r->said = r->reports;
		r->reports = 0;
		*err = (stk_error){.row = SIZE_MAX, .level = -1};
		status = train_by(r, r->shop->cores, job, p, err);
	}
	return status == STK_OK ? put_result(job, p, err) : status;
}

static void
run_train(launch_run *r)
{
	stk_job *job = r->launch->jobs;
	train_parts p = {.result = {.which = STK_ROWS_NONE}};
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status = make_parts(r, &job->train.plan, &p);

	job->evaluations = malloc(2 * sizeof(stk_evaluation));
	if (!job->evaluations)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = train(r, job, &p, &err);
	free_parts(r, &p);
	if (status == STK_OK)
	{
		job->evaluations[0] = p.result.rows;
		job->evaluations[1] = p.result.heldout;
		job->answer = STK_MSG_TRAINED;
	}
	else if (status == STK_ENOMEM)
		r->launch->no_room = true;
	else
	{
		stk_job_fail_status(job, status, &err, 0);
		job->failed.which = p.result.which;
	}
}

/* Bytes that are reserved before anything is begun: what is known of what it will take. */
static uint64_t
bytes_needed(const launch_run *r)
{
	const stk_job *job = r->launch->jobs;
	uint64_t piece;

	if (r->launch->class == STK_CLASS_LOAD)
		return 0;
	if (r->launch->class == STK_CLASS_TRAIN)
		return stk_launch_train_bytes(job, stk_threads(r->launch->pool));
	piece = stk_launch_piece(r->shop, job);
	piece = piece < r->launch->rows ? piece : r->launch->rows;
	return piece * row_bytes(job);
}

static double
seconds(void)
{
	return (double) stk_now_ns() * 1e-9;
}

void
stk_launch_run(const stk_shop *shop, stk_launch *l)
{
	launch_run r = {.shop = shop, .launch = l};

	if (!stk_purse_open(&r.purse, shop->budget, bytes_needed(&r)))
	{
		l->no_room = true;
		return;
	}
	r.monitor = (stk_monitor){launch_stops, l};
	r.exec = (stk_exec){.a = stk_purse_allocator(&r.purse),
						.cpu = &shop->cpu,
						.pool = l->pool,
						.monitor = &r.monitor,
						.seconds = seconds};
	if (l->class == STK_CLASS_LOAD)
		run_load(&r);
	else if (l->class == STK_CLASS_TRAIN)
		run_train(&r);
	else if (l->jobs->message.header.kind == STK_MSG_SEARCH)
		launch_search(&r);
	else
		run_encode(&r);
	stk_purse_close(&r.purse);
}
