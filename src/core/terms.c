#include "terms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explog.h"
#include "explog_inline.h"
#include "least.h"

void
terms_init(terms *t, const stk_decode_options *options, const stk_allocator *a)
{
	memset(t, 0, sizeof(*t));
	t->a = *a;
	t->options = options;
	t->temperature = options->temperature > 0 ? options->temperature : 1.0;
}

void
terms_free(terms *t)
{
	stk_free(&t->a, t->cost);
	stk_free(&t->a, t->z);
	stk_free(&t->a, t->select);
	stk_free(&t->a, t->entries);
}

stk_status
terms_reserve(terms *t, size_t n)
{
	size_t room = n < 256 ? 256 : n;
	void *grown;

	if (n <= t->room)
		return STK_OK;
	grown = stk_realloc_array(&t->a, t->cost, room, sizeof(double));
	if (!grown)
		return STK_ENOMEM;
	t->cost = grown;
	grown = stk_realloc_array(&t->a, t->z, room, sizeof(float));
	if (!grown)
		return STK_ENOMEM;
	t->z = grown;
	grown = stk_realloc_array(&t->a, t->select, room, sizeof(double));
	if (!grown)
		return STK_ENOMEM;
	t->select = grown;
	grown = stk_realloc_array(&t->a, t->entries, room, sizeof(terms_entry));
	if (!grown)
		return STK_ENOMEM;
	t->entries = grown;
	t->room = room;
	return STK_OK;
}

stk_status
terms_read_row(const terms *t, stk_norm norm, const float *logits, uint32_t size, terms_row *row,
			   uint32_t *code)
{
	float max = -INFINITY;
	bool bad = false;

	for (uint32_t i = 0; i < size; i++)
	{
		bad |= !(logits[i] < INFINITY);
		max = logits[i] > max ? logits[i] : max;
	}
	if (bad)
	{
		for (*code = 0; logits[*code] < INFINITY;)
			++*code;
		return STK_EINVAL;
	}
	*row = (terms_row){.logits = logits, .size = size, .empty = max == -INFINITY};
	if (norm == STK_NORM_NONE)
		row->least = 0.0 - (double) max / t->temperature;
	if (norm == STK_NORM_FULL && !row->empty)
		return stk_softmax_log_sum(logits, size, t->temperature, &row->max, &row->log_sum);
	return STK_OK;
}

stk_status
terms_of_children(terms *t, stk_norm norm, const terms_row *row, const stk_child *children,
				  size_t n)
{
	size_t known = 0;
	stk_status status = terms_reserve(t, n);

	if (status != STK_OK)
		return status;
	while (known < n && children[known].code < row->size && !row->empty)
	{
		t->z[known] = row->logits[children[known].code];
		known++;
	}
	if (norm == STK_NORM_MASKED)
	{
		if (stk_softmax_costs_at(t->z, known, t->temperature, t->cost) != STK_OK)
			known = 0;
	}
	else if (norm == STK_NORM_NONE)
	{
		for (size_t i = 0; i < known; i++)
			t->cost[i] = 0.0 - (double) t->z[i] / t->temperature;
	}
	else
	{
		for (size_t i = 0; i < known; i++)
		{
			double c = row->log_sum + (row->max - (double) t->z[i]) / t->temperature;

			t->cost[i] = c > 0 ? c : 0.0;
		}
	}
	for (size_t i = known; i < n; i++)
		t->cost[i] = INFINITY;
	return STK_OK;
}

static int
compare_entries(const void *x, const void *y)
{
	const terms_entry *a = x;
	const terms_entry *b = y;

	if (a->cost != b->cost)
		return a->cost < b->cost ? -1 : 1;
	return (a->child > b->child) - (a->child < b->child);
}

static uint64_t
share_of(double cost, double least)
{
	return stk_share(cost - least);
}

/* The fewest entries, best first, whose shares add up to top_p of all. */
static void
keep_top_p(terms *t, double *cost, size_t n)
{
	size_t live = 0;
	uint64_t total = 0;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		if (cost[i] < INFINITY)
			t->entries[live++] = (terms_entry){cost[i], (uint32_t) i};
	if (live == 0)
		return;
	qsort(t->entries, live, sizeof(terms_entry), compare_entries);
	for (size_t i = 0; i < live; i++)
		total += share_of(t->entries[i].cost, t->entries[0].cost);
	for (size_t i = 0; i < live; i++)
	{
		if (i > 0 && (double) sum >= t->options->top_p * (double) total)
			cost[t->entries[i].child] = INFINITY;
		sum += share_of(t->entries[i].cost, t->entries[0].cost);
	}
}

/* Terms by which the probabilities that are left add up to 1. */
static void
renormalise(double *cost, size_t n)
{
	double least = INFINITY;
	double log_total;
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		least = cost[i] < least ? cost[i] : least;
	if (least == INFINITY)
		return;
	for (size_t i = 0; i < n; i++)
		if (cost[i] < INFINITY)
			total += share_of(cost[i], least);
	log_total = stk_log_of_shares(total);
	for (size_t i = 0; i < n; i++)
	{
		double c = log_total + (cost[i] - least);

		cost[i] = c > 0 ? c : 0.0;
	}
}

stk_status
terms_truncate(terms *t, double *cost, size_t n)
{
	const stk_decode_options *o = t->options;
	stk_status status;

	if (o->top_k == 0 && o->top_p >= 1)
		return STK_OK;
	status = terms_reserve(t, n);
	if (status != STK_OK)
		return status;
	if (o->top_k > 0)
		least_keep(cost, n, o->top_k, t->select, cost);
	if (o->top_p < 1)
		keep_top_p(t, cost, n);
	if (o->temperature > 0)
		renormalise(cost, n);
	return STK_OK;
}
