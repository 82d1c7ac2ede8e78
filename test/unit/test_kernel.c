/*
 * Every path's two tables: filters within their bound of exact scores, exact arithmetic with the
 * reference's bits. A path that this processor has not got is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/dot.h"
#include "core/fpenv.h"
#include "core/nearest.h"
#include "rows.h"

#define MAX_CODES 200
#define MAX_ROWS 40

/* A path, and which of its two filters. */
typedef struct path
{
	stk_simd simd;
	stk_filter filter;
} path;

/* Make the path ready, or skip the test. */
static void
open_path(const path *wanted, stk_cpu *cpu, stk_exec *exec)
{
	if (stk_cpu_choose(wanted->simd, cpu, NULL) != STK_OK ||
		(wanted->filter == STK_FILTER_BFLOAT16 && !cpu->bfloat16))
		skip();
	assert_non_null(cpu->binary32);
	*exec = (stk_exec){.a = stk_malloc, .cpu = cpu};
}

/* Numbers of one size, of very different sizes, or with a common part that centring removes. */
static void
fill_kind(float *x, size_t n, int kind, uint64_t *state)
{
	for (size_t i = 0; i < n; i++)
	{
		x[i] = next_float(state);
		if (kind == 1)
			x[i] = ldexpf(x[i], (int) (next_bits(state) % 40) - 20);
		else if (kind == 2)
			x[i] = 100 + x[i];
		else if (kind == 3)
			x[i] = ldexpf(x[i], -(int) (next_bits(state) % 149));
	}
}

/* Scores of a tile of n rows: within half the margin of the exact ones but for centre . x. */
static void
check_scores(const stk_pack *p, const float *x, uint32_t n, double *worst)
{
	const stk_kernel *kernel = p->kernel;
	size_t stride = (size_t) p->panels * kernel->panel + 16;
	uint8_t *tile_bytes = malloc(kernel->tile_bytes(p->dim) + STK_ALIGN);
	void *tile = stk_align(tile_bytes);
	float *scores = malloc(n * stride * sizeof(float));
	stk_bound_row bounds[STK_MAX_TILE];
	float best[STK_MAX_TILE];
	uint32_t split = p->panels / 2;

	/* What an earlier tile left must not matter. */
	memset(tile, 0xff, kernel->tile_bytes(p->dim));
	kernel->pack_rows(p, x, n, tile, bounds);
	for (size_t i = 0; i < n * stride; i++)
		scores[i] = -77;
	/* In two blocks, as the driver does with many codewords. */
	if (split > 0)
		kernel->score(p, tile, n, 0, split, scores, stride, best);
	for (uint32_t r = 0; r < n && split > 0; r++)
	{
		float most = -INFINITY;

		for (size_t k = 0; k < (size_t) split * kernel->panel; k++)
			most = scores[r * stride + k] > most ? scores[r * stride + k] : most;
		assert_true(best[r] == most);
	}
	kernel->score(p, tile, n, split, p->panels - split, scores + (size_t) split * kernel->panel,
				  stride, best);
	for (uint32_t r = 0; r < n; r++)
	{
		double margin = stk_bound_margin(kernel->arithmetic, &p->bound, &bounds[r]);
		long double centre = 0;
		float most = -INFINITY;

		assert_true(isfinite(margin));
		for (size_t i = 0; i < p->dim; i++)
			centre += (long double) x[r * p->dim + i] * (long double) p->centre[i];
		for (size_t k = 0; k < (size_t) p->panels * kernel->panel; k++)
		{
			float score = scores[r * stride + k];
			const float *c = p->codewords + k * p->dim;
			long double exact = 0;
			long double off;

			if (k >= (size_t) split * kernel->panel)
				most = score > most ? score : most;
			if (k >= p->size)
			{
				assert_true(score == -INFINITY);
				continue;
			}
			for (size_t i = 0; i < p->dim; i++)
				exact += (long double) x[r * p->dim + i] * (long double) c[i];
			if (!p->inner_product)
				for (size_t i = 0; i < p->dim; i++)
					exact -= (long double) c[i] * (long double) c[i] / 2;
			off = fabsl((long double) score + centre - exact);
			assert_true(off <= margin / 2);
			if (margin > 0 && (double) off / margin > *worst)
				*worst = (double) off / margin;
		}
		assert_true(best[r] == most);
		for (size_t k = (size_t) p->panels * kernel->panel; k < stride; k++)
			assert_true(scores[r * stride + k] == -77);
	}
	free(scores);
	free(tile_bytes);
}

