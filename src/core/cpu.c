#include "cpu.h"

#include <string.h>

static const char *const simd_names[] = {"auto", "avx512", "avx2", "neon", "scalar"};

#define SIMDS (sizeof(simd_names) / sizeof(simd_names[0]))

const stk_cpu stk_cpu_portable = {STK_SIMD_SCALAR, &stk_reference_scalar, &stk_kernel_scalar, NULL};

stk_status
stk_simd_parse(const char *name, stk_simd *simd)
{
	for (size_t i = 0; i < SIMDS; i++)
	{
		if (strcmp(name, simd_names[i]) == 0)
		{
			*simd = (stk_simd) i;
			return STK_OK;
		}
	}
	return STK_EINVAL;
}

const char *
stk_simd_name(stk_simd simd)
{
	return simd_names[simd];
}

/*
 * The units of one path as this processor has them, unprobed; false when it has not. On x86-64 the
 * compiler's library asks the processor once, as the program starts, and says no to registers that
 * the operating system does not keep.
 */
static bool
find_units(stk_simd simd, stk_cpu *cpu)
{
	switch (simd)
	{
#if defined(__x86_64__)
		case STK_SIMD_AVX512:
			if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
				!__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
				return false;
			*cpu = (stk_cpu){simd, &stk_reference_avx512, &stk_kernel_avx512, NULL};
			if (__builtin_cpu_supports("avx512bf16"))
				cpu->bfloat16 = &stk_kernel_avx512_bf16;
			return true;
		case STK_SIMD_AVX2:
			if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
				return false;
			*cpu = (stk_cpu){simd, &stk_reference_avx2, &stk_kernel_avx2, NULL};
			return true;
#endif
#if defined(__aarch64__)
		case STK_SIMD_NEON:
			*cpu = (stk_cpu){simd, &stk_reference_neon, &stk_kernel_neon, NULL};
			return true;
#endif
		case STK_SIMD_SCALAR:
			*cpu = stk_cpu_portable;
			return true;
		default:
			return false;
	}
}

/* NULL in place of a kernel whose unit computes worse than its bound assumes. */
static const stk_kernel *
probed(const stk_kernel *kernel)
{
	return kernel && stk_kernel_probe(kernel, NULL) == STK_OK ? kernel : NULL;
}

stk_status
stk_cpu_choose(stk_simd want, stk_cpu *cpu, stk_error *err)
{
	static const stk_simd by_speed[] = {STK_SIMD_AVX512, STK_SIMD_AVX2, STK_SIMD_NEON,
										STK_SIMD_SCALAR};
	bool found = false;

	if (want == STK_SIMD_AUTO)
	{
		for (size_t i = 0; !found; i++)
			found = find_units(by_speed[i], cpu);
	}
	else if (!find_units(want, cpu))
		return stk_fail(err, STK_EINVAL, "this processor or build has no %s", simd_names[want]);
	cpu->binary32 = probed(cpu->binary32);
	cpu->bfloat16 = probed(cpu->bfloat16);
	return STK_OK;
}
