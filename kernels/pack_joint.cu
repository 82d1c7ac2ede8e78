/*
 * Scores of a residual without the residual.
 *
 * With the first level's centre m and scale e, and y' = (x - m) e, a later level's codewords c_k,
 * their centre n and scale f, and c'_k = (c_k - n) f: the residual is r = x - S + E, where S sums
 * the codewords that levels before took, and E is what binary32 lost at each subtraction. So
 *
 *    (r.c_k - h_k) e f = the same for all k + y'.c'_k + o_k - sum g_k + e E.c'_k
 *
 *    o_k = (m.c_k - m.n - h_k) e f        g_k = (c.c'_k / f) e f for each codeword c of S
 *
 * y' is rounded to binary16 once for all levels, and a table gives g_k for each codeword of each
 * level before. A score differs from the exact one as pack.cu says, with |y'| in the residual's
 * place, and further by no more than
 *
 *    2^-23 (l + 1) (|y^| |c^| + |o| + sum |g|)     g rounded to binary32, then subtracted
 *    2^-52 (dim + 2) sum |c| e |c'|                g computed in binary64
 *    2^-24 l (|y'| + |m| e + sum |c| e) |c'|       E: each residual is no longer than that
 *
 * The reference's own error has |r| e <= |y'| + |m| e + sum |c| e.
 *
 * Where the scale of a level is far finer than the first's, its margins would be too wide; where rows
 * could leave binary32's range at a subtraction, nobody would notice. Such levels have no joint.
 *
 * Bytes: tables, 4 K K' a pair of levels. Operations: 2 dim K K' in binary64. Once a codebook.
 */
#include <math.h>

#include "pack_joint.h"

extern "C"
{
#include "core/dot.h"
}

#define THREADS 128
/* A level's scale may be so many times the first's. */
#define MOST_FINER 4
/* Numbers of all tables together. */
#define MOST_NUMBERS ((size_t) 4 << 20)
/* Binary16's largest is 65504: a row whose y is larger has no finite margin. */
#define LARGEST_ROUNDED 65536.0

typedef struct joint_args
{
	const float *before; /* [.][dim] codewords of a level before */
	const float *codewords;
	const float *centre;
	uint32_t size;
	int dim;
	double scales; /* of both */
	float *out;    /* [.][gridDim.x * THREADS] */
} joint_args;

/* A thread a codeword, a row of blocks a codeword of the level before. */
static __global__ void
__launch_bounds__(THREADS) multiply_levels(const joint_args a)
{
	uint32_t k = blockIdx.x * THREADS + threadIdx.x;
	const float *taken = a.before + (size_t) blockIdx.y * a.dim;
	double sum = 0;

	for (int i = 0; i < a.dim && k < a.size; i++)
		sum = fma((double) taken[i],
				  (double) a.codewords[(size_t) k * a.dim + i] - (double) a.centre[i], sum);
	a.out[(size_t) blockIdx.y * gridDim.x * THREADS + k] = (float) (sum * a.scales);
}

static double
largest_element(const float *c, size_t n)
{
	double largest = 0;

	for (size_t i = 0; i < n; i++)
		largest = fabs((double) c[i]) > largest ? fabs((double) c[i]) : largest;
	return largest;
}

/* Does the device have the kernel that scores so, for rows this long (encode.cu)? */
static bool
wanted(const stk_device_codebook *d)
{
	int device, major = 0;

	return d->wide_dim > 4 * STK_CHUNK && cudaGetDevice(&device) == cudaSuccess &&
		   cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) ==
			   cudaSuccess &&
		   major == 9;
}

/* How many levels, from the first on: less than 2, none. */
static int
joint_levels(const stk_device_codebook *d, const stk_codebook *cb)
{
	size_t dim = (size_t) d->dim;
	double reach = LARGEST_ROUNDED / d->on_host[0].scale;
	size_t numbers = 0;
	int levels = 0;

	/* Rows have this level's centre off them, which is among its codewords. */
	reach += largest_element(cb->codewords[0], cb->sizes[0] * dim);
	for (; levels < d->levels && levels < STK_MOST_JOINT; levels++)
	{
		const stk_device_level *level = &d->on_host[levels];
		size_t padded = (size_t) level->panels * STK_PANEL;

		for (int t = 0; t < levels; t++)
			numbers += d->on_host[t].size * padded;
		reach += largest_element(cb->codewords[levels], level->size * dim);
		if (numbers > MOST_NUMBERS || !(reach < 0x1p127) ||
			level->scale > MOST_FINER * d->on_host[0].scale)
			break;
	}
	return levels;
}

