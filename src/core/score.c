/*
 * Scoring children of a prefix, for every kind of query.
 */
#include <math.h>
#include <string.h>

#include "explog.h"
#include "explog_inline.h"
#include "query_form.h"
#include "search_impl.h"

/* One in so many of a level's codes are many children. */
#define MANY 4

static stk_status
reserve(stk_search *s, size_t n)
{
	size_t room = n < 256 ? 256 : n;
	void *grown;

	if (n <= s->room)
		return STK_OK;
	grown = stk_realloc_array(&s->a, s->cost, room, sizeof(double));
	if (!grown)
		return STK_ENOMEM;
	s->cost = grown;
	grown = stk_realloc_array(&s->a, s->set_node, room, sizeof(uint32_t));
	if (!grown)
		return STK_ENOMEM;
	s->set_node = grown;
	grown = stk_realloc_array(&s->a, s->z, room, sizeof(float));
	if (!grown)
		return STK_ENOMEM;
	s->z = grown;
	s->room = room;
	return STK_OK;
}

/* Do the children, one at least, have all codes from the first one's on, each below size? */
static bool
is_dense(const stk_child *children, size_t n, uint32_t size)
{
	return n > 0 && children[n - 1].code < size &&
		   (size_t) (children[n - 1].code - children[0].code) == n - 1;
}

static void
score_levels(stk_search *s, const search_prefix *prefix, const stk_child *children, size_t n)
{
	const double *level = s->q->cost[prefix->levels];
	uint32_t size = s->q->sizes[prefix->levels];

	if (is_dense(children, n, size))
	{
		memcpy(s->cost, level + children[0].code, n * sizeof(double));
		return;
	}
	for (size_t i = 0; i < n; i++)
		s->cost[i] = children[i].code < size ? level[children[i].code] : INFINITY;
}

/* Children and the set's nodes both ascend by code: one pass over the two. */
static void
score_within(stk_search *s, const search_prefix *prefix, const stk_child *children, size_t n)
{
	const stk_semset *set = s->set;
	int l = prefix->levels;
	uint32_t at, to;

	stk_semset_children(set, l, prefix->set_node, &at, &to);
	for (size_t i = 0; i < n; i++)
	{
		while (at < to && set->code[l + 1][at] < children[i].code)
			at++;
		if (at == to || set->code[l + 1][at] != children[i].code)
		{
			s->cost[i] = INFINITY;
			continue;
		}
		s->set_node[i] = at;
		s->cost[i] = l < s->q->levels ? s->q->node_cost[set->base[l + 1] + at] : 0.0;
	}
}

static void
score_neighbors(stk_search *s, const search_prefix *prefix, const stk_child *children, size_t n)
{
	uint16_t codes[STK_MAX_LEVELS];
	int l = prefix->levels;

	memcpy(codes, prefix->codes, (size_t) l * sizeof(uint16_t));
	for (size_t i = 0; i < n; i++)
	{
		codes[l] = children[i].code;
		s->cost[i] = codes[l] < s->q->sizes[l] ? stk_neighbor_term(s->q, codes, l) : INFINITY;
	}
}

/*
 * The terms of a level's codes for nodes of this greatest logit, where it pays to know them all:
 * NULL where it does not.
 */
static stk_status
share_terms(stk_search *s, int l, double max, size_t n, const search_level **known)
{
	search_level *level = &s->masked[l];
	uint32_t size = s->q->sizes[l];

	*known = NULL;
	if (!level->seen || level->max != max)
	{
		level->seen = n >= size / MANY;
		level->made = false;
		level->max = max;
		return STK_OK;
	}
	if (!level->made)
	{
		if (!level->share)
		{
			level->quotient = stk_alloc_array(&s->a, size, sizeof(double));
			level->share = stk_alloc_array(&s->a, size, sizeof(uint64_t));
			if (!level->quotient || !level->share)
				return STK_ENOMEM;
		}
		stk_softmax_shares(s->q->logits[l], size, max, level->quotient, level->share);
		level->made = true;
	}
	*known = level;
	return STK_OK;
}

/* stk_softmax_costs of children that are dense or not, from the terms of all codes. */
static void
add_shares(const search_level *level, const stk_child *children, size_t n, bool dense, double *cost)
{
	const uint64_t *share = level->share + (dense ? children[0].code : 0);
	const double *quotient = level->quotient + (dense ? children[0].code : 0);
	uint64_t sum = 0;
	double log_sum;

	for (size_t i = 0; i < n; i++)
		sum += share[dense ? i : children[i].code];
	log_sum = stk_log_of_shares(sum);
	for (size_t i = 0; i < n; i++)
	{
		double c = log_sum + quotient[dense ? i : children[i].code];

		cost[i] = c > 0 ? c : 0.0;
	}
}

