/*
 * How an RQ-VAE does on rows that it does not learn from: a look forward, by the products that
 * train it. What its tokenizer will say of them is a matter of network.h and rq.h.
 */
#include <math.h>
#include <string.h>

#include "evaluate.h"
#include "rqvae_impl.h"

typedef struct error_job
{
	const stk_rqvae_net *net;
	const stk_rqvae_state *state;
	const float *x; /* [n][inputs] as they came */
	size_t n;
	double *sums; /* [chunks][3] squared errors of standardised rows, of rows; rows' squares */
} error_job;

static void
error_task(void *arg, size_t index, int thread)
{
	const error_job *j = arg;
	const stk_rqvae_shape *shape = j->net->shape;
	const float *after = j->net->after[shape->n_encoder + shape->n_decoder - 1];
	size_t first = index * STK_RQVAE_CHUNK;
	size_t end = j->n - first < STK_RQVAE_CHUNK ? j->n : first + STK_RQVAE_CHUNK;
	double *sums = j->sums + 3 * index;

	(void) thread;
	memset(sums, 0, 3 * sizeof(double));
	for (size_t i = first; i < end; i++)
	{
		const float *y = after + i * shape->inputs;
		const float *x = j->net->x + i * shape->inputs;
		const float *came = j->x + i * shape->inputs;

		for (size_t k = 0; k < shape->inputs; k++)
		{
			double d = (double) y[k] - x[k];
			double back = (double) y[k] / j->state->scale[k] + j->state->mean[k] - came[k];

			sums[0] += d * d;
			sums[1] += back * back;
			sums[2] += (double) came[k] * came[k];
		}
	}
}

/* A measuring under way. */
typedef struct measuring
{
	stk_rqvae_net net;
	stk_evaluator *codes;
	uint16_t *ids; /* [rows][levels] */
	double *sums;  /* [chunks][3] */
	double totals[3];
	double commits;
} measuring;

static stk_status
measure_piece(measuring *m, const stk_rqvae_state *state, const float *x, size_t n, bool *finite)
{
	const stk_exec *exec = m->net.exec;
	int levels = m->net.shape->levels;
	error_job job = {.net = &m->net, .state = state, .x = x, .n = n, .sums = m->sums};
	double commits[STK_MAX_LEVELS] = {0};
	stk_status status;

	stk_rqvae_standardize_rows(state, exec, x, n, m->net.x);
	*finite = stk_rqvae_encode(&m->net, n);
	if (!*finite)
		return STK_OK;
	status = stk_rqvae_quantize(&m->net, n, commits, finite);
	if (status != STK_OK || !*finite)
		return status;
	stk_rqvae_decode(&m->net, n);
	stk_run(exec->pool, error_task, &job, stk_rqvae_chunks(n, STK_RQVAE_CHUNK));
	for (size_t i = 0; i < 3 * stk_rqvae_chunks(n, STK_RQVAE_CHUNK); i++)
		m->totals[i % 3] += m->sums[i];
	for (int l = 0; l < levels; l++)
	{
		m->commits += commits[l];
		for (size_t i = 0; i < n; i++)
			m->ids[i * (size_t) levels + (size_t) l] = m->net.codes[l][i];
	}
	return stk_evaluator_add(m->codes, exec, m->net.residuals[0], m->ids, n, NULL);
}

static stk_status
measure_pieces(measuring *m, const stk_exec *exec, const stk_rqvae_state *state, const float *x,
			   size_t n, stk_rqvae_measure *result, bool *finite)
{
	size_t inputs = state->shape.inputs;
	stk_evaluation *codes = stk_alloc_array(&exec->a, 1, sizeof(stk_evaluation));
	stk_status status = codes ? STK_OK : STK_ENOMEM;

	for (size_t first = 0; first < n && status == STK_OK && *finite; first += m->net.rows)
	{
		size_t some = n - first < m->net.rows ? n - first : m->net.rows;

		status = measure_piece(m, state, x + first * inputs, some, finite);
		if (stk_should_stop(exec->monitor))
			status = STK_ECANCELED;
	}
	*finite = *finite && isfinite(m->totals[0] + m->commits);
	if (status == STK_OK && *finite)
		status = stk_evaluator_finish(m->codes, exec->monitor, codes);
	if (status == STK_OK && *finite)
	{
		*result = (stk_rqvae_measure){.rows = n, .levels = codes->levels};
		result->reconstruction = m->totals[0] / ((double) n * (double) inputs);
		result->commitment = stk_rqvae_commitment_scale(&m->net, n) * m->commits;
		result->loss = result->reconstruction + result->commitment;
		result->mse = m->totals[1] / (double) n;
		result->relative_error = m->totals[2] > 0 ? m->totals[1] / m->totals[2] : 0;
		result->ids = codes->ids;
		result->p_unique = codes->unique_fraction;
		for (int l = 0; l < codes->levels; l++)
		{
			result->used[l] = codes->level[l].used;
			result->entropy[l] = codes->level[l].entropy;
		}
	}
	stk_free(&exec->a, codes);
	return status;
}

stk_status
stk_rqvae_measure_rows(const stk_train_plan *plan, const stk_exec *exec,
					   const stk_rqvae_state *state, const float *parameters, const float *x,
					   size_t n, stk_rqvae_measure *result, bool *finite)
{
	const stk_rqvae_shape *shape = &state->shape;
	stk_codebook cb = {.metric = STK_L2, .levels = shape->levels, .dim = (int) shape->latent};
	measuring m = {.codes = NULL};
	stk_status status = stk_rqvae_net_init(&m.net, exec, plan, shape,
										   n < STK_RQVAE_PIECE ? n : STK_RQVAE_PIECE, false);

	*finite = true;
	m.net.parameters = parameters;
	for (int l = 0; l < shape->levels; l++)
	{
		cb.sizes[l] = shape->sizes[l];
		cb.codewords[l] = stk_rqvae_codewords(shape, parameters, l);
	}
	m.ids = stk_alloc_array(&exec->a, m.net.rows, (size_t) shape->levels * sizeof(uint16_t));
	m.sums = stk_alloc_array(&exec->a, stk_rqvae_chunks(m.net.rows, STK_RQVAE_CHUNK),
							 3 * sizeof(double));
	if (!m.ids || !m.sums)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = stk_evaluator_create(&cb, &exec->a, &m.codes);
	if (status == STK_OK)
		status = measure_pieces(&m, exec, state, x, n, result, finite);
	stk_evaluator_free(m.codes);
	stk_free(&exec->a, m.sums);
	stk_free(&exec->a, m.ids);
	stk_rqvae_net_free(&m.net);
	return status;
}
