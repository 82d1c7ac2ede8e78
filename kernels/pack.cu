/*
 * A codebook laid out for the tensor filter, with what certifies its scores.
 *
 * Done by the processor, once a codebook: two passes over sum(K) dim numbers.
 *
 * Let m be the level's centre, e the power of two `scale`, c' = (c - m) e and y' = (r - m) e in
 * exact arithmetic, c^ and y^ what the unit multiplies. In units of e^2
 *
 *    (r.c_k - h_k) e^2 = the same for all k + y'.c'_k + o_k        o_k = (m.c'_k/e - h_k) e^2
 *
 * with h_k half the squared norm, 0 for the inner product; a number common to all o_k is taken off.
 * A score v_k = (y^.c^_k by the unit) + o_k in binary32 differs from y'.c'_k + o_k by no more than
 *
 *    |y^| |c' - c^| + |y' - y^| |c'|       what the unit is given
 *    Gamma |y^| |c^|                       how it adds: groups of b products and the sum so far,
 *                                          aligned to the largest and truncated, lose (b + 2) 2^-23
 *                                          of the partial sums' bound each. Seen on an H200: b = 16
 *                                          and two bits more; b = 4 covers every unit since Volta
 *    2^-23 (|y^| |c^| + |o|) + 2^-149      the offset rounded to binary32, then added
 *    (D/8 + 8) 2^-53 |m| (|c| + |m|) e^2   the offset computed in binary64
 *
 * and the reference itself from the exact score by
 *
 *    (D/8 + 5) 2^-53 (|r| |c| + h) e^2     |r| e <= |y^| + |y' - y^| + |m| e
 *
 * Products of binary16 numbers are no smaller than 2^-48: nothing underflows in the unit. Between
 * two codewords each of these counts twice, but for the first line: there the difference of two
 * codewords' roundings and the distance of two codewords take their norms' place, which are by a
 * factor of about 1.4 below twice the largest norms. The factor 1.015 covers the rounding of the margin's own
 * computation. Whatever overflows makes the margin infinite, and the row is the reference's.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_fp16.h>

#include "network.h"
#include "pack_joint.h"

extern "C"
{
#include "core/dot.h"
}

/* Pairs of codewords are looked at where that takes no more than so many steps. */
#define MAX_PAIR_STEPS ((size_t) 1 << 28)

static void
raise(double *largest, double value)
{
	if (value > *largest)
		*largest = value;
	else if (isnan(value))
		*largest = INFINITY;
}

/* Where a level's parts lie in one piece of memory, here and on the device. */
typedef struct level_places
{
	size_t codewords, half, packed, offsets, centre;
} level_places;

static size_t
place(size_t *at, size_t bytes)
{
	size_t here = *at;

	*at += (bytes + 255) / 256 * 256;
	return here;
}

/* The mean of the codewords, and the scale that brings what is around it into binary16's middle. */
static float
set_centre(const float *c, uint32_t size, size_t dim, double *sum, float *centre)
{
	double largest = 0;

	memset(sum, 0, dim * sizeof(double));
	for (size_t k = 0; k < size; k++)
	{
		for (size_t i = 0; i < dim; i++)
			sum[i] += c[k * dim + i];
	}
	for (size_t i = 0; i < dim; i++)
		centre[i] = (float) (sum[i] / size);
	for (size_t k = 0; k < size; k++)
	{
		for (size_t i = 0; i < dim; i++)
			raise(&largest, fabs((double) c[k * dim + i] - (double) centre[i]));
	}
	return scale_for(largest);
}

/* Largest squared distance of two of the vectors v [size][dim]; each of 8 sums takes its turn. */
static double
largest_distance(const float *v, size_t size, size_t dim)
{
	double largest = 0;

	for (size_t j = 1; j < size; j++)
	{
		for (size_t k = 0; k < j; k++)
		{
			const float *a = v + j * dim, *b = v + k * dim;
			double sums[8] = {};
			double sum;
			size_t i = 0;

			for (; i + 8 <= dim; i += 8)
			{
				for (size_t t = 0; t < 8; t++)
				{
					double d = (double) a[i + t] - (double) b[i + t];

					sums[t] += d * d;
				}
			}
			for (; i < dim; i++)
				sums[0] += ((double) a[i] - (double) b[i]) * ((double) a[i] - (double) b[i]);
			sum = 0;
			for (size_t t = 0; t < 8; t++)
				sum += sums[t];
			raise(&largest, sum);
		}
	}
	return largest;
}

