#include "train_rows.h"

#include <string.h>

#include "philox.h"
#include "rq_impl.h"
#include "sort.h"

/* Rows of a task, and between two looks at the monitor. */
#define TASK_ROWS 512

/* What one thread met: its first row in trouble. */
typedef struct trouble
{
	stk_status status;
	stk_error err;
} trouble;

/* Something done to every row alike. */
typedef struct row_job
{
	const stk_exec *exec;
	stk_metric metric;
	const float *x;
	float *out; /* may be x */
	size_t n;
	size_t dim;
	const float *codewords;
	const uint16_t *codes;
	int level;
	stk_status (*each)(const struct row_job *j, size_t row, stk_error *err);
	trouble *troubles; /* [threads] */
} row_job;

static void
row_task(void *arg, size_t index, int thread)
{
	const row_job *j = arg;
	size_t first = index * TASK_ROWS;
	size_t end = j->n - first < TASK_ROWS ? j->n : first + TASK_ROWS;
	trouble *t = &j->troubles[thread];

	/* A row behind the first in trouble does not matter, one before it does. */
	if (t->status == STK_ECANCELED || (t->status != STK_OK && t->err.row < first))
		return;
	if (stk_should_stop(j->exec->monitor))
	{
		t->status = STK_ECANCELED;
		return;
	}
	for (size_t row = first; row < end; row++)
	{
		stk_error err = {.level = -1};
		stk_status status = j->each(j, row, &err);

		if (status == STK_OK)
			continue;
		t->status = status;
		t->err = err;
		t->err.row = row;
		return;
	}
}

/* Run the job on all rows; the first row's error is the one reported. */
static stk_status
for_all_rows(row_job *j, stk_error *err)
{
	const stk_allocator *a = &j->exec->a;
	size_t threads = (size_t) stk_threads(j->exec->pool);
	const trouble *worst = NULL;
	stk_status status = STK_OK;

	j->troubles = stk_alloc_array(a, threads, sizeof(trouble));
	if (!j->troubles)
		return STK_ENOMEM;
	memset(j->troubles, 0, threads * sizeof(trouble));
	stk_run(j->exec->pool, row_task, j, (j->n + TASK_ROWS - 1) / TASK_ROWS);
	for (size_t i = 0; i < threads && status != STK_ECANCELED; i++)
	{
		const trouble *t = &j->troubles[i];

		if (t->status == STK_ECANCELED)
			status = STK_ECANCELED;
		else if (t->status != STK_OK && (!worst || t->err.row < worst->err.row))
			worst = t;
	}
	if (status == STK_OK && worst)
	{
		status = worst->status;
		if (err)
			*err = worst->err;
	}
	stk_free(a, j->troubles);
	return status;
}

static stk_status
prepare_row(const row_job *j, size_t row, stk_error *err)
{
	stk_codebook shape = {.metric = j->metric, .dim = (int) j->dim};

	return stk_rq_prepare(&shape, j->exec->cpu->reference, j->x + row * j->dim,
						  j->out + row * j->dim, row, err);
}

stk_status
stk_train_rows_prepare(const stk_exec *exec, stk_metric metric, float *x, size_t n, size_t dim,
					   stk_error *err)
{
	row_job j = {
		.exec = exec, .metric = metric, .x = x, .out = x, .n = n, .dim = dim, .each = prepare_row};

	return for_all_rows(&j, err);
}

static stk_status
subtract_row(const row_job *j, size_t row, stk_error *err)
{
	const float *c = j->codewords + j->codes[row] * j->dim;

	if (j->exec->cpu->reference->subtract(j->x + row * j->dim, c, j->dim, j->out + row * j->dim))
		return STK_OK;
	return stk_rq_out_of_range(err, row, j->level + 1);
}

stk_status
stk_train_rows_subtract(const stk_exec *exec, const float *x, size_t n, size_t dim,
						const float *codewords, const uint16_t *codes, int level, float *residuals,
						stk_error *err)
{
	row_job j = {.exec = exec,
				 .x = x,
				 .out = residuals,
				 .n = n,
				 .dim = dim,
				 .codewords = codewords,
				 .codes = codes,
				 .level = level,
				 .each = subtract_row};

	return for_all_rows(&j, err);
}

/* Where a row came from, with its first values as sort key. */
typedef struct row_entry
{
	uint64_t key;
	size_t row;
} row_entry;

typedef struct row_set
{
	const float *x; /* [n][dim] */
	size_t dim;
} row_set;

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
	const row_set *set = ctx;
	const float *x = set->x + p->row * set->dim;
	const float *y = set->x + q->row * set->dim;

	if (p->key != q->key)
		return p->key < q->key ? -1 : 1;
	for (size_t i = 0; i < set->dim; i++)
	{
		uint32_t u = order_key(x[i]);
		uint32_t v = order_key(y[i]);

		if (u != v)
			return u < v ? -1 : 1;
	}
	return 0;
}

/*
 * Put row entries[i].row in place i, for all i, along the cycles of the permutation. STK_ECANCELED:
 * then the rows are all there, in no particular order.
 */
