/*
 * AVX-512: twelve rows by 32 columns fill 24 registers of sums.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "gemm.h"

#define TARGET __attribute__((target("avx512f")))
#define VECTOR __m512
#define LANES 16
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SPREAD(p) _mm512_set1_ps(*(p))
#define ZERO() _mm512_setzero_ps()
#define MULTIPLY_ADD(a, b, c) _mm512_fmadd_ps(a, b, c)
#define ROWS 12
#include "gemm_tile.h"

const stk_gemm_tile stk_gemm_tile_avx512 = {ROWS, COLUMNS, multiply};
#endif