static void
scores_keep_to_the_bound(void **state)
{
	static const size_t large[] = {100, 127, 128, 129, 384, 769, 1024};
	stk_cpu cpu;
	stk_exec exec;
	uint64_t random = 11;
	double worst = 0;

	open_path(*state, &cpu, &exec);
	for (int round = 0; round < (int) unit_size(400, 400, 100); round++)
	{
		size_t dim = round < 70 ? (size_t) round + 1 : 1 + next_bits(&random) % 70;
		uint32_t size = (uint32_t) (1 + next_bits(&random) % MAX_CODES);
		int kind = (int) (next_bits(&random) % 4);
		float *x, *c;
		stk_pack p;

		if (round % 20 == 0)
			dim = large[next_bits(&random) % 7];
		x = malloc(STK_MAX_TILE * dim * sizeof(float));
		c = malloc(size * dim * sizeof(float));
		fill_kind(x, STK_MAX_TILE * dim, kind, &random);
		fill_kind(c, size * dim, kind, &random);
		assert_int_equal(stk_pack_init(&p, &exec, ((path *) *state)->filter, next_bits(&random) % 2,
									   size, dim, next_bits(&random) % 2),
						 STK_OK);
		assert_int_equal(stk_pack_fill(&p, c, NULL), STK_OK);
		for (uint32_t n = 1; n <= p.kernel->tile; n++)
			check_scores(&p, x, n, &worst);
		stk_pack_free(&p);
		free(x);
		free(c);
	}
	/* The bound is for the worst case, but not beyond all measure. */
	assert_true(worst > 0.01);
}

static void
codes_are_the_reference_s(void **state)
{
	stk_cpu cpu;
	stk_exec exec;
	uint64_t random = 12;
	stk_nearest_stats stats = {0};

	open_path(*state, &cpu, &exec);
	for (int round = 0; round < (int) unit_size(300, 300, 100); round++)
	{
		size_t dim = round < 70 ? (size_t) round + 1 : 1 + next_bits(&random) % 70;
		uint32_t size = (uint32_t) (1 + next_bits(&random) % MAX_CODES);
		size_t n = 1 + next_bits(&random) % MAX_ROWS;
		int kind = (int) (next_bits(&random) % 4);
		bool inner_product = next_bits(&random) % 2;
		float *x = malloc(n * dim * sizeof(float));
		float *c = malloc(size * dim * sizeof(float));
		uint16_t batch[MAX_ROWS], single;
		double scores[MAX_ROWS];
		stk_pack p;

		fill_kind(x, n * dim, kind, &random);
		fill_kind(c, size * dim, kind, &random);
		/* Some codewords twice, some rows codewords. */
		memcpy(c + next_bits(&random) % size * dim, c, dim * sizeof(float));
		memcpy(x, c + next_bits(&random) % size * dim, dim * sizeof(float));
		assert_int_equal(
			stk_pack_init(&p, &exec, ((path *) *state)->filter, true, size, dim, inner_product),
			STK_OK);
		assert_int_equal(stk_pack_fill(&p, c, NULL), STK_OK);
		assert_int_equal(stk_nearest_rows(&exec, &p, x, n, batch, scores, &stats), STK_OK);
		for (size_t r = 0; r < n; r++)
		{
			assert_int_equal(batch[r], plain_nearest(x + r * dim, c, size, dim, inner_product));
			assert_true(scores[r] ==
						plain_score(x + r * dim, c + batch[r] * dim, dim, inner_product));
			assert_int_equal(stk_nearest_rows(&exec, &p, x + r * dim, 1, &single, NULL, &stats),
							 STK_OK);
			assert_int_equal(single, batch[r]);
		}
		stk_pack_free(&p);
		free(x);
		free(c);
	}
	/* It was the filter that decided most. */
	assert_true(stats.reference * 10 < stats.rows);
	assert_true(stats.undecided * 2 < stats.rows);
}

