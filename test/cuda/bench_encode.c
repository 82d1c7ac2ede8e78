/*
 * Encoding on a device, timed with rows, codewords and codes on the device.
 *
 *   test/cuda/bin/bench_encode                  the settings below, and the engine
 *   test/cuda/bin/bench_encode N DIM LEVELS K   one problem, by the kernel that is chosen, alone
 *
 * Each figure is the median of RUNS launches, over inputs that together are larger than the
 * second-level cache, beside the time that the device's copy of the same call would take to move
 * the bytes that must move: rows in, codes out. Codes are compared with core's.
 */
#include <time.h>

#include "device.h"
#include "engine/plugin.h"

#define RUNS 40
#define WARM 5
/* Numbers of all inputs together. */
#define NUMBERS ((size_t) 1000000 * 128)

static double copy_rate; /* bytes a second, read and written */

static int
by_value(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return (x > y) - (x < y);
}

typedef struct timed
{
	stk_encode_call call;
	int kernel;
	size_t inputs; /* that take turns */
	void *from, *to;
	size_t bytes;
} timed;

static void
encode_once(const timed *t, int i)
{
	stk_encode_call call = t->call;

	call.x += (size_t) i % t->inputs * call.n * (size_t) call.cb->dim;
	call.stats = NULL;
	device_launch(&call, t->kernel);
}

static void
copy_once(const timed *t, int i)
{
	(void) i;
	MUST_CUDA(cudaMemcpyAsync(t->to, t->from, t->bytes, cudaMemcpyDeviceToDevice, 0));
}

/* Median of RUNS, in seconds. */
static double
measure(void (*once)(const timed *t, int i), const timed *t)
{
	cudaEvent_t begin, end;
	float ms[RUNS];

	MUST_CUDA(cudaEventCreate(&begin));
	MUST_CUDA(cudaEventCreate(&end));
	for (int i = 0; i < WARM + RUNS; i++)
	{
		MUST_CUDA(cudaEventRecord(begin, 0));
		once(t, i);
		MUST_CUDA(cudaEventRecord(end, 0));
		MUST_CUDA(cudaEventSynchronize(end));
		if (i >= WARM)
			MUST_CUDA(cudaEventElapsedTime(&ms[i - WARM], begin, end));
	}
	MUST_CUDA(cudaEventDestroy(begin));
	MUST_CUDA(cudaEventDestroy(end));
	qsort(ms, RUNS, sizeof(ms[0]), by_value);
	return ms[RUNS / 2] * 1e-3;
}

