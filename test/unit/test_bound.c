/*
 * The margin against filters that err as far as they may, and against numbers that bring out each
 * part of it. test/unit/mutate_bound takes the parts away one by one and sees these tests fail.
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

/* --- A filter whose every score is as wrong as its bound allows ------------------------------ */

/* Significant bits it keeps of codewords and of rows. */
static int code_bits = 24;
static int row_bits = 24;

#define TILE 4
#define PANEL 8

static size_t
adverse_bytes(size_t dim)
{
	return (dim * PANEL * sizeof(float) + STK_ALIGN - 1) / STK_ALIGN * STK_ALIGN;
}

/* v cut to so many significant bits. */
static float
cut(float v, int bits)
{
	int power;
	double part = frexp(v, &power);

	return bits < 24 ? (float) ldexp(trunc(ldexp(part, bits)), power - bits) : v;
}

static void
adverse_pack_panel(const float *c, uint32_t n, size_t dim, void *panel, float *packed)
{
	float *to = panel;

	memset(to, 0, adverse_bytes(dim));
	for (size_t i = 0; i < n * dim; i++)
		to[i] = packed[i] = cut(c[i], code_bits);
}

static void
adverse_pack_rows(const stk_pack *p, const float *x, uint32_t n, void *tile, stk_bound_row *rows)
{
	float *y = tile;

	for (uint32_t r = 0; r < n; r++, x += p->dim, y += p->dim)
	{
		float kept = 0;
		double lost = 0;

		for (size_t i = 0; i < p->dim; i++)
		{
			double exact = (double) x[i] - (double) p->centre[i];

			y[i] = cut(x[i] - p->centre[i], row_bits);
			kept += y[i] * y[i];
			lost += (exact - (double) y[i]) * (exact - (double) y[i]);
		}
		rows[r].norm = stk_bound_norm(kept, p->dim);
		rows[r].rounding = sqrt(lost) * (1 + 0x1p-40);
	}
}

/*
 * The score that is furthest from the exact one, up for odd codewords and down for even ones, among
 * the numbers that D + 3 roundings and D + 2 lost small numbers may lead to.
 */
static float
adverse_score(const stk_pack *p, const float *y, const float *c, float offset, bool up,
			  stk_arithmetic arithmetic)
{
	double eta = arithmetic == STK_ARITHMETIC_BFLOAT16 ? 0x1p-126 : 0x1p-149;
	double exact = offset, y2 = 0, c2 = 0, error;
	float score;

	for (size_t i = 0; i < p->dim; i++)
	{
		exact += (double) y[i] * (double) c[i];
		y2 += (double) y[i] * (double) y[i];
		c2 += (double) c[i] * (double) c[i];
	}
	if (sqrt(y2) * sqrt(c2) + fabs((double) offset) > 3e38)
		return up ? INFINITY : NAN;
	error = ((double) p->dim + 3) * 0x1p-24 * sqrt(y2) * sqrt(c2) + ((double) p->dim + 2) * eta +
			0x1p-24 * fabs((double) offset);
	exact += up ? error : -error;
	score = (float) exact;
	if (up && (double) score > exact)
		score = nextafterf(score, -INFINITY);
	if (!up && (double) score < exact)
		score = nextafterf(score, INFINITY);
	return score;
}

static void
adverse_panels(const stk_pack *p, const float *y, uint32_t n, uint32_t first, uint32_t panels,
			   float *scores, size_t stride, float *best, stk_arithmetic arithmetic)
{
	for (uint32_t r = 0; r < n; r++)
	{
		best[r] = -INFINITY;
		for (uint32_t j = 0; j < panels * PANEL; j++)
		{
			size_t k = (size_t) first * PANEL + j;
			const uint8_t *panel = p->packed + k / PANEL * adverse_bytes(p->dim);
			const float *c = (const float *) (const void *) panel + k % PANEL * p->dim;
			float score =
				k < p->size ? adverse_score(p, y + r * p->dim, c, p->offsets[k], k & 1, arithmetic)
							: p->offsets[k];

			scores[r * stride + j] = score;
			best[r] = score > best[r] ? score : best[r];
		}
	}
}

