/* Beams: the certified filter and the plain way, against a beam written as plainly as can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/beam_tables.h"
#include "core/rq.h"
#include "engine/crew.h"
#include "hostile.h"

#define MAX_LEVELS 4
#define MAX_DIM 130
#define MAX_ROWS 40

static stk_crew *pools[4]; /* [0] stays NULL: this thread alone */

static int
set_up(void **state)
{
	(void) state;
	for (int t = 1; t < 4; t++)
	{
		if (stk_crew_start(t, &pools[t]) != STK_OK)
			return -1;
	}
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	for (int t = 1; t < 4; t++)
		stk_crew_stop(pools[t]);
	return 0;
}

/* A codebook and rows, allocated. */
typedef struct problem
{
	stk_codebook cb;
	float *codewords;
	float *x; /* [n][dim] */
	size_t n;
} problem;

static void
problem_free(problem *p)
{
	free(p->codewords);
	free(p->x);
}

/* Room for a problem of this shape, numbers to be filled in. */
static problem
problem_shape(stk_metric metric, int levels, const uint32_t *sizes, size_t dim, size_t n)
{
	problem p = {.cb = {.metric = metric, .levels = levels, .dim = (int) dim}, .n = n};
	size_t total = 0;

	for (int l = 0; l < levels; l++)
		total += sizes[l];
	p.codewords = malloc(total * dim * sizeof(float));
	p.x = malloc(n * dim * sizeof(float));
	total = 0;
	for (int l = 0; l < levels; l++)
	{
		p.cb.sizes[l] = sizes[l];
		p.cb.codewords[l] = p.codewords + total * dim;
		total += sizes[l];
	}
	return p;
}

static void
fill_level(problem *p, int level, const hostile_kind *kind, uint64_t *seed)
{
	size_t dim = (size_t) p->cb.dim;
	hostile_set s = {.dim = dim,
					 .n = p->n,
					 .size = p->cb.sizes[level],
					 .inner_product = p->cb.metric == STK_IP,
					 .c = (float *) p->cb.codewords[level]};

	s.x = level == 0 ? p->x : malloc(p->n * dim * sizeof(float));
	kind->make(&s, seed);
	if (level > 0)
		free(s.x);
}

static problem
problem_random(stk_metric metric, int levels, const uint32_t *sizes, size_t dim, size_t n,
			   uint64_t *seed)
{
	problem p = problem_shape(metric, levels, sizes, dim, n);

	for (int l = 0; l < levels; l++)
	{
		fill((float *) p.cb.codewords[l], sizes[l] * dim, ldexpf(1, -l), seed);
	}
	fill(p.x, n * dim, 1.5f, seed);
	return p;
}

typedef struct plain_prefix
{
	double key, s;
	uint16_t codes[MAX_LEVELS];
	float *r; /* [dim] of the parent until it is kept */
} plain_prefix;

static int plain_level;

static int
compare_prefixes(const void *a, const void *b)
{
	const plain_prefix *p = a;
	const plain_prefix *q = b;

	if (p->key != q->key)
		return p->key < q->key ? -1 : 1;
	if (p->s != q->s)
		return p->s < q->s ? -1 : 1;
	for (int l = 0; l <= plain_level; l++)
	{
		if (p->codes[l] != q->codes[l])
			return p->codes[l] < q->codes[l] ? -1 : 1;
	}
	return 0;
}

/*
 * One row: every prefix's children, sorted whole. Returns the level whose residual of a kept
 * prefix is out of range, or 0.
 */
