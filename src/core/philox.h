/*
 * Random numbers by position, not by state: Philox-4x32-10 of Salmon et al. 2011, "Parallel random
 * numbers: as easy as 1, 2, 3". A draw depends on what it is for and nothing else, so threads and
 * arrival order cannot matter.
 *
 * Layout, word by word:
 *
 *    key[0]      seed, low 32 bits
 *    key[1]      seed, high 32 bits
 *    counter[0]  index, low 32 bits
 *    counter[1]  index, high 32 bits
 *    counter[2]  step
 *    counter[3]  purpose << 16 | level
 */
#ifndef STK_PHILOX_H
#define STK_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* What a draw is for; the values are part of what a seed means. */
typedef enum stk_purpose
{
	STK_RANDOM_INIT = 1,      /* initial codewords: index = code (k-means++) or draw */
	STK_RANDOM_ORDER = 2,     /* mini-batches: step = epoch, index = draw */
	STK_RANDOM_RESTART = 3,   /* a dead code's new row: step = batch, index = code */
	STK_RANDOM_NOISE = 4,     /* refinement: step = round, index = number of the level / 2 */
	STK_RANDOM_BOOTSTRAP = 5, /* intervals: step = resample, index = draw */
	STK_RANDOM_PATH = 6,      /* decoding, one code on: draws.h */
	STK_RANDOM_SAMPLE = 7,    /* items: level 0, index = draw; level 1, order by content */
	STK_RANDOM_ROOT = 8,      /* decoding, a tokenizer's root: draws.h */
	STK_RANDOM_WEIGHT = 9     /* a network's weights: level = layer, index = weight, then bias */
} stk_purpose;

/* One block: ten rounds. */
extern void stk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* 64 random bits: words 0 (low) and 1 (high) of the block of this draw. */
extern uint64_t stk_random(uint64_t seed, stk_purpose purpose, int level, uint32_t step,
						   uint64_t index);

/* Uniform in 0 .. bound - 1 from 64 random bits: floor(bits * bound / 2^64). */
extern uint64_t stk_below(uint64_t bits, uint64_t bound);

/*
 * Draw the first `count` of a random order of 0 .. n - 1 into order[0 .. count); order [n] is
 * filled here and holds the rest behind them.
 */
extern void stk_random_order(size_t *order, size_t n, size_t count, uint64_t seed,
							 stk_purpose purpose, int level, uint32_t step);

#endif
