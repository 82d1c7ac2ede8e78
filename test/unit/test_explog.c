/*
 * exp, log and softmax: accuracy against long double, the same bits everywhere, no dependence on
 * order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "catalog.h"
#include "core/explog.h"

static double
from_bits(uint64_t bits)
{
	double x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

static uint64_t
to_bits(double x)
{
	uint64_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

/* Distance in units of the last place of the rounded result. */
static double
ulps(double got, long double want)
{
	double rounded = fabs((double) want);

	if (isinf(rounded) || got == (double) want)
		return got == (double) want ? 0 : INFINITY;
	return (double) (fabsl((long double) got - want) / (nextafter(rounded, INFINITY) - rounded));
}

static void
assert_exp(double x)
{
	if (!(ulps(stk_exp(x), expl((long double) x)) <= 1))
		fail_msg("stk_exp(%a) = %a, expected %a", x, stk_exp(x), (double) expl(x));
}

static void
assert_log(double x)
{
	if (!(ulps(stk_log(x), logl((long double) x)) <= 1))
		fail_msg("stk_log(%a) = %a, expected %a", x, stk_log(x), (double) logl(x));
}

static void
test_exp(void **state)
{
	static const double edges[] = {0.0,
								   -0.0,
								   0x1p-1074,
								   -0x1p-1074,
								   0x1p-60,
								   -0x1p-60,
								   1,
								   -1,
								   0.5,
								   -0.5,
								   709.78,
								   -708.3,
								   -708.5,
								   -744.44,
								   -745,
								   -745.2,
								   0x1.62e42fefa39efp+9,
								   -0x1.74910d52d3051p+9};
	prng r = {1};

	(void) state;
	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
		assert_exp(edges[i]);
	for (int i = 0; i < 200000; i++)
	{
		assert_exp(prng_uniform(&r) * 1460 - 748);
		assert_exp(prng_uniform(&r) * -40);
		assert_exp((prng_uniform(&r) - 0.5) * ldexp(1, -(int) prng_below(&r, 60)));
		/* Around the multiples of ln 2 / 2, where the reduction changes its mind. */
		assert_exp(((double) prng_below(&r, 2000) - 1000) * 0.34657359027997264 +
				   (prng_uniform(&r) - 0.5) * 1e-12);
	}
	assert_true(stk_exp(0) == 1);
	assert_true(stk_exp(-INFINITY) == 0 && stk_exp(-746.5) == 0 && stk_exp(-1e300) == 0);
	assert_true(stk_exp(INFINITY) == INFINITY && stk_exp(709.8) == INFINITY);
	assert_true(isnan(stk_exp(NAN)));
}

static void
test_log(void **state)
{
	static const double edges[] = {1,
								   2,
								   0.5,
								   10,
								   0x1p-1074,
								   0x1p-1073,
								   0x1.fffffffffffffp-1023,
								   0x1p-1022,
								   0.6875,
								   1.375,
								   0.984375,
								   1.03125,
								   0x1.fffffffffffffp+1023};
	prng r = {2};

	(void) state;
	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
	{
		assert_log(edges[i]);
		assert_log(nextafter(edges[i], 0) + (edges[i] == 0x1p-1074 ? 0x1p-1074 : 0));
	}
	for (int i = 0; i < 200000; i++)
	{
		double x = from_bits(prng_next(&r) & 0x7fffffffffffffff);

		if (x > 0 && x < INFINITY)
			assert_log(x);
		assert_log(1 + (prng_uniform(&r) - 0.5) * ldexp(1, -(int) prng_below(&r, 52)));
		assert_log(prng_uniform(&r) + 0.6);
		assert_log((double) (1 + prng_next(&r) % 65536));
	}
	assert_true(to_bits(stk_log(1)) == 0);
	assert_true(stk_log(0) == -INFINITY && stk_log(-0.0) == -INFINITY);
	assert_true(stk_log(INFINITY) == INFINITY);
	assert_true(isnan(stk_log(-1)) && isnan(stk_log(NAN)));
}

/* FNV-1a over the bits of many results: another machine that differs in one of them fails here. */
static void
test_same_bits(void **state)
{
	prng r = {3};
	uint64_t hash = 0xcbf29ce484222325;

	(void) state;
	for (int i = 0; i < 100000; i++)
	{
		double x = (double) (prng_next(&r) >> 11) * 0x1p-43 - 512;
		double y = from_bits(prng_next(&r) >> 2);

		hash = (hash ^ to_bits(stk_exp(x))) * 0x100000001b3;
		hash = (hash ^ to_bits(stk_log(y))) * 0x100000001b3;
	}
	for (int i = 0; i < 1000; i++)
	{
		float z[7];
		double cost[7];

		for (int k = 0; k < 7; k++)
			z[k] = (float) prng_below(&r, 4096) / 256;
		assert_int_equal(stk_softmax_costs(z, 7, cost), STK_OK);
		for (int k = 0; k < 7; k++)
			hash = (hash ^ to_bits(cost[k])) * 0x100000001b3;
	}
	assert_int_equal(hash, 0x992a010a1cc932eb);
}