static int
plain_beam(const stk_codebook *cb, const float *x, size_t width, uint16_t *codes)
{
	size_t dim = (size_t) cb->dim;
	plain_prefix *kept = malloc(sizeof(plain_prefix));
	size_t n = 1;
	int bad = 0;

	memset(kept, 0, sizeof(*kept));
	kept[0].r = malloc(dim * sizeof(float));
	plain_prepare(cb, x, kept[0].r);
	kept[0].key = plain_dot(kept[0].r, kept[0].r, dim);
	for (int l = 0; l < cb->levels && bad == 0; l++)
	{
		plain_prefix *all = malloc(n * cb->sizes[l] * sizeof(plain_prefix));
		size_t total = 0;

		for (size_t p = 0; p < n; p++)
		{
			for (uint32_t k = 0; k < cb->sizes[l]; k++)
			{
				plain_prefix *child = &all[total++];

				*child = kept[p];
				child->s =
					plain_score(kept[p].r, cb->codewords[l] + k * dim, dim, cb->metric == STK_IP);
				child->key = kept[p].key + 2 * child->s;
				child->codes[l] = (uint16_t) k;
			}
		}
		plain_level = l;
		qsort(all, total, sizeof(plain_prefix), compare_prefixes);
		total = total < width ? total : width;
		for (size_t i = 0; i < total && l + 1 < cb->levels; i++)
		{
			const float *c = cb->codewords[l] + all[i].codes[l] * dim;
			float *r = malloc(dim * sizeof(float));

			for (size_t j = 0; j < dim; j++)
			{
				r[j] = all[i].r[j] - c[j];
				if (!isfinite(r[j]))
					bad = l + 1;
			}
			all[i].r = r;
		}
		for (size_t p = 0; p < n; p++)
			free(kept[p].r);
		free(kept);
		kept = all;
		n = l + 1 < cb->levels ? total : 0;
	}
	memcpy(codes, kept[0].codes, (size_t) cb->levels * sizeof(uint16_t));
	for (size_t p = 0; p < n; p++)
		free(kept[p].r);
	free(kept);
	return bad;
}

/* What encoding must say. */
typedef struct outcome
{
	stk_status status;
	size_t row; /* of the error */
	int level;
	uint16_t *codes; /* [n][levels] */
} outcome;

static outcome
plain_outcome(const problem *p, int width)
{
	outcome o = {.status = STK_OK, .level = -1};
	size_t dim = (size_t) p->cb.dim;
	size_t levels = (size_t) p->cb.levels;

	o.codes = malloc(p->n * levels * sizeof(uint16_t));
	for (; o.row < p->n && o.status == STK_OK; o.row++)
	{
		const float *x = p->x + o.row * dim;
		int bad;

		if (p->cb.metric == STK_COSINE && plain_dot(x, x, dim) == 0)
		{
			o.status = STK_EINVAL;
			break;
		}
		bad = plain_beam(&p->cb, x, (size_t) width, o.codes + o.row * levels);
		if (bad > 0)
		{
			o.status = STK_ERANGE;
			o.level = bad;
			break;
		}
	}
	return o;
}

static void
assert_outcome(const problem *p, const outcome *o, const stk_rq *rq, const stk_exec *exec,
			   int width, stk_nearest_stats *stats)
{
	size_t levels = (size_t) p->cb.levels;
	uint16_t *codes = malloc(p->n * levels * sizeof(uint16_t));
	stk_error err = {.row = 12345, .level = 12345};

	assert_int_equal(stk_rq_encode(rq, exec, p->x, p->n, width, codes, stats, &err), o->status);
	if (o->status == STK_OK)
		assert_memory_equal(codes, o->codes, p->n * levels * sizeof(uint16_t));
	else
	{
		assert_int_equal(err.row, o->row);
		assert_int_equal(err.level, o->level);
	}
	free(codes);
}

/* Every vector unit, with and without tables, on 0 (none) to 3 threads, against the plain beam. */
static void
assert_beams(const problem *p, int width, stk_nearest_stats *stats)
{
	outcome o = plain_outcome(p, width);

	for (stk_simd simd = STK_SIMD_AVX512; simd <= STK_SIMD_SCALAR; simd++)
	{
		stk_cpu cpu;
		stk_exec exec = {.a = stk_malloc, .cpu = &cpu};
		stk_error err;
		stk_rq *rq;

		if (stk_cpu_choose(simd, &cpu, NULL) != STK_OK)
			continue;
		assert_int_equal(stk_rq_create(&p->cb, &exec, STK_FILTER_BEST, &rq, &err), STK_OK);
		if (simd == STK_SIMD_SCALAR)
			assert_outcome(p, &o, rq, &exec, width, NULL);
		assert_int_equal(stk_rq_prepare_beam(rq, &exec), STK_OK);
		for (int t = 0; t < 4; t++)
		{
			exec.pool = t > 0 ? stk_crew_pool(pools[t], STK_BACKGROUND) : NULL;
			assert_outcome(p, &o, rq, &exec, width, t == 0 ? stats : NULL);
		}
		stk_rq_free(rq);
	}
	free(o.codes);
}