/* Fill in what level l's scores take: offsets, and the margin. */
static void
set_joint(stk_device_joint *joint, const stk_device_codebook *d, const stk_codebook *cb,
		  const level_bound *bounds, const float *const (&centres)[2], int l, float *offsets)
{
	const stk_device_level *level = &d->on_host[l];
	size_t dim = (size_t) d->dim;
	double e = d->on_host[0].scale;
	double f = level->scale;
	double steps = (double) ((dim + 7) / 8);
	double reference = (steps + 5) * 0x1p-53;
	double centres_dot = stk_dot(centres[0], centres[1], dim);
	double taken = 0, middle = 0, offset = 0, longest, lost, gamma;
	level_bound b = bounds[l];
	stk_device_level sum = {};

	for (int t = 0; t < l; t++)
		taken += bounds[t].norm * (e / d->on_host[t].scale);
	for (uint32_t k = 0; k < level->size; k++)
	{
		const float *c = cb->codewords[l] + k * dim;
		double h = cb->metric == STK_IP ? 0 : 0.5 * stk_dot(c, c, dim);
		double o = (stk_dot(centres[0], c, dim) - centres_dot - h) * e * f;

		if (k == 0)
			middle = o;
		o -= middle;
		offsets[k] = (float) o;
		offset = fabs(o) > offset || isnan(o) ? fabs(o) : offset;
	}
	for (size_t k = level->size; k < (size_t) level->panels * STK_PANEL; k++)
		offsets[k] = -INFINITY;
	offset += fabs(middle) * 0x1p-28;
	/* Not b.radius, which may be of pairs: no codeword is longer than this. */
	longest = 1.001 * b.packed + (double) dim * 0x1p-25;
	/* What a residual has lost. */
	lost = l * 0x1p-24 * 1.001;
	gamma = (1.5 * (double) (dim + 15) + 4 + (l + 1)) * 0x1p-23;
	sum.by_norm = rounded_up(
		2 * FACTOR * (b.rounding + gamma * b.packed + lost * b.radius + reference * b.norm));
	sum.by_lost = rounded_up(2 * FACTOR * (b.radius * (1 + lost) + reference * b.norm));
	sum.fixed = rounded_up(2 * FACTOR *
						   (0x1p-23 * (l + 2) * (offset + taken * longest) + 0x1p-148 +
							(double) (dim + 2) * 0x1p-52 * taken * longest +
							(steps + 8) * 0x1p-53 * bounds[0].centre * (b.norm + b.centre) +
							lost * b.radius * (bounds[0].centre + taken) +
							reference * ((bounds[0].centre + taken) * b.norm + b.half * (e / f))));
	/* A NaN among them must not look like a small margin. */
	if (!isfinite(sum.by_norm) || !isfinite(sum.by_lost) || !isfinite(sum.fixed))
		sum.fixed = INFINITY;
	joint->by_norm = sum.by_norm;
	joint->by_lost = sum.by_lost;
	joint->fixed = sum.fixed;
}

stk_status
stk_joint_create(stk_device_codebook *d, const stk_codebook *cb, const level_bound *bounds,
				 cudaStream_t stream, stk_error *err)
{
	int levels = wanted(d) ? joint_levels(d, cb) : 0;
	size_t dim = (size_t) d->dim;
	size_t at = 0, widest = 0;
	float *host;
	stk_status status;

	if (levels < 2)
		return STK_OK;
	/* Where things will lie, then once more with the memory that they take. */
	for (int turn = 0; turn < 2; turn++)
	{
		at = 0;
		for (int l = 0; l < levels; l++)
		{
			size_t padded = (size_t) d->on_host[l].panels * STK_PANEL;

			widest = padded > widest ? padded : widest;
			d->joints[l].offsets =
				(const float *) stk_take(d->joint_memory, &at, padded * sizeof(float));
			for (int t = 0; t < l; t++)
				d->joints[l].taken[t] = (const float *) stk_take(
					d->joint_memory, &at, d->on_host[t].size * padded * sizeof(float));
		}
		if (turn == 0)
		{
			status =
				stk_cuda_status(cudaMalloc(&d->joint_memory, at), "make room for a codebook", err);
			if (status != STK_OK)
				return status;
		}
	}
	d->bytes += at;
	host = (float *) malloc((widest + 2 * dim) * sizeof(float));
	status = host ? STK_OK : STK_ENOMEM;
	for (int l = 0; l < levels && status == STK_OK; l++)
	{
		const stk_device_level *level = &d->on_host[l];
		stk_device_joint *joint = &d->joints[l];
		const float *centres[2] = {host + widest, host + widest + dim};
		cudaError_t code = cudaSuccess;

		for (int i = 0; i < 2 && code == cudaSuccess; i++)
			code = cudaMemcpyAsync(host + widest + i * dim, d->on_host[i * l].centre,
								   dim * sizeof(float), cudaMemcpyDeviceToHost, stream);
		if (code == cudaSuccess)
			code = cudaStreamSynchronize(stream);
		if (code == cudaSuccess)
		{
			set_joint(joint, d, cb, bounds, centres, l, host);
			code = cudaMemcpyAsync((void *) (uintptr_t) joint->offsets, host,
								   (size_t) level->panels * STK_PANEL * sizeof(float),
								   cudaMemcpyHostToDevice, stream);
		}
		for (int t = 0; t < l && code == cudaSuccess; t++)
		{
			joint_args a = {d->on_host[t].codewords,
							level->codewords,
							level->centre,
							level->size,
							d->dim,
							(double) d->on_host[0].scale * level->scale,
							(float *) (uintptr_t) joint->taken[t]};

			multiply_levels<<<dim3(level->panels, d->on_host[t].size), THREADS, 0, stream>>>(a);
			code = cudaGetLastError();
		}
		if (code == cudaSuccess)
			code = cudaStreamSynchronize(stream);
		status = stk_cuda_status(code, "pack a codebook", err);
	}
	free(host);
	if (status == STK_OK)
		d->njoints = levels;
	return status;
}
