#include "core/row_hash.h"

#include <string.h>

/* Rows are read in four lanes of 64 bits, so that multiplications overlap. */
#define LANES 4
#define LANE_FLOATS 2
/* Odd, with bits of either kind well mixed: fractions of the golden ratio and of the root of 3. */
#define GOLDEN 0x9e3779b97f4a7c15u
#define ROOT 0xbb67ae8584caa73bu

/* A bijection for each word. */
static inline uint64_t
take(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * GOLDEN;
	return lane ^ (lane >> 32);
}

/* Stafford 2011, "Better bit mixing", variant 13 of the finalizer of MurmurHash3. */
static uint64_t
finish(uint64_t h)
{
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
	h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
	return h ^ (h >> 31);
}

/* Two values, the first in the low half whatever the byte order. */
static inline uint64_t
word_of(const float *x, size_t n)
{
	uint32_t bits[LANE_FLOATS] = {0, 0};

	memcpy(bits, x, n * sizeof(float));
	return bits[0] | (uint64_t) bits[1] << 32;
}

uint64_t
stk_row_hash(const float *x, size_t dim, uint64_t seed)
{
	uint64_t lanes[LANES];
	uint64_t h = dim;
	size_t i = 0;

	for (int l = 0; l < LANES; l++)
		lanes[l] = finish(seed + (uint64_t) l * ROOT);
	for (; i + LANES * LANE_FLOATS <= dim; i += LANES * LANE_FLOATS)
		for (int l = 0; l < LANES; l++)
			lanes[l] = take(lanes[l], word_of(x + i + l * LANE_FLOATS, LANE_FLOATS));
	for (int l = 0; i < dim; l++, i += LANE_FLOATS)
		lanes[l] = take(lanes[l], word_of(x + i, dim - i < LANE_FLOATS ? dim - i : LANE_FLOATS));
	for (int l = 0; l < LANES; l++)
		h = finish(h ^ lanes[l]) + ROOT;
	return h;
}
