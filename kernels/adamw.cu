/*
 * The end of a training step: the length of the gradients, AdamW, averages.
 *
 * Bytes: parameters, moments and averages once in and out, gradients once, or twice where the
 * length is to be known before: 28 to 40 for each number. Operations: some ten. Bound: memory, the
 * second-level cache's rate where the networks are small.
 */
#include "step_sum.cuh"

/* Lengths are sums of so many blocks. */
#define NORM_BLOCKS 256

static __global__ void
__launch_bounds__(STK_SUM_THREADS)
	sum_squares(const float4 *__restrict__ g, size_t fours, const stk_adamw_call c)
{
	double squares = 0;

	for (size_t i = (size_t) blockIdx.x * STK_SUM_THREADS + threadIdx.x; i < fours;
		 i += (size_t) gridDim.x * STK_SUM_THREADS)
	{
		float4 v = g[i];

		squares += (double) v.x * v.x + (double) v.y * v.y;
		squares += (double) v.z * v.z + (double) v.w * v.w;
	}
	if (sum_of_grid(squares, c.sum, &squares) && threadIdx.x == 0)
		note_loss(c.run, STK_LOSS_GRADIENT, squares);
}

static __device__ inline void
step_one(float &p, float g, float &m, float &v, const stk_adamw_call &c, const stk_step_pace &pace,
		 float shrink)
{
	g = __fmul_rn(g, shrink);
	m = m + (1 - c.beta1) * (g - m);
	v = c.beta2 * v + (1 - c.beta2) * g * g;
	p = p * pace.keep - pace.rate * m / (sqrtf(v) / pace.correct + c.epsilon);
}

static __device__ inline float
average_one(float a, float p, float keep)
{
	return a + (1 - keep) * (p - a);
}

static __global__ void
__launch_bounds__(STK_SUM_THREADS) adamw(const stk_adamw_call c)
{
	stk_step_pace pace = c.run.paces[c.run.cursor->step];
	float shrink = 1;

	if (c.clip > 0)
	{
		double length =
			sqrt(c.run.losses[(size_t) c.run.cursor->step * STK_LOSSES + STK_LOSS_GRADIENT]);

		shrink = (float) fmin(c.clip / (length + 1e-6), 1.0);
	}
	for (size_t i = 4 * ((size_t) blockIdx.x * STK_SUM_THREADS + threadIdx.x); i < c.total;
		 i += 4 * (size_t) gridDim.x * STK_SUM_THREADS)
	{
		float4 p = *(const float4 *) (c.parameters + i);

		if (i < c.trained)
		{
			float4 g = *(const float4 *) (c.gradient + i);
			float4 m = *(const float4 *) (c.first + i);
			float4 v = *(const float4 *) (c.second + i);

			step_one(p.x, g.x, m.x, v.x, c, pace, shrink);
			step_one(p.y, g.y, m.y, v.y, c, pace, shrink);
			step_one(p.z, g.z, m.z, v.z, c, pace, shrink);
			step_one(p.w, g.w, m.w, v.w, c, pace, shrink);
			*(float4 *) (c.parameters + i) = p;
			*(float4 *) (c.first + i) = m;
			*(float4 *) (c.second + i) = v;
		}
		if (c.average)
		{
			float4 a = *(const float4 *) (c.average + i);

			a.x = average_one(a.x, p.x, pace.average);
			a.y = average_one(a.y, p.y, pace.average);
			a.z = average_one(a.z, p.z, pace.average);
			a.w = average_one(a.w, p.w, pace.average);
			*(float4 *) (c.average + i) = a;
		}
	}
	/* The last block to end: all others have read the cursor. */
	__syncthreads();
	if (threadIdx.x == 0 && atomicAdd(c.sum.arrived, 1) == gridDim.x - 1)
	{
		*c.sum.arrived = 0;
		c.run.cursor->row += c.n;
		c.run.cursor->step++;
	}
}

stk_status
stk_adamw_launch(const stk_adamw_call *call, cudaStream_t stream, stk_error *err)
{
	size_t fours = (call->average ? call->total : call->trained) / 4;
	size_t blocks = (fours + STK_SUM_THREADS - 1) / STK_SUM_THREADS;
	stk_adamw_call c = *call;

	c.total = 4 * fours;
	sum_squares<<<NORM_BLOCKS, STK_SUM_THREADS, 0, stream>>>((const float4 *) c.gradient,
															 c.trained / 4, c);
	adamw<<<(unsigned) (blocks < 4096 ? blocks : 4096), STK_SUM_THREADS, 0, stream>>>(c);
	return stk_cuda_status(cudaGetLastError(), "take a step of AdamW on the device", err);
}
