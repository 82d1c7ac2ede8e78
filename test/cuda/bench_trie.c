/*
 * Tries on a device: how much of its memory they take, steps of a beam for a model's logits, and
 * whole searches for queries whose logits are given, beside the processor's engine on one core and
 * on all of this machine's.
 *
 *   test/cuda/bin/bench_trie
 *
 * Prints, too, the time of an empty launch: no step is sooner done.
 */
#include "bench.h"
#include "core/explog.h"
#include "engine/plugin.h"
#include "trie.h"

#define ITEMS 1000000
/* The setting of STATIC (Su et al. 2026). */
#define LEVELS 8
#define VOCABULARY 2048
#define BATCH 32
#define BEAM 50
#define CALLS 5

/* A graph of some launches, so that none waits for the processor. */
typedef struct replay
{
	cudaGraphExec_t exec;
	cudaStream_t stream;
} replay;

static void
begin_replay(replay *r)
{
	MUST_CUDA(cudaStreamCreate(&r->stream));
	MUST_CUDA(cudaStreamBeginCapture(r->stream, cudaStreamCaptureModeThreadLocal));
}

static void
end_replay(replay *r)
{
	cudaGraph_t graph;

	MUST_CUDA(cudaStreamEndCapture(r->stream, &graph));
	MUST_CUDA(cudaGraphInstantiate(&r->exec, graph, 0));
	MUST_CUDA(cudaGraphDestroy(graph));
}

static void
replay_once(void *arg, int i)
{
	const replay *r = arg;

	(void) i;
	MUST_CUDA(cudaGraphLaunch(r->exec, 0));
}

static void
free_replay(replay *r)
{
	MUST_CUDA(cudaGraphExecDestroy(r->exec));
	MUST_CUDA(cudaStreamDestroy(r->stream));
}

static double
best_of(double a, double b)
{
	return a < b ? a : b;
}

/* One beam through all levels, for a model's logits of each prefix. */
typedef struct beam_levels
{
	stk_trie_step step[LEVELS];
	const float *logits; /* [BATCH * BEAM][VOCABULARY] */
} beam_levels;

static void
make_levels(beam_levels *b, const there *t, stk_norm norm)
{
	size_t kept = (size_t) BATCH * BEAM;
	size_t scratch = stk_trie_step_scratch(BATCH, BEAM);
	void *zeros = device_memory(scratch);

	MUST_CUDA(cudaMemset(zeros, 0, scratch));
	for (int l = 0; l < LEVELS; l++)
	{
		stk_trie_step *s = &b->step[l];

		*s = (stk_trie_step){.trie = t->trie.view,
							 .n = BATCH,
							 .parents = l == 0 ? 1 : BEAM,
							 .width = BEAM,
							 .start = t->here.root[0],
							 .logits = b->logits,
							 .stride = VOCABULARY,
							 .size = VOCABULARY,
							 .norm = norm,
							 .row_each = true,
							 .leaves = true,
							 .scratch = zeros,
							 .n_out = device_memory(BATCH * sizeof(uint32_t)),
							 .out_number = device_memory(kept * sizeof(uint32_t)),
							 .out_node = device_memory(kept * sizeof(stk_node)),
							 .out_cost = device_memory(kept * sizeof(double))};
		if (l > 0)
		{
			s->n_parents = b->step[l - 1].n_out;
			s->node = b->step[l - 1].out_node;
			s->cost = b->step[l - 1].out_cost;
		}
	}
}

static void
free_levels(beam_levels *b)
{
	MUST_CUDA(cudaFree(b->step[0].scratch));
	for (int l = 0; l < LEVELS; l++)
	{
		MUST_CUDA(cudaFree(b->step[l].n_out));
		MUST_CUDA(cudaFree(b->step[l].out_number));
		MUST_CUDA(cudaFree(b->step[l].out_node));
		MUST_CUDA(cudaFree(b->step[l].out_cost));
	}
}

/* Steps from..to - 1, several times over, in one graph: seconds of one step. */
static double
time_steps(const beam_levels *b, int from, int to, int times)
{
	stk_error err = {.level = -1};
	replay r;
	double seconds;

	begin_replay(&r);
	for (int i = 0; i < times; i++)
		for (int l = from; l < to; l++)
			must(stk_trie_step_launch(&b->step[l], r.stream, &err) == STK_OK, "step", err.message);
	end_replay(&r);
	seconds = bench_measure(replay_once, &r) / (times * (to - from));
	free_replay(&r);
	return seconds;
}

