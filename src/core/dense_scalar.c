/*
 * Portable C, a number at a time.
 */
#include <math.h>

#include "dense.h"

#define TARGET
#define VECTOR float
#define LANES 1
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define SPREAD(p) (*(p))
#define PLUS(a, b) ((a) + (b))
#define MINUS(a, b) ((a) - (b))
#define TIMES(a, b) ((a) * (b))
#define OVER(a, b) ((a) / (b))
#define ROOT(a) sqrtf(a)
#define MULTIPLY_ADD(a, b, c) fmaf(a, b, c)
#define WHERE_ABOVE(y, x) ((y) > 0 ? (x) : 0)
#define ROWS 4
#define TABLE stk_dense_scalar
#include "dense_kernel.h"

const stk_dense *
stk_dense_of(const stk_cpu *cpu)
{
	switch (cpu->simd)
	{
#if defined(__x86_64__)
		case STK_SIMD_AVX512:
			return &stk_dense_avx512;
		case STK_SIMD_AVX2:
			return &stk_dense_avx2;
#elif defined(__aarch64__)
		case STK_SIMD_NEON:
			return &stk_dense_neon;
#endif
		default:
			return &stk_dense_scalar;
	}
}
