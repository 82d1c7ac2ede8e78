#include "judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HELDOUT 20 /* one row of so many */
#define QUERIES 512
#define WIDTH 16 /* queries whose distances are computed together */
#define MOST LONG_LIST

/* Distances of a group of queries from all rows, and the nearest of them. */
typedef struct search
{
	const float *queries; /* [n][dim]; the i-th is row i, which is not its own neighbour */
	const float *rows;    /* [n_rows][dim] */
	size_t n;
	size_t n_rows;
	size_t dim;
	size_t keep;
	uint32_t *nearest; /* [n][keep] */
} search;

/* Insert a row among the nearest so far, which ascend. */
static void
keep_nearest(float *best, uint32_t *which, size_t keep, size_t *n, float d, uint32_t row)
{
	size_t at;

	if (*n == keep && d >= best[keep - 1])
		return;
	at = *n < keep ? (*n)++ : keep - 1;
	for (; at > 0 && d < best[at - 1]; at--)
	{
		best[at] = best[at - 1];
		which[at] = which[at - 1];
	}
	best[at] = d;
	which[at] = row;
}

static void
search_group(void *arg, size_t group, int thread)
{
	const search *s = arg;
	size_t first = group * WIDTH;
	size_t n = s->n - first < WIDTH ? s->n - first : WIDTH;
	float *turned = bench_alloc(s->dim * WIDTH, sizeof(float));
	float(*best)[MOST] = bench_alloc(WIDTH, sizeof(*best));
	size_t kept[WIDTH] = {0};

	(void) thread;
	memset(turned, 0, s->dim * WIDTH * sizeof(float));
	for (size_t q = 0; q < n; q++)
	{
		for (size_t i = 0; i < s->dim; i++)
			turned[i * WIDTH + q] = s->queries[(first + q) * s->dim + i];
	}
	for (size_t row = 0; row < s->n_rows; row++)
	{
		float distance[WIDTH] = {0};

		for (size_t i = 0; i < s->dim; i++)
		{
			float x = s->rows[row * s->dim + i];

			for (int q = 0; q < WIDTH; q++)
			{
				float d = turned[i * WIDTH + q] - x;

				distance[q] += d * d;
			}
		}
		for (size_t q = 0; q < n; q++)
		{
			if (row != first + q)
				keep_nearest(best[q], s->nearest + (first + q) * s->keep, s->keep, &kept[q],
							 distance[q], (uint32_t) row);
		}
	}
	free(turned);
	free(best);
}

static void
run_search(const stk_exec *exec, search *s)
{
	stk_run(exec->pool, search_group, s, (s->n + WIDTH - 1) / WIDTH);
}