static void
print_stats(const char *what, const stk_nearest_stats *s)
{
	print_message("%s: %.2f %% of levels open (%.1f candidates), %.2f %% left to the reference\n",
				  what, 100.0 * (double) s->undecided / (double) s->rows,
				  (double) s->candidates / (double) (s->undecided ? s->undecided : 1),
				  100.0 * (double) s->reference / (double) s->rows);
}

static void
hostile_rows(void **state)
{
	static const size_t dims[] = {1, 2, 3, 7, 17, 33, 100, 129};
	static const int widths[] = {2, 3, 5, 8, 17, 33, 64};
	size_t problems = unit_rows() / 1000;
	uint64_t seed = 21;

	(void) state;
	for (size_t i = 0; i < HOSTILE_KINDS; i++)
	{
		stk_nearest_stats stats = {0};

		for (size_t j = 0; j < problems / HOSTILE_KINDS + 1; j++)
		{
			uint32_t sizes[MAX_LEVELS];
			int levels = 1 + (int) below(MAX_LEVELS, &seed);
			problem p;

			for (int l = 0; l < levels; l++)
				sizes[l] = 1 + (uint32_t) below(j % 8 == 0 && l == 0 ? 700 : 40, &seed);
			p = problem_shape((stk_metric) below(3, &seed), levels, sizes, dims[below(8, &seed)],
							  1 + below(MAX_ROWS, &seed));
			/* Half of the time a level is of another kind than the rows. */
			for (int l = 0; l < levels; l++)
				fill_level(
					&p, l,
					&hostile_kinds[l > 0 && below(2, &seed) ? below(HOSTILE_KINDS, &seed) : i],
					&seed);
			assert_beams(&p, widths[below(7, &seed)], &stats);
			problem_free(&p);
		}
		print_stats(hostile_kinds[i].name, &stats);
	}
}

/* Widths from 2 to more than there are prefixes, whole pieces and groups of children. */
static void
widths(void **state)
{
	static const int all[] = {2, 3, 5, 17, 40, 130, 1000, 1000000};
	/* The large levels take an emulator minutes. */
	int rounds = (int) unit_size(4, 4, 1);
	uint64_t seed = 22;

	(void) state;
	for (int round = 0; round < rounds; round++)
	{
		uint32_t sizes[] = {round == 2 ? 1100 : 60, 30, round == 3 ? 530 : 14};
		problem p = problem_random((stk_metric) (round % 3), 3, sizes, 11, 9, &seed);
		stk_nearest_stats stats = {0};

		for (size_t w = 0; w < sizeof(all) / sizeof(all[0]); w++)
			assert_beams(&p, all[w], &stats);
		assert_true(stats.reference == 0);
		problem_free(&p);
	}
}

/* On ordinary rows the filter decides nearly everything, and no row is left over. */
static void
the_filter_decides(void **state)
{
	uint64_t seed = 23;
	problem p = problem_random(STK_L2, 3, (uint32_t[]){100, 100, 100}, 64, 40, &seed);
	stk_nearest_stats stats = {0};

	(void) state;
	assert_beams(&p, 5, &stats);
	print_stats("random", &stats);
	assert_true(stats.rows > 0 && stats.rows % (40 * 3) == 0);
	assert_true(stats.reference == 0);
	assert_true(stats.undecided * 20 < stats.rows);
	problem_free(&p);
}

