/*
 * What a computation runs with: memory, processor, threads and the caller's patience.
 */
#ifndef STK_EXEC_H
#define STK_EXEC_H

#include "accelerator.h"
#include "alloc.h"
#include "cpu.h"
#include "pool.h"

typedef struct stk_exec
{
	stk_allocator a;            /* called from the calling thread only */
	const stk_cpu *cpu;         /* never NULL; stk_cpu_portable runs anywhere */
	const stk_pool *pool;       /* NULL: the calling thread alone */
	const stk_monitor *monitor; /* NULL: never stop; with a pool, asked from any of its threads */
	const stk_accelerator *accelerator; /* NULL: the processor computes every step */
	double (*seconds)(void);            /* a clock that never goes back; NULL: there is none */
} stk_exec;

/* Rows of dim numbers that may be gone over between two looks at the monitor: about a megabyte. */
static inline size_t
stk_rows_a_look(size_t dim)
{
	return ((size_t) 1 << 18) / dim + 1;
}

#endif
