#include "ema.h"

#include <math.h>
#include <string.h>

#include "kmeans_impl.h"
#include "member_sums.h"
#include "pack.h"
#include "philox.h"

/* Codes of a task on a pool. */
#define TASK_CODES 16
/* Counts below this divide as this. */
#define LEAST_COUNT 1e-5

/* What a thread needs for itself, and what it met. */
typedef struct thread_work
{
	double *sum;       /* [dim] of the batch's rows with one code */
	float *mean;       /* [dim] */
	stk_status status; /* STK_ECANCELED, or STK_EINVAL for a row that is not finite */
} thread_work;

/* An update, shared by its tasks. */
typedef struct update
{
	stk_ema *e;
	const stk_ema_rule *rule;
	const stk_exec *exec;
	const float *x; /* [n][dim] */
	size_t n;
	stk_members members;
	thread_work *work; /* [threads] */
	void *scratch;     /* of all of them */
} update;

stk_status
stk_ema_init(stk_ema *e, const stk_allocator *a, uint32_t size, size_t dim, float *codewords,
			 stk_error *err)
{
	*e = (stk_ema){.size = size, .dim = dim, .codewords = codewords, .a = *a};
	if (dim > STK_MAX_DIM || stk_codebook_bytes(1, &size, (int) dim) == 0)
		return stk_fail(err, STK_EINVAL, "shape of the codebook is beyond the limits");
	e->counts = stk_alloc_array(a, size, sizeof(double));
	e->sums = stk_alloc_array(a, size, dim * sizeof(double));
	e->idle = stk_alloc_array(a, size, sizeof(uint32_t));
	if (!e->counts || !e->sums || !e->idle)
	{
		stk_ema_free(e);
		return STK_ENOMEM;
	}
	memset(e->counts, 0, size * sizeof(double));
	memset(e->sums, 0, size * dim * sizeof(double));
	memset(e->idle, 0, size * sizeof(uint32_t));
	return STK_OK;
}

void
stk_ema_free(stk_ema *e)
{
	stk_free(&e->a, e->counts);
	stk_free(&e->a, e->sums);
	stk_free(&e->a, e->idle);
	e->counts = NULL;
	e->sums = NULL;
	e->idle = NULL;
}

/* Blend the batch's `rows` rows, of the given sum, into code k and refresh its codeword. */
static void
blend(stk_ema *e, const stk_ema_rule *rule, uint32_t k, size_t rows, const double *sum, float *mean)
{
	size_t dim = e->dim;
	double keep = rule->decay;
	double take = 1 - rule->decay;
	double *s = e->sums + k * dim;
	float *c = e->codewords + k * dim;
	double count = keep * e->counts[k] + take * (double) rows;
	double divisor = count > LEAST_COUNT ? count : LEAST_COUNT;

	e->counts[k] = count;
	for (size_t i = 0; i < dim; i++)
	{
		s[i] = keep * s[i] + take * sum[i];
		mean[i] = (float) (s[i] / divisor);
	}
	/* Rows that cancel out have no direction: the codeword keeps its own. */
	if (rule->unit && !stk_kmeans_normalise(mean, dim))
		return;
	memcpy(c, mean, dim * sizeof(float));
}

/* Make code k a random row of the batch; STK_EINVAL, and nothing done, when that is not finite. */
static stk_status
restart(const update *u, uint32_t k)
{
	stk_ema *e = u->e;
	const stk_ema_rule *rule = u->rule;
	uint64_t bits = stk_random(rule->seed, STK_RANDOM_RESTART, rule->level, rule->step, k);
	const float *row = u->x + (size_t) stk_below(bits, u->n) * e->dim;

	if (!u->exec->cpu->reference->finite(row, e->dim))
		return STK_EINVAL;
	memcpy(e->codewords + k * e->dim, row, e->dim * sizeof(float));
	memset(e->sums + k * e->dim, 0, e->dim * sizeof(double));
	e->counts[k] = 0;
	e->idle[k] = 0;
	return STK_OK;
}

