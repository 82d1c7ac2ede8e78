#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explog.h"
#include "philox.h"
#include "ranking.h"

/* Queries drawn, or places of a list, between two looks at the monitor. */
#define LOOK_EVERY 65536

struct stk_ranking
{
	stk_allocator a;
	int n_cutoffs;
	int slots;     /* all items, then each group */
	size_t width;  /* figures a query: [slots][cutoffs][metrics] */
	double *query; /* [queries][width]; NaN in a slot without relevant items */
	size_t queries;
	size_t room;
	uint32_t cutoffs[STK_RANKING_CUTOFFS];
	int ascending[STK_RANKING_CUTOFFS]; /* their numbers, the least cutoff first */
};

stk_status
stk_ranking_create(stk_ranking **out, const uint32_t *cutoffs, int n, int groups,
				   const stk_allocator *a)
{
	stk_ranking *r = stk_alloc_array(a, 1, sizeof(*r));

	*out = r;
	if (!r)
		return STK_ENOMEM;
	memset(r, 0, sizeof(*r));
	r->a = *a;
	r->n_cutoffs = n;
	r->slots = 1 + groups;
	r->width = (size_t) r->slots * (size_t) n * STK_RANK_METRICS;
	memcpy(r->cutoffs, cutoffs, (size_t) n * sizeof(uint32_t));
	for (int c = 0; c < n; c++)
	{
		int at = c;

		for (; at > 0 && cutoffs[r->ascending[at - 1]] > cutoffs[c]; at--)
			r->ascending[at] = r->ascending[at - 1];
		r->ascending[at] = c;
	}
	return STK_OK;
}

/* What an item at this place adds to the discounted cumulative gain. */
static double
gain_at(uint32_t place)
{
	return stk_log(2.0) / stk_log((double) place + 1.0);
}

/* Is it time to look at the monitor, and does it say stop? */
static bool
is_stopped(const stk_monitor *monitor, size_t *steps)
{
	return ++*steps % LOOK_EVERY == 0 && stk_should_stop(monitor);
}

/*
 * The figures of one query for one slot: group -1 is all items. The list and the best one there
 * could be are gone through once, from cutoff to cutoff.
 */
static stk_status
measure(const stk_ranking *r, const stk_rank_hit *hits, size_t n, int group, uint32_t relevant,
		const stk_monitor *monitor, double *out)
{
	uint32_t found = 0;
	uint32_t first = 0;
	uint32_t place = 1;
	double gain = 0;
	double best = 0;
	size_t steps = 0;
	size_t i = 0;

	for (int c = 0; c < r->n_cutoffs; c++)
	{
		double *figure = out + (size_t) r->ascending[c] * STK_RANK_METRICS;
		uint32_t cutoff = r->cutoffs[r->ascending[c]];

		for (; i < n && hits[i].place <= cutoff; i++)
		{
			if (is_stopped(monitor, &steps))
				return STK_ECANCELED;
			if (group >= 0 && hits[i].group != group)
				continue;
			if (found++ == 0)
				first = hits[i].place;
			gain += gain_at(hits[i].place);
		}
		for (; place <= relevant && place <= cutoff; place++)
		{
			if (is_stopped(monitor, &steps))
				return STK_ECANCELED;
			best += gain_at(place);
		}
		figure[STK_RANK_RECALL] = (double) found / (double) relevant;
		figure[STK_RANK_NDCG] = gain / best;
		figure[STK_RANK_MRR] = first > 0 ? 1.0 / (double) first : 0.0;
	}
	return STK_OK;
}

stk_status
stk_ranking_add(stk_ranking *r, const stk_rank_hit *hits, size_t n, const uint32_t *relevant,
				const stk_monitor *monitor)
{
	size_t slot_width = (size_t) r->n_cutoffs * STK_RANK_METRICS;
	double *row;
	stk_status status = STK_OK;

	if (r->queries == r->room)
	{
		size_t room = r->room ? r->room * 2 : 256;
		double *grown = stk_realloc_array(&r->a, r->query, room, r->width * sizeof(double));

		if (!grown)
			return STK_ENOMEM;
		r->query = grown;
		r->room = room;
	}
	row = r->query + r->queries * r->width;
	for (int s = 0; s < r->slots && status == STK_OK; s++, row += slot_width)
	{
		if (relevant[s] > 0)
			status = measure(r, hits, n, s - 1, relevant[s], monitor, row);
		else
			for (size_t i = 0; i < slot_width; i++)
				row[i] = NAN;
	}
	r->queries += status == STK_OK;
	return status;
}

