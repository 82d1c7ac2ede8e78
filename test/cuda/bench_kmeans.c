/*
 * k-means on a device: a whole run of Lloyd's iterations with everything on the device, and the
 * steps that it is made of.
 *
 *   test/cuda/bin/bench_kmeans [first]
 *
 * "run" is the time from centroids that are there to the last assignment, all iterations, by a
 * graph as trainings launch it; the parts are timed one by one, on the codes of a finished run. The
 * floor of an iteration is the larger of the bytes of its rows, twice, at this device's copy rate,
 * and of its multiply-adds at 600 TFLOP/s. After the first run the centroids are compared with
 * core's.
 */
#include <time.h>

#include "bench.h"
#include "core/rqkmeans.h"
#include "kmeans.h"
#include "train_cuda.h"

/* Steps of a graph, as trainings have it. */
#define STEPS 4

typedef struct problem
{
	stk_device_kmeans *k;
	stk_lloyd_call call;
	float *start;          /* [size][dim] on the device */
	cudaGraphExec_t steps; /* STEPS of them */
	cudaStream_t stream;
	int iterations;
	int part;
} problem;

static void
check(stk_status status, const stk_error *err)
{
	must(status == STK_OK, "launch", err->message);
}

/* A whole run, on its own stream; the default stream waits for it. */
static void
run_once(void *arg, int i)
{
	problem *p = arg;
	stk_error err = {.level = -1};

	(void) i;
	MUST_CUDA(cudaMemcpyAsync(p->k->pack->codewords, p->start,
							  p->call.size * p->k->dim * sizeof(float), cudaMemcpyDeviceToDevice,
							  p->stream));
	check(stk_lloyd_begin_launch(p->k, &p->call, p->stream, &err), &err);
	for (int s = 0; s + STEPS <= p->iterations; s += STEPS)
		MUST_CUDA(cudaGraphLaunch(p->steps, p->stream));
	check(stk_lloyd_steps_launch(p->k, &p->call, p->iterations / STEPS * STEPS,
								 p->iterations % STEPS, p->stream, &err),
		  &err);
}

/* One part of an iteration. */
static void
part_once(void *arg, int i)
{
	problem *p = arg;
	stk_device_kmeans *k = p->k;
	stk_error err = {.level = -1};
	stk_encode_call encode = {
		.cb = &k->pack->codebook, .x = k->x, .n = k->n, .codes = k->codes, .failure = k->failure};
	stk_scores_call scores = {.dim = k->dim,
							  .codewords = k->pack->codewords,
							  .half = k->pack->half,
							  .x = k->x,
							  .n = k->n,
							  .codes = k->codes,
							  .norms = k->norms,
							  .scores = k->scores,
							  .errors = k->errors};
	stk_means_call means = {.members = k->members,
							.x = k->x,
							.n = k->n,
							.centroids = k->pack->codewords,
							.counts = k->counts,
							.changed = k->state->changed,
							.pack = k->pack};

	(void) i;
	switch (p->part)
	{
		case 0:
			check(stk_encode_launch(&encode, p->stream, &err), &err);
			break;
		case 1:
			check(stk_scores_launch(&scores, p->stream, &err), &err);
			break;
		case 2:
			check(stk_members_group_launch(k->members, k->codes, 1, k->n, p->stream, &err), &err);
			break;
		case 3:
			check(stk_lloyd_record_launch(k->members, k->errors, k->n, false, k->state, p->stream,
										  &err),
				  &err);
			break;
		case 4:
			check(stk_means_launch(&means, p->stream, &err), &err);
			break;
		default:
			MUST_CUDA(cudaGraphLaunch(p->steps, p->stream));
			break;
	}
}

