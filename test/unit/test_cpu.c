/* The choice of a path, and the probe that a kernel's arithmetic has to pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/cpu.h"
#include "core/pack.h"
#include "rows.h"

#define PANEL 8
#define TILE 4
#define BLOCK 16

/* How the kernel made here falls short. */
typedef enum weakness
{
	SOUND,
	TRUNCATES,
	ROUNDS_UP,
	FLUSHES_RESULTS,
	FLUSHES_OPERANDS,
	SHORT_OPERANDS, /* of 11 bits */
	SHORT_SUMS,     /* of 22 bits */
	BLOCKS,         /* 16 products aligned to the largest, and cut, before they are added */
	DOUBLE_OFFSET,  /* adds the offset twice */
	LAST_LANE,      /* truncates, the last codeword of a panel only */
	FULL_TILES,     /* truncates, full tiles only */
	SINGLE_ROWS     /* truncates, single rows only */
} weakness;

static weakness weak;

static size_t
plain_panel_bytes(size_t dim)
{
	return (PANEL * dim * sizeof(float) + STK_ALIGN - 1) / STK_ALIGN * STK_ALIGN;
}

static void
plain_pack_panel(const float *c, uint32_t n, size_t dim, void *panel, float *packed)
{
	memset(panel, 0, plain_panel_bytes(dim));
	memcpy(panel, c, n * dim * sizeof(float));
	memmove(packed, c, n * dim * sizeof(float));
}

static void
plain_pack_rows(const stk_pack *p, const float *x, uint32_t n, void *tile, stk_bound_row *rows)
{
	memcpy(tile, x, n * p->dim * sizeof(float));
	memset(rows, 0, n * sizeof(*rows));
}

/* To binary32 toward zero. */
static float
cut(double exact)
{
	float f = (float) exact;

	return fabs((double) f) > fabs(exact) ? nextafterf(f, 0) : f;
}

/* Binary32 with fewer bits: the last `bits` of them zero. */
static float
shorten(float x, int bits)
{
	uint32_t u;

	memcpy(&u, &x, sizeof(u));
	u &= ~((1u << bits) - 1);
	memcpy(&x, &u, sizeof(x));
	return x;
}

/* The sum a + b, exact in binary64 here, as the unit rounds it. */
static float
rounded(double exact, weakness how)
{
	float f = (float) exact;

	switch (how)
	{
		case TRUNCATES:
			return cut(exact);
		case ROUNDS_UP:
			return (double) f < exact ? nextafterf(f, INFINITY) : f;
		case FLUSHES_RESULTS:
			return fabsf(f) < 0x1p-126f ? 0 : f;
		case SHORT_SUMS:
			return shorten(f, 2);
		default:
			return f;
	}
}

static float
operand(float x)
{
	if (weak == FLUSHES_OPERANDS && fabsf(x) < 0x1p-126f)
		return 0;
	return weak == SHORT_OPERANDS ? shorten(x, 13) : x;
}

/* Add BLOCK products at once, each cut to 24 + 2 bits below the largest of all. */
static float
add_block(float sum, const float *x, const float *c)
{
	double terms[BLOCK + 1], most = fabs((double) sum), total = 0, unit;
	int exponent;

	terms[BLOCK] = sum;
	for (int i = 0; i < BLOCK; i++)
	{
		terms[i] = (double) x[i] * (double) c[i];
		most = fabs(terms[i]) > most ? fabs(terms[i]) : most;
	}
	frexp(most, &exponent);
	unit = ldexp(1, exponent - 26);
	for (int i = 0; i <= BLOCK; i++)
		total += trunc(terms[i] / unit) * unit;
	return cut(total);
}

static float
plain_dot_of(const float *x, const float *c, size_t dim, weakness how)
{
	float sum = 0;

	if (how == BLOCKS)
	{
		for (size_t i = 0; i < dim; i += BLOCK)
			sum = add_block(sum, x + i, c + i);
		return sum;
	}
	for (size_t i = 0; i < dim; i++)
		sum = rounded((double) sum + (double) operand(x[i]) * (double) operand(c[i]), how);
	return sum;
}