static stk_status
score_masked(stk_search *s, const search_prefix *prefix, const stk_child *children, size_t n)
{
	int l = prefix->levels;
	bool dense = is_dense(children, n, s->q->sizes[l]);
	const search_level *level = NULL;
	size_t known = 0;
	double max;
	stk_status status = STK_OK;

	if (dense)
	{
		memcpy(s->z, s->q->logits[l] + children[0].code, n * sizeof(float));
		known = n;
	}
	while (known < n && children[known].code < s->q->sizes[l])
	{
		s->z[known] = s->q->logits[l][children[known].code];
		known++;
	}
	if (stk_softmax_greatest(s->z, known, &max) != STK_OK)
		known = 0;
	else
		status = share_terms(s, l, max, known, &level);
	if (level)
		add_shares(level, children, known, dense, s->cost);
	else if (known > 0 && status == STK_OK)
		status = stk_softmax_costs(s->z, known, s->cost);
	for (size_t i = known; i < n; i++)
		s->cost[i] = INFINITY;
	return status;
}

stk_status
search_score(stk_search *s, const search_prefix *prefix, const stk_child *children, size_t n)
{
	bool scored = prefix->levels < s->q->levels;
	stk_status status = reserve(s, n);

	if (status != STK_OK)
		return status;
	/* The terms first, of which top_k and top_p take some away. */
	if (s->set)
		score_within(s, prefix, children, n);
	else if (!scored)
		memset(s->cost, 0, n * sizeof(double));
	else if (s->q->kind == STK_QUERY_LEVELS)
		score_levels(s, prefix, children, n);
	else if (s->q->kind == STK_QUERY_NEIGHBORS)
		score_neighbors(s, prefix, children, n);
	else
		status = score_masked(s, prefix, children, n);
	if (status == STK_OK && s->options && scored)
		status = terms_truncate(&s->terms, s->cost, n);
	for (size_t i = 0; i < n; i++)
		s->cost[i] = prefix->cost + s->cost[i];
	return status;
}

stk_status
search_children(stk_search *s, uint64_t node, int levels, uint32_t set_node,
				const stk_child **children, size_t *n)
{
	stk_status (*list)(stk_trie *, uint64_t, const stk_child **, size_t *) =
		s->glances && s->trie->glance ? s->trie->glance : s->trie->expand;
	uint32_t from, to;

	if (!s->set || !s->trie->find)
		return list(s->trie, node, children, n);
	stk_semset_children(s->set, levels, set_node, &from, &to);
	if (to - from > STK_FEW_CHILDREN)
		return list(s->trie, node, children, n);
	*children = s->few;
	*n = 0;
	if (from == to)
		return STK_OK;
	return stk_trie_find_few(s->trie, node, s->set->code[levels + 1] + from, to - from, s->few, n);
}

double
search_score_tail(const stk_search *s, const search_prefix *prefix, const stk_child *child)
{
	const stk_query *q = s->q;
	uint16_t codes[STK_MAX_LEVELS];
	uint32_t set_node = prefix->set_node;
	double sum = prefix->cost;

	if (q->kind == STK_QUERY_NEIGHBORS)
		memcpy(codes, prefix->codes, (size_t) prefix->levels * sizeof(uint16_t));
	for (int i = 0, l = prefix->levels; l < q->levels; i++, l++)
	{
		uint16_t code = child->tail[i];

		if (s->set)
		{
			set_node = stk_semset_child(s->set, l, set_node, code);
			sum += q->node_cost[s->set->base[l + 1] + set_node];
		}
		else if (code >= q->sizes[l])
			return INFINITY;
		else if (q->kind == STK_QUERY_MASKED)
		{
			/* An only child has all of the probability there is. */
			if (q->logits[l][code] == -INFINITY)
				return INFINITY;
		}
		else if (q->kind == STK_QUERY_NEIGHBORS)
		{
			codes[l] = code;
			sum += stk_neighbor_term(q, codes, l);
		}
		else
			sum += q->cost[l][code];
	}
	return sum;
}

static bool
tail_in_set(const stk_semset *set, const stk_child *child, int levels, uint32_t node)
{
	for (int i = 0; i < child->tail_len && node != UINT32_MAX; i++)
		node = stk_semset_child(set, levels + i, node, child->tail[i]);
	return node != UINT32_MAX && stk_semset_is_id(set, levels + child->tail_len, node);
}

stk_status
search_live_flags(const stk_search *s, const stk_child *child, int levels, uint32_t set_node,
				  uint8_t *flags)
{
	*flags = child->flags;
	if (levels + (child->flags & STK_CHILD_TAIL ? child->tail_len : 0) > STK_MAX_LEVELS ||
		(levels == STK_MAX_LEVELS && child->flags & STK_CHILD_INNER))
		return STK_ECORRUPT;
	if (child->flags & STK_CHILD_ID &&
		(levels < s->q->levels || (s->set && !stk_semset_is_id(s->set, levels, set_node))))
		*flags &= (uint8_t) ~STK_CHILD_ID;
	if (child->flags & STK_CHILD_INNER && s->set)
	{
		uint32_t from, to;

		stk_semset_children(s->set, levels, set_node, &from, &to);
		if (from == to)
			*flags &= (uint8_t) ~STK_CHILD_INNER;
	}
	if (child->flags & STK_CHILD_TAIL &&
		(levels + child->tail_len < s->q->levels ||
		 (s->set && !tail_in_set(s->set, child, levels, set_node))))
		*flags &= (uint8_t) ~STK_CHILD_TAIL;
	if (*flags & STK_CHILD_INNER && *flags & STK_CHILD_UNSURE)
		return s->trie->settle(s->trie, child, flags);
	*flags &= (uint8_t) ~STK_CHILD_UNSURE;
	return STK_OK;
}