/* The pair bound: what two codewords differ by, and what two codewords' roundings differ by. */
static void
look_at_pairs(const float *codewords, const float *lost, size_t size, size_t dim, double e,
			  level_bound *b)
{
	double distance = 0.5 * sqrt(largest_distance(codewords, size, dim)) * e * (1 + 1e-9);
	double rounding = 0.5 * sqrt(largest_distance(lost, size, dim));

	/* Roundings themselves were rounded to binary32 here. */
	rounding += 0x1p-23 * (rounding + b->rounding) + 1e-12 * b->packed + 0x1p-140;
	/* What overflowed, or is not a number, is not smaller. */
	if (distance < b->radius)
		b->radius = distance;
	if (rounding < b->rounding)
		b->rounding = rounding;
}

/* Fill one level's parts at base; *bound out. */
static void
pack_level(const stk_codebook *cb, int l, size_t wide_dim, uint8_t *base, const level_places *at,
		   double *sum, float *losses, stk_device_level *level, level_bound *bound)
{
	const float *codewords = cb->codewords[l];
	size_t dim = (size_t) cb->dim;
	uint32_t size = cb->sizes[l];
	double *half = (double *) (base + at->half);
	__half *packed = (__half *) (base + at->packed);
	float *offsets = (float *) (base + at->offsets);
	float *centre = (float *) (base + at->centre);
	double middle = 0;
	double e, centre_dot;
	level_bound b = {};

	memcpy(base + at->codewords, codewords, size * dim * sizeof(float));
	level->scale = set_centre(codewords, size, dim, sum, centre);
	e = level->scale;
	centre_dot = stk_dot(centre, centre, dim);
	b.centre = sqrt(centre_dot) * e;
	for (uint32_t k = 0; k < size; k++)
	{
		const float *c = codewords + k * dim;
		double h = 0.5 * stk_dot(c, c, dim);
		double kept = 0;
		double lost = 0;
		double offset;

		half[k] = cb->metric == STK_IP ? 0 : h;
		for (size_t i = 0; i < dim; i++)
		{
			double exact = ((double) c[i] - (double) centre[i]) * e;
			__half r = __double2half(exact);
			double v = (double) __half2float(r);

			packed[stk_packed_at(wide_dim / STK_CHUNK, k, i)] = r;
			kept += v * v;
			lost += (exact - v) * (exact - v);
			if (losses)
				losses[k * dim + i] = (float) (exact - v);
		}
		/* The sums round, and so does the difference before them: by 2^-53 a step. */
		kept = sqrt(kept) * (1 + 1e-9);
		lost = sqrt(lost) * (1 + 1e-9) + 1e-12 * kept;
		offset = (stk_dot(centre, c, dim) - centre_dot - half[k]) * e * e;
		if (k == 0)
			middle = offset;
		offset -= middle;
		offsets[k] = (float) offset;
		raise(&b.norm, sqrt(2 * h) * e);
		raise(&b.half, half[k] * e * e);
		raise(&b.packed, kept);
		raise(&b.rounding, lost);
		raise(&b.radius, kept + lost);
		raise(&b.offset, fabs(offset));
	}
	for (size_t k = size; k < (size_t) level->panels * STK_PANEL; k++)
		offsets[k] = -INFINITY;
	/* What all offsets are short of was rounded, too. */
	raise(&b.offset, fabs(middle) * 0x1p-28);
	if (losses && size * dim <= MAX_PAIR_STEPS / size)
		look_at_pairs(codewords, losses, size, dim, e, &b);
	set_margin(level, &b, dim);
	*bound = b;
}

