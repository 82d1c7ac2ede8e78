/*
 * Union, intersection and difference of sets of semantic IDs.
 */
#ifndef STK_SET_ALGEBRA_H
#define STK_SET_ALGEBRA_H

#include "semset.h"

typedef enum stk_set_op
{
	STK_SET_UNION,
	STK_SET_INTERSECT,
	STK_SET_EXCEPT
} stk_set_op;

/*
 * Combine two sets in time linear in their nodes, with beside the result 17 bytes for each
 * node that may be in it. The bytes are those that stk_semset_build makes of
 * the members. prefix, *out and *out_len as there. STK_ERANGE past 2^32-1 nodes.
 */
extern stk_status stk_semset_combine(const stk_semset *a, const stk_semset *b, stk_set_op op,
									 size_t prefix, const stk_allocator *alloc,
									 const stk_monitor *monitor, uint8_t **out, size_t *out_len,
									 stk_error *err);

#endif
