/*
 * Several tries seen as one: the indexes of a partitioned table's partitions.
 *
 * A search over the union keeps one beam and one softmax for all of them, so that its answer is
 * that of a single trie with the same ids.
 */
#ifndef STK_UNION_H
#define STK_UNION_H

#include "alloc.h"
#include "trie.h"

/* One of the tries; all of it outlives the union. */
typedef struct stk_union_source
{
	stk_trie *trie;
	const stk_root *roots; /* ascending */
	size_t n_roots;
} stk_union_source;

/* A posting of one source that belongs to an id of the union. */
typedef struct stk_union_posting
{
	size_t source;
	uint64_t posting; /* the source's handle */
} stk_union_posting;

typedef struct stk_union stk_union;

/*
 * Make the union of n tries; memory, which grows with the nodes expanded, comes from a.
 * STK_ENOMEM. The sources array is copied.
 */
extern stk_status stk_union_create(const stk_union_source *sources, size_t n,
								   const stk_allocator *a, stk_union **out);
extern void stk_union_free(stk_union *u);

/* expand passes through whatever a source's expand returns. */
extern stk_trie *stk_union_trie(stk_union *u);
extern const stk_root *stk_union_roots(const stk_union *u, size_t *n);

/* The sources' postings behind a posting handle of the union, by ascending source. */
extern const stk_union_posting *stk_union_postings(const stk_union *u, uint64_t posting, size_t *n);

#endif
