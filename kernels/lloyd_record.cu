/*
 * An assignment of Lloyd's iterations put on record: the sum of its squared distances, codes that
 * no row chose, and whether the run is over. One block.
 *
 * Bytes: 8 for each chunk of rows, 4 a code. Bound: additions one after the other, about 5 ns for
 * each chunk of 256 rows.
 */
#include "kmeans.h"

#define THREADS 1024

static __global__ void
__launch_bounds__(THREADS)
	record(const uint32_t *__restrict__ first, uint32_t size, const double *__restrict__ errors,
		   size_t chunks, int odd, stk_lloyd_state *state)
{
	__shared__ double some[THREADS];
	uint32_t over = state->over;
	uint32_t empty = 0;
	double error = 0;

	if (over)
		return;
	for (uint32_t k = threadIdx.x; k - threadIdx.x < size; k += THREADS)
		empty += (uint32_t) __syncthreads_count(k < size && first[k] == first[k + 1]);
	for (size_t c = 0; c < chunks; c += THREADS)
	{
		size_t left = chunks - c;

		if (threadIdx.x < left)
			some[threadIdx.x] = errors[c + threadIdx.x];
		__syncthreads();
		if (threadIdx.x == 0)
		{
			int count = left < THREADS ? (int) left : THREADS;

#pragma unroll 8
			for (int i = 0; i < count; i++)
				error = __dadd_rn(error, some[i]);
		}
		__syncthreads();
	}
	if (threadIdx.x > 0)
		return;
	state->records[state->number % STK_LLOYD_RECORDS] = {error, empty, state->changed[odd]};
	state->over =
		(state->number > 0 && state->changed[odd] == 0) || (state->until_empty && empty > 0);
	state->number++;
	state->changed[odd] = 0;
}

stk_status
stk_lloyd_record_launch(const stk_device_members *members, const double *errors, size_t n, bool odd,
						stk_lloyd_state *state, cudaStream_t stream, stk_error *err)
{
	record<<<1, THREADS, 0, stream>>>(members->view.first, members->view.size, errors,
									  (n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK, odd, state);
	return stk_cuda_status(cudaGetLastError(), "keep a record on the device", err);
}
