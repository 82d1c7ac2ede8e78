#include "least.h"

#include <math.h>

/* The k-th least (from 0) of x [n], which is put into another order. Hoare's quickselect. */
static double
select_least(double *x, size_t n, size_t k)
{
	size_t lo = 0;
	size_t hi = n - 1;

	while (lo < hi)
	{
		double pivot = x[lo + (hi - lo) / 2];
		size_t i = lo;
		size_t j = hi;

		for (;;)
		{
			double moved;

			while (x[i] < pivot)
				i++;
			while (x[j] > pivot)
				j--;
			if (i >= j)
				break;
			moved = x[i];
			x[i++] = x[j];
			x[j--] = moved;
		}
		if (k <= j)
			hi = j;
		else
			lo = j + 1;
	}
	return x[k];
}

void
least_keep(const double *rank, size_t n, size_t m, double *scratch, double *cost)
{
	size_t live = 0;
	size_t ties = m;
	double last;

	for (size_t i = 0; i < n; i++)
		if (cost[i] < INFINITY)
			scratch[live++] = rank[i];
	if (live <= m)
		return;
	last = select_least(scratch, live, m - 1);
	for (size_t i = 0; i < n; i++)
		ties -= cost[i] < INFINITY && rank[i] < last;
	for (size_t i = 0; i < n; i++)
	{
		if (!(cost[i] < INFINITY) || rank[i] < last)
			continue;
		if (rank[i] == last && ties > 0)
			ties--;
		else
			cost[i] = INFINITY;
	}
}
