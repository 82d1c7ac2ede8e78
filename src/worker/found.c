#include "worker/found.h"

#include <math.h>
#include <string.h>

stk_found_layout
stk_found_layout_of(uint64_t n, uint64_t k, int width)
{
	uint64_t ids = n * k;
	stk_found_layout at = {.costs = 0};

	at.codes = ids * sizeof(double);
	at.lengths = at.codes + ids * (uint64_t) width * sizeof(uint16_t);
	at.found = (at.lengths + ids + 3) / 4 * 4;
	at.dropped = at.found + n * sizeof(uint32_t);
	return at;
}

uint64_t
stk_found_bytes(uint64_t n, uint64_t k, int width)
{
	return stk_found_layout_of(n, k, width).dropped + n;
}

void
stk_found_arrays(void *memory, stk_search_batch *b)
{
	stk_found_layout at = stk_found_layout_of(b->n, b->k, b->width);
	uint8_t *bytes = memory;

	b->costs = memory;
	b->codes = (uint16_t *) (void *) (bytes + at.codes);
	b->lengths = bytes + at.lengths;
	b->found = (uint32_t *) (void *) (bytes + at.found);
	b->dropped = bytes + at.dropped;
}

/* What is the cost of an id, by its query's costs? */
static double
cost_of(const stk_search_batch *b, const double *cost, const uint16_t *codes)
{
	double sum = 0;

	for (int l = 0; l < b->levels; l++)
	{
		if (codes[l] >= b->sizes[l])
			return INFINITY;
		sum += cost[codes[l]];
		cost += b->sizes[l];
	}
	return sum;
}

/* Does an id come after another one, which has the same tokenizer? */
static bool
comes_after(const uint16_t *codes, int length, const uint16_t *other, int other_length)
{
	for (int l = 0; l < length && l < other_length; l++)
		if (codes[l] != other[l])
			return codes[l] > other[l];
	return length > other_length;
}

/* Is it an id of the set, below this root? */
static bool
is_member(const stk_semset *set, uint32_t root, const uint16_t *codes, int length)
{
	uint32_t node = root;

	for (int l = 0; l < length && node != UINT32_MAX; l++)
		node = l < set->depth ? stk_semset_child(set, l, node, codes[l]) : UINT32_MAX;
	return node != UINT32_MAX && stk_semset_is_id(set, length, node);
}

/* Is the id at this place one that the query may have found? */
static bool
is_found(const stk_search_batch *b, const stk_semset *set, uint32_t root, size_t query, size_t at,
		 size_t terms)
{
	const uint16_t *codes = b->codes + at * (size_t) b->width;
	bool is_first = at == query * b->k;
	int length = b->lengths[at];
	double cost = b->costs[at];

	if (length < b->levels || length > b->width || !(cost < INFINITY) || !(cost > -INFINITY))
		return false;
	for (int l = length; l < b->width; l++)
		if (codes[l] != 0)
			return false;
	if (!is_member(set, root, codes, length))
		return false;
	if (b->cost)
	{
		double expected = cost_of(b, b->cost + query * terms, codes);

		if (memcmp(&expected, &cost, sizeof(cost)) != 0)
			return false;
	}
	return is_first || b->costs[at - 1] < cost ||
		   (b->costs[at - 1] == cost &&
			comes_after(codes, length, codes - b->width, b->lengths[at - 1]));
}

stk_status
stk_found_check(const stk_search_batch *b, const stk_semset *set, stk_error *err)
{
	size_t terms = stk_search_batch_terms(b);
	uint32_t root = stk_semset_root(set, b->tokenizer);

	for (size_t i = 0; i < b->n; i++)
	{
		if (b->found[i] > b->k || b->dropped[i] > 1 || (b->dropped[i] && b->found[i] == b->k))
			return stk_fail(err, STK_ECORRUPT, "%u ids were found, expected at most %zu",
							b->found[i], b->k);
		for (size_t j = 0; j < b->found[i]; j++)
			if (root == UINT32_MAX || !is_found(b, set, root, i, i * b->k + j, terms))
				return stk_fail(err, STK_ECORRUPT, "id %zu of query %zu cannot be", j, i);
	}
	return STK_OK;
}