static void
test_softmax(void **state)
{
	prng r = {4};
	static float z[1000], shuffled[1000];
	static double cost[1000], cost2[1000];
	static size_t place[1000];

	(void) state;
	for (int round = 0; round < 200; round++)
	{
		size_t n = 1 + prng_below(&r, 1000);
		double scale = ldexp(1, (int) prng_below(&r, 12) - 4);
		long double sum = 0;
		long double max = -INFINITY;

		for (size_t i = 0; i < n; i++)
		{
			z[i] = i > 0 && prng_below(&r, 10) == 0 ? -INFINITY
													: (float) ((prng_uniform(&r) - 0.5) * scale);
			place[i] = i;
			max = z[i] > max ? z[i] : max;
		}
		for (size_t i = 0; i < n; i++)
			sum += expl(z[i] - max);
		assert_int_equal(stk_softmax_costs(z, n, cost), STK_OK);
		for (size_t i = 0; i < n; i++)
		{
			long double want = logl(sum) - (z[i] - max);

			assert_true(cost[i] >= 0 && !signbit(cost[i]));
			if (z[i] == -INFINITY)
				assert_true(cost[i] == INFINITY);
			else
				assert_true(fabsl(cost[i] - want) <= 1e-12L + fabsl(want) * 1e-15L);
		}

		/* Any order gives the same bits. */
		for (size_t i = n; i > 1; i--)
		{
			size_t j = prng_below(&r, (uint32_t) i);
			size_t swap = place[i - 1];

			place[i - 1] = place[j];
			place[j] = swap;
		}
		for (size_t i = 0; i < n; i++)
			shuffled[i] = z[place[i]];
		assert_int_equal(stk_softmax_costs(shuffled, n, cost2), STK_OK);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(to_bits(cost2[i]), to_bits(cost[place[i]]));
	}
}

static void
test_softmax_edges(void **state)
{
	static float many[65536];
	static double costs[65536];
	float z[3] = {5, -INFINITY, -INFINITY};
	double cost[3];

	(void) state;
	/* The only one possible is certain. */
	assert_int_equal(stk_softmax_costs(z, 3, cost), STK_OK);
	assert_int_equal(to_bits(cost[0]), 0);
	assert_true(cost[1] == INFINITY && cost[2] == INFINITY);

	z[0] = 3e38f;
	z[1] = -3e38f;
	assert_int_equal(stk_softmax_costs(z, 2, cost), STK_OK);
	assert_int_equal(to_bits(cost[0]), 0);
	assert_true(cost[1] == 2 * (double) 3e38f);

	/* ln 2 to the last bit. */
	z[0] = z[1] = 7;
	assert_int_equal(stk_softmax_costs(z, 2, cost), STK_OK);
	assert_int_equal(to_bits(cost[0]), 0x3fe62e42fefa39ef);

	/* The largest sum: 65536 ones. */
	assert_int_equal(stk_softmax_costs(many, 65536, costs), STK_OK);
	assert_true(costs[65535] == stk_log(65536));

	assert_int_equal(stk_softmax_costs(z, 0, cost), STK_EINVAL);
	z[1] = NAN;
	assert_int_equal(stk_softmax_costs(z, 2, cost), STK_EINVAL);
	z[1] = INFINITY;
	assert_int_equal(stk_softmax_costs(z, 2, cost), STK_EINVAL);
	z[0] = z[1] = -INFINITY;
	assert_int_equal(stk_softmax_costs(z, 2, cost), STK_EINVAL);
}

/* Sums are made several lanes at a time where there are costs: the bits are those of stk_exp. */
static void
test_softmax_lanes(void **state)
{
	prng r = {8};

	(void) state;
	for (int round = 0; round < 20000; round++)
	{
		float z[300];
		double cost[300];
		double temperature = round % 3 == 0 ? 1.0 : exp(prng_uniform(&r) * 12 - 8);
		double scale = exp(prng_uniform(&r) * 8 - 4);
		size_t n = 1 + prng_below(&r, round % 10 == 0 ? 300 : 20);
		double max, log_sum;

		for (size_t i = 0; i < n; i++)
			z[i] = prng_below(&r, 9) == 0 ? -INFINITY : (float) ((prng_uniform(&r) - 0.5) * scale);
		z[prng_below(&r, (uint32_t) n)] = 0;
		assert_int_equal(stk_softmax_costs_at(z, n, temperature, cost), STK_OK);
		assert_int_equal(stk_softmax_log_sum(z, n, temperature, &max, &log_sum), STK_OK);
		for (size_t i = 0; i < n; i++)
		{
			double want = log_sum + (max - (double) z[i]) / temperature;

			want = want > 0 ? want : 0.0;
			assert_memory_equal(&cost[i], &want, sizeof(double));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exp),           cmocka_unit_test(test_log),
		cmocka_unit_test(test_same_bits),     cmocka_unit_test(test_softmax),
		cmocka_unit_test(test_softmax_edges), cmocka_unit_test(test_softmax_lanes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
