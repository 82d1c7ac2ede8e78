#include "train.h"

#include <string.h>

#include "method.h"
#include "refine.h"
#include "rq.h"
#include "train_impl.h"

/* What a task reads, about. */
#define READ_BYTES ((size_t) 1 << 20)

/* A training under way. */
typedef struct training
{
	const stk_train_plan *plan;
	stk_exec exec; /* the caller's, with this monitor */
	stk_monitor monitor;
	const stk_monitor *caller;
	const stk_rows *heldout; /* NULL: none, or nothing is due before the end */
	void (*report)(void *ctx, const stk_train_report *r);
	void *report_ctx;
	stk_train_which which; /* the rows that errors are about */

	/* Why a measuring in between failed, which ends the learning around it. */
	stk_status failed;
	stk_error err;
} training;

/* Can a double of the plan be computed with? Written so that NaN says no. */
static bool
is_balance(double balance)
{
	return balance == 0 || (balance >= 1 && balance <= STK_MAX_CODES);
}

const char *
stk_train_metric_name(stk_train_metric metric)
{
	static const char *const names[STK_TRAIN_METRICS] = {
		[STK_TRAIN_LOSS] = "loss",
		[STK_TRAIN_RECONSTRUCTION] = "reconstruction",
		[STK_TRAIN_COMMITMENT] = "commitment",
		[STK_TRAIN_CODEBOOK] = "codebook",
		[STK_TRAIN_DIVERSITY] = "diversity",
		[STK_TRAIN_GRADIENT] = "gradient",
		[STK_TRAIN_MSE] = "mse",
		[STK_TRAIN_RELATIVE_ERROR] = "relative_error",
		[STK_TRAIN_P_UNIQUE] = "p_unique",
		[STK_TRAIN_USAGE] = "usage",
		[STK_TRAIN_ENTROPY] = "entropy",
		[STK_TRAIN_DEAD_CODES] = "dead_codes",
		[STK_TRAIN_SECONDS_START] = "seconds_start",
		[STK_TRAIN_SECONDS_STEPS] = "seconds_steps",
		[STK_TRAIN_SECONDS_HELDOUT] = "seconds_heldout"};

	return names[metric];
}

static bool
is_within(int value, int least, int most)
{
	return value >= least && value <= most;
}

stk_status
stk_train_check(const stk_train_plan *plan, stk_error *err)
{
	const stk_method *method = stk_method_of(plan->method);

	/* As numbers: an enum from elsewhere may hold any. */
	if (!method)
		return stk_fail(err, STK_EINVAL, "unknown training method %d", (int) plan->method);
	if (!is_within((int) plan->metric, STK_L2, STK_COSINE))
		return stk_fail(err, STK_EINVAL, "unknown metric %d", (int) plan->metric);
	if (!is_within((int) plan->init, STK_INIT_KMEANSPP, STK_INIT_KMEANSII))
		return stk_fail(err, STK_EINVAL, "unknown way to begin %d", (int) plan->init);
	if (!is_within((int) plan->empty, STK_EMPTY_KEEP, STK_EMPTY_FARTHEST))
		return stk_fail(err, STK_EINVAL, "unknown policy for empty codewords %d",
						(int) plan->empty);
	if (stk_codebook_bytes(plan->levels, plan->sizes, plan->dim) == 0)
		return stk_fail(err, STK_ERANGE, "shape of the codebook is beyond the limits");
	if (!is_within(plan->epochs, 1, STK_TRAIN_MAX_EPOCHS))
		return stk_fail(err, STK_EINVAL, "expected 1 to %d epochs, not %d", STK_TRAIN_MAX_EPOCHS,
						plan->epochs);
	if (!is_within(plan->refine, 0, STK_TRAIN_MAX_ROUNDS))
		return stk_fail(err, STK_EINVAL, "expected 0 to %d rounds of refinement, not %d",
						STK_TRAIN_MAX_ROUNDS, plan->refine);
	if (!is_within(plan->beam, 1, STK_TRAIN_MAX_BEAM))
		return stk_fail(err, STK_EINVAL, "expected beam of 1 to %d, not %d", STK_TRAIN_MAX_BEAM,
						plan->beam);
	if (plan->checkpoint_every < 0)
		return stk_fail(err, STK_EINVAL, "expected checkpoint_every of at least 0, not %d",
						plan->checkpoint_every);
	if (plan->eval_every < 0)
		return stk_fail(err, STK_EINVAL, "expected eval_every of at least 0, not %d",
						plan->eval_every);
	if (!is_balance(plan->balance))
		return stk_fail(err, STK_EINVAL, "expected a balance of 1 to %d, or 0 for none",
						STK_MAX_CODES);
	if (plan->refine > 0 && plan->metric == STK_IP)
		return stk_fail(err, STK_EINVAL, "cannot refine a codebook of the inner product");
	return method->check(plan, err);
}

