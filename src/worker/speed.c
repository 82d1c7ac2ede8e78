#include "worker/speed.h"

#include <float.h>
#include <math.h>
#include <time.h>

#include "worker/faults.h"

/* A usual shape: what a level of a codebook takes. */
#define DIM 256
#define CODES 256
/* Rows of a small and a large call of the cores. */
#define FEW 64
#define MANY 2048
/* A call of the device that mostly travels, and one that mostly computes. */
#define TRAVEL_CODES 16
#define TRAVEL_ROWS 8192
#define HEAVY_CODES 4096
/* A beam, rows that keep a device busy with it, and twice as long ones. */
#define BEAM 16
#define BEAM_ROWS 2048
#define WIDE (2 * STK_BEAM_DIM)
/* The best of as many rounds as fit. */
#define MEASURE_SECONDS 5e-3
#define MAX_ROUNDS 100

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/*
 * Numbers in [-1, 1) without a pattern (splitmix64): the filter decides nearly all rows then, as it
 * does with real ones.
 */
static void
fill(float *x, size_t n)
{
	uint64_t state = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t z = (state += 0x9E3779B97F4A7C15);

		z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
		z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
		x[i] = (float) ((double) ((z ^ (z >> 31)) >> 40) * 0x1p-23 - 1);
	}
}

/* What all measurings share. */
typedef struct measuring
{
	const float *x; /* [TRAVEL_ROWS][DIM] */
	uint16_t *codes;
} measuring;

/*
 * Seconds that n rows of x, of dim numbers, take with the first `size` of them for codewords, of both of
 * two levels with a beam: the best of some rounds.
 */
static stk_status
measure_rows(const measuring *m, stk_engine *e, const stk_exec *exec, int dim, uint32_t size,
			 size_t n, int beam, double *best)
{
	stk_codebook cb = {
		.metric = STK_L2, .levels = beam > 1 ? 2 : 1, .dim = dim, .sizes = {size, size}};
	stk_resident *resident = NULL;
	double begin;
	stk_status status;

	cb.codewords[0] = cb.codewords[1] = m->x;
	status = e->ops->load(e, exec, &cb, beam > 1, &resident, NULL);
	/* The first round makes ready what the others find. */
	if (status == STK_OK)
		status = e->ops->encode(e, exec, resident, m->x, n, beam, m->codes, NULL);
	begin = seconds();
	*best = DBL_MAX;
	for (int i = 0;
		 status == STK_OK && (i == 0 || (i < MAX_ROUNDS && seconds() - begin < MEASURE_SECONDS));
		 i++)
	{
		double t = seconds();

		status = e->ops->encode(e, exec, resident, m->x, n, beam, m->codes, NULL);
		t = seconds() - t;
		*best = t < *best ? t : *best;
	}
	if (resident)
		e->ops->unload(e, resident);
	*best = *best > 1e-9 ? *best : 1e-9;
	return status;
}

static stk_status
measure(const measuring *m, stk_engine *e, const stk_exec *exec, uint32_t size, size_t n,
		double *best)
{
	return measure_rows(m, e, exec, DIM, size, n, 1, best);
}

static stk_status
measure_beam(const measuring *m, stk_engine *e, const stk_exec *exec, int dim, size_t n,
			 double *best)
{
	return measure_rows(m, e, exec, dim, CODES, n, BEAM, best);
}

static double
multiply_adds(size_t n, double codes)
{
	return (double) n * codes * DIM;
}

static stk_status
measure_cores(const measuring *m, const stk_shop *shop, const stk_pool *pool, stk_speeds *s)
{
	stk_exec one = {.a = stk_malloc, .cpu = &shop->cpu};
	stk_exec all = {.a = stk_malloc, .cpu = &shop->cpu, .pool = pool};
	double alone = 1, few = 1, many = 1;
	double beam = 1, wide = 1;
	stk_status status = measure(m, shop->cores, &one, CODES, FEW, &alone);

	if (status == STK_OK)
		status = measure(m, shop->cores, &all, CODES, FEW, &few);
	if (status == STK_OK)
		status = measure(m, shop->cores, &all, CODES, MANY, &many);
	/* Of no interest where there is no choice. */
	if (status == STK_OK && shop->device)
		status = measure_beam(m, shop->cores, &all, STK_BEAM_DIM, BEAM_ROWS, &beam);
	if (status == STK_OK && shop->device)
		status = measure_beam(m, shop->cores, &all, WIDE, BEAM_ROWS, &wide);
	s->rate = multiply_adds(FEW, CODES) / alone;
	s->cores.per_multiply_add = many / multiply_adds(MANY, CODES);
	s->cores.fixed = fmax(0, few - s->cores.per_multiply_add * multiply_adds(FEW, CODES));
	s->cores.per_byte = 0;
	/* Rows twice as long have twice the multiply-adds, and as many children. */
	s->cores.beam_multiply_add =
		fmax(0, wide - beam) / ((double) BEAM_ROWS * 2 * CODES * (WIDE - STK_BEAM_DIM));
	s->cores.per_child =
		fmax(0, beam - s->cores.fixed - fmax(0, wide - beam)) / ((double) BEAM_ROWS * BEAM * CODES);
	s->cores.per_number = s->cores.per_wide = s->cores.latency = 0;
	return status;
}

