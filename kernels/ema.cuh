/*
 * What a codebook by moving averages makes of a batch, code by code, as core's ema.h: by a whole
 * block, of which thread i has the columns i, i + blockDim.x, ...
 */
#ifndef STK_EMA_CUH
#define STK_EMA_CUH

#include "mean.cuh"
#include "philox.cuh"
#include "update.h"

/* Counts below this divide as this. */
#define STK_LEAST_COUNT 1e-5

/*
 * Blend a batch's rows of code k, of the given sum [dim], into the averages and the codeword.
 * count_before: N as it was; nobody reads it here again. sum may be overwritten.
 */
static __device__ inline void
ema_blend(const stk_ema &e, const stk_ema_rule &rule, uint32_t k, uint32_t rows,
		  double count_before, double *sum)
{
	double take = __dsub_rn(1, rule.decay);
	double count = __dadd_rn(__dmul_rn(rule.decay, count_before), __dmul_rn(take, rows));
	double divisor = count > STK_LEAST_COUNT ? count : STK_LEAST_COUNT;
	double *s = e.sums + k * e.dim;
	float *c = e.codewords + k * e.dim;
	double norm;

	for (size_t i = threadIdx.x; i < e.dim; i += blockDim.x)
	{
		double blended = __dadd_rn(__dmul_rn(rule.decay, s[i]), __dmul_rn(take, sum[i]));
		float mean = __double2float_rn(__ddiv_rn(blended, divisor));

		s[i] = blended;
		if (rule.unit)
			sum[i] = mean;
		else
			c[i] = mean;
	}
	if (threadIdx.x == 0)
	{
		e.counts[k] = count;
		e.idle[k] = 0;
	}
	if (!rule.unit)
		return;
	/* Rows that cancel out have no direction: the codeword keeps its own. */
	norm = norm_of(sum, e.dim);
	for (size_t i = threadIdx.x; i < e.dim && norm != 0; i += blockDim.x)
		c[i] = __double2float_rn(__ddiv_rn(sum[i], norm));
}

/* A code that no row chose is idle for one batch more. Has it to become another row now? */
static __device__ inline bool
ema_idle(const stk_ema &e, const stk_ema_rule &rule, uint32_t k)
{
	uint32_t idle = e.idle[k];

	idle += idle < UINT32_MAX;
	/* All have read it before one writes it. */
	__syncthreads();
	if (rule.restart_after != 0 && idle >= rule.restart_after)
		return true;
	if (threadIdx.x == 0)
		e.idle[k] = idle;
	return false;
}

/* Which of the batch's n rows: a random one. */
static __device__ inline size_t
ema_restart_row(const stk_ema_rule &rule, uint32_t k, size_t n)
{
	return random_below(random_bits(rule.seed, STK_RANDOM_RESTART, rule.level, rule.step, k), n);
}

/* Make it that row, which is finite. */
static __device__ inline void
ema_restart(const stk_ema &e, uint32_t k, const float *row)
{
	for (size_t i = threadIdx.x; i < e.dim; i += blockDim.x)
	{
		e.codewords[k * e.dim + i] = row[i];
		e.sums[k * e.dim + i] = 0;
	}
	if (threadIdx.x == 0)
	{
		e.counts[k] = 0;
		e.idle[k] = 0;
	}
}

#endif
