/*
 * Does the tensor unit add as the certificate assumes (pack.cu)? Products and a sum so far whose
 * exact total is known, at all distances and places; what the unit makes of them may be off by
 * (b + 2) 2^-23 of the largest, b = 4, for each group of b products, and no more.
 */
#include "encode.h"
#include "mma.cuh"

#define CASES 4096

/* An element of a case's 16 products: 1, or a small one of either sign, by its number. */
static __host__ __device__ inline float
element(int test, int i)
{
	unsigned bits = (unsigned) test * 2654435761u + (unsigned) i * 40503u;
	float sign;

	bits ^= bits >> 15;
	bits *= 2246822519u;
	bits ^= bits >> 13;
	sign = bits & 1 ? -1.0f : 1.0f;
	/* One in four large; the rest some of the 30 octaves below it, down to subnormal numbers. */
	return (bits >> 1 & 3) == 0 ? sign : sign * 0x1p-24f * (float) (1 + (bits >> 3 & 0x3ff));
}

static __host__ __device__ inline float
so_far(int test)
{
	return test % 3 == 0 ? 0
						 : (test % 3 == 1 ? 1.0f : -1.0f) * (1 + (float) (test % 997) * 0x1p-20f);
}

/* A warp a case: row 0 times column 0, the others zeros. */
static __global__ void
probe(float *out)
{
#if __CUDA_ARCH__ >= 800
	int lane = threadIdx.x;
	float sums[4] = {lane == 0 ? so_far((int) blockIdx.x) : 0, 0, 0, 0};
	uint32_t a[4] = {};
	uint32_t b[2] = {};

	if (lane < 4)
	{
		for (int half = 0; half < 2; half++)
		{
			int i = 2 * lane + 8 * half;
			__half2 x =
				__floats2half2_rn(element((int) blockIdx.x, i), element((int) blockIdx.x, i + 1));
			__half2 one = __floats2half2_rn(1, 1);

			a[2 * half] = *(uint32_t *) &x;
			b[half] = *(uint32_t *) &one;
		}
	}
	multiply_add(sums, a, b[0], b[1]);
	if (lane == 0)
		out[blockIdx.x] = sums[0];
#else
	if (threadIdx.x == 0)
		out[blockIdx.x] = 0;
#endif
}

stk_status
stk_probe_tensor(cudaStream_t stream, bool *holds, stk_error *err)
{
	static const char doing[] = "probe the tensor unit";
	float *out = NULL;
	float got[CASES];
	int device = 0, major = 0;
	stk_status status = stk_cuda_status(cudaGetDevice(&device), doing, err);

	*holds = true;
	if (status == STK_OK)
		status = stk_cuda_status(
			cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), doing, err);
	if (status != STK_OK || major < 8)
		return status;
	status = stk_cuda_status(cudaMalloc(&out, sizeof(got)), doing, err);
	if (status != STK_OK)
		return status;
	probe<<<CASES, 32, 0, stream>>>(out);
	status = stk_cuda_status(cudaGetLastError(), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(
			cudaMemcpyAsync(got, out, sizeof(got), cudaMemcpyDeviceToHost, stream), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaStreamSynchronize(stream), doing, err);
	(void) cudaFree(out);
	for (int t = 0; t < CASES && status == STK_OK; t++)
	{
		double exact = so_far(t);
		double sizes = exact < 0 ? -exact : exact;
		double off;

		for (int i = 0; i < 16; i++)
		{
			double v = (double) __half2float(__float2half_rn(element(t, i)));

			exact += v;
			sizes += v < 0 ? -v : v;
		}
		off = (double) got[t] - exact;
		/* Written so that NaN fails. */
		if (!((off < 0 ? -off : off) <= 4 * 6 * 0x1p-23 * sizes))
			*holds = false;
	}
	return status;
}
