/*
 * The engine of CUDA devices against the cores' on real vectors: the same codebooks, evaluations and
 * codes of every row, bit for bit, greedily and by a beam.
 *
 *   make cuda-test here; test/cuda/bin/test_files [RUNS [FILE.fvecs | FILE.bvecs]...] where there is
 *   a device
 *
 * RUNS encodings of each file, 20; 0 does nothing.
 */
#include <string.h>

#include "core/train.h"
#include "device.h"
#include "engine/plugin.h"

#define LEVELS 3
#define CODES 256
#define ROUNDS 2

static unsigned long wrong_in_all;

/* Rows of a file. */
typedef struct vectors
{
	size_t n;
	int dim;
	float *x; /* [n][dim] */
} vectors;

static vectors
read_vectors(const char *path)
{
	size_t bytes = strstr(path, ".bvecs") ? 1 : sizeof(float);
	FILE *f = fopen(path, "rb");
	vectors v = {.n = 0};
	size_t room = 0;
	int32_t dim;

	must(f != NULL, path, "cannot be read");
	while (fread(&dim, sizeof(dim), 1, f) == 1)
	{
		uint8_t row[STK_MAX_DIM * sizeof(float)];

		must(dim > 0 && dim <= STK_MAX_DIM && (v.n == 0 || dim == v.dim), path, "dimension");
		must(fread(row, bytes, (size_t) dim, f) == (size_t) dim, path, "is cut off");
		v.dim = dim;
		if (v.n == room)
		{
			room = 2 * room + 1024;
			v.x = realloc(v.x, room * (size_t) dim * sizeof(float));
		}
		for (int i = 0; i < dim; i++)
		{
			float *to = &v.x[v.n * (size_t) dim + (size_t) i];

			if (bytes == 1)
				*to = row[i];
			else
				memcpy(to, row + (size_t) i * sizeof(float), sizeof(float));
		}
		v.n++;
	}
	fclose(f);
	return v;
}

static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const vectors *v = ctx;
	size_t dim = (size_t) v->dim;

	(void) err;
	memcpy(x, v->x + first * dim, count * dim * sizeof(float));
	return STK_OK;
}

/* What an engine makes of a training. */
typedef struct trained
{
	stk_status status;
	stk_train_result result;
} trained;

static trained
train(stk_engine *e, const stk_exec *exec, const stk_train_plan *plan, vectors *v)
{
	size_t total = (size_t) plan->levels * plan->sizes[0];
	stk_rows rows = {v->n, read_rows, v};
	stk_error err = {.level = -1};
	trained t = {.status = STK_OK};

	t.result.codewords = calloc(total * (size_t) plan->dim, sizeof(float));
	t.result.counts = calloc(total, sizeof(double));
	t.status = e->ops->train(e, exec, plan, &rows, NULL, NULL, NULL, &t.result, &err);
	if (t.status != STK_OK)
		printf("       %s: %s\n", e->ops->name, err.message);
	return t;
}

static void
trained_free(trained *t)
{
	free(t->result.codewords);
	free(t->result.counts);
}

/* Codes that differ between the engines, of all runs; each codebook was trained by its engine. */
static unsigned long
compare_codes(stk_engine *const engines[2], const stk_exec *exec, const stk_train_plan *plan,
			  const vectors *v, const float *codewords, int beam, int runs)
{
	stk_codebook cb = {.metric = plan->metric, .levels = plan->levels, .dim = plan->dim};
	size_t count = v->n * (size_t) plan->levels;
	uint16_t *codes[2];
	unsigned long wrong = 0;

	for (int l = 0; l < plan->levels; l++)
	{
		cb.sizes[l] = plan->sizes[l];
		cb.codewords[l] = codewords + (size_t) l * plan->sizes[0] * (size_t) plan->dim;
	}
	for (int e = 0; e < 2; e++)
		codes[e] = malloc(count * sizeof(uint16_t));
	for (int run = 0; run < runs; run++)
	{
		for (int e = run > 0; e < 2; e++)
		{
			stk_resident *r;
			stk_error err = {.level = -1};
			stk_status status = engines[e]->ops->load(engines[e], exec, &cb, beam > 1, &r, &err);

			must(status == STK_OK, "load", err.message);
			memset(codes[e], 0xff, count * sizeof(uint16_t));
			status = engines[e]->ops->encode(engines[e], exec, r, v->x, v->n, beam, codes[e], &err);
			must(status == STK_OK, "encode", err.message);
			engines[e]->ops->unload(engines[e], r);
		}
		for (size_t i = 0; i < count; i++)
			wrong += codes[0][i] != codes[1][i];
	}
	free(codes[0]);
	free(codes[1]);
	return wrong;
}

/* One file, by one metric. */
static void
compare(stk_engine *const engines[2], const stk_exec *exec, const char *name, vectors *v,
		stk_metric metric, int runs)
{
	stk_train_plan plan = {.metric = metric,
						   .levels = LEVELS,
						   .dim = v->dim,
						   .epochs = 5,
						   .init = STK_INIT_KMEANSII,
						   .seed = 7,
						   .refine = metric == STK_IP ? 0 : ROUNDS,
						   .beam = metric == STK_IP ? 1 : 5};
	trained t[2];
	size_t total = (size_t) LEVELS * CODES;
	unsigned long wrong = 0;

	for (int l = 0; l < LEVELS; l++)
		plan.sizes[l] = CODES;
	for (int e = 0; e < 2; e++)
	{
		t[e] = train(engines[e], exec, &plan, v);
		wrong += t[e].status != STK_OK;
	}
	if (wrong == 0)
	{
		const float *codewords = t[0].result.codewords;

		wrong +=
			memcmp(codewords, t[1].result.codewords, total * (size_t) v->dim * sizeof(float)) != 0;
		wrong += memcmp(t[0].result.counts, t[1].result.counts, total * sizeof(double)) != 0;
		wrong += memcmp(&t[0].result.rows, &t[1].result.rows, sizeof(stk_evaluation)) != 0;
		wrong += compare_codes(engines, exec, &plan, v, codewords, 1, runs);
		wrong += compare_codes(engines, exec, &plan, v, codewords, 5, runs > 2 ? 2 : runs);
	}
	printf("%-6s %-24s %-6s %8zu x %-4d %d trained, %d encodings, %lu wrong\n",
		   wrong ? "FAILED" : "ok", name, stk_metric_name(metric), v->n, v->dim, 1, runs, wrong);
	fflush(stdout);
	wrong_in_all += wrong;
	trained_free(&t[0]);
	trained_free(&t[1]);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	stk_engine *engines[2];
	stk_crew *crew;
	stk_exec exec;
	stk_error err = {.level = -1};
	char path[4096];

	if (runs > 0 && argc > 2)
	{
		must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
		must(stk_engine_cpu_open(&stk_malloc, &engines[0], &err) == STK_OK, "cpu", err.message);
		must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
		must(stk_plugin_open(path, &stk_malloc, engines[0], "all", &engines[1], &err) == STK_OK,
			 path, err.message);
		exec = *plain_exec();
		exec.pool = stk_crew_pool(crew, STK_URGENT);
		for (int i = 2; i < argc; i++)
		{
			const char *name = strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i];
			vectors v = read_vectors(argv[i]);

			compare(engines, &exec, name, &v, STK_L2, runs);
			compare(engines, &exec, name, &v, STK_COSINE, runs);
			compare(engines, &exec, name, &v, STK_IP, runs);
			free(v.x);
		}
	}
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
