/*
 * Training a residual quantizer with moving averages: batches, levels, epochs.
 */
#include <string.h>

#include "ema.h"
#include "fpenv.h"

/* One level. */
typedef struct level
{
	stk_ema ema;
	stk_kmeans km;  /* the same codewords: where they start, who chooses them */
	uint8_t *used;  /* [size] codes chosen in this epoch */
	double error;   /* of this epoch so far */
	uint32_t empty; /* codes not chosen in this epoch so far */
} level;

/* A training run. */
typedef struct training
{
	const stk_ema_options *opt;
	const stk_exec *exec;
	size_t dim;
	const float *x; /* [n][dim] */
	size_t n;
	size_t *from; /* [n] where each row was before they were sorted */
	level levels[STK_MAX_LEVELS];
	stk_kmeans_work work;
	stk_batches batches;
	float *rows;      /* [batch][dim] as the level gets them */
	float *residuals; /* [batch][dim] as it hands them on */
	uint16_t *codes;  /* [batch] */
	size_t step;      /* batches taken in so far */
} training;

static void
mark_used(level *l, const uint16_t *codes, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		l->empty -= !l->used[codes[i]];
		l->used[codes[i]] = 1;
	}
}

/* One batch of n rows, in t->rows, through one level; leaves its residuals there. */
static stk_status
train_level(training *t, int number, size_t n, stk_error *err)
{
	const stk_ema_options *opt = t->opt;
	level *l = &t->levels[number];
	stk_ema_rule rule = {.decay = opt->decay,
						 .restart_after = opt->restart_after,
						 .unit = opt->metric == STK_COSINE && number == 0,
						 .seed = opt->seed,
						 .level = number,
						 .step = (uint32_t) t->step};
	float *residuals = t->residuals;
	stk_status status;
	double error;

	/* Choosing initial codewords is most of the first batch's work. */
	if (t->step == 0)
		stk_kmeans_attach(&t->work, t->rows, n, t->dim);
	if (t->step == 0)
		status = stk_kmeans_start(&l->km, &t->work, t->rows, n, opt->init, opt->seed, number);
	else
		status = stk_kmeans_measure(&t->work, t->rows, n, t->dim);
	if (status == STK_OK)
		status = stk_kmeans_assign(&l->km, &t->work, t->rows, n, t->codes, &error);
	if (status != STK_OK)
		return status;
	l->error += error;
	mark_used(l, t->codes, n);

	/* The residuals are those of the codewords that were chosen, so they come first. */
	if (number + 1 < opt->levels)
		status = stk_train_rows_subtract(t->exec, t->rows, n, t->dim, l->ema.codewords, t->codes,
										 number, residuals, err);
	if (status == STK_ERANGE && err)
		err->row = t->from[stk_batches_place(&t->batches, n, err->row)];
	if (status == STK_OK)
		status = stk_ema_update(&l->ema, &rule, t->exec, t->rows, n, t->codes, err);
	t->residuals = t->rows;
	t->rows = residuals;
	return status;
}

/* Let the accelerator take the rest of the epoch; *done tells whether it did. */
static stk_status
train_rest_there(training *t, bool *done)
{
	const stk_ema_options *opt = t->opt;
	size_t left = t->batches.n - t->batches.next;
	stk_accelerator_level levels[STK_MAX_LEVELS];
	stk_accelerator_batches run = {.nlevels = opt->levels,
								   .levels = levels,
								   .inner_product = opt->metric == STK_IP,
								   .unit = opt->metric == STK_COSINE,
								   .averages = true,
								   .decay = opt->decay,
								   .restart_after = opt->restart_after,
								   .seed = opt->seed,
								   .step = (uint32_t) t->step};
	stk_status status;

	for (int l = 0; l < run.nlevels; l++)
	{
		const level *from = &t->levels[l];

		levels[l] = (stk_accelerator_level){.size = opt->sizes[l],
											.codewords = from->ema.codewords,
											.counts = from->ema.counts,
											.sums = from->ema.sums,
											.idle = from->ema.idle,
											.used = from->used,
											.error = from->error};
	}
	/* What it has of the first batch is of no use any more. */
	stk_kmeans_detach(&t->work);
	status = stk_batches_rest_there(&t->batches, &t->work.exec, t->x, t->dim, &run, done);
	if (!*done)
		return status;
	t->step += (left + t->batches.size - 1) / t->batches.size;
	for (int l = 0; l < run.nlevels; l++)
	{
		level *to = &t->levels[l];

		to->error = levels[l].error;
		to->empty = levels[l].size;
		for (uint32_t k = 0; k < levels[l].size; k++)
			to->empty -= to->used[k];
	}
	return status;
}

