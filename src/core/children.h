/*
 * Children of a node kept beyond the trie's next call. Private to core.
 */
#ifndef STK_CHILDREN_H
#define STK_CHILDREN_H

#include <string.h>

#include "alloc.h"
#include "trie.h"

/* Zero it before the first use; the owner frees the array. */
typedef struct stk_children
{
	stk_child *array;
	size_t room;
} stk_children;

static inline stk_status
stk_children_reserve(stk_children *c, size_t n, const stk_allocator *a)
{
	stk_child *grown;

	if (n <= c->room)
		return STK_OK;
	grown = stk_realloc_array(a, c->array, n, sizeof(stk_child));
	if (!grown)
		return STK_ENOMEM;
	c->array = grown;
	c->room = n;
	return STK_OK;
}

static inline stk_status
stk_children_copy(stk_children *c, const stk_child *children, size_t n, const stk_allocator *a)
{
	stk_status status = stk_children_reserve(c, n, a);

	if (status == STK_OK && n > 0)
		memcpy(c->array, children, n * sizeof(stk_child));
	return status;
}

#endif
