/*
 * Beam steps and whole searches in tries on a device against core: the same prefixes and ids, in
 * the same order, the same bits.
 *
 *   make cuda-test here; test/cuda/bin/test_trie [PROBLEMS] where there is a device
 *
 * PROBLEMS of each kind, 60; 0: few and small ones, for compute-sanitizer.
 */
#include "core/explog.h"
#include "engine/plugin.h"
#include "trie.h"

/* Behind the others: a type of it has a name that they use. */
#include "core/terms.h"

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong, const char *more)
{
	printf("%-6s %-52s %10zu compared %8lu wrong%s\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong, more);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* The kinds of sets. */
typedef enum shape
{
	SHAPE_EVEN,   /* ids of one length */
	SHAPE_RAGGED, /* ids below ids, several tokenizers */
	SHAPE_SPARSE, /* tails mostly */
	SHAPE_LINE,   /* one child everywhere */
	SHAPE_FULL,   /* nodes with 65,536 children */
	SHAPE_CROWD,  /* of a step's candidates thousands cost the same */
	N_SHAPES
} shape;

static const char *const shape_names[] = {"ids of one length", "ragged ids",
										  "one-id tails",      "one child everywhere",
										  "65,536 children",   "crowds of ties"};

static void
make_catalog(catalog *c, shape kind, bool small, int *levels, uint32_t *codes, prng *r)
{
	size_t n = 1 + prng_below(r, small ? 100 : 3000);

	*levels = 1 + (int) prng_below(r, kind == SHAPE_SPARSE ? 12 : 5);
	*codes = 1 + prng_below(r, 300);
	if (kind == SHAPE_RAGGED)
		catalog_random(c, r, n, 3, 1, *levels, 1 + *codes % 12, false);
	else if (kind == SHAPE_SPARSE)
		even_catalog(c, n, *levels, *codes = 65536, r);
	else if (kind == SHAPE_LINE)
		even_catalog(c, 1, *levels = 1 + (int) prng_below(r, STK_MAX_LEVELS), *codes, r);
	else if (kind == SHAPE_FULL)
	{
		size_t all = small ? 5000 : 65536;
		stk_semid *ids = calloc(2 * all, sizeof(stk_semid));

		*levels = 2;
		*codes = 65536;
		for (size_t i = 0; i < 2 * all; i++)
		{
			ids[i] = (stk_semid){.tokenizer = 1, .levels = 2};
			ids[i].codes[0] = (uint16_t) (i < all ? i * (65536 / all) : 7);
			ids[i].codes[1] = (uint16_t) (i < all ? i : (i - all) * (65536 / all));
		}
		catalog_init(c, ids, 2 * all, false);
	}
	else if (kind == SHAPE_CROWD)
	{
		size_t all = small ? 2000 : 8000;
		stk_semid *ids = calloc(all, sizeof(stk_semid));

		*levels = 2;
		*codes = 512;
		for (size_t i = 0; i < all; i++)
		{
			ids[i] = (stk_semid){.tokenizer = 1, .levels = i % 2 ? 2 : 3};
			ids[i].codes[0] = (uint16_t) prng_below(r, 24);
			ids[i].codes[1] = (uint16_t) prng_below(r, *codes);
			ids[i].codes[2] = ids[i].levels > 2 ? (uint16_t) prng_below(r, *codes) : 0;
		}
		catalog_init(c, ids, all, false);
	}
	else
		even_catalog(c, n, *levels, *codes = 1 + *codes % 40, r);
}

/* Logits that tie often, or never are; or far apart. */
static void
fill_logits(float *z, size_t n, uint32_t kind, prng *r)
{
	for (size_t i = 0; i < n; i++)
	{
		z[i] = (float) (prng_uniform(r) * 16 - 8);
		if (kind % 3 == 1)
			z[i] = (float) (int) (z[i] / 4);
		if (kind % 5 == 2)
			z[i] *= 1e3f;
		if (kind % 4 == 3 && prng_below(r, 3) == 0)
			z[i] = -INFINITY;
	}
}

/* A candidate of a step, as core has it. */
typedef struct candidate
{
	double cost;
	uint32_t number;
	stk_node node;
} candidate;

static int
compare_candidates(const void *x, const void *y)
{
	const candidate *a = x, *b = y;

	if (a->cost != b->cost)
		return a->cost < b->cost ? -1 : 1;
	return (a->number > b->number) - (a->number < b->number);
}

static int
compare_numbers(const void *x, const void *y)
{
	const candidate *a = x, *b = y;

	return (a->number > b->number) - (a->number < b->number);
}

/* A node, in the set and in the trie. */
typedef struct place
{
	int level;
	uint32_t index;
	stk_node node;
} place;

static place
random_place(const there *t, bool crowded, prng *r)
{
	place p = {.index = prng_below(r, t->set.roots)};
	int levels = (int) prng_below(r, (uint32_t) t->set.depth + 1);

	/* Most where most of the codes follow. */
	levels = crowded && prng_below(r, 4) > 0 ? 1 : levels;

	p.node = t->here.root[p.index];
	while (p.level < levels)
	{
		stk_node_children c = stk_node_list(&t->here, p.node);
		uint32_t from, to, i;

		stk_semset_children(&t->set, p.level, p.index, &from, &to);
		if (from == to)
			break;
		i = prng_below(r, to - from);
		p = (place){p.level + 1, from + i, stk_node_child(&t->here, &c, i)};
	}
	return p;
}

/* All candidates of one query, by given terms or core's own; returns how many live. */
static size_t
list_candidates(const there *t, const stk_trie_step *s, const place *places, const double *cost,
				uint32_t n, const float *logits, const double *given, const double *temperature,
				candidate *out)
{
	size_t live = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		size_t at = s->row_each ? i * s->stride : 0;
		stk_node_children children = stk_node_list(&t->here, places[i].node);
		stk_decode_options options;
		stk_child *list;
		uint32_t from, to, code;
		terms own;
		terms_row read;

		stk_semset_children(&t->set, places[i].level, places[i].index, &from, &to);
		if (from == to)
			continue;
		stk_decode_defaults(&options);
		options.temperature = temperature ? temperature[s->row_each ? i : 0] : 0;
		terms_init(&own, &options, &stk_malloc);
		must(terms_read_row(&own, s->norm, logits + at, s->size, &read, &code) == STK_OK, "row",
			 "");
		list = calloc(to - from, sizeof(stk_child));
		for (uint32_t c = from; c < to; c++)
			list[c - from].code = t->set.code[places[i].level + 1][c];
		must(terms_of_children(&own, s->norm, &read, list, to - from) == STK_OK, "terms", "");
		for (uint32_t c = 0; c < to - from && given; c++)
			own.cost[c] = list[c].code < s->size ? given[at + list[c].code] : INFINITY;
		for (uint32_t c = 0; c < to - from; c++)
		{
			candidate *k = &out[live];

			*k = (candidate){cost[i] + own.cost[c], i << 16 | list[c].code,
							 stk_node_child(&t->here, &children, c)};
			live += k->cost < INFINITY && (s->leaves || stk_node_goes_on(k->node));
		}
		free(list);
		terms_free(&own);
	}
	return live;
}

/* Steps from random prefixes; returns differences. */
static unsigned long
try_step(const there *t, shape kind, int p, bool small, uint32_t codes, size_t *compared, prng *r)
{
	/* Crowds of so many queries that one block has all prefixes of each, and cuts its pool again. */
	bool crowded = kind == SHAPE_CROWD, given = p % 4 < 2 && p % 3 != STK_NORM_MASKED;
	uint32_t n = (crowded && !small && p % 4 == 0 ? 140 : 1) + prng_below(r, p % 4 == 0 ? 40 : 3);
	uint32_t parents = (crowded ? 20 : 1) + prng_below(r, crowded ? 30 : 60);
	stk_trie_step s = {.trie = t->trie.view,
					   .n = n,
					   .parents = parents,
					   .width = 1 + prng_below(r, p % 5 == 0 ? STK_STEP_MOST
												  : crowded  ? 500
															 : 80),
					   .size = p % 6 == 0 ? 1 + prng_below(r, codes) : codes,
					   .norm = (stk_norm) (p % 3),
					   .row_each = crowded ? p % 4 == 1 : p % 7 != 0,
					   .leaves = p % 2,
					   .by_path = p % 8 >= 6};
	size_t rows, kept = (size_t) n * s.width, all = (size_t) n * parents, most = 0;
	place *places = calloc(all, sizeof(place));
	stk_node *nodes = calloc(all, sizeof(stk_node));
	double *cost = calloc(all, sizeof(double)), *added, *temperature;
	uint32_t *n_parents = calloc(n, sizeof(uint32_t)), *n_out = calloc(n, sizeof(uint32_t));
	uint32_t *numbers = malloc(kept * sizeof(uint32_t));
	stk_node *out_nodes = malloc(kept * sizeof(stk_node));
	double *out_cost = malloc(kept * sizeof(double));
	uint8_t *dropped = calloc(n, 1);
	candidate *list;
	float *logits;
	size_t scratch;
	stk_error err = {.level = -1};
	unsigned long wrong = 0;

	if (small && s.size > 3000)
		s.size = 3000;
	s.stride = s.size + prng_below(r, 5);
	rows = s.row_each ? all : n;
	logits = malloc(rows * s.stride * sizeof(float));
	temperature = malloc(rows * sizeof(double));
	added = malloc(rows * s.stride * sizeof(double));
	fill_logits(logits, rows * s.stride, (uint32_t) p, r);
	for (size_t i = 0; i < rows * s.stride; i++)
	{
		if (crowded && logits[i] > -INFINITY)
			logits[i] = (float) prng_below(r, 16) / 2;
		added[i] = 0.0 - (double) logits[i];
	}
	for (size_t i = 0; i < rows; i++)
		temperature[i] = prng_below(r, 2) ? 1 : 0.1 + 3 * prng_uniform(r);
	for (uint32_t q = 0; q < n; q++)
	{
		size_t sum = 0;

		n_parents[q] = p % 9 == 0 ? prng_below(r, parents + 1) : parents;
		for (uint32_t i = 0; i < n_parents[q]; i++)
		{
			size_t at = (size_t) q * parents + i;

			places[at] = random_place(t, crowded, r);
			nodes[at] = places[at].node;
			cost[at] = prng_below(r, 4) ? prng_uniform(r) * 9 - (s.norm == STK_NORM_NONE) : 0;
			if (crowded)
				cost[at] = prng_below(r, 4) / 2.0;
			sum += stk_node_list(&t->here, nodes[at]).n;
		}
		most = sum > most ? sum : most;
	}
	list = malloc((most + 1) * sizeof(candidate));
	s.node = device_copy(nodes, all * sizeof(stk_node));
	s.cost = device_copy(cost, all * sizeof(double));
	s.n_parents = device_copy(n_parents, n * sizeof(uint32_t));
	s.logits = device_copy(logits, rows * s.stride * sizeof(float));
	s.terms = given ? device_copy(added, rows * s.stride * sizeof(double)) : NULL;
	s.temperature = p % 5 == 3 ? device_copy(temperature, rows * sizeof(double)) : NULL;
	s.n_out = device_memory(n * sizeof(uint32_t));
	s.out_number = device_memory(kept * sizeof(uint32_t));
	s.out_node = device_memory(kept * sizeof(stk_node));
	s.out_cost = device_memory(kept * sizeof(double));
	s.dropped = device_memory(n);
	scratch = stk_trie_step_scratch(n, s.width);
	s.scratch = device_memory(scratch);
	MUST_CUDA(cudaMemset(s.scratch, 0, scratch));
	for (int run = 0; run < 2; run++)
	{
		MUST_CUDA(cudaMemset(s.dropped, 0, n));
		must(stk_trie_step_launch(&s, 0, &err) == STK_OK, "step", err.message);
		MUST_CUDA(cudaDeviceSynchronize());
		MUST_CUDA(cudaMemcpy(n_out, s.n_out, n * sizeof(uint32_t), cudaMemcpyDeviceToHost));
		MUST_CUDA(
			cudaMemcpy(numbers, s.out_number, kept * sizeof(uint32_t), cudaMemcpyDeviceToHost));
		MUST_CUDA(
			cudaMemcpy(out_nodes, s.out_node, kept * sizeof(stk_node), cudaMemcpyDeviceToHost));
		MUST_CUDA(cudaMemcpy(out_cost, s.out_cost, kept * sizeof(double), cudaMemcpyDeviceToHost));
		MUST_CUDA(cudaMemcpy(dropped, s.dropped, n, cudaMemcpyDeviceToHost));
		for (uint32_t q = 0; q < n; q++)
		{
			size_t first = (size_t) q * parents, at = (size_t) q * s.width;
			size_t row = s.row_each ? first : q;
			size_t live =
				list_candidates(t, &s, places + first, cost + first, n_parents[q],
								logits + row * s.stride, given ? added + row * s.stride : NULL,
								s.temperature ? temperature + row : NULL, list);
			size_t expected = live < s.width ? live : s.width;

			qsort(list, live, sizeof(candidate), compare_candidates);
			if (s.by_path)
				qsort(list, expected, sizeof(candidate), compare_numbers);
			wrong += n_out[q] != expected || dropped[q] != (live > s.width);
			for (size_t i = 0; i < expected && n_out[q] == expected; i++)
			{
				wrong += numbers[at + i] != list[i].number || out_nodes[at + i] != list[i].node ||
						 memcmp(&out_cost[at + i], &list[i].cost, sizeof(double)) != 0;
				++*compared;
			}
		}
	}
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.node));
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.cost));
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.n_parents));
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.logits));
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.terms));
	MUST_CUDA(cudaFree((void *) (uintptr_t) s.temperature));
	MUST_CUDA(cudaFree(s.n_out));
	MUST_CUDA(cudaFree(s.out_number));
	MUST_CUDA(cudaFree(s.out_node));
	MUST_CUDA(cudaFree(s.out_cost));
	MUST_CUDA(cudaFree(s.dropped));
	MUST_CUDA(cudaFree(s.scratch));
	free(places);
	free(nodes);
	free(cost);
	free(temperature);
	free(n_parents);
	free(n_out);
	free(numbers);
	free(out_nodes);
	free(out_cost);
	free(dropped);
	free(logits);
	free(added);
	free(list);
	return wrong;
}

