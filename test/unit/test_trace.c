/* Traces of greedy encoding and the best ids of a row, against all ids written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rq.h"
#include "hostile.h"
#include "machines.h"

#define MAX_LEVELS 3
#define MAX_SIZE 7
#define MAX_DIM 19
#define MAX_IDS (MAX_SIZE * MAX_SIZE * MAX_SIZE)

/* A small codebook and a row. */
typedef struct problem
{
	stk_codebook cb;
	float codewords[MAX_LEVELS * MAX_SIZE * MAX_DIM];
	float x[MAX_DIM];
} problem;

/* Whole numbers from a few, so that scores tie, or any. */
static void
make_problem(problem *p, bool ties, uint64_t *seed)
{
	size_t at = 0;

	memset(p, 0, sizeof(*p));
	p->cb.metric = (stk_metric) below(3, seed);
	p->cb.levels = 1 + (int) below(MAX_LEVELS, seed);
	p->cb.dim = 1 + (int) below(MAX_DIM, seed);
	for (int l = 0; l < p->cb.levels; l++)
	{
		p->cb.sizes[l] = 1 + (uint32_t) below(MAX_SIZE, seed);
		p->cb.codewords[l] = p->codewords + at;
		at += p->cb.sizes[l] * (size_t) p->cb.dim;
	}
	fill(p->codewords, at, 1, seed);
	fill(p->x, (size_t) p->cb.dim, 2, seed);
	for (size_t i = 0; i < at && ties; i++)
		p->codewords[i] = (float) ((int) below(3, seed) - 1);
	for (int i = 0; i < p->cb.dim && ties; i++)
		p->x[i] = (float) ((int) below(5, seed) - 2);
	if (plain_dot(p->x, p->x, (size_t) p->cb.dim) == 0)
		p->x[0] = 1;
}

typedef struct plain_id
{
	double key, s;
	uint16_t codes[MAX_LEVELS];
} plain_id;

static int plain_levels;

static int
compare_ids(const void *a, const void *b)
{
	const plain_id *p = a;
	const plain_id *q = b;

	if (p->key != q->key)
		return p->key < q->key ? -1 : 1;
	if (p->s != q->s)
		return p->s < q->s ? -1 : 1;
	for (int l = 0; l < plain_levels; l++)
		if (p->codes[l] != q->codes[l])
			return p->codes[l] < q->codes[l] ? -1 : 1;
	return 0;
}

/* All ids that extend a prefix, whose residual is r. */
static void
add_ids(const stk_codebook *cb, int level, const float *r, plain_id prefix, plain_id *ids,
		size_t *n)
{
	size_t dim = (size_t) cb->dim;

	for (uint32_t k = 0; k < cb->sizes[level]; k++)
	{
		const float *c = cb->codewords[level] + k * dim;
		plain_id id = prefix;
		float rest[MAX_DIM];

		id.s = plain_score(r, c, dim, cb->metric == STK_IP);
		id.key = prefix.key + 2 * id.s;
		id.codes[level] = (uint16_t) k;
		for (size_t i = 0; i < dim; i++)
			rest[i] = r[i] - c[i];
		if (level + 1 < cb->levels)
			add_ids(cb, level + 1, rest, id, ids, n);
		else
			ids[(*n)++] = id;
	}
}

/* A beam that keeps every prefix finds all ids, in their order; a narrow one what encode finds. */
static void
best_ids(void **state)
{
	static plain_id ids[MAX_IDS];
	machines m;
	uint64_t seed = 31;

	(void) state;
	machines_start(&m);
	for (size_t round = 0; round < unit_rows() / 1000 + 50; round++)
	{
		const stk_exec *exec = &m.execs[round % (size_t) m.count];
		uint16_t codes[(MAX_IDS + 1) * MAX_LEVELS];
		uint16_t first[MAX_LEVELS];
		double keys[MAX_IDS + 1];
		plain_id none = {0};
		float r[MAX_DIM];
		size_t total = 0;
		size_t found;
		stk_error err;
		stk_rq *rq;
		problem p;
		size_t keep;
		int beam;

		make_problem(&p, round % 2 == 0, &seed);
		plain_prepare(&p.cb, p.x, r);
		none.key = plain_dot(r, r, (size_t) p.cb.dim);
		add_ids(&p.cb, 0, r, none, ids, &total);
		plain_levels = p.cb.levels;
		qsort(ids, total, sizeof(plain_id), compare_ids);

		assert_int_equal(stk_rq_create(&p.cb, exec, STK_FILTER_BEST, &rq, &err), STK_OK);
		keep = 1 + below(total + 1, &seed);
		assert_int_equal(
			stk_rq_encode_best(rq, exec, p.x, MAX_IDS, keep, codes, keys, &found, &err), STK_OK);
		assert_int_equal(found, keep < total ? keep : total);
		for (size_t i = 0; i < found; i++)
		{
			assert_memory_equal(codes + i * (size_t) p.cb.levels, ids[i].codes,
								(size_t) p.cb.levels * sizeof(uint16_t));
			assert_memory_equal(&keys[i], &ids[i].key, sizeof(double));
		}

		beam = 1 + (int) below(6, &seed);
		keep = 1 + below(6, &seed);
		assert_int_equal(stk_rq_encode_best(rq, exec, p.x, beam, keep, codes, keys, &found, &err),
						 STK_OK);
		assert_in_range(found, 1, keep);
		assert_int_equal(stk_rq_prepare_beam(rq, exec), STK_OK);
		assert_int_equal(stk_rq_encode(rq, exec, p.x, 1, beam, first, NULL, &err), STK_OK);
		assert_memory_equal(codes, first, (size_t) p.cb.levels * sizeof(uint16_t));
		for (size_t i = 1; i < found; i++)
		{
			assert_true(keys[i] >= keys[i - 1]);
			for (size_t j = 0; j < i; j++)
				assert_memory_not_equal(codes + i * (size_t) p.cb.levels,
										codes + j * (size_t) p.cb.levels,
										(size_t) p.cb.levels * sizeof(uint16_t));
		}
		/* As many as are wanted, while the beam is as wide and there are so many. */
		if (keep <= (size_t) beam)
			assert_int_equal(found, keep < total ? keep : total);
		stk_rq_free(rq);
	}
	machines_stop(&m);
}

