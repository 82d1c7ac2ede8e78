/*
 * How good ranked lists are: recall, NDCG and reciprocal rank at cutoffs, over all queries and by
 * group of items, with bootstrap intervals.
 *
 * A query has relevant items and a ranked list. At a cutoff of k, of its first k places:
 *
 *   recall  relevant items there / relevant items
 *   ndcg    sum of 1 / log2(place + 1) over them / the same were they the first places of the list
 *   mrr     1 / the first place of one, 0 without
 *
 * A group's figures count its own relevant items only, at their places in the whole list, over the
 * queries that have one. The figure of a metric is its mean over queries. The interval is the
 * percentile bootstrap's (Efron 1979): queries drawn with replacement, as many as there are,
 * 1,000 times; the 2.5 % and 97.5 % quantiles of the means, interpolated between neighbours.
 */
#ifndef STK_RANKING_H
#define STK_RANKING_H

#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "status.h"

#define STK_RANKING_CUTOFFS 64
#define STK_RANKING_RESAMPLES 1000

typedef enum stk_rank_metric
{
	STK_RANK_RECALL,
	STK_RANK_NDCG,
	STK_RANK_MRR,
	STK_RANK_METRICS
} stk_rank_metric;

/* A relevant item that a list has. */
typedef struct stk_rank_hit
{
	uint32_t place; /* from 1 */
	int group;      /* of the item, from 0; -1 = none */
} stk_rank_hit;

/* One figure; where no query counts the numbers are NaN. */
typedef struct stk_rank_estimate
{
	double value;
	double low;
	double high;
	uint64_t queries; /* that it is a mean over */
} stk_rank_estimate;

typedef struct stk_ranking stk_ranking;

/*
 * Begin.
 *
 *   cutoffs  [n]  1 or more each, n at most STK_RANKING_CUTOFFS; copied
 *   groups   number of groups of items, 0 = none
 *
 * Memory comes from a: 8 bytes a query, group (and one for all), cutoff and metric.
 */
extern stk_status stk_ranking_create(stk_ranking **out, const uint32_t *cutoffs, int n, int groups,
									 const stk_allocator *a);

/*
 * Add a query.
 *
 *   hits      [n]           relevant items of its list, ascending by place, each item once
 *   relevant  [1 + groups]  how many relevant items there are: in all (1 or more), by group
 *
 * STK_ENOMEM, STK_ECANCELED: then it was not added. Takes time in proportion to n, relevant[0] and
 * the groups.
 */
extern stk_status stk_ranking_add(stk_ranking *r, const stk_rank_hit *hits, size_t n,
								  const uint32_t *relevant, const stk_monitor *monitor);

/*
 * The figures, the same for the same queries in the same order and the same seed.
 *
 *   out  [1 + groups][cutoffs][STK_RANK_METRICS]
 */
extern stk_status stk_ranking_finish(const stk_ranking *r, uint64_t seed,
									 const stk_monitor *monitor, stk_rank_estimate *out);

extern void stk_ranking_free(stk_ranking *r);

#endif
