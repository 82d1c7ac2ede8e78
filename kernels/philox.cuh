/*
 * Random numbers by position, as core's philox.h lays them out: the same draws.
 */
#ifndef STK_PHILOX_CUH
#define STK_PHILOX_CUH

#include "core/philox.h"

/* The block of a counter; key is the seed. */
static __device__ inline uint4
philox_block(uint64_t seed, uint4 c)
{
	uint32_t k0 = (uint32_t) seed, k1 = (uint32_t) (seed >> 32);

#pragma unroll
	for (int i = 0; i < 10; i++)
	{
		uint32_t high0 = __umulhi(0xD2511F53, c.x);
		uint32_t high1 = __umulhi(0xCD9E8D57, c.z);
		uint32_t low0 = 0xD2511F53 * c.x;
		uint32_t low1 = 0xCD9E8D57 * c.z;

		c = make_uint4(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	return c;
}

/* stk_random */
static __device__ inline uint64_t
random_bits(uint64_t seed, stk_purpose purpose, int level, uint32_t step, uint64_t index)
{
	uint4 block = philox_block(seed, make_uint4((uint32_t) index, (uint32_t) (index >> 32), step,
												(uint32_t) purpose << 16 | (uint32_t) level));

	return (uint64_t) block.y << 32 | block.x;
}

/* stk_below */
static __device__ inline uint64_t
random_below(uint64_t bits, uint64_t bound)
{
	return __umul64hi(bits, bound);
}

#endif
