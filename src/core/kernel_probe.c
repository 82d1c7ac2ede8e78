/*
 * Does a unit compute as its bound assumes? Each probe scores rows against codewords whose exact
 * scores are known and come out right, whatever the order of operations, where each of them rounds
 * to nearest: then a score is off by half a unit in the last place at most, and by what a unit that
 * flushes small numbers loses. A unit that truncates, rounds to one side, keeps fewer bits of its
 * operands or between its operations, or flushes where it should not fails one of them.
 */
#include <math.h>
#include <string.h>

#include "cpu.h"
#include "fpenv.h"
#include "pack.h"

#define DIM 64

/* Room for any kernel's panel and tile of DIM, and the scores of one panel. */
typedef struct probe
{
	_Alignas(STK_ALIGN) uint8_t panel[DIM * STK_MAX_PANEL * sizeof(float)];
	_Alignas(STK_ALIGN) uint8_t tile[(DIM + 64) * STK_MAX_TILE * sizeof(float)];
	_Alignas(STK_ALIGN) float scores[STK_MAX_TILE * STK_MAX_PANEL];
	_Alignas(STK_ALIGN) float offsets[STK_MAX_PANEL];
	_Alignas(STK_ALIGN) float centre[DIM];
	float x[STK_MAX_TILE * DIM]; /* all rows alike */
	float c[STK_MAX_PANEL * DIM];
	float packed[STK_MAX_PANEL * DIM];
	double half[STK_MAX_PANEL];
	uint32_t codes; /* a whole panel */
} probe;

/* Score n rows; false when a score is off by more than it may be. */
static bool
rows_hold(const stk_kernel *kernel, probe *p, const stk_pack *pack, uint32_t n)
{
	double flushed = kernel->arithmetic == STK_ARITHMETIC_BFLOAT16 ? (DIM + 2) * 0x1p-126 : 0;
	stk_bound_row bounds[STK_MAX_TILE];
	float best[STK_MAX_TILE];

	kernel->pack_rows(pack, p->x, n, p->tile, bounds);
	kernel->score(pack, p->tile, n, 0, 1, p->scores, STK_MAX_PANEL, best);
	for (uint32_t r = 0; r < n; r++)
	{
		for (uint32_t k = 0; k < p->codes; k++)
		{
			double exact = p->offsets[k];

			for (int i = 0; i < DIM; i++)
				exact += (double) p->x[i] * (double) p->packed[k * DIM + i];
			/* Written so that NaN fails. */
			if (!(fabs(p->scores[r * STK_MAX_PANEL + k] - exact) <=
				  0x1p-24 * fabs(exact) + 0x1p-149 + flushed))
				return false;
		}
	}
	return true;
}

/* p->x against p->c in each of the kernel's forms: one row, a few, a tile. */
static bool
holds(const stk_kernel *kernel, probe *p)
{
	stk_pack pack = {.kernel = kernel,
					 .size = p->codes,
					 .dim = DIM,
					 .codewords = p->c,
					 .half = p->half,
					 .panels = 1,
					 .centre = p->centre,
					 .packed = p->panel,
					 .offsets = p->offsets};

	for (uint32_t r = 1; r < kernel->tile; r++)
		memcpy(p->x + r * DIM, p->x, DIM * sizeof(float));
	kernel->pack_panel(p->c, p->codes, DIM, p->panel, p->packed);
	for (uint32_t n = 1; n <= kernel->tile; n++)
	{
		if (!rows_hold(kernel, p, &pack, n))
			return false;
	}
	return true;
}

/*
 * Two products, of which the second is three quarters, or one quarter, of a unit in the last place
 * of the first; at all distances.
 */
static void
rounding(probe *p)
{
	for (int i = 0; i < DIM; i++)
		p->x[i] = 0x1p-12f;
	for (uint32_t k = 0; k < p->codes; k++)
	{
		p->c[k * DIM + k % DIM] = k & 1 ? -0x1p12f : 0x1p12f;
		p->c[k * DIM + (k + 1 + k / 2) % DIM] =
			(k & 2 ? -0x1p-12f : 0x1p-12f) * (k & 4 ? 1.5f : 0.5f);
	}
}

/* The same between a product and the offset. */
static void
offset(probe *p)
{
	p->x[5] = 0x1p-24f;
	for (uint32_t k = 0; k < p->codes; k++)
	{
		p->c[k * DIM + 5] = (k & 2 ? -1.0f : 1.0f) * (k & 4 ? 1.5f : 0.5f);
		p->offsets[k] = k & 1 ? -1.0f : 1.0f;
	}
}

/* Large products that cancel, and a small one: lost when bits between operations are. */
static void
cancelling(probe *p)
{
	for (int i = 0; i < DIM; i++)
		p->x[i] = 1;
	for (uint32_t k = 0; k < p->codes; k++)
	{
		p->c[k * DIM + k % DIM] = 256;
		p->c[k * DIM + (k + 17) % DIM] = -256;
		p->c[k * DIM + (k + 34) % DIM] = 0x1p-15f;
	}
}

/* Products and sums near the smallest numbers: kept, or flushed where the bound allows for it. */
static void
small(probe *p)
{
	for (int i = 0; i < DIM; i++)
		p->x[i] = 0x1p-60f;
	for (uint32_t k = 0; k < p->codes; k++)
	{
		for (int i = 0; i < DIM; i++)
			p->c[k * DIM + i] = ldexpf(i % 2 ? 1.25f : 1.5f, -60 - (int) (k % 14) * 2);
	}
}

/* All bits of a binary32 number, from either side. */
static void
whole(probe *p)
{
	for (int i = 0; i < DIM; i++)
		p->x[i] = i % 2 ? 1 : 0x1.fffffep0f;
	for (uint32_t k = 0; k < p->codes; k++)
		p->c[k * DIM + k % DIM] = k % 2 ? 0x1.000002p0f : 1;
}

/* Subnormal numbers from either side, against large ones. */
static void
subnormal(probe *p)
{
	for (int i = 0; i < DIM; i++)
		p->x[i] = i % 2 ? 0x1p20f : 0x1.8p-140f;
	for (uint32_t k = 0; k < p->codes; k++)
		p->c[k * DIM + k % DIM] = k % 2 ? 0x1.8p-140f : 0x1p20f;
}

stk_status
stk_kernel_probe(const stk_kernel *kernel, stk_error *err)
{
	static const struct
	{
		void (*set)(probe *p);
		const char *name;
		bool binary32; /* needs operands that bfloat16 has not got */
	} probes[] = {{rounding, "rounding to nearest", false},
				  {offset, "adding the offset", false},
				  {cancelling, "sums that cancel", false},
				  {small, "products near the smallest numbers", false},
				  {whole, "operands of 24 bits", true},
				  {subnormal, "subnormal operands", true}};
	probe p;
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = STK_OK;

	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]) && status == STK_OK; i++)
	{
		if (probes[i].binary32 && kernel->arithmetic != STK_ARITHMETIC_BINARY32)
			continue;
		memset(&p, 0, sizeof(p));
		p.codes = kernel->panel;
		probes[i].set(&p);
		if (!holds(kernel, &p))
			status =
				stk_fail(err, STK_EINVAL, "%s: %s came out wrong", kernel->name, probes[i].name);
	}
	stk_fpenv_leave(env);
	return status;
}
