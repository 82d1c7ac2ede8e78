/*
 * What a codebook learns from a batch, timed with everything on the device: the update by moving
 * averages, k-means' mini-batch update, and the grouping of rows that both begin with.
 *
 *   test/cuda/bin/bench_ema
 *
 * Each figure is the median of launches over batches that take turns and together are larger than
 * the second-level cache, beside the time that this device's copy of the bytes would take that must
 * move: rows and codes in; sums and codewords, of codes that rows have, in and out. "graph": the
 * launches of an update as one. Averages are compared with core's after the first.
 */
#include "bench.h"
#include "core/kmeans.h"
#include "update.h"

/* Numbers of all batches together. */
#define NUMBERS ((size_t) 32 << 20)

typedef struct problem
{
	stk_ema_call call;
	stk_means_call means;
	size_t batches;
	cudaGraphExec_t *graphs; /* [batches] */
} problem;

static void
launch(const problem *p, size_t batch, cudaStream_t stream)
{
	stk_ema_call call = p->call;
	stk_error err = {.level = -1};

	call.x += batch * call.n * call.e.dim;
	call.codes += batch * call.n;
	must(stk_ema_launch(&call, stream, &err) == STK_OK, "update", err.message);
}

static void
ema_once(void *arg, int i)
{
	const problem *p = arg;

	launch(p, (size_t) i % p->batches, 0);
}

static void
graph_once(void *arg, int i)
{
	const problem *p = arg;

	MUST_CUDA(cudaGraphLaunch(p->graphs[(size_t) i % p->batches], 0));
}

static void
group_once(void *arg, int i)
{
	const problem *p = arg;
	stk_error err = {.level = -1};

	must(stk_members_group_launch(p->call.members,
								  p->call.codes + (size_t) i % p->batches * p->call.n, 1, p->call.n,
								  0, &err) == STK_OK,
		 "group", err.message);
}

static void
means_once(void *arg, int i)
{
	const problem *p = arg;
	stk_means_call call = p->means;
	stk_error err = {.level = -1};

	group_once(arg, i);
	call.x += (size_t) i % p->batches * call.n * p->call.e.dim;
	must(stk_means_launch(&call, 0, &err) == STK_OK, "means", err.message);
}

static void
make_graphs(problem *p)
{
	cudaStream_t stream;

	MUST_CUDA(cudaStreamCreate(&stream));
	p->graphs = malloc(p->batches * sizeof(*p->graphs));
	for (size_t i = 0; i < p->batches; i++)
	{
		cudaGraph_t graph;

		MUST_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
		launch(p, i, stream);
		MUST_CUDA(cudaStreamEndCapture(stream, &graph));
		MUST_CUDA(cudaGraphInstantiate(&p->graphs[i], graph, 0));
		MUST_CUDA(cudaGraphDestroy(graph));
	}
	MUST_CUDA(cudaStreamDestroy(stream));
}

static void *
send(const void *from, size_t bytes)
{
	void *to = device_memory(bytes);

	MUST_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
	return to;
}

