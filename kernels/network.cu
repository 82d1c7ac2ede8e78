/*
 * A network's encoder by the reference: dot products of eight lanes in binary64, plus the bias,
 * rounded once, then the activation by core's own source.
 *
 * A block has OUTS outputs of 2 ROWS rows, a thread one output of ROWS rows. Weights come through
 * shared memory in slabs of columns, and so do rows, widened on their way.
 *
 * Bytes of a layer: each block reads its outputs' weights, 4 in OUTS, from the second-level cache;
 * rows once for each OUTS outputs. Operations: n in out fma in binary64. Bound: those, 64 a
 * multiprocessor and clock; the way through the layers where rows are few.
 */
#define SLAB 32

#include "network.h"
#include "slab.cuh"

#include "core/activation_inline.h"

#define THREADS 256
#define OUTS 128
#define ROWS 8
#define TILE_ROWS (THREADS / OUTS * ROWS)

/* Elements of rows, as they go in. */
static __global__ void
__launch_bounds__(THREADS)
	take_embeddings(const float *x, size_t n, uint32_t inputs, const float *__restrict__ mean,
					const float *__restrict__ scale, float *out, stk_encode_failure *failure)
{
	size_t row = blockIdx.x;

	for (uint32_t i = threadIdx.x; i < inputs; i += THREADS)
	{
		float v = x[row * inputs + i];

		if (!isfinite(v))
		{
			atomicMin(failure, stk_encode_failed(row, -1, STK_ENCODE_NOT_FINITE));
			v = 0;
		}
		if (mean)
			v = __double2float_rn(__dmul_rn(__dsub_rn(v, mean[i]), scale[i]));
		if (!isfinite(v))
		{
			atomicMin(failure, stk_encode_failed(row, -1, STK_ENCODE_LAYER));
			v = 0;
		}
		out[row * inputs + i] = v;
	}
}

/* Columns `column` .. of the tile's rows, two for each thread; +0 where there are none. */
static __device__ inline void
read_rows(const float *x, size_t n, uint32_t in, size_t first, size_t column, float *ahead)
{
#pragma unroll
	for (int i = 0; i < TILE_ROWS * SLAB / THREADS; i++)
	{
		size_t row = first + (threadIdx.x + i * THREADS) / SLAB;
		size_t at = column + (threadIdx.x + i * THREADS) % SLAB;

		ahead[i] = row < n && at < in ? x[row * in + at] : 0;
	}
}

static __global__ void
__launch_bounds__(THREADS)
	pass_layer(const stk_layer layer, int number, bool last, stk_activation activation,
			   const float *__restrict__ x, size_t n, float *out, stk_encode_failure *failure)
{
	extern __shared__ __align__(16) uint8_t memory[];
	double *rows = (double *) memory;                       /* [2][TILE_ROWS][SLAB] */
	float *slabs = (float *) (rows + 2 * TILE_ROWS * SLAB); /* [2][OUTS][SLAB_STRIDE] */
	size_t first_row = (size_t) blockIdx.x * TILE_ROWS;
	uint32_t first = blockIdx.y * OUTS;
	uint32_t mine = threadIdx.x % OUTS;
	uint32_t group = threadIdx.x / OUTS;
	float ahead[TILE_ROWS * SLAB / THREADS];
	lanes<ROWS> sum = {};
	int turn = 0;
	double bias;

	start_slab<OUTS, THREADS>(layer.weight, layer.out, layer.in, first, 0, slabs);
	read_rows(x, n, layer.in, first_row, 0, ahead);
	for (size_t column = 0; column < layer.in; column += SLAB, turn ^= 1)
	{
		bool more = column + SLAB < layer.in;
		double *here = rows + turn * TILE_ROWS * SLAB;

#pragma unroll
		for (int i = 0; i < TILE_ROWS * SLAB / THREADS; i++)
			here[threadIdx.x + i * THREADS] = ahead[i];
		if (more)
		{
			start_slab<OUTS, THREADS>(layer.weight, layer.out, layer.in, first, column + SLAB,
									  slabs + (turn ^ 1) * OUTS * SLAB_STRIDE);
			read_rows(x, n, layer.in, first_row, column + SLAB, ahead);
		}
		if (more)
			copies_wait<1>();
		else
			copies_wait<0>();
		__syncthreads();
		multiply_slab<ROWS, false>(sum, slabs + (turn * OUTS + mine) * SLAB_STRIDE,
								   here + group * ROWS * SLAB, SLAB,
								   (uint32_t) min(layer.in - column, (size_t) SLAB));
		__syncthreads();
	}
	if (first + mine >= layer.out)
		return;
	bias = layer.bias[first + mine];
#pragma unroll
	for (int r = 0; r < ROWS; r++)
	{
		size_t row = first_row + group * ROWS + r;
		float v = __double2float_rn(__dadd_rn(fold_lanes(sum.row[r]), bias));

		if (row >= n)
			break;
		if (!isfinite(v))
		{
			atomicMin(failure, stk_encode_failed(row, number, STK_ENCODE_LAYER));
			v = 0;
		}
		out[row * layer.out + first + mine] = last ? v : stk_activated(activation, v);
	}
}

