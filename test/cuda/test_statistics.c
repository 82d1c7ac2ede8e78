/*
 * Sums over rows and their codes on a device against core's: evaluation, and the normal equations
 * of a refit. The same bits, and counts.
 *
 *   make cuda-test here; test/cuda/bin/test_statistics [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer.
 */
#include "core/evaluate.h"
#include "core/least_squares.h"
#include "core/member_sums.h"
#include "statistics.h"
#include "trainer.h"

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong)
{
	printf("%-6s %-52s %10zu problems, %lu wrong\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

static void *
send(const void *from, size_t bytes)
{
	void *to = device_memory(bytes);

	MUST_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
	return to;
}

static void *
fetch(const void *from, size_t bytes)
{
	void *to = malloc(bytes ? bytes : 1);

	MUST_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
	return to;
}

/* Rows and codes, here and there. */
typedef struct problem
{
	stk_codebook cb;
	size_t total;
	size_t n;
	const float *x;
	const uint16_t *codes;
	float *codewords; /* [total][dim] */
	float *x_there;
	float *prepared; /* as the metric sees the rows */
	uint16_t *codes_there;
	float *codewords_there;
	stk_device_codebook *cb_there;
	stk_encode_failure failure; /* of the preparation */
} problem;

static void
send_problem(problem *p)
{
	stk_error err = {.level = -1};
	size_t values = p->n * (size_t) p->cb.dim;

	p->total = 0;
	for (int l = 0; l < p->cb.levels; l++)
		p->total += p->cb.sizes[l];
	p->x_there = send(p->x, values * sizeof(float));
	p->prepared = p->x_there;
	p->failure = STK_ENCODE_NO_FAILURE;
	p->codes_there = send(p->codes, p->n * (size_t) p->cb.levels * sizeof(uint16_t));
	p->codewords_there = send(p->codewords, p->total * (size_t) p->cb.dim * sizeof(float));
	p->cb_there = device_codebook(&p->cb);
	if (p->cb.metric == STK_COSINE)
	{
		stk_encode_call call = {.cb = p->cb_there, .x = p->x_there, .n = p->n};

		p->prepared = device_memory(values * sizeof(float));
		call.normalized = p->prepared;
		call.failure = device_memory(sizeof(*call.failure));
		MUST_CUDA(cudaMemset(call.failure, 0xff, sizeof(*call.failure)));
		must(stk_normalize_launch(&call, 0, &err) == STK_OK, "normalize", err.message);
		MUST_CUDA(
			cudaMemcpy(&p->failure, call.failure, sizeof(p->failure), cudaMemcpyDeviceToHost));
		MUST_CUDA(cudaFree(call.failure));
	}
}

static void
free_problem(problem *p)
{
	if (p->prepared != p->x_there)
		MUST_CUDA(cudaFree(p->prepared));
	MUST_CUDA(cudaFree(p->x_there));
	MUST_CUDA(cudaFree(p->codes_there));
	MUST_CUDA(cudaFree(p->codewords_there));
	stk_device_codebook_free(p->cb_there);
}

static size_t
chunks_of(size_t n)
{
	return (n + STK_SUM_CHUNK - 1) / STK_SUM_CHUNK;
}

/* Column `column` of chunks [chunks][columns], added up in order. */
static double
add_up(const double *chunks, size_t n, size_t columns, size_t column)
{
	double sum = 0;

	for (size_t c = 0; c < n; c++)
		sum += chunks[c * columns + column];
	return sum;
}

static unsigned long
compare_evaluation(const problem *p, int runs)
{
	size_t columns = (size_t) p->cb.levels + 1, chunks = chunks_of(p->n);
	stk_exec exec = exec_of(NULL, p->n * (size_t) p->cb.dim);
	stk_evaluate_call call = {.cb = p->cb_there,
							  .x = p->prepared,
							  .n = p->n,
							  .codes = p->codes_there,
							  .sums = device_memory(chunks * columns * sizeof(double)),
							  .failure = device_memory(sizeof(stk_encode_failure))};
	stk_error err = {.level = -1};
	stk_evaluation r;
	stk_evaluator *ev;
	unsigned long wrong = 0;
	stk_status status;

	must(stk_evaluator_create(&p->cb, &stk_malloc, &ev) == STK_OK, "evaluator", "");
	status = stk_evaluator_add(ev, &exec, p->x, p->codes, p->n, &err);
	if (status == STK_OK)
		must(stk_evaluator_finish(ev, NULL, &r) == STK_OK, "evaluation", "");
	stk_evaluator_free(ev);
	for (int run = 0; run < runs; run++)
	{
		double *sums;
		stk_encode_failure *failure;
		double norm;

		MUST_CUDA(cudaMemset(call.sums, 0xff, chunks * columns * sizeof(double)));
		MUST_CUDA(
			cudaMemcpy(call.failure, &p->failure, sizeof(p->failure), cudaMemcpyHostToDevice));
		must(stk_evaluate_launch(&call, 0, &err) == STK_OK, "evaluate", err.message);
		sums = fetch(call.sums, chunks * columns * sizeof(double));
		failure = fetch(call.failure, sizeof(*failure));
		norm = add_up(sums, chunks, columns, 0);
		if (status == STK_OK)
			wrong += *failure != STK_ENCODE_NO_FAILURE;
		else
			wrong += *failure >> 10 != err.row || (int) (*failure >> 2 & 0xff) - 1 != err.level;
		for (int l = 0; l < p->cb.levels && status == STK_OK && p->n > 0; l++)
		{
			double sum = add_up(sums, chunks, columns, (size_t) l + 1);
			double mse = sum / (double) p->n, relative = norm > 0 ? sum / norm : 0;

			wrong += memcmp(&mse, &r.level[l].mse, sizeof(mse)) != 0;
			wrong += memcmp(&relative, &r.level[l].relative_error, sizeof(relative)) != 0;
		}
		free(sums);
		free(failure);
	}
	MUST_CUDA(cudaFree(call.sums));
	MUST_CUDA(cudaFree(call.failure));
	return wrong;
}

static unsigned long
compare_normal(const problem *p, int runs)
{
	size_t dim = (size_t) p->cb.dim, levels = (size_t) p->cb.levels;
	stk_exec exec = exec_of(NULL, p->n * dim);
	stk_device_members *members[STK_MAX_LEVELS];
	uint32_t *pairs = calloc(p->total * p->total, sizeof(uint32_t));
	stk_normal_call call = {.levels = p->cb.levels,
							.dim = dim,
							.codewords = p->codewords_there,
							.x = p->x_there,
							.n = p->n,
							.codes = p->codes_there,
							.right = device_memory(p->total * dim * sizeof(double)),
							.pairs = device_memory(p->total * p->total * sizeof(uint32_t)),
							.chunks = device_memory(chunks_of(p->n) * dim * sizeof(double)),
							.squares = device_memory(dim * sizeof(double))};
	stk_least_squares ls;
	stk_error err = {.level = -1};
	unsigned long wrong = 0;
	double error;

	for (size_t l = 0; l < levels; l++)
	{
		call.first[l + 1] = call.first[l] + p->cb.sizes[l];
		must(stk_device_members_create(p->n, p->cb.sizes[l], dim, 0, &members[l], &err) == STK_OK,
			 "members", err.message);
	}
	must(stk_least_squares_init(&ls, &exec, &p->cb) == STK_OK, "least squares", "");
	must(stk_least_squares_residuals(&ls, p->x, p->n, p->codes, p->codewords, &error) == STK_OK,
		 "residuals", "");
	for (size_t i = 0; i < p->n; i++)
		for (size_t l = 0; l < levels; l++)
			for (size_t m = l; m < levels; m++)
				pairs[(call.first[l] + p->codes[i * levels + l]) * p->total + call.first[m] +
					  p->codes[i * levels + m]]++;
	for (int run = 0; run < runs; run++)
	{
		double *right, *squares, sum = 0;
		uint32_t *counted;

		MUST_CUDA(cudaMemset(call.right, 0xff, p->total * dim * sizeof(double)));
		MUST_CUDA(cudaMemset(call.pairs, 0xff, p->total * p->total * sizeof(uint32_t)));
		MUST_CUDA(cudaMemset(call.squares, 0xff, dim * sizeof(double)));
		must(stk_normal_launch(&call, (const stk_device_members *const *) members, 0, &err) ==
				 STK_OK,
			 "normal equations", err.message);
		right = fetch(call.right, p->total * dim * sizeof(double));
		squares = fetch(call.squares, dim * sizeof(double));
		counted = fetch(call.pairs, p->total * p->total * sizeof(uint32_t));
		for (size_t k = 0; k < p->total; k++)
			wrong += memcmp(right + k * dim, ls.right + k * ls.stride, dim * sizeof(double)) != 0;
		/* Core's blocks have 32 columns. */
		for (size_t i = 0; i < dim; i += 32)
		{
			double block = 0;

			for (size_t j = i; j < i + 32 && j < dim; j++)
				block += squares[j];
			sum += block;
		}
		wrong += memcmp(&sum, &error, sizeof(sum)) != 0;
		wrong += memcmp(pairs, counted, p->total * p->total * sizeof(uint32_t)) != 0;
		free(right);
		free(squares);
		free(counted);
	}
	for (size_t l = 0; l < levels; l++)
		stk_device_members_free(members[l]);
	stk_least_squares_free(&ls);
	MUST_CUDA(cudaFree(call.right));
	MUST_CUDA(cudaFree(call.pairs));
	MUST_CUDA(cudaFree(call.chunks));
	MUST_CUDA(cudaFree(call.squares));
	free(pairs);
	return wrong;
}

/* Rows x [n][dim] with codewords c of `levels` levels of `size` each, and codes drawn or all one. */
static unsigned long
compare(const float *x, size_t n, float *c, int dim, int levels, uint32_t size, stk_metric metric,
		bool skewed, int runs, uint64_t *seed)
{
	problem p = {
		.cb = {.metric = metric, .levels = levels, .dim = dim}, .n = n, .x = x, .codewords = c};
	uint16_t *codes = malloc((n * (size_t) levels + 1) * sizeof(uint16_t));
	unsigned long wrong;

	for (int l = 0; l < levels; l++)
	{
		p.cb.sizes[l] = size;
		p.cb.codewords[l] = c + (size_t) l * size * (size_t) dim;
	}
	for (size_t i = 0; i < n * (size_t) levels; i++)
		codes[i] = skewed && below(10, seed) ? (uint16_t) (size - 1) : (uint16_t) below(size, seed);
	p.codes = codes;
	send_problem(&p);
	wrong = compare_evaluation(&p, runs);
	wrong += compare_normal(&p, runs);
	free_problem(&p);
	free(codes);
	return wrong;
}

static void
test_hostile(int problems, uint64_t *seed)
{
	static const size_t rows[] = {0, 1, 7, 255, 256, 257, 513, 1500};
	static const int dims[] = {1, 3, 8, 31, 64, 130};
	static const uint32_t sizes[] = {1, 2, 40, 257};
	size_t done = 0;
	unsigned long wrong = 0;

	for (size_t kind = 0; kind < HOSTILE_KINDS; kind++)
	{
		for (int i = 0; i < problems; i++)
		{
			int levels = i % 3 ? 1 + (int) below(4, seed) : 5 + (int) below(3, seed);
			stk_metric metric = below(3, seed) ? STK_L2 : STK_COSINE;
			hostile_set s = {.dim = (size_t) dims[below(sizeof(dims) / sizeof(dims[0]), seed)],
							 .n = rows[below(sizeof(rows) / sizeof(rows[0]), seed)]};
			uint32_t size = sizes[below(sizeof(sizes) / sizeof(sizes[0]), seed)];

			s.size = size * (uint32_t) levels;
			s.x = malloc((s.n + 1) * s.dim * sizeof(float));
			s.c = malloc(s.size * s.dim * sizeof(float));
			hostile_kinds[kind].make(&s, seed);
			wrong += compare(s.x, s.n, s.c, (int) s.dim, levels, size, metric, i % 2, 1, seed);
			done++;
			free(s.x);
			free(s.c);
		}
	}
	say("hostile rows", done, wrong);
}

static void
full_size(size_t n, int dim, int levels, uint32_t size, bool skewed, int runs, uint64_t *seed)
{
	float *x = malloc(n * (size_t) dim * sizeof(float));
	float *c = malloc((size_t) levels * size * (size_t) dim * sizeof(float));
	char what[96];

	fill(x, n * (size_t) dim, 1, seed);
	fill(c, (size_t) levels * size * (size_t) dim, 0.5f, seed);
	snprintf(what, sizeof(what), "%zu x %d, %d x %u%s", n, dim, levels, size,
			 skewed ? ", skewed" : "");
	say(what, (size_t) runs, compare(x, n, c, dim, levels, size, STK_L2, skewed, runs, seed));
	free(x);
	free(c);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	uint64_t seed = 20261124;

	test_hostile(runs == 0 ? 2 : 20, &seed);
	if (runs > 0)
	{
		full_size(300000, 128, 3, 256, false, runs, &seed);
		full_size(100003, 384, 3, 256, true, runs, &seed);
		full_size(50000, 64, 6, 500, false, runs, &seed);
	}
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