static void
adverse_binary32(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
				 float *scores, size_t stride, float *best)
{
	adverse_panels(p, tile, n, first, panels, scores, stride, best, STK_ARITHMETIC_BINARY32);
}

static void
adverse_bfloat16(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
				 float *scores, size_t stride, float *best)
{
	adverse_panels(p, tile, n, first, panels, scores, stride, best, STK_ARITHMETIC_BFLOAT16);
}

static uint32_t
adverse_collect(const float *scores, uint32_t n, float limit, uint32_t *places)
{
	return stk_kernel_scalar.collect(scores, n, limit, places);
}

static stk_kernel
adverse_kernel(stk_arithmetic arithmetic)
{
	return (stk_kernel){.name = "adverse",
						.tile = TILE,
						.panel = PANEL,
						.arithmetic = arithmetic,
						.panel_bytes = adverse_bytes,
						.tile_bytes = adverse_bytes,
						.pack_panel = adverse_pack_panel,
						.pack_rows = adverse_pack_rows,
						.score = arithmetic == STK_ARITHMETIC_BINARY32 ? adverse_binary32
																	   : adverse_bfloat16,
						.collect = adverse_collect};
}

/* --- Attacks --------------------------------------------------------------------------------- */

/* Rows decided by the filter alone, by a filter that came out right. */
static size_t
attack(const stk_kernel *kernel, bool centred, bool inner_product, const float *c, uint32_t size,
	   size_t dim, const float *x, size_t n)
{
	stk_cpu cpu = {STK_SIMD_SCALAR, &stk_reference_scalar, kernel, NULL};
	stk_exec exec = {.a = stk_malloc, .cpu = &cpu};
	stk_nearest_stats stats = {0};
	uint16_t *codes = calloc(n, sizeof(uint16_t));
	stk_fpenv env = stk_fpenv_enter();
	size_t wrong = 0;
	stk_pack p;

	assert_int_equal(
		stk_pack_init(&p, &exec, STK_FILTER_BINARY32, centred, size, dim, inner_product), STK_OK);
	assert_int_equal(stk_pack_fill(&p, c, NULL), STK_OK);
	assert_int_equal(stk_nearest_rows(&exec, &p, x, n, codes, NULL, &stats), STK_OK);
	stk_pack_free(&p);
	for (size_t i = 0; i < n; i++)
		wrong += codes[i] != plain_nearest(x + i * dim, c, size, dim, inner_product);
	stk_fpenv_leave(env);
	free(codes);
	if (wrong > 0)
		fail_msg("%s: %zu of %zu rows are wrong (%zu of them undecided)", kernel->name, wrong, n,
				 (size_t) (stats.undecided + stats.reference));
	return (size_t) (stats.rows - stats.undecided - stats.reference);
}

/*
 * Pairs of random codewords around a common part, and rows as near to deciding for neither as
 * binary32 allows, or off that by up to `off` times their distance. A third codeword, further off,
 * moves the centre from between the two.
 */
