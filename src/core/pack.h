/*
 * One level's codewords laid out once for a filter's kernel, with what certifies its scores.
 */
#ifndef STK_PACK_H
#define STK_PACK_H

#include "exec.h"

typedef enum stk_filter
{
	STK_FILTER_BEST,     /* bfloat16 where the processor has it and the rows are long enough */
	STK_FILTER_BINARY32, /* where a score's own accuracy matters, and to measure */
	STK_FILTER_BFLOAT16, /* binary32 where the processor has no such unit */
	STK_FILTER_NONE      /* the reference alone */
} stk_filter;

typedef struct stk_pack
{
	const stk_cpu *cpu;
	const stk_kernel *kernel; /* NULL: the reference alone */
	uint32_t size;
	size_t dim;
	bool inner_product; /* scores leave the half norms out */
	bool centred;       /* scores are short of the same number for all codewords: centre . x */

	const float *codewords; /* [size][dim], the caller's */
	double *half;           /* [size] half squared norms, by the reference */

	uint32_t panels;
	float *centre;   /* [dim]; zeros when not centred */
	uint8_t *packed; /* [panels] of kernel->panel_bytes(dim) */
	float *offsets;  /* [panels * panel] added to dot products; -INFINITY behind the last */
	stk_bound_codes bound;

	stk_allocator a;
	void *memory[4]; /* as allocated, unaligned */
	size_t bytes;    /* of memory, all together */
} stk_pack;

/* Round a pointer up to STK_ALIGN; ask for STK_ALIGN bytes more. */
static inline void *
stk_align(void *p)
{
	return (void *) (((uintptr_t) p + STK_ALIGN - 1) & ~(uintptr_t) (STK_ALIGN - 1));
}

/*
 * Room for codebooks of this shape; stk_pack_fill follows. A centred pack filters best; one that
 * is not gives scores of their own worth. STK_ENOMEM; free with stk_pack_free.
 */
extern stk_status stk_pack_init(stk_pack *p, const stk_exec *exec, stk_filter filter, bool centred,
								uint32_t size, size_t dim, bool inner_product);
extern void stk_pack_free(stk_pack *p);

/*
 * Lay out codewords [size][dim], finite; they must stay as they are while the pack is used. May be
 * called again, and must be after STK_ECANCELED. Computes in core's floating-point environment,
 * which the caller has entered.
 */
extern stk_status stk_pack_fill(stk_pack *p, const float *codewords, const stk_monitor *monitor);

/* Codeword k's half squared norm as scores use it: 0 for the inner product. */
static inline double
stk_pack_half(const stk_pack *p, uint32_t k)
{
	return p->inner_product ? 0 : p->half[k];
}

#endif
