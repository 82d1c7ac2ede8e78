#include "rqkmeans.h"

#include <math.h>
#include <string.h>

#include "fpenv.h"

/* A training run. */
typedef struct training
{
	const stk_rqkmeans_options *opt;
	const stk_exec *exec;
	stk_allocator a;
	size_t dim;
	float *x; /* [n][dim] */
	size_t n;
	size_t *from;    /* [n] where each row was before they were sorted */
	uint16_t *codes; /* [rows at a time] */
	stk_kmeans levels[STK_MAX_LEVELS];
	stk_kmeans_work work;
} training;

/* Mark the codes in use; returns how many of size are not. used [size] is the caller's. */
static uint32_t
mark_used(uint8_t *used, uint32_t size, const uint16_t *codes, size_t n)
{
	uint32_t empty = 0;

	for (size_t i = 0; i < n; i++)
		used[codes[i]] = 1;
	for (uint32_t k = 0; k < size; k++)
		empty += !used[k];
	return empty;
}

static void
report(const training *t, int level, int epoch, double error, uint32_t empty, int trained)
{
	stk_train_progress p = {.level = level,
							.epoch = epoch,
							.objective = error / (double) t->n,
							.empty = empty,
							.codewords = t->levels[0].centroids,
							.trained = trained};

	if (t->opt->progress)
		t->opt->progress(t->opt->progress_ctx, &p);
}

/* Lloyd's iterations of one level. */
typedef struct lloyd
{
	training *t;
	stk_kmeans *km;
	int level;
	uint8_t *used;  /* [size] scratch */
	int epoch;      /* epochs so far */
	int told;       /* of these, those that progress knows of */
	bool assigned;  /* rows are assigned to the centroids as they are */
	bool again;     /* nothing but an update has come since the processor's last assignment */
	bool changed;   /* the last update changed a centroid */
	double error;   /* of the last assignment */
	uint32_t empty; /* centroids that it left without rows */
} lloyd;

/* Tell progress of an epoch, once. */
static void
tell(lloyd *r, int epoch, double error, uint32_t empty)
{
	if (epoch <= r->told)
		return;
	r->told = epoch;
	report(r->t, r->level, epoch, error, empty, r->level + 1);
}

/* stk_accelerator_lloyd.report */
static void
tell_number(void *ctx, int number, double error, uint32_t empty)
{
	lloyd *r = ctx;

	tell(r, r->epoch + number, error, empty);
}

/*
 * Let the accelerator go on from the centroids as they are, up to the epoch in which somebody looks
 * at them, or one that leaves to the processor what becomes of empty ones. *done as of
 * stk_kmeans_lloyd.
 */
static stk_status
go_on_there(lloyd *r, bool *done)
{
	training *t = r->t;
	const stk_rqkmeans_options *opt = t->opt;
	int look = opt->look_every > 0 ? opt->look_every : 1;
	int left = opt->epochs - r->epoch;
	stk_accelerator_lloyd run = {.until_empty = opt->empty != STK_EMPTY_KEEP,
								 .epochs = look - r->epoch % look,
								 .report = tell_number,
								 .report_ctx = r};
	stk_status status;

	if (run.epochs > left)
		run.epochs = left;
	/* A run that fails leaves codes that are of no use. */
	r->again &= t->work.rows == NULL;
	status = stk_kmeans_lloyd(r->km, &t->work, t->n, t->codes, &run, done);
	if (!*done)
		return status;
	r->epoch += run.updates;
	r->changed = run.changed;
	r->error = run.error;
	r->empty = run.empty;
	/* It has stopped for somebody to look: the next run begins with the same assignment. */
	r->assigned = !run.changed || r->epoch == opt->epochs || (run.until_empty && run.empty > 0);
	r->again = r->assigned;
	tell(r, r->epoch, r->error, r->empty);
	return status;
}

