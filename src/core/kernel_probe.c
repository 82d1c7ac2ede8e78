/*
 * Does a unit compute as its bound assumes? Each probe scores one row against a few codewords whose
 * exact scores are known, and holds the difference against what rounding to nearest, and keeping
 * or flushing small numbers, may cost (bound.c). A unit that truncates, keeps fewer bits between
 * its operations or flushes where it should not fails one of them.
 */
#include <math.h>
#include <string.h>

#include "cpu.h"
#include "fpenv.h"
#include "pack.h"

#define DIM 64
#define CODES 16

/* Room for any kernel's panel and tile of DIM, and the scores of one panel. */
typedef struct probe
{
	_Alignas(STK_ALIGN) uint8_t panel[DIM * 64 * sizeof(float)];
	_Alignas(STK_ALIGN) uint8_t tile[(DIM + 64) * STK_MAX_TILE * sizeof(float)];
	_Alignas(STK_ALIGN) float scores[64];
	_Alignas(STK_ALIGN) float offsets[64];
	_Alignas(STK_ALIGN) float centre[DIM];
	float x[DIM];
	float c[CODES * DIM];
	double half[CODES];
} probe;

/* Score p->x against p->c as they are; false when a score is off by more than it may be. */
static bool
holds(const stk_kernel *kernel, probe *p)
{
	stk_pack pack = {.kernel = kernel,
					 .size = CODES,
					 .dim = DIM,
					 .codewords = p->c,
					 .half = p->half,
					 .panels = 1,
					 .centre = p->centre,
					 .packed = p->panel,
					 .offsets = p->offsets,
					 .usable = true};
	stk_bound_row bound;
	float best;
	double eta = kernel->arithmetic == STK_ARITHMETIC_BFLOAT16 ? 0x1p-126 : 0x1p-149;

	kernel->pack_panel(p->c, CODES, DIM, p->panel, p->c);
	kernel->pack_rows(&pack, p->x, 1, p->tile, &bound);
	kernel->score(&pack, p->tile, 1, 0, 1, p->scores, 64, &best);
	for (int k = 0; k < CODES; k++)
	{
		double exact = p->offsets[k];
		double length = fabs(exact);

		for (int i = 0; i < DIM; i++)
		{
			double product = (double) p->x[i] * (double) p->c[k * DIM + i];

			exact += product;
			length += fabs(product);
		}
		/* Written so that NaN fails. */
		if (!(fabs(p->scores[k] - exact) <= (DIM + 3) * 0x1p-24 * length + (DIM + 2) * eta))
			return false;
	}
	return true;
}

/*
 * One large product, then many of which each loses three quarters of a unit in the last place when
 * the unit truncates, and less than half of one when it rounds to nearest.
 */
static void
rounding(probe *p)
{
	for (int k = 0; k < CODES; k++)
	{
		float c = k % 2 ? -1.0f : 1.0f;

		for (int i = 0; i < DIM; i++)
			p->c[k * DIM + i] = i == k * 4 % DIM ? c : c * 0x1.8p-12f;
	}
	for (int i = 0; i < DIM; i++)
		p->x[i] = 0x1p-12f;
	for (int k = 0; k < CODES; k++)
		p->offsets[k] = k % 2 ? -1.0f : 1.0f;
}

/* Large products that cancel, and a small one between them: lost when intermediate bits are. */
static void
cancelling(probe *p)
{
	memset(p->x, 0, sizeof(p->x));
	memset(p->c, 0, sizeof(p->c));
	memset(p->offsets, 0, sizeof(p->offsets));
	for (int i = 0; i < DIM; i++)
		p->x[i] = 1;
	for (int k = 0; k < CODES; k++)
	{
		p->c[k * DIM + k] = 256;
		p->c[k * DIM + (k + 17) % DIM] = -256;
		p->c[k * DIM + (k + 34) % DIM] = 0x1p-15f;
	}
}

/* Products near the smallest numbers: kept, or flushed where the bound allows for it. */
static void
small(probe *p)
{
	memset(p->offsets, 0, sizeof(p->offsets));
	for (int i = 0; i < DIM; i++)
		p->x[i] = 0x1p-60f;
	for (int k = 0; k < CODES; k++)
	{
		for (int i = 0; i < DIM; i++)
			p->c[k * DIM + i] = ldexpf(i % 2 ? 1.25f : 1.5f, -60 - 2 * k);
	}
}

/* Small numbers themselves, against large ones. */
static void
subnormal(probe *p)
{
	memset(p->offsets, 0, sizeof(p->offsets));
	for (int i = 0; i < DIM; i++)
		p->x[i] = 0x1p-120f;
	for (int k = 0; k < CODES; k++)
	{
		for (int i = 0; i < DIM; i++)
			p->c[k * DIM + i] = ldexpf(1.5f, 10 + 4 * k);
	}
}

stk_status
stk_kernel_probe(const stk_kernel *kernel, stk_error *err)
{
	static const struct
	{
		void (*set)(probe *p);
		const char *name;
	} probes[] = {{rounding, "rounding to nearest"},
				  {cancelling, "sums that cancel"},
				  {small, "products near the smallest numbers"},
				  {subnormal, "small numbers times large ones"}};
	probe p;
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = STK_OK;

	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]) && status == STK_OK; i++)
	{
		memset(&p, 0, sizeof(p));
		probes[i].set(&p);
		if (!holds(kernel, &p))
			status =
				stk_fail(err, STK_EINVAL, "%s: %s came out wrong", kernel->name, probes[i].name);
	}
	stk_fpenv_leave(env);
	return status;
}
