#include "rqkmeans.h"

#include <string.h>

#include "fpenv.h"
#include "rq.h"
#include "sort.h"

/* Rows prepared between two looks at the monitor. */
#define PIECE 1024

/* A training run. */
typedef struct training
{
	const stk_rqkmeans_options *opt;
	const stk_exec *exec;
	stk_allocator a;
	size_t dim;
	float *x; /* [n][dim] */
	size_t n;
	uint16_t *codes; /* [rows at a time] */
	stk_kmeans levels[STK_MAX_LEVELS];
	stk_kmeans_work work;
} training;

/* Where a row came from, with its first values as sort key. */
typedef struct row_entry
{
	uint64_t key;
	size_t row;
} row_entry;

/* Integers in the order of the numbers, -0 before +0. */
static uint32_t
order_key(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

static int
compare_rows(const void *a, const void *b, const void *ctx)
{
	const row_entry *p = a;
	const row_entry *q = b;
	const training *t = ctx;
	const float *x = t->x + p->row * t->dim;
	const float *y = t->x + q->row * t->dim;

	if (p->key != q->key)
		return p->key < q->key ? -1 : 1;
	for (size_t i = 0; i < t->dim; i++)
	{
		uint32_t u = order_key(x[i]);
		uint32_t v = order_key(y[i]);

		if (u != v)
			return u < v ? -1 : 1;
	}
	return 0;
}

/* Put row entries[i].row in place i, for all i, along the cycles of the permutation. */
static void
permute_rows(training *t, row_entry *entries, float *spare)
{
	size_t bytes = t->dim * sizeof(float);

	for (size_t start = 0; start < t->n; start++)
	{
		size_t to = start;

		if (entries[start].row == start)
			continue;
		memcpy(spare, t->x + start * t->dim, bytes);
		while (entries[to].row != start)
		{
			size_t from = entries[to].row;

			memcpy(t->x + to * t->dim, t->x + from * t->dim, bytes);
			entries[to].row = to;
			to = from;
		}
		memcpy(t->x + to * t->dim, spare, bytes);
		entries[to].row = to;
	}
}

/* Sort rows by content, so that the order they came in cannot matter. */
static stk_status
sort_rows(training *t)
{
	row_entry *entries = stk_alloc_array(&t->a, t->n, sizeof(row_entry));
	float *spare = stk_alloc_array(&t->a, t->dim, sizeof(float));
	stk_status status = STK_ENOMEM;

	if (entries && spare)
	{
		for (size_t i = 0; i < t->n; i++)
		{
			const float *row = t->x + i * t->dim;

			entries[i].key = (uint64_t) order_key(row[0]) << 32 | order_key(row[t->dim > 1]);
			entries[i].row = i;
		}
		status =
			stk_sort(entries, t->n, sizeof(row_entry), compare_rows, t, &t->a, t->exec->monitor);
		if (status == STK_OK)
			permute_rows(t, entries, spare);
	}
	stk_free(&t->a, entries);
	stk_free(&t->a, spare);
	return status;
}

/* Check all rows and bring them into the form the metric measures. */
static stk_status
prepare_rows(training *t, stk_error *err)
{
	stk_codebook shape = {.metric = t->opt->metric, .dim = t->opt->dim};

	for (size_t i = 0; i < t->n; i++)
	{
		float *row = t->x + i * t->dim;
		stk_status status;

		if (i % PIECE == 0 && stk_should_stop(t->exec->monitor))
			return STK_ECANCELED;
		status = stk_rq_prepare_row(&shape, row, row, err);
		if (status != STK_OK)
		{
			if (err)
				err->row = i;
			return status;
		}
	}
	return STK_OK;
}

/* Replace rows x [n][dim] by their residuals for the next level. */
static stk_status
subtract_codewords(const training *t, int level, float *x, size_t n, stk_error *err)
{
	for (size_t i = 0; i < n; i++)
	{
		const float *c = t->levels[level].centroids + t->codes[i] * t->dim;

		if (t->exec->cpu->reference->subtract(x + i * t->dim, c, t->dim, x + i * t->dim))
			continue;
		if (err)
			err->level = level + 1;
		return stk_fail(err, STK_ERANGE, "residual of level %d is out of range for type real",
						level + 1);
	}
	return STK_OK;
}

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
report(const training *t, int level, int epoch, double error, uint32_t empty)
{
	stk_train_progress p = {level, epoch, error / (double) t->n, empty};

	if (t->opt->progress)
		t->opt->progress(t->opt->progress_ctx, &p);
}

/* Lloyd's iterations, one level after the other. used [largest K] is scratch. */
static stk_status
train_lloyd(training *t, uint8_t *used, stk_error *err)
{
	for (int l = 0; l < t->opt->levels; l++)
	{
		stk_kmeans *km = &t->levels[l];
		bool changed = true;
		double error;
		stk_status status =
			stk_kmeans_start(km, &t->work, t->x, t->n, t->opt->init, t->opt->seed, l);

		if (status == STK_OK)
			status = stk_kmeans_assign(km, &t->work, t->x, t->n, t->codes, &error);
		for (int epoch = 1; epoch <= t->opt->epochs && changed && status == STK_OK; epoch++)
		{
			status = stk_kmeans_update(km, &t->work, t->x, t->n, t->codes, &changed);
			if (status == STK_OK && changed)
				status = stk_kmeans_assign(km, &t->work, t->x, t->n, t->codes, &error);
			if (status != STK_OK)
				break;
			memset(used, 0, km->size);
			report(t, l, epoch, error, mark_used(used, km->size, t->codes, t->n));
		}
		if (status != STK_OK)
			return status;

		/* The last update counted the assignment before it. */
		memset(km->counts, 0, km->size * sizeof(double));
		for (size_t i = 0; i < t->n; i++)
			km->counts[t->codes[i]]++;
		if (l + 1 < t->opt->levels)
			status = subtract_codewords(t, l, t->x, t->n, err);
		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

/* What mini-batch training keeps beside the codebooks. */
typedef struct batches
{
	size_t size;
	size_t *order;                  /* [n] */
	float *rows;                    /* [size][dim] the batch, then its residuals */
	uint8_t *used[STK_MAX_LEVELS];  /* [K_l] codes chosen in this epoch */
	double error[STK_MAX_LEVELS];   /* of this epoch */
	uint32_t empty[STK_MAX_LEVELS]; /* of this epoch so far */
} batches;

static int
compare_places(const void *a, const void *b, const void *ctx)
{
	size_t p = *(const size_t *) a;
	size_t q = *(const size_t *) b;

	(void) ctx;
	return (p > q) - (p < q);
}

/* One batch of n rows through all levels; the first batch ever also starts them. */
static stk_status
train_batch(training *t, batches *b, size_t n, bool start, stk_error *err)
{
	for (int l = 0; l < t->opt->levels; l++)
	{
		stk_kmeans *km = &t->levels[l];
		stk_status status = STK_OK;
		double error;

		if (start)
			status = stk_kmeans_start(km, &t->work, b->rows, n, t->opt->init, t->opt->seed, l);
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
			status = subtract_codewords(t, l, b->rows, n, err);
		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

static stk_status
train_epoch(training *t, batches *b, int epoch, stk_error *err)
{
	stk_random_order(b->order, t->n, t->n, t->opt->seed, STK_RANDOM_ORDER, 0, (uint32_t) epoch);
	for (int l = 0; l < t->opt->levels; l++)
	{
		memset(b->used[l], 0, t->levels[l].size);
		b->error[l] = 0;
	}
	for (size_t first = 0; first < t->n; first += b->size)
	{
		size_t n = t->n - first < b->size ? t->n - first : b->size;
		size_t *places = b->order + first;
		/* Row order within the batch. */
		stk_status status =
			stk_sort(places, n, sizeof(size_t), compare_places, NULL, &t->a, t->exec->monitor);

		if (status != STK_OK)
			return status;
		for (size_t i = 0; i < n; i++)
			memcpy(b->rows + i * t->dim, t->x + places[i] * t->dim, t->dim * sizeof(float));
		status = train_batch(t, b, n, epoch == 1 && first == 0, err);
		if (status != STK_OK)
			return status;
	}
	for (int l = 0; l < t->opt->levels; l++)
		report(t, l, epoch, b->error[l], b->empty[l]);
	return STK_OK;
}

static stk_status
train_minibatch(training *t, size_t batch_size, uint8_t *used, stk_error *err)
{
	batches b = {.size = batch_size};
	stk_status status = STK_OK;

	b.order = stk_alloc_array(&t->a, t->n, sizeof(size_t));
	b.rows = stk_alloc_array(&t->a, batch_size, t->dim * sizeof(float));
	for (int l = 0; l < t->opt->levels; l++)
	{
		b.used[l] = used;
		used += t->levels[l].size;
	}
	if (!b.order || !b.rows)
		status = STK_ENOMEM;
	for (int epoch = 1; epoch <= t->opt->epochs && status == STK_OK; epoch++)
		status = train_epoch(t, &b, epoch, err);
	stk_free(&t->a, b.order);
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
	numbers = stk_alloc_array(&t->a, 2 * total, sizeof(double));
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
			km->half = numbers + total + place;
			km->inner_product = opt->metric == STK_IP;
			km->unit = opt->metric == STK_COSINE && l == 0;
			place += km->size;
		}
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

stk_status
stk_rqkmeans_train(const stk_rqkmeans_options *opt, const stk_exec *exec, float *x, size_t n,
				   float *codewords, double *counts, stk_error *err)
{
	training t = {.opt = opt, .exec = exec, .a = exec->a, .dim = (size_t) opt->dim, .x = x, .n = n};
	stk_status status;
	stk_fpenv env;

	if (stk_codebook_bytes(opt->levels, opt->sizes, opt->dim) == 0)
		return stk_fail(err, STK_EINVAL, "shape of the codebook is beyond the limits");
	if (opt->epochs < 1)
		return stk_fail(err, STK_EINVAL, "expected at least 1 epoch");
	if (n == 0)
		return stk_fail(err, STK_EINVAL, "no rows to train on");

	env = stk_fpenv_enter();
	status = prepare_rows(&t, err);
	if (status == STK_OK)
		status = sort_rows(&t);
	if (status == STK_OK)
		status = run(&t, codewords, counts, err);
	stk_fpenv_leave(env);
	return status;
}
