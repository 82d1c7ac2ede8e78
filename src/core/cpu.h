/*
 * Which of the processor's vector units core uses. One binary holds them all; the choice is made
 * at run time and changes speed only, never a result.
 */
#ifndef STK_CPU_H
#define STK_CPU_H

#include "kernel.h"
#include "status.h"

typedef enum stk_simd
{
	STK_SIMD_AUTO = 0, /* the best this processor has */
	STK_SIMD_AVX512,   /* AVX-512 F, BW, DQ and VL; bfloat16 filters where the processor has them */
	STK_SIMD_AVX2,     /* AVX2 and FMA */
	STK_SIMD_NEON,     /* 64-bit ARM */
	STK_SIMD_SCALAR    /* portable C */
} stk_simd;

typedef struct stk_cpu
{
	stk_simd simd;                  /* never STK_SIMD_AUTO */
	const stk_reference *reference; /* exact arithmetic */
	const stk_kernel *binary32;     /* filter; NULL when the probe found its arithmetic too weak */
	const stk_kernel *bfloat16;     /* the same; also NULL where the processor has no such unit */
} stk_cpu;

/* Portable C, not probed: for callers without a choice to make. */
extern const stk_cpu stk_cpu_portable;

/* "auto", "avx512", "avx2", "neon", "scalar"; STK_EINVAL for another name. */
extern stk_status stk_simd_parse(const char *name, stk_simd *simd);
extern const char *stk_simd_name(stk_simd simd);

/*
 * Fill *cpu for the path wanted, after probing its units. STK_EINVAL when this processor or this
 * build has not got it; err says which.
 */
extern stk_status stk_cpu_choose(stk_simd want, stk_cpu *cpu, stk_error *err);

/*
 * Does the unit behind this kernel round and keep small numbers as its bound assumes? STK_OK, or
 * STK_EINVAL and err->message naming the first thing it does worse.
 */
extern stk_status stk_kernel_probe(const stk_kernel *kernel, stk_error *err);

#endif
