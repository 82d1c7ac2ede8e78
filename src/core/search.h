/*
 * Search an abstract trie for the ids a query finds cheapest.
 *
 * Best-first (exact): a heap of nodes ordered by an admissible bound yields ids in ascending
 * (cost, id) order, one at a time; it never needs to know how many the caller wants. The bound of
 * a node is the same left-to-right sum that gives a leaf its cost, with each remaining level's
 * minimum in place of the unknown terms: rounding is monotone, so the bound needs no margin. For
 * neighbors queries the bound comes from the Gram tables less a margin, and a leaf's value is
 * stk_query_cost's.
 *
 * Beam: level by level, the `beam` cheapest prefixes kept (ties: the smaller prefix).
 */
#ifndef STK_SEARCH_H
#define STK_SEARCH_H

#include <stdbool.h>

#include "alloc.h"
#include "query.h"
#include "trie.h"

typedef struct stk_search stk_search;

/* One id found. */
typedef struct stk_hit
{
	double cost;
	stk_semid id;
	uint64_t posting; /* the trie's handle */
	uint64_t items;   /* the child's: those of ids below this id count too */
} stk_hit;

typedef struct stk_search_stats
{
	uint64_t expanded; /* nodes expanded */
	uint64_t pushed;   /* heap entries or beam candidates */
} stk_search_stats;

/*
 * Start a search.
 *
 *   roots  [n]   all roots of the trie, ascending; those of other tokenizers are skipped
 *   beam   0 = exact best-first; > 0 = beam search of that width
 *
 * q and trie must outlive the search; memory comes from a. MASKED queries work with beam > 0
 * only: the softmax is then over the children the trie shows at each node (STK_EINVAL otherwise).
 */
extern stk_status stk_search_start(stk_search **out, const stk_query *q, stk_trie *trie,
								   const stk_root *roots, size_t n, int beam,
								   const stk_allocator *a, stk_error *err);

/*
 * Next id with a finite cost, in ascending (cost, id) order. *found = false at the end; ids that
 * cost infinity are never returned. Whatever expand returns is passed through.
 */
extern stk_status stk_search_next(stk_search *s, bool *found, stk_hit *hit);

extern const stk_search_stats *stk_search_get_stats(const stk_search *s);
extern void stk_search_free(stk_search *s);

/*
 * Find a prefix below a root. *found tells; *at is then like the child that the last code leads
 * to: INNER and ID flags as there, or TAIL with the codes that remain (no codes remain: ID). With
 * n = 0 *at is INNER with the root's node. at->tail lives as long as the trie.
 */
extern stk_status stk_seek(stk_trie *trie, uint64_t root, const uint16_t *codes, int n, bool *found,
						   stk_child *at);

/*
 * Walk, in ascending order, the ids below one root that start with a prefix: prefix scans, rows
 * that a query cannot score, export.
 *
 *   prefix  codes, prefix->levels may be 0 (all ids of the root); tokenizer is copied to the hits
 */
typedef struct stk_walk stk_walk;

typedef struct stk_prefix
{
	uint32_t tokenizer;
	int levels;
	uint16_t codes[STK_MAX_LEVELS];
} stk_prefix;

extern stk_status stk_walk_start(stk_walk **out, stk_trie *trie, uint64_t root,
								 const stk_prefix *prefix, const stk_allocator *a);
extern stk_status stk_walk_next(stk_walk *w, bool *found, stk_hit *hit); /* hit->cost is 0 */
extern void stk_walk_free(stk_walk *w);

#endif