/* Values of prefixes with random codes are off by no more than is claimed, at every level. */
static double
largest_share(const problem *p, uint64_t *seed)
{
	size_t dim = (size_t) p->cb.dim;
	stk_beam_tables *t;
	double largest = 0;

	assert_int_equal(stk_beam_tables_create(&p->cb, plain_exec(), &stk_malloc, &t), STK_OK);
	for (size_t i = 0; i < p->n; i++)
	{
		const stk_kernel *kernel = t->level[0].pack.kernel;
		stk_beam_children children = stk_beam_children_for(plain_exec()->cpu);
		uint8_t *tile = aligned_alloc(STK_ALIGN, kernel->tile_bytes(dim));
		float *scores = aligned_alloc(STK_ALIGN, t->total * sizeof(float));
		float r[MAX_DIM];
		uint16_t codes[MAX_LEVELS];
		double error[MAX_LEVELS];
		stk_bound_row bound;
		double key, start;
		float value = 0;

		kernel->pack_rows(&t->level[0].pack, p->x + i * dim, 1, tile, &bound);
		memcpy(r, p->x + i * dim, dim * sizeof(float));
		key = start = plain_dot(r, r, dim);
		if (!stk_beam_errors(t, bound.norm, error))
			error[0] = -1;
		for (int l = 0; l < p->cb.levels && error[0] >= 0; l++)
		{
			const stk_beam_level *level = &t->level[l];
			const float *rows[MAX_LEVELS];
			float out[1024], maxima[STK_BEAM_LANES], best;
			const float *c;
			double share;

			codes[l] = (uint16_t) below(p->cb.sizes[l], seed);
			c = p->cb.codewords[l] + codes[l] * dim;
			kernel->score(&level->pack, tile, 1, 0, level->pack.panels, scores + level->first,
						  t->total, &best);
			for (int m = 0; m < l; m++)
				rows[m] = level->products + (t->level[m].above + codes[m]) * level->stride;
			children(value, scores + level->first, rows, l, level->stride, out, maxima);
			value = out[codes[l]];
			key += 2 * plain_score(r, c, dim, p->cb.metric == STK_IP);
			for (size_t j = 0; j < dim; j++)
				r[j] = r[j] - c[j];
			share = fabs((double) value - (start - key) / 2) / error[l];
			assert_true(share <= 1);
			largest = share > largest ? share : largest;
		}
		free(tile);
		free(scores);
	}
	stk_beam_tables_free(t);
	return largest;
}

static void
errors_are_bounded(void **state)
{
	static const size_t dims[] = {1, 2, 9, 64, 129};
	uint64_t seed = 24;

	(void) state;
	for (size_t kind = 0; kind < HOSTILE_KINDS; kind++)
	{
		double largest = 0;

		for (int round = 0; round < 60; round++)
		{
			uint32_t sizes[] = {7, 5, 6, 4};
			problem p =
				problem_shape(round % 2 ? STK_IP : STK_L2, 4, sizes, dims[below(5, &seed)], 40);
			double share;

			for (int l = 0; l < 4; l++)
				fill_level(
					&p, l,
					&hostile_kinds[l > 0 && below(2, &seed) ? below(HOSTILE_KINDS, &seed) : kind],
					&seed);
			share = largest_share(&p, &seed);
			largest = share > largest ? share : largest;
			problem_free(&p);
		}
		print_message("%s: at most %.3f of the bound\n", hostile_kinds[kind].name, largest);
	}
}

