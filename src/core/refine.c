#include "refine.h"

#include <math.h>
#include <string.h>

#include "attached.h"
#include "dot.h"
#include "fpenv.h"
#include "least_squares.h"
#include "philox.h"
#include "rq.h"

/*
 * Turns of encoding and refitting end at the first codebook that neither step can improve, most
 * often a poor one. So rows are encoded with noise added to the codewords, less from round to
 * round: early rounds move between such codebooks, late ones settle in one. Only codes come of a
 * noisy codebook; the refit then starts from the codewords without noise. After Martinez et al.
 * 2018, "LSQ++: lower running time and higher recall in multi-codebook quantization".
 *
 * The first round's noise, as a share of the spread of a level's codewords in each dimension.
 */
#define NOISE 0.85
/* The ridge of the refit, for each row. */
#define RIDGE 0x1p-20

/* A run. */
typedef struct refinement
{
	const stk_refine_options *opt;
	const stk_exec *exec;
	stk_codebook cb; /* of metric l2; codewords: noisy, or as they are */
	bool unit;       /* the first level's codewords are kept at norm 1 */
	const float *x;  /* [n][dim] */
	size_t n;
	size_t *from;     /* [n] where each row was before they were sorted */
	uint16_t *codes;  /* [n][levels] */
	float *codewords; /* [ΣK][dim] being refitted */
	float *noisy;     /* [ΣK][dim] */
	double *spread;   /* [2][dim] */
	double *counts;   /* [ΣK] of the codes */
	stk_attached there;
	stk_least_squares ls;
} refinement;

/* Encode all rows with f->cb, by the processor. */
static stk_status
encode_here(refinement *f, stk_error *err)
{
	stk_rq *rq = NULL;
	stk_status status = stk_rq_create(&f->cb, f->exec, STK_FILTER_BEST, &rq, err);
	if (status == STK_OK && f->opt->beam > 1)
		status = stk_rq_prepare_beam(rq, f->exec);
	if (status == STK_OK)
		status = stk_rq_encode(rq, f->exec, f->x, f->n, f->opt->beam, f->codes, NULL, err);
	if (status == STK_ERANGE && err)
		err->row = f->from[err->row];
	stk_rq_free(rq);
	return status;
}

/* Encode all rows with these codewords [ΣK][dim]. */
static stk_status
encode(refinement *f, const float *codewords, stk_error *err)
{
	stk_status status;

	for (int l = 0; l < f->cb.levels; l++)
		f->cb.codewords[l] = codewords + f->ls.first[l] * f->ls.dim;
	stk_attach_codebook(&f->there, &f->cb, f->opt->beam);
	return stk_attached_encode(&f->there, f->codes, &status) ? status : encode_here(f, err);
}

static stk_status
out_of_range(stk_error *err)
{
	return stk_fail(err, STK_ERANGE, "refined codewords are out of range for type real");
}

/* Uniform, of mean 0 and variance 1. */
static double
noise_from(uint32_t word)
{
	return 3.4641016151377544 * (((double) word + 0.5) * 0x1p-32 - 0.5);
}

/*
 * How far rows' codewords spread in each dimension: root mean square from their mean.
 *
 *   codewords  [size][dim]
 *   counts     [size]  rows that have them, n in all
 *   mean       [dim]   out
 *   spread     [dim]   out
 */
static void
measure_spread(const float *codewords, const double *counts, size_t size, size_t dim, double n,
			   double *mean, double *spread)
{
	for (size_t i = 0; i < dim; i++)
		mean[i] = spread[i] = 0;
	for (size_t k = 0; k < size; k++)
	{
		for (size_t i = 0; i < dim; i++)
			mean[i] += counts[k] * codewords[k * dim + i];
	}
	for (size_t i = 0; i < dim; i++)
		mean[i] /= n;
	for (size_t k = 0; k < size; k++)
	{
		for (size_t i = 0; i < dim; i++)
		{
			double d = codewords[k * dim + i] - mean[i];

			spread[i] += counts[k] * (d * d);
		}
	}
	for (size_t i = 0; i < dim; i++)
		spread[i] = sqrt(spread[i] / n);
}

/*
 * Fill f->noisy: each number of f->codewords moved by `share` of its level's spread in its
 * dimension, by the latest counts. STK_ERANGE when one leaves binary32's range.
 */
