/*
 * Packing codewords that are on the device, without waiting: what pack.cu does on the processor,
 * with margins that do not look at pairs of codewords.
 *
 * The number that all offsets are short of is -|m|^2 e^2 / 2 here, so that o_k = -|c'_k|^2 / 2; for
 * the inner product it is 0, and o_k = m.c'_k / e.
 *
 * Bytes: codewords three times, 4 K dim each; packed ones written, 2 K dim. Bound: the launches.
 */
#include <stdlib.h>

#include "dependent.cuh"
#include "pack_codes.cuh"

#define THREADS 128
/* A block that finds the centre: so many columns side by side, by so many threads each. */
#define COLUMNS 32
#define PARTS 32
/* The mean of the codewords, and how far they are from it. */
static __global__ void
__launch_bounds__(COLUMNS *PARTS) find_centre(const pack_args a)
{
	__shared__ double sums[PARTS][COLUMNS];
	__shared__ float centre[COLUMNS];
	__shared__ unsigned long long largest;
	int side = threadIdx.x % COLUMNS;
	int part = threadIdx.x / COLUMNS;
	int i = blockIdx.x * COLUMNS + side;
	double sum = 0;
	double far = 0;

	if (threadIdx.x == 0)
		largest = 0;
	for (uint32_t k = part; k < a.level.size && i < a.dim; k += PARTS)
		sum += (double) a.level.codewords[(size_t) k * a.dim + i];
	sums[part][side] = sum;
	__syncthreads();
	if (part == 0)
	{
		for (int p = 1; p < PARTS; p++)
			sum += sums[p][side];
		centre[side] = __double2float_rn(sum / a.level.size);
		if (i < a.wide_dim)
			a.centre[i] = i < a.dim ? centre[side] : 0;
	}
	__syncthreads();
	for (uint32_t k = part; k < a.level.size && i < a.dim; k += PARTS)
		far = fmax(
			far, fabs((double) a.level.codewords[(size_t) k * a.dim + i] - (double) centre[side]));
	/* Bits of numbers that are not negative have the numbers' order. */
	atomicMax(&largest, (unsigned long long) __double_as_longlong(far));
	__syncthreads();
	if (threadIdx.x == 0)
		atomicMax(&a.state->largest, largest);
}

/* A block a codeword, those behind the last one too. */
static __global__ void
__launch_bounds__(THREADS) pack_codes(const pack_args a)
{
	wait_for_last();
	if (blockIdx.x < a.level.size)
		pack_code(a, blockIdx.x);
	else if (threadIdx.x == 0)
		a.offsets[blockIdx.x] = -INFINITY;
	pack_done(a, gridDim.x);
}

/* Lay everything out in the memory; returns how many bytes it takes. */
static size_t
lay_out(stk_device_pack *p)
{
	stk_device_codebook *cb = &p->codebook;
	stk_device_level *level = &cb->on_host[0];
	size_t dim = (size_t) cb->dim;
	size_t wide_dim = (size_t) cb->wide_dim;
	size_t padded = ((size_t) p->most + STK_PANEL - 1) / STK_PANEL * STK_PANEL;
	size_t at = 0;

	cb->on_dev = (stk_device_level *) stk_take(cb->memory, &at, sizeof(stk_device_level));
	p->state = stk_take(cb->memory, &at, sizeof(pack_state));
	p->zeros = (double *) stk_take(cb->memory, &at, p->most * sizeof(double));
	level->packed = (uint16_t *) stk_take(cb->memory, &at, padded * wide_dim * sizeof(uint16_t));
	level->offsets = (float *) stk_take(cb->memory, &at, padded * sizeof(float));
	level->centre = (float *) stk_take(cb->memory, &at, wide_dim * sizeof(float));
	p->codewords = (float *) stk_take(cb->memory, &at, p->most * dim * sizeof(float));
	p->half = (double *) stk_take(cb->memory, &at, p->most * sizeof(double));
	p->bounds = (double *) stk_take(cb->memory, &at, p->most * sizeof(level_bound));
	level->codewords = p->codewords;
	return at;
}

void
stk_device_pack_shape(stk_device_pack *p, uint32_t size, bool inner_product)
{
	stk_device_codebook *cb = &p->codebook;
	stk_device_level *level = &cb->on_host[0];

	cb->metric = inner_product ? STK_IP : STK_L2;
	cb->largest = size;
	level->size = size;
	level->panels = (size + STK_PANEL - 1) / STK_PANEL;
	level->half = inner_product ? p->zeros : p->half;
}

stk_status
stk_device_pack_create(uint32_t most, size_t dim, cudaStream_t stream, stk_device_pack **out,
					   stk_error *err)
{
	static const char doing[] = "make room for codewords on the device";
	stk_device_pack *p = (stk_device_pack *) calloc(1, sizeof(*p));
	stk_device_codebook *cb;
	stk_status status;

	*out = NULL;
	if (!p)
		return STK_ENOMEM;
	cb = &p->codebook;
	cb->levels = 1;
	cb->dim = (int) dim;
	cb->wide_dim = (int) ((dim + STK_CHUNK - 1) / STK_CHUNK * STK_CHUNK);
	p->most = most;
	cb->bytes = lay_out(p);
	status = stk_cuda_status(cudaMalloc(&cb->memory, cb->bytes), doing, err);
	if (status == STK_OK)
	{
		lay_out(p);
		status = stk_cuda_status(cudaMemsetAsync(cb->memory, 0, cb->bytes, stream), doing, err);
	}
	if (status == STK_OK)
		*out = p;
	else
		stk_device_pack_free(p);
	return status;
}

void
stk_device_pack_free(stk_device_pack *p)
{
	if (!p)
		return;
	(void) cudaFree(p->codebook.memory);
	free(p);
}

stk_status
stk_pack_launch(const stk_device_pack *p, cudaStream_t stream, stk_error *err)
{
	pack_args a = pack_args_of(p);
	unsigned blocks = ((unsigned) a.wide_dim + COLUMNS - 1) / COLUMNS;
	stk_status status =
		stk_cuda_status(cudaMemsetAsync(&a.state->largest, 0, sizeof(a.state->largest), stream),
						"pack codewords on the device", err);

	if (status != STK_OK)
		return status;
	find_centre<<<blocks, COLUMNS * PARTS, 0, stream>>>(a);
	launch_next(pack_codes, a.level.panels * STK_PANEL, THREADS, stream, a);
	return stk_cuda_status(cudaGetLastError(), "pack codewords on the device", err);
}