static size_t
attack_between(const stk_kernel *kernel, bool centred, bool inner_product, size_t dim, float common,
			   int power_of_codes, int power_of_rows, double off)
{
	enum
	{
		ROUNDS = 40,
		ROWS = 25
	};
	uint64_t seed = dim + 1;
	size_t decided = 0;
	float *c = malloc(3 * dim * sizeof(float));
	float *x = malloc(ROWS * dim * sizeof(float));

	for (int round = 0; round < ROUNDS; round++)
	{
		for (size_t i = 0; i < 3 * dim; i++)
			c[i] = common + ldexpf(next_float(&seed), power_of_codes + (i < 2 * dim ? 0 : 4));
		for (size_t r = 0; r < ROWS; r++)
		{
			double along = 0, length = 0, step;

			for (size_t i = 0; i < dim; i++)
			{
				double gap = (double) c[dim + i] - (double) c[i];
				double middle = inner_product ? 0 : ((double) c[dim + i] + (double) c[i]) / 2;
				double v = ldexp(next_float(&seed), power_of_rows);

				x[r * dim + i] = (float) (middle + v);
				along += v * gap;
				length += gap * gap;
			}
			step = (length > 0 ? along / length : 0) + off * next_float(&seed);
			for (size_t i = 0; i < dim; i++)
				x[r * dim + i] = (float) ((double) x[r * dim + i] -
										  step * ((double) c[dim + i] - (double) c[i]));
		}
		decided += attack(kernel, centred, inner_product, c, 3, dim, x, ROWS);
	}
	free(c);
	free(x);
	return decided;
}

static void
sums_round(void **state)
{
	stk_kernel kernel = adverse_kernel(STK_ARITHMETIC_BINARY32);
	static const size_t dims[] = {1, 2, 3, 8, 31, 100};
	size_t decided = 0;

	(void) state;
	code_bits = row_bits = 24;
	for (size_t d = 0; d < 6; d++)
	{
		for (int power = -3; power <= 3; power++)
		{
			decided += attack_between(&kernel, false, true, dims[d], 0, 0, power, 0x1p-20);
			decided += attack_between(&kernel, true, false, dims[d], 0, 0, power, 0x1p-20);
		}
	}
	assert_true(decided > 0);
}

/* Small numbers that are lost count as much as all the rest. */
static void
sums_underflow(void **state)
{
	stk_kernel kept = adverse_kernel(STK_ARITHMETIC_BINARY32);
	stk_kernel flushed = adverse_kernel(STK_ARITHMETIC_BFLOAT16);
	size_t decided = 0;

	(void) state;
	code_bits = row_bits = 24;
	for (size_t dim = 3; dim < 20; dim += 4)
	{
		decided += attack_between(&kept, false, true, dim, 0, -70, -70, 0x1p-4);
		decided += attack_between(&flushed, false, true, dim, 0, -60, -60, 0x1p-2);
	}
	assert_true(decided > 0);
}

static void
codewords_round(void **state)
{
	stk_kernel kernel = adverse_kernel(STK_ARITHMETIC_BFLOAT16);
	size_t decided = 0;

	(void) state;
	code_bits = 8;
	row_bits = 24;
	for (size_t dim = 2; dim < 40; dim += 6)
	{
		decided += attack_between(&kernel, true, false, dim, 0, 0, 0, 0.1);
		decided += attack_between(&kernel, false, true, dim, 1, 0, 0, 0.1);
	}
	assert_true(decided > 0);
}

static void
rows_round(void **state)
{
	stk_kernel kernel = adverse_kernel(STK_ARITHMETIC_BFLOAT16);
	size_t decided = 0;

	(void) state;
	code_bits = 24;
	row_bits = 8;
	for (size_t dim = 2; dim < 40; dim += 6)
	{
		decided += attack_between(&kernel, true, false, dim, 0, 0, 0, 0.1);
		decided += attack_between(&kernel, false, true, dim, 0, 0, 0, 0.1);
	}
	assert_true(decided > 0);
}

/* Far from the origin an offset is large, and all that tells codewords apart is small. */
static void
offsets_round(void **state)
{
	stk_kernel adverse = adverse_kernel(STK_ARITHMETIC_BINARY32);
	size_t decided = 0;

	(void) state;
	code_bits = row_bits = 24;
	for (size_t dim = 2; dim < 40; dim += 6)
	{
		decided += attack_between(&adverse, true, false, dim, 3, -14, -14, 256);
		decided += attack_between(&stk_kernel_scalar, true, false, dim, 3, -14, -14, 256);
	}
	assert_true(decided > 0);
}

