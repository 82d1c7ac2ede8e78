/*
 * What the searches share. Private to core.
 */
#ifndef STK_SEARCH_IMPL_H
#define STK_SEARCH_IMPL_H

#include "children.h"
#include "quota.h"
#include "search.h"
#include "terms.h"

/* A root that the query can score. */
typedef struct search_root
{
	uint32_t tokenizer;
	uint32_t set_root; /* WITHIN: index of the set's root */
	uint64_t node;
} search_root;

/* Nodes whose greatest logit is the same share a softmax's terms: those of a level's codes. */
typedef struct search_level
{
	double max;
	bool seen;        /* a node has had this max */
	bool made;        /* the terms are known */
	double *quotient; /* [size] max - z */
	uint64_t *share;  /* [size] of the denominator */
} search_level;

/* A search of either kind begins with this. */
struct stk_search
{
	stk_status (*next)(stk_search *s, bool *found, stk_hit *hit);
	void (*release)(stk_search *s); /* free what the kind owns, not s */
	const stk_query *q;
	const stk_semset *set; /* WITHIN, else NULL */
	stk_trie *trie;
	stk_allocator a;
	search_root *roots;
	size_t n_roots;
	stk_search_stats stats;
	stk_status status; /* the first failure is the last answer */
	bool dropped;      /* a prefix was given up for want of room */
	bool glances;      /* children may be unsure: few are wanted, none costs what another is */

	/* Of a decoding search, else NULL. */
	const stk_decode_options *options;
	const stk_quota *quota; /* prefixes that nothing is wanted below any more */
	terms terms;            /* for top_k and top_p */

	stk_child few[STK_FEW_CHILDREN]; /* of search_children */

	/* Scratch of search_score: one entry a child. */
	double *cost;       /* of the prefix and the child; +infinity = not allowed */
	uint32_t *set_node; /* WITHIN: the child's index in the set's level */
	float *z;
	size_t room;
	search_level masked[STK_MAX_LEVELS]; /* MASKED */
};

/* A prefix as the scoring functions see it. */
typedef struct search_prefix
{
	int levels;
	double cost;           /* sum of the levels' terms so far; neighbors: not clamped at 0 */
	uint32_t set_node;     /* WITHIN */
	const uint16_t *codes; /* NEIGHBORS */
} search_prefix;

/* Bodies of the kinds; allocate the search through a, all zeros. */
extern stk_search *best_first_create(const stk_allocator *a);
extern stk_search *beam_create(const stk_allocator *a, size_t width);

/* Give a search made by one of these what it searches. Frees it when that fails. */
extern stk_status search_begin(stk_search *s, const stk_query *q, stk_trie *trie,
							   const stk_root *roots, size_t n, const stk_decode_options *options,
							   const stk_quota *quota, const stk_allocator *a);

/* Cost before any level: |x|^2 for neighbors. */
static inline double
search_start_cost(const stk_query *q)
{
	return q->kind == STK_QUERY_NEIGHBORS ? q->xx : 0.0;
}

/* Cost of an id whose terms add up to sum. */
static inline double
search_final_cost(const stk_query *q, double sum)
{
	return q->kind == STK_QUERY_NEIGHBORS && !(sum > 0) ? 0.0 : sum;
}

/*
 * The children of a node, of which the query's set, if it has one, may leave out those that it has
 * not: valid until the next call on the trie or of this. set_node as in search_prefix.
 */
extern stk_status search_children(stk_search *s, uint64_t node, int levels, uint32_t set_node,
								  const stk_child **children, size_t *n);

/*
 * Fill s->cost and s->set_node for a prefix's children. The terms are added as stk_query_cost
 * adds them.
 */
extern stk_status search_score(stk_search *s, const search_prefix *prefix,
							   const stk_child *children, size_t n);

/*
 * The child's flags without those that cannot lead to an id of finite cost, and sure; levels counts
 * the child's code. STK_ECORRUPT when it goes deeper than an id can.
 */
extern stk_status search_live_flags(const stk_search *s, const stk_child *child, int levels,
									uint32_t set_node, uint8_t *flags);

/*
 * Sum for the id behind a live tail: goes on from the sum of the prefix that ends with the
 * child; +infinity when a code is not allowed.
 */
extern double search_score_tail(const stk_search *s, const search_prefix *prefix,
								const stk_child *child);

/*
 * Lower bounds of squared distances (neighbor_bound.c).
 */
typedef struct neighbor_bound
{
	float *row_min[STK_MAX_LEVELS][STK_MAX_LEVELS];  /* l < m: [sizes[l]], least of a gram row */
	double pair_min[STK_MAX_LEVELS][STK_MAX_LEVELS]; /* least of the whole table */
	double margin;
	float *memory;
	/* The least term of each free level given the codes that were fixed last. */
	double level_min[STK_MAX_LEVELS];
} neighbor_bound;

extern stk_status neighbor_bound_init(neighbor_bound *b, const stk_query *q,
									  const stk_allocator *a);
/*
 * Bound of all ids below a prefix whose terms add up to sum. Leaves level_min for
 * neighbor_bound_child.
 */
extern double neighbor_bound_prefix(neighbor_bound *b, const stk_query *q, const uint16_t *codes,
									int levels, double sum);
/* A cheaper, looser bound of the prefix with one more code. */
extern double neighbor_bound_child(const neighbor_bound *b, const stk_query *q, int levels,
								   uint16_t code, double child_sum);

/*
 * Walk the ids at and below one place of a trie in ascending order (walk.c).
 */
typedef struct walk_frame
{
	stk_children children;
	size_t n;
	size_t next;
	uint32_t set_node;
} walk_frame;

typedef struct walker
{
	stk_trie *trie;
	const stk_allocator *a;
	const stk_semset *set; /* only its members, NULL = all */
	stk_semid path;
	stk_child at; /* flags: what is left to do here */
	uint32_t set_node;
	int base;   /* levels of the place where the walk began */
	int frames; /* in use */
	walk_frame frame[STK_MAX_LEVELS];
} walker;

/* w must be zeroed before its first use; it may begin again at any time. */
extern void walker_begin(walker *w, stk_trie *trie, const stk_semset *set, const stk_allocator *a,
						 uint32_t tokenizer, const uint16_t *codes, int levels, const stk_child *at,
						 uint32_t set_node);
/* Next id; hit->cost is left alone. */
extern stk_status walker_next(walker *w, bool *found, stk_hit *hit);
extern void walker_release(walker *w);

#endif
