/*
 * The launchers of kernels/, computed by core on the processor: what the engine asks a device for,
 * where there is none.
 */
#include <stdlib.h>
#include <string.h>

#include <math.h>

#include "core/member_sums.h"
#include "core/rq.h"
#include "fake.h"
#include "network.h"
#include "statistics.h"

/* What lies at the beginning of a codebook's memory on the device. */
typedef struct fake_codebook
{
	stk_codebook cb; /* its codewords lie behind */
} fake_codebook;

static stk_status
launch(const char *doing, stk_error *err)
{
	return stk_cuda_status(fake_cuda_pass("launch"), doing, err);
}

stk_status
stk_device_codebook_create(const stk_codebook *cb, bool lasting, cudaStream_t stream,
						   stk_device_codebook **out, stk_error *err)
{
	stk_device_codebook *d = calloc(1, sizeof(*d));
	size_t floats = 0;
	stk_status status = d ? STK_OK : STK_ENOMEM;

	(void) lasting;
	*out = NULL;
	for (int l = 0; l < cb->levels; l++)
		floats += (size_t) cb->sizes[l] * (size_t) cb->dim;
	if (status == STK_OK)
	{
		d->metric = cb->metric;
		d->levels = cb->levels;
		d->dim = cb->dim;
		d->network.inputs = cb->network.inputs;
		d->bytes = sizeof(fake_codebook) + floats * sizeof(float);
		status = stk_cuda_status(cudaMalloc(&d->memory, d->bytes), "make room for a codebook", err);
	}
	if (status == STK_OK)
	{
		fake_codebook *there = d->memory;
		float *at = (float *) (there + 1);

		there->cb = *cb;
		for (int l = 0; l < cb->levels && status == STK_OK; l++)
		{
			size_t n = (size_t) cb->sizes[l] * (size_t) cb->dim;

			status = stk_cuda_status(cudaMemcpyAsync(at, cb->codewords[l], n * sizeof(float),
													 cudaMemcpyHostToDevice, stream),
									 "copy a codebook to the device", err);
			there->cb.codewords[l] = at;
			at += n;
		}
	}
	if (status == STK_OK)
		status =
			stk_cuda_status(cudaStreamSynchronize(stream), "copy a codebook to the device", err);
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
	(void) cudaFree(cb->memory);
	free(cb);
}

/* What encodes takes embeddings. */
stk_status
stk_network_launch(const stk_device_network *net, float *x, float *scratch, size_t n,
				   unsigned long long *failure, cudaStream_t stream, stk_error *err)
{
	(void) net;
	(void) x;
	(void) scratch;
	(void) n;
	(void) failure;
	(void) stream;
	return launch("compute a network on the device", err);
}

stk_status
stk_encode_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	const fake_codebook *there = call->cb->memory;
	stk_cpu cpu;
	stk_exec exec = {.a = stk_malloc, .cpu = &cpu};
	stk_error why = {.level = -1};
	stk_rq *rq = NULL;
	stk_status status = launch("encode rows on the device", err);

	(void) stream;
	if (status != STK_OK)
		return status;
	if (stk_cpu_choose(STK_SIMD_AUTO, &cpu, &why) != STK_OK ||
		stk_rq_create(&there->cb, &exec, STK_FILTER_BEST, &rq, &why) != STK_OK)
		abort();
	status = stk_rq_encode(rq, &exec, call->x, call->n, call->beam > 1 ? call->beam : 1,
						   call->codes, NULL, &why);
	stk_rq_free(rq);
	if (status == STK_EINVAL || status == STK_ERANGE)
		*call->failure =
			stk_encode_failed(why.row, why.level,
							  status == STK_ERANGE                  ? STK_ENCODE_OUT_OF_RANGE
							  : strstr(why.message, "zero") != NULL ? STK_ENCODE_ZERO
																	: STK_ENCODE_NOT_FINITE);
	else if (status != STK_OK)
		abort();
	return STK_OK;
}

stk_status
stk_normalize_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	const fake_codebook *there = call->cb->memory;
	size_t dim = (size_t) call->cb->dim;
	stk_status status = launch("normalize rows on the device", err);

	(void) stream;
	for (size_t i = 0; i < call->n && status == STK_OK; i++)
	{
		if (stk_rq_prepare_row(&there->cb, call->x + i * dim, call->normalized + i * dim, NULL) !=
			STK_OK)
			*call->failure = stk_encode_failed(i, -1, STK_ENCODE_ZERO);
	}
	return status;
}

