/*
 * Merge sort of fixed-size elements: stable, through the caller's allocator, with a context for
 * the comparison (which the C library's qsort lacks).
 */
#ifndef STK_SORT_H
#define STK_SORT_H

#include "alloc.h"
#include "status.h"

/* <0, 0, >0 as a comes before, with or after b. */
typedef int (*stk_compare)(const void *a, const void *b, const void *ctx);

/*
 * Sort n elements of `size` bytes at base. Needs n * size bytes beside. STK_ENOMEM, or
 * STK_ECANCELED (then base holds the elements in no particular order, some perhaps twice).
 */
extern stk_status stk_sort(void *base, size_t n, size_t size, stk_compare compare, const void *ctx,
						   const stk_allocator *a, const stk_monitor *monitor);

#endif
