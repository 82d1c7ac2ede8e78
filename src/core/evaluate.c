#include "evaluate.h"

#include <math.h>
#include <string.h>

#include "dot.h"
#include "explog.h"
#include "fpenv.h"
#include "rq.h"
#include "sort.h"

struct stk_evaluator
{
	stk_codebook cb;
	stk_allocator a;
	uint64_t rows;
	double norm;                      /* sum of squared norms */
	double error[STK_MAX_LEVELS];     /* sums of squared distances */
	uint64_t *counts[STK_MAX_LEVELS]; /* [K_l], level 0 owns the memory */
	float *row;                       /* [dim] the row as the metric sees it */
	float *sum;                       /* [dim] */
	uint8_t *ids;                     /* [capacity][2 * levels], big-endian codes */
	size_t capacity;
};

stk_status
stk_evaluator_create(const stk_codebook *cb, const stk_allocator *a, stk_evaluator **out)
{
	stk_evaluator *ev = stk_alloc_array(a, 1, sizeof(stk_evaluator));
	size_t codes = 0;

	*out = NULL;
	if (!ev)
		return STK_ENOMEM;
	memset(ev, 0, sizeof(*ev));
	ev->cb = *cb;
	ev->a = *a;
	for (int l = 0; l < cb->levels; l++)
		codes += cb->sizes[l];
	ev->counts[0] = stk_alloc_array(a, codes, sizeof(uint64_t));
	ev->row = stk_alloc_array(a, (size_t) cb->dim, sizeof(float));
	ev->sum = stk_alloc_array(a, (size_t) cb->dim, sizeof(float));
	if (!ev->counts[0] || !ev->row || !ev->sum)
	{
		stk_evaluator_free(ev);
		return STK_ENOMEM;
	}
	memset(ev->counts[0], 0, codes * sizeof(uint64_t));
	for (int l = 1; l < cb->levels; l++)
		ev->counts[l] = ev->counts[l - 1] + cb->sizes[l - 1];
	*out = ev;
	return STK_OK;
}

void
stk_evaluator_free(stk_evaluator *ev)
{
	stk_allocator a;

	if (!ev)
		return;
	a = ev->a;
	stk_free(&a, ev->counts[0]);
	stk_free(&a, ev->row);
	stk_free(&a, ev->sum);
	stk_free(&a, ev->ids);
	stk_free(&a, ev);
}

/* |x - y|^2 in binary64, where a difference of two binary32 values cannot overflow. */
static double
squared_distance(const float *x, const float *y, size_t dim)
{
	double lanes[STK_LANES] = {0};

	for (size_t i = 0; i < dim; i++)
	{
		double d = (double) x[i] - (double) y[i];

		lanes[i % STK_LANES] += d * d;
	}
	return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
		   ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static stk_status
add_row(stk_evaluator *ev, const float *x, const uint16_t *codes, stk_error *err)
{
	const stk_codebook *cb = &ev->cb;
	size_t dim = (size_t) cb->dim;
	uint8_t *id = ev->ids + ev->rows * 2 * cb->levels;
	stk_status status = stk_rq_prepare_row(cb, x, ev->row, err);

	if (status != STK_OK)
		return status;
	ev->norm += stk_dot(ev->row, ev->row, dim);
	for (int l = 0; l < cb->levels; l++)
	{
		status = stk_rq_decode(cb, codes, l + 1, ev->sum, err);
		if (status != STK_OK)
			return status;
		ev->error[l] += squared_distance(ev->row, ev->sum, dim);
		ev->counts[l][codes[l]]++;
		id[2 * l] = (uint8_t) (codes[l] >> 8);
		id[2 * l + 1] = (uint8_t) codes[l];
	}
	ev->rows++;
	return STK_OK;
}

stk_status
stk_evaluator_add(stk_evaluator *ev, const float *x, const uint16_t *codes, size_t n,
				  stk_error *err)
{
	size_t needed = ev->rows + n;
	stk_status status = STK_OK;
	stk_fpenv env;

	if (needed > ev->capacity)
	{
		size_t capacity = needed + needed / 2;
		uint8_t *ids = stk_realloc_array(&ev->a, ev->ids, capacity, 2 * (size_t) ev->cb.levels);

		if (!ids)
			return STK_ENOMEM;
		ev->ids = ids;
		ev->capacity = capacity;
	}
	env = stk_fpenv_enter();
	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		status = add_row(ev, x + i * ev->cb.dim, codes + i * ev->cb.levels, err);
		if (status != STK_OK && err)
			err->row = i;
	}
	stk_fpenv_leave(env);
	return status;
}