/* More codewords than a block of scores, and more candidates than there is room for. */
static void
many_codewords(void **state)
{
	enum
	{
		DIM = 5,
		SIZE = 3001,
		ROWS = 30
	};
	static float x[ROWS * DIM], c[SIZE * DIM];
	stk_cpu cpu;
	stk_exec exec;
	uint64_t random = 13;
	uint16_t codes[ROWS];
	stk_pack p;

	open_path(*state, &cpu, &exec);
	assert_int_equal(stk_pack_init(&p, &exec, ((path *) *state)->filter, true, SIZE, DIM, false),
					 STK_OK);
	for (int round = 0; round < 4; round++)
	{
		/* From all different to all the same. */
		size_t distinct = round == 0 ? SIZE : round == 1 ? 1500 : round == 2 ? 2 : 1;

		fill(x, ROWS * DIM, 1, &random);
		fill(c, distinct * DIM, 1, &random);
		for (size_t k = distinct; k < SIZE; k++)
			memcpy(c + k * DIM, c + (k - distinct) * DIM, DIM * sizeof(float));
		assert_int_equal(stk_pack_fill(&p, c, NULL), STK_OK);
		assert_int_equal(stk_nearest_rows(&exec, &p, x, ROWS, codes, NULL, NULL), STK_OK);
		for (size_t r = 0; r < ROWS; r++)
			assert_int_equal(codes[r], plain_nearest(x + r * DIM, c, SIZE, DIM, false));
	}
	stk_pack_free(&p);
}

static void
collecting(void **state)
{
	static const float special[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 0x1p-149f, -3e38f};
	float scores[STK_NEAREST_CODES];
	uint32_t places[STK_NEAREST_CODES + 1];
	const stk_kernel *kernel;
	stk_cpu cpu;
	stk_exec exec;
	uint64_t random = 14;

	open_path(*state, &cpu, &exec);
	kernel = ((path *) *state)->filter == STK_FILTER_BFLOAT16 ? cpu.bfloat16 : cpu.binary32;
	for (int round = 0; round < 4000; round++)
	{
		uint32_t n = (uint32_t) (1 + next_bits(&random) % STK_NEAREST_CODES);
		float limit = round % 3 ? next_float(&random) : special[next_bits(&random) % 7];
		uint32_t found = 0, got;

		/* A block whose beginning is aligned, as the driver's is. */
		fill(scores, STK_NEAREST_CODES, 1, &random);
		for (int i = 0; i < 20; i++)
			scores[next_bits(&random) % STK_NEAREST_CODES] = special[next_bits(&random) % 7];
		scores[next_bits(&random) % n] = limit;
		memset(places, 0xee, sizeof(places));
		got = kernel->collect(scores, n, limit, places);
		assert_true(got <= n);
		for (uint32_t j = 0; j < n; j++)
		{
			if (!(scores[j] < limit))
				assert_int_equal(places[found++], j);
		}
		assert_int_equal(got, found);
		assert_int_equal(places[STK_NEAREST_CODES], 0xeeeeeeee);
	}
}

/* Any finite number, large and small. */
static float
any_finite(uint64_t *random)
{
	for (;;)
	{
		uint32_t bits = (uint32_t) next_bits(random);
		float x;

		if (next_bits(random) % 8 == 0)
			bits &= 0x80000000;
		memcpy(&x, &bits, sizeof(x));
		if (isfinite(x))
			return x;
	}
}

