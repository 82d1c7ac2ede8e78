/*
 * Another library's floating-point environment: rounding towards zero, small numbers flushed.
 */
#ifndef UNIT_FOREIGN_FPENV_H
#define UNIT_FOREIGN_FPENV_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>

static inline void
foreign_fpenv_enter(void)
{
	_mm_setcsr(0xffc0); /* FTZ, DAZ, towards zero */
}

static inline void
foreign_fpenv_leave(void)
{
	_mm_setcsr(0x1f80);
}

/* All that this machine, an emulated one maybe, keeps of it; flags of what has happened aside. */
static inline bool
foreign_fpenv_is_set(void)
{
	unsigned int now = _mm_getcsr();
	unsigned int kept;

	foreign_fpenv_enter();
	kept = _mm_getcsr();
	_mm_setcsr(now);
	return ((now ^ kept) & 0xffc0) == 0;
}

#elif defined(__aarch64__)

#define FOREIGN_FPCR ((uint64_t) 1 << 24 | (uint64_t) 3 << 22) /* FZ, towards zero */

static inline void
foreign_fpenv_enter(void)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(FOREIGN_FPCR));
}

static inline void
foreign_fpenv_leave(void)
{
	__asm__ volatile("msr fpcr, %0" : : "r"((uint64_t) 0));
}

static inline bool
foreign_fpenv_is_set(void)
{
	uint64_t now;

	__asm__ volatile("mrs %0, fpcr" : "=r"(now));
	return (now & FOREIGN_FPCR) == FOREIGN_FPCR;
}

#else
#include <fenv.h>

static inline void
foreign_fpenv_enter(void)
{
	fesetround(FE_TOWARDZERO);
}

static inline void
foreign_fpenv_leave(void)
{
	fesetround(FE_TONEAREST);
}

static inline bool
foreign_fpenv_is_set(void)
{
	return fegetround() == FE_TOWARDZERO;
}
#endif

#endif
