#include "explog.h"

#include <math.h>
#include <string.h>

#include "explog_inline.h"
#include "fpenv.h"

double
stk_exp(double x)
{
	return stk_exp_inline(x);
}

double
stk_log(double x)
{
	return stk_log_inline(x);
}

/* A few logits at a time, each lane for itself: a comparison waits for none of the others'. */
#define MAX_LANES 16

typedef float max_lanes __attribute__((vector_size(MAX_LANES * sizeof(float))));
typedef int32_t max_mask __attribute__((vector_size(MAX_LANES * sizeof(float))));

stk_status
stk_softmax_greatest(const float *z, size_t n, double *max)
{
	max_lanes lanes = {0};
	max_mask valid = {0};
	float greatest = -INFINITY;
	size_t i = 0;

	lanes -= INFINITY;
	valid = ~valid;
	for (; i + MAX_LANES <= n; i += MAX_LANES)
	{
		max_lanes v;
		max_mask above;

		memcpy(&v, z + i, sizeof(v));
		valid &= v < INFINITY;
		above = v > lanes;
		lanes = (max_lanes) ((above & (max_mask) v) | (~above & (max_mask) lanes));
	}
	for (size_t k = 0; k < MAX_LANES; k++)
	{
		if (!valid[k])
			return STK_EINVAL;
		greatest = lanes[k] > greatest ? lanes[k] : greatest;
	}
	for (; i < n; i++)
	{
		if (!(z[i] < INFINITY))
			return STK_EINVAL;
		greatest = z[i] > greatest ? z[i] : greatest;
	}
	*max = (double) greatest;
	return greatest == -INFINITY ? STK_EINVAL : STK_OK;
}

/*
 * The sum of exp((z - max) / temperature) in fixed point, its terms in share (NULL: nobody wants
 * them), and the quotients' negatives in cost: the bits of stk_exp and of `(uint64_t) (exp *
 * STK_FIXED_ONE + 0.5)`, several lanes at a time. Terms below exp(-700), which are 0 in fixed
 * point, are taken for that, and so are logits above max. A vector of doubles is `width` long.
 */
#define DEFINE_SUM(name, width, target)                                                            \
	typedef double name##_reals __attribute__((vector_size((width) * sizeof(double))));            \
	typedef int64_t name##_bits __attribute__((vector_size((width) * sizeof(double))));            \
                                                                                                   \
	target static uint64_t name(const float *z, size_t n, double max, double temperature,          \
								double *cost, uint64_t *share)                                     \
	{                                                                                              \
		name##_bits sum = {0};                                                                     \
		uint64_t total = 0;                                                                        \
                                                                                                   \
		for (size_t i = 0; i < n; i += (width))                                                    \
		{                                                                                          \
			size_t m = n - i < (width) ? n - i : (width);                                          \
			name##_reals c = {0}, x, k, hi, lo, r, e, p, s, y;                                     \
			name##_bits below, shift, live;                                                        \
                                                                                                   \
			for (size_t j = 0; j < (width); j++)                                                   \
				c[j] = j < m ? (double) z[i + j] : -INFINITY;                                      \
			c = (max - c) / temperature;                                                           \
			for (size_t j = 0; j < m; j++)                                                         \
				cost[i + j] = c[j];                                                                \
			live = (c <= 700.0) & (c >= 0.0);                                                      \
			x = (name##_reals)((name##_bits)(-c) & live);                                          \
			k = x * STK_INV_LN2 + STK_ROUND;                                                       \
			shift = (name##_bits) k << 52;                                                         \
			k -= STK_ROUND;                                                                        \
			hi = x - k * STK_LN2_HI;                                                               \
			lo = k * STK_LN2_LO;                                                                   \
			r = hi - lo;                                                                           \
			e = (hi - r) - lo;                                                                     \
			p = STK_EXP_SERIES(r);                                                                 \
			s = 1.0 + r;                                                                           \
			y = s + (((1.0 - s) + r) + (e + e * r + r * r * p));                                   \
			/* y is from 0.7 to 1.5, and 2^k a normal number: k is added to its exponent. */       \
			y = (name##_reals)((name##_bits) y + shift);                                           \
			y = y * STK_FIXED_ONE + 0.5;                                                           \
			k = (y + 0x1p52) - 0x1p52;                                                             \
			below = k > y;                                                                         \
			k -= (name##_reals)(below & (name##_bits)(k * 0 + 1.0));                               \
			shift = (name##_bits)(k + 0x1p52) & live & 0xfffffffffffff;                            \
			sum += shift;                                                                          \
			for (size_t j = 0; share && j < m; j++)                                                \
				share[i + j] = (uint64_t) shift[j];                                                \
		}                                                                                          \
		for (size_t j = 0; j < (width); j++)                                                       \
			total += (uint64_t) sum[j];                                                            \
		return total;                                                                              \
	}

#if defined(__x86_64__)
DEFINE_SUM(sum_avx2, 4, __attribute__((target("avx2"))))
#endif
DEFINE_SUM(sum_portable, 2, )

static uint64_t
sum_of_exps(const float *z, size_t n, double max, double temperature, double *cost, uint64_t *share)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return sum_avx2(z, n, max, temperature, cost, share);
#endif
	return sum_portable(z, n, max, temperature, cost, share);
}

static stk_status
softmax_costs(const float *z, size_t n, double temperature, double *cost)
{
	double max;
	double log_sum;
	stk_status status = stk_softmax_greatest(z, n, &max);

	if (status != STK_OK)
		return status;
	log_sum = stk_log_of_shares(sum_of_exps(z, n, max, temperature, cost, NULL));
	for (size_t i = 0; i < n; i++)
	{
		double c = log_sum + cost[i];

		cost[i] = c > 0 ? c : 0.0;
	}
	return STK_OK;
}

stk_status
stk_softmax_costs_at(const float *z, size_t n, double temperature, double *cost)
{
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = softmax_costs(z, n, temperature, cost);

	stk_fpenv_leave(env);
	return status;
}

stk_status
stk_softmax_costs(const float *z, size_t n, double *cost)
{
	return stk_softmax_costs_at(z, n, 1.0, cost);
}

void
stk_softmax_shares(const float *z, size_t n, double max, double *quotient, uint64_t *share)
{
	(void) sum_of_exps(z, n, max, 1.0, quotient, share);
}

stk_status
stk_softmax_log_sum(const float *z, size_t n, double temperature, double *max, double *log_sum)
{
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = stk_softmax_greatest(z, n, max);
	uint64_t sum = 0;

	for (size_t i = 0; i < n && status == STK_OK; i++)
		sum += stk_share((*max - (double) z[i]) / temperature);
	if (status == STK_OK)
		*log_sum = stk_log_of_shares(sum);
	stk_fpenv_leave(env);
	return status;
}