static int
compare_ids(const void *a, const void *b, const void *ctx)
{
	return memcmp(a, b, *(const size_t *) ctx);
}

static int
compare_counts(const void *a, const void *b, const void *ctx)
{
	uint64_t p = *(const uint64_t *) a;
	uint64_t q = *(const uint64_t *) b;

	(void) ctx;
	return (p > q) - (p < q);
}

/* What `count` of `rows` rows add to the entropy. */
static double
surprise(uint64_t count, uint64_t rows)
{
	double p = (double) count / (double) rows;

	return -p * stk_log(p);
}

static stk_status
finish_ids(stk_evaluator *ev, const stk_monitor *monitor, stk_evaluation *result)
{
	size_t width = 2 * (size_t) ev->cb.levels;
	uint64_t shared = 0;
	stk_status status = stk_sort(ev->ids, ev->rows, width, compare_ids, &width, &ev->a, monitor);

	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < ev->rows;)
	{
		size_t end = i + 1;
		uint64_t count;

		while (end < ev->rows && memcmp(ev->ids + i * width, ev->ids + end * width, width) == 0)
			end++;
		count = end - i;
		result->ids++;
		result->entropy += surprise(count, ev->rows);
		if (count > 1)
			shared += count;
		if (count > result->largest)
			result->largest = count;
		i = end;
	}
	result->unique_fraction = (double) result->ids / (double) ev->rows;
	result->collision_rate = (double) shared / (double) ev->rows;
	result->perplexity = stk_exp(result->entropy);
	return STK_OK;
}

/* counts [size] is sorted here. */
static stk_status
finish_level(stk_evaluator *ev, int l, const stk_monitor *monitor, stk_level_evaluation *r)
{
	uint64_t *counts = ev->counts[l];
	double ranked = 0; /* sum of rank * count, ranks from 1 in ascending order */
	stk_status status;

	r->mse = ev->error[l] / (double) ev->rows;
	r->relative_error = ev->norm > 0 ? ev->error[l] / ev->norm : 0;
	for (uint32_t k = 0; k < r->size; k++)
	{
		if (counts[k] == 0)
			continue;
		r->used++;
		r->entropy += surprise(counts[k], ev->rows);
	}
	r->dead = r->size - r->used;
	r->usage = (double) r->used / r->size;
	r->perplexity = stk_exp(r->entropy);

	status = stk_sort(counts, r->size, sizeof(uint64_t), compare_counts, NULL, &ev->a, monitor);
	if (status != STK_OK)
		return status;
	for (uint32_t k = 0; k < r->size; k++)
		ranked += (double) (k + 1) * (double) counts[k];
	r->gini = 2 * ranked / ((double) r->size * (double) ev->rows) -
			  ((double) r->size + 1) / (double) r->size;
	return STK_OK;
}

stk_status
stk_evaluator_finish(stk_evaluator *ev, const stk_monitor *monitor, stk_evaluation *result)
{
	stk_status status = STK_OK;
	stk_fpenv env;

	memset(result, 0, sizeof(*result));
	result->rows = ev->rows;
	result->levels = ev->cb.levels;
	for (int l = 0; l < ev->cb.levels; l++)
		result->level[l].size = ev->cb.sizes[l];
	if (ev->rows == 0)
		return STK_OK;

	env = stk_fpenv_enter();
	for (int l = 0; l < ev->cb.levels && status == STK_OK; l++)
		status = finish_level(ev, l, monitor, &result->level[l]);
	if (status == STK_OK)
		status = finish_ids(ev, monitor, result);
	result->mse = result->level[ev->cb.levels - 1].mse;
	result->relative_error = result->level[ev->cb.levels - 1].relative_error;
	stk_fpenv_leave(env);
	return status;
}
