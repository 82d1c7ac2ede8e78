/*
 * Between the halves of an RQ-VAE: codes, residuals, and the entropy of the codes.
 */
#include <math.h>
#include <string.h>

#include "explog.h"
#include "nearest.h"
#include "rqvae_impl.h"

/* Codes of a task of sums over rows. */
#define STRIP 16

typedef struct level_job
{
	const stk_rqvae_net *net;
	size_t n;
	int level;
	const float *codewords;

	/* Diversity only: */
	double temperature; /* t */
	float *gradient;    /* [n][latent] */
} level_job;

static size_t
chunk_rows(size_t n, size_t index, size_t *first)
{
	*first = index * STK_RQVAE_CHUNK;
	return n - *first < STK_RQVAE_CHUNK ? n - *first : STK_RQVAE_CHUNK;
}

/* What codewords leave of rows, and what they come to; sums: |r|^2, NaN with one not finite. */
static void
residual_task(void *arg, size_t index, int thread)
{
	const level_job *j = arg;
	const stk_rqvae_net *net = j->net;
	const stk_reference *reference = net->exec->cpu->reference;
	size_t width = net->shape->latent;
	bool finite = true;
	double sum = 0;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);

	(void) thread;
	for (size_t i = first; i < first + n; i++)
	{
		const float *e = j->codewords + net->codes[j->level][i] * width;
		float *r = net->residuals[j->level + 1] + i * width;
		const float *left = r;
		float *q = net->quantized + i * width;
		double square;

		finite &= reference->subtract(net->residuals[j->level] + i * width, e, width, r);
		reference->dots(r, &left, 1, width, &square);
		sum += square;
		if (j->level == 0)
			memcpy(q, e, width * sizeof(float));
		else
			for (size_t k = 0; k < width; k++)
				q[k] += e[k];
	}
	net->sums[index] = finite ? sum : NAN;
}

stk_status
stk_rqvae_quantize(stk_rqvae_net *net, size_t n, double *commits, bool *finite)
{
	const stk_rqvae_shape *shape = net->shape;

	*finite = true;
	for (int l = 0; l < shape->levels && *finite; l++)
	{
		level_job job = {.net = net, .n = n, .level = l};
		stk_status status;

		job.codewords = stk_rqvae_codewords(shape, net->parameters, l);
		*finite = net->exec->cpu->reference->finite(job.codewords,
													shape->sizes[l] * (size_t) shape->latent);
		if (!*finite)
			break;
		status = stk_pack_fill(&net->packs[l], job.codewords, net->exec->monitor);
		if (status == STK_OK)
			status = stk_nearest_rows(net->exec, &net->packs[l], net->residuals[l], n,
									  net->codes[l], NULL, NULL);
		if (status != STK_OK)
			return status;
		stk_run(net->exec->pool, residual_task, &job, stk_rqvae_chunks(n, STK_RQVAE_CHUNK));
		commits[l] = 0;
		for (size_t i = 0; i < stk_rqvae_chunks(n, STK_RQVAE_CHUNK); i++)
			commits[l] += net->sums[i];
		*finite = isfinite(commits[l]);
	}
	return STK_OK;
}

/* Shares of rows: scores hold r.c on the way in, p on the way out. */
static void
share_task(void *arg, size_t index, int thread)
{
	const level_job *j = arg;
	const stk_rqvae_net *net = j->net;
	uint32_t size = net->shape->sizes[j->level];
	const double *half = net->packs[j->level].half;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);

	(void) thread;
	if (stk_should_stop(net->exec->monitor))
		return;
	for (size_t i = first; i < first + n; i++)
	{
		float *p = net->scores + i * size;
		double best = INFINITY;
		double sum = 0;

		/* |r|^2 is the same for all codes of a row. */
		for (uint32_t k = 0; k < size; k++)
		{
			p[k] = (float) (2 * (half[k] - p[k]) / j->temperature);
			best = p[k] < best ? p[k] : best;
		}
		for (uint32_t k = 0; k < size; k++)
		{
			double e = stk_exp(best - p[k]);

			p[k] = (float) e;
			sum += e;
		}
		for (uint32_t k = 0; k < size; k++)
			p[k] = (float) (p[k] / sum);
	}
}