/* alone: not by other kernels, for whoever looks at the one. */
static void
bench(const float *x, float *x_there, size_t n, int dim, int levels, uint32_t size, bool alone)
{
	static const int kernels[] = {CHOSEN, 128, 64, 32};
	stk_codebook cb = sampled_codebook(x, NUMBERS / (size_t) dim, dim, levels, size, STK_L2);
	stk_device_codebook *d = device_codebook(&cb);
	size_t ncodes = n * (size_t) levels;
	uint16_t *expected = malloc(ncodes * sizeof(uint16_t));
	uint16_t *codes = malloc(ncodes * sizeof(uint16_t));
	stk_error err = {.level = -1};
	double floor_s = ((double) n * dim * 4 + (double) ncodes * 2) / copy_rate;
	timed t = {.call = device_call(d, NULL, n)};
	float *own = (float *) (uintptr_t) t.call.x;
	stk_encode_stats stats;
	unsigned long wrong = 0;

	t.call.x = x_there;
	t.inputs = NUMBERS / (n * (size_t) dim);
	must(core_encode(&cb, STK_FILTER_BEST, x, n, expected, &err) == STK_OK, "core", err.message);
	must(device_encode(&t.call, CHOSEN, codes, &stats, &err) == STK_OK, "encode", err.message);
	for (size_t i = 0; i < ncodes; i++)
		wrong += codes[i] != expected[i];
	printf("%8zu x %-4d %d x %-5u", n, dim, levels, size);
	for (size_t k = 0; k < (alone ? 1 : sizeof(kernels) / sizeof(kernels[0])); k++)
	{
		double s;

		t.kernel = kernels[k];
		s = measure(encode_once, &t);
		if (k == 0)
			printf(
				" %8.4f ms  floor %7.4f  %5.1f %%  %7.1f TFLOP/s  %6.3f %% %6.3f %%  %lu wrong |",
				s * 1e3, floor_s * 1e3, 100 * floor_s / s,
				2e-12 * (double) n * dim * levels * size / s,
				100.0 * (double) stats.undecided / (double) ncodes,
				100.0 * (double) stats.reference / (double) ncodes, wrong);
		else
			printf(" %8.4f", s * 1e3);
	}
	printf("\n");
	fflush(stdout);
	t.call.x = own;
	device_call_free(&t.call);
	stk_device_codebook_free(d);
	free(expected);
	free(codes);
	free((void *) (uintptr_t) cb.codewords[0]);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* Rows and codes in ordinary memory, through the engine; beside the processor's engine. */
static void
bench_engine(const float *x, size_t n, int dim, int levels, uint32_t size)
{
	stk_codebook cb = sampled_codebook(x, n, dim, levels, size, STK_L2);
	uint16_t *codes[2];
	stk_engine *engines[2];
	stk_crew *crew;
	stk_exec exec = *plain_exec();
	stk_error err = {.level = -1};
	char path[4096];
	double best[2] = {1e9, 1e9};

	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	exec.pool = stk_crew_pool(crew, STK_URGENT);
	must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
	must(stk_engine_cpu_open(&stk_malloc, &engines[0], &err) == STK_OK, "cpu", err.message);
	must(stk_plugin_open(path, &stk_malloc, engines[0], "all", &engines[1], &err) == STK_OK, path,
		 err.message);
	for (int e = 0; e < 2; e++)
	{
		stk_resident *resident;

		codes[e] = malloc(n * (size_t) levels * sizeof(uint16_t));
		must(engines[e]->ops->load(engines[e], &exec, &cb, false, &resident, &err) == STK_OK,
			 "load", err.message);
		for (int i = 0; i < 5; i++)
		{
			double begin = now();

			must(engines[e]->ops->encode(engines[e], &exec, resident, x, n, 1, codes[e], &err) ==
					 STK_OK,
				 "encode", err.message);
			if (now() - begin < best[e])
				best[e] = now() - begin;
		}
		engines[e]->ops->unload(engines[e], resident);
	}
	printf(
		"host-resident, best of 5: %zu x %d, %d x %u: engine cuda %.2f ms (%.1f Mrows/s), engine "
		"cpu on %d cores (%s) %.2f ms; codes %s\n",
		n, dim, levels, size, best[1] * 1e3, (double) n / best[1] * 1e-6, stk_crew_threads(crew),
		engines[0]->device, best[0] * 1e3,
		memcmp(codes[0], codes[1], n * (size_t) levels * sizeof(uint16_t)) ? "DIFFER" : "equal");
}

int
main(int argc, char **argv)
{
	static const struct
	{
		size_t n;
		int dim, levels;
		uint32_t size;
	} settings[] = {{1000000, 128, 1, 256}, {1000000, 128, 3, 256}, {65536, 64, 1, 256},
					{65536, 128, 1, 256},   {65536, 256, 1, 512},   {65536, 384, 1, 256},
					{65536, 768, 1, 512},   {65536, 768, 3, 256},   {65536, 64, 1, 4096},
					{1024, 128, 1, 256},    {1024, 256, 1, 512},    {32, 128, 1, 256}};
	struct cudaDeviceProp device;
	int driver = 0;
	uint64_t seed = 7;
	float *x = malloc(NUMBERS * sizeof(float));
	float *x_there = device_memory(NUMBERS * sizeof(float));
	timed copy = {.bytes = (size_t) 1 << 31};

	MUST_CUDA(cudaGetDeviceProperties(&device, 0));
	MUST_CUDA(cudaDriverGetVersion(&driver));
	for (size_t i = 0; i < NUMBERS; i++)
		x[i] = next_float(&seed) + next_float(&seed) + next_float(&seed) + next_float(&seed);
	MUST_CUDA(cudaMemcpy(x_there, x, NUMBERS * sizeof(float), cudaMemcpyHostToDevice));
	copy.from = device_memory(copy.bytes);
	copy.to = device_memory(copy.bytes);
	MUST_CUDA(cudaMemset(copy.from, 0x5a, copy.bytes));
	copy_rate = 2.0 * (double) copy.bytes / measure(copy_once, &copy);
	printf("%s, driver for CUDA %d.%d; copy on the device: %.2f TB/s, read and written\n",
		   device.name, driver / 1000, driver % 1000 / 10, copy_rate * 1e-12);
	printf("rows x dim   levels x codes; time, floor by memory, share; undecided, reference; codes "
		   "wrong | ms by tiles of 128, 64, 32 rows\n");
	if (argc == 5)
	{
		bench(x, x_there, (size_t) atol(argv[1]), atoi(argv[2]), atoi(argv[3]),
			  (uint32_t) atol(argv[4]), true);
		return 0;
	}
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		bench(x, x_there, settings[i].n, settings[i].dim, settings[i].levels, settings[i].size,
			  false);
	bench_engine(x, 1000000, 128, 3, 256);
	bench_engine(x, 100000, 768, 3, 256);
	return 0;
}
