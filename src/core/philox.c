#include "philox.h"

#define ROUNDS 10

void
stk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
	uint32_t k0 = key[0], k1 = key[1];

	for (int i = 0; i < ROUNDS; i++)
	{
		uint64_t p0 = (uint64_t) 0xD2511F53 * c0;
		uint64_t p1 = (uint64_t) 0xCD9E8D57 * c2;

		c0 = (uint32_t) (p1 >> 32) ^ c1 ^ k0;
		c1 = (uint32_t) p1;
		c2 = (uint32_t) (p0 >> 32) ^ c3 ^ k1;
		c3 = (uint32_t) p0;
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

uint64_t
stk_random(uint64_t seed, stk_purpose purpose, int level, uint32_t step, uint64_t index)
{
	uint32_t key[2] = {(uint32_t) seed, (uint32_t) (seed >> 32)};
	uint32_t counter[4] = {(uint32_t) index, (uint32_t) (index >> 32), step,
						   (uint32_t) purpose << 16 | (uint32_t) level};
	uint32_t out[4];

	stk_philox(counter, key, out);
	return (uint64_t) out[1] << 32 | out[0];
}

uint64_t
stk_below(uint64_t bits, uint64_t bound)
{
	uint64_t lo = (bits & UINT32_MAX) * (bound & UINT32_MAX);
	uint64_t mid = (bits >> 32) * (bound & UINT32_MAX) + (lo >> 32);
	uint64_t mid2 = (bits & UINT32_MAX) * (bound >> 32) + (mid & UINT32_MAX);

	return (bits >> 32) * (bound >> 32) + (mid >> 32) + (mid2 >> 32);
}

void
stk_random_order(size_t *order, size_t n, size_t count, uint64_t seed, stk_purpose purpose,
				 int level, uint32_t step)
{
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = 0; i < count; i++)
	{
		size_t j = i + (size_t) stk_below(stk_random(seed, purpose, level, step, i), n - i);
		size_t tmp = order[i];

		order[i] = order[j];
		order[j] = tmp;
	}
}