/* A batch and room for what it finds. */
static stk_search_batch
make_batch(int p, int levels, int depth, uint32_t codes, bool small, prng *r)
{
	stk_search_batch b = {.n = 1 + prng_below(r, small ? 4 : 300),
						  .levels = levels,
						  .tokenizer = p % 11 == 3 ? 77 : 1,
						  .norm = (stk_norm) (p % 3),
						  .beam_size = 1 + prng_below(r, p % 4 ? 60 : STK_STEP_MOST),
						  .k = 1 + prng_below(r, 70),
						  .width = levels > depth ? levels : depth};
	size_t row;
	float *logits;
	double *cost;

	if (codes > 1000)
		b.n = 1 + b.n % 5;
	for (int l = 0; l < levels; l++)
		b.sizes[l] = p % 6 == 0 ? 1 + prng_below(r, codes) : codes;
	row = stk_search_batch_terms(&b);
	logits = malloc(b.n * row * sizeof(float));
	cost = malloc(b.n * row * sizeof(double));
	fill_logits(logits, b.n * row, (uint32_t) p, r);
	for (size_t i = 0, at = 0; i < b.n && b.norm != STK_NORM_MASKED; i++)
		for (int l = 0; l < levels; at += b.sizes[l++])
		{
			if (b.norm == STK_NORM_FULL)
				logits[at] = logits[at] > -INFINITY ? logits[at] : 0;
			if (b.norm == STK_NORM_FULL)
				must(stk_softmax_costs(logits + at, b.sizes[l], cost + at) == STK_OK, "costs", "");
			for (uint32_t c = 0; c < b.sizes[l] && b.norm == STK_NORM_NONE; c++)
				cost[at + c] = 0.0 - (double) logits[at + c];
		}
	b.logits = logits;
	b.cost = cost;
	b.found = calloc(b.n, sizeof(uint32_t));
	b.costs = calloc(b.n * b.k, sizeof(double));
	b.lengths = calloc(b.n * b.k, 1);
	b.codes = calloc(b.n * b.k * (size_t) b.width, sizeof(uint16_t));
	b.dropped = calloc(b.n, 1);
	return b;
}