static void
exact_arithmetic(void **state)
{
	enum
	{
		MOST = 1030,
		ROWS = 21
	};
	static float x[MOST], rows[ROWS][MOST], r[MOST + 1], plain[MOST];
	static float together[ROWS * MOST];
	static double sum[MOST + 1], plain_sum[MOST];
	size_t places[256], members;
	const float *pointers[ROWS];
	double dots[ROWS + 1];
	stk_cpu cpu;
	stk_exec exec;
	uint64_t random = 15;

	open_path(*state, &cpu, &exec);
	for (int round = 0; round < (int) unit_size(600, 600, 240); round++)
	{
		size_t dim = round < 200 ? (size_t) round / 2 + 1 : 1 + next_bits(&random) % MOST;
		size_t n = next_bits(&random) % (ROWS + 1);
		bool finite = true;

		for (size_t i = 0; i < dim; i++)
			x[i] = round % 2 ? any_finite(&random) : next_float(&random);
		for (size_t k = 0; k < ROWS; k++)
		{
			pointers[k] = rows[k];
			for (size_t i = 0; i < dim; i++)
				rows[k][i] = round % 2 ? any_finite(&random) : next_float(&random);
		}
		/* Products that are all -0 sum to +0, as sums begin there. */
		for (size_t i = 0; i < dim && round % 5 == 0; i++)
		{
			x[i] = 0;
			for (size_t k = 0; k < ROWS; k++)
				rows[k][i] = -fabsf(rows[k][i]);
		}
		dots[n] = 77;
		cpu.reference->dots(x, pointers, n, dim, dots);
		for (size_t k = 0; k < n; k++)
		{
			double want = stk_dot(x, rows[k], dim);

			assert_memory_equal(&dots[k], &want, sizeof(want));
			want = plain_dot(x, rows[k], dim);
			assert_memory_equal(&dots[k], &want, sizeof(want));
		}
		assert_true(dots[n] == 77);

		for (size_t i = 0; i < dim; i++)
			sum[i] = plain_sum[i] = (double) any_finite(&random);
		sum[dim] = 77;
		cpu.reference->add(sum, x, dim);
		for (size_t i = 0; i < dim; i++)
			plain_sum[i] += (double) x[i];
		assert_memory_equal(sum, plain_sum, dim * sizeof(double));
		assert_true(sum[dim] == 77);

		/* A chunk of up to 256 rows, drawn from few. */
		members = next_bits(&random) % 257;
		for (size_t k = 0; k < members; k++)
			places[k] = next_bits(&random) % ROWS;
		for (size_t i = 0; i < dim; i++)
		{
			double lane[8] = {0};

			for (size_t k = 0; k < members; k++)
				lane[k % 8] += (double) rows[places[k]][i];
			plain_sum[i] += ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
							((lane[1] + lane[5]) + (lane[3] + lane[7]));
			for (size_t k = 0; k < ROWS; k++)
				together[k * dim + i] = rows[k][i];
		}
		cpu.reference->add_rows(sum, together, places, members, dim);
		assert_memory_equal(sum, plain_sum, dim * sizeof(double));
		assert_true(sum[dim] == 77);

		r[dim] = 77;
		for (size_t i = 0; i < dim; i++)
		{
			plain[i] = x[i] - rows[0][i];
			finite &= isfinite(plain[i]) != 0;
		}
		assert_int_equal(cpu.reference->subtract(x, rows[0], dim, r), finite);
		assert_memory_equal(r, plain, dim * sizeof(float));
		memcpy(r, x, dim * sizeof(float));
		assert_int_equal(cpu.reference->subtract(r, rows[0], dim, r), finite);
		assert_memory_equal(r, plain, dim * sizeof(float));
		assert_true(r[dim] == 77);
	}
}

