/*
 * Prefixes and ids that wait for their turn, the best first. Private to core.
 */
#ifndef STK_FRONTIER_H
#define STK_FRONTIER_H

#include "decode.h"

typedef enum frontier_kind
{
	FRONTIER_ID, /* before the others of the same path: an id precedes its extensions */
	FRONTIER_NODE,
	FRONTIER_MASS /* the same in a table of masses: beam.at.node is its number there */
} frontier_kind;

typedef struct frontier_item
{
	double value; /* at most that of anything below; the least comes first, ties by path */
	double share; /* gumbel: log of the probability that keys are made of */
	stk_beam beam;
	frontier_kind kind;
} frontier_item;

typedef struct frontier
{
	stk_allocator a;
	frontier_item *items;
	uint32_t *heap; /* [n]: numbers of items */
	uint32_t *unused;
	size_t n;
	size_t n_unused;
	size_t n_items;
	size_t room;
} frontier;

extern void frontier_init(frontier *f, const stk_allocator *a);
extern void frontier_free(frontier *f);
/* STK_ENOMEM, STK_ERANGE past 2^32 - 1 items. */
extern stk_status frontier_push(frontier *f, const frontier_item *item);
/* The best, NULL when nothing is left; valid until the next push. */
extern const frontier_item *frontier_top(const frontier *f);
/* Take it away into *item; there must be one. */
extern void frontier_pop(frontier *f, frontier_item *item);

#endif
