/*
 * Encoding with a beam on a device, timed with everything there and through the engine, beside the
 * processor's engine on all of this machine's cores.
 *
 *   test/cuda/bin/bench_beam
 *
 * The floor is the device's binary64 rate as its data sheet has it for an H200: 33.5 TFLOP/s.
 */
#include <time.h>

#include "bench.h"
#include "engine/plugin.h"

#define ROWS 65536
#define RATE 33.5e12
#define CALLS 3

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void
launch_once(void *arg, int i)
{
	(void) i;
	device_launch(arg, CHOSEN);
}

/* The best of a few calls of an engine, in seconds. */
static double
bench_engine(stk_engine *engine, const stk_exec *exec, const stk_codebook *cb, const float *x,
			 int beam, uint16_t *codes)
{
	stk_resident *resident;
	stk_error err = {.level = -1};
	double best = INFINITY;

	must(engine->ops->load(engine, exec, cb, true, &resident, &err) == STK_OK, "load", err.message);
	for (int i = 0; i < CALLS; i++)
	{
		double begin = now();

		must(engine->ops->encode(engine, exec, resident, x, ROWS, beam, codes, &err) == STK_OK,
			 "encode", err.message);
		best = now() - begin < best ? now() - begin : best;
	}
	engine->ops->unload(engine, resident);
	return best;
}

int
main(void)
{
	static const struct
	{
		int dim, beam;
	} settings[] = {{128, 5}, {384, 5}, {128, 16}, {384, 16}};
	stk_engine *cpu, *cuda;
	stk_crew *crew;
	stk_exec exec = *plain_exec();
	stk_error err = {.level = -1};
	char path[4096];
	uint64_t seed = 7;

	(void) bench_device();
	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	exec.pool = stk_crew_pool(crew, STK_URGENT);
	must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
	must(stk_engine_cpu_open(&stk_malloc, &cpu, &err) == STK_OK, "cpu", err.message);
	must(stk_plugin_open(path, &stk_malloc, cpu, "all", &cuda, &err) == STK_OK, path, err.message);
	printf("%d rows, 3 x 256 codes; engine cpu: %d cores, %s\n", ROWS, stk_crew_threads(crew),
		   cpu->device);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
	{
		int dim = settings[i].dim, beam = settings[i].beam;
		size_t values = ROWS * (size_t) dim;
		float *x = malloc(values * sizeof(float));
		uint16_t *expected = malloc(ROWS * 3 * sizeof(uint16_t));
		uint16_t *codes = malloc(ROWS * 3 * sizeof(uint16_t));
		double fma = (double) values * 256 * (1 + 2 * beam);
		stk_codebook cb;
		stk_device_codebook *d;
		stk_encode_call call;
		double there, through, beside;
		unsigned long wrong = 0;

		for (size_t v = 0; v < values; v++)
			x[v] = next_float(&seed) + next_float(&seed) + next_float(&seed) + next_float(&seed);
		cb = sampled_codebook(x, ROWS, dim, 3, 256, STK_L2);
		d = device_codebook(&cb);
		call = device_call(d, x, ROWS);
		call.beam = beam;
		beside = bench_engine(cpu, &exec, &cb, x, beam, expected);
		must(device_encode(&call, CHOSEN, codes, NULL, &err) == STK_OK, "encode", err.message);
		for (size_t c = 0; c < ROWS * 3; c++)
			wrong += codes[c] != expected[c];
		there = bench_measure(launch_once, &call);
		through = bench_engine(cuda, &exec, &cb, x, beam, codes);
		for (size_t c = 0; c < ROWS * 3; c++)
			wrong += codes[c] != expected[c];
		printf("dim %-4d beam %-3d on the device %8.3f ms (floor %7.3f, %4.1f %%), engine cuda "
			   "%8.3f ms, engine cpu %8.3f ms; %lu wrong\n",
			   dim, beam, there * 1e3, 2e3 * fma / RATE, 200 * fma / RATE / there, through * 1e3,
			   beside * 1e3, wrong);
		fflush(stdout);
		device_call_free(&call);
		stk_device_codebook_free(d);
		free((void *) (uintptr_t) cb.codewords[0]);
		free(x);
		free(expected);
		free(codes);
	}
	cuda->ops->close(cuda);
	cpu->ops->close(cpu);
	return 0;
}