/* The monitor of everything within: the caller's, until a measuring has failed. */
static bool
should_stop(void *ctx)
{
	const training *t = ctx;

	return t->failed != STK_OK || stk_should_stop(t->caller);
}

size_t
stk_train_piece(size_t dim, size_t n, int threads)
{
	size_t rows = STK_TRAIN_PIECE_BYTES / (dim * sizeof(float));
	size_t least = (size_t) threads * STK_TRAIN_PIECE_ROWS;

	/* Whole chunks of sums over rows. */
	rows = rows > least ? rows / STK_SUM_CHUNK * STK_SUM_CHUNK : least;
	return rows < n ? rows : n;
}

/* Rows that are being read: each task reads some of them. */
typedef struct reading
{
	const training *t;
	const stk_rows *rows;
	size_t first; /* .. first + n - 1 */
	size_t n;
	size_t slice; /* rows of a task */
	float *x;     /* [n][dim] out */
	struct trouble
	{
		stk_status status;
		size_t index; /* of the task that met it */
		stk_error err;
	} * troubles; /* [threads] */
} reading;

static void
read_task(void *arg, size_t index, int thread)
{
	const reading *r = arg;
	struct trouble *trouble = &r->troubles[thread];
	size_t at = index * r->slice;
	size_t n = r->n - at < r->slice ? r->n - at : r->slice;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status = STK_ECANCELED;

	if (trouble->status != STK_OK)
		return;
	if (!stk_should_stop(r->t->exec.monitor))
		status = r->rows->read(r->rows->ctx, r->first + at, n, r->x + at * (size_t) r->t->plan->dim,
							   &err);
	if (status != STK_OK)
		*trouble = (struct trouble){status, index, err};
}

/*
 * Read rows first .. first + n - 1, on the pool's threads: to fill fresh memory takes the kernel
 * longer than to copy the rows there. x [n][dim] out.
 */
static stk_status
read_rows(const training *t, const stk_rows *rows, size_t first, size_t n, float *x, stk_error *err)
{
	const stk_allocator *a = &t->exec.a;
	size_t threads = (size_t) stk_threads(t->exec.pool);
	reading r = {.t = t, .rows = rows, .first = first, .n = n, .x = x};
	const struct trouble *worst = NULL;
	stk_status status = STK_OK;

	r.slice = READ_BYTES / ((size_t) t->plan->dim * sizeof(float)) + 1;
	r.troubles = stk_alloc_array(a, threads, sizeof(struct trouble));
	if (!r.troubles)
		return STK_ENOMEM;
	memset(r.troubles, 0, threads * sizeof(struct trouble));
	stk_run(t->exec.pool, read_task, &r, (n + r.slice - 1) / r.slice);
	for (size_t i = 0; i < threads; i++)
		if (r.troubles[i].status != STK_OK && (!worst || r.troubles[i].index < worst->index))
			worst = &r.troubles[i];
	if (worst)
	{
		status = worst->status;
		*err = worst->err;
	}
	stk_free(a, r.troubles);
	return status;
}

