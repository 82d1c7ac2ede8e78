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
/* A beam, and rows that fill a device several times with it. */
#define BEAM 8
#define BEAM_ROWS 8192
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
 * Seconds that n rows of x take with the first `size` of them for codewords, of both of two levels with
 * a beam: the best of some rounds.
 */
static stk_status
measure(const measuring *m, stk_engine *e, const stk_exec *exec, uint32_t size, size_t n, int beam,
		double *best)
{
	stk_codebook cb = {
		.metric = STK_L2, .levels = beam > 1 ? 2 : 1, .dim = DIM, .sizes = {size, size}};
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

static double
multiply_adds(size_t n, double codes)
{
	return (double) n * codes * DIM;
}

/* What two levels take greedily. */
static double
take_two(const stk_speed *s, size_t n)
{
	return s->fixed + (double) n * DIM * sizeof(float) * s->per_byte +
		   2 * multiply_adds(n, CODES) * s->per_multiply_add;
}

static stk_status
measure_cores(const measuring *m, const stk_shop *shop, const stk_pool *pool, stk_speeds *s)
{
	stk_exec one = {.a = stk_malloc, .cpu = &shop->cpu};
	stk_exec all = {.a = stk_malloc, .cpu = &shop->cpu, .pool = pool};
	double alone = 1, few = 1, many = 1;
	double beam = 1;
	stk_status status = measure(m, shop->cores, &one, CODES, FEW, 1, &alone);

	if (status == STK_OK)
		status = measure(m, shop->cores, &all, CODES, FEW, 1, &few);
	if (status == STK_OK)
		status = measure(m, shop->cores, &all, CODES, MANY, 1, &many);
	/* Of no interest where there is no choice. */
	if (status == STK_OK && shop->device)
		status = measure(m, shop->cores, &all, CODES, MANY, BEAM, &beam);
	s->rate = multiply_adds(FEW, CODES) / alone;
	s->cores.per_multiply_add = many / multiply_adds(MANY, CODES);
	s->cores.fixed = fmax(0, few - s->cores.per_multiply_add * multiply_adds(FEW, CODES));
	s->cores.per_byte = 0;
	s->cores.beam_fixed = 0;
	s->cores.per_child = fmax(0, beam - take_two(&s->cores, MANY)) / ((double) MANY * BEAM * CODES);
	s->cores.per_child_number = 0;
	return status;
}

/* A device that fails at this is used no more, as with any other work. */
static void
measure_device(const measuring *m, const stk_shop *shop, const stk_pool *pool, stk_speed *s)
{
	stk_exec exec = {.a = stk_malloc, .cpu = &shop->cpu, .pool = pool};
	double bytes = (double) TRAVEL_ROWS * DIM * sizeof(float);
	double least, travel, heavy, one, beam;

	*s = (stk_speed){.fixed = INFINITY};
	if (measure(m, shop->device, &exec, CODES, 1, 1, &least) != STK_OK ||
		measure(m, shop->device, &exec, TRAVEL_CODES, TRAVEL_ROWS, 1, &travel) != STK_OK ||
		measure(m, shop->device, &exec, HEAVY_CODES, TRAVEL_ROWS, 1, &heavy) != STK_OK)
		return;
	s->fixed = least;
	s->per_byte = fmax(0, travel - least) / bytes;
	s->per_multiply_add =
		fmax(0, heavy - travel) / multiply_adds(TRAVEL_ROWS, HEAVY_CODES - TRAVEL_CODES);
	/* A device without units for it takes no beam. */
	s->beam_fixed = INFINITY;
	s->per_child = s->per_child_number = 0;
	if (measure(m, shop->device, &exec, CODES, 1, BEAM, &one) != STK_OK ||
		measure(m, shop->device, &exec, CODES, BEAM_ROWS, BEAM, &beam) != STK_OK)
		return;
	s->beam_fixed = fmax(0, one - take_two(s, 1));
	s->per_child_number = fmax(0, beam - s->beam_fixed - take_two(s, BEAM_ROWS)) /
						  ((double) BEAM_ROWS * BEAM * CODES * DIM);
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
	stk_work work = {.dim = cb->dim, .bytes = n * cb->dim * sizeof(float)};
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
	double beam = w->children > 0
					  ? s->beam_fixed + w->children * (s->per_child + w->dim * s->per_child_number)
					  : 0;

	return s->fixed + w->bytes * s->per_byte + w->multiply_adds * s->per_multiply_add + beam;
}

bool
stk_speeds_choose_device(const stk_speeds *s, const stk_work *w)
{
	double alone = w->multiply_adds / s->rate;

	/* One thread does what is small, and takes as much longer with a beam as all of them. */
	if (w->children > 0)
		alone *= take(&s->cores, w) /
				 take(&s->cores, &(stk_work){.bytes = w->bytes, .multiply_adds = w->multiply_adds});
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
