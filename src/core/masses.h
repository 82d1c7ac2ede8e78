/*
 * The probability of everything below each node of a trie: what ids have to be drawn by when codes
 * that do not exist, and prefixes with few ids, are to take no share. Private to core.
 */
#ifndef STK_MASSES_H
#define STK_MASSES_H

#include "decode.h"
#include "terms.h"

typedef struct masses_node
{
	double mass;   /* log of the sum of the weights of the ids at and below, the prefix's being 1 */
	double weight; /* log of its share of the parent's sum: less the term, with the mass */
	uint64_t node; /* while the table is made: the trie's */
	uint64_t posting;
	uint64_t items;
	const uint16_t *tail;
	uint32_t first; /* children: first .. first + n - 1 */
	uint32_t n;
	uint16_t code;
	uint8_t flags;
	uint8_t tail_len;
} masses_node;

typedef struct masses
{
	stk_allocator a;
	masses_node *nodes; /* children stand together, behind their parent */
	size_t n;
	size_t room;
} masses;

/* Terms of a node's children, of prefixes of so many codes: into cost, +infinity = never. */
typedef stk_status (*masses_terms)(void *ctx, int levels, const stk_child *children, size_t n,
								   double **cost);

extern void masses_init(masses *m, const stk_allocator *a);
extern void masses_free(masses *m);

/*
 * Add the tree below `at`, whose prefix has `levels` codes; *root is its number. Ids with fewer
 * levels than `needed` count nothing; from that depth on all ids count alike. Sums run over
 * children in ascending order, so the trie's handles do not matter. STK_ERANGE past STK_MAX_MASSES
 * nodes, STK_ENOMEM, STK_ECORRUPT, what expand and terms return.
 */
extern stk_status masses_add(masses *m, stk_trie *trie, const stk_child *at, int levels, int needed,
							 masses_terms weigh, void *ctx, uint32_t *root);

#endif
