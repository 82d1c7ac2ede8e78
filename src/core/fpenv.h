/*
 * The floating-point environment core computes in: round to nearest, no flush to zero, no
 * denormals-are-zero. Any library in the process may have changed it, so entry points save it,
 * set ours and restore theirs.
 */
#ifndef STK_FPENV_H
#define STK_FPENV_H

#include <float.h>
#include <stdint.h>

#if defined(__FAST_MATH__)
#error "semtok's codes are exact: build without -ffast-math"
#endif
#if FLT_EVAL_METHOD != 0
#error "semtok needs FLT_EVAL_METHOD 0 (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "semtok stores little-endian values and has not been ported to big-endian machines"
#endif

typedef uint64_t stk_fpenv;

/*
 * Compilers do not know that arithmetic depends on the control word: keep work on memory on its
 * side of the switch.
 */
#define STK_FPENV_BARRIER() __asm__ volatile("" : : : "memory")

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>

static inline stk_fpenv
stk_fpenv_enter(void)
{
	unsigned int old = _mm_getcsr();

	_mm_setcsr(0x1f80); /* all exceptions masked, round to nearest */
	STK_FPENV_BARRIER();
	return old;
}

static inline void
stk_fpenv_leave(stk_fpenv old)
{
	STK_FPENV_BARRIER();
	_mm_setcsr((unsigned int) old);
}

#elif defined(__aarch64__)

static inline stk_fpenv
stk_fpenv_enter(void)
{
	uint64_t old;

	__asm__ volatile("mrs %0, fpcr" : "=r"(old));
	__asm__ volatile("msr fpcr, %0" : : "r"((uint64_t) 0));
	STK_FPENV_BARRIER();
	return old;
}

static inline void
stk_fpenv_leave(stk_fpenv old)
{
	STK_FPENV_BARRIER();
	__asm__ volatile("msr fpcr, %0" : : "r"(old));
}

#else
#include <fenv.h>

static inline stk_fpenv
stk_fpenv_enter(void)
{
	int old = fegetround();

	fesetround(FE_TONEAREST);
	return (stk_fpenv) old;
}

static inline void
stk_fpenv_leave(stk_fpenv old)
{
	fesetround((int) old);
}
#endif

#endif
