/*
 * What each level of greedy encoding did, by the reference alone.
 */
#include <math.h>

#include "dot.h"
#include "fpenv.h"
#include "rq_impl.h"

/* The two best of a level's scores: lowest first, the lowest code among equals. */
static void
best_two(const double *scores, uint32_t size, stk_rq_step *step)
{
	uint32_t best = 0;
	uint32_t second = 0;

	for (uint32_t k = 1; k < size; k++)
	{
		if (scores[k] < scores[best])
		{
			second = best;
			best = k;
		}
		else if (second == best || scores[k] < scores[second])
			second = k;
	}
	step->code = (uint16_t) best;
	step->second = (uint16_t) second;
	step->has_second = second != best;
}

static void
measure(const double *scores, double norm, bool inner_product, stk_rq_step *step)
{
	double scale = inner_product ? 1 : 2;
	double s = scores[step->code];

	/* A codeword that meets the residual may come out below 0 by rounding. */
	step->distance = inner_product ? s : fmax(norm + 2 * s, 0);
	step->margin = step->has_second ? scale * (scores[step->second] - s) : 0;
}

/* Room for one row. */
typedef struct trace_work
{
	float *residual; /* [dim] */
	double *scores;  /* [largest size] */
	double *wide;    /* [2][wide dim] */
} trace_work;

static stk_status
trace(const stk_rq *rq, const trace_work *w, const float *x, const stk_monitor *monitor,
	  stk_rq_step *steps, stk_error *err)
{
	const stk_reference *reference = rq->packs[0].cpu->reference;
	size_t dim = (size_t) rq->cb.dim;
	stk_status status = stk_rq_prepare(&rq->cb, reference, x, w->residual, 0, err);
	double norm = stk_dot(w->residual, w->residual, dim);

	for (int l = 0; l < rq->cb.levels && status == STK_OK; l++)
	{
		const stk_pack *p = &rq->packs[l];
		const float *codeword;

		status = stk_all_scores(p, w->wide, w->residual, 1, w->scores, monitor);
		if (status != STK_OK)
			break;
		best_two(w->scores, p->size, &steps[l]);
		measure(w->scores, norm, p->inner_product, &steps[l]);
		codeword = p->codewords + steps[l].code * dim;
		/* Nobody needs what the last level leaves. */
		if (reference->subtract(w->residual, codeword, dim, w->residual))
			norm = stk_dot(w->residual, w->residual, dim);
		else if (l + 1 < rq->cb.levels)
			status = stk_rq_out_of_range(err, 0, l + 1);
		else
			norm = INFINITY;
		steps[l].residual_norm = sqrt(norm);
	}
	return status;
}

stk_status
stk_rq_trace(const stk_rq *rq, const stk_exec *exec, const float *x, stk_rq_step *steps,
			 stk_error *err)
{
	size_t dim = (size_t) rq->cb.dim;
	trace_work w = {.residual = stk_alloc_array(&exec->a, dim, sizeof(float)),
					.scores = stk_alloc_array(&exec->a, rq->largest, sizeof(double)),
					.wide = stk_alloc_array(&exec->a, 2 * stk_wide_dim(dim), sizeof(double))};
	float *latent;
	stk_status status = stk_rq_latent(&rq->cb, exec, &x, &latent, err);

	if (status == STK_OK && !(w.residual && w.scores && w.wide))
		status = STK_ENOMEM;
	if (status == STK_OK)
	{
		stk_fpenv env = stk_fpenv_enter();

		status = trace(rq, &w, x, exec->monitor, steps, err);
		stk_fpenv_leave(env);
	}
	stk_free(&exec->a, latent);
	stk_free(&exec->a, w.residual);
	stk_free(&exec->a, w.scores);
	stk_free(&exec->a, w.wide);
	return status;
}