static void
bench_steps(void)
{
	static const char *const names[] = {"full", "none", "masked"};
	prng r = {8};
	catalog c;
	there t;
	size_t values = (size_t) BATCH * BEAM * VOCABULARY;
	float *logits = malloc(values * sizeof(float));
	double begin, packed;
	stk_packed_trie again;
	void *block;
	size_t bytes;
	stk_error err;
	beam_levels b;

	even_catalog(&c, ITEMS, LEVELS, VOCABULARY, &r);
	there_init(&t, &c);
	begin = bench_now();
	must(stk_packed_trie_build(&t.set, &stk_malloc, NULL, &block, &bytes, &again, &err) == STK_OK,
		 "trie", err.message);
	packed = bench_now() - begin;
	free(block);
	printf("\n%zu random ids, %d levels of %d codes: stored %.1f MB, on the device %.1f MB; laid "
		   "out in %.0f ms\n",
		   c.n, LEVELS, VOCABULARY, (double) t.bytes * 1e-6, (double) t.trie.bytes * 1e-6,
		   packed * 1e3);
	for (size_t i = 0; i < values; i++)
		logits[i] = (float) (prng_uniform(&r) * 8 - 4);
	b.logits = device_copy(logits, values * sizeof(float));
	printf("beam step, batch %d x beam %d, a row of %d logits for each prefix; microseconds of one "
		   "step in a graph\n",
		   BATCH, BEAM, VOCABULARY);
	printf("%-8s %9s %9s %9s %9s %9s\n", "norm", "mean of 8", "level 0", "level 1", "level 2",
		   "level 3");
	for (int norm = 0; norm < 3; norm++)
	{
		make_levels(&b, &t, (stk_norm) norm);
		/* The whole way first: each level's prefixes are those that the one before left. */
		printf("%-8s %9.2f", names[norm], 1e6 * time_steps(&b, 0, LEVELS, 4));
		for (int l = 0; l < 4; l++)
			printf(" %9.2f", 1e6 * time_steps(&b, l, l + 1, 20));
		printf("\n");
		fflush(stdout);
		free_levels(&b);
	}
	MUST_CUDA(cudaFree((void *) (uintptr_t) b.logits));
	free(logits);
	there_free(&t);
	catalog_free(&c);
}

/* A batch of searches and room for what they find. */
static stk_search_batch
make_batch(size_t n, int levels, uint32_t codes, stk_norm norm, const float *logits,
		   const double *cost)
{
	stk_search_batch b = {.n = n,
						  .levels = levels,
						  .tokenizer = 1,
						  .norm = norm,
						  .logits = norm == STK_NORM_MASKED ? logits : NULL,
						  .cost = norm == STK_NORM_MASKED ? NULL : cost,
						  .beam_size = BEAM,
						  .k = BEAM,
						  .width = levels};

	for (int l = 0; l < levels; l++)
		b.sizes[l] = codes;
	b.found = calloc(n, sizeof(uint32_t));
	b.costs = calloc(n * b.k, sizeof(double));
	b.lengths = calloc(n * b.k, 1);
	b.codes = calloc(n * b.k * (size_t) levels, sizeof(uint16_t));
	b.dropped = calloc(n, 1);
	return b;
}

static void
free_batch(stk_search_batch *b)
{
	free(b->found);
	free(b->costs);
	free(b->lengths);
	free(b->codes);
	free(b->dropped);
}

/* The best of a few calls of an engine, in seconds. */
static double
time_engine(stk_engine *e, const stk_exec *exec, const stk_resident_trie *t,
			const stk_search_batch *b)
{
	stk_error err = {.level = -1};
	double best = INFINITY;

	for (int i = 0; i < CALLS && (i < 2 || best < 1); i++)
	{
		double begin = bench_now();

		must(e->ops->search(e, exec, t, b, &err) == STK_OK, "search", err.message);
		best = best_of(best, bench_now() - begin);
	}
	return best;
}

/* With everything on the device. */
static double
time_device(const there *t, const stk_search_batch *b)
{
	size_t n = b->n, terms = n * stk_search_batch_terms(b);
	stk_error err = {.level = -1};
	stk_trie_search s;
	replay r;
	double seconds;

	memset(&s, 0, sizeof(s));
	s.trie = t->trie.view;
	s.start = t->here.root[0];
	s.n = (uint32_t) n;
	s.levels = b->levels;
	memcpy(s.sizes, b->sizes, sizeof(s.sizes));
	s.norm = b->norm;
	s.width = (uint32_t) b->beam_size;
	s.k = (uint32_t) b->k;
	s.length = b->width;
	s.terms = b->cost ? device_copy(b->cost, terms * sizeof(double)) : NULL;
	s.logits = b->logits ? device_copy(b->logits, terms * sizeof(float)) : NULL;
	s.costs = device_memory(n * b->k * sizeof(double));
	s.codes = device_memory(n * b->k * (size_t) b->width * sizeof(uint16_t));
	s.lengths = device_memory(n * b->k);
	s.found = device_memory(n * sizeof(uint32_t));
	s.dropped = device_memory(n);
	s.memory = device_memory(stk_trie_search_bytes(s.n, s.levels, s.width));
	begin_replay(&r);
	must(stk_trie_search_launch(&s, r.stream, &err) == STK_OK, "search", err.message);
	end_replay(&r);
	seconds = bench_measure(replay_once, &r);
	free_replay(&r);
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.terms));
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.logits));
	MUST_CUDA(cudaFree(s.costs));
	MUST_CUDA(cudaFree(s.codes));
	MUST_CUDA(cudaFree(s.lengths));
	MUST_CUDA(cudaFree(s.found));
	MUST_CUDA(cudaFree(s.dropped));
	MUST_CUDA(cudaFree(s.memory));
	return seconds;
}

