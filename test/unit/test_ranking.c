/*
 * Ranking figures: by hand, against sums written plainly, groups, intervals, memory that runs out.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/philox.h"
#include "core/ranking.h"
#include "failing.h"

static const stk_rank_estimate *
at(const stk_rank_estimate *out, int cutoffs, int slot, int cutoff, stk_rank_metric metric)
{
	return &out[(slot * cutoffs + cutoff) * STK_RANK_METRICS + metric];
}

/* Two queries: the first has 2 of its 3 items at places 1 and 4, the second none of its 1. */
static void
test_by_hand(void **state)
{
	static const uint32_t cutoffs[] = {1, 3, 10};
	static const stk_rank_hit hits[] = {{1, -1}, {4, -1}};
	stk_rank_estimate out[3 * STK_RANK_METRICS];
	stk_ranking *r;
	double dcg = 1 + log(2) / log(5);
	double best = 1 + log(2) / log(3) + log(2) / log(4);

	(void) state;
	assert_int_equal(stk_ranking_create(&r, cutoffs, 3, 0, &stk_malloc), STK_OK);
	assert_int_equal(stk_ranking_add(r, hits, 2, &(uint32_t){3}, NULL), STK_OK);
	assert_int_equal(stk_ranking_add(r, NULL, 0, &(uint32_t){1}, NULL), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 1, NULL, out), STK_OK);
	stk_ranking_free(r);

	assert_true(at(out, 3, 0, 0, STK_RANK_RECALL)->value == 1.0 / 3 / 2);
	assert_true(at(out, 3, 0, 1, STK_RANK_RECALL)->value == 1.0 / 3 / 2);
	assert_true(at(out, 3, 0, 2, STK_RANK_RECALL)->value == 2.0 / 3 / 2);
	assert_true(at(out, 3, 0, 0, STK_RANK_NDCG)->value == 0.5);
	assert_true(fabs(at(out, 3, 0, 1, STK_RANK_NDCG)->value - (1 / best / 2)) < 1e-15);
	assert_true(fabs(at(out, 3, 0, 2, STK_RANK_NDCG)->value - (dcg / best / 2)) < 1e-15);
	for (int c = 0; c < 3; c++)
	{
		const stk_rank_estimate *mrr = at(out, 3, 0, c, STK_RANK_MRR);

		assert_true(mrr->value == 0.5);
		assert_int_equal(mrr->queries, 2);
		/* Two queries drawn from 1 and 0: all of one kind in a quarter of the samples each. */
		assert_true(mrr->low == 0 && mrr->high == 1);
	}
}

/* A first hit beyond the cutoff is none; a perfect list has an NDCG of 1. */
static void
test_edges(void **state)
{
	static const uint32_t cutoffs[] = {2};
	static const stk_rank_hit late[] = {{3, -1}};
	static const stk_rank_hit perfect[] = {{1, -1}, {2, -1}, {3, -1}};
	stk_rank_estimate out[STK_RANK_METRICS];
	stk_ranking *r;

	(void) state;
	assert_int_equal(stk_ranking_create(&r, cutoffs, 1, 0, &stk_malloc), STK_OK);
	assert_int_equal(stk_ranking_add(r, late, 1, &(uint32_t){1}, NULL), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 1, NULL, out), STK_OK);
	for (int m = 0; m < STK_RANK_METRICS; m++)
		assert_true(out[m].value == 0 && out[m].low == 0 && out[m].high == 0);
	stk_ranking_free(r);

	assert_int_equal(stk_ranking_create(&r, cutoffs, 1, 0, &stk_malloc), STK_OK);
	assert_int_equal(stk_ranking_add(r, perfect, 3, &(uint32_t){3}, NULL), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 1, NULL, out), STK_OK);
	assert_true(out[STK_RANK_RECALL].value == 2.0 / 3);
	assert_true(out[STK_RANK_NDCG].value == 1);
	assert_true(out[STK_RANK_MRR].value == 1);
	stk_ranking_free(r);
}

/* A group counts its own items, over the queries that have one. */
static void
test_groups(void **state)
{
	static const uint32_t cutoffs[] = {5};
	static const stk_rank_hit first[] = {{1, 0}, {2, 1}, {3, -1}};
	static const stk_rank_hit second[] = {{4, 0}};
	stk_rank_estimate out[4 * STK_RANK_METRICS];
	stk_ranking *r;

	(void) state;
	assert_int_equal(stk_ranking_create(&r, cutoffs, 1, 3, &stk_malloc), STK_OK);
	assert_int_equal(stk_ranking_add(r, first, 3, (uint32_t[]){4, 1, 2, 0}, NULL), STK_OK);
	assert_int_equal(stk_ranking_add(r, second, 1, (uint32_t[]){1, 1, 0, 0}, NULL), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 1, NULL, out), STK_OK);
	stk_ranking_free(r);

	assert_true(at(out, 1, 0, 0, STK_RANK_RECALL)->value == (3.0 / 4 + 1) / 2);
	assert_true(at(out, 1, 1, 0, STK_RANK_RECALL)->value == 1);
	assert_true(at(out, 1, 1, 0, STK_RANK_MRR)->value == (1 + 0.25) / 2);
	assert_int_equal(at(out, 1, 1, 0, STK_RANK_MRR)->queries, 2);
	assert_true(at(out, 1, 2, 0, STK_RANK_RECALL)->value == 0.5);
	assert_true(at(out, 1, 2, 0, STK_RANK_MRR)->value == 0.5);
	assert_int_equal(at(out, 1, 2, 0, STK_RANK_MRR)->queries, 1);
	/* Nobody asks for the third group. */
	assert_true(isnan(at(out, 1, 3, 0, STK_RANK_MRR)->value));
	assert_true(isnan(at(out, 1, 3, 0, STK_RANK_MRR)->low));
	assert_int_equal(at(out, 1, 3, 0, STK_RANK_MRR)->queries, 0);
}

