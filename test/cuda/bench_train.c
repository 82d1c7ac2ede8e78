/*
 * Whole trainings from ordinary memory, as semtokd asks engines for them: the cores' and the
 * device's, how long each of its parts takes, and whether both give the same.
 *
 *   test/cuda/bin/bench_train
 *
 * "begin" is up to the first level's first report: rows read, put in order, copied to the device,
 * and centroids drawn. "levels" are Lloyd's iterations and later levels' beginnings, "refine" the
 * rounds of encoding and refitting, "evaluate" what measures the finished codebook on all rows.
 */
#include "bench.h"
#include "core/train.h"
#include "engine/plugin.h"

typedef struct shape
{
	const char *what;
	size_t n;
	int dim;
	uint32_t size;
	stk_init init;
	int epochs, refine, beam;
} shape;

typedef struct source
{
	const float *x;
	size_t dim;
} source;

static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const source *s = ctx;

	(void) err;
	memcpy(x, s->x + first * s->dim, count * s->dim * sizeof(float));
	return STK_OK;
}

/* When what began. */
typedef struct marks
{
	double begin, first, learnt, refined;
} marks;

static void
take_report(void *ctx, const stk_train_report *r)
{
	marks *m = ctx;
	double now = bench_now();

	m->first = m->first > 0 ? m->first : now;
	if (r->level >= 0)
		m->learnt = now;
	m->refined = now;
}

static void
train(stk_engine *e, const stk_exec *exec, const shape *s, const float *x, stk_train_result *result)
{
	stk_train_plan plan = {.metric = STK_L2,
						   .levels = 3,
						   .dim = s->dim,
						   .epochs = s->epochs,
						   .init = s->init,
						   .seed = 11,
						   .refine = s->refine,
						   .beam = s->beam};
	size_t total = 3 * (size_t) s->size;
	source from = {x, (size_t) s->dim};
	stk_rows rows = {s->n, read_rows, &from};
	stk_error err = {.level = -1};
	marks m = {.begin = bench_now()};
	double end;
	stk_status status;

	for (int l = 0; l < 3; l++)
		plan.sizes[l] = s->size;
	result->codewords = calloc(total * (size_t) s->dim, sizeof(float));
	result->counts = calloc(total, sizeof(double));
	status = e->ops->train(e, exec, &plan, &rows, NULL, take_report, &m, result, &err);
	must(status == STK_OK, "train", err.message);
	end = bench_now();
	printf("   %-5s %8.1f ms: begin %.1f, levels %.1f, refine %.1f, evaluate %.1f\n", e->ops->name,
		   (end - m.begin) * 1e3, (m.first - m.begin) * 1e3, (m.learnt - m.first) * 1e3,
		   (m.refined - m.learnt) * 1e3, (end - m.refined) * 1e3);
	fflush(stdout);
}

static unsigned long
compare(stk_engine *const engines[2], const stk_exec *exec, const shape *s, const float *x)
{
	size_t total = 3 * (size_t) s->size;
	stk_train_result r[2];
	unsigned long wrong = 0;

	printf("%s: %zu x %d, 3 x %u, %s, %d iterations, %d rounds of refinement, beam %d\n", s->what,
		   s->n, s->dim, s->size, s->init == STK_INIT_KMEANSII ? "k-means||" : "k-means++",
		   s->epochs, s->refine, s->beam);
	for (int e = 0; e < 2; e++)
		train(engines[e], exec, s, x, &r[e]);
	wrong += memcmp(r[0].codewords, r[1].codewords, total * (size_t) s->dim * sizeof(float)) != 0;
	wrong += memcmp(r[0].counts, r[1].counts, total * sizeof(double)) != 0;
	wrong += memcmp(&r[0].rows, &r[1].rows, sizeof(stk_evaluation)) != 0;
	printf("   %s; error %.5f, %llu ids\n", wrong ? "DIFFERENT" : "equal", r[0].rows.mse,
		   (unsigned long long) r[0].rows.ids);
	for (int e = 0; e < 2; e++)
	{
		free(r[e].codewords);
		free(r[e].counts);
	}
	return wrong;
}

int
main(void)
{
	static const shape shapes[] = {
		{"warm", 20000, 64, 256, STK_INIT_KMEANSPP, 2, 1, 2},
		{"k-means||", 200000, 384, 256, STK_INIT_KMEANSII, 10, 0, 1},
		{"k-means++", 200000, 384, 256, STK_INIT_KMEANSPP, 10, 0, 1},
		{"k-means||, K 512", 50000, 128, 512, STK_INIT_KMEANSII, 25, 0, 1},
		{"k-means++, K 512", 50000, 128, 512, STK_INIT_KMEANSPP, 25, 0, 1},
		{"refined", 200000, 128, 256, STK_INIT_KMEANSII, 5, 5, 5},
		{"refined", 65536, 384, 256, STK_INIT_KMEANSII, 5, 5, 5},
		{"1 M rows evaluated", 1000000, 128, 256, STK_INIT_RANDOM, 1, 0, 1}};
	size_t most = (size_t) 1000000 * 128;
	float *x = malloc(most * sizeof(float));
	stk_engine *engines[2];
	stk_crew *crew;
	stk_exec exec = *plain_exec();
	stk_error err = {.level = -1};
	unsigned long wrong = 0;
	uint64_t seed = 5;
	char path[4096];

	(void) bench_device();
	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	must(stk_engine_cpu_open(&stk_malloc, &engines[0], &err) == STK_OK, "cpu", err.message);
	must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
	must(stk_plugin_open(path, &stk_malloc, engines[0], "all", &engines[1], &err) == STK_OK, path,
		 err.message);
	exec.pool = stk_crew_pool(crew, STK_URGENT);
	/* About normal, of some structure: what is found can be refined. */
	for (size_t i = 0; i < most; i++)
		x[i] = next_float(&seed) + next_float(&seed) + (float) (i % 7 == 0) * next_float(&seed);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		wrong += compare(engines, &exec, &shapes[i], x);
	free(x);
	return wrong > 0;
}
