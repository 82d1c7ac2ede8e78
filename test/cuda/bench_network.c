/*
 * Latent vectors of embeddings that lie on the device, by the reference: what encoding with a
 * network takes beside encoding.
 *
 *   test/cuda/bin/bench_network
 *
 * Each figure is the median of launches over rows that take turns. Core's own, on all cores, beside
 * it; the bits are compared.
 */
#include "bench.h"
#include "network.h"

#define ROWS 65536

typedef struct problem
{
	const stk_device_network *net;
	float *x;       /* [ROWS][512] there, as the embeddings come */
	float *z;       /* the rows of a call */
	float *scratch; /* [n][512] */
	unsigned long long *failure;
	size_t n;
} problem;

static void
network_once(void *arg, int i)
{
	problem *p = arg;
	stk_error err = {.level = -1};
	size_t first = (size_t) i * p->n % (ROWS - p->n + 1);

	MUST_CUDA(cudaMemcpyAsync(p->z, p->x + first * 384, p->n * 384 * sizeof(float),
							  cudaMemcpyDeviceToDevice, 0));
	must(stk_network_launch(p->net, p->z, p->scratch, p->n, p->failure, 0, &err) == STK_OK,
		 "launch", err.message);
}

int
main(void)
{
	static const uint32_t outs[] = {512, 512, 64}, inputs = 384;
	static const size_t rows[] = {1, 64, 1024, 8192, ROWS};
	stk_network net;
	stk_device_network there;
	stk_crew *crew;
	stk_exec exec = *plain_exec();
	stk_error err = {.level = -1};
	float *floats, *x = malloc(ROWS * (size_t) inputs * sizeof(float));
	float *z = malloc(ROWS * sizeof(float) * 64), *expected = malloc(ROWS * sizeof(float) * 64);
	problem p = {.net = &there};
	uint64_t seed = 3;

	(void) bench_device();
	must(stk_network_shape(&net, inputs, STK_RELU, outs, 3, &inputs, 1, &err) == STK_OK, "network",
		 err.message);
	net.standardized = false;
	floats = malloc(stk_network_floats(&net) * sizeof(float));
	fill(floats, stk_network_floats(&net), 0.1f, &seed);
	stk_network_attach(&net, floats);
	fill(x, ROWS * (size_t) inputs, 1, &seed);
	must(stk_device_network_create(&net, 0, &there, &err) == STK_OK, "network", err.message);
	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	exec.pool = stk_crew_pool(crew, STK_URGENT);
	p.x = device_memory(ROWS * (size_t) inputs * sizeof(float));
	p.z = device_memory(ROWS * sizeof(float) * 512);
	p.scratch = device_memory(ROWS * sizeof(float) * 512);
	p.failure = device_memory(sizeof(*p.failure));
	MUST_CUDA(cudaMemcpy(p.x, x, ROWS * (size_t) inputs * sizeof(float), cudaMemcpyHostToDevice));
	printf("384 -> 512 -> 512 -> 64\n    rows        ms  Tfma/s    %ld cores ms  latent vectors\n",
		   sysconf(_SC_NPROCESSORS_ONLN));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		double took, begin;

		p.n = rows[i];
		took = bench_measure(network_once, &p);
		network_once(&p, 0);
		MUST_CUDA(cudaMemcpy(z, p.z, p.n * 64 * sizeof(float), cudaMemcpyDeviceToHost));
		begin = bench_now();
		must(stk_network_encode(&net, &exec, x, p.n, expected, &err) == STK_OK, "core",
			 err.message);
		printf("%8zu  %8.4f  %6.2f  %12.3f  %s\n", p.n, took * 1e3,
			   (double) p.n * (384 * 512 + 512 * 512 + 512 * 64) / took * 1e-12,
			   (bench_now() - begin) * 1e3,
			   memcmp(z, expected, p.n * 64 * sizeof(float)) ? "DIFFER" : "equal");
		fflush(stdout);
	}
	return 0;
}
