/*
 * The engines as semtokd uses them, from ordinary memory: the cores, the device, and what
 * semtok.device = auto chooses between them by speeds measured beforehand, for calls of all sizes.
 * Beside that how fast this machine copies to the device at all.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cuda_runtime_api.h>

#include "device.h"
#include "engine/crew.h"
#include "engine/plugin.h"
#include "worker/speed.h"

#define MOST_BYTES ((size_t) 512 << 20)

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* GB/s of copies from pinned memory. */
static double
copy_rate(void)
{
	size_t bytes = (size_t) 64 << 20;
	void *here = NULL, *there = NULL;
	double best = 1e9;

	must(cudaMallocHost(&here, bytes) == cudaSuccess && cudaMalloc(&there, bytes) == cudaSuccess,
		 "copy", "no memory");
	memset(here, 1, bytes);
	for (int i = 0; i < 5; i++)
	{
		double begin = now();

		cudaMemcpy(there, here, bytes, cudaMemcpyHostToDevice);
		cudaDeviceSynchronize();
		best = fmin(best, now() - begin);
	}
	cudaFreeHost(here);
	cudaFree(there);
	return (double) bytes / best * 1e-9;
}

/* Seconds of a call, the best of several. */
static double
time_encode(stk_engine *e, const stk_exec *exec, const stk_resident *r, const float *x, size_t n,
			int beam, uint16_t *codes)
{
	double best = 1e9, begin = now();

	for (int i = 0; i < 2 || (i < 50 && now() - begin < 0.1); i++)
	{
		stk_error err = {.level = -1};
		double t = now();

		must(e->ops->encode(e, exec, r, x, n, beam, codes, &err) == STK_OK, "encode", err.message);
		best = fmin(best, now() - t);
	}
	return best;
}

static void
compare(stk_engine *const engines[2], const stk_speeds *speeds, const stk_exec *exec,
		const float *x, int dim, int levels, uint32_t size, int beam, double rate)
{
	size_t most = MOST_BYTES / ((size_t) dim * sizeof(float)) / (beam > 1 ? 8 : 1);
	stk_codebook cb = {.metric = STK_L2, .levels = levels, .dim = dim};
	uint16_t *codes[2];
	stk_resident *r[2];

	for (int l = 0; l < levels; l++)
	{
		cb.sizes[l] = size;
		cb.codewords[l] = x + (size_t) l * size * (size_t) dim;
	}
	for (int e = 0; e < 2; e++)
	{
		codes[e] = malloc(most * (size_t) levels * sizeof(uint16_t));
		must(engines[e]->ops->load(engines[e], exec, &cb, beam > 1, &r[e], NULL) == STK_OK, "load",
			 "");
	}
	for (size_t n = 1; n <= most; n = n < most && n * 8 > most ? most : n * 8)
	{
		double bytes = (double) n * dim * sizeof(float);
		stk_work work = stk_work_of_encoding(&cb, (double) n, beam);
		double cores = time_encode(engines[0], exec, r[0], x, n, beam, codes[0]);
		double device = time_encode(engines[1], exec, r[1], x, n, beam, codes[1]);
		bool chosen = stk_speeds_choose_device(speeds, &work);
		double better = fmin(cores, device);

		printf("%8zu x %4d, %d x %4u, beam %2d  cores %9.3f ms  device %9.3f ms (copying alone "
			   "%8.3f)  auto: "
			   "%-6s %+5.0f %%  codes %s\n",
			   n, dim, levels, size, beam, cores * 1e3, device * 1e3, bytes / rate * 1e-6,
			   chosen ? "device" : "cores", ((chosen ? device : cores) / better - 1) * 100,
			   memcmp(codes[0], codes[1], n * (size_t) levels * sizeof(uint16_t)) ? "DIFFER"
																				  : "equal");
	}
	for (int e = 0; e < 2; e++)
	{
		engines[e]->ops->unload(engines[e], r[e]);
		free(codes[e]);
	}
}

int
main(void)
{
	stk_shop shop = {.cores = NULL};
	stk_speeds speeds;
	stk_crew *crew;
	stk_error err = {.level = -1};
	char path[4096];
	float *x = malloc(MOST_BYTES);
	uint64_t seed = 7;
	double rate = copy_rate(), begin;

	for (size_t i = 0; i < MOST_BYTES / sizeof(float); i++)
	{
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		x[i] = (float) ((double) (seed >> 40) * 0x1p-23 - 1);
	}
	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	must(stk_cpu_choose(STK_SIMD_AUTO, &shop.cpu, &err) == STK_OK, "cpu", err.message);
	must(stk_engine_cpu_open(&stk_malloc, &shop.cores, &err) == STK_OK, "cpu", err.message);
	must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
	begin = now();
	must(stk_plugin_open(path, &stk_malloc, shop.cores, "all", &shop.device, &err) == STK_OK, path,
		 err.message);
	printf("%s beside %s, %d threads; opened in %.0f ms\n", shop.device->device, shop.cores->device,
		   stk_crew_threads(crew), (now() - begin) * 1e3);
	begin = now();
	must(stk_speeds_measure(&shop, stk_crew_pool(crew, STK_URGENT), &speeds) == STK_OK, "measure",
		 "");
	printf("measured in %.0f ms: cores %.1f us + %.3g s a 10^12 multiply-adds; device %.1f us + "
		   "%.1f GB/s + %.3g s a 10^12; copies alone %.1f GB/s; a beam's children: cores %.3g s a "
		   "10^9, device %.3g s a 10^12 numbers, %.3g s where rows are long\n",
		   (now() - begin) * 1e3, speeds.cores.fixed * 1e6, speeds.cores.per_multiply_add * 1e12,
		   speeds.device.fixed * 1e6, 1e-9 / speeds.device.per_byte,
		   speeds.device.per_multiply_add * 1e12, rate, speeds.cores.per_child * 1e9,
		   speeds.device.per_number * 1e12,
		   (speeds.device.per_number + speeds.device.per_wide * STK_BEAM_DIM) * 1e12);

	stk_engine *engines[2] = {shop.cores, shop.device};
	stk_exec exec = {.a = stk_malloc, .cpu = &shop.cpu, .pool = stk_crew_pool(crew, STK_URGENT)};

	compare(engines, &speeds, &exec, x, 128, 3, 256, 1, rate);
	compare(engines, &speeds, &exec, x, 384, 3, 256, 1, rate);
	compare(engines, &speeds, &exec, x, 64, 1, 1024, 1, rate);
	compare(engines, &speeds, &exec, x, 128, 3, 256, 5, rate);
	compare(engines, &speeds, &exec, x, 384, 3, 256, 16, rate);
	compare(engines, &speeds, &exec, x, 768, 3, 256, 10, rate);
	return 0;
}
