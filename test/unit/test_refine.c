/* The joint least-squares refit and the refinement of codebooks around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/least_squares.h"
#include "core/refine.h"
#include "core/rq.h"
#include "core/rqkmeans.h"
#include "engine/crew.h"
#include "rows.h"

#define MAX_LEVELS 4

static stk_crew *pools[4]; /* [0] stays NULL: this thread alone */

static int
set_up(void **state)
{
	(void) state;
	for (int t = 1; t < 4; t++)
	{
		if (stk_crew_start(t, &pools[t]) != STK_OK)
			return -1;
	}
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	for (int t = 1; t < 4; t++)
		stk_crew_stop(pools[t]);
	return 0;
}

static stk_exec
exec_of(const stk_cpu *cpu, int threads)
{
	return (stk_exec){.a = stk_malloc,
					  .cpu = cpu,
					  .pool = threads > 0 ? stk_crew_pool(pools[threads], STK_BACKGROUND) : NULL};
}

/* Rows, their codes, and codewords to start from. */
typedef struct problem
{
	stk_codebook shape;
	size_t n, dim, total, levels;
	float *x;         /* [n][dim] */
	uint16_t *codes;  /* [n][levels] */
	float *codewords; /* [total][dim] */
} problem;

static problem
problem_random(stk_metric metric, int levels, const uint32_t *sizes, size_t dim, size_t n,
			   uint64_t *seed)
{
	problem p = {.shape = {.metric = metric, .levels = levels, .dim = (int) dim},
				 .n = n,
				 .dim = dim,
				 .levels = (size_t) levels};

	for (int l = 0; l < levels; l++)
	{
		p.shape.sizes[l] = sizes[l];
		p.total += sizes[l];
	}
	p.x = malloc(n * dim * sizeof(float));
	p.codes = malloc(n * (size_t) levels * sizeof(uint16_t));
	p.codewords = malloc(p.total * dim * sizeof(float));
	fill(p.x, n * dim, 1, seed);
	fill(p.codewords, p.total * dim, 0.5f, seed);
	for (size_t i = 0; i < n * (size_t) levels; i++)
		p.codes[i] = (uint16_t) (next_bits(seed) % sizes[i % (size_t) levels]);
	return p;
}

static void
problem_free(problem *p)
{
	free(p->x);
	free(p->codes);
	free(p->codewords);
}

/* Column of A that row i's code of level l has its one in. */
static size_t
column(const problem *p, size_t i, size_t l)
{
	size_t at = p->codes[i * p->levels + l];

	for (size_t m = 0; m < l; m++)
		at += p->shape.sizes[m];
	return at;
}

/* x_i - sum of its codewords, dimension d. */
static double
residual(const problem *p, const float *codewords, size_t i, size_t d)
{
	double e = p->x[i * p->dim + d];

	for (size_t l = 0; l < p->levels; l++)
		e -= codewords[column(p, i, l) * p->dim + d];
	return e;
}

/* The refit by Gaussian elimination with pivots, one dimension after the other. */
static void
plain_refit(const problem *p, double ridge, double *change)
{
	size_t n = p->total;
	double *m = malloc(n * (n + 1) * sizeof(double));

	for (size_t d = 0; d < p->dim; d++)
	{
		memset(m, 0, n * (n + 1) * sizeof(double));
		for (size_t k = 0; k < n; k++)
			m[k * (n + 1) + k] = ridge;
		for (size_t i = 0; i < p->n; i++)
		{
			for (size_t l = 0; l < p->levels; l++)
			{
				double *row = m + column(p, i, l) * (n + 1);

				for (size_t o = 0; o < p->levels; o++)
					row[column(p, i, o)]++;
				row[n] += residual(p, p->codewords, i, d);
			}
		}
		for (size_t k = 0; k < n; k++)
		{
			size_t pivot = k;

			for (size_t r = k + 1; r < n; r++)
				pivot = fabs(m[r * (n + 1) + k]) > fabs(m[pivot * (n + 1) + k]) ? r : pivot;
			for (size_t c = 0; c <= n; c++)
			{
				double swap = m[k * (n + 1) + c];

				m[k * (n + 1) + c] = m[pivot * (n + 1) + c];
				m[pivot * (n + 1) + c] = swap;
			}
			for (size_t r = 0; r < n; r++)
			{
				double by = m[r * (n + 1) + k] / m[k * (n + 1) + k];

				for (size_t c = k; c <= n && r != k; c++)
					m[r * (n + 1) + c] -= by * m[k * (n + 1) + c];
			}
		}
		for (size_t k = 0; k < n; k++)
			change[k * p->dim + d] = m[k * (n + 1) + n] / m[k * (n + 1) + k];
	}
	free(m);
}

