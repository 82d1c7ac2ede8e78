/*
 * How much memory a training takes, before it begins: what the forecasts of methods (method.h) are
 * made of. Numbers are bytes, SIZE_MAX at overflow.
 */
#ifndef STK_FORECAST_H
#define STK_FORECAST_H

#include "train.h"

/* What allocations of no size to speak of come to, for each thread and for each level. */
#define STK_FORECAST_SPARE 65536

/* The plan's numbers in the form that is computed with. */
typedef struct stk_forecast
{
	const stk_train_plan *plan;
	size_t n;
	size_t heldout_n;
	size_t dim;
	size_t levels;
	size_t threads;
	size_t total;   /* codewords */
	size_t largest; /* of a level */
	size_t batch;   /* rows of one */
} stk_forecast;

static inline size_t
stk_plus(size_t a, size_t b)
{
	return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static inline size_t
stk_times(size_t a, size_t b)
{
	return b > 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

static inline size_t
stk_larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static inline size_t
stk_smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* `size` codewords packed for a filter. */
extern size_t stk_forecast_pack(const stk_forecast *f, size_t size);
/* All threads' scratch while rows are scored. */
extern size_t stk_forecast_tasks(const stk_forecast *f);
/* Choosing the initial centroids among n rows. */
extern size_t stk_forecast_start(const stk_forecast *f, size_t n);
/* Assigning the rows of a batch, and keeping what is learnt from it. */
extern size_t stk_forecast_assign(const stk_forecast *f);
/* Drawing batches, and a level's copy of one. */
extern size_t stk_forecast_batches(const stk_forecast *f);

#endif
