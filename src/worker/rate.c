#include "worker/rate.h"

#include <time.h>

/* A usual shape: what a level of a codebook takes. */
#define CODES 256
#define DIM 256
#define ROWS 64
/* The best of as many as fit. */
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

stk_status
stk_rate_measure(const stk_shop *shop, double *rate)
{
	stk_exec exec = {.a = stk_malloc, .cpu = &shop->cpu};
	stk_codebook cb = {.metric = STK_L2, .levels = 1, .dim = DIM, .sizes = {CODES}};
	const stk_engine_ops *ops = shop->engine->ops;
	float *x = stk_alloc_array(&exec.a, CODES + ROWS, DIM * sizeof(float));
	stk_resident *resident = NULL;
	uint16_t codes[ROWS];
	stk_status status = STK_ENOMEM;
	double begin = seconds();
	double best = 1;

	if (x)
	{
		fill(x, (CODES + ROWS) * DIM);
		cb.codewords[0] = x;
		status = ops->load(shop->engine, &exec, &cb, false, &resident, NULL);
	}
	for (int i = 0; i < MAX_ROUNDS && status == STK_OK && seconds() - begin < MEASURE_SECONDS; i++)
	{
		double t = seconds();

		status = ops->encode(shop->engine, &exec, resident, x + (size_t) CODES * DIM, ROWS, 1,
							 codes, NULL);
		t = seconds() - t;
		best = t < best ? t : best;
	}
	if (resident)
		ops->unload(shop->engine, resident);
	stk_free(&exec.a, x);
	*rate = (double) CODES * DIM * ROWS / (best > 1e-9 ? best : 1e-9);
	return status;
}
