/*
 * The stored form of a query as its writer, its reader and the search see it. Private to core.
 */
#ifndef STK_QUERY_FORM_H
#define STK_QUERY_FORM_H

#include "query.h"

/* The largest datum that PostgreSQL allocates in one piece. */
#define STK_QUERY_MAX_BYTES 0x3fffffff

#define STK_MAX_TOKENIZER 0x7fffffff

/* Byte offsets of a stored form's sections; those that the kind does not have are 0. */
typedef struct stk_query_layout
{
	uint64_t cost; /* own for neighbors */
	uint64_t logits;
	uint64_t node_cost;
	uint64_t set;
	uint64_t xx;
	uint64_t gram;
	uint64_t end; /* length of the whole */
} stk_query_layout;

/* Sizes must be within their limits, so that nothing overflows 64 bits. */
extern void stk_query_lay_out(stk_query_kind kind, int levels, const uint32_t *sizes,
							  uint32_t set_bytes, uint32_t set_nodes, stk_query_layout *layout);

/* Number of gram entries of all pairs of levels. */
extern uint64_t stk_query_pairs(int levels, const uint32_t *sizes);

/*
 * What level m adds to the squared distance, given the codes of levels 0 .. m: its own term and
 * the cross products with the levels before it, in this order of operations everywhere.
 */
static inline double
stk_neighbor_term(const stk_query *q, const uint16_t *codes, int m)
{
	double own = q->cost[m][codes[m]];
	double cross;

	if (m == 0)
		return own;
	cross = q->gram[0][m][(size_t) codes[0] * q->sizes[m] + codes[m]];
	for (int l = 1; l < m; l++)
		cross += q->gram[l][m][(size_t) codes[l] * q->sizes[m] + codes[m]];
	return own + 2 * cross;
}

#endif
