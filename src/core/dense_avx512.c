/*
 * AVX-512: twelve rows by 32 columns of a product fill 24 registers of sums.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "dense.h"

#define TARGET __attribute__((target("avx512f")))
#define VECTOR __m512
#define LANES 16
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SPREAD(p) _mm512_set1_ps(*(p))
#define PLUS(a, b) _mm512_add_ps(a, b)
#define MINUS(a, b) _mm512_sub_ps(a, b)
#define TIMES(a, b) _mm512_mul_ps(a, b)
#define OVER(a, b) _mm512_div_ps(a, b)
#define ROOT(a) _mm512_sqrt_ps(a)
#define MULTIPLY_ADD(a, b, c) _mm512_fmadd_ps(a, b, c)
#define WHERE_ABOVE(y, x)                                                                          \
	_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_GT_OQ), x)
#define ROWS 12
#define TABLE stk_dense_avx512
#include "dense_kernel.h"
#endif