/* The codewords after a refit. */
static float *
refit(const problem *p, const stk_exec *exec, double ridge, double *error)
{
	float *codewords = malloc(p->total * p->dim * sizeof(float));
	stk_least_squares ls;

	memcpy(codewords, p->codewords, p->total * p->dim * sizeof(float));
	assert_int_equal(stk_least_squares_init(&ls, exec, &p->shape), STK_OK);
	assert_int_equal(stk_least_squares_residuals(&ls, p->x, p->n, p->codes, codewords, error),
					 STK_OK);
	assert_int_equal(stk_least_squares_solve(&ls, p->n, p->codes, ridge, codewords), STK_OK);
	stk_least_squares_free(&ls);
	return codewords;
}

static double
largest_of(const double *v, size_t n)
{
	double largest = 0;

	for (size_t i = 0; i < n; i++)
		largest = fabs(v[i]) > largest ? fabs(v[i]) : largest;
	return largest;
}

/*
 * Against elimination, and against what makes it the least: A'(X - A C) = ridge (C - C_old).
 *
 * With S codewords in all, the matrix M = A'A + ridge I has |M| <= levels n + ridge, and its
 * inverse 1 / ridge. A solution z by Cholesky satisfies the equations up to 4 S 2^-53 |M| |z|, so
 * is off by that / ridge (Higham, "Accuracy and Stability of Numerical Algorithms", section 10.1),
 * with |z| <= sqrt(S) times the largest element; elimination is allowed the same. Then C is rounded
 * to binary32, by 2^-24 of a codeword; a row counts that for each of its codewords.
 */
static void
assert_refit(const problem *p, double ridge)
{
	double error, before = 0;
	float *codewords = refit(p, plain_exec(), ridge, &error);
	double *change = malloc(p->total * p->dim * sizeof(double));
	double size = (double) p->total;
	double norm = (double) (p->levels * p->n) + ridge;
	double solved, largest = 0;

	plain_refit(p, ridge, change);
	solved = 4 * size * 0x1p-53 * norm * sqrt(size) * largest_of(change, p->total * p->dim);
	for (size_t j = 0; j < p->total * p->dim; j++)
	{
		double expected = p->codewords[j] + change[j];

		assert_true(fabs(codewords[j] - expected) <= 0x1p-24 * fabs(expected) + 2 * solved / ridge);
		largest = fabs(expected) > largest ? fabs(expected) : largest;
	}
	memset(change, 0, p->total * p->dim * sizeof(double));
	for (size_t i = 0; i < p->n; i++)
	{
		for (size_t d = 0; d < p->dim; d++)
		{
			double e = residual(p, codewords, i, d);
			double old = residual(p, p->codewords, i, d);

			before += old * old;
			for (size_t l = 0; l < p->levels; l++)
				change[column(p, i, l) * p->dim + d] += e;
		}
	}
	/* Sums of so many squares, in another order. */
	assert_true(fabs(before - error) <= (double) (p->n * p->dim + 8) * 0x1p-52 * before);
	for (size_t k = 0; k < p->total; k++)
	{
		size_t rows = 0;

		for (size_t i = 0; i < p->n * p->levels; i++)
			rows += column(p, i / p->levels, i % p->levels) == k;
		for (size_t j = k * p->dim; j < (k + 1) * p->dim; j++)
		{
			assert_true(fabs(change[j] - ridge * ((double) codewords[j] - p->codewords[j])) <=
						((double) (rows * p->levels) + ridge) * 0x1p-24 * largest + 2 * solved);
			if (rows == 0)
				assert_true(codewords[j] == p->codewords[j]);
		}
	}
	free(codewords);
	free(change);
}

static void
the_refit_is_the_least(void **state)
{
	static const uint32_t sizes[][MAX_LEVELS] = {{1},          {5},         {1, 1, 1},      {7, 9},
												 {30, 20, 25}, {64, 64, 2}, {70, 3, 40, 50}};
	static const int levels[] = {1, 1, 3, 2, 3, 3, 4};
	uint64_t seed = 41;

	(void) state;
	for (size_t s = 0; s < sizeof(levels) / sizeof(levels[0]); s++)
	{
		for (size_t n = 1; n <= 400; n = n * 7 + 3)
		{
			size_t dim = 1 + next_bits(&seed) % unit_size(40, 40, 9);
			problem p = problem_random(STK_L2, levels[s], sizes[s], dim, n, &seed);

			assert_refit(&p, 0.01);
			assert_refit(&p, 3);
			problem_free(&p);
		}
	}
}

