/*
 * What decoding draws: random numbers that follow from the path of codes alone. Private to core.
 *
 * Each prefix has 64 bits of state, from which its children's come. One Philox block a prefix, word
 * by word (philox.h's layout):
 *
 *    key[0], key[1]          seed, low and high 32 bits
 *
 *    the root of a tokenizer
 *    counter[0], counter[1]  stream: the query's number in a batch, low and high
 *    counter[2]              tokenizer
 *    counter[3]              STK_RANDOM_ROOT << 16
 *
 *    a prefix whose last code is c, at level l (0 = the first)
 *    counter[0], counter[1]  state of the prefix without c, low and high
 *    counter[2]              c; STK_DRAW_END for an id that ends there, among those that go on
 *    counter[3]              STK_RANDOM_PATH << 16 | l
 *
 *    out[0], out[1]          the prefix's state, low and high
 *    out[2]                  its uniform: (out[2] + 1/2) 2^-32, strictly between 0 and 1
 *    out[3]                  not used
 */
#ifndef STK_DRAWS_H
#define STK_DRAWS_H

#include <stddef.h>
#include <stdint.h>

#define STK_DRAW_END 65536

typedef struct stk_draw
{
	uint64_t state;
	double gumbel; /* -log(-log(uniform)): from -3.2 to 22.9 */
} stk_draw;

extern stk_draw stk_draw_root(uint64_t seed, uint64_t stream, uint32_t tokenizer);
extern stk_draw stk_draw_child(uint64_t seed, uint64_t parent, int level, uint32_t code);

/*
 * Keys of a prefix's children, given the prefix's own, which is the greatest of them (Kool et al.
 * 2019, appendix B.3).
 *
 *   key  [n]  in: score + gumbel of each child; -infinity = the child cannot be drawn. out: its key
 *
 * The scores must be those of probabilities that add up to the prefix's.
 */
extern void stk_draw_condition(double parent_key, double *key, size_t n);

#endif
