/*
 * More than fits elsewhere: 10^8 random rows encoded by the fastest kernels and by the reference
 * alone, which core checks on a part of them; and calls on more than 2^31 numbers at once.
 *
 *   make cuda-test here; test/cuda/bin/test_large [RUNS] where there is a device of 40 GB
 *
 * RUNS 0 does nothing: it is not for compute-sanitizer. Rows are made on the device.
 */
#include "core/evaluate.h"
#include "core/kmeans.h"
#include "core/philox.h"
#include "kmeans.h"
#include "random_rows.h"
#include "statistics.h"
#include "trainer.h"

#define ROWS 100000000
/* Rows that are on the device at a time, and of these those that core encodes, too. */
#define PIECE 4000000
#define CHECKED 20000
/* Of the calls on more than 2^31 numbers. */
#define DIM 128
#define LONG ((size_t) 1 << 24 | 257)
#define SEED 20261122

static unsigned long long wrong_in_all;

static void
say(const char *what, unsigned long long compared, unsigned long long wrong)
{
	printf("%-6s %-58s %12llu compared, %llu wrong\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* Numbers first .. first + values - 1 of the device's, made here. */
static float *
rows_here(size_t values, uint64_t first)
{
	float *x = malloc(values * sizeof(float));

	for (size_t i = 0; i < values; i++)
	{
		uint64_t bits = stk_random(SEED, STK_RANDOM_INIT, 0, 0, first + i);
		int sum = (int) (bits & 0xffff) + (int) (bits >> 16 & 0xffff) +
				  (int) (bits >> 32 & 0xffff) + (int) (bits >> 48);

		x[i] = (float) (sum - 131072) * 0x1p-17f;
	}
	return x;
}

static stk_codebook
random_codebook(int dim, int levels, uint32_t size, stk_metric metric)
{
	size_t n = (size_t) 4 * levels * size;
	float *x = rows_here(n * (size_t) dim, (uint64_t) 1 << 60);
	stk_codebook cb = sampled_codebook(x, n, dim, levels, size, metric);

	free(x);
	return cb;
}

/* All rows by the chosen kernel and by the reference; some of each piece by core. */
static void
many_rows(int dim, int levels, uint32_t size, stk_metric metric)
{
	stk_codebook cb = random_codebook(dim, levels, size, metric);
	stk_device_codebook *d = device_codebook(&cb);
	stk_encode_call call = device_call(d, NULL, PIECE);
	stk_encode_call plain = call;
	size_t codes = (size_t) PIECE * (size_t) levels;
	size_t checked = (size_t) CHECKED * (size_t) levels;
	uint16_t *here = malloc(checked * sizeof(uint16_t));
	uint16_t *expected = malloc(checked * sizeof(uint16_t));
	unsigned long long *different = device_memory(sizeof(*different)), wrong;
	unsigned long long by_core = 0;
	stk_encode_failure failure;
	char what[96];

	plain.codes = device_memory(codes * sizeof(uint16_t));
	plain.stats = NULL;
	MUST_CUDA(cudaMemset(different, 0, sizeof(*different)));
	MUST_CUDA(cudaMemset(call.failure, 0xff, sizeof(*call.failure)));
	for (size_t first = 0; first < ROWS; first += PIECE)
	{
		/* Another part of each piece. */
		size_t at = first / PIECE * 160000 % (PIECE - CHECKED);
		stk_error err = {.level = -1};
		float *x;

		MUST_CUDA(random_rows((float *) (uintptr_t) call.x, (size_t) PIECE * (size_t) dim, SEED,
							  first * (uint64_t) dim));
		MUST_CUDA(cudaMemset(call.codes, 0xff, codes * sizeof(uint16_t)));
		MUST_CUDA(cudaMemset(plain.codes, 0xee, codes * sizeof(uint16_t)));
		device_launch(&call, CHOSEN);
		device_launch(&plain, PLAIN);
		MUST_CUDA(count_differences(call.codes, plain.codes, codes, different));
		MUST_CUDA(cudaMemcpy(here, plain.codes + at * (size_t) levels, checked * sizeof(uint16_t),
							 cudaMemcpyDeviceToHost));
		x = rows_here((size_t) CHECKED * (size_t) dim, (first + at) * (uint64_t) dim);
		must(core_encode(&cb, STK_FILTER_BEST, x, CHECKED, expected, &err) == STK_OK, "core",
			 err.message);
		for (size_t i = 0; i < checked; i++)
			by_core += here[i] != expected[i];
		free(x);
	}
	MUST_CUDA(cudaMemcpy(&wrong, different, sizeof(wrong), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(&failure, call.failure, sizeof(failure), cudaMemcpyDeviceToHost));
	wrong += failure != STK_ENCODE_NO_FAILURE;
	snprintf(what, sizeof(what), "%d rows of %d, %d x %u, %s: the reference kernel", ROWS, dim,
			 levels, size, stk_metric_name(metric));
	say(what, (unsigned long long) ROWS * (unsigned) levels, wrong);
	say("   the reference kernel by core, on a part", (unsigned long long) checked * (ROWS / PIECE),
		by_core);
	device_call_free(&call);
	MUST_CUDA(cudaFree(plain.codes));
	MUST_CUDA(cudaFree(different));
	stk_device_codebook_free(d);
	free(here);
	free(expected);
	free((void *) (uintptr_t) cb.codewords[0]);
}

/* One call on all rows against calls on parts of them, none of which is large. */
static void
encode_in_parts(const float *x, const stk_codebook *cb, stk_device_codebook *d, int kernel,
				uint16_t *all)
{
	stk_encode_call call = {.cb = d, .x = x, .n = LONG, .codes = all};
	size_t part = (size_t) 1 << 20, levels = (size_t) cb->levels;
	uint16_t *codes = device_memory(part * levels * sizeof(uint16_t));
	unsigned long long *different = device_memory(sizeof(*different)), wrong;
	stk_encode_failure failure;

	call.failure = device_memory(sizeof(*call.failure));
	MUST_CUDA(cudaMemset(call.failure, 0xff, sizeof(*call.failure)));
	MUST_CUDA(cudaMemset(different, 0, sizeof(*different)));
	MUST_CUDA(cudaMemset(all, 0xff, LONG * levels * sizeof(uint16_t)));
	device_launch(&call, kernel);
	for (size_t first = 0; first < LONG; first += part)
	{
		size_t n = LONG - first < part ? LONG - first : part;
		stk_encode_call some = {
			.cb = d, .x = x + first * DIM, .n = n, .codes = codes, .failure = call.failure};

		MUST_CUDA(cudaMemset(codes, 0xee, n * levels * sizeof(uint16_t)));
		device_launch(&some, PLAIN);
		MUST_CUDA(count_differences(all + first * levels, codes, n * levels, different));
	}
	MUST_CUDA(cudaMemcpy(&wrong, different, sizeof(wrong), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(&failure, call.failure, sizeof(failure), cudaMemcpyDeviceToHost));
	wrong += failure != STK_ENCODE_NO_FAILURE;
	say(kernel == PLAIN ? "2^31 numbers and more: encoded by the reference kernel"
						: "2^31 numbers and more: encoded",
		LONG * levels, wrong);
	MUST_CUDA(cudaFree(codes));
	MUST_CUDA(cudaFree(different));
	MUST_CUDA(cudaFree(call.failure));
}

/* Evaluation and k-means of all rows, by core and by the device. */
static void
sums_of_all(const float *x_there, const float *x, const stk_codebook *cb, stk_device_codebook *d,
			const uint16_t *codes_there)
{
	size_t levels = (size_t) cb->levels, columns = levels + 1;
	size_t chunks = (LONG + STK_SUM_CHUNK - 1) / STK_SUM_CHUNK;
	stk_exec exec = exec_of(NULL, LONG);
	uint16_t *codes = malloc(LONG * levels * sizeof(uint16_t));
	double *sums = malloc(chunks * columns * sizeof(double));
	stk_encode_failure failure = STK_ENCODE_NO_FAILURE;
	stk_evaluate_call call = {.cb = d,
							  .x = x_there,
							  .n = LONG,
							  .codes = codes_there,
							  .sums = device_memory(chunks * columns * sizeof(double)),
							  .failure = device_memory(sizeof(failure))};
	stk_error err = {.level = -1};
	stk_evaluator *ev;
	stk_evaluation r;
	unsigned long long wrong = 0;

	MUST_CUDA(
		cudaMemcpy(codes, codes_there, LONG * levels * sizeof(uint16_t), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemset(call.failure, 0xff, sizeof(failure)));
	must(stk_evaluate_launch(&call, 0, &err) == STK_OK, "evaluate", err.message);
	MUST_CUDA(
		cudaMemcpy(sums, call.sums, chunks * columns * sizeof(double), cudaMemcpyDeviceToHost));
	must(stk_evaluator_create(cb, &stk_malloc, &ev) == STK_OK, "evaluator", "");
	must(stk_evaluator_add(ev, &exec, x, codes, LONG, &err) == STK_OK, "evaluator", err.message);
	must(stk_evaluator_finish(ev, NULL, &r) == STK_OK, "evaluator", "");
	stk_evaluator_free(ev);
	for (size_t l = 0; l < levels; l++)
	{
		double sum = 0;

		for (size_t c = 0; c < chunks; c++)
			sum += sums[c * columns + l + 1];
		sum /= (double) LONG;
		wrong += memcmp(&sum, &r.level[l].mse, sizeof(sum)) != 0;
	}
	say("   evaluated", levels, wrong);
	MUST_CUDA(cudaFree(call.sums));
	MUST_CUDA(cudaFree(call.failure));
	free(codes);
	free(sums);
}

/* One of Lloyd's iterations by core and by the device: centroids, codes and scores. */
static void
step_of_all(const float *x_there, const float *x, const stk_codebook *cb)
{
	uint32_t size = cb->sizes[0];
	size_t values = (size_t) size * DIM, floats = LONG * DIM;
	stk_exec exec = exec_of(NULL, LONG);
	stk_kmeans km = {.dim = DIM,
					 .size = size,
					 .centroids = malloc(values * sizeof(float)),
					 .counts = calloc(size, sizeof(double))};
	stk_lloyd_call call = {.size = size};
	uint16_t *codes = malloc(LONG * sizeof(uint16_t)), *there = malloc(LONG * sizeof(uint16_t));
	double *scores = malloc(LONG * sizeof(double));
	float *centroids = malloc(values * sizeof(float));
	stk_device_kmeans *k;
	stk_kmeans_work w;
	stk_error err = {.level = -1};
	unsigned long long wrong = 0;
	bool changed;
	double error;
	stk_status status;

	must(stk_device_kmeans_create(LONG, DIM, 0, &k, &err) == STK_OK, "rows", err.message);
	must(stk_lloyd_room(k, size, 0, &err) == STK_OK, "room", err.message);
	MUST_CUDA(cudaMemcpy(k->x, x_there, floats * sizeof(float), cudaMemcpyDeviceToDevice));
	MUST_CUDA(cudaMemcpy(k->pack->codewords, cb->codewords[0], values * sizeof(float),
						 cudaMemcpyHostToDevice));
	/* As trainings have it: the default stream would wait for the other one. */
	cudaStream_t stream;

	MUST_CUDA(cudaStreamCreate(&stream));
	status = stk_norms_launch(k->x, LONG, DIM, k->norms, stream, &err);
	if (status == STK_OK)
		status = stk_lloyd_begin_launch(k, &call, stream, &err);
	if (status == STK_OK)
		status = stk_lloyd_steps_launch(k, &call, 0, 1, stream, &err);
	must(status == STK_OK, "steps", err.message);
	MUST_CUDA(cudaStreamSynchronize(stream));
	MUST_CUDA(cudaMemcpy(there, k->codes, LONG * sizeof(uint16_t), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaMemcpy(scores, k->scores, LONG * sizeof(double), cudaMemcpyDeviceToHost));
	MUST_CUDA(
		cudaMemcpy(centroids, k->pack->codewords, values * sizeof(float), cudaMemcpyDeviceToHost));
	MUST_CUDA(cudaStreamDestroy(stream));
	stk_device_kmeans_free(k);

	memcpy(km.centroids, cb->codewords[0], values * sizeof(float));
	status = stk_kmeans_work_init(&w, LONG, DIM, size, &exec);
	if (status == STK_OK)
		status = stk_kmeans_measure(&w, x, LONG, DIM);
	if (status == STK_OK)
		status = stk_kmeans_assign(&km, &w, x, LONG, codes, &error);
	if (status == STK_OK)
		status = stk_kmeans_update(&km, &w, x, LONG, codes, &changed);
	if (status == STK_OK)
		status = stk_kmeans_assign(&km, &w, x, LONG, codes, &error);
	must(status == STK_OK, "core", "");
	for (size_t i = 0; i < LONG; i++)
		wrong += codes[i] != there[i] || memcmp(&scores[i], &w.scores[i], sizeof(double)) != 0;
	for (size_t i = 0; i < values; i++)
		wrong += memcmp(&km.centroids[i], &centroids[i], sizeof(float)) != 0;
	say("   an iteration of k-means: codes, scores, centroids", 2 * LONG + values, wrong);
	stk_kmeans_work_free(&w);
	free(km.centroids);
	free(km.counts);
	free(codes);
	free(there);
	free(scores);
	free(centroids);
}

static void
long_calls(void)
{
	stk_codebook cb = random_codebook(DIM, 2, 256, STK_L2);
	stk_device_codebook *d = device_codebook(&cb);
	size_t floats = LONG * DIM;
	float *x = malloc(floats * sizeof(float));
	float *x_there = device_memory(floats * sizeof(float));
	uint16_t *codes = device_memory(LONG * 2 * sizeof(uint16_t));

	MUST_CUDA(random_rows(x_there, floats, SEED, 0));
	encode_in_parts(x_there, &cb, d, PLAIN, codes);
	encode_in_parts(x_there, &cb, d, CHOSEN, codes);
	MUST_CUDA(cudaMemcpy(x, x_there, floats * sizeof(float), cudaMemcpyDeviceToHost));
	sums_of_all(x_there, x, &cb, d, codes);
	step_of_all(x_there, x, &cb);
	MUST_CUDA(cudaFree(x_there));
	MUST_CUDA(cudaFree(codes));
	stk_device_codebook_free(d);
	free((void *) (uintptr_t) cb.codewords[0]);
	free(x);
}

int
main(int argc, char **argv)
{
	if (argc < 2 || atoi(argv[1]) > 0)
	{
		many_rows(128, 1, 256, STK_L2);
		many_rows(64, 3, 256, STK_COSINE);
		many_rows(96, 2, 500, STK_IP);
		long_calls();
	}
	printf("%s: %llu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