/* Every vector unit and number of threads gives the same bits; so do blocks' borders. */
static void
the_refit_is_the_same_everywhere(void **state)
{
	uint64_t seed = 42;
	int paths = 0;

	(void) state;
	for (int round = 0; round < 6; round++)
	{
		uint32_t sizes[] = {1 + (uint32_t) (next_bits(&seed) % 150),
							1 + (uint32_t) (next_bits(&seed) % 70),
							1 + (uint32_t) (next_bits(&seed) % 70)};
		problem p = problem_random(STK_L2, 3, sizes, 1 + next_bits(&seed) % 100, 700, &seed);
		stk_exec plain = exec_of(&stk_cpu_portable, 0);
		double error, same;
		float *expected = refit(&p, &plain, 0.01, &error);

		for (stk_simd simd = STK_SIMD_AVX512; simd <= STK_SIMD_SCALAR; simd++)
		{
			stk_cpu cpu;

			if (stk_cpu_choose(simd, &cpu, NULL) != STK_OK)
				continue;
			for (int t = 0; t < 4; t++)
			{
				stk_exec exec = exec_of(&cpu, t);
				float *codewords = refit(&p, &exec, 0.01, &same);

				assert_memory_equal(codewords, expected, p.total * p.dim * sizeof(float));
				assert_true(same == error);
				free(codewords);
			}
			paths++;
		}
		free(expected);
		problem_free(&p);
	}
	assert_true(paths >= 6);
}

static void
a_refit_that_leaves_the_range(void **state)
{
	stk_codebook shape = {.levels = 2, .sizes = {2, 2}, .dim = 1};
	/* a_0 + b_0 = 3e38, a_0 + b_1 = a_1 + b_0 = -3e38: a_1 is 6e38 below a_0. */
	float x[] = {3e38f, -3e38f, -3e38f};
	float codewords[] = {0, 0, 0, 0};
	uint16_t codes[] = {0, 0, 0, 1, 1, 0};
	stk_least_squares ls;
	double error;

	(void) state;
	assert_int_equal(stk_least_squares_init(&ls, plain_exec(), &shape), STK_OK);
	assert_int_equal(stk_least_squares_residuals(&ls, x, 3, codes, codewords, &error), STK_OK);
	assert_int_equal(stk_least_squares_solve(&ls, 3, codes, 1e-3, codewords), STK_ERANGE);
	stk_least_squares_free(&ls);
}

/* Rows around a few centres, so that there is something to find. */
static void
fill_clustered(problem *p, uint64_t *seed)
{
	float *centres = malloc(60 * p->dim * sizeof(float));

	fill(centres, 60 * p->dim, 1, seed);
	for (size_t i = 0; i < p->n; i++)
	{
		const float *a = centres + next_bits(seed) % 40 * p->dim;
		const float *b = centres + (40 + next_bits(seed) % 20) * p->dim;

		for (size_t d = 0; d < p->dim; d++)
			p->x[i * p->dim + d] = a[d] + 0.5f * b[d] + 0.2f * next_float(seed);
	}
	free(centres);
}

static void
train(problem *p)
{
	stk_rqkmeans_options opt = {
		.metric = p->shape.metric, .levels = p->shape.levels, .dim = p->shape.dim, .epochs = 5};
	float *x = malloc(p->n * p->dim * sizeof(float));
	stk_error err;

	memcpy(opt.sizes, p->shape.sizes, sizeof(opt.sizes));
	memcpy(x, p->x, p->n * p->dim * sizeof(float));
	assert_int_equal(stk_rqkmeans_train(&opt, plain_exec(), x, p->n, p->codewords, NULL, &err),
					 STK_OK);
	free(x);
}

