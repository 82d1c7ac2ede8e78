/*
 * 64-bit ARM: twelve rows by eight columns fill 24 registers of sums.
 */
#include "gemm.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define TARGET
#define VECTOR float32x4_t
#define LANES 4
#define LOAD(p) vld1q_f32(p)
#define STORE(p, v) vst1q_f32(p, v)
#define SPREAD(p) vdupq_n_f32(*(p))
#define ZERO() vdupq_n_f32(0)
#define MULTIPLY_ADD(a, b, c) vfmaq_f32(c, a, b)
#define ROWS 12
#include "gemm_tile.h"

const stk_gemm_tile stk_gemm_tile_neon = {ROWS, COLUMNS, multiply};
#endif