/* A row's squared norm, then its squared distances: columns [levels + 1], added to their lanes. */
static void
measure_row(const stk_evaluate_call *call, size_t row, double (*lanes)[STK_LANES])
{
	const fake_codebook *there = call->cb->memory;
	int levels = call->cb->levels;
	size_t dim = (size_t) call->cb->dim;
	const float *x = call->x + row * dim;
	float sum[STK_MAX_DIM];

	for (int l = -1; l < levels; l++)
	{
		const float *c =
			l < 0 ? NULL
				  : there->cb.codewords[l] + call->codes[row * (size_t) levels + (size_t) l] * dim;
		double lane[STK_LANES] = {0};
		double all;

		for (size_t i = 0; i < dim; i++)
		{
			double e;

			sum[i] = l < 0 ? -0.0f : sum[i] + c[i];
			e = (double) x[i] - sum[i];
			lane[i % STK_LANES] += e * e;
		}
		all = stk_add_lanes(lane);
		lanes[l + 1][row % STK_LANES] += all;
		if (!isfinite(all))
			*call->failure = stk_encode_failed(row, l, STK_ENCODE_OUT_OF_RANGE);
	}
}

stk_status
stk_evaluate_launch(const stk_evaluate_call *call, cudaStream_t stream, stk_error *err)
{
	stk_status status = launch("evaluate rows on the device", err);
	size_t columns = (size_t) call->cb->levels + 1;

	(void) stream;
	/* Where the encoding failed, codes are none. */
	for (size_t first = 0;
		 first < call->n && status == STK_OK && *call->failure == STK_ENCODE_NO_FAILURE;
		 first += STK_MEMBERS_CHUNK)
	{
		double lanes[STK_MAX_LEVELS + 1][STK_LANES] = {{0}};

		for (size_t i = first; i < first + STK_MEMBERS_CHUNK && i < call->n; i++)
			measure_row(call, i, lanes);
		for (size_t c = 0; c < columns; c++)
			call->sums[first / STK_MEMBERS_CHUNK * columns + c] = stk_add_lanes(lanes[c]);
	}
	return status;
}

stk_status
stk_device_members_create(size_t n, uint32_t size, size_t dim, cudaStream_t stream,
						  stk_device_members **out, stk_error *err)
{
	stk_device_members *m = calloc(1, sizeof(*m));
	stk_status status;

	(void) stream;
	if (!m)
		abort();
	m->view.size = size;
	m->most = n;
	m->dim = dim;
	m->bytes = n * sizeof(uint32_t);
	status = stk_cuda_status(cudaMalloc(&m->memory, m->bytes), "make room for members", err);
	if (status != STK_OK)
		free(m);
	*out = status == STK_OK ? m : NULL;
	return status;
}

void
stk_device_members_free(stk_device_members *m)
{
	if (!m)
		return;
	(void) cudaFree(m->memory);
	free(m);
}

stk_status
stk_normal_launch(const stk_normal_call *call, const stk_device_members *const *members,
				  cudaStream_t stream, stk_error *err)
{
	size_t total = call->first[call->levels], dim = call->dim;
	stk_status status = launch("set up normal equations on the device", err);

	(void) members;
	(void) stream;
	if (status != STK_OK)
		return status;
	memset(call->right, 0, total * dim * sizeof(double));
	memset(call->pairs, 0, total * total * sizeof(uint32_t));
	memset(call->squares, 0, dim * sizeof(double));
	memset(call->chunks, 0, dim * sizeof(double));
	for (size_t row = 0; row < call->n; row++)
	{
		const uint16_t *codes = call->codes + row * (size_t) call->levels;
		bool last = (row + 1) % STK_MEMBERS_CHUNK == 0 || row + 1 == call->n;

		for (size_t i = 0; i < dim; i++)
		{
			double e = call->x[row * dim + i];

			for (int l = 0; l < call->levels; l++)
				e -= (double) call->codewords[(call->first[l] + codes[l]) * dim + i];
			for (int l = 0; l < call->levels; l++)
				call->right[(call->first[l] + codes[l]) * dim + i] += e;
			call->chunks[i] += e * e;
			if (last)
			{
				call->squares[i] += call->chunks[i];
				call->chunks[i] = 0;
			}
		}
		for (int l = 0; l < call->levels; l++)
			for (int m = l; m < call->levels; m++)
				call->pairs[(call->first[l] + codes[l]) * total + call->first[m] + codes[m]]++;
	}
	return STK_OK;
}

stk_status
stk_probe_tensor(cudaStream_t stream, bool *holds, stk_error *err)
{
	(void) stream;
	*holds = fake_cuda_pass("probe") == cudaSuccess;
	return launch("probe the tensor unit", err);
}