/* A code's share of all rows. */
static void
mass_task(void *arg, size_t index, int thread)
{
	const level_job *j = arg;
	uint32_t size = j->net->shape->sizes[j->level];
	size_t first = index * STRIP;
	size_t n = size - first < STRIP ? size - first : STRIP;
	double sums[STRIP] = {0};

	(void) thread;
	for (size_t i = 0; i < j->n; i++)
		for (size_t k = 0; k < n; k++)
			sums[k] += j->net->scores[i * size + first + k];
	for (size_t k = 0; k < n; k++)
		j->net->masses[first + k] = sums[k] / (double) j->n;
}

/* From p to what it weighs the codewords by: 2 / t times the gradient of the softmax's input. */
static void
weigh_task(void *arg, size_t index, int thread)
{
	const level_job *j = arg;
	uint32_t size = j->net->shape->sizes[j->level];
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);

	(void) thread;
	for (size_t i = first; i < first + n; i++)
	{
		float *p = j->net->scores + i * size;
		double mean = 0;

		for (uint32_t k = 0; k < size; k++)
			mean += p[k] * j->net->masses[k];
		for (uint32_t k = 0; k < size; k++)
			p[k] = (float) (2 / j->temperature * p[k] * (j->net->masses[k] - mean));
	}
}

static void
pull_task(void *arg, size_t index, int thread)
{
	const level_job *j = arg;
	size_t width = j->net->shape->latent;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);

	(void) thread;
	for (size_t k = first * width; k < (first + n) * width; k++)
		j->gradient[k] += j->net->pull[k];
}

/* Mean |r - e|^2 of the level's rows, which sets how far apart codes are; above 0. */
static double
temperature_of(const stk_rqvae_net *net, size_t n, int level)
{
	size_t width = net->shape->latent;
	double sum = 0;

	for (size_t i = 0; i < n; i++)
	{
		const float *r = net->residuals[level + 1] + i * width;
		double square;

		net->exec->cpu->reference->dots(r, &r, 1, width, &square);
		sum += square;
	}
	return sum / (double) n + 1e-12;
}

double
stk_rqvae_diversity(stk_rqvae_net *net, size_t n, int level, float *gradient)
{
	uint32_t size = net->shape->sizes[level];
	size_t width = net->shape->latent;
	size_t chunks = stk_rqvae_chunks(n, STK_RQVAE_CHUNK);
	const float *codewords = stk_rqvae_codewords(net->shape, net->parameters, level);
	level_job job = {.net = net, .n = n, .level = level, .gradient = gradient};
	double factor;
	double entropy = 0;

	if (size == 1)
		return 0;
	factor = 1 / stk_log(size);
	job.temperature = temperature_of(net, n, level);
	stk_gemm(net->exec, net->products, stk_matrix_rows(net->residuals[level], width),
			 stk_matrix_transposed(codewords, width), net->scores, n, size, width);
	stk_run(net->exec->pool, share_task, &job, chunks);
	stk_run(net->exec->pool, mass_task, &job, stk_rqvae_chunks(size, STRIP));
	for (uint32_t k = 0; k < size; k++)
	{
		double p = net->masses[k];
		double log = p > 0 ? stk_log(p) : 0;

		entropy -= p * log;
		net->masses[k] = net->plan->rqvae.diversity * factor * (log + 1) / (double) n;
	}
	if (gradient)
	{
		stk_run(net->exec->pool, weigh_task, &job, chunks);
		stk_gemm(net->exec, net->products, stk_matrix_rows(net->scores, size),
				 stk_matrix_rows(codewords, width), net->pull, n, width, size);
		stk_run(net->exec->pool, pull_task, &job, chunks);
	}
	return 1 - entropy * factor;
}
