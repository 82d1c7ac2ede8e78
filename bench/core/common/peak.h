/*
 * What the processor's vector units could do at most: multiply-adds between registers, nothing
 * else. The measure for how well a kernel uses them.
 */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include "core/cpu.h"
#include "core/pool.h"

typedef enum bench_unit
{
	BENCH_FP32, /* fused multiply-adds of the path's widest registers */
	BENCH_BF16  /* vdpbf16ps: pairs of bfloat16 products summed in binary32 */
} bench_unit;

/*
 * GFLOP/s of this unit, a multiplication and an addition counting as two, on one core (pool NULL)
 * or all of the pool's at once: the best of several runs of some 30 to 100 ms, and of all calls so
 * far. 0 when this processor or build has no such unit.
 */
extern double bench_peak(stk_simd simd, bench_unit unit, const stk_pool *pool);

/*
 * Judge a goal in times as fast as a rival: `fast` where a core's fp32 peak is 250 GFLOP/s or more,
 * `slow` below; the line says which. times NAN: the rival was not there.
 */
extern void bench_goal_times(const char *what, double fast, double slow, double times);

#endif
