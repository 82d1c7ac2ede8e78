/*
 * Random numbers by position, as core's philox.h lays them out: the same draws.
 */
#ifndef STK_PHILOX_CUH
#define STK_PHILOX_CUH

#include "core/philox.h"

/* stk_random */
static __device__ inline uint64_t
random_bits(uint64_t seed, stk_purpose purpose, int level, uint32_t step, uint64_t index)
{
	uint32_t c0 = (uint32_t) index, c1 = (uint32_t) (index >> 32), c2 = step;
	uint32_t c3 = (uint32_t) purpose << 16 | (uint32_t) level;
	uint32_t k0 = (uint32_t) seed, k1 = (uint32_t) (seed >> 32);

#pragma unroll
	for (int i = 0; i < 10; i++)
	{
		uint32_t high0 = __umulhi(0xD2511F53, c0);
		uint32_t high1 = __umulhi(0xCD9E8D57, c2);
		uint32_t low0 = 0xD2511F53 * c0;
		uint32_t low1 = 0xCD9E8D57 * c2;

		c0 = high1 ^ c1 ^ k0;
		c1 = low1;
		c2 = high0 ^ c3 ^ k1;
		c3 = low0;
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	return (uint64_t) c1 << 32 | c0;
}

/* stk_below */
static __device__ inline uint64_t
random_below(uint64_t bits, uint64_t bound)
{
	return __umul64hi(bits, bound);
}

#endif