/* Of the children of n rows, in a measuring with a beam. */
static double
numbers(size_t n, int dim)
{
	return (double) n * BEAM * CODES * dim;
}

/* A device that fails at this is used no more, as with any other work. */
static void
measure_device(const measuring *m, const stk_shop *shop, const stk_pool *pool, stk_speed *s)
{
	stk_exec exec = {.a = stk_malloc, .cpu = &shop->cpu, .pool = pool};
	double bytes = (double) TRAVEL_ROWS * DIM * sizeof(float);
	double least, travel, heavy, one, beam, wide;

	*s = (stk_speed){.fixed = INFINITY};
	if (measure(m, shop->device, &exec, CODES, 1, &least) != STK_OK ||
		measure(m, shop->device, &exec, TRAVEL_CODES, TRAVEL_ROWS, &travel) != STK_OK ||
		measure(m, shop->device, &exec, HEAVY_CODES, TRAVEL_ROWS, &heavy) != STK_OK)
		return;
	s->fixed = least;
	s->per_byte = fmax(0, travel - least) / bytes;
	s->per_multiply_add =
		fmax(0, heavy - travel) / multiply_adds(TRAVEL_ROWS, HEAVY_CODES - TRAVEL_CODES);
	s->beam_multiply_add = s->per_multiply_add;
	s->per_child = s->per_number = s->per_wide = s->latency = 0;
	/* One without units for it takes no beam. */
	if (measure_beam(m, shop->device, &exec, STK_BEAM_DIM, 1, &one) != STK_OK ||
		measure_beam(m, shop->device, &exec, STK_BEAM_DIM, BEAM_ROWS, &beam) != STK_OK ||
		measure_beam(m, shop->device, &exec, WIDE, BEAM_ROWS, &wide) != STK_OK)
		return;
	s->latency = fmax(0, one - least) / numbers(1, STK_BEAM_DIM);
	s->per_number = fmax(0, beam - least) / numbers(BEAM_ROWS, STK_BEAM_DIM);
	s->per_wide = fmax(0, fmax(0, wide - least) / numbers(BEAM_ROWS, WIDE) - s->per_number) /
				  (WIDE - STK_BEAM_DIM);
}

stk_status
stk_speeds_measure(const stk_shop *shop, const stk_pool *pool, stk_speeds *s)
{
	float *x = stk_alloc_array(&stk_malloc, TRAVEL_ROWS, DIM * sizeof(float));
	uint16_t *codes = stk_alloc_array(&stk_malloc, TRAVEL_ROWS, 2 * sizeof(uint16_t));
	measuring m = {x, codes};
	stk_status status = STK_ENOMEM;

	s->device = (stk_speed){.fixed = INFINITY};
	if (x && codes)
	{
		fill(x, (size_t) (shop->device ? TRAVEL_ROWS : MANY) * DIM);
		status = measure_cores(&m, shop, pool, s);
		if (status == STK_OK && shop->device)
			measure_device(&m, shop, pool, &s->device);
	}
	stk_free(&stk_malloc, x);
	stk_free(&stk_malloc, codes);
	return status;
}

stk_work
stk_work_of_encoding(const stk_codebook *cb, double n, int beam)
{
	stk_work work = {.rows = n,
					 .dim = cb->dim,
					 .bytes = n * stk_codebook_inputs(cb) * sizeof(float),
					 .multiply_adds = n * stk_network_multiply_adds(&cb->network)};
	double prefixes = 1; /* that a level may keep */

	for (int l = 0; l < cb->levels; l++)
	{
		work.multiply_adds += n * cb->sizes[l] * cb->dim;
		if (l > 0 && beam > 1)
			work.children += n * fmin(prefixes, beam) * cb->sizes[l];
		prefixes *= cb->sizes[l];
	}
	return work;
}

static double
take(const stk_speed *s, const stk_work *w)
{
	double fixed = s->fixed + w->bytes * s->per_byte;
	double all = w->children * w->dim;
	double number = s->per_number + fmax(0, w->dim - STK_BEAM_DIM) * s->per_wide;

	if (w->children == 0)
		return fixed + w->multiply_adds * s->per_multiply_add;
	return fixed + w->multiply_adds * s->beam_multiply_add + w->children * s->per_child +
		   fmax(all * number, all / w->rows * s->latency);
}

bool
stk_speeds_choose_device(const stk_speeds *s, const stk_work *w)
{
	double alone = w->multiply_adds / s->rate;

	/* One thread does what is small, as much slower or faster with a beam as all of them are. */
	if (w->children > 0)
		alone *= (take(&s->cores, w) - s->cores.fixed) /
				 fmax(w->multiply_adds * s->cores.per_multiply_add, 1e-12);
	return STK_FAULT_FAST_DEVICE() || take(&s->device, w) < fmin(alone, take(&s->cores, w));
}

double
stk_speeds_threshold(const stk_speeds *s, double multiply_adds_a_byte)
{
	double work = 1;

	while (work < 1e15 &&
		   !stk_speeds_choose_device(
			   s, &(stk_work){.bytes = work / multiply_adds_a_byte, .multiply_adds = work}))
		work *= 1.05;
	return work < 1e15 ? work : INFINITY;
}
