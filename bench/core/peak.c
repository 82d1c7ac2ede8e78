/*
 * What this processor's vector units can do at most, one core and all that a measurement uses.
 */
#include <stdio.h>

#include "common/bench.h"
#include "common/peak.h"

int
main(void)
{
	static const struct
	{
		stk_simd simd;
		bench_unit unit;
		const char *name;
	} units[] = {
		{STK_SIMD_AVX512, BENCH_FP32, "AVX-512 fp32 multiply-add"},
		{STK_SIMD_AVX512, BENCH_BF16, "AVX-512 vdpbf16ps"},
		{STK_SIMD_AVX2, BENCH_FP32, "AVX2 fp32 multiply-add"},
		{STK_SIMD_NEON, BENCH_FP32, "NEON fp32 multiply-add"},
	};
	bench_exec e;

	printf("Peak of the vector units, GFLOP/s (best of 15)\n\n");
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	printf("%-28s %9s %9d cores\n", "", "one core", BENCH_THREADS);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
	{
		double one = bench_peak(units[i].simd, units[i].unit, NULL);

		if (one > 0)
			printf("%-28s %9.0f %9.0f\n", units[i].name, one,
				   bench_peak(units[i].simd, units[i].unit, e.exec.pool));
		else
			printf("%-28s %9s %9s\n", units[i].name, "-", "-");
	}
	printf(
		"\nfp32 of a core decides which goals apply: those for 250 GFLOP/s and more, or below\n");
	bench_exec_stop(&e);
	return 0;
}
