/*
 * A network's encoder on a device against core's: the same latent vectors, bit for bit, and the
 * same failures.
 *
 *   make cuda-test here; test/cuda/bin/test_network [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer; -1: few of
 * them, for its slower tools.
 */
#include "device.h"
#include "network.h"

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong)
{
	printf("%-6s %-60s %10zu compared %8lu wrong\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* A network of random numbers, here and there. */
typedef struct network
{
	stk_network here;
	stk_device_network there;
	float *floats;
	uint32_t latent;
	size_t widest;
} network;

static network
make_network(uint32_t inputs, const uint32_t *outs, int layers, stk_activation activation,
			 bool standardized, uint64_t *seed)
{
	network w = {.latent = outs[layers - 1], .widest = inputs};
	stk_error err = {.level = -1};
	uint64_t n;

	must(stk_network_shape(&w.here, inputs, activation, outs, layers, &inputs, 1, &err) == STK_OK,
		 "network", err.message);
	w.here.standardized = standardized;
	n = stk_network_floats(&w.here);
	w.floats = malloc(n * sizeof(float));
	fill(w.floats, n, 0.3f, seed);
	for (uint32_t i = 0; i < inputs && standardized; i++)
		w.floats[inputs + i] = 0.1f + fabsf(w.floats[inputs + i]);
	stk_network_attach(&w.here, w.floats);
	for (int l = 0; l < layers; l++)
		w.widest = outs[l] > w.widest ? outs[l] : w.widest;
	must(stk_device_network_create(&w.here, 0, &w.there, &err) == STK_OK, "network", err.message);
	return w;
}

static void
free_network(network *w)
{
	stk_device_network_free(&w->there);
	free(w->floats);
}

/* n rows there and, the first `core` of them, here: numbers that differ, and failures that do. */
static unsigned long
compare(const network *w, const float *x, size_t n, size_t core)
{
	size_t inputs = w->here.inputs;
	float *z = malloc(n * w->latent * sizeof(float));
	float *expected = malloc(core * w->latent * sizeof(float));
	float *there = device_memory(n * w->widest * sizeof(float));
	float *scratch = device_memory(n * w->widest * sizeof(float));
	unsigned long long *failed = device_memory(sizeof(*failed));
	unsigned long long failure;
	stk_error err = {.level = -1}, core_err = {.level = -1};
	stk_status status, core_status;
	unsigned long wrong = 0;

	MUST_CUDA(cudaMemcpy(there, x, n * inputs * sizeof(float), cudaMemcpyHostToDevice));
	MUST_CUDA(cudaMemset(scratch, 0xff, n * w->widest * sizeof(float)));
	MUST_CUDA(cudaMemset(failed, 0xff, sizeof(*failed)));
	must(stk_network_launch(&w->there, there, scratch, n, failed, 0, &err) == STK_OK, "launch",
		 err.message);
	MUST_CUDA(cudaMemcpy(&failure, failed, sizeof(failure), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(z, there, n * w->latent * sizeof(float), cudaMemcpyDeviceToHost));
	status = stk_encode_error(failure, 0, &err);
	core_status = stk_network_encode(&w->here, plain_exec(), x, core, expected, &core_err);
	wrong += status != core_status;
	if (core_status != STK_OK)
	{
		wrong += strcmp(err.message, core_err.message) != 0 || err.row != core_err.row;
		if (wrong)
			printf("       %s, row %zu; core: %s, row %zu\n", err.message, err.row,
				   core_err.message, core_err.row);
	}
	else
	{
		for (size_t i = 0; i < core * w->latent; i++)
			wrong += memcmp(&z[i], &expected[i], sizeof(float)) != 0;
	}
	MUST_CUDA(cudaFree(there));
	MUST_CUDA(cudaFree(scratch));
	MUST_CUDA(cudaFree(failed));
	free(z);
	free(expected);
	return wrong;
}

static void
test_small(int problems, uint64_t *seed)
{
	static const char *const names[] = {"ReLU", "GELU", "SiLU"};
	static const uint32_t widths[] = {1, 2, 3, 7, 8, 31, 32, 33, 64, 100, 127, 128, 129, 300};
	static const size_t rows[] = {1, 2, 15, 16, 17, 100};

	for (int a = 0; a < STK_ACTIVATIONS; a++)
	{
		unsigned long wrong = 0;
		size_t compared = 0;
		char what[96];

		for (int p = 0; p < problems; p++)
		{
			uint32_t inputs = widths[below(14, seed)];
			uint32_t outs[5];
			int layers = 1 + (int) below(5, seed);
			size_t n = rows[below(6, seed)];
			float *x = malloc(n * inputs * sizeof(float));
			network w;

			for (int l = 0; l < layers; l++)
				outs[l] = widths[below(14, seed)];
			w = make_network(inputs, outs, layers, (stk_activation) a, p % 2 == 0, seed);
			fill(x, n * inputs, p % 5 == 4 ? 30.0f : 1.0f, seed);
			wrong += compare(&w, x, n, n);
			compared += n * w.latent;
			free_network(&w);
			free(x);
		}
		snprintf(what, sizeof(what), "%s, odd shapes", names[a]);
		say(what, compared, wrong);
	}
}

/*
 * Rows that are not finite, standardized ones and layers that leave binary32's range: core's words.
 */
static void
test_failures(uint64_t *seed)
{
	static const uint32_t outs[] = {40, 33, 9};
	unsigned long wrong = 0;
	size_t compared = 0;

	for (int p = 0; p < 60; p++)
	{
		size_t n = 50, inputs = 37;
		network w = make_network((uint32_t) inputs, outs, 3, STK_RELU, p % 2 == 0, seed);
		float *x = malloc(n * inputs * sizeof(float));

		fill(x, n * inputs, 1, seed);
		/* The same row may fail in several ways, of which the first in core's order counts. */
		for (int bad = 0; bad < 2; bad++)
		{
			size_t row = below(n, seed);
			int kind = (int) below(4, seed);

			for (size_t i = 0; i < inputs && kind == 0; i++)
				x[row * inputs + i] = 3e38f * (i % 2 ? -1.0f : 1.0f);
			if (kind == 1)
				x[row * inputs + below(inputs, seed)] = NAN;
			if (kind == 2)
				x[row * inputs + below(inputs, seed)] = -INFINITY;
			for (size_t i = 0; i < inputs && kind == 3; i++)
				x[row * inputs + i] = 2e38f;
		}
		if (p % 3 == 0)
		{
			for (size_t i = 0; i < w.here.encoder[1].in * 3; i++)
				((float *) (uintptr_t) w.here.encoder[1].weight)[i] = 1e38f;
			stk_device_network_free(&w.there);
			must(stk_device_network_create(&w.here, 0, &w.there, NULL) == STK_OK, "network", "");
		}
		wrong += compare(&w, x, n, n);
		compared += n;
		free_network(&w);
		free(x);
	}
	say("rows that fail", compared, wrong);
}

/* Full size, again and again; core computes some of the rows, the device all the same way. */
static void
test_large(int runs, stk_activation activation, uint64_t *seed)
{
	static const uint32_t outs[] = {512, 512, 64};
	size_t n = 8000;
	network w = make_network(384, outs, 3, activation, true, seed);
	float *x = malloc(n * 384 * sizeof(float));
	unsigned long wrong = 0;

	fill(x, n * 384, 1, seed);
	for (int run = 0; run < runs; run++)
	{
		size_t first = below(n - 200, seed);

		wrong += compare(&w, x + first * 384, n - first, run == 0 ? n - first : 200);
	}
	say("384 -> 512 -> 512 -> 64", n * 64 + (size_t) (runs - 1) * 200 * 64, wrong);
	free_network(&w);
	free(x);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	uint64_t seed = 20261122;

	test_small(runs < 0 ? 2 : 30, &seed);
	if (runs >= 0)
		test_failures(&seed);
	for (int a = 0; a < STK_ACTIVATIONS && runs > 0; a++)
		test_large(runs, (stk_activation) a, &seed);
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