static void
free_batch(stk_search_batch *b)
{
	free((void *) (uintptr_t) b->logits);
	free((void *) (uintptr_t) b->cost);
	free(b->found);
	free(b->costs);
	free(b->lengths);
	free(b->codes);
	free(b->dropped);
}

/* The two engines, and a batch of each one's own answers. */
typedef struct engines
{
	stk_engine *cpu, *cuda;
	stk_exec exec;
} engines;

static stk_status
search(stk_engine *e, const stk_exec *exec, const there *t, const stk_search_batch *b)
{
	stk_resident_trie *trie;
	stk_error err = {.level = -1};
	stk_status status;

	must(e->ops->trie_load(e, exec, t->stored, t->bytes, &trie, &err) == STK_OK, "load",
		 err.message);
	status = e->ops->search(e, exec, trie, b, &err);
	must(status == STK_OK || status == STK_EDEVICE, "search", err.message);
	e->ops->trie_unload(e, trie);
	return status;
}

/* What one engine found, and the other. */
static unsigned long
compare_batches(const stk_search_batch *x, const stk_search_batch *y, size_t *compared)
{
	unsigned long wrong = 0;

	for (size_t i = 0; i < x->n; i++)
	{
		size_t at = i * x->k;
		size_t found = x->found[i];

		/* The cores may say so where nothing was lost, too. */
		wrong += found != y->found[i] || y->dropped[i] > x->dropped[i];
		if (found != y->found[i])
			continue;
		wrong += memcmp(x->costs + at, y->costs + at, found * sizeof(double)) != 0;
		wrong += memcmp(x->lengths + at, y->lengths + at, found) != 0;
		wrong += memcmp(x->codes + at * (size_t) x->width, y->codes + at * (size_t) y->width,
						found * (size_t) x->width * sizeof(uint16_t)) != 0;
		*compared += found;
	}
	return wrong;
}