/* Each level's numbers, from the definition. */
static void
assert_trace(const problem *p, const stk_rq *rq, const stk_exec *exec)
{
	size_t dim = (size_t) p->cb.dim;
	bool ip = p->cb.metric == STK_IP;
	stk_rq_step steps[MAX_LEVELS];
	uint16_t codes[MAX_LEVELS];
	float r[MAX_DIM];
	stk_error err;

	assert_int_equal(stk_rq_trace(rq, exec, p->x, steps, &err), STK_OK);
	assert_int_equal(stk_rq_encode(rq, exec, p->x, 1, 1, codes, NULL, &err), STK_OK);
	plain_prepare(&p->cb, p->x, r);
	for (int l = 0; l < p->cb.levels; l++)
	{
		const float *c = p->cb.codewords[l];
		double norm = plain_dot(r, r, dim);
		double s = plain_score(r, c + codes[l] * dim, dim, ip);
		double distance = ip ? s : norm + 2 * s;
		uint32_t second = p->cb.sizes[l];

		assert_int_equal(steps[l].code, codes[l]);
		assert_true(steps[l].distance == (ip || distance > 0 ? distance : 0));
		for (uint32_t k = 0; k < p->cb.sizes[l]; k++)
			if (k != codes[l] &&
				(second == p->cb.sizes[l] ||
				 plain_score(r, c + k * dim, dim, ip) < plain_score(r, c + second * dim, dim, ip)))
				second = k;
		assert_int_equal(steps[l].has_second, p->cb.sizes[l] > 1);
		if (steps[l].has_second)
		{
			assert_int_equal(steps[l].second, second);
			assert_true(steps[l].margin ==
						(ip ? 1 : 2) * (plain_score(r, c + second * dim, dim, ip) - s));
			assert_true(steps[l].margin >= 0);
		}
		for (size_t i = 0; i < dim; i++)
			r[i] -= c[codes[l] * dim + i];
		assert_true(steps[l].residual_norm == sqrt(plain_dot(r, r, dim)));
	}
}

static void
traces(void **state)
{
	machines m;
	uint64_t seed = 32;

	(void) state;
	machines_start(&m);
	for (size_t round = 0; round < unit_rows() / 1000 + 50; round++)
	{
		const stk_exec *exec = &m.execs[round % (size_t) m.count];
		stk_error err;
		stk_rq *rq;
		problem p;

		make_problem(&p, round % 2 == 0, &seed);
		assert_int_equal(stk_rq_create(&p.cb, exec, STK_FILTER_BEST, &rq, &err), STK_OK);
		assert_trace(&p, rq, exec);
		stk_rq_free(rq);
	}
	machines_stop(&m);
}

/* Errors of both, and memory that is short. */
static void
errors(void **state)
{
	const float codewords[] = {-3e38f, 1, 0};
	stk_codebook cb = {.metric = STK_L2,
					   .levels = 2,
					   .dim = 1,
					   .sizes = {1, 2},
					   .codewords = {codewords, codewords + 1}};
	stk_cpu cpu;
	stk_exec exec = {.a = stk_malloc, .cpu = &cpu};
	stk_rq_step steps[2];
	uint16_t codes[8];
	double keys[4];
	size_t found;
	stk_error err;
	stk_rq *rq;
	float x = 3e38f;
	const float nan = NAN;

	(void) state;
	assert_int_equal(stk_cpu_choose(STK_SIMD_SCALAR, &cpu, NULL), STK_OK);
	assert_int_equal(stk_rq_create(&cb, &exec, STK_FILTER_BEST, &rq, &err), STK_OK);
	assert_int_equal(stk_rq_trace(rq, &exec, &x, steps, &err), STK_ERANGE);
	assert_int_equal(err.level, 1);
	assert_int_equal(stk_rq_encode_best(rq, &exec, &x, 2, 2, codes, keys, &found, &err),
					 STK_ERANGE);
	assert_int_equal(err.level, 1);
	assert_int_equal(stk_rq_trace(rq, &exec, &nan, steps, &err), STK_EINVAL);
	assert_int_equal(stk_rq_encode_best(rq, &exec, &nan, 2, 2, codes, keys, &found, &err),
					 STK_EINVAL);
	x = 1;
	assert_int_equal(stk_rq_encode_best(rq, &exec, &x, 0, 2, codes, keys, &found, &err),
					 STK_EINVAL);
	assert_int_equal(stk_rq_encode_best(rq, &exec, &x, 2, 0, codes, keys, &found, &err),
					 STK_EINVAL);
	stk_rq_free(rq);

	/* What the last level leaves may be out of range. */
	cb.levels = 1;
	assert_int_equal(stk_rq_create(&cb, &exec, STK_FILTER_BEST, &rq, &err), STK_OK);
	x = 3e38f;
	assert_int_equal(stk_rq_trace(rq, &exec, &x, steps, &err), STK_OK);
	assert_true(isinf(steps[0].residual_norm) && steps[0].residual_norm > 0);
	assert_false(steps[0].has_second);
	stk_rq_free(rq);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(best_ids),
		cmocka_unit_test(traces),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