static void
plain_kernel_score(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
				   float *scores, size_t stride, float *best)
{
	const float *x = tile;

	for (uint32_t r = 0; r < n; r++)
	{
		best[r] = -INFINITY;
		for (uint32_t k = 0; k < panels * PANEL; k++)
		{
			uint32_t panel = first + k / PANEL;
			const float *c =
				(const float *) (const void *) (p->packed + panel * plain_panel_bytes(p->dim)) +
				k % PANEL * p->dim;
			float offset = p->offsets[panel * PANEL + k % PANEL];
			weakness how = weak;
			float sum;

			if (weak == LAST_LANE)
				how = k % PANEL == PANEL - 1 ? TRUNCATES : SOUND;
			else if (weak == FULL_TILES)
				how = n == TILE ? TRUNCATES : SOUND;
			else if (weak == SINGLE_ROWS)
				how = n == 1 ? TRUNCATES : SOUND;
			sum = plain_dot_of(x + r * p->dim, c, p->dim, how);
			sum = rounded((double) sum + (double) offset, how);
			if (weak == DOUBLE_OFFSET)
				sum += offset;
			scores[r * stride + k] = sum;
			best[r] = sum > best[r] ? sum : best[r];
		}
	}
}

static void
weak_kernels_fail(void **state)
{
	static const weakness binary32[] = {
		TRUNCATES, ROUNDS_UP,     FLUSHES_RESULTS, FLUSHES_OPERANDS, SHORT_OPERANDS, SHORT_SUMS,
		BLOCKS,    DOUBLE_OFFSET, LAST_LANE,       FULL_TILES,       SINGLE_ROWS};
	static const weakness bfloat16[] = {TRUNCATES,     ROUNDS_UP, SHORT_SUMS, BLOCKS,
										DOUBLE_OFFSET, LAST_LANE, FULL_TILES, SINGLE_ROWS};
	stk_kernel kernel = {.name = "plain",
						 .tile = TILE,
						 .panel = PANEL,
						 .arithmetic = STK_ARITHMETIC_BINARY32,
						 .panel_bytes = plain_panel_bytes,
						 .pack_panel = plain_pack_panel,
						 .pack_rows = plain_pack_rows,
						 .score = plain_kernel_score};
	stk_error err;

	(void) state;
	weak = SOUND;
	assert_int_equal(stk_kernel_probe(&kernel, &err), STK_OK);
	for (size_t i = 0; i < sizeof(binary32) / sizeof(binary32[0]); i++)
	{
		weak = binary32[i];
		err.message[0] = 0;
		assert_int_equal(stk_kernel_probe(&kernel, &err), STK_EINVAL);
		assert_non_null(strstr(err.message, "plain: "));
		assert_int_equal(stk_kernel_probe(&kernel, NULL), STK_EINVAL);
	}
	kernel.arithmetic = STK_ARITHMETIC_BFLOAT16;
	/* Its bound allows for flushing, and for operands that were short when they were packed. */
	weak = FLUSHES_RESULTS;
	assert_int_equal(stk_kernel_probe(&kernel, &err), STK_OK);
	for (size_t i = 0; i < sizeof(bfloat16) / sizeof(bfloat16[0]); i++)
	{
		weak = bfloat16[i];
		assert_int_equal(stk_kernel_probe(&kernel, &err), STK_EINVAL);
	}
}

static void
names(void **state)
{
	static const char *const good[] = {"auto", "avx512", "avx2", "neon", "scalar"};
	static const char *const bad[] = {"", "AVX2", "avx", "avx2 ", "sse2", "none"};
	stk_simd simd;

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		assert_int_equal(stk_simd_parse(good[i], &simd), STK_OK);
		assert_string_equal(stk_simd_name(simd), good[i]);
	}
	assert_int_equal(stk_simd_parse("auto", &simd), STK_OK);
	assert_int_equal(simd, STK_SIMD_AUTO);
	assert_int_equal(stk_simd_parse("scalar", &simd), STK_OK);
	assert_int_equal(simd, STK_SIMD_SCALAR);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(stk_simd_parse(bad[i], &simd), STK_EINVAL);
}

