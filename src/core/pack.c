#include "pack.h"

#include <math.h>
#include <string.h>

#include "dot.h"

/* Shorter rows gain nothing from bfloat16: deciding them costs more than scoring. */
#define BFLOAT16_DIM 16

static const stk_kernel *
choose_kernel(const stk_cpu *cpu, stk_filter filter, size_t dim)
{
	switch (filter)
	{
		case STK_FILTER_NONE:
			return NULL;
		case STK_FILTER_BINARY32:
			return cpu->binary32;
		case STK_FILTER_BFLOAT16:
			return cpu->bfloat16 ? cpu->bfloat16 : cpu->binary32;
		case STK_FILTER_BEST:
			break;
	}
	return cpu->bfloat16 && dim >= BFLOAT16_DIM ? cpu->bfloat16 : cpu->binary32;
}

static void *
take(stk_pack *p, int place, size_t n, size_t size)
{
	size_t spare = (STK_ALIGN + size - 1) / size;

	p->memory[place] = stk_alloc_array(&p->a, n + spare, size);
	p->bytes += (n + spare) * size;
	return p->memory[place] ? stk_align(p->memory[place]) : NULL;
}

stk_status
stk_pack_init(stk_pack *p, const stk_exec *exec, stk_filter filter, bool centred, uint32_t size,
			  size_t dim, bool inner_product)
{
	memset(p, 0, sizeof(*p));
	p->cpu = exec->cpu;
	p->kernel = choose_kernel(exec->cpu, filter, dim);
	p->size = size;
	p->dim = dim;
	p->inner_product = inner_product;
	p->centred = centred;
	p->a = exec->a;
	p->half = take(p, 0, size, sizeof(double));
	if (!p->half)
		return STK_ENOMEM;
	if (!p->kernel)
		return STK_OK;

	p->panels = (size + p->kernel->panel - 1) / p->kernel->panel;
	p->packed = take(p, 1, p->panels, p->kernel->panel_bytes(dim));
	p->offsets = take(p, 2, (size_t) p->panels * p->kernel->panel, sizeof(float));
	/* The centre, then room for one panel's codewords while they are packed. */
	p->centre = take(p, 3, 1 + (size_t) p->kernel->panel, dim * sizeof(float));
	if (p->packed && p->offsets && p->centre)
		return STK_OK;
	stk_pack_free(p);
	return STK_ENOMEM;
}

void
stk_pack_free(stk_pack *p)
{
	for (int i = 0; i < 4; i++)
	{
		stk_free(&p->a, p->memory[i]);
		p->memory[i] = NULL;
	}
}

/* The mean of the codewords, or zeros. */
static void
set_centre(stk_pack *p, const float *codewords)
{
	double sum_of_squares = 0;

	for (size_t i = 0; i < p->dim; i++)
	{
		double sum = 0;

		for (uint32_t k = 0; k < p->size && p->centred; k++)
			sum += codewords[k * p->dim + i];
		p->centre[i] = (float) (sum / p->size);
		sum_of_squares += (double) p->centre[i] * (double) p->centre[i];
	}
	p->bound.centre = sqrt(sum_of_squares);
}

static void
raise(double *largest, double value)
{
	/* Written so that NaN is kept. */
	if (!(value <= *largest))
		*largest = value;
}

/* Pack codewords first .. first + n - 1, one panel, and note how large things are. */
static void
fill_panel(stk_pack *p, uint32_t first, uint32_t n)
{
	size_t dim = p->dim;
	float *packed = p->centre + dim;
	uint32_t panel = first / p->kernel->panel;

	for (uint32_t j = 0; j < n; j++)
	{
		const float *c = p->codewords + (first + j) * dim;

		for (size_t i = 0; i < dim; i++)
			packed[j * dim + i] = c[i] - p->centre[i];
	}
	p->kernel->pack_panel(packed, n, dim, p->packed + panel * p->kernel->panel_bytes(dim), packed);
	for (uint32_t j = 0; j < n; j++)
	{
		const float *c = p->codewords + (first + j) * dim;
		double radius = 0, rounding = 0, length = 0, offset = -stk_pack_half(p, first + j);

		for (size_t i = 0; i < dim; i++)
		{
			double moved = (double) c[i] - (double) p->centre[i];
			double lost = moved - (double) packed[j * dim + i];

			radius += moved * moved;
			rounding += lost * lost;
			length += (double) packed[j * dim + i] * (double) packed[j * dim + i];
			offset += moved * (double) p->centre[i];
		}
		p->offsets[first + j] = (float) offset;
		raise(&p->bound.norm, sqrt(2 * p->half[first + j]));
		raise(&p->bound.half, stk_pack_half(p, first + j));
		raise(&p->bound.packed, sqrt(length));
		raise(&p->bound.radius, sqrt(radius));
		raise(&p->bound.rounding, sqrt(rounding) + 0x1p-52 * sqrt(radius));
		raise(&p->bound.offset, fabs(offset));
	}
}

void
stk_pack_fill(stk_pack *p, const float *codewords)
{
	p->codewords = codewords;
	for (uint32_t k = 0; k < p->size; k++)
	{
		const float *c = codewords + k * p->dim;

		p->half[k] = 0.5 * stk_dot(c, c, p->dim);
	}
	if (!p->kernel)
		return;

	p->bound = (stk_bound_codes){.dim = p->dim};
	set_centre(p, codewords);
	for (uint32_t k = 0; k < p->size; k += p->kernel->panel)
		fill_panel(p, k, p->size - k < p->kernel->panel ? p->size - k : p->kernel->panel);
	for (size_t k = p->size; k < (size_t) p->panels * p->kernel->panel; k++)
		p->offsets[k] = -INFINITY;
}
