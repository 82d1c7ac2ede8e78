/*
 * RecTokens' quantization grid on a device: rows {32 .. 65,536} x dimensions {64, 128, 256} x
 * codewords {64 .. 512}, 84 cells, rows, codewords and codes on the device.
 *
 *   test/cuda/bin/bench_grid [KERNEL...]     bench/gpu/run runs it beside the rivals
 *
 * Of each cell a line: rows, dim, codewords, the time of a call in microseconds, codes that differ
 * from brute force on the processor, and a sum over these, by which rivals see that they have the
 * same rows. KERNEL: a number of device.h's, 128, -1, 32004, instead of the one chosen: their times
 * say which shapes each should get.
 *
 * A time is a graph's of CALLS calls over inputs that take turns, divided by their number: what the
 * device needs, whoever calls. The second-level cache is filled with something else before. Median
 * of REPLAYS. bench/gpu/rivals.py times the same way and makes the same numbers.
 */
#include "device.h"

#define POOL ((size_t) 1 << 26)
#define CALLS 16
#define REPLAYS 15
#define FLUSHED ((size_t) 256 << 20)

static float *pool_there;
static void *flushed;
static cudaStream_t stream;

/* Number i of a sequence: nearly normal, the sum of four uniform ones, exact in binary32. */
static float
number(uint64_t sequence, uint64_t i)
{
	uint64_t state = (sequence << 40) + i * 0x9E3779B97F4A7C15;
	uint64_t bits = next_bits(&state);
	int sum = 0;

	for (int j = 0; j < 64; j += 16)
		sum += (int) (bits >> j & 0xffff);
	return (float) (sum - 131070) * 0x1p-15f;
}

static int
by_value(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return (x > y) - (x < y);
}

/* One call's time in microseconds. */
static double
measure(const stk_encode_call *call, int kernel)
{
	size_t values = call->n * (size_t) call->cb->dim;
	cudaGraph_t graph;
	cudaGraphExec_t run;
	cudaEvent_t begin, end;
	float ms[REPLAYS];

	MUST_CUDA(cudaEventCreate(&begin));
	MUST_CUDA(cudaEventCreate(&end));
	MUST_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
	for (size_t i = 0; i < CALLS; i++)
	{
		stk_encode_call own = *call;

		own.stats = NULL;
		own.x = pool_there + i % (POOL / values) * values;
		device_launch_on(&own, kernel, stream);
	}
	MUST_CUDA(cudaStreamEndCapture(stream, &graph));
	MUST_CUDA(cudaGraphInstantiate(&run, graph, 0));
	for (int i = -2; i < REPLAYS; i++)
	{
		MUST_CUDA(cudaMemsetAsync(flushed, i, FLUSHED, stream));
		MUST_CUDA(cudaEventRecord(begin, stream));
		MUST_CUDA(cudaGraphLaunch(run, stream));
		MUST_CUDA(cudaEventRecord(end, stream));
		MUST_CUDA(cudaStreamSynchronize(stream));
		if (i >= 0)
			MUST_CUDA(cudaEventElapsedTime(&ms[i], begin, end));
	}
	MUST_CUDA(cudaGraphExecDestroy(run));
	MUST_CUDA(cudaGraphDestroy(graph));
	MUST_CUDA(cudaEventDestroy(begin));
	MUST_CUDA(cudaEventDestroy(end));
	qsort(ms, REPLAYS, sizeof(ms[0]), by_value);
	return ms[REPLAYS / 2] * 1e3 / CALLS;
}

static void
cell(const float *x, float *codewords, size_t n, int dim, uint32_t size, const int *kernels,
	 int nkernels)
{
	stk_codebook cb = {.metric = STK_L2, .levels = 1, .dim = dim, .sizes = {size}};
	uint16_t *expected = malloc(n * sizeof(uint16_t));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	stk_error err = {.level = -1};
	stk_encode_stats stats;
	stk_device_codebook *d;
	stk_encode_call call;
	uint32_t sum = 0;

	for (size_t i = 0; i < size * (size_t) dim; i++)
		codewords[i] = number(1, i);
	cb.codewords[0] = codewords;
	d = device_codebook(&cb);
	call = device_call(d, x, n);
	must(core_encode(&cb, STK_FILTER_NONE, x, n, expected, &err) == STK_OK, "core", err.message);
	for (size_t i = 0; i < n; i++)
		sum += (uint32_t) (i + 1) * expected[i];
	printf("%zu,%d,%u", n, dim, size);
	for (int k = 0; k < nkernels; k++)
	{
		unsigned long wrong = 0;

		must(device_encode(&call, kernels[k], codes, &stats, &err) == STK_OK, "encode",
			 err.message);
		for (size_t i = 0; i < n; i++)
			wrong += codes[i] != expected[i];
		printf(",%.2f,%lu", measure(&call, kernels[k]), wrong);
	}
	printf(",%u\n", sum);
	fflush(stdout);
	device_call_free(&call);
	stk_device_codebook_free(d);
	free(expected);
	free(codes);
}

int
main(int argc, char **argv)
{
	static const size_t rows[] = {32, 256, 1024, 4096, 16384, 32768, 65536};
	static const int dims[] = {64, 128, 256};
	static const uint32_t sizes[] = {64, 128, 256, 512};
	int kernels[32] = {CHOSEN};
	float *x = malloc(POOL * sizeof(float));
	float *codewords = malloc(512 * 256 * sizeof(float));

	for (int i = 1; i < argc && i < 32; i++)
		kernels[i - 1] = atoi(argv[i]);
	MUST_CUDA(cudaStreamCreate(&stream));
	pool_there = device_memory(POOL * sizeof(float));
	flushed = device_memory(FLUSHED);
	for (size_t i = 0; i < POOL; i++)
		x[i] = number(0, i);
	MUST_CUDA(cudaMemcpy(pool_there, x, POOL * sizeof(float), cudaMemcpyHostToDevice));
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
		for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
			for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
				cell(x, codewords, rows[r], dims[d], sizes[k], kernels, argc > 1 ? argc - 1 : 1);
	return 0;
}
