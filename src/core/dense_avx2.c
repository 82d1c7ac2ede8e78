/*
 * AVX2 and FMA: six rows by 16 columns of a product fill twelve registers of sums.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "dense.h"

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR __m256
#define LANES 8
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SPREAD(p) _mm256_broadcast_ss(p)
#define PLUS(a, b) _mm256_add_ps(a, b)
#define MINUS(a, b) _mm256_sub_ps(a, b)
#define TIMES(a, b) _mm256_mul_ps(a, b)
#define OVER(a, b) _mm256_div_ps(a, b)
#define ROOT(a) _mm256_sqrt_ps(a)
#define MULTIPLY_ADD(a, b, c) _mm256_fmadd_ps(a, b, c)
#define WHERE_ABOVE(y, x) _mm256_and_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GT_OQ), x)
#define ROWS 6
#define TABLE stk_dense_avx2
#include "dense_kernel.h"
#endif