/* Mean squared distance of the rows from their reconstructions, encoded with a beam; counts out. */
static double
measure(const problem *p, const float *codewords, int beam, double *counts)
{
	stk_codebook cb = p->shape;
	uint16_t *codes = malloc(p->n * p->levels * sizeof(uint16_t));
	float *y = malloc(2 * p->dim * sizeof(float));
	size_t at = 0;
	double error = 0;
	stk_error err;
	stk_rq *rq;

	for (int l = 0; l < cb.levels; l++)
	{
		cb.codewords[l] = codewords + at * p->dim;
		at += cb.sizes[l];
	}
	memset(counts, 0, p->total * sizeof(double));
	assert_int_equal(stk_rq_create(&cb, plain_exec(), STK_FILTER_BEST, &rq, &err), STK_OK);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), p->x, p->n, beam, codes, NULL, &err), STK_OK);
	for (size_t i = 0; i < p->n; i++)
	{
		assert_int_equal(stk_rq_decode(&cb, codes + i * p->levels, cb.levels, y, &err), STK_OK);
		plain_prepare(&cb, p->x + i * p->dim, y + p->dim);
		for (size_t d = 0; d < p->dim; d++)
			error += ((double) y[d] - y[p->dim + d]) * ((double) y[d] - y[p->dim + d]);
		at = 0;
		for (size_t l = 0; l < p->levels; l++)
		{
			counts[at + codes[i * p->levels + l]]++;
			at += cb.sizes[l];
		}
	}
	stk_rq_free(rq);
	free(codes);
	free(y);
	return error / (double) p->n;
}

/* What progress has told. */
typedef struct story
{
	int calls;
	double first, last;
	uint32_t empty;
} story;

static void
listen(void *ctx, const stk_train_progress *p)
{
	story *s = ctx;

	assert_int_equal(p->level, -1);
	assert_int_equal(p->epoch, s->calls);
	if (s->calls++ == 0)
		s->first = p->objective;
	s->last = p->objective;
	s->empty = p->empty;
}

/*
 * Codebooks get better, the more rounds the better; what progress says, the counts, and units
 * under cosine hold.
 */
static void
refinement_pays(void **state)
{
	uint64_t seed = 43;
	int most = (int) unit_size(30, 30, 12);

	(void) state;
	for (int round = 0; round < 2; round++)
	{
		stk_metric metric = round ? STK_COSINE : STK_L2;
		problem p = problem_random(metric, 3, (uint32_t[]){16, 16, 16}, 24,
								   unit_size(1500, 1500, 600), &seed);
		float *codewords = malloc(p.total * p.dim * sizeof(float));
		double counts[48], expected[48];
		double few = 0;

		fill_clustered(&p, &seed);
		train(&p);
		for (int rounds = 2; rounds <= most; rounds += most - 2)
		{
			story s = {0};
			stk_refine_options opt = {.beam = 4, .rounds = rounds, .seed = 7, .progress = listen};
			stk_error err;
			double error;

			opt.progress_ctx = &s;
			memcpy(codewords, p.codewords, p.total * p.dim * sizeof(float));
			assert_int_equal(
				stk_refine(&opt, plain_exec(), &p.shape, p.x, p.n, codewords, counts, &err),
				STK_OK);
			assert_int_equal(s.calls, rounds + 2);
			error = measure(&p, codewords, 4, expected);
			assert_memory_equal(counts, expected, sizeof(counts));
			assert_true(fabs(error - s.last) <= 1e-5 * error);
			assert_true(fabs(measure(&p, p.codewords, 4, expected) - s.first) <= 1e-5 * s.first);
			print_message("%s, %d rounds: %.4f to %.4f\n", round ? "cosine" : "l2", rounds, s.first,
						  error);
			assert_true(error < s.first);
			if (rounds > 2)
				assert_true(error < few);
			few = error;
			for (size_t k = 0; k < 16 && metric == STK_COSINE; k++)
				assert_true(fabs(plain_dot(codewords + k * p.dim, codewords + k * p.dim, p.dim) -
								 1) < 1e-6);
		}
		free(codewords);
		problem_free(&p);
	}
}

