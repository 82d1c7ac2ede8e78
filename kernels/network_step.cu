/*
 * A training step between the products of matrices: the batch's rows, activations and their
 * gradients, the reconstruction's error and its gradient.
 *
 * Bytes: each number read once and written once, all in the second-level cache where batches are
 * small. Operations: a few a number. Bound: launches where rows are few; memory.
 */
#include "step_sum.cuh"

#define COLUMNS 128 /* threads along a row, four columns each */
#define ROWS 2      /* rows of a block */

static unsigned
blocks_for(size_t n)
{
	return (unsigned) ((n + ROWS - 1) / ROWS);
}

static __global__ void
__launch_bounds__(COLUMNS *ROWS) take_rows(const stk_batch_rows b)
{
	size_t row = (size_t) blockIdx.x * ROWS + threadIdx.y;
	const float *from;
	float *to;

	if (row >= b.n)
		return;
	from = b.all + b.run.places[b.run.cursor->row + row] * b.dim;
	to = b.x + row * stk_wide(b.dim);
	for (size_t i = threadIdx.x; i < b.dim; i += COLUMNS)
		to[i] = from[i];
}

stk_status
stk_batch_rows_launch(const stk_batch_rows *call, cudaStream_t stream, stk_error *err)
{
	take_rows<<<blocks_for(call->n), dim3(COLUMNS, ROWS), 0, stream>>>(*call);
	return stk_cuda_status(cudaGetLastError(), "gather a batch on the device", err);
}

static __global__ void
set_ones(float *x, size_t n, size_t columns)
{
	size_t wide = stk_wide(columns);

	for (size_t row = blockIdx.x; row < n; row += gridDim.x)
	{
		for (size_t i = threadIdx.x; i < wide; i += blockDim.x)
			x[row * wide + i] = i == columns;
	}
}

stk_status
stk_ones_launch(float *x, size_t n, size_t columns, cudaStream_t stream, stk_error *err)
{
	set_ones<<<1024, 128, 0, stream>>>(x, n, columns);
	return stk_cuda_status(cudaGetLastError(), "lay out a batch on the device", err);
}

template <int ACTIVATION> static __device__ float activate(float x);

template <>
__device__ float
activate<STK_RELU>(float x)
{
	return x < 0 ? 0 : x;
}

template <>
__device__ float
activate<STK_GELU>(float x)
{
	return 0.5f * x * (1 + erff(x * 0.70710678f));
}

template <>
__device__ float
activate<STK_SILU>(float x)
{
	return x / (1 + expf(-x));
}

template <int ACTIVATION> static __device__ float slope(float x);

template <>
__device__ float
slope<STK_RELU>(float x)
{
	/* A NaN stays one. */
	return x > 0 ? 1 : x <= 0 ? 0 : x;
}

template <>
__device__ float
slope<STK_GELU>(float x)
{
	return 0.5f * (1 + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
}

template <>
__device__ float
slope<STK_SILU>(float x)
{
	float s = 1 / (1 + expf(-x));

	return s * (1 + x * (1 - s));
}

template <int ACTIVATION, bool BACKWARD>
static __global__ void
__launch_bounds__(COLUMNS *ROWS) pass(const stk_activation_call c)
{
	size_t row = (size_t) blockIdx.x * ROWS + threadIdx.y;
	size_t wide = stk_wide(c.columns);

	if (row >= c.n)
		return;
	for (size_t i = 4 * threadIdx.x; i < c.columns; i += 4 * COLUMNS)
	{
		float4 from = *(const float4 *) (c.x + row * wide + i);
		float4 *to = (float4 *) (c.y + row * wide + i);
		float x[4] = {from.x, from.y, from.z, from.w};
		float4 kept = BACKWARD || i + 4 > c.columns ? *to : make_float4(0, 0, 0, 0);
		float y[4] = {kept.x, kept.y, kept.z, kept.w};

#pragma unroll
		for (int j = 0; j < 4; j++)
		{
			/* What is behind the columns stays as it is. */
			if (i + j < c.columns)
				y[j] = BACKWARD ? y[j] * slope<ACTIVATION>(x[j]) : activate<ACTIVATION>(x[j]);
		}
		*to = make_float4(y[0], y[1], y[2], y[3]);
	}
}

template <bool BACKWARD>
static stk_status
launch(const stk_activation_call *call, cudaStream_t stream, stk_error *err)
{
	dim3 threads(COLUMNS, ROWS);

	if (call->activation == STK_RELU)
		pass<STK_RELU, BACKWARD><<<blocks_for(call->n), threads, 0, stream>>>(*call);
	else if (call->activation == STK_GELU)
		pass<STK_GELU, BACKWARD><<<blocks_for(call->n), threads, 0, stream>>>(*call);
	else
		pass<STK_SILU, BACKWARD><<<blocks_for(call->n), threads, 0, stream>>>(*call);
	return stk_cuda_status(cudaGetLastError(), "apply an activation on the device", err);
}

stk_status
stk_activation_launch(const stk_activation_call *call, cudaStream_t stream, stk_error *err)
{
	return launch<false>(call, stream, err);
}

stk_status
stk_activation_backward_launch(const stk_activation_call *call, cudaStream_t stream, stk_error *err)
{
	return launch<true>(call, stream, err);
}

/* Rows in turn; a thread has the columns i, i + STK_SUM_THREADS, ... of each. */
static __global__ void
__launch_bounds__(STK_SUM_THREADS) measure_error(const stk_error_call c)
{
	size_t wide = stk_wide(c.columns);
	float factor = 2 / ((float) c.n * (float) c.columns);
	double squares = 0;

	for (size_t row = blockIdx.x; row < c.n; row += gridDim.x)
	{
		for (size_t i = threadIdx.x; i < c.columns; i += STK_SUM_THREADS)
		{
			float difference = c.y[row * wide + i] - c.x[row * wide + i];

			c.y[row * wide + i] = factor * difference;
			squares += (double) difference * difference;
		}
	}
	if (sum_of_grid(squares, c.sum, &squares) && threadIdx.x == 0)
		note_loss(c.run, STK_LOSS_RECONSTRUCTION, squares / ((double) c.n * (double) c.columns));
}

stk_status
stk_error_launch(const stk_error_call *call, cudaStream_t stream, stk_error *err)
{
	unsigned blocks = call->n < STK_STEP_BLOCKS ? (unsigned) call->n : STK_STEP_BLOCKS;

	measure_error<<<blocks, STK_SUM_THREADS, 0, stream>>>(*call);
	return stk_cuda_status(cudaGetLastError(), "measure a batch on the device", err);
}

static __global__ void
__launch_bounds__(COLUMNS *ROWS) commit(const stk_latent_call c)
{
	size_t row = (size_t) blockIdx.x * ROWS + threadIdx.y;
	size_t wide = stk_wide(c.dim);

	if (row >= c.n)
		return;
	for (size_t i = threadIdx.x; i < c.dim; i += COLUMNS)
	{
		float sum = 0;

		for (int l = 1; l <= c.levels; l++)
			sum += c.residuals[((size_t) l * c.n + row) * c.dim + i];
		c.gradient[row * wide + i] += c.factor * sum;
	}
}

stk_status
stk_latent_launch(const stk_latent_call *call, cudaStream_t stream, stk_error *err)
{
	commit<<<blocks_for(call->n), dim3(COLUMNS, ROWS), 0, stream>>>(*call);
	return stk_cuda_status(cudaGetLastError(), "go back through codewords on the device", err);
}