/* A beam that keeps every prefix finds the best id there is, so no worse than the greedy one. */
static void
a_full_beam_is_exhaustive(void **state)
{
	uint64_t seed = 11;
	problem p = problem_random(STK_L2, 3, (uint32_t[]){8, 8, 8}, 5, 30, &seed);
	uint16_t greedy[30 * 3];
	uint16_t full[30 * 3];
	stk_error err;
	stk_rq *rq;
	int better = 0;

	(void) state;
	assert_int_equal(stk_rq_create(&p.cb, plain_exec(), STK_FILTER_BEST, &rq, &err), STK_OK);
	assert_int_equal(stk_rq_prepare_beam(rq, plain_exec()), STK_OK);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), p.x, 30, 1, greedy, NULL, &err), STK_OK);
	assert_int_equal(stk_rq_encode(rq, plain_exec(), p.x, 30, 64, full, NULL, &err), STK_OK);
	for (size_t i = 0; i < 30; i++)
	{
		double least = INFINITY;
		double error[2] = {0, 0};

		for (int id = 0; id < 512 + 2; id++)
		{
			uint16_t codes[3] = {(uint16_t) (id >> 6), (uint16_t) (id >> 3 & 7),
								 (uint16_t) (id & 7)};
			const uint16_t *use = id < 512 ? codes : id == 512 ? greedy + 3 * i : full + 3 * i;
			float y[5];
			double d = 0;

			assert_int_equal(stk_rq_decode(&p.cb, use, 3, y, &err), STK_OK);
			for (size_t j = 0; j < 5; j++)
				d += ((double) p.x[5 * i + j] - y[j]) * ((double) p.x[5 * i + j] - y[j]);
			if (id < 512)
				least = d < least ? d : least;
			else
				error[id - 512] = d;
		}
		assert_true(fabs(error[1] - least) < 1e-5);
		assert_true(error[1] <= error[0] + 1e-5);
		better += error[1] < error[0] - 1e-5;
	}
	assert_true(better > 0);
	stk_rq_free(rq);
	problem_free(&p);
}

/* So many equal prefixes that no list holds them: the reference decides, by code sequence. */
static void
thousands_of_ties(void **state)
{
	uint64_t seed = 26;
	problem p = problem_random(STK_L2, 3, (uint32_t[]){90, 90, 90}, 3, 2, &seed);
	stk_nearest_stats stats = {0};

	(void) state;
	for (size_t i = 0; i < 270 * 3; i++)
		p.codewords[i] = (float) (i % 3);
	assert_beams(&p, 60, &stats);
	assert_true(stats.reference > 0);
	problem_free(&p);
}

/* The first row that cannot be encoded is named, whichever way and thread found it. */
static void
bad_rows_are_named(void **state)
{
	uint64_t seed = 27;
	problem p = problem_random(STK_L2, 2, (uint32_t[]){2, 10}, 6, 1500, &seed);
	stk_error err;
	stk_rq *rq;
	uint16_t *codes = malloc(1500 * 2 * sizeof(uint16_t));

	(void) state;
	for (size_t i = 0; i < 2 * 6; i++)
		p.codewords[i] = i == 2 ? -3e38f : i < 6 ? 0 : 0.5f;
	assert_int_equal(stk_rq_create(&p.cb, plain_exec(), STK_FILTER_BEST, &rq, &err), STK_OK);
	for (int tables = 0; tables < 2; tables++)
	{
		if (tables)
			assert_int_equal(stk_rq_prepare_beam(rq, plain_exec()), STK_OK);
		for (int t = 0; t < 4; t++)
		{
			stk_exec exec = *plain_exec();

			exec.pool = t > 0 ? stk_crew_pool(pools[t], STK_BACKGROUND) : NULL;
			/* Both prefixes are kept: the first one's residual is out of range. */
			p.x[700 * 6 + 2] = 3e38f;
			p.x[701 * 6] = NAN;
			assert_int_equal(stk_rq_encode(rq, &exec, p.x, 1500, 2, codes, NULL, &err), STK_ERANGE);
			assert_int_equal(err.row, 700);
			assert_int_equal(err.level, 1);
			p.x[699 * 6 + 3] = INFINITY;
			assert_int_equal(stk_rq_encode(rq, &exec, p.x, 1500, 2, codes, NULL, &err), STK_EINVAL);
			assert_int_equal(err.row, 699);
			assert_int_equal(err.level, -1);
			assert_int_equal(stk_rq_encode(rq, &exec, p.x, 699, 2, codes, NULL, NULL), STK_OK);
			p.x[699 * 6 + 3] = 0;
		}
	}
	stk_rq_free(rq);
	problem_free(&p);
	free(codes);
}