/* Update one code, wholly or not at all. */
static stk_status
update_code(const update *u, uint32_t k, thread_work *w)
{
	stk_ema *e = u->e;
	uint32_t restart_after = u->rule->restart_after;
	size_t rows = stk_members_count(&u->members, k);
	uint32_t idle = e->idle[k] < UINT32_MAX ? e->idle[k] + 1 : UINT32_MAX;
	stk_status status;

	if (rows == 0)
	{
		if (restart_after > 0 && idle >= restart_after)
			return restart(u, k);
		e->idle[k] = idle;
		return STK_OK;
	}
	status = stk_members_sum(&u->members, k, u->x, e->dim, w->sum, u->exec->cpu->reference,
							 u->exec->monitor);
	if (status != STK_OK)
		return status;
	/* Binary64 has room for the sum of any number of finite rows. */
	for (size_t i = 0; i < e->dim; i++)
	{
		if (!isfinite(w->sum[i]))
			return STK_EINVAL;
	}
	blend(e, u->rule, k, rows, w->sum, w->mean);
	e->idle[k] = 0;
	return STK_OK;
}

static void
update_task(void *arg, size_t index, int thread)
{
	const update *u = arg;
	thread_work *w = &u->work[thread];
	uint32_t first = (uint32_t) index * TASK_CODES;
	uint32_t end = u->e->size - first < TASK_CODES ? u->e->size : first + TASK_CODES;

	if (w->status == STK_OK && stk_should_stop(u->exec->monitor))
		w->status = STK_ECANCELED;
	for (uint32_t k = first; k < end && w->status == STK_OK; k++)
		w->status = update_code(u, k, w);
}

/* Allocate what the tasks use; threads share no cache line. */
static stk_status
begin(update *u, size_t threads)
{
	const stk_allocator *a = &u->exec->a;
	size_t sum_bytes = stk_aligned_bytes(u->e->dim * sizeof(double));
	size_t bytes = sum_bytes + stk_aligned_bytes(u->e->dim * sizeof(float));
	stk_status status = stk_members_init(&u->members, a, u->n, u->e->size);
	uint8_t *base;

	u->work = stk_alloc_array(a, threads, sizeof(thread_work));
	u->scratch = stk_alloc_array(a, threads, bytes + STK_ALIGN);
	if (status != STK_OK || !u->work || !u->scratch)
		return STK_ENOMEM;
	base = stk_align(u->scratch);
	for (size_t t = 0; t < threads; t++, base += bytes)
		u->work[t] = (thread_work){.sum = (double *) (void *) base,
								   .mean = (float *) (void *) (base + sum_bytes)};
	return STK_OK;
}

static void
end(update *u)
{
	const stk_allocator *a = &u->exec->a;

	stk_members_free(&u->members, a);
	stk_free(a, u->work);
	stk_free(a, u->scratch);
}

static stk_status
name_row(const update *u, stk_error *err)
{
	size_t row = 0;

	while (u->exec->cpu->reference->finite(u->x + row * u->e->dim, u->e->dim))
		row++;
	if (err)
		err->row = row;
	return stk_fail(err, STK_EINVAL, "row holds NaN or infinity");
}

static stk_status
check_batch(const stk_ema *e, const stk_ema_rule *rule, size_t n, const uint16_t *codes,
			stk_error *err)
{
	if (n == 0)
		return stk_fail(err, STK_EINVAL, "no rows to learn from");
	if (!(rule->decay >= 0 && rule->decay <= 1))
		return stk_fail(err, STK_EINVAL, "decay must be from 0 to 1");
	for (size_t i = 0; i < n; i++)
	{
		if (codes[i] < e->size)
			continue;
		if (err)
			err->row = i;
		return stk_fail(err, STK_EINVAL, "code %d is not in the codebook", codes[i]);
	}
	return STK_OK;
}

stk_status
stk_ema_update(stk_ema *e, const stk_ema_rule *rule, const stk_exec *exec, const float *x, size_t n,
			   const uint16_t *codes, stk_error *err)
{
	update u = {.e = e, .rule = rule, .exec = exec, .x = x, .n = n};
	size_t threads = (size_t) stk_threads(exec->pool);
	stk_status status = check_batch(e, rule, n, codes, err);

	if (status != STK_OK)
		return status;
	status = begin(&u, threads);
	if (status == STK_OK)
	{
		stk_members_group(&u.members, codes, n, e->size);
		stk_run(exec->pool, update_task, &u, (e->size + TASK_CODES - 1) / TASK_CODES);
		for (size_t t = 0; t < threads && status != STK_ECANCELED; t++)
			status = u.work[t].status != STK_OK ? u.work[t].status : status;
		if (status == STK_EINVAL)
			status = name_row(&u, err);
	}
	end(&u);
	return status;
}