/*
 * Offsets and the reference's dot products are summed in binary64, by lanes. Two lanes begin with
 * large products, which cancel between them, and go on with products of about half a unit in the
 * last place: a bit less of the centre's, a bit more of the row's. All of the first are lost, each
 * of the second counts for a whole unit. What differs so is more than the codewords' true distance.
 */
static void
offsets_and_the_reference_round(void **state)
{
	enum
	{
		STEPS = 64,
		DIM = 8 * STEPS + 8,
		SIZE = 6
	};
	static float c[SIZE * DIM];
	static float x[DIM];

	(void) state;
	for (size_t i = 0; i < DIM; i++)
	{
		float m = 0, first = 0, second = 0;

		if (i < 2)
		{
			x[i] = m = 1;
			first = second = i == 0 ? 10.5f : -8.5f;
		}
		else if (i == 2)
		{
			/* The true difference, by which both sums have the second codeword nearer. */
			x[i] = m = 0x1p-12f;
			first = m - 7 * 0x1p-33f;
			second = m + 7 * 0x1p-33f;
		}
		else if (i == 3)
		{
			/* The other codewords lose. */
			x[i] = m = 0x1p-12f;
			first = second = m + 0x1p-18f;
		}
		else if (i >= 8 && i % 8 < 2)
		{
			m = 0x1p-20f * (1 - 0x1p-22f);
			x[i] = 0x1p-20f * (1 + 0x1p-22f);
			first = 0x1p-30f;
			second = -0x1p-30f;
		}
		c[i] = first;
		c[DIM + i] = second;
		/* The others make m the centre. */
		for (size_t k = 2; k < SIZE; k++)
			c[k * DIM + i] = (SIZE * m - first - second) / (SIZE - 2);
	}
	attack(&stk_kernel_scalar, true, true, c, SIZE, DIM, x, 1);
}

/*
 * The filter sees what the reference does not: a product that is lost in binary64 beside another
 * of the same lane, which the centre takes away. To the reference the codewords are equal.
 */
static void
the_reference_rounds(void **state)
{
	float c[2 * 9] = {1, 0, 0, 0, 0, 0, 0, 0, -0x1p-60f, 1, 0, 0, 0, 0, 0, 0, 0, 0x1p-60f};
	float x[9] = {0x1p40f, 0, 0, 0, 0, 0, 0, 0, 0x1p42f};

	(void) state;
	attack(&stk_kernel_scalar, true, false, c, 2, 9, x, 1);
	attack(&stk_kernel_scalar, true, true, c, 2, 9, x, 1);
}

/* Sums that leave binary32's range prove nothing. */
static void
sums_overflow(void **state)
{
	stk_kernel adverse = adverse_kernel(STK_ARITHMETIC_BINARY32);
	static const float products[] = {1.5e19f, 0, 0, 2e19f, 2e19f, -3e19f};
	static const float row[] = {1e19f, 1e19f, 1e19f};
	static const float long_codewords[] = {2e19f, 0, 0, 3e19f, 3e19f, 0};
	static const float short_row[] = {1, 1, 1};

	(void) state;
	code_bits = row_bits = 24;
	attack(&stk_kernel_scalar, false, true, products, 2, 3, row, 1);
	attack(&adverse, false, true, products, 2, 3, row, 1);
	attack(&stk_kernel_scalar, false, false, long_codewords, 2, 3, short_row, 1);
	attack(&adverse, false, false, long_codewords, 2, 3, short_row, 1);
}

/* More codewords may win than there is room to note; the one that does comes last. */
static void
many_candidates(void **state)
{
	enum
	{
		SIZE = 1300
	};
	static float c[SIZE * 2];
	static const float x[2] = {1, 1};

	(void) state;
	for (size_t k = 0; k < SIZE; k++)
	{
		c[2 * k] = 1;
		c[2 * k + 1] = k + 1 < SIZE ? 1 : 1 + 0x1p-23f;
	}
	attack(&stk_kernel_scalar, false, true, c, SIZE, 2, x, 1);
}