/* The order of rows, threads and vector units do not matter; the seed does. */
static void
refinement_is_the_same_everywhere(void **state)
{
	uint64_t seed = 44;
	problem p = problem_random(STK_L2, 2, (uint32_t[]){20, 15}, 13, 600, &seed);
	size_t bytes = 35 * 13 * sizeof(float);
	stk_refine_options opt = {.beam = 3, .rounds = 4, .seed = 1};
	stk_exec exec = exec_of(&stk_cpu_portable, 0);
	float *expected = malloc(bytes);
	float *codewords = malloc(bytes);
	double counts[35], same[35];
	stk_cpu cpu;
	stk_error err;

	(void) state;
	fill_clustered(&p, &seed);
	train(&p);
	memcpy(expected, p.codewords, bytes);
	assert_int_equal(stk_refine(&opt, &exec, &p.shape, p.x, p.n, expected, counts, &err), STK_OK);
	assert_memory_not_equal(expected, p.codewords, bytes);
	for (stk_simd simd = STK_SIMD_AVX512; simd <= STK_SIMD_SCALAR; simd++)
	{
		if (stk_cpu_choose(simd, &cpu, NULL) != STK_OK)
			continue;
		for (int t = 0; t < 4; t++)
		{
			exec = exec_of(&cpu, t);
			/* Another order each time. */
			for (size_t i = p.n - 1; i > 0; i--)
			{
				size_t j = next_bits(&seed) % (i + 1);

				for (size_t d = 0; d < p.dim; d++)
				{
					float swap = p.x[i * p.dim + d];

					p.x[i * p.dim + d] = p.x[j * p.dim + d];
					p.x[j * p.dim + d] = swap;
				}
			}
			memcpy(codewords, p.codewords, bytes);
			assert_int_equal(stk_refine(&opt, &exec, &p.shape, p.x, p.n, codewords, same, &err),
							 STK_OK);
			assert_memory_equal(codewords, expected, bytes);
			assert_memory_equal(same, counts, sizeof(counts));
		}
	}
	opt.seed = 2;
	memcpy(codewords, p.codewords, bytes);
	assert_int_equal(stk_refine(&opt, &exec, &p.shape, p.x, p.n, codewords, NULL, &err), STK_OK);
	assert_memory_not_equal(codewords, expected, bytes);
	free(expected);
	free(codewords);
	problem_free(&p);
}

/* Fewer rows than codewords, all rows equal, codewords far from all rows. */
static void
odd_data(void **state)
{
	uint64_t seed = 45;

	(void) state;
	for (int kind = 0; kind < 3; kind++)
	{
		size_t n = kind == 0 ? 5 : 200;
		problem p = problem_random(STK_L2, 3, (uint32_t[]){12, 10, 9}, 6, n, &seed);
		float *codewords = malloc(p.total * p.dim * sizeof(float));
		stk_refine_options opt = {.beam = 5, .rounds = 3};
		double counts[31], expected[31];
		double before, after;
		stk_error err;

		for (size_t i = 1; i < n && kind == 1; i++)
			memcpy(p.x + i * p.dim, p.x, p.dim * sizeof(float));
		/* Half of the codewords of each level are where no row will look for them. */
		for (size_t k = 0; k < p.total && kind == 2; k += 2)
		{
			for (size_t d = 0; d < p.dim; d++)
				p.codewords[k * p.dim + d] = 1e6f * (1 + (float) k);
		}
		before = measure(&p, p.codewords, 5, expected);
		memcpy(codewords, p.codewords, p.total * p.dim * sizeof(float));
		assert_int_equal(stk_refine(&opt, plain_exec(), &p.shape, p.x, n, codewords, counts, &err),
						 STK_OK);
		after = measure(&p, codewords, 5, expected);
		assert_true(after <= before);
		/* Codewords that no row looks for do not keep the others from getting better. */
		assert_true(kind != 2 || after < 0.9 * before);
		assert_memory_equal(counts, expected, sizeof(counts));
		free(codewords);
		problem_free(&p);
	}
}

/* Codebooks that no round improves come out as they went in. */
static void
nothing_to_improve(void **state)
{
	uint64_t seed = 46;
	problem p = problem_random(STK_L2, 2, (uint32_t[]){6, 3}, 4, 6, &seed);
	float *codewords = malloc(9 * 4 * sizeof(float));
	story s = {0};
	stk_refine_options opt = {.beam = 2, .rounds = 3, .progress = listen, .progress_ctx = &s};
	double counts[9];
	stk_error err;

	(void) state;
	memcpy(p.codewords, p.x, 6 * 4 * sizeof(float));
	memset(p.codewords + 6 * 4, 0, 4 * sizeof(float));
	memcpy(codewords, p.codewords, 9 * 4 * sizeof(float));
	assert_int_equal(stk_refine(&opt, plain_exec(), &p.shape, p.x, 6, codewords, counts, &err),
					 STK_OK);
	assert_memory_equal(codewords, p.codewords, 9 * 4 * sizeof(float));
	for (int k = 0; k < 9; k++)
		assert_true(counts[k] == (k < 6 ? 1 : k == 6 ? 6 : 0));
	/* Where rows are reproduced exactly no round is begun. */
	assert_int_equal(s.calls, 1);
	assert_true(s.first == 0);
	free(codewords);
	problem_free(&p);
}

