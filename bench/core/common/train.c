#include "train.h"

#include <stdlib.h>

#include "core/evaluate.h"
#include "core/rq.h"

bench_codebook
bench_codebook_new(int levels, uint32_t size, size_t dim)
{
	bench_codebook cb = {levels, size, dim, NULL};

	cb.codewords = bench_alloc(bench_codebook_floats(&cb), sizeof(float));
	return cb;
}

void
bench_codebook_free(bench_codebook *cb)
{
	free(cb->codewords);
}

size_t
bench_codebook_floats(const bench_codebook *cb)
{
	return (size_t) cb->levels * cb->size * cb->dim;
}

stk_codebook
bench_codebook_view(const bench_codebook *cb)
{
	stk_codebook view = {.metric = STK_L2, .levels = cb->levels, .dim = (int) cb->dim};

	for (int l = 0; l < cb->levels; l++)
	{
		view.sizes[l] = cb->size;
		view.codewords[l] = cb->codewords + (size_t) l * cb->size * cb->dim;
	}
	return view;
}

stk_rqkmeans_options
bench_options(const bench_codebook *cb, int epochs, stk_init init, uint64_t seed)
{
	stk_rqkmeans_options opt = {.metric = STK_L2,
								.levels = cb->levels,
								.dim = (int) cb->dim,
								.epochs = epochs,
								.init = init,
								.seed = seed};

	for (int l = 0; l < cb->levels; l++)
		opt.sizes[l] = cb->size;
	return opt;
}

void
bench_train(const stk_exec *exec, const stk_rqkmeans_options *opt, float *x, size_t n,
			bench_codebook *cb)
{
	stk_error err = {0};

	bench_check("training", stk_rqkmeans_train(opt, exec, x, n, cb->codewords, NULL, &err), &err);
}

bench_quality
bench_judge(const stk_exec *exec, const bench_codebook *cb, const float *x, size_t n,
			const uint16_t *codes)
{
	stk_codebook view = bench_codebook_view(cb);
	uint16_t *greedy = bench_alloc(n * (size_t) cb->levels, sizeof(uint16_t));
	stk_error err = {0};
	stk_evaluation result;
	stk_evaluator *ev;
	stk_rq *rq;

	if (!codes)
	{
		bench_check("codebook", stk_rq_create(&view, exec, STK_FILTER_BEST, &rq, &err), &err);
		bench_check("encoding", stk_rq_encode(rq, exec, x, n, 1, greedy, NULL, &err), &err);
		stk_rq_free(rq);
		codes = greedy;
	}
	bench_check("evaluation", stk_evaluator_create(&view, &stk_malloc, &ev), NULL);
	bench_check("evaluation", stk_evaluator_add(ev, x, codes, n, &err), &err);
	bench_check("evaluation", stk_evaluator_finish(ev, NULL, &result), NULL);
	stk_evaluator_free(ev);
	free(greedy);
	return (bench_quality){result.mse, result.ids};
}