/* Places behind the last codeword never win. */
static void
empty_places(void **state)
{
	uint64_t seed = 21;
	float c[20 * 5], x[50 * 5];

	(void) state;
	fill(c, 20 * 5, 1, &seed);
	fill(x, 50 * 5, 0.5f, &seed);
	for (uint32_t size = 1; size <= 20; size++)
		attack(&stk_kernel_scalar, true, false, c, size, 5, x, 50);
}

/* A norm from squares summed in binary32 is no less than the norm. */
static void
norms_are_not_too_small(void **state)
{
	enum
	{
		DIM = 1000
	};
	static float x[DIM];

	(void) state;
	for (int kind = 0; kind < 3; kind++)
	{
		float sum = 0;
		double exact = 0;

		for (size_t i = 0; i < DIM; i++)
		{
			if (kind == 0) /* each square is lost beside the first */
				x[i] = i == 0 ? 1 : 0x1.fp-13f;
			else if (kind == 1) /* each square is lost */
				x[i] = 0x1.fp-76f;
			else
				x[i] = 0x1p-149f;
			sum += x[i] * x[i];
			exact += (double) x[i] * (double) x[i];
		}
		assert_true(stk_bound_norm(sum, DIM) >= sqrt(exact));
	}
	assert_false(isfinite(stk_bound_norm(INFINITY, 3)));
	assert_false(isfinite(stk_bound_norm(NAN, 3)));
}

/*
 * What a kernel says of its rows is true. Unit codewords bring out what it multiplies by: y^
 * itself, beside a row and centre of numbers that no subtraction and no narrower format keeps.
 */
static void
check_rows(const stk_kernel *kernel, size_t dim, bool centred, int power, uint64_t *seed)
{
	uint32_t panels = (uint32_t) (dim + kernel->panel - 1) / kernel->panel;
	size_t places = (size_t) panels * kernel->panel, stride = (places + 15) / 16 * 16;
	float *c = calloc(places * dim, sizeof(float));
	float *x = malloc(kernel->tile * dim * sizeof(float));
	float *centre = aligned_alloc(STK_ALIGN, (dim + 16) / 16 * STK_ALIGN);
	float *offsets = aligned_alloc(STK_ALIGN, (places + 16) / 16 * STK_ALIGN);
	float *scores = malloc(kernel->tile * stride * sizeof(float));
	void *packed = aligned_alloc(STK_ALIGN, panels * kernel->panel_bytes(dim));
	void *tile = aligned_alloc(STK_ALIGN, kernel->tile_bytes(dim));
	stk_pack p = {.kernel = kernel,
				  .size = (uint32_t) dim,
				  .dim = dim,
				  .centred = centred,
				  .codewords = c,
				  .panels = panels,
				  .centre = centre,
				  .packed = packed,
				  .offsets = offsets};

	memset(offsets, 0, places * sizeof(float));
	for (size_t k = 0; k < dim; k++)
		c[k * dim + k] = 1;
	for (uint32_t j = 0; j < panels; j++)
	{
		size_t first = (size_t) j * kernel->panel;
		size_t n = dim - first < kernel->panel ? dim - first : kernel->panel;

		kernel->pack_panel(c + first * dim, (uint32_t) n, dim,
						   (uint8_t *) packed + j * kernel->panel_bytes(dim), c + first * dim);
	}
	for (uint32_t n = 1; n <= kernel->tile; n++)
	{
		stk_bound_row rows[STK_MAX_TILE];
		float best[STK_MAX_TILE];

		for (size_t i = 0; i < dim; i++)
			centre[i] = centred ? ldexpf(next_float(seed), power) / 3 : 0;
		for (size_t i = 0; i < n * dim; i++)
			x[i] = ldexpf(next_float(seed) / 3, power + (int) (next_bits(seed) % 4));
		kernel->pack_rows(&p, x, n, tile, rows);
		kernel->score(&p, tile, n, 0, panels, scores, stride, best);
		for (uint32_t r = 0; r < n; r++)
		{
			double length = 0, lost = 0;

			for (size_t i = 0; i < dim; i++)
			{
				double y = (double) x[r * dim + i] - (double) centre[i];
				double kept = scores[r * stride + i];

				length += kept * kept;
				lost += (y - kept) * (y - kept);
			}
			assert_true(rows[r].norm >= sqrt(length) * (1 - 0x1p-40));
			assert_true(rows[r].rounding >= sqrt(lost) * (1 - 0x1p-40));
		}
	}
	free(tile);
	free(packed);
	free(scores);
	free(offsets);
	free(centre);
	free(x);
	free(c);
}

