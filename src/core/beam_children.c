#include <math.h>
#include <string.h>

#include "beam_tables.h"

/* The same few lines for each width of vector: `width` binary32 lanes. */
#define DEFINE_CHILDREN(name, width, target)                                                       \
	typedef float name##_lanes __attribute__((vector_size(width * sizeof(float))));                \
	typedef int32_t name##_mask __attribute__((vector_size(width * sizeof(float))));               \
                                                                                                   \
	target static void name(float base, const float *scores, const float *const *rows, int count,  \
							uint32_t n, float *out, float *maxima)                                 \
	{                                                                                              \
		for (int part = 0; part < STK_BEAM_LANES; part += width)                                   \
		{                                                                                          \
			name##_lanes largest = {0};                                                            \
                                                                                                   \
			largest -= INFINITY;                                                                   \
			for (uint32_t k = (uint32_t) part; k < n; k += STK_BEAM_LANES)                         \
			{                                                                                      \
				name##_lanes v, row;                                                               \
                                                                                                   \
				memcpy(&v, scores + k, sizeof(v));                                                 \
				for (int i = 0; i < count; i++)                                                    \
				{                                                                                  \
					memcpy(&row, rows[i] + k, sizeof(row));                                        \
					v -= row;                                                                      \
				}                                                                                  \
				v += base;                                                                         \
				memcpy(out + k, &v, sizeof(v));                                                    \
				name##_mask above = v > largest;                                                   \
				largest =                                                                          \
					(name##_lanes)((above & (name##_mask) v) | (~above & (name##_mask) largest));  \
			}                                                                                      \
			memcpy(maxima + part, &largest, sizeof(largest));                                      \
		}                                                                                          \
	}

#if defined(__x86_64__)
DEFINE_CHILDREN(children_avx512, 16, __attribute__((target("avx512f"))))
DEFINE_CHILDREN(children_avx2, 8, __attribute__((target("avx2"))))
#endif
DEFINE_CHILDREN(children_portable, 4, )

stk_beam_children
stk_beam_children_for(const stk_cpu *cpu)
{
#if defined(__x86_64__)
	if (cpu->simd == STK_SIMD_AVX512)
		return children_avx512;
	if (cpu->simd == STK_SIMD_AVX2)
		return children_avx2;
#endif
	(void) cpu;
	return children_portable;
}