/* Assign all rows to the centroids as they are. */
static stk_status
assign_all(lloyd *r)
{
	training *t = r->t;
	double share = (double) t->n / r->km->size;
	bool balance = t->opt->balance > 0 && t->opt->balance * share < (double) t->n;
	bool done = false;
	stk_status status = balance ? STK_OK : go_on_there(r, &done);

	if (done || status != STK_OK)
		return status;
	if (r->again && !balance)
		status = stk_kmeans_reassign(r->km, &t->work, t->x, t->n, t->codes, &r->error);
	else
		status = stk_kmeans_assign(r->km, &t->work, t->x, t->n, t->codes, &r->error);
	if (status == STK_OK && balance)
		status = stk_kmeans_balance(r->km, &t->work, t->x, t->n,
									(size_t) ceil(t->opt->balance * share), t->codes, &r->error);
	if (status != STK_OK)
		return status;
	memset(r->used, 0, r->km->size);
	r->empty = mark_used(r->used, r->km->size, t->codes, t->n);
	r->assigned = r->again = true;
	tell(r, r->epoch, r->error, r->empty);
	return STK_OK;
}

/* One level, from its initial centroids until nothing moves or epochs are over. */
static stk_status
train_level(lloyd *r)
{
	training *t = r->t;
	stk_status status =
		stk_kmeans_start(r->km, &t->work, t->x, t->n, t->opt->init, t->opt->seed, r->level);

	r->changed = true;
	while (status == STK_OK)
	{
		if (!r->assigned)
			status = assign_all(r);
		if (status != STK_OK || (r->assigned && (r->epoch == t->opt->epochs || !r->changed)))
			break;
		if (!r->assigned)
			continue;
		status = stk_kmeans_update(r->km, &t->work, t->x, t->n, t->codes, &r->changed);
		if (status == STK_OK)
			status = stk_kmeans_fill_empty(r->km, &t->work, t->x, t->n, t->codes, t->opt->empty,
										   &r->changed);
		r->epoch++;
		r->assigned = !r->changed;
		if (status == STK_OK && r->assigned)
			tell(r, r->epoch, r->error, r->empty);
	}
	return status;
}

