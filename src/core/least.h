/*
 * The least of some numbers. Private to core.
 */
#ifndef STK_LEAST_H
#define STK_LEAST_H

#include <stddef.h>

/*
 * Keep the m least of rank [n], ties by place: cost [n] of the others becomes +infinity. Entries
 * whose cost is infinite already do not count. scratch [n].
 */
extern void least_keep(const double *rank, size_t n, size_t m, double *scratch, double *cost);

#endif
