/*
 * The update of a codebook by moving averages: rows grouped by code, their sums, and one kernel's
 * end for everything else: averages, codewords, idle codes and their restart.
 *
 * Bytes: rows once, 4 n dim; codes twice; of each code with rows its sums twice, 16 dim, and its
 * codeword, 4 dim. Operations: n dim additions in binary64. Bound: memory, and the launches where
 * rows are few.
 */
#include "ema.cuh"
#include "members.cuh"

struct ema_finish
{
	stk_ema e;
	stk_ema_rule rule;
	stk_members_view m;
	const float *x;
	size_t n;
	stk_update_failure *failure;
	double count_before; /* N of the code that `ahead` was about */

	/* Is this row finite? If not, it may be the first. By one thread. */
	__device__ void
	check_row(uint32_t row) const
	{
		for (size_t i = 0; i < e.dim; i++)
		{
			if (!isfinite(x[row * e.dim + i]))
			{
				atomicMin(failure, (stk_update_failure) row);
				return;
			}
		}
	}

	__device__ void
	ahead(uint32_t k)
	{
		count_before = e.counts[k];
		fetch_ahead(e.sums + k * e.dim, e.dim);
		if (rule.unit)
			fetch_ahead(e.codewords + k * e.dim, e.dim);
	}

	__device__ void
	sum(uint32_t k, uint32_t rows, double *sum) const
	{
		bool finite = true;

		for (size_t i = threadIdx.x; i < e.dim; i += blockDim.x)
			finite &= isfinite(sum[i]) != 0;
		if (!__syncthreads_and(finite))
		{
			for (uint32_t j = threadIdx.x; j < rows; j += blockDim.x)
				check_row(m.rows[m.first[k] + j]);
			return;
		}
		ema_blend(e, rule, k, rows, count_before, sum);
	}

	/* A code that no row chose: one batch more, or a random row of this one. */
	__device__ void
	none(uint32_t k) const
	{
		const float *row;
		bool finite = true;

		if (!ema_idle(e, rule, k))
			return;
		row = x + ema_restart_row(rule, k, n) * e.dim;
		for (size_t i = threadIdx.x; i < e.dim; i += blockDim.x)
			finite &= isfinite(row[i]) != 0;
		if (!__syncthreads_and(finite))
		{
			if (threadIdx.x == 0)
				atomicMin(failure, (stk_update_failure) ((size_t) (row - x) / e.dim));
			return;
		}
		ema_restart(e, k, row);
	}
};

stk_status
stk_ema_launch(const stk_ema_call *call, cudaStream_t stream, stk_error *err)
{
	ema_finish finish = {call->e,       call->rule, call->members->view, call->x, call->n,
						 call->failure, 0};
	stk_status status =
		stk_members_group_launch(call->members, call->codes, 1, call->n, stream, err);

	if (status != STK_OK)
		return status;
	return sum_members_launch(call->members, call->x, call->n, finish, stream, err);
}
