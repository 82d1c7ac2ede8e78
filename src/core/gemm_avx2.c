/*
 * AVX2 and FMA: six rows by 16 columns fill twelve registers of sums.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "gemm.h"

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR __m256
#define LANES 8
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SPREAD(p) _mm256_broadcast_ss(p)
#define ZERO() _mm256_setzero_ps()
#define MULTIPLY_ADD(a, b, c) _mm256_fmadd_ps(a, b, c)
#define ROWS 6
#include "gemm_tile.h"

const stk_gemm_tile stk_gemm_tile_avx2 = {ROWS, COLUMNS, multiply};
#endif
