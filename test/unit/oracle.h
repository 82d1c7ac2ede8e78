/*
 * Decoding written as plainly as can be, over a list of all ids: what the searches must find.
 */
#ifndef TEST_ORACLE_H
#define TEST_ORACLE_H

#include <math.h>

#include "catalog.h"
#include "core/decode.h"
#include "core/explog.h"

#define ORACLE_CODES 512

/* Logits of each level: alike for all prefixes. */
typedef struct oracle_model
{
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	float z[STK_MAX_LEVELS][ORACLE_CODES];
	stk_norm norm;
} oracle_model;

typedef struct oracle_hit
{
	double value; /* cost by the length penalty */
	double cost;
	size_t id;
} oracle_hit;

/* Have both ids the same tokenizer and the same first codes? */
static inline bool
oracle_shares(const stk_semid *a, const stk_semid *b, int levels)
{
	return a->tokenizer == b->tokenizer && a->levels >= levels && b->levels >= levels &&
		   memcmp(a->codes, b->codes, (size_t) levels * sizeof(uint16_t)) == 0;
}

static inline uint64_t
oracle_share(double cost, double least)
{
	return (uint64_t) (stk_exp(least - cost) * 0x1p46 + 0.5);
}

/* Take away all but the top_k, then all but the top_p: whichever is least comes next. */
static inline void
oracle_truncate(const stk_decode_options *o, double *cost, size_t n)
{
	bool stays[ORACLE_CODES] = {0};
	size_t kept[ORACLE_CODES];
	size_t most = o->top_k && o->top_k < n ? o->top_k : n;
	size_t n_kept = 0;
	uint64_t total = 0;
	uint64_t sum = 0;

	if (o->top_k == 0 && o->top_p >= 1)
		return;
	while (n_kept < most)
	{
		size_t least = n;

		for (size_t i = 0; i < n; i++)
			if (!stays[i] && cost[i] < INFINITY && (least == n || cost[i] < cost[least]))
				least = i;
		if (least == n)
			break;
		stays[least] = true;
		kept[n_kept++] = least;
	}
	for (size_t i = 0; i < n_kept; i++)
		total += oracle_share(cost[kept[i]], cost[kept[0]]);
	for (size_t i = 0; i < n_kept; i++)
	{
		if (i > 0 && o->top_p < 1 && (double) sum >= o->top_p * (double) total)
			stays[kept[i]] = false;
		sum += oracle_share(cost[kept[i]], cost[kept[0]]);
	}
	total = 0;
	for (size_t i = 0; i < n; i++)
	{
		if (stays[i])
			total += oracle_share(cost[i], cost[kept[0]]);
	}
	for (size_t i = 0; i < n; i++)
	{
		if (!stays[i])
			cost[i] = INFINITY;
		else if (o->temperature > 0)
		{
			double least = cost[kept[0]];
			double c = stk_log((double) total * 0x1p-46) + (cost[i] - least);

			/* kept[0] itself changes here, and comes first of those that are equal. */
			if (i == kept[0])
				continue;
			cost[i] = c > 0 ? c : 0.0;
		}
	}
	if (o->temperature > 0 && n_kept > 0)
		cost[kept[0]] = fmax(stk_log((double) total * 0x1p-46), 0.0);
}

/* The term of the code that follows an id's first l codes, among ids [n]. */
static inline double
oracle_term(const oracle_model *m, const stk_decode_options *o, const stk_semid *ids, size_t n,
			const stk_semid *id, int l)
{
	double temperature = o->temperature > 0 ? o->temperature : 1.0;
	double full[ORACLE_CODES];
	double cost[ORACLE_CODES];
	float z[ORACLE_CODES];
	uint16_t codes[ORACLE_CODES];
	size_t known = 0;
	size_t mine = ORACLE_CODES;

	if (id->codes[l] >= m->sizes[l])
		return INFINITY;
	for (size_t i = 0; i < n; i++)
	{
		uint16_t code = ids[i].codes[l];

		if (!oracle_shares(&ids[i], id, l) || ids[i].levels <= l || code >= m->sizes[l] ||
			(known > 0 && codes[known - 1] == code))
			continue;
		if (code == id->codes[l])
			mine = known;
		codes[known] = code;
		z[known++] = m->z[l][code];
	}
	if (m->norm == STK_NORM_MASKED)
	{
		if (stk_softmax_costs_at(z, known, temperature, cost) != STK_OK)
			return INFINITY;
	}
	else
	{
		if (m->norm == STK_NORM_FULL &&
			stk_softmax_costs_at(m->z[l], m->sizes[l], temperature, full) != STK_OK)
			return INFINITY;
		for (size_t i = 0; i < known; i++)
			cost[i] = m->norm == STK_NORM_FULL ? full[codes[i]] : 0.0 - (double) z[i] / temperature;
	}
	oracle_truncate(o, cost, known);
	return cost[mine];
}

static inline double
oracle_cost(const oracle_model *m, const stk_decode_options *o, const stk_semid *ids, size_t n,
			const stk_semid *id)
{
	double cost = 0;

	for (int l = 0; l < m->levels && l < id->levels; l++)
		cost += oracle_term(m, o, ids, n, id, l);
	return cost;
}

static inline int
oracle_compare(const void *x, const void *y)
{
	const oracle_hit *a = x;
	const oracle_hit *b = y;

	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/*
 * All results in their order: ids of at least `needed` levels, of the tokenizer (0: any), as far as
 * quotas let them come. hits has room for n.
 */
static inline size_t
oracle_search(const oracle_model *m, const stk_decode_options *o, const stk_semid *ids, size_t n,
			  int needed, uint32_t tokenizer, oracle_hit *hits)
{
	size_t found = 0;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
	{
		double cost;

		if (ids[i].levels < needed || (tokenizer && ids[i].tokenizer != tokenizer))
			continue;
		cost = oracle_cost(m, o, ids, n, &ids[i]);
		if (cost < INFINITY)
			hits[found++] =
				(oracle_hit){cost / stk_length_weight(ids[i].levels, o->length_penalty), cost, i};
	}
	qsort(hits, found, sizeof(oracle_hit), oracle_compare);
	for (size_t i = 0; i < found; i++)
	{
		const stk_semid *id = &ids[hits[i].id];
		bool fits = true;

		for (int d = 1; d <= id->levels; d++)
		{
			uint64_t taken = 0;

			for (size_t j = 0; j < kept; j++)
				taken += oracle_shares(&ids[hits[j].id], id, d);
			fits &= o->per_prefix[d] == 0 || taken < o->per_prefix[d];
		}
		if (fits)
			hits[kept++] = hits[i];
	}
	return kept;
}

#endif