static void
bench(const float *x, const float *x_there, size_t n, size_t dim, uint32_t size, bool skewed,
	  double copy_rate)
{
	size_t values = size * dim, all = NUMBERS / dim;
	uint16_t *codes = malloc(all * sizeof(uint16_t));
	float *codewords = malloc(values * sizeof(float));
	float *learnt = malloc(values * sizeof(float));
	stk_ema e;
	stk_error err = {.level = -1};
	problem p = {.batches = all / n};
	uint64_t seed = 3;
	double used = size < n ? size : (double) n;
	double bytes = (double) n * (double) dim * 4 + 2.0 * (double) n + used * (double) dim * 20;
	double group, ema, graph, means;

	fill(codewords, values, 1, &seed);
	for (size_t i = 0; i < all; i++)
		codes[i] = skewed ? 0 : (uint16_t) below(size, &seed);
	must(stk_ema_init(&e, &stk_malloc, size, dim, codewords, &err) == STK_OK, "averages", "");
	p.call.e = e;
	p.call.rule = (stk_ema_rule){.decay = 0.99, .restart_after = 20, .seed = 1};
	p.call.n = n;
	p.call.x = x_there;
	p.call.codes = send(codes, all * sizeof(uint16_t));
	p.call.e.codewords = send(codewords, values * sizeof(float));
	p.call.e.sums = send(e.sums, values * sizeof(double));
	p.call.e.counts = send(e.counts, size * sizeof(double));
	p.call.e.idle = send(e.idle, size * sizeof(uint32_t));
	p.call.failure = device_memory(sizeof(*p.call.failure));
	must(stk_device_members_create(n, size, dim, 0, (stk_device_members **) &p.call.members,
								   &err) == STK_OK,
		 "members", err.message);
	p.means = (stk_means_call){.members = p.call.members,
							   .x = x_there,
							   .n = n,
							   .centroids = send(codewords, values * sizeof(float)),
							   .counts = send(e.counts, size * sizeof(double)),
							   .persistent = true};
	launch(&p, 0, 0);
	MUST_CUDA(
		cudaMemcpy(learnt, p.call.e.codewords, values * sizeof(float), cudaMemcpyDeviceToHost));
	must(stk_ema_update(&e, &p.call.rule, plain_exec(), x, n, codes, &err) == STK_OK, "core",
		 err.message);
	make_graphs(&p);
	group = bench_measure(group_once, &p);
	ema = bench_measure(ema_once, &p);
	graph = bench_measure(graph_once, &p);
	means = bench_measure(means_once, &p);
	printf("%8zu x %-4zu %6u %-6s  %8.4f  %8.4f  %8.4f  %8.4f  %8.4f  %5.1f %%  %s\n", n, dim, size,
		   skewed ? "one" : "even", group * 1e3, means * 1e3, ema * 1e3, graph * 1e3,
		   bytes / copy_rate * 1e3, 100 * bytes / copy_rate / graph,
		   memcmp(learnt, codewords, values * sizeof(float)) ? "DIFFERS" : "equal");
	fflush(stdout);
	for (size_t i = 0; i < p.batches; i++)
		MUST_CUDA(cudaGraphExecDestroy(p.graphs[i]));
	stk_device_members_free((stk_device_members *) p.call.members);
	MUST_CUDA(cudaFree((void *) (uintptr_t) p.call.codes));
	MUST_CUDA(cudaFree(p.call.e.codewords));
	MUST_CUDA(cudaFree(p.call.e.sums));
	MUST_CUDA(cudaFree(p.call.e.counts));
	MUST_CUDA(cudaFree(p.call.e.idle));
	MUST_CUDA(cudaFree(p.call.failure));
	MUST_CUDA(cudaFree(p.means.centroids));
	MUST_CUDA(cudaFree(p.means.counts));
	free(p.graphs);
	stk_ema_free(&e);
	free(codes);
	free(codewords);
	free(learnt);
}

int
main(void)
{
	static const struct
	{
		size_t n, dim;
		uint32_t size;
		bool skewed;
	} settings[] = {{65536, 64, 256, false},   {65536, 64, 256, true},    {65536, 64, 65536, false},
					{65536, 64, 4096, false},  {65536, 128, 256, false},  {50000, 128, 512, false},
					{65536, 384, 256, false},  {1024, 128, 256, false},   {640, 384, 256, false},
					{262144, 128, 256, false}, {262144, 128, 1024, false}};
	double rate = bench_device();
	float *x = malloc(NUMBERS * sizeof(float));
	float *x_there;
	uint64_t seed = 7;

	fill(x, NUMBERS, 1, &seed);
	x_there = send(x, NUMBERS * sizeof(float));
	printf("rows x dim     codes rows   group ms  batch ms    EMA ms  graph ms     floor  share  "
		   "codewords\n");
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		bench(x, x_there, settings[i].n, settings[i].dim, settings[i].size, settings[i].skewed,
			  rate);
	return 0;
}