stk_status
stk_network_launch(const stk_device_network *net, float *x, float *scratch, size_t n,
				   unsigned long long *failure, cudaStream_t stream, stk_error *err)
{
	size_t bytes = 2 * TILE_ROWS * SLAB * sizeof(double) + 2 * OUTS * SLAB_STRIDE * sizeof(float);
	/* From one to the other and back: the last layer ends in x. */
	float *from = net->n_layers % 2 == 0 ? x : scratch;
	cudaError_t code =
		cudaFuncSetAttribute(pass_layer, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) bytes);

	if (n == 0)
		return STK_OK;
	if (code == cudaSuccess)
		take_embeddings<<<(unsigned) n, THREADS, 0, stream>>>(x, n, net->inputs, net->mean,
															  net->scale, from, failure);
	for (int l = 0; l < net->n_layers && code == cudaSuccess; l++)
	{
		const stk_layer *layer = &net->layers[l];
		float *to = from == x ? scratch : x;
		dim3 blocks((unsigned) ((n + TILE_ROWS - 1) / TILE_ROWS), (layer->out + OUTS - 1) / OUTS);

		pass_layer<<<blocks, THREADS, bytes, stream>>>(*layer, l, l + 1 == net->n_layers,
													   net->activation, from, n, to, failure);
		from = to;
	}
	if (code == cudaSuccess)
		code = cudaGetLastError();
	return stk_cuda_status(code, "compute a network on the device", err);
}

/* Room for so many floats, and their copy on its way there. */
static const float *
copy_floats(const stk_device_network *net, size_t *at, const float *from, size_t n,
			cudaStream_t stream, cudaError_t *code)
{
	float *to = (float *) stk_take(net->memory, at, n * sizeof(float));

	if (to && *code == cudaSuccess)
		*code = cudaMemcpyAsync(to, from, n * sizeof(float), cudaMemcpyHostToDevice, stream);
	return to;
}

/* Lay the encoder out, and copy it where there is memory; the bytes that it takes. */
static size_t
lay_out(const stk_network *net, stk_device_network *out, cudaStream_t stream, cudaError_t *code)
{
	size_t at = 0;

	if (net->standardized)
	{
		out->mean = copy_floats(out, &at, net->mean, net->inputs, stream, code);
		out->scale = copy_floats(out, &at, net->scale, net->inputs, stream, code);
	}
	for (int l = 0; l < net->n_encoder; l++)
	{
		const stk_layer *from = &net->encoder[l];
		stk_layer *to = &out->layers[l];

		to->in = from->in;
		to->out = from->out;
		to->weight =
			copy_floats(out, &at, from->weight, (size_t) from->in * from->out, stream, code);
		to->bias = copy_floats(out, &at, from->bias, from->out, stream, code);
	}
	return at;
}

stk_status
stk_device_network_create(const stk_network *net, cudaStream_t stream, stk_device_network *out,
						  stk_error *err)
{
	cudaError_t code = cudaSuccess;

	*out = stk_device_network();
	if (net->inputs == 0)
		return STK_OK;
	out->inputs = net->inputs;
	out->activation = net->activation;
	out->n_layers = net->n_encoder;
	out->bytes = lay_out(net, out, stream, &code);
	code = cudaMalloc(&out->memory, out->bytes);
	if (code == cudaSuccess)
		lay_out(net, out, stream, &code);
	return stk_cuda_status(code, "copy a network to the device", err);
}

void
stk_device_network_free(stk_device_network *net)
{
	(void) cudaFree(net->memory);
	net->memory = NULL;
}