/* Sums of figures, and how many queries each is a sum of. */
typedef struct tally
{
	double *sum;     /* [width] */
	uint64_t *count; /* [width] */
} tally;

static void
tally_add(tally *t, const double *row, size_t width)
{
	for (size_t i = 0; i < width; i++)
	{
		if (isnan(row[i]))
			continue;
		t->sum[i] += row[i];
		t->count[i]++;
	}
}

static int
compare_doubles(const void *x, const void *y)
{
	double p = *(const double *) x;
	double q = *(const double *) y;

	return (p > q) - (p < q);
}

/* The quantile of n ascending values, interpolated. */
static double
quantile(const double *sorted, size_t n, double share)
{
	double at = share * (double) (n - 1);
	size_t below = (size_t) at;

	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (at - (double) below) * (sorted[below + 1] - sorted[below]);
}

/*
 * Means of resampled queries: means [width][STK_RANKING_RESAMPLES], NaN where a sample has no query
 * that counts.
 */
static stk_status
resample(const stk_ranking *r, uint64_t seed, const stk_monitor *monitor, tally *t, double *means)
{
	size_t drawn = 0;

	for (uint32_t b = 0; b < STK_RANKING_RESAMPLES; b++)
	{
		memset(t->sum, 0, r->width * sizeof(double));
		memset(t->count, 0, r->width * sizeof(uint64_t));
		for (size_t i = 0; i < r->queries; i++)
		{
			uint64_t bits = stk_random(seed, STK_RANDOM_BOOTSTRAP, 0, b, i);

			tally_add(t, r->query + stk_below(bits, r->queries) * r->width, r->width);
			if (++drawn % LOOK_EVERY == 0 && stk_should_stop(monitor))
				return STK_ECANCELED;
		}
		for (size_t f = 0; f < r->width; f++)
			means[f * STK_RANKING_RESAMPLES + b] =
				t->count[f] > 0 ? t->sum[f] / (double) t->count[f] : NAN;
	}
	return STK_OK;
}

/* The interval from a figure's resampled means, which are sorted here. */
static void
interval(double *means, stk_rank_estimate *out)
{
	size_t n = 0;

	for (size_t b = 0; b < STK_RANKING_RESAMPLES; b++)
		if (!isnan(means[b]))
			means[n++] = means[b];
	out->low = NAN;
	out->high = NAN;
	if (n == 0)
		return;
	qsort(means, n, sizeof(double), compare_doubles);
	out->low = quantile(means, n, 0.025);
	out->high = quantile(means, n, 0.975);
}

static stk_status
estimate(const stk_ranking *r, uint64_t seed, const stk_monitor *monitor, tally *t, double *means,
		 stk_rank_estimate *out)
{
	stk_status status;

	memset(t->sum, 0, r->width * sizeof(double));
	memset(t->count, 0, r->width * sizeof(uint64_t));
	for (size_t i = 0; i < r->queries; i++)
		tally_add(t, r->query + i * r->width, r->width);
	for (size_t f = 0; f < r->width; f++)
	{
		out[f].queries = t->count[f];
		out[f].value = t->count[f] > 0 ? t->sum[f] / (double) t->count[f] : NAN;
	}
	status = resample(r, seed, monitor, t, means);
	for (size_t f = 0; f < r->width && status == STK_OK; f++)
		interval(means + f * STK_RANKING_RESAMPLES, &out[f]);
	return status;
}

stk_status
stk_ranking_finish(const stk_ranking *r, uint64_t seed, const stk_monitor *monitor,
				   stk_rank_estimate *out)
{
	double *means = stk_alloc_array(&r->a, r->width, STK_RANKING_RESAMPLES * sizeof(double));
	tally t = {.sum = stk_alloc_array(&r->a, r->width, sizeof(double)),
			   .count = stk_alloc_array(&r->a, r->width, sizeof(uint64_t))};
	stk_status status = STK_ENOMEM;

	if (means && t.sum && t.count)
		status = estimate(r, seed, monitor, &t, means, out);
	stk_free(&r->a, means);
	stk_free(&r->a, t.sum);
	stk_free(&r->a, t.count);
	return status;
}

void
stk_ranking_free(stk_ranking *r)
{
	stk_allocator a;

	if (!r)
		return;
	a = r->a;
	stk_free(&a, r->query);
	stk_free(&a, r);
}
