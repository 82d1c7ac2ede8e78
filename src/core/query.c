#include "query.h"

#include <math.h>
#include <string.h>

#include "fpenv.h"
#include "query_form.h"

/*
 * The largest finite cost term: 33 of them cannot overflow binary64. Queries made here stay far
 * below; only bytes from outside can come near.
 */
#define MAX_TERM 1e300

static const char *const norm_names[] = {"full", "none", "masked"};

stk_status
stk_norm_parse(const char *name, stk_norm *norm)
{
	for (int i = 0; i <= STK_NORM_MASKED; i++)
	{
		if (strcmp(name, norm_names[i]) == 0)
		{
			*norm = (stk_norm) i;
			return STK_OK;
		}
	}
	return STK_EINVAL;
}

const char *
stk_norm_name(stk_norm norm)
{
	return norm_names[norm];
}

static uint64_t
pad8(uint64_t n)
{
	return (n + 7) & ~(uint64_t) 7;
}

uint64_t
stk_query_pairs(int levels, const uint32_t *sizes)
{
	uint64_t pairs = 0;

	for (int l = 0; l < levels; l++)
		for (int m = l + 1; m < levels; m++)
			pairs += (uint64_t) sizes[l] * sizes[m];
	return pairs;
}

void
stk_query_lay_out(stk_query_kind kind, int levels, const uint32_t *sizes, uint32_t set_bytes,
				  uint32_t set_nodes, stk_query_layout *layout)
{
	uint64_t at = 16 + pad8((uint64_t) 4 * levels);
	uint64_t codes = 0;

	for (int l = 0; l < levels; l++)
		codes += sizes[l];
	memset(layout, 0, sizeof(*layout));
	switch (kind)
	{
		case STK_QUERY_LEVELS:
			layout->cost = at;
			layout->logits = at + 8 * codes;
			layout->end = layout->logits + 4 * codes;
			break;
		case STK_QUERY_WITHIN:
			layout->logits = at;
			layout->node_cost = pad8(at + 4 * codes);
			layout->set = layout->node_cost + (uint64_t) 8 * set_nodes;
			layout->end = layout->set + set_bytes;
			break;
		case STK_QUERY_MASKED:
			layout->logits = at;
			layout->end = at + 4 * codes;
			break;
		case STK_QUERY_NEIGHBORS:
			layout->xx = at;
			layout->cost = at + 8;
			layout->gram = layout->cost + 8 * codes;
			layout->end = layout->gram + 4 * stk_query_pairs(levels, sizes);
			break;
	}
}

static stk_status
corrupt(stk_error *err, const char *what)
{
	return stk_fail(err, STK_ECORRUPT, "semquery's %s is not valid", what);
}

/* Point the view's arrays into the sections. */
static void
attach(stk_query *q, const uint8_t *datum, const stk_query_layout *layout)
{
	uint64_t code = 0;
	uint64_t pair = 0;

	for (int l = 0; l < q->levels; l++)
	{
		if (layout->cost)
			q->cost[l] = (const double *) (datum + layout->cost) + code;
		if (layout->logits)
			q->logits[l] = (const float *) (datum + layout->logits) + code;
		code += q->sizes[l];
		if (layout->gram)
		{
			for (int m = l + 1; m < q->levels; m++)
			{
				q->gram[l][m] = (const float *) (datum + layout->gram) + pair;
				pair += (uint64_t) q->sizes[l] * q->sizes[m];
			}
		}
	}
	if (layout->xx)
		q->xx = *(const double *) (datum + layout->xx);
	if (layout->node_cost)
		q->node_cost = (const double *) (datum + layout->node_cost);
}