/* splitmix64 */
static uint64_t
next_bits(uint64_t *state)
{
	uint64_t z = (*state += 0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	return z ^ (z >> 31);
}

quality_data
quality_data_load(const stk_exec *exec, const char *name, size_t max, uint64_t seed)
{
	quality_data data = {.all = bench_rows_load(name, max)};
	size_t bytes = data.all.dim * sizeof(float);
	float *spare = bench_alloc(data.all.dim, sizeof(float));
	search s;

	for (size_t i = data.all.n - 1; i > 0; i--)
	{
		size_t j = next_bits(&seed) % (i + 1);

		memcpy(spare, data.all.x + i * data.all.dim, bytes);
		memmove(data.all.x + i * data.all.dim, data.all.x + j * data.all.dim, bytes);
		memcpy(data.all.x + j * data.all.dim, spare, bytes);
	}
	free(spare);
	data.train_n = data.all.n - data.all.n / HELDOUT;
	data.queries = data.all.n < QUERIES ? data.all.n : QUERIES;
	data.nearest = bench_alloc(data.queries * NEIGHBOURS, sizeof(uint32_t));
	s = (search){data.all.x,   data.all.x, data.queries, data.all.n,
				 data.all.dim, NEIGHBOURS, data.nearest};
	run_search(exec, &s);
	return data;
}

void
quality_data_free(quality_data *data)
{
	bench_rows_free(&data->all);
	free(data->nearest);
}

/* Mean squared distance of rows from .. to - 1 from what their ids say. */
static double
mean_error(const quality_data *data, const float *again, size_t from, size_t to)
{
	size_t dim = data->all.dim;
	double sum = 0;

	for (size_t i = from * dim; i < to * dim; i++)
	{
		double d = (double) data->all.x[i] - (double) again[i];

		sum += d * d;
	}
	return sum / (double) (to - from);
}

static int
compare_ids(const void *x, const void *y, void *levels)
{
	return memcmp(x, y, *(const int *) levels * sizeof(uint16_t));
}

static double
share_unique(const uint16_t *codes, int levels, size_t n)
{
	size_t width = (size_t) levels;
	uint16_t *sorted = bench_alloc(n * width, sizeof(uint16_t));
	size_t distinct = 1;

	memcpy(sorted, codes, n * width * sizeof(uint16_t));
	qsort_r(sorted, n, width * sizeof(uint16_t), compare_ids, &levels);
	for (size_t i = 1; i < n; i++)
		distinct +=
			memcmp(sorted + i * width, sorted + (i - 1) * width, width * sizeof(uint16_t)) != 0;
	free(sorted);
	return (double) distinct / (double) n;
}

static double
mean_entropy(const uint16_t *codes, int levels, size_t n)
{
	size_t *count = bench_alloc(STK_MAX_CODES, sizeof(size_t));
	double sum = 0;

	for (int l = 0; l < levels; l++)
	{
		memset(count, 0, STK_MAX_CODES * sizeof(size_t));
		for (size_t i = 0; i < n; i++)
			count[codes[i * (size_t) levels + (size_t) l]]++;
		for (size_t k = 0; k < STK_MAX_CODES; k++)
		{
			double p = (double) count[k] / (double) n;

			sum -= count[k] ? p * log(p) : 0;
		}
	}
	free(count);
	return sum / levels;
}

/* Share of the true neighbours whose first codes are the query's. */
static double
share_alike(const quality_data *data, const uint16_t *codes, int levels, int first)
{
	size_t alike = 0;

	for (size_t i = 0; i < data->queries * NEIGHBOURS; i++)
		alike += memcmp(codes + i / NEIGHBOURS * (size_t) levels,
						codes + data->nearest[i] * (size_t) levels,
						(size_t) first * sizeof(uint16_t)) == 0;
	return (double) alike / (double) (data->queries * NEIGHBOURS);
}

/* Share of the true neighbours among the first `length` of lists [queries][MOST]. */
static double
share_listed(const quality_data *data, const uint32_t *lists, size_t length)
{
	size_t listed = 0;

	for (size_t i = 0; i < data->queries * NEIGHBOURS; i++)
	{
		const uint32_t *list = lists + i / NEIGHBOURS * MOST;

		for (size_t j = 0; j < length; j++)
			listed += list[j] == data->nearest[i];
	}
	return (double) listed / (double) (data->queries * NEIGHBOURS);
}

quality
quality_judge(const stk_exec *exec, const quality_data *data, const uint16_t *codes, int levels,
			  const float *again)
{
	uint32_t *lists = bench_alloc(data->queries * MOST, sizeof(uint32_t));
	search s = {data->all.x, again, data->queries, data->all.n, data->all.dim, MOST, lists};
	quality q = {.error = mean_error(data, again, data->train_n, data->all.n),
				 .fitted = mean_error(data, again, 0, data->train_n),
				 .unique = share_unique(codes, levels, data->all.n),
				 .entropy = mean_entropy(codes, levels, data->all.n),
				 .first = share_alike(data, codes, levels, 1),
				 .second = share_alike(data, codes, levels, 2)};

	run_search(exec, &s);
	q.listed[0] = share_listed(data, lists, SHORT_LIST);
	q.listed[1] = share_listed(data, lists, LONG_LIST);
	free(lists);
	return q;
}
