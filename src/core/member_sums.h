/*
 * The rows behind each code, and their sums.
 *
 * A sum has one shape, so that it has the same bits whoever computes it: members in row order,
 * chunks of 256, eight binary64 lanes a chunk (member j of the chunk in lane j mod 8), lanes added
 * ((0+4)+(2+6))+((1+5)+(3+7)), chunks added in order, all from +0.
 */
#ifndef STK_MEMBER_SUMS_H
#define STK_MEMBER_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "dot.h"
#include "kernel.h"
#include "status.h"

/* Members summed in one set of lanes. */
#define STK_SUM_CHUNK 256

/* The sum of a chunk's lanes. */
static inline double
stk_add_lanes(const double *lane)
{
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
		   ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Rows grouped by code. */
typedef struct stk_members
{
	size_t *rows;  /* [n] by code, then in row order */
	size_t *first; /* [size + 1] where each code's rows begin */
} stk_members;

/* Room for n rows and `size` codes. STK_ENOMEM; free with stk_members_free. */
extern stk_status stk_members_init(stk_members *m, const stk_allocator *a, size_t n, uint32_t size);
extern void stk_members_free(stk_members *m, const stk_allocator *a);

/* Group n rows by their codes [n], each below size: a stable counting sort. */
extern void stk_members_group(stk_members *m, const uint16_t *codes, size_t n, uint32_t size);

/* How many rows chose the code. */
static inline size_t
stk_members_count(const stk_members *m, uint32_t code)
{
	return m->first[code + 1] - m->first[code];
}

/*
 * Sum the code's members among rows x [n][dim]: sum [dim] out. STK_ECANCELED, then sum is of no
 * use; nothing else fails. Any thread may call this.
 */
extern stk_status stk_members_sum(const stk_members *m, uint32_t code, const float *x, size_t dim,
								  double *sum, const stk_reference *reference,
								  const stk_monitor *monitor);

#endif