static unsigned long
differences(const stk_search_batch *x, const stk_search_batch *y)
{
	unsigned long wrong = 0;

	for (size_t i = 0; i < x->n; i++)
	{
		size_t at = i * x->k, found = x->found[i], row = (size_t) x->width * sizeof(uint16_t);

		wrong += found != y->found[i] ||
				 memcmp(x->costs + at, y->costs + at, found * sizeof(double)) != 0 ||
				 memcmp(x->codes + at * (size_t) x->width, y->codes + at * (size_t) x->width,
						found * row) != 0;
	}
	return wrong;
}

static void
bench_searches(void)
{
	static const size_t sizes[] = {1, 256, 4096};
	enum
	{
		MOST = 4096,
		DEPTH = 3,
		CODES = 256
	};
	prng r = {9};
	catalog c;
	there t;
	size_t values = (size_t) MOST * DEPTH * CODES;
	float *logits = malloc(values * sizeof(float));
	double *cost = malloc(values * sizeof(double));
	stk_engine *cpu, *cuda;
	stk_crew *crew;
	stk_exec alone = *plain_exec(), all = *plain_exec();
	stk_resident_trie *there_cuda, *there_cpu;
	stk_error err = {.level = -1};
	char path[4096];

	even_catalog(&c, ITEMS, DEPTH, CODES, &r);
	there_init(&t, &c);
	for (size_t i = 0; i < values; i++)
		logits[i] = (float) (prng_uniform(&r) * 8 - 4);
	for (size_t i = 0; i < values; i += CODES)
		must(stk_softmax_costs(logits + i, CODES, cost + i) == STK_OK, "costs", "");
	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	all.pool = stk_crew_pool(crew, STK_URGENT);
	must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
	must(stk_engine_cpu_open(&stk_malloc, &cpu, &err) == STK_OK, "cpu", err.message);
	must(stk_plugin_open(path, &stk_malloc, cpu, "all", &cuda, &err) == STK_OK, path, err.message);
	must(cuda->ops->trie_load(cuda, &all, t.stored, t.bytes, &there_cuda, &err) == STK_OK, "load",
		 err.message);
	must(cpu->ops->trie_load(cpu, &all, t.stored, t.bytes, &there_cpu, &err) == STK_OK, "load",
		 err.message);
	printf("\nwhole searches, %zu ids, %d x %d codes, beam %d, all %d ids wanted; microseconds a "
		   "query; engine cpu: %d cores, %s\n",
		   c.n, DEPTH, CODES, BEAM, BEAM, stk_crew_threads(crew), cpu->device);
	printf("%-8s %6s %12s %12s %12s %12s %14s %14s %6s\n", "norm", "batch", "on device",
		   "engine cuda", "all cores", "one core", "one / engine", "all / engine", "wrong");
	for (int norm = 0; norm < 3; norm += 2)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			size_t n = sizes[i];
			stk_search_batch b = make_batch(n, DEPTH, CODES, (stk_norm) norm, logits, cost);
			stk_search_batch x = make_batch(n, DEPTH, CODES, (stk_norm) norm, logits, cost);
			double there_only = time_device(&t, &b) * 1e6 / (double) n;
			double engine = time_engine(cuda, &all, there_cuda, &b) * 1e6 / (double) n;
			double cores = time_engine(cpu, &all, there_cpu, &x) * 1e6 / (double) n;
			double core;

			/* One core is asked for 256 at most. */
			x.n = n < 256 ? n : 256;
			core = time_engine(cpu, &alone, there_cpu, &x) * 1e6 / (double) x.n;
			x.n = n;
			printf("%-8s %6zu %12.3f %12.3f %12.3f %12.3f %14.1f %14.1f %6lu\n",
				   norm ? "masked" : "full", n, there_only, engine, cores, core, core / engine,
				   cores / engine, differences(&x, &b));
			fflush(stdout);
			free_batch(&b);
			free_batch(&x);
		}
	cuda->ops->trie_unload(cuda, there_cuda);
	cpu->ops->trie_unload(cpu, there_cpu);
	cuda->ops->close(cuda);
	cpu->ops->close(cpu);
	stk_crew_stop(crew);
	free(logits);
	free(cost);
	there_free(&t);
	catalog_free(&c);
}

static void
nothing_once(void *arg, int i)
{
	(void) i;
	MUST_CUDA(cudaMemsetAsync(arg, 0, 4, 0));
}

int
main(void)
{
	void *word = device_memory(4);

	(void) bench_device();
	printf("an empty call takes %.2f us\n", bench_measure(nothing_once, word) * 1e6);
	MUST_CUDA(cudaFree(word));
	bench_steps();
	bench_searches();
	return 0;
}
