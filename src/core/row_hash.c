#include "core/row_hash.h"

#include <string.h>

/* Rows are read in four lanes of 16 bytes, so that multiplications overlap. */
#define LANES 4
#define LANE_FLOATS 4
#define STRIPE (LANES * LANE_FLOATS)

/* Odd, with bits of either kind well mixed: fractions of the golden ratio and of the root of 3. */
#define GOLDEN 0x9e3779b97f4a7c15u
#define ROOT 0xbb67ae8584caa73bu

/* The two halves of the product, laid over each other. */
static inline uint64_t
fold(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
	__extension__ unsigned __int128 product = (unsigned __int128) a * b;

	return (uint64_t) product ^ (uint64_t) (product >> 64);
#else
	uint64_t low = (a & 0xffffffff) * (b & 0xffffffff);
	uint64_t middle = (a >> 32) * (b & 0xffffffff) + (low >> 32);
	uint64_t other = (a & 0xffffffff) * (b >> 32) + (middle & 0xffffffff);
	uint64_t high = (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32);

	return (other << 32 | (low & 0xffffffff)) ^ high;
#endif
}

/* Two values, the first in the low half whatever the byte order. */
static inline uint64_t
word_of(const float *x)
{
	uint64_t word;

	memcpy(&word, x, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = word << 32 | word >> 32;
#endif
	return word;
}

/* Add the next values of each lane, STRIPE in all. */
static inline void
take(uint64_t lanes[LANES], const float *x)
{
#pragma GCC unroll 4
	for (int l = 0; l < LANES; l++, x += LANE_FLOATS)
		lanes[l] = fold(word_of(x) ^ ((uint64_t) l * 2 + 1) * GOLDEN, word_of(x + 2) ^ lanes[l]);
}

uint64_t
stk_row_hash(const float *x, size_t dim, uint64_t seed)
{
	uint64_t lanes[LANES];
	float rest[STRIPE] = {0};
	uint64_t h = dim;
	size_t i = 0;

#pragma GCC unroll 4
	for (int l = 0; l < LANES; l++)
		lanes[l] = fold(seed ^ ROOT, ((uint64_t) l * 2 + 1) * ROOT);
	for (; i + STRIPE <= dim; i += STRIPE)
		take(lanes, x + i);
	if (i < dim)
	{
		memcpy(rest, x + i, (dim - i) * sizeof(float));
		take(lanes, rest);
	}
#pragma GCC unroll 4
	for (int l = 0; l < LANES; l++)
		h = fold(h ^ lanes[l] ^ ROOT, GOLDEN);
	/* Stafford 2011, "Better bit mixing", variant 13 of the finalizer of MurmurHash3. */
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
	h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
	return h ^ (h >> 31);
}