static void
rows_are_what_kernels_say(void **state)
{
	static const stk_simd simds[] = {STK_SIMD_AVX512, STK_SIMD_AVX2, STK_SIMD_NEON,
									 STK_SIMD_SCALAR};
	static const size_t dims[] = {1, 2, 7, 17, 33, 130};
	stk_fpenv env = stk_fpenv_enter();
	uint64_t seed = 31;

	(void) state;
	for (size_t s = 0; s < 4; s++)
	{
		stk_cpu cpu;

		if (stk_cpu_choose(simds[s], &cpu, NULL) != STK_OK)
			continue;
		for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
		{
			for (int power = -130; power <= 60; power += 5)
			{
				check_rows(cpu.binary32, dims[d], true, power, &seed);
				check_rows(cpu.binary32, dims[d], false, power, &seed);
				if (cpu.bfloat16)
				{
					check_rows(cpu.bfloat16, dims[d], true, power, &seed);
					check_rows(cpu.bfloat16, dims[d], false, power, &seed);
				}
			}
		}
	}
	stk_fpenv_leave(env);
}

/*
 * What a pack says of its codewords is true. Unit rows bring out what it multiplies by: c^ itself,
 * beside codewords and a centre of numbers that no subtraction and no narrower format keeps.
 */
static void
check_codewords(const stk_exec *exec, stk_filter filter, size_t dim, bool centred, int power,
				uint64_t *seed)
{
	enum
	{
		SIZE = 37
	};
	float *c = malloc(SIZE * dim * sizeof(float));
	float *x = calloc(dim, sizeof(float));
	double length[SIZE] = {0}, lost[SIZE] = {0}, apart[SIZE] = {0};
	stk_pack p, view;
	float *zeros, *scores;
	void *tile;
	size_t places;

	for (size_t i = 0; i < SIZE * dim; i++)
		c[i] = ldexpf(next_float(seed) / 3, power + (int) (next_bits(seed) % 4));
	assert_int_equal(stk_pack_init(&p, exec, filter, centred, SIZE, dim, false), STK_OK);
	assert_int_equal(stk_pack_fill(&p, c, NULL), STK_OK);
	places = (size_t) p.panels * p.kernel->panel;
	zeros = aligned_alloc(STK_ALIGN, (places + dim + 16) / 16 * STK_ALIGN);
	scores = malloc(places * sizeof(float));
	tile = aligned_alloc(STK_ALIGN, p.kernel->tile_bytes(dim));
	memset(zeros, 0, (places + dim + 16) / 16 * STK_ALIGN);
	view = p;
	view.centred = false;
	view.centre = view.offsets = zeros;
	for (size_t i = 0; i < dim; i++)
	{
		stk_bound_row row;
		float best;

		x[i] = 1;
		p.kernel->pack_rows(&view, x, 1, tile, &row);
		p.kernel->score(&view, tile, 1, 0, p.panels, scores, places, &best);
		x[i] = 0;
		for (size_t k = 0; k < SIZE; k++)
		{
			double d = (double) c[k * dim + i] - (double) p.centre[i];

			length[k] += (double) scores[k] * scores[k];
			lost[k] += (d - scores[k]) * (d - scores[k]);
			apart[k] += d * d;
		}
	}
	for (size_t k = 0; k < SIZE; k++)
	{
		assert_true(p.bound.packed >= sqrt(length[k]) * (1 - 0x1p-40));
		assert_true(p.bound.rounding >= sqrt(lost[k]) * (1 - 0x1p-40));
		assert_true(p.bound.radius >= sqrt(apart[k]) * (1 - 0x1p-40));
	}
	stk_pack_free(&p);
	free(tile);
	free(scores);
	free(zeros);
	free(x);
	free(c);
}