/* Of 400 queries a share finds its item at place 1: the interval is the normal one's, about. */
static void
test_interval(void **state)
{
	static const uint32_t cutoffs[] = {1};
	static const stk_rank_hit hit[] = {{1, -1}};
	stk_rank_estimate out[STK_RANK_METRICS];
	stk_rank_estimate again[STK_RANK_METRICS];
	stk_rank_estimate other[STK_RANK_METRICS];
	const stk_rank_estimate *recall = &out[STK_RANK_RECALL];
	double half = 1.96 * sqrt(0.25 * 0.75 / 400);
	stk_ranking *r;

	(void) state;
	assert_int_equal(stk_ranking_create(&r, cutoffs, 1, 0, &stk_malloc), STK_OK);
	for (int i = 0; i < 400; i++)
		assert_int_equal(stk_ranking_add(r, hit, i % 4 == 0 ? 1 : 0, &(uint32_t){1}, NULL), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 7, NULL, out), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 7, NULL, again), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 8, NULL, other), STK_OK);
	stk_ranking_free(r);

	assert_true(recall->value == 0.25);
	assert_true(fabs(recall->low - (0.25 - half)) < 0.006);
	assert_true(fabs(recall->high - (0.25 + half)) < 0.006);
	assert_memory_equal(out, again, sizeof(out));
	assert_true(recall->low != other[STK_RANK_RECALL].low ||
				recall->high != other[STK_RANK_RECALL].high);
}

static bool
stop_at_once(void *ctx)
{
	(void) ctx;
	return true;
}

static void
test_canceled(void **state)
{
	static const uint32_t cutoffs[] = {1};
	stk_monitor monitor = {.stop = stop_at_once};
	stk_rank_estimate out[STK_RANK_METRICS];
	stk_ranking *r;

	(void) state;
	assert_int_equal(stk_ranking_create(&r, cutoffs, 1, 0, &stk_malloc), STK_OK);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(stk_ranking_add(r, NULL, 0, &(uint32_t){1}, NULL), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 1, &monitor, out), STK_ECANCELED);
	/* A long list too; what was broken off does not count. */
	assert_int_equal(stk_ranking_add(r, NULL, 0, &(uint32_t){70000}, &monitor), STK_OK);
	stk_ranking_free(r);
	assert_int_equal(stk_ranking_create(&r, &(uint32_t){70000}, 1, 0, &stk_malloc), STK_OK);
	assert_int_equal(stk_ranking_add(r, NULL, 0, &(uint32_t){70000}, &monitor), STK_ECANCELED);
	assert_int_equal(stk_ranking_add(r, NULL, 0, &(uint32_t){1}, &monitor), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 1, NULL, out), STK_OK);
	assert_int_equal(out[STK_RANK_RECALL].queries, 1);
	stk_ranking_free(r);
}

/* Cutoffs in any order have each the figures that it has alone. */
static void
test_order_of_cutoffs(void **state)
{
	static const uint32_t cutoffs[] = {7, 1, 20, 3, 20, 100};
	static const stk_rank_hit hits[] = {{1, 0}, {3, 1}, {4, 0}, {8, 1}, {19, 0}, {90, 1}};
	const uint32_t relevant[] = {9, 5, 4};
	const size_t width = 3 * STK_RANK_METRICS;
	stk_rank_estimate all[3 * 6 * STK_RANK_METRICS];
	stk_rank_estimate one[3 * STK_RANK_METRICS];
	stk_ranking *r;

	(void) state;
	assert_int_equal(stk_ranking_create(&r, cutoffs, 6, 2, &stk_malloc), STK_OK);
	assert_int_equal(stk_ranking_add(r, hits, 6, relevant, NULL), STK_OK);
	assert_int_equal(stk_ranking_finish(r, 1, NULL, all), STK_OK);
	stk_ranking_free(r);
	for (size_t c = 0; c < 6; c++)
	{
		assert_int_equal(stk_ranking_create(&r, &cutoffs[c], 1, 2, &stk_malloc), STK_OK);
		assert_int_equal(stk_ranking_add(r, hits, 6, relevant, NULL), STK_OK);
		assert_int_equal(stk_ranking_finish(r, 1, NULL, one), STK_OK);
		for (size_t f = 0; f < width; f++)
			assert_true(
				one[f].value ==
				all[(f / STK_RANK_METRICS * 6 + c) * STK_RANK_METRICS + f % STK_RANK_METRICS]
					.value);
		stk_ranking_free(r);
	}
}

static void
test_out_of_memory(void **state)
{
	static const uint32_t cutoffs[] = {1, 2};
	stk_rank_estimate out[2 * STK_RANK_METRICS];
	bool done = false;

	(void) state;
	for (long allowed = 0; !done; allowed++)
	{
		failing_allocator f;
		stk_allocator a = failing_init(&f, allowed);
		stk_ranking *r;
		stk_status status = stk_ranking_create(&r, cutoffs, 2, 0, &a);

		for (int i = 0; i < 300 && status == STK_OK; i++)
			status = stk_ranking_add(r, NULL, 0, &(uint32_t){1}, NULL);
		if (status == STK_OK)
			status = stk_ranking_finish(r, 1, NULL, out);
		assert_true(status == STK_OK || status == STK_ENOMEM);
		done = status == STK_OK;
		stk_ranking_free(r);
		assert_int_equal(f.live, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_hand),       cmocka_unit_test(test_edges),
		cmocka_unit_test(test_groups),        cmocka_unit_test(test_interval),
		cmocka_unit_test(test_canceled),      cmocka_unit_test(test_order_of_cutoffs),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