static stk_status
add_noise(refinement *f, double share, int round, stk_error *err)
{
	size_t dim = f->ls.dim;
	bool finite = true;

	for (int l = 0; l < f->cb.levels; l++)
	{
		const float *from = f->codewords + f->ls.first[l] * dim;
		float *to = f->noisy + f->ls.first[l] * dim;
		size_t n = f->cb.sizes[l] * dim;
		uint64_t bits = 0;

		measure_spread(from, f->counts + f->ls.first[l], f->cb.sizes[l], dim, (double) f->n,
					   f->spread + dim, f->spread);
		for (size_t i = 0; i < n; i++)
		{
			bits = i % 2 ? bits >> 32
						 : stk_random(f->opt->seed, STK_RANDOM_NOISE, l, (uint32_t) round, i / 2);
			to[i] = (float) (from[i] + share * f->spread[i % dim] * noise_from((uint32_t) bits));
			finite &= isfinite(to[i]) != 0;
		}
	}
	return finite ? STK_OK : out_of_range(err);
}

/* Give a codeword norm 1; one that has no direction becomes what it was, old. */
static void
normalise(float *codeword, const float *old, size_t dim)
{
	double norm = sqrt(stk_dot(codeword, codeword, dim));

	for (size_t i = 0; i < dim; i++)
		codeword[i] = norm > 0 ? (float) ((double) codeword[i] / norm) : old[i];
}

/* Refit f->codewords to the codes, in the form the metric wants; f->noisy is used up. */
static stk_status
refit(refinement *f, stk_error *err)
{
	size_t dim = f->ls.dim;
	stk_status status;

	memcpy(f->noisy, f->codewords, f->cb.sizes[0] * dim * sizeof(float));
	status = stk_least_squares_solve(&f->ls, f->n, f->codes, RIDGE * (double) f->n, f->codewords);
	for (size_t k = 0; k < f->cb.sizes[0] && f->unit && status == STK_OK; k++)
	{
		/* A codeword without rows stays as it is, to the bit. */
		if (f->counts[k] > 0)
			normalise(f->codewords + k * dim, f->noisy + k * dim, dim);
	}
	return status == STK_ERANGE ? out_of_range(err) : status;
}

/* Count f->codes; returns how many codewords no row has. */
static uint32_t
count_codes(refinement *f)
{
	uint32_t empty = 0;

	memset(f->counts, 0, f->ls.total * sizeof(double));
	for (size_t i = 0; i < f->n; i++)
	{
		for (int l = 0; l < f->cb.levels; l++)
			f->counts[f->ls.first[l] + f->codes[i * (size_t) f->cb.levels + (size_t) l]]++;
	}
	for (size_t k = 0; k < f->ls.total; k++)
		empty += f->counts[k] == 0;
	return empty;
}

/*
 * Encode with these codewords, and measure what f->codewords make of the codes: *error, the sum of
 * squared distances.
 */
static stk_status
encode_and_measure(refinement *f, const float *codewords, int round, double *error, stk_error *err)
{
	stk_status status = encode(f, codewords, err);
	stk_train_progress p = {
		.level = -1, .epoch = round, .codewords = f->codewords, .trained = f->cb.levels};

	if (status == STK_OK)
		status = stk_least_squares_residuals(&f->ls, f->x, f->n, f->codes, f->codewords, error);
	if (status != STK_OK)
		return status;
	p.objective = *error / (double) f->n;
	p.empty = count_codes(f);
	if (f->opt->progress)
		f->opt->progress(f->opt->progress_ctx, &p);
	return STK_OK;
}

/* All rounds; codewords become the last codebook's if that is better, counts those of either. */
static stk_status
run(refinement *f, float *codewords, double *counts, stk_error *err)
{
	int rounds = f->opt->rounds;
	double before, during, after;
	stk_status status = encode_and_measure(f, f->codewords, 0, &before, err);

	if (status == STK_OK && counts)
		memcpy(counts, f->counts, f->ls.total * sizeof(double));
	/* No rounds could end with less. */
	if (status == STK_OK && before == 0)
		return STK_OK;
	for (int round = 1; round <= rounds && status == STK_OK; round++)
	{
		status = add_noise(f, NOISE * (rounds - round) / rounds, round, err);
		if (status == STK_OK)
			status = encode_and_measure(f, f->noisy, round, &during, err);
		if (status == STK_OK)
			status = refit(f, err);
	}
	if (status == STK_OK)
		status = encode_and_measure(f, f->codewords, rounds + 1, &after, err);
	if (status != STK_OK || !(after < before))
		return status;
	memcpy(codewords, f->codewords, f->ls.total * f->ls.dim * sizeof(float));
	if (counts)
		memcpy(counts, f->counts, f->ls.total * sizeof(double));
	return STK_OK;
}