/* Encode and evaluate n rows; codes [n][levels] is scratch. */
static stk_status
evaluate_rows(const training *t, const stk_rq *rq, stk_attached *there, const float *x, size_t n,
			  uint16_t *codes, stk_evaluator *ev, stk_error *err)
{
	size_t done = 0;
	stk_status status = stk_evaluator_encode_there(ev, &t->exec, there, x, n, codes, &done);

	x += done * (size_t) t->plan->dim;
	n -= done;
	if (status == STK_OK && n > 0)
		status = stk_rq_encode(rq, &t->exec, x, n, t->plan->beam, codes, NULL, err);
	if (status == STK_OK && n > 0)
		status = stk_evaluator_add(ev, &t->exec, x, codes, n, err);
	if (status == STK_EINVAL || status == STK_ERANGE)
		err->row += done;
	return status;
}

/* Encode and evaluate rows piece by piece; x [piece][dim] and codes [piece][levels] are scratch. */
static stk_status
evaluate_pieces(const training *t, const stk_rq *rq, stk_attached *there, const stk_rows *rows,
				size_t piece, float *x, uint16_t *codes, stk_evaluator *ev, stk_error *err)
{
	stk_status status = STK_OK;

	for (size_t first = 0; first < rows->n && status == STK_OK; first += piece)
	{
		size_t n = rows->n - first < piece ? rows->n - first : piece;

		status = read_rows(t, rows, first, n, x, err);
		if (status != STK_OK)
			break;
		status = evaluate_rows(t, rq, there, x, n, codes, ev, err);
		if (status == STK_EINVAL || status == STK_ERANGE)
			err->row += first;
	}
	return status;
}

/* What a codebook makes of rows. */
static stk_status
measure(const training *t, const stk_rq *rq, const stk_rows *rows, stk_evaluation *result,
		stk_error *err)
{
	const stk_codebook *cb = stk_rq_codebook(rq);
	const stk_allocator *a = &t->exec.a;
	size_t dim = (size_t) stk_codebook_inputs(cb);
	size_t piece = stk_train_piece(dim, rows->n, stk_threads(t->exec.pool));
	float *x = stk_alloc_array(a, piece, dim * sizeof(float));
	uint16_t *codes = stk_alloc_array(a, piece, (size_t) cb->levels * sizeof(uint16_t));
	stk_evaluator *ev = NULL;
	stk_attached there;
	stk_status status = x && codes ? stk_evaluator_create(cb, a, &ev) : STK_ENOMEM;

	stk_attached_init(&there, &t->exec);
	if (status == STK_OK)
	{
		stk_attach_codebook(&there, cb, t->plan->beam);
		status = evaluate_pieces(t, rq, &there, rows, piece, x, codes, ev, err);
	}
	stk_detach(&there);
	if (status == STK_OK)
		status = stk_evaluator_finish(ev, t->exec.monitor, result);
	stk_evaluator_free(ev);
	stk_free(a, x);
	stk_free(a, codes);
	return status;
}

/* The first `levels` levels of codewords [sum of sizes][dim]. */
static stk_codebook
codebook_of(const training *t, const float *codewords, int levels)
{
	stk_codebook cb = {.metric = t->plan->metric, .levels = levels, .dim = t->plan->dim};

	for (int l = 0; l < levels; l++)
	{
		cb.sizes[l] = t->plan->sizes[l];
		cb.codewords[l] = codewords;
		codewords += cb.sizes[l] * (size_t) cb.dim;
	}
	return cb;
}

/* Make a codebook ready to encode. */
static stk_status
make_quantizer(const training *t, const stk_codebook *cb, stk_rq **rq, stk_error *err)
{
	stk_status status = stk_rq_create(cb, &t->exec, STK_FILTER_BEST, rq, err);

	if (status == STK_OK && t->plan->beam > 1)
		status = stk_rq_prepare_beam(*rq, &t->exec);
	if (status == STK_OK)
		return STK_OK;
	/* An error there is about a codeword, not a row. */
	err->row = SIZE_MAX;
	stk_rq_free(*rq);
	*rq = NULL;
	return status;
}