stk_status
stk_query_view(const uint8_t *datum, size_t len, stk_query *q, stk_error *err)
{
	stk_query_layout layout;
	uint32_t set_bytes;

	if (len < 24)
		return stk_fail(err, STK_ECORRUPT, "semquery is shorter than its header");
	if (datum[4] != STK_QUERY_VERSION)
		return stk_fail(err, STK_ECORRUPT, "semquery has format version %d, expected %d", datum[4],
						STK_QUERY_VERSION);
	if (datum[5] > STK_QUERY_NEIGHBORS)
		return corrupt(err, "kind");
	if (datum[6] > STK_NORM_MASKED)
		return corrupt(err, "normalisation");
	if (datum[7] < 1 || datum[7] > STK_MAX_LEVELS)
		return stk_fail(err, STK_ECORRUPT, "semquery has %d levels, expected 1 to %d", datum[7],
						STK_MAX_LEVELS);
	memset(q, 0, sizeof(*q));
	q->kind = (stk_query_kind) datum[5];
	q->norm = (stk_norm) datum[6];
	q->levels = datum[7];
	q->tokenizer = ((const uint32_t *) datum)[2];
	set_bytes = ((const uint32_t *) datum)[3];
	if (len < 16 + pad8((uint64_t) 4 * q->levels))
		return stk_fail(err, STK_ECORRUPT, "semquery is shorter than its header");
	for (int l = 0; l < q->levels; l++)
	{
		q->sizes[l] = ((const uint32_t *) datum)[4 + l];
		if (q->sizes[l] < 1 || q->sizes[l] > STK_MAX_CODES)
			return stk_fail(err, STK_ECORRUPT, "semquery's level %d has %u codes, expected 1 to %d",
							l, q->sizes[l], STK_MAX_CODES);
	}
	if ((q->kind == STK_QUERY_WITHIN) != (set_bytes != 0))
		return corrupt(err, "set");
	if (set_bytes != 0)
	{
		/* The set comes last; it tells how many costs stand before it. */
		if (set_bytes > len || (len - set_bytes) % 8 != 0)
			return corrupt(err, "set");

		stk_status status = stk_semset_view(datum + (len - set_bytes), set_bytes, &q->within, err);

		if (status != STK_OK)
			return status;
	}
	stk_query_lay_out(q->kind, q->levels, q->sizes, set_bytes, q->within.total_nodes, &layout);
	if (layout.end != len)
		return stk_fail(err, STK_ECORRUPT, "semquery has %zu bytes, expected %llu", len,
						(unsigned long long) layout.end);
	attach(q, datum, &layout);
	return STK_OK;
}

static bool
is_norm_of_kind(stk_query_kind kind, stk_norm norm)
{
	switch (kind)
	{
		case STK_QUERY_LEVELS:
			return norm != STK_NORM_MASKED;
		case STK_QUERY_WITHIN:
			return true;
		case STK_QUERY_MASKED:
			return norm == STK_NORM_MASKED;
		case STK_QUERY_NEIGHBORS:
			return norm == STK_NORM_FULL;
	}
	return false;
}

/* Costs are numbers that may be +infinity. */
static bool
costs_valid(const double *cost, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabs(cost[i]) <= MAX_TERM || cost[i] == INFINITY))
			return false;
	return true;
}

static bool
distances_valid(const double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabs(x[i]) <= MAX_TERM))
			return false;
	return true;
}

static bool
logits_valid(const float *z, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(z[i] < INFINITY))
			return false;
	return true;
}

static bool
gram_valid(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(x[i]))
			return false;
	return true;
}

static bool
zeros(const uint8_t *from, const uint8_t *to)
{
	while (from < to)
		if (*from++ != 0)
			return false;
	return true;
}

