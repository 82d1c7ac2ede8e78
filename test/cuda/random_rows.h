/*
 * Rows made and codes compared on the device, for tests of more of them than fit elsewhere.
 */
#ifndef TEST_CUDA_RANDOM_ROWS_H
#define TEST_CUDA_RANDOM_ROWS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

	/*
	 * Fill x [values]: number i is made of the random bits (core's philox.h: an initial draw of
	 * level and step 0) of this seed and index first + i, their four 16-bit parts added up, less
	 * 131,072, divided by 2^17: about normal, and never rounded. Does not wait.
	 */
	extern cudaError_t random_rows(float *x, size_t values, uint64_t seed, uint64_t first);

	/* How many of n codes differ, added to *different on the device. Does not wait. */
	extern cudaError_t count_differences(const uint16_t *a, const uint16_t *b, size_t n,
										 unsigned long long *different);

#ifdef __cplusplus
}
#endif

#endif