/* Is it time to measure on the held-out rows? */
static bool
is_due(const training *t, const stk_train_progress *p)
{
	return t->heldout && t->plan->eval_every > 0 && p->epoch % t->plan->eval_every == 0 &&
		   (p->level < 0 || p->level == p->trained - 1);
}

static void
progress(void *ctx, const stk_train_progress *p)
{
	training *t = ctx;
	stk_train_report r = {.level = p->level,
						  .epoch = p->epoch,
						  .objective = p->objective,
						  .empty = p->empty,
						  .trained = p->trained,
						  .evaluated = is_due(t, p)};

	/* Levels that learn together report one after the other: the first failure is the one. */
	if (t->failed != STK_OK)
		return;
	if (r.evaluated)
	{
		stk_codebook cb = codebook_of(t, p->codewords, p->trained);
		stk_rq *rq = NULL;
		stk_status status = make_quantizer(t, &cb, &rq, &t->err);

		if (status == STK_OK)
			status = measure(t, rq, t->heldout, &r.heldout, &t->err);
		stk_rq_free(rq);
		t->failed = status;
		if (status != STK_OK)
			return;
	}
	if (t->report)
		t->report(t->report_ctx, &r);
}

static stk_status
refine(training *t, const float *x, size_t n, stk_train_result *result, stk_error *err)
{
	const stk_train_plan *plan = t->plan;
	stk_codebook shape = {.metric = plan->metric, .levels = plan->levels, .dim = plan->dim};
	stk_refine_options opt = {.beam = plan->beam,
							  .rounds = plan->refine,
							  .seed = plan->seed,
							  .progress = progress,
							  .progress_ctx = t};

	memcpy(shape.sizes, plan->sizes, sizeof(shape.sizes));
	return stk_refine(&opt, &t->exec, &shape, x, n, result->codewords, result->counts, err);
}

/* What a part of the learning came to: a failed measuring within it goes before its own end. */
static stk_status
settle(training *t, stk_status status, stk_error *err)
{
	if (t->failed == STK_OK)
		return status;
	*err = t->err;
	t->which = STK_ROWS_HELDOUT;
	return t->failed;
}

/* A report of a method that measures itself. */
static void
pass_on(void *ctx, const stk_train_report *r)
{
	const training *t = ctx;

	if (t->report)
		t->report(t->report_ctx, r);
}

/* All rows, in memory: x, the caller's to free. */
static stk_status
read_all(const training *t, const stk_rows *rows, float **x, stk_error *err)
{
	*x = stk_alloc_array(&t->exec.a, rows->n, (size_t) t->plan->dim * sizeof(float));
	return *x ? read_rows(t, rows, 0, rows->n, *x, err) : STK_ENOMEM;
}

/* Held-out rows of a method that measures them itself, sorted: no order of theirs tells. */
static stk_status
read_heldout(const training *t, const stk_rows *rows, float **x, stk_error *err)
{
	const stk_allocator *a = &t->exec.a;
	size_t *from = stk_alloc_array(a, rows->n, sizeof(size_t));
	stk_status status = read_all(t, rows, x, err);

	if (status == STK_OK && !from)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = stk_train_rows_sort(&t->exec, *x, rows->n, (size_t) t->plan->dim, from);
	stk_free(a, from);
	return status;
}