/* Copy rows [n][dim]. STK_ECANCELED. */
static stk_status
copy_rows(const stk_exec *exec, float *to, const float *from, size_t n, size_t dim)
{
	size_t look = stk_rows_a_look(dim);

	for (size_t first = 0; first < n; first += look)
	{
		size_t rows = n - first < look ? n - first : look;

		if (stk_should_stop(exec->monitor))
			return STK_ECANCELED;
		memcpy(to + first * dim, from + first * dim, rows * dim * sizeof(float));
	}
	return STK_OK;
}

/* Copy the rows and put them in order, then run. */
static stk_status
prepare_and_run(refinement *f, stk_metric metric, const float *x, float *codewords, double *counts,
				stk_error *err)
{
	const stk_allocator *a = &f->exec->a;
	size_t dim = f->ls.dim;
	size_t bytes = f->ls.total * dim * sizeof(float);
	float *rows = stk_alloc_array(a, f->n, dim * sizeof(float));
	stk_status status = STK_ENOMEM;

	f->x = rows;
	f->from = stk_alloc_array(a, f->n, sizeof(size_t));
	f->codes = stk_alloc_array(a, f->n, (size_t) f->cb.levels * sizeof(uint16_t));
	f->codewords = stk_alloc_array(a, bytes, 1);
	f->noisy = stk_alloc_array(a, bytes, 1);
	f->spread = stk_alloc_array(a, 2 * dim, sizeof(double));
	f->counts = stk_alloc_array(a, f->ls.total, sizeof(double));
	if (rows && f->from && f->codes && f->codewords && f->noisy && f->spread && f->counts)
	{
		memcpy(f->codewords, codewords, bytes);
		status = copy_rows(f->exec, rows, x, f->n, dim);
		if (status == STK_OK)
			status = stk_train_rows_prepare(f->exec, metric, rows, f->n, dim, err);
		if (status == STK_OK)
			status = stk_train_rows_sort(f->exec, rows, f->n, dim, f->from);
		if (status == STK_OK)
		{
			stk_attach_rows(&f->there, rows, f->n, dim);
			status = run(f, codewords, counts, err);
			stk_detach(&f->there);
		}
	}
	stk_free(a, rows);
	stk_free(a, f->from);
	stk_free(a, f->codes);
	stk_free(a, f->codewords);
	stk_free(a, f->noisy);
	stk_free(a, f->spread);
	stk_free(a, f->counts);
	return status;
}

stk_status
stk_refine(const stk_refine_options *opt, const stk_exec *exec, const stk_codebook *cb,
		   const float *x, size_t n, float *codewords, double *counts, stk_error *err)
{
	refinement f = {.opt = opt, .exec = exec, .cb = *cb, .n = n};
	stk_status status;
	stk_fpenv env;

	if (stk_codebook_bytes(cb->levels, cb->sizes, cb->dim) == 0)
		return stk_fail(err, STK_EINVAL, "shape of the codebook is beyond the limits");
	if (cb->metric == STK_IP)
		return stk_fail(err, STK_EINVAL, "cannot refine a codebook of the inner product");
	if (opt->beam < 1)
		return stk_fail(err, STK_EINVAL, "beam width must be at least 1");
	if (opt->rounds < 1)
		return stk_fail(err, STK_EINVAL, "expected at least 1 round");
	if (n == 0)
		return stk_fail(err, STK_EINVAL, "no rows to train on");

	/* Rows are normalised here, once; distances are then ordinary ones. */
	f.cb.metric = STK_L2;
	f.unit = cb->metric == STK_COSINE;
	env = stk_fpenv_enter();
	stk_attached_init(&f.there, exec);
	status = stk_least_squares_init(&f.ls, exec, cb);
	if (status == STK_OK)
	{
		f.ls.there = &f.there;
		status = prepare_and_run(&f, cb->metric, x, codewords, counts, err);
		stk_least_squares_free(&f.ls);
	}
	stk_fpenv_leave(env);
	return status;
}
