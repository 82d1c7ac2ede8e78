#include "train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/evaluate.h"
#include "core/fpenv.h"
#include "core/rq.h"
#include "rival.h"

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

void
bench_start(const stk_exec *exec, const stk_rqkmeans_options *opt, const float *sorted, size_t n,
			float *start)
{
	size_t dim = (size_t) opt->dim;
	double *counts = bench_alloc(opt->sizes[0], sizeof(double));
	stk_kmeans km = {.dim = dim, .size = opt->sizes[0], .centroids = start, .counts = counts};
	stk_kmeans_work work;
	stk_fpenv env = stk_fpenv_enter();

	bench_check("start", stk_kmeans_work_init(&work, n, dim, km.size, exec), NULL);
	bench_check("start", stk_kmeans_start(&km, &work, sorted, n, opt->init, opt->seed, 0), NULL);
	stk_kmeans_work_free(&work);
	stk_fpenv_leave(env);
	free(counts);
}

/* Rows and start as files; returns the start's name, or nothing. */
static const char *
write_problem(const bench_rows *rows, const bench_codebook *cb, const float *start)
{
	bench_write(bench_file("rows"), rows->x, rows->n * rows->dim, sizeof(float));
	if (!start)
		return "";
	bench_write(bench_file("start"), start, cb->size * cb->dim, sizeof(float));
	return bench_file("start");
}

static void
read_trained(const bench_answer *answer, bench_codebook *cb, bench_trained *out)
{
	bench_read(bench_file("codewords"), cb->codewords, bench_codebook_floats(cb), sizeof(float));
	out->time.shortest = bench_value(answer, "shortest");
	out->time.median = bench_value(answer, "median");
	out->memory = bench_value(answer, "memory");
}

bool
bench_train_faiss(const bench_rows *rows, int epochs, bool plus, const float *start, int times,
				  bench_codebook *cb, bench_trained *out)
{
	bench_answer answer;

	if (!bench_rivals())
		return false;
	bench_rival(&answer, "faiss_kmeans.py",
				"start=%s rows=%s codewords=%s dim=%zu size=%u levels=%d epochs=%d threads=%d "
				"times=%d plus=%d",
				write_problem(rows, cb, start), bench_file("rows"), bench_file("codewords"),
				cb->dim, cb->size, cb->levels, epochs, BENCH_THREADS, times, plus);
	read_trained(&answer, cb, out);
	return true;
}

bool
bench_train_sklearn(const bench_rows *rows, int epochs, const float *start, int times,
					bench_codebook *cb, bench_trained *out)
{
	bench_answer answer;

	if (!bench_rivals())
		return false;
	bench_rival(&answer, "sklearn_kmeans.py",
				"start=%s rows=%s codewords=%s dim=%zu size=%u epochs=%d threads=%d times=%d "
				"seed=1",
				write_problem(rows, cb, start), bench_file("rows"), bench_file("codewords"),
				cb->dim, cb->size, epochs, BENCH_THREADS, times);
	read_trained(&answer, cb, out);
	return true;
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
	bench_check("evaluation", stk_evaluator_add(ev, exec, x, codes, n, &err), &err);
	bench_check("evaluation", stk_evaluator_finish(ev, NULL, &result), NULL);
	stk_evaluator_free(ev);
	free(greedy);
	return (bench_quality){result.mse, result.ids};
}

void
bench_goal_objective(const char *what, double ours, double theirs)
{
	char goal[160];

	snprintf(goal, sizeof(goal), "%s, to 0.01 %%", what);
	if (isnan(theirs))
		bench_goal_open(goal, "the rival is not installed");
	else
		bench_goal(ours <= theirs * 1.0001, goal, "%.8g and %.8g (%+.4f %%)", ours, theirs,
				   100 * (ours / theirs - 1));
}