static stk_status
train_epoch(training *t, int epoch, stk_error *err)
{
	const stk_ema_options *opt = t->opt;

	stk_batches_begin(&t->batches, opt->seed, epoch);
	for (int l = 0; l < opt->levels; l++)
	{
		memset(t->levels[l].used, 0, opt->sizes[l]);
		t->levels[l].error = 0;
		t->levels[l].empty = opt->sizes[l];
	}
	for (;; t->step++)
	{
		size_t n;
		bool done = false;
		stk_status status = t->step == 0 ? STK_OK : train_rest_there(t, &done);

		if (status == STK_OK)
			status = stk_batches_next(&t->batches, t->exec, t->x, t->dim, t->rows, &n);
		if (status != STK_OK)
			return status;
		if (n == 0)
			break;
		for (int l = 0; l < opt->levels; l++)
		{
			status = train_level(t, l, n, err);
			if (status != STK_OK)
				return status;
		}
	}
	for (int l = 0; l < opt->levels && opt->progress; l++)
	{
		const level *at = &t->levels[l];
		stk_train_progress p = {.level = l,
								.epoch = epoch,
								.objective = at->error / (double) t->n,
								.empty = at->empty,
								.codewords = t->levels[0].ema.codewords,
								.trained = opt->levels};

		opt->progress(opt->progress_ctx, &p);
	}
	return STK_OK;
}

/* Set up the levels over codewords [ΣK][dim], with counts [ΣK] and used [ΣK] for their use. */
static stk_status
begin_levels(training *t, float *codewords, double *counts, uint8_t *used)
{
	const stk_ema_options *opt = t->opt;
	stk_status status = STK_OK;
	size_t place = 0;

	for (int l = 0; l < opt->levels && status == STK_OK; l++)
	{
		level *to = &t->levels[l];

		to->used = used + place;
		to->km = (stk_kmeans){.dim = t->dim,
							  .size = opt->sizes[l],
							  .centroids = codewords + place * t->dim,
							  .counts = counts + place,
							  .inner_product = opt->metric == STK_IP,
							  .unit = opt->metric == STK_COSINE && l == 0};
		status = stk_ema_init(&to->ema, &t->exec->a, opt->sizes[l], t->dim,
							  codewords + place * t->dim, NULL);
		place += opt->sizes[l];
	}
	return status;
}

/* Allocate what training needs, train, free it. */
static stk_status
run(training *t, float *codewords, double *counts, stk_error *err)
{
	const stk_ema_options *opt = t->opt;
	const stk_allocator *a = &t->exec->a;
	size_t batch = opt->batch_size && opt->batch_size < t->n ? opt->batch_size : t->n;
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
	status = stk_kmeans_work_init(&t->work, batch, t->dim, largest, t->exec);
	if (status != STK_OK)
		return status;
	status = stk_batches_init(&t->batches, t->exec, t->n, batch);
	numbers = stk_alloc_array(a, total, sizeof(double));
	used = stk_alloc_array(a, total, 1);
	t->codes = stk_alloc_array(a, batch, sizeof(uint16_t));
	t->rows = stk_alloc_array(a, batch, t->dim * sizeof(float));
	t->residuals = stk_alloc_array(a, batch, t->dim * sizeof(float));
	if (!numbers || !used || !t->codes || !t->rows || !t->residuals)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = begin_levels(t, codewords, numbers, used);
	for (int epoch = 1; epoch <= opt->epochs && status == STK_OK; epoch++)
		status = train_epoch(t, epoch, err);
	for (int l = 0; l < opt->levels; l++)
	{
		if (status == STK_OK && counts)
		{
			memcpy(counts, t->levels[l].ema.counts, opt->sizes[l] * sizeof(double));
			counts += opt->sizes[l];
		}
		stk_ema_free(&t->levels[l].ema);
	}
	stk_free(a, t->residuals);
	stk_free(a, t->rows);
	stk_free(a, t->codes);
	stk_free(a, used);
	stk_free(a, numbers);
	stk_batches_free(&t->batches, t->exec);
	stk_kmeans_work_free(&t->work);
	return status;
}

stk_status
stk_ema_train(const stk_ema_options *opt, const stk_exec *exec, float *x, size_t n,
			  float *codewords, double *counts, stk_error *err)
{
	training t = {.opt = opt, .exec = exec, .dim = (size_t) opt->dim, .x = x, .n = n};
	stk_status status;
	stk_fpenv env;

	if (stk_codebook_bytes(opt->levels, opt->sizes, opt->dim) == 0)
		return stk_fail(err, STK_EINVAL, "shape of the codebook is beyond the limits");
	if (opt->epochs < 1)
		return stk_fail(err, STK_EINVAL, "expected at least 1 epoch");
	if (!(opt->decay >= 0 && opt->decay < 1))
		return stk_fail(err, STK_EINVAL, "decay must be at least 0 and less than 1");
	if (n == 0)
		return stk_fail(err, STK_EINVAL, "no rows to train on");

	env = stk_fpenv_enter();
	t.from = stk_alloc_array(&exec->a, n, sizeof(size_t));
	status = t.from ? stk_train_rows_prepare(exec, opt->metric, x, n, t.dim, err) : STK_ENOMEM;
	if (status == STK_OK)
		status = stk_train_rows_sort(exec, x, n, t.dim, t.from);
	if (status == STK_OK)
		status = run(&t, codewords, counts, err);
	stk_free(&exec->a, t.from);
	stk_fpenv_leave(env);
	return status;
}