/* Learn and refine. */
static stk_status
learn(training *t, const stk_rows *rows, const stk_rows *heldout, stk_train_result *result,
	  stk_error *err)
{
	const stk_method *method = stk_method_of(t->plan->method);
	const stk_allocator *a = &t->exec.a;
	stk_method_run run = {.plan = t->plan,
						  .exec = &t->exec,
						  .look_every = t->heldout && t->plan->eval_every > 0 ? t->plan->eval_every
																			  : t->plan->epochs,
						  .progress = progress,
						  .report = pass_on,
						  .ctx = t};
	float *x = NULL;
	float *held = NULL;
	stk_status status = STK_OK;

	if (heldout && method->state_bytes)
	{
		t->which = STK_ROWS_HELDOUT;
		status = read_heldout(t, heldout, &held, err);
		t->which = STK_ROWS_TRAINING;
		run.heldout = held;
		run.heldout_n = heldout->n;
	}
	if (status == STK_OK)
		status = read_all(t, rows, &x, err);
	if (status == STK_OK)
		status = settle(t, method->train(&run, x, rows->n, result, err), err);
	/* What has learnt from the rows has overwritten them. */
	if (status == STK_OK && t->plan->refine > 0)
	{
		status = read_rows(t, rows, 0, rows->n, x, err);
		if (status == STK_OK)
			status = settle(t, refine(t, x, rows->n, result, err), err);
	}
	stk_free(a, held);
	stk_free(a, x);
	return status;
}

/* Measure the finished codebook. */
static stk_status
evaluate(training *t, const stk_rows *rows, const stk_rows *heldout, stk_train_result *result,
		 stk_error *err)
{
	const stk_method *method = stk_method_of(t->plan->method);
	stk_codebook cb;
	uint8_t *stored = NULL;
	size_t bytes;
	stk_rq *rq = NULL;
	stk_status status = STK_OK;

	if (method->store)
	{
		status = method->store(t->plan, &t->exec.a, result->state, &stored, &bytes, err);
		if (status == STK_OK)
			status = stk_codebook_view(stored, bytes, &cb, err);
	}
	else
		cb = codebook_of(t, result->codewords, t->plan->levels);
	if (status == STK_OK)
		status = make_quantizer(t, &cb, &rq, err);
	if (status == STK_OK)
		status = measure(t, rq, rows, &result->rows, err);
	if (status == STK_OK && heldout)
	{
		t->which = STK_ROWS_HELDOUT;
		status = measure(t, rq, heldout, &result->heldout, err);
	}
	stk_rq_free(rq);
	stk_free(&t->exec.a, stored);
	return status;
}

stk_status
stk_train(const stk_train_plan *plan, const stk_exec *exec, const stk_rows *rows,
		  const stk_rows *heldout, void (*report)(void *ctx, const stk_train_report *r),
		  void *report_ctx, stk_train_result *result, stk_error *err)
{
	training t = {.plan = plan,
				  .exec = *exec,
				  .caller = exec->monitor,
				  .report = report,
				  .report_ctx = report_ctx,
				  .which = STK_ROWS_TRAINING,
				  .err = {.row = SIZE_MAX, .level = -1}};
	stk_error why = {.row = SIZE_MAX, .level = -1};
	stk_status status;

	if (heldout && heldout->n == 0)
		heldout = NULL;
	t.heldout = heldout;
	t.monitor = (stk_monitor){should_stop, &t};
	t.exec.monitor = &t.monitor;
	memset(&result->rows, 0, sizeof(result->rows));
	memset(&result->heldout, 0, sizeof(result->heldout));
	result->which = STK_ROWS_NONE;

	status = stk_train_check(plan, &why);
	if (status == STK_OK && rows->n == 0)
		status = stk_fail(&why, STK_EINVAL, "no rows to train on");
	if (status == STK_OK)
		status = learn(&t, rows, heldout, result, &why);
	if (status == STK_OK)
		status = evaluate(&t, rows, heldout, result, &why);
	if (status == STK_OK)
		return STK_OK;
	/* Nothing but a value out of place is about a row. */
	if (status != STK_EINVAL && status != STK_ERANGE)
		why.row = SIZE_MAX;
	if (why.row != SIZE_MAX)
		result->which = t.which;
	if (err)
		*err = why;
	return status;
}
