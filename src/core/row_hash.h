/*
 * A hash of a row's content, to draw rows by: fast, well mixed, the same on every machine. It is no
 * defence against rows that are made to collide.
 */
#ifndef STK_ROW_HASH_H
#define STK_ROW_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Hash a row x [dim] by its bits: -0 and +0 differ. Rows of one dim and seed are compared; another
 * seed gives another order.
 */
extern uint64_t stk_row_hash(const float *x, size_t dim, uint64_t seed);

#endif