stk_status
stk_query_check(const uint8_t *datum, size_t len, stk_error *err)
{
	stk_query q;
	stk_query_layout layout;
	stk_status status = stk_query_view(datum, len, &q, err);

	if (status != STK_OK)
		return status;
	if (!is_norm_of_kind(q.kind, q.norm))
		return corrupt(err, "normalisation");
	if (q.tokenizer > STK_MAX_TOKENIZER)
		return corrupt(err, "tokenizer");
	if (!zeros(datum + 16 + 4 * q.levels, datum + 16 + pad8((uint64_t) 4 * q.levels)))
		return corrupt(err, "padding");

	uint32_t set_bytes = ((const uint32_t *) datum)[3];

	stk_query_lay_out(q.kind, q.levels, q.sizes, set_bytes, q.within.total_nodes, &layout);
	for (int l = 0; l < q.levels; l++)
	{
		if (q.logits[l] && !logits_valid(q.logits[l], q.sizes[l]))
			return corrupt(err, "logit");
		if (q.kind == STK_QUERY_LEVELS && !costs_valid(q.cost[l], q.sizes[l]))
			return corrupt(err, "cost");
		if (q.kind == STK_QUERY_NEIGHBORS && !distances_valid(q.cost[l], q.sizes[l]))
			return corrupt(err, "cost");
		for (int m = l + 1; m < q.levels; m++)
			if (q.gram[l][m] && !gram_valid(q.gram[l][m], (size_t) q.sizes[l] * q.sizes[m]))
				return corrupt(err, "dot product");
	}
	if (q.kind == STK_QUERY_NEIGHBORS && !(q.xx >= 0 && q.xx <= MAX_TERM))
		return corrupt(err, "cost");
	if (q.kind == STK_QUERY_WITHIN)
	{
		uint64_t codes_end = layout.logits;

		for (int l = 0; l < q.levels; l++)
			codes_end += (uint64_t) 4 * q.sizes[l];
		if (!zeros(datum + codes_end, datum + layout.node_cost))
			return corrupt(err, "padding");
		if (!costs_valid(q.node_cost, q.within.total_nodes))
			return corrupt(err, "cost");
		return stk_semset_check(datum + layout.set, set_bytes, err);
	}
	return STK_OK;
}

static double
levels_cost(const stk_query *q, const uint8_t *id)
{
	double cost = 0;

	for (int l = 0; l < q->levels; l++)
	{
		uint16_t code = stk_semid_bytes_code(id, l);

		if (code >= q->sizes[l])
			return INFINITY;
		cost += q->cost[l][code];
	}
	return cost;
}

static double
within_cost(const stk_query *q, const uint8_t *id, int levels)
{
	const stk_semset *set = &q->within;
	double cost = 0;
	uint32_t node;

	if (levels > set->depth)
		return INFINITY;
	node = stk_semset_root(set, stk_semid_bytes_tokenizer(id));
	for (int l = 0; l < levels; l++)
	{
		if (node == UINT32_MAX)
			return INFINITY;
		node = stk_semset_child(set, l, node, stk_semid_bytes_code(id, l));
		if (l < q->levels && node != UINT32_MAX)
			cost += q->node_cost[set->base[l + 1] + node];
	}
	return node != UINT32_MAX && stk_semset_is_id(set, levels, node) ? cost : INFINITY;
}

static double
neighbors_cost(const stk_query *q, const uint8_t *id)
{
	uint16_t codes[STK_MAX_LEVELS];
	double cost = q->xx;

	for (int l = 0; l < q->levels; l++)
	{
		codes[l] = stk_semid_bytes_code(id, l);
		if (codes[l] >= q->sizes[l])
			return INFINITY;
		cost += stk_neighbor_term(q, codes, l);
	}
	return cost > 0 ? cost : 0.0;
}

static double
cost_of(const stk_query *q, const uint8_t *id, size_t len)
{
	int levels;

	if (q->kind == STK_QUERY_MASKED)
		return NAN;
	if (len < STK_SEMID_HEADER)
		return INFINITY;
	levels = stk_semid_bytes_levels(len);
	if (levels < q->levels || (q->tokenizer != 0 && q->tokenizer != stk_semid_bytes_tokenizer(id)))
		return INFINITY;
	switch (q->kind)
	{
		case STK_QUERY_LEVELS:
			return levels_cost(q, id);
		case STK_QUERY_WITHIN:
			return within_cost(q, id, levels);
		default:
			return neighbors_cost(q, id);
	}
}

double
stk_query_cost(const stk_query *q, const uint8_t *id, size_t len)
{
	stk_fpenv env = stk_fpenv_enter();
	double cost = cost_of(q, id, len);

	stk_fpenv_leave(env);
	return cost;
}