static void
codewords_are_what_packs_say(void **state)
{
	static const stk_simd simds[] = {STK_SIMD_AVX512, STK_SIMD_AVX2, STK_SIMD_NEON,
									 STK_SIMD_SCALAR};
	static const size_t dims[] = {1, 2, 7, 17, 33, 130};
	stk_fpenv env = stk_fpenv_enter();
	uint64_t seed = 32;

	(void) state;
	for (size_t s = 0; s < 4; s++)
	{
		stk_exec exec = {.a = stk_malloc};
		stk_cpu cpu;

		if (stk_cpu_choose(simds[s], &cpu, NULL) != STK_OK)
			continue;
		exec.cpu = &cpu;
		for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
		{
			for (int power = -60; power <= 30; power += 5)
			{
				check_codewords(&exec, STK_FILTER_BINARY32, dims[d], true, power, &seed);
				check_codewords(&exec, STK_FILTER_BINARY32, dims[d], false, power, &seed);
				if (cpu.bfloat16)
				{
					check_codewords(&exec, STK_FILTER_BFLOAT16, dims[d], true, power, &seed);
					check_codewords(&exec, STK_FILTER_BFLOAT16, dims[d], false, power, &seed);
				}
			}
		}
	}
	stk_fpenv_leave(env);
}

/* A score that is not a number may be any. */
static void
not_a_number_is_a_candidate(void **state)
{
	static const stk_simd simds[] = {STK_SIMD_AVX512, STK_SIMD_AVX2, STK_SIMD_NEON,
									 STK_SIMD_SCALAR};

	(void) state;
	for (size_t s = 0; s < 4; s++)
	{
		_Alignas(STK_ALIGN) float scores[48];
		uint32_t places[48];
		stk_cpu cpu;

		if (stk_cpu_choose(simds[s], &cpu, NULL) != STK_OK)
			continue;
		for (uint32_t n = 1; n <= 48; n++)
		{
			for (uint32_t j = 0; j < 48; j++)
				scores[j] = j % 5 == 0 ? NAN : j % 5 == 1 ? 2 : j % 5 == 2 ? 3 : 1;
			assert_int_equal(cpu.binary32->collect(scores, n, 2, places),
							 n / 5 * 3 + (n % 5 < 3 ? n % 5 : 3));
			for (uint32_t j = 0; j < n / 5 * 3; j++)
				assert_int_equal(places[j], j / 3 * 5 + j % 3);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_round),
		cmocka_unit_test(sums_underflow),
		cmocka_unit_test(codewords_round),
		cmocka_unit_test(rows_round),
		cmocka_unit_test(offsets_round),
		cmocka_unit_test(offsets_and_the_reference_round),
		cmocka_unit_test(the_reference_rounds),
		cmocka_unit_test(sums_overflow),
		cmocka_unit_test(many_candidates),
		cmocka_unit_test(empty_places),
		cmocka_unit_test(norms_are_not_too_small),
		cmocka_unit_test(rows_are_what_kernels_say),
		cmocka_unit_test(codewords_are_what_packs_say),
		cmocka_unit_test(not_a_number_is_a_candidate),
	};

	return cmocka_run_group_tests_name("margin of the filters", tests, NULL, NULL);
}
