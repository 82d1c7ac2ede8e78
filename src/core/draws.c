#include "draws.h"

#include <math.h>

#include "explog.h"
#include "philox.h"

static stk_draw
draw(uint64_t seed, uint64_t state, uint32_t step, stk_purpose purpose, int level)
{
	uint32_t key[2] = {(uint32_t) seed, (uint32_t) (seed >> 32)};
	uint32_t counter[4] = {(uint32_t) state, (uint32_t) (state >> 32), step,
						   (uint32_t) purpose << 16 | (uint32_t) level};
	uint32_t out[4];

	stk_philox(counter, key, out);
	return (stk_draw){(uint64_t) out[1] << 32 | out[0],
					  0.0 - stk_log(0.0 - stk_log(((double) out[2] + 0.5) * 0x1p-32))};
}

stk_draw
stk_draw_root(uint64_t seed, uint64_t stream, uint32_t tokenizer)
{
	return draw(seed, stream, tokenizer, STK_RANDOM_ROOT, 0);
}

stk_draw
stk_draw_child(uint64_t seed, uint64_t parent, int level, uint32_t code)
{
	return draw(seed, parent, code, STK_RANDOM_PATH, level);
}

/*
 * With Z the greatest of the children's own g_i, and G what it has to be:
 *
 *    v = G - g_i + log(1 - exp(g_i - Z))
 *    key = G - max(0, v) - log(1 + exp(-|v|))
 *
 * which is -log(exp(-G) - exp(-Z) + exp(-g_i)) without its cancellation. It is at most G, and G for
 * the greatest.
 */
void
stk_draw_condition(double parent_key, double *key, size_t n)
{
	double greatest = -INFINITY;

	for (size_t i = 0; i < n; i++)
		greatest = key[i] > greatest ? key[i] : greatest;
	for (size_t i = 0; i < n; i++)
	{
		double v, shift;

		if (key[i] == -INFINITY)
			continue;
		if (key[i] == greatest)
		{
			key[i] = parent_key;
			continue;
		}
		v = parent_key - key[i] + stk_log(1.0 - stk_exp(key[i] - greatest));
		shift = v > 0 ? v : 0.0;
		key[i] = parent_key - shift - stk_log(1.0 + stk_exp(v > 0 ? -v : v));
	}
}