static stk_status
permute_rows(const stk_exec *exec, float *x, size_t n, size_t dim, row_entry *entries, float *spare)
{
	size_t bytes = dim * sizeof(float);
	size_t look = stk_rows_a_look(dim);
	size_t moved = 0;

	for (size_t start = 0; start < n; start++)
	{
		size_t to = start;

		if (entries[start].row == start)
			continue;
		memcpy(spare, x + start * dim, bytes);
		while (entries[to].row != start)
		{
			size_t from = entries[to].row;

			memcpy(x + to * dim, x + from * dim, bytes);
			entries[to].row = to;
			to = from;
			if (++moved % look == 0 && stk_should_stop(exec->monitor))
			{
				memcpy(x + to * dim, spare, bytes);
				return STK_ECANCELED;
			}
		}
		memcpy(x + to * dim, spare, bytes);
		entries[to].row = to;
	}
	return STK_OK;
}

stk_status
stk_train_rows_sort(const stk_exec *exec, float *x, size_t n, size_t dim, size_t *from)
{
	row_entry *entries = stk_alloc_array(&exec->a, n, sizeof(row_entry));
	float *spare = stk_alloc_array(&exec->a, dim, sizeof(float));
	row_set set = {x, dim};
	stk_status status = STK_ENOMEM;

	if (entries && spare)
	{
		for (size_t i = 0; i < n; i++)
		{
			const float *row = x + i * dim;

			entries[i].key = (uint64_t) order_key(row[0]) << 32 | order_key(row[dim > 1]);
			entries[i].row = i;
		}
		status =
			stk_sort(entries, n, sizeof(row_entry), compare_rows, &set, &exec->a, exec->monitor);
		for (size_t i = 0; i < n && status == STK_OK; i++)
			from[i] = entries[i].row;
		if (status == STK_OK)
			status = permute_rows(exec, x, n, dim, entries, spare);
	}
	stk_free(&exec->a, entries);
	stk_free(&exec->a, spare);
	return status;
}

stk_status
stk_batches_init(stk_batches *b, const stk_exec *exec, size_t n, size_t size)
{
	*b = (stk_batches){.n = n, .size = size, .next = n};
	b->order = stk_alloc_array(&exec->a, n, sizeof(size_t));
	return b->order ? STK_OK : STK_ENOMEM;
}

void
stk_batches_free(stk_batches *b, const stk_exec *exec)
{
	if (b->there)
		b->accelerator->ops->rows_free(b->accelerator->ctx, b->there);
	b->there = NULL;
	stk_free(&exec->a, b->order);
	b->order = NULL;
}

void
stk_batches_begin(stk_batches *b, uint64_t seed, int epoch)
{
	stk_random_order(b->order, b->n, b->n, seed, STK_RANDOM_ORDER, 0, (uint32_t) epoch);
	b->next = 0;
}

static int
compare_places(const void *a, const void *b, const void *ctx)
{
	size_t p = *(const size_t *) a;
	size_t q = *(const size_t *) b;

	(void) ctx;
	return (p > q) - (p < q);
}

/* Rows of the batch that begins with number `next` of the epoch; puts its places in order. */
static stk_status
order_batch(stk_batches *b, const stk_exec *exec, size_t next, size_t *count)
{
	*count = b->n - next < b->size ? b->n - next : b->size;
	return stk_sort(b->order + next, *count, sizeof(size_t), compare_places, NULL, &exec->a,
					exec->monitor);
}

stk_status
stk_batches_order(stk_batches *b, const stk_exec *exec)
{
	stk_status status = STK_OK;

	for (size_t next = b->next, count; next < b->n && status == STK_OK; next += count)
		status = order_batch(b, exec, next, &count);
	return status;
}

stk_status
stk_batches_next(stk_batches *b, const stk_exec *exec, const float *x, size_t dim, float *rows,
				 size_t *count)
{
	const size_t *places = b->order + b->next;
	size_t n;
	stk_status status = order_batch(b, exec, b->next, &n);

	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n; i++)
	{
		if (i % stk_rows_a_look(dim) == 0 && stk_should_stop(exec->monitor))
			return STK_ECANCELED;
		memcpy(rows + i * dim, x + places[i] * dim, dim * sizeof(float));
	}
	b->next += n;
	*count = n;
	return STK_OK;
}

stk_status
stk_batches_rest_there(stk_batches *b, stk_exec *exec, const float *x, size_t dim,
					   stk_accelerator_batches *run, bool *done)
{
	const stk_accelerator *a = exec->accelerator;
	stk_status status;

	*done = false;
	if (!a || !a->ops->rows_create || !a->ops->rows_free || !a->ops->batches || b->next == b->n)
		return STK_OK;
	status = stk_batches_order(b, exec);
	if (status != STK_OK)
		return status;
	b->accelerator = a;
	if (!b->there)
		status = a->ops->rows_create(a->ctx, x, b->n, dim, exec->monitor, &b->there);
	if (status == STK_OK)
	{
		run->places = b->order + b->next;
		run->n = b->n - b->next;
		run->size = b->size;
		status = a->ops->batches(a->ctx, b->there, run, exec->monitor);
	}
	else
		b->there = NULL;
	*done = status == STK_OK;
	if (*done)
		b->next = b->n;
	/* It has no room, or knows no way: the next epoch would be no different. */
	else if (status != STK_ECANCELED)
		exec->accelerator = NULL;
	return status == STK_ECANCELED ? status : STK_OK;
}

size_t
stk_batches_place(const stk_batches *b, size_t count, size_t row)
{
	return b->order[b->next - count + row];
}