static void
bad_arguments(void **state)
{
	uint64_t seed = 47;
	problem p = problem_random(STK_L2, 2, (uint32_t[]){4, 4}, 3, 20, &seed);
	stk_refine_options good = {.beam = 2, .rounds = 2};
	stk_refine_options opt;
	stk_codebook cb = p.shape;
	stk_error err;

	(void) state;
	assert_int_equal(stk_refine(&good, plain_exec(), &cb, p.x, 0, p.codewords, NULL, &err),
					 STK_EINVAL);
	opt = good;
	opt.beam = 0;
	assert_int_equal(stk_refine(&opt, plain_exec(), &cb, p.x, 20, p.codewords, NULL, &err),
					 STK_EINVAL);
	opt = good;
	opt.rounds = 0;
	assert_int_equal(stk_refine(&opt, plain_exec(), &cb, p.x, 20, p.codewords, NULL, &err),
					 STK_EINVAL);
	cb.metric = STK_IP;
	assert_int_equal(stk_refine(&good, plain_exec(), &cb, p.x, 20, p.codewords, NULL, &err),
					 STK_EINVAL);
	assert_non_null(strstr(err.message, "inner product"));
	cb = p.shape;
	cb.levels = 0;
	assert_int_equal(stk_refine(&good, plain_exec(), &cb, p.x, 20, p.codewords, NULL, &err),
					 STK_EINVAL);
	cb = p.shape;
	p.x[13 * 3] = NAN;
	assert_int_equal(stk_refine(&good, plain_exec(), &cb, p.x, 20, p.codewords, NULL, &err),
					 STK_EINVAL);
	assert_int_equal(err.row, 13);
	cb.metric = STK_COSINE;
	memset(p.x + 5 * 3, 0, 3 * sizeof(float));
	assert_int_equal(stk_refine(&good, plain_exec(), &cb, p.x, 20, p.codewords, NULL, &err),
					 STK_EINVAL);
	assert_int_equal(err.row, 5);
	problem_free(&p);
}

/* Short of memory, or stopped at any look: nothing leaks, and codewords are as they were. */
static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 48;
	problem p = problem_random(STK_L2, 2, (uint32_t[]){70, 9}, 5, 300, &seed);
	size_t bytes = 79 * 5 * sizeof(float);
	float *codewords = malloc(bytes);
	stk_refine_options opt = {.beam = 3, .rounds = 2};
	stk_error err;
	bool done = false;
	long looks = 0;

	(void) state;
	memcpy(codewords, p.codewords, bytes);
	for (long left = 0; !done; left++)
	{
		short_memory memory = {left, 0};
		stk_allocator a = short_allocator(&memory);
		stk_exec exec = exec_with(&a, NULL);
		stk_status status = stk_refine(&opt, &exec, &p.shape, p.x, p.n, codewords, NULL, &err);

		done = status == STK_OK;
		if (!done)
		{
			assert_int_equal(status, STK_ENOMEM);
			assert_memory_equal(codewords, p.codewords, bytes);
		}
		assert_int_equal(memory.live, 0);
	}
	memcpy(codewords, p.codewords, bytes);
	for (done = false; !done; looks += (long) unit_size(1, 7, 97))
	{
		long left = looks;
		stk_monitor monitor = {stop_countdown, &left};
		short_memory memory = {100000, 0};
		stk_allocator a = short_allocator(&memory);
		stk_exec exec = exec_with(&a, &monitor);
		stk_status status = stk_refine(&opt, &exec, &p.shape, p.x, p.n, codewords, NULL, &err);

		done = status == STK_OK;
		if (!done)
		{
			assert_int_equal(status, STK_ECANCELED);
			assert_memory_equal(codewords, p.codewords, bytes);
		}
		assert_int_equal(memory.live, 0);
	}
	assert_true(looks > 1000);
	free(codewords);
	problem_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_refit_is_the_least),
		cmocka_unit_test(the_refit_is_the_same_everywhere),
		cmocka_unit_test(a_refit_that_leaves_the_range),
		cmocka_unit_test(refinement_pays),
		cmocka_unit_test(refinement_is_the_same_everywhere),
		cmocka_unit_test(odd_data),
		cmocka_unit_test(nothing_to_improve),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("refinement", tests, set_up, tear_down);
}
