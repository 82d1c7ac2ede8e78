#include "kmeans_sampler.h"

#include <math.h>

stk_status
stk_sampler_init(stk_sampler *s, const stk_exec *exec, const float *x, const double *norms,
				 const double *weights, size_t n, size_t dim)
{
	const stk_allocator *a = &exec->a;

	*s = (stk_sampler){
		.exec = exec, .x = x, .norms = norms, .weights = weights, .n = n, .dim = dim, .scale = 1};
	s->distances = stk_alloc_array(a, n, sizeof(double));
	s->upto = stk_alloc_array(a, n, sizeof(uint64_t));
	s->scores = stk_alloc_array(a, n, sizeof(double));
	s->codes = stk_alloc_array(a, n, sizeof(uint16_t));
	if (!s->distances || !s->upto || !s->scores || !s->codes)
		return STK_ENOMEM;
	for (size_t i = 0; i < n; i++)
		s->distances[i] = 1;
	return STK_OK;
}

void
stk_sampler_free(stk_sampler *s)
{
	const stk_allocator *a = &s->exec->a;

	stk_free(a, s->distances);
	stk_free(a, s->upto);
	stk_free(a, s->scores);
	stk_free(a, s->codes);
}

void
stk_sampler_weigh(stk_sampler *s)
{
	double largest = 0;
	uint64_t sum = 0;
	int exponent;
	int count_bits = 0;

	for (size_t i = 0; i < s->n; i++)
	{
		double weighed = s->weights ? s->weights[i] * s->distances[i] : s->distances[i];

		if (weighed > largest)
			largest = weighed;
	}
	for (size_t i = s->n; i > 0; i >>= 1)
		count_bits++;
	frexp(largest, &exponent);
	s->scale = ldexp(1, 62 - count_bits - exponent);
	for (size_t i = 0; i < s->n; i++)
		s->upto[i] = sum += stk_sampler_share(s, i, s->distances[i]);
}

/* The nearest of centroids c [size][dim], by the accelerator; false when it does not say. */
static bool
nearest_there(stk_sampler *s, const float *c, uint32_t size, stk_status *status)
{
	const stk_accelerator_centroids centroids = {c, size, false};

	return s->work && stk_kmeans_nearest_there(s->work, &centroids, s->codes, s->scores, status);
}

/* The same by the processor. */
static stk_status
nearest_here(stk_sampler *s, const float *c, uint32_t size)
{
	stk_pack p;
	stk_status status = stk_pack_init(&p, s->exec, STK_FILTER_BEST, true, size, s->dim, false);

	if (status != STK_OK)
		return status;
	status = stk_pack_fill(&p, c, s->exec->monitor);
	if (status == STK_OK)
		status = stk_nearest_rows(s->exec, &p, s->x, s->n, s->codes, s->scores, NULL);
	stk_pack_free(&p);
	return status;
}

stk_status
stk_sampler_approach(stk_sampler *s, const float *c, uint32_t size, uint32_t *nearest,
					 uint32_t first)
{
	stk_status status;

	if (!nearest_there(s, c, size, &status))
		status = nearest_here(s, c, size);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < s->n; i++)
	{
		double d = stk_squared_distance(s->norms[i], s->scores[i]);

		if (first > 0 && !(d < s->distances[i]))
			continue;
		s->distances[i] = d;
		if (nearest)
			nearest[i] = first + s->codes[i];
	}
	return STK_OK;
}

size_t
stk_sampler_draw(const stk_sampler *s, uint64_t bits)
{
	uint64_t sum = stk_sampler_total(s);
	uint64_t target = stk_below(bits, sum);
	size_t low = 0;
	size_t high = s->n - 1;

	if (sum == 0)
		return (size_t) stk_below(bits, s->n);
	while (low < high)
	{
		size_t mid = low + (high - low) / 2;

		if (s->upto[mid] > target)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}