/* Core's centroids after the run; how many numbers differ from the device's. */
static size_t
differ(const problem *p, const float *x, const float *start)
{
	size_t floats = p->call.size * p->k->dim;
	float *there = malloc(floats * sizeof(float));
	float *here = malloc(floats * sizeof(float));
	double *counts = calloc(p->call.size, sizeof(double));
	uint16_t *codes = malloc(p->k->n * sizeof(uint16_t));
	stk_kmeans km = {.dim = p->k->dim, .size = p->call.size, .centroids = here, .counts = counts};
	stk_exec exec = *plain_exec();
	stk_crew *crew;
	stk_kmeans_work w;
	stk_status status;
	bool changed = true;
	double error;
	size_t wrong = 0;

	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	exec.pool = stk_crew_pool(crew, STK_URGENT);
	memcpy(here, start, floats * sizeof(float));
	status = stk_kmeans_work_init(&w, p->k->n, p->k->dim, p->call.size, &exec);
	if (status == STK_OK)
		status = stk_kmeans_measure(&w, x, p->k->n, p->k->dim);
	if (status == STK_OK)
		status = stk_kmeans_assign(&km, &w, x, p->k->n, codes, &error);
	for (int i = 0; i < p->iterations && changed && status == STK_OK; i++)
	{
		status = stk_kmeans_update(&km, &w, x, p->k->n, codes, &changed);
		if (status == STK_OK && changed)
			status = stk_kmeans_reassign(&km, &w, x, p->k->n, codes, &error);
	}
	must(status == STK_OK, "core", "");
	MUST_CUDA(
		cudaMemcpy(there, p->k->pack->codewords, floats * sizeof(float), cudaMemcpyDeviceToHost));
	for (size_t i = 0; i < floats; i++)
		wrong += memcmp(&here[i], &there[i], sizeof(float)) != 0;
	stk_kmeans_work_free(&w);
	stk_crew_stop(crew);
	free(there);
	free(here);
	free(counts);
	free(codes);
	return wrong;
}