static void
bad_numbers_are_seen(void **state)
{
	static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
	float x[80], c[80], r[80];
	stk_cpu cpu;
	stk_exec exec;

	open_path(*state, &cpu, &exec);
	for (size_t dim = 1; dim < 80; dim++)
	{
		for (size_t i = 0; i < 80; i++)
		{
			x[i] = i % 2 ? 3.4e38f : -0x1p-149f;
			c[i] = 1;
		}
		/* What lies behind the row does not count. */
		x[dim] = NAN;
		assert_true(cpu.reference->finite(x, dim));
		assert_true(cpu.reference->subtract(x, c, dim, r));
		for (size_t i = 0; i < dim; i++)
		{
			float good = x[i];

			for (int b = 0; b < 4; b++)
			{
				x[i] = bad[b];
				assert_false(cpu.reference->finite(x, dim));
				assert_false(cpu.reference->subtract(x, c, dim, r));
				assert_false(cpu.reference->subtract(c, x, dim, r));
			}
			x[i] = -3.4e38f;
			c[i] = 3.4e38f;
			assert_false(cpu.reference->subtract(x, c, dim, r));
			x[i] = good;
			c[i] = 1;
		}
	}
}

/* Rows and codewords near the end of binary32's range: the reference's, or right all the same. */
static void
huge_numbers(void **state)
{
	static const float scales[] = {1e18f, 1.5e19f, 3e19f, 1e30f, 1.6e38f, 3.3e38f};
	stk_cpu cpu;
	stk_exec exec;
	uint64_t random = 16;

	open_path(*state, &cpu, &exec);
	for (int round = 0; round < 120; round++)
	{
		size_t dim = 1 + next_bits(&random) % 40;
		float x[20 * 40], c[50 * 40];
		uint16_t codes[20];
		stk_pack p;

		fill(x, 20 * dim, scales[next_bits(&random) % 6], &random);
		fill(c, 50 * dim, scales[next_bits(&random) % 6], &random);
		assert_int_equal(
			stk_pack_init(&p, &exec, ((path *) *state)->filter, true, 50, dim, round % 2), STK_OK);
		assert_int_equal(stk_pack_fill(&p, c, NULL), STK_OK);
		assert_int_equal(stk_nearest_rows(&exec, &p, x, 20, codes, NULL, NULL), STK_OK);
		for (size_t r = 0; r < 20; r++)
			assert_int_equal(codes[r], plain_nearest(x + r * dim, c, 50, dim, round % 2));
		stk_pack_free(&p);
	}
}

#define PATH_TESTS(name, path)                                                                     \
	{name " scores", scores_keep_to_the_bound, NULL, NULL, path},                                  \
		{name " codes", codes_are_the_reference_s, NULL, NULL, path},                              \
		{name " many codewords", many_codewords, NULL, NULL, path},                                \
		{name " huge numbers", huge_numbers, NULL, NULL, path},                                    \
	{                                                                                              \
		name " collect", collecting, NULL, NULL, path                                              \
	}

#define REFERENCE_TESTS(name, path)                                                                \
	{name " exact arithmetic", exact_arithmetic, NULL, NULL, path},                                \
	{                                                                                              \
		name " bad numbers", bad_numbers_are_seen, NULL, NULL, path                                \
	}

int
main(void)
{
	static path avx512_bf16 = {STK_SIMD_AVX512, STK_FILTER_BFLOAT16};
	static path avx512 = {STK_SIMD_AVX512, STK_FILTER_BINARY32};
	static path avx2 = {STK_SIMD_AVX2, STK_FILTER_BINARY32};
	static path neon = {STK_SIMD_NEON, STK_FILTER_BINARY32};
	static path scalar = {STK_SIMD_SCALAR, STK_FILTER_BINARY32};
	const struct CMUnitTest tests[] = {
		PATH_TESTS("avx512 bfloat16", &avx512_bf16),
		PATH_TESTS("avx512", &avx512),
		PATH_TESTS("avx2", &avx2),
		PATH_TESTS("neon", &neon),
		PATH_TESTS("scalar", &scalar),
		REFERENCE_TESTS("avx512", &avx512),
		REFERENCE_TESTS("avx2", &avx2),
		REFERENCE_TESTS("neon", &neon),
		REFERENCE_TESTS("scalar", &scalar),
	};
	stk_fpenv env = stk_fpenv_enter();
	int failed = cmocka_run_group_tests_name("kernels", tests, NULL, NULL);

	stk_fpenv_leave(env);
	return failed;
}