/* Carve the codebook's memory; returns its bytes. */
static size_t
carve(const stk_codebook *cb, size_t wide_dim, level_places *at)
{
	size_t dim = (size_t) cb->dim;
	size_t end = 0;

	(void) place(&end, STK_MAX_LEVELS * sizeof(stk_device_level));
	for (int l = 0; l < cb->levels; l++)
	{
		size_t size = cb->sizes[l];
		size_t padded = (size + STK_PANEL - 1) / STK_PANEL * STK_PANEL;

		at[l].codewords = place(&end, size * dim * sizeof(float));
		at[l].half = place(&end, size * sizeof(double));
		at[l].packed = place(&end, padded * wide_dim * sizeof(__half));
		at[l].offsets = place(&end, padded * sizeof(float));
		at[l].centre = place(&end, wide_dim * sizeof(float));
	}
	return end;
}

stk_status
stk_device_codebook_create(const stk_codebook *cb, bool lasting, cudaStream_t stream,
						   stk_device_codebook **out, stk_error *err)
{
	size_t wide_dim = ((size_t) cb->dim + STK_CHUNK - 1) / STK_CHUNK * STK_CHUNK;
	level_places at[STK_MAX_LEVELS];
	level_bound bounds[STK_MAX_LEVELS];
	size_t bytes = carve(cb, wide_dim, at);
	stk_device_codebook *d = (stk_device_codebook *) calloc(1, sizeof(*d));
	uint8_t *base = (uint8_t *) calloc(bytes, 1);
	double *sum = (double *) calloc(wide_dim, sizeof(double));
	size_t largest = 0;
	float *losses = NULL;
	stk_status status = d && base && sum ? STK_OK : STK_ENOMEM;

	*out = NULL;
	for (int l = 0; l < cb->levels; l++)
		largest = cb->sizes[l] > largest ? cb->sizes[l] : largest;
	/* Without it, margins are wider. */
	if (lasting)
		losses = (float *) malloc(largest * (size_t) cb->dim * sizeof(float));

	if (status == STK_OK)
	{
		d->metric = cb->metric;
		d->levels = cb->levels;
		d->dim = cb->dim;
		d->wide_dim = (int) wide_dim;
		d->bytes = bytes;
		status = stk_cuda_status(cudaMalloc(&d->memory, bytes), "make room for a codebook", err);
	}
	for (int l = 0; l < cb->levels && status == STK_OK; l++)
	{
		stk_device_level *level = &d->on_host[l];
		uint8_t *there = (uint8_t *) d->memory;

		level->codewords = (const float *) (there + at[l].codewords);
		level->half = (const double *) (there + at[l].half);
		level->packed = (const uint16_t *) (there + at[l].packed);
		level->offsets = (const float *) (there + at[l].offsets);
		level->centre = (const float *) (there + at[l].centre);
		level->size = cb->sizes[l];
		level->panels = (cb->sizes[l] + STK_PANEL - 1) / STK_PANEL;
		d->largest = level->size > d->largest ? level->size : d->largest;
		pack_level(cb, l, wide_dim, base, &at[l], sum, losses, level, &bounds[l]);
	}
	if (status == STK_OK)
		status = stk_device_network_create(&cb->network, stream, &d->network, err);
	if (status == STK_OK)
	{
		d->bytes += d->network.bytes;
		memcpy(base, d->on_host, sizeof(d->on_host));
		d->on_dev = (const stk_device_level *) d->memory;
		status =
			stk_cuda_status(cudaMemcpyAsync(d->memory, base, bytes, cudaMemcpyHostToDevice, stream),
							"copy a codebook to the device", err);
	}
	if (status == STK_OK)
		status =
			stk_cuda_status(cudaStreamSynchronize(stream), "copy a codebook to the device", err);
	if (status == STK_OK)
		status = stk_joint_create(d, cb, bounds, stream, err);
	free(losses);
	free(sum);
	free(base);
	if (status == STK_OK)
		*out = d;
	else
		stk_device_codebook_free(d);
	return status;
}

void
stk_device_codebook_free(stk_device_codebook *cb)
{
	if (!cb)
		return;
	stk_device_network_free(&cb->network);
	(void) cudaFree(cb->joint_memory);
	(void) cudaFree(cb->memory);
	free(cb);
}