static void
test_shape(const engines *e, shape kind, int problems, bool small, prng *r)
{
	size_t steps = 0, ids = 0;
	unsigned long wrong_steps = 0, wrong_ids = 0;
	int left = 0;
	char what[80], more[80];

	if ((kind == SHAPE_FULL || kind == SHAPE_CROWD) && !small)
		problems = (problems + 3) / 4;
	for (int p = 0; p < problems; p++)
	{
		int levels;
		uint32_t codes;
		catalog c;
		there t;
		stk_search_batch b, expected;

		make_catalog(&c, kind, small, &levels, &codes, r);
		there_init(&t, &c);
		wrong_steps += try_step(&t, kind, p, small, codes, &steps, r);
		/* Now and then queries are deeper than the ids, or less so. */
		levels += p % 7 == 6 && levels < STK_MAX_LEVELS ? 1 : 0;
		levels -= p % 4 == 2 && levels > 1 ? 1 : 0;
		b = make_batch(p, levels, t.set.depth, codes, small, r);
		expected = b;
		expected.found = calloc(b.n, sizeof(uint32_t));
		expected.costs = calloc(b.n * b.k, sizeof(double));
		expected.lengths = calloc(b.n * b.k, 1);
		expected.codes = calloc(b.n * b.k * (size_t) b.width, sizeof(uint16_t));
		expected.dropped = calloc(b.n, 1);
		must(search(e->cpu, &e->exec, &t, &expected) == STK_OK, "search", "");
		for (int run = 0; run < 2; run++)
		{
			bool takes = e->cuda->ops->takes_search(e->cuda, &b);
			bool done = search(e->cuda, &e->exec, &t, &b) == STK_OK;

			wrong_ids += takes != done;
			left += !done;
			if (done)
				wrong_ids += compare_batches(&expected, &b, &ids);
		}
		expected.logits = NULL;
		expected.cost = NULL;
		free_batch(&expected);
		free_batch(&b);
		there_free(&t);
		catalog_free(&c);
	}
	snprintf(what, sizeof(what), "steps: %s", shape_names[kind]);
	say(what, steps, wrong_steps, "");
	snprintf(what, sizeof(what), "searches: %s", shape_names[kind]);
	snprintf(more, sizeof(more), ", %d left to the cores", left);
	say(what, ids, wrong_ids, more);
}

int
main(int argc, char **argv)
{
	int problems = argc > 1 ? atoi(argv[1]) : 60;
	bool small = problems == 0;
	engines e = {.exec = *plain_exec()};
	struct cudaDeviceProp device;
	stk_error err = {.level = -1};
	stk_crew *crew;
	char path[4096];
	prng r = {20261122};

	MUST_CUDA(cudaGetDeviceProperties(&device, 0));
	printf("device: %s, compute capability %d.%d\n", device.name, device.major, device.minor);
	must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	e.exec.pool = stk_crew_pool(crew, STK_URGENT);
	must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
	must(stk_engine_cpu_open(&stk_malloc, &e.cpu, &err) == STK_OK, "cpu", err.message);
	must(stk_plugin_open(path, &stk_malloc, e.cpu, "all", &e.cuda, &err) == STK_OK, path,
		 err.message);
	for (int kind = 0; kind < N_SHAPES; kind++)
		test_shape(&e, (shape) kind, small ? 9 : problems, small, &r);
	e.cuda->ops->close(e.cuda);
	e.cpu->ops->close(e.cpu);
	stk_crew_stop(crew);
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
