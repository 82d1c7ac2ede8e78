/*
 * 64-bit ARM: twelve rows by eight columns of a product fill 24 registers of sums.
 */
#include "dense.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define TARGET
#define VECTOR float32x4_t
#define LANES 4
#define LOAD(p) vld1q_f32(p)
#define STORE(p, v) vst1q_f32(p, v)
#define SPREAD(p) vdupq_n_f32(*(p))
#define PLUS(a, b) vaddq_f32(a, b)
#define MINUS(a, b) vsubq_f32(a, b)
#define TIMES(a, b) vmulq_f32(a, b)
#define OVER(a, b) vdivq_f32(a, b)
#define ROOT(a) vsqrtq_f32(a)
#define MULTIPLY_ADD(a, b, c) vfmaq_f32(c, a, b)
#define WHERE_ABOVE(y, x)                                                                          \
	vreinterpretq_f32_u32(vandq_u32(vcgtq_f32(y, vdupq_n_f32(0)), vreinterpretq_u32_f32(x)))
#define ROWS 12
#define TABLE stk_dense_neon
#include "dense_kernel.h"
#endif
