#include "pack.h"

#include <math.h>
#include <string.h>

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

/*
 * Binary32 numbers from the centre to the room behind it, where one panel's codewords lie while
 * they are packed, and two rows' worth more.
 */
static size_t
centre_room(const stk_pack *p)
{
	size_t line = STK_ALIGN / sizeof(float);

	return (p->dim + line - 1) / line * line;
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
	p->centre = take(p, 3, centre_room(p) + (2 + (size_t) p->kernel->panel) * dim, sizeof(float));
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

static double
dot_of(const stk_pack *p, const float *x, const float *y)
{
	double dot;

	p->cpu->reference->dots(x, &y, 1, p->dim, &dot);
	return dot;
}

/* The mean of the codewords, or zeros. STK_ECANCELED. */
static stk_status
set_centre(stk_pack *p, const stk_monitor *monitor)
{
	size_t look = stk_rows_a_look(p->dim);
	double *sum = (void *) (p->centre + centre_room(p));

	memset(sum, 0, p->dim * sizeof(double));
	for (uint32_t k = 0; k < p->size && p->centred; k++)
	{
		if (k % look == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		p->cpu->reference->add(sum, p->codewords + k * p->dim, p->dim);
	}
	for (size_t i = 0; i < p->dim; i++)
		p->centre[i] = (float) (sum[i] / p->size);
	p->bound.centre = sqrt(dot_of(p, p->centre, p->centre));
	return STK_OK;
}

static void
raise(double *largest, double value)
{
	if (value > *largest)
		*largest = value;
	else if (isnan(value))
		*largest = INFINITY;
}

/* Pack codewords first .. first + n - 1, one panel, and note how large things are. */
static void
fill_panel(stk_pack *p, uint32_t first, uint32_t n)
{
	const stk_reference *exact = p->cpu->reference;
	size_t dim = p->dim;
	float *row = p->centre + centre_room(p);
	float *packed = row + dim;
	uint8_t *panel = p->packed + first / p->kernel->panel * p->kernel->panel_bytes(dim);
	double centre = dot_of(p, p->centre, p->centre);
	const float *codewords[STK_MAX_PANEL];
	double dots[STK_MAX_PANEL];

	for (uint32_t j = 0; j < n; j++)
	{
		codewords[j] = p->codewords + (first + j) * dim;
		exact->subtract(codewords[j], p->centre, dim, packed + j * dim);
	}
	p->kernel->pack_panel(packed, n, dim, panel, packed);
	exact->dots(p->centre, codewords, n, dim, dots);
	for (uint32_t j = 0; j < n; j++)
	{
		const float *kept = packed + j * dim;
		double offset = dots[j] - centre - stk_pack_half(p, first + j);
		double length = sqrt(dot_of(p, kept, kept));
		double lost;

		/* What packing took away, exactly; then what the subtraction may have rounded away. */
		exact->subtract(codewords[j], p->centre, dim, row);
		exact->subtract(row, kept, dim, row);
		lost = sqrt(dot_of(p, row, row));
		if (p->centred)
			lost += 0x1p-24 * (length + lost);
		p->offsets[first + j] = (float) offset;
		raise(&p->bound.norm, sqrt(2 * p->half[first + j]));
		raise(&p->bound.half, stk_pack_half(p, first + j));
		raise(&p->bound.packed, length);
		raise(&p->bound.radius, length + lost);
		raise(&p->bound.rounding, lost);
		raise(&p->bound.offset, fabs(offset));
	}
}

stk_status
stk_pack_fill(stk_pack *p, const float *codewords, const stk_monitor *monitor)
{
	size_t look = stk_rows_a_look(p->dim);
	size_t panels_a_look;
	stk_status status;

	p->codewords = codewords;
	for (uint32_t k = 0; k < p->size; k++)
	{
		const float *c = codewords + k * p->dim;

		if (k % look == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		p->half[k] = 0.5 * dot_of(p, c, c);
	}
	if (!p->kernel)
		return STK_OK;

	p->bound = (stk_bound_codes){.dim = p->dim};
	status = set_centre(p, monitor);
	panels_a_look = look / p->kernel->panel + 1;
	for (uint32_t i = 0; i < p->panels && status == STK_OK; i++)
	{
		uint32_t first = i * p->kernel->panel;

		if (i % panels_a_look == 0 && stk_should_stop(monitor))
			status = STK_ECANCELED;
		else
			fill_panel(p, first,
					   p->size - first < p->kernel->panel ? p->size - first : p->kernel->panel);
	}
	for (size_t k = p->size; k < (size_t) p->panels * p->kernel->panel; k++)
		p->offsets[k] = -INFINITY;
	return status;
}