/* Tables count as memory; where they would be too big, or no filter is wanted, there are none. */
static void
tables(void **state)
{
	uint64_t seed = 28;
	problem p = problem_random(STK_L2, 2, (uint32_t[]){5000, 5000}, 2, 3, &seed);
	problem q = problem_random(STK_L2, 2, (uint32_t[]){50, 50}, 2, 3, &seed);
	stk_nearest_stats stats = {0};
	stk_error err;
	stk_rq *rq;
	size_t bytes;

	(void) state;
	assert_beams(&p, 3, &stats);
	assert_int_equal(stats.rows, stats.reference);

	assert_int_equal(stk_rq_create(&q.cb, plain_exec(), STK_FILTER_BEST, &rq, &err), STK_OK);
	bytes = stk_rq_bytes(rq);
	assert_int_equal(stk_rq_prepare_beam(rq, plain_exec()), STK_OK);
	assert_true(stk_rq_bytes(rq) >= bytes + 50 * 50 * sizeof(float));
	bytes = stk_rq_bytes(rq);
	assert_int_equal(stk_rq_prepare_beam(rq, plain_exec()), STK_OK);
	assert_int_equal(stk_rq_bytes(rq), bytes);
	stk_rq_free(rq);
	assert_int_equal(stk_rq_create(&q.cb, plain_exec(), STK_FILTER_NONE, &rq, &err), STK_OK);
	bytes = stk_rq_bytes(rq);
	assert_int_equal(stk_rq_prepare_beam(rq, plain_exec()), STK_OK);
	assert_int_equal(stk_rq_bytes(rq), bytes);
	stk_rq_free(rq);
	problem_free(&p);
	problem_free(&q);
}

static void
failures_leave_nothing_behind(void **state)
{
	uint64_t seed = 29;
	problem p = problem_random(STK_L2, 3, (uint32_t[]){30, 40, 20}, 9, 40, &seed);
	uint16_t codes[40 * 3];
	bool done = false;
	long looks;

	(void) state;
	/* A row of each kind: the filter's and the reference's. */
	p.x[0] = 1e30f;
	for (long left = 0; !done; left++)
	{
		short_memory memory = {left, 0};
		stk_allocator a = short_allocator(&memory);
		stk_exec exec = exec_with(&a, NULL);
		stk_error err;
		stk_rq *rq;
		stk_status status = stk_rq_create(&p.cb, &exec, STK_FILTER_BEST, &rq, &err);

		if (status == STK_OK)
			status = stk_rq_prepare_beam(rq, &exec);
		if (status == STK_OK)
			status = stk_rq_encode(rq, &exec, p.x, 40, 5, codes, NULL, &err);
		done = status == STK_OK;
		if (!done)
			assert_int_equal(status, STK_ENOMEM);
		stk_rq_free(rq);
		assert_int_equal(memory.live, 0);
	}
	/* Stopped at every look there is, in the making of tables and after. */
	done = false;
	for (looks = 0; !done; looks++)
	{
		long left = looks;
		stk_monitor monitor = {stop_countdown, &left};
		short_memory memory = {1000, 0};
		stk_allocator a = short_allocator(&memory);
		stk_exec exec = exec_with(&a, &monitor);
		stk_error err;
		stk_rq *rq;
		stk_status status = stk_rq_create(&p.cb, &exec, STK_FILTER_BEST, &rq, &err);

		if (status == STK_OK)
			status = stk_rq_prepare_beam(rq, &exec);
		if (status == STK_OK)
			status = stk_rq_encode(rq, &exec, p.x, 40, 5, codes, NULL, &err);
		done = status == STK_OK;
		if (!done)
			assert_int_equal(status, STK_ECANCELED);
		stk_rq_free(rq);
		assert_int_equal(memory.live, 0);
	}
	assert_true(looks > 100);
	problem_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_rows),
		cmocka_unit_test(widths),
		cmocka_unit_test(the_filter_decides),
		cmocka_unit_test(errors_are_bounded),
		cmocka_unit_test(a_full_beam_is_exhaustive),
		cmocka_unit_test(thousands_of_ties),
		cmocka_unit_test(bad_rows_are_named),
		cmocka_unit_test(tables),
		cmocka_unit_test(failures_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("beams", tests, set_up, tear_down);
}
