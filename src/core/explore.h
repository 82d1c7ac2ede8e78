/*
 * Going through a trie best first, by cost or by drawn keys: what searches that draw whole ids, and
 * those that ask a model for logits, have in common. Private to core.
 *
 * Each place waits in a frontier with the least value that an id below it could have: its cost by
 * the length penalty, or with gumbel less its key. So the best place is either an id, which is the
 * next result, or must be looked into before there is one.
 */
#ifndef STK_EXPLORE_H
#define STK_EXPLORE_H

#include "frontier.h"
#include "masses.h"
#include "quota.h"
#include "terms.h"

typedef struct explore
{
	stk_allocator a;
	const stk_decode_options *options;
	stk_trie *trie;
	const stk_quota *quota;
	int scored; /* codes that the model scores; ids deeper than that are alike */
	int needed; /* ids with fewer codes are no results */
	bool gumbel;
	frontier frontier;
	terms terms;
	masses masses;
	double *key; /* scratch: one entry a child and one for the end */
	size_t room;
	double weight[STK_MAX_LEVELS + 1];       /* by the length penalty */
	double least_weight[STK_MAX_LEVELS + 1]; /* of ids with so many codes or more */
	double most_weight[STK_MAX_LEVELS + 1];
} explore;

extern void explore_init(explore *e, stk_trie *trie, const stk_decode_options *options, int scored,
						 int needed, const stk_quota *quota, const stk_allocator *a);
extern void explore_free(explore *e);

/* At most what an id with so many levels or more has for a value, if it costs this or more. */
extern double explore_bound(const explore *e, double cost, int levels);

/* Add a prefix: as an id where one ends there, and as a place where ids go on. */
extern stk_status explore_add(explore *e, const stk_beam *beam, double share);

/*
 * Add all roots of a query that is drawn from, by masses where its norm is not masked. rows
 * [e->scored] are the query's. STK_ERANGE past STK_MAX_MASSES nodes.
 */
extern stk_status explore_add_roots(explore *e, stk_norm norm, const terms_row *rows,
									const stk_root *roots, size_t n);

/* Add the children of a place, which was taken from the frontier, by a row of logits. */
extern stk_status explore_children(explore *e, const frontier_item *item, stk_norm norm,
								   const terms_row *row);

/* The best place that quotas do not forbid, NULL when nothing is left. */
extern const frontier_item *explore_top(explore *e);

/*
 * The next id. rows [e->scored], by level; NULL: the best place that needs logits ends it, with
 * *wants = true. *found = false and *wants = false: nothing is left.
 */
extern stk_status explore_next(explore *e, stk_norm norm, const terms_row *rows, bool *wants,
							   bool *found, stk_hit *hit);

#endif