/* Lloyd's iterations, one level after the other. used [largest K] is scratch. */
static stk_status
train_lloyd(training *t, uint8_t *used, stk_error *err)
{
	stk_kmeans_attach(&t->work, t->x, t->n, t->dim);
	for (int l = 0; l < t->opt->levels; l++)
	{
		stk_kmeans *km = &t->levels[l];
		lloyd r = {.t = t, .km = km, .level = l, .used = used};
		stk_status status = train_level(&r);

		if (status != STK_OK)
			return status;

		/* The last update counted the assignment before it. */
		memset(km->counts, 0, km->size * sizeof(double));
		for (size_t i = 0; i < t->n; i++)
			km->counts[t->codes[i]]++;
		if (l + 1 < t->opt->levels)
			status = stk_kmeans_subtract(km, &t->work, t->x, t->n, t->codes, l, err);
		if (status == STK_ERANGE && err)
			err->row = t->from[err->row];
		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

/* What mini-batch training keeps beside the codebooks. */
typedef struct batch_state
{
	stk_batches batches;
	float *rows;                    /* [size][dim] the batch, then its residuals */
	uint8_t *used[STK_MAX_LEVELS];  /* [K_l] codes chosen in this epoch */
	double error[STK_MAX_LEVELS];   /* of this epoch */
	uint32_t empty[STK_MAX_LEVELS]; /* of this epoch so far */
} batch_state;

/* One batch of n rows through all levels; the first batch ever also starts them. */
static stk_status
train_batch(training *t, batch_state *b, size_t n, bool start, stk_error *err)
{
	/* Choosing initial codewords is most of the first batch's work. */
	if (start)
		stk_kmeans_attach(&t->work, b->rows, n, t->dim);
	for (int l = 0; l < t->opt->levels; l++)
	{
		stk_kmeans *km = &t->levels[l];
		stk_status status;
		double error;

		if (start)
			status = stk_kmeans_start(km, &t->work, b->rows, n, t->opt->init, t->opt->seed, l);
		else
			status = stk_kmeans_measure(&t->work, b->rows, n, t->dim);
		if (status == STK_OK)
			status = stk_kmeans_assign(km, &t->work, b->rows, n, t->codes, &error);
		if (status == STK_OK)
			status = stk_kmeans_add_batch(km, &t->work, b->rows, n, t->codes);
		if (status == STK_OK)
			status = stk_kmeans_assign(km, &t->work, b->rows, n, t->codes, &error);
		if (status != STK_OK)
			return status;
		b->error[l] += error;
		b->empty[l] = mark_used(b->used[l], km->size, t->codes, n);
		if (l + 1 < t->opt->levels)
			status = stk_kmeans_subtract(km, &t->work, b->rows, n, t->codes, l, err);
		if (status == STK_ERANGE && err)
			err->row = t->from[stk_batches_place(&b->batches, n, err->row)];
		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

/* Let the accelerator take the rest of the epoch; *done tells whether it did. */
static stk_status
train_rest_there(training *t, batch_state *b, bool *done)
{
	stk_accelerator_level levels[STK_MAX_LEVELS];
	stk_accelerator_batches run = {.nlevels = t->opt->levels,
								   .levels = levels,
								   .inner_product = t->opt->metric == STK_IP,
								   .unit = t->opt->metric == STK_COSINE};
	stk_status status;

	for (int l = 0; l < run.nlevels; l++)
	{
		const stk_kmeans *km = &t->levels[l];

		levels[l] = (stk_accelerator_level){.size = km->size,
											.codewords = km->centroids,
											.counts = km->counts,
											.used = b->used[l],
											.error = b->error[l]};
	}
	/* What it has of the first batch is of no use any more. */
	stk_kmeans_detach(&t->work);
	status = stk_batches_rest_there(&b->batches, &t->work.exec, t->x, t->dim, &run, done);
	for (int l = 0; l < run.nlevels && *done; l++)
	{
		b->error[l] = levels[l].error;
		b->empty[l] = mark_used(b->used[l], levels[l].size, NULL, 0);
	}
	return status;
}

static stk_status
train_epoch(training *t, batch_state *b, int epoch, stk_error *err)
{
	bool start = epoch == 1 && !t->opt->resume;
	size_t n;

	stk_batches_begin(&b->batches, t->opt->seed, epoch);
	for (int l = 0; l < t->opt->levels; l++)
	{
		memset(b->used[l], 0, t->levels[l].size);
		b->error[l] = 0;
	}
	for (;; start = false)
	{
		bool done = false;
		stk_status status = start ? STK_OK : train_rest_there(t, b, &done);

		if (status == STK_OK)
			status = stk_batches_next(&b->batches, t->exec, t->x, t->dim, b->rows, &n);
		if (status == STK_OK && n > 0)
			status = train_batch(t, b, n, start, err);
		if (status != STK_OK)
			return status;
		if (n == 0)
			break;
	}
	for (int l = 0; l < t->opt->levels; l++)
		report(t, l, epoch, b->error[l], b->empty[l], t->opt->levels);
	return STK_OK;
}

static stk_status
train_minibatch(training *t, size_t batch_size, uint8_t *used, stk_error *err)
{
	batch_state b = {.rows = NULL};
	stk_status status = stk_batches_init(&b.batches, t->exec, t->n, batch_size);

	b.rows = stk_alloc_array(&t->a, batch_size, t->dim * sizeof(float));
	for (int l = 0; l < t->opt->levels; l++)
	{
		b.used[l] = used;
		used += t->levels[l].size;
	}
	if (!b.rows)
		status = STK_ENOMEM;
	for (int epoch = 1; epoch <= t->opt->epochs && status == STK_OK; epoch++)
		status = train_epoch(t, &b, epoch, err);
	stk_batches_free(&b.batches, t->exec);
	stk_free(&t->a, b.rows);
	return status;
}

/* Allocate what training needs, train, free it. */
static stk_status
run(training *t, float *codewords, double *counts, stk_error *err)
{
	const stk_rqkmeans_options *opt = t->opt;
	size_t rows = opt->batch_size && opt->batch_size < t->n ? opt->batch_size : t->n;
	uint32_t largest = 0;
	size_t total = 0;
	double *numbers;
	uint8_t *used;
	stk_status status;

	for (int l = 0; l < opt->levels; l++)
	{
		largest = opt->sizes[l] > largest ? opt->sizes[l] : largest;
		total += opt->sizes[l];
	}
	status = stk_kmeans_work_init(&t->work, rows, t->dim, largest, t->exec);
	if (status != STK_OK)
		return status;
	numbers = stk_alloc_array(&t->a, total, sizeof(double));
	used = stk_alloc_array(&t->a, total, 1);
	t->codes = stk_alloc_array(&t->a, rows, sizeof(uint16_t));
	if (numbers && used && t->codes)
	{
		size_t place = 0;

		for (int l = 0; l < opt->levels; l++)
		{
			stk_kmeans *km = &t->levels[l];

			km->dim = t->dim;
			km->size = opt->sizes[l];
			km->centroids = codewords + place * t->dim;
			km->counts = numbers + place;
			km->inner_product = opt->metric == STK_IP;
			km->unit = opt->metric == STK_COSINE && l == 0;
			place += km->size;
		}
		if (opt->resume)
			memcpy(numbers, counts, total * sizeof(double));
		if (opt->batch_size)
			status = train_minibatch(t, rows, used, err);
		else
			status = train_lloyd(t, used, err);
		if (status == STK_OK && counts)
			memcpy(counts, numbers, total * sizeof(double));
	}
	else
		status = STK_ENOMEM;
	stk_free(&t->a, numbers);
	stk_free(&t->a, used);
	stk_free(&t->a, t->codes);
	stk_kmeans_work_free(&t->work);
	return status;
}

/* Can training start from these? Only mini-batches have counts to go on from. */
static stk_status
check_resume(const stk_rqkmeans_options *opt, const stk_exec *exec, const float *codewords,
			 const double *counts, stk_error *err)
{
	size_t total = 0;

	if (opt->batch_size == 0)
		return stk_fail(err, STK_EINVAL, "resuming needs mini-batches");
	if (!counts)
		return stk_fail(err, STK_EINVAL, "resuming needs the counts of the earlier training");
	for (int l = 0; l < opt->levels; l++)
		total += opt->sizes[l];
	if (!exec->cpu->reference->finite(codewords, total * (size_t) opt->dim))
		return stk_fail(err, STK_EINVAL, "codewords hold NaN or infinity");
	for (size_t k = 0; k < total; k++)
	{
		if (!(counts[k] >= 0 && isfinite(counts[k])))
			return stk_fail(err, STK_EINVAL, "counts hold numbers that count nothing");
	}
	return STK_OK;
}

static stk_status
check_options(const stk_rqkmeans_options *opt, size_t n, stk_error *err)
{
	if (stk_codebook_bytes(opt->levels, opt->sizes, opt->dim) == 0)
		return stk_fail(err, STK_EINVAL, "shape of the codebook is beyond the limits");
	if (opt->epochs < 1)
		return stk_fail(err, STK_EINVAL, "expected at least 1 epoch");
	if (!(opt->balance == 0 || (opt->balance >= 1 && isfinite(opt->balance))))
		return stk_fail(err, STK_EINVAL, "expected a balance of at least 1, or 0 for none");
	if (opt->batch_size && (opt->balance > 0 || opt->empty != STK_EMPTY_KEEP))
		return stk_fail(err, STK_EINVAL,
						"mini-batches take neither a balance nor a policy for empty codewords");
	if (n == 0)
		return stk_fail(err, STK_EINVAL, "no rows to train on");
	return STK_OK;
}

stk_status
stk_rqkmeans_train(const stk_rqkmeans_options *opt, const stk_exec *exec, float *x, size_t n,
				   float *codewords, double *counts, stk_error *err)
{
	training t = {.opt = opt, .exec = exec, .a = exec->a, .dim = (size_t) opt->dim, .x = x, .n = n};
	stk_status status = check_options(opt, n, err);
	stk_fpenv env;

	if (status == STK_OK && opt->resume)
		status = check_resume(opt, exec, codewords, counts, err);
	if (status != STK_OK)
		return status;

	env = stk_fpenv_enter();
	t.from = stk_alloc_array(&t.a, n, sizeof(size_t));
	status = t.from ? stk_train_rows_prepare(exec, opt->metric, x, n, t.dim, err) : STK_ENOMEM;
	if (status == STK_OK)
		status = stk_train_rows_sort(exec, x, n, t.dim, t.from);
	if (status == STK_OK)
		status = run(&t, codewords, counts, err);
	stk_free(&t.a, t.from);
	stk_fpenv_leave(env);
	return status;
}