/* Each path is whole, or the error names it. */
static void
one_path(void **state)
{
	stk_simd simd = *(stk_simd *) *state;
	stk_cpu cpu;
	stk_error err;

	if (stk_cpu_choose(simd, &cpu, &err) != STK_OK)
	{
		assert_non_null(strstr(err.message, stk_simd_name(simd)));
		assert_int_equal(stk_cpu_choose(simd, &cpu, NULL), STK_EINVAL);
		skip();
	}
	assert_int_equal(cpu.simd, simd);
	assert_non_null(cpu.reference);
	assert_non_null(cpu.binary32);
	assert_int_equal(cpu.binary32->arithmetic, STK_ARITHMETIC_BINARY32);
	assert_int_equal(stk_kernel_probe(cpu.binary32, &err), STK_OK);
	if (cpu.bfloat16)
	{
		assert_int_equal(cpu.bfloat16->arithmetic, STK_ARITHMETIC_BFLOAT16);
		assert_int_equal(stk_kernel_probe(cpu.bfloat16, &err), STK_OK);
	}
	print_message("ran: %s%s%s\n", cpu.binary32->name, cpu.bfloat16 ? ", " : "",
				  cpu.bfloat16 ? cpu.bfloat16->name : "");
}

/* The first of them that there is. */
static void
automatic_choice(void **state)
{
	static const stk_simd by_speed[] = {STK_SIMD_AVX512, STK_SIMD_AVX2, STK_SIMD_NEON,
										STK_SIMD_SCALAR};
	stk_cpu cpu, best;
	size_t i = 0;

	(void) state;
	assert_int_equal(stk_cpu_choose(STK_SIMD_AUTO, &cpu, NULL), STK_OK);
	while (stk_cpu_choose(by_speed[i], &best, NULL) != STK_OK)
		i++;
	assert_int_equal(cpu.simd, by_speed[i]);
	assert_ptr_equal(cpu.reference, best.reference);
	assert_ptr_equal(cpu.binary32, best.binary32);
	assert_ptr_equal(cpu.bfloat16, best.bfloat16);
}

/* Every kernel keeps to the limits that its callers rely on. */
static void
shapes(void **state)
{
	stk_cpu cpu;

	(void) state;
	for (stk_simd simd = STK_SIMD_AVX512; simd <= STK_SIMD_SCALAR; simd++)
	{
		const stk_kernel *kernels[2];

		if (stk_cpu_choose(simd, &cpu, NULL) != STK_OK)
			continue;
		kernels[0] = cpu.binary32;
		kernels[1] = cpu.bfloat16;
		for (int i = 0; i < 2 && kernels[i]; i++)
		{
			const stk_kernel *k = kernels[i];

			assert_in_range(k->tile, 1, STK_MAX_TILE);
			assert_in_range(k->panel, 8, STK_MAX_PANEL);
			assert_int_equal(k->panel % 8, 0);
			for (size_t dim = 1; dim <= 16000; dim += dim < 100 ? 1 : 53)
			{
				assert_int_equal(k->panel_bytes(dim) % STK_ALIGN, 0);
				assert_int_equal(k->tile_bytes(dim) % STK_ALIGN, 0);
			}
		}
	}
}

int
main(void)
{
	static stk_simd paths[] = {STK_SIMD_AVX512, STK_SIMD_AVX2, STK_SIMD_NEON, STK_SIMD_SCALAR};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		{"path avx512", one_path, NULL, NULL, &paths[0]},
		{"path avx2", one_path, NULL, NULL, &paths[1]},
		{"path neon", one_path, NULL, NULL, &paths[2]},
		{"path scalar", one_path, NULL, NULL, &paths[3]},
		cmocka_unit_test(automatic_choice),
		cmocka_unit_test(weak_kernels_fail),
		cmocka_unit_test(shapes),
	};

	return cmocka_run_group_tests_name("processor", tests, NULL, NULL);
}