static size_t
bench(const char *name, const float *x, size_t n, size_t dim, uint32_t size, int iterations,
	  double copy_rate)
{
	static const char *const parts[] = {"assignment", "scores", "grouping",
										"record",     "means",  "4 iterations"};
	problem p = {.call = {.size = size}, .iterations = iterations};
	stk_error err = {.level = -1};
	float *start = malloc(size * dim * sizeof(float));
	double flops = 2.0 * (double) n * (double) dim * size;
	double bytes = 8.0 * (double) n * (double) dim;
	double floor = bytes / copy_rate > flops / 600e12 ? bytes / copy_rate : flops / 600e12;
	double seconds;
	size_t wrong;

	/* Events of the default stream and this one's work are in one order. */
	MUST_CUDA(cudaStreamCreate(&p.stream));
	check(stk_device_kmeans_create(n, dim, p.stream, &p.k, &err), &err);
	check(stk_lloyd_room(p.k, size, p.stream, &err), &err);
	for (size_t k = 0; k < size; k++)
		memcpy(start + k * dim, x + k * 7919 % n * dim, dim * sizeof(float));
	p.start = device_memory(size * dim * sizeof(float));
	MUST_CUDA(cudaMemcpy(p.start, start, size * dim * sizeof(float), cudaMemcpyHostToDevice));
	MUST_CUDA(cudaMemcpy(p.k->x, x, n * dim * sizeof(float), cudaMemcpyHostToDevice));
	check(stk_norms_launch(p.k->x, n, dim, p.k->norms, p.stream, &err), &err);
	stk_device_pack_shape(p.k->pack, size, false);
	check(stk_lloyd_steps_graph(p.k, &p.call, STEPS, p.stream, &p.steps, &err), &err);
	run_once(&p, 0);
	MUST_CUDA(cudaDeviceSynchronize());
	wrong = differ(&p, x, start);
	seconds = bench_measure(run_once, &p);
	printf("%-22s %zu x %zu, K %u, %d iterations: run %8.3f ms, floor %.3f ms, %.1f x; %zu wrong\n",
		   name, n, dim, size, iterations, seconds * 1e3, floor * iterations * 1e3,
		   seconds / (floor * iterations), wrong);
	for (p.part = 0; p.part < 6; p.part++)
		printf("   %s %.1f us%s", parts[p.part], bench_measure(part_once, &p) * 1e6,
			   p.part == 5 ? "\n" : "");
	fflush(stdout);
	MUST_CUDA(cudaGraphExecDestroy(p.steps));
	MUST_CUDA(cudaFree(p.start));
	stk_device_kmeans_free(p.k);
	MUST_CUDA(cudaStreamDestroy(p.stream));
	free(start);
	return wrong;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* When each level was done. */
typedef struct clock_marks
{
	double at[STK_MAX_LEVELS];
} clock_marks;

static void
mark(void *ctx, const stk_train_progress *p)
{
	((clock_marks *) ctx)->at[p->level] = now();
}

/* A whole training from ordinary memory, with the accelerator or without; codewords out. */
static void
train(const char *what, const float *x, size_t n, size_t dim, const stk_accelerator *a,
	  stk_crew *crew, float *codewords)
{
	clock_marks marks = {.at = {0}};
	stk_rqkmeans_options opt = {.metric = STK_L2,
								.levels = 3,
								.sizes = {256, 256, 256},
								.dim = (int) dim,
								.epochs = 25,
								.init = STK_INIT_KMEANSII,
								.look_every = 25,
								.progress = mark,
								.progress_ctx = &marks};
	stk_exec exec = *plain_exec();
	float *rows = malloc(n * dim * sizeof(float));
	stk_error err = {.level = -1};
	double begin;

	exec.accelerator = a;
	exec.pool = stk_crew_pool(crew, STK_URGENT);
	memcpy(rows, x, n * dim * sizeof(float));
	begin = now();
	check(stk_rqkmeans_train(&opt, &exec, rows, n, codewords, NULL, &err), &err);
	printf("training 3 x 256 on %zu x %zu, k-means||, 25 epochs, %s: %.3f s; levels done at %.3f, "
		   "%.3f, %.3f\n",
		   n, dim, what, now() - begin, marks.at[0] - begin, marks.at[1] - begin,
		   marks.at[2] - begin);
	fflush(stdout);
	free(rows);
}

/* The same training here and there; returns how many numbers of the codebook differ. */
static size_t
bench_training(const float *x, size_t n, size_t dim)
{
	static stk_gpu gpus[STK_MAX_GPUS];
	size_t floats = 3 * 256 * dim;
	float *here = malloc(floats * sizeof(float));
	float *there = malloc(floats * sizeof(float));
	stk_error err = {.level = -1};
	stk_trainer *trainer;
	stk_crew *crew;
	size_t wrong = 0;
	int count;

	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	check(stk_gpus_open("all", gpus, &count, &err), &err);
	check(stk_trainer_create(&gpus[0], &trainer, &err), &err);
	train("processor", x, n, dim, NULL, crew, here);
	train("device", x, n, dim, stk_trainer_accelerator(trainer), crew, there);
	for (size_t i = 0; i < floats; i++)
		wrong += memcmp(&here[i], &there[i], sizeof(float)) != 0;
	printf("   %zu numbers differ\n", wrong);
	stk_trainer_free(trainer);
	stk_gpus_close(gpus, count);
	stk_crew_stop(crew);
	free(here);
	free(there);
	return wrong;
}

int
main(int argc, char **argv)
{
	bool first = argc > 1 && strcmp(argv[1], "first") == 0;
	double rate = bench_device();
	size_t n = 1000000, dim = 128;
	float *x = malloc(n * dim * sizeof(float));
	uint64_t seed = 1;
	size_t wrong = 0;

	/* About normal. */
	for (size_t i = 0; i < n * dim; i++)
		x[i] = next_float(&seed) + next_float(&seed) + next_float(&seed);
	wrong += bench("the table's", x, 50000, 128, 512, 25, rate);
	if (first)
		return wrong > 0;
	wrong += bench("", x, 1000000, 128, 256, 10, rate);
	wrong += bench("Beauty's shape", x, 12101, 384, 256, 25, rate);
	wrong += bench("", x, 100000, 768, 1024, 10, rate);
	wrong += bench_training(x, 200000, 128);
	free(x);
	return wrong > 0;
}
