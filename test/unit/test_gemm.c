/*
 * Products of matrices: each element is one chain of fused multiply-adds in order, whatever the
 * shape, the strides, the vector unit and the threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/gemm.h"
#include "machines.h"
#include "rows.h"

/* One product on every machine, beside the chains written plainly. */
static void
compare(const machines *machine, size_t m, size_t n, size_t k, bool transpose_a, bool transpose_b,
		uint64_t seed)
{
	float *a = malloc(m * k * sizeof(float));
	float *b = malloc(k * n * sizeof(float));
	float *c = malloc(m * n * sizeof(float));
	float *expected = malloc(m * n * sizeof(float));
	stk_matrix left = transpose_a ? stk_matrix_transposed(a, m) : stk_matrix_rows(a, k);
	stk_matrix right = transpose_b ? stk_matrix_transposed(b, k) : stk_matrix_rows(b, n);

	fill(a, m * k, 1, &seed);
	fill(b, k * n, 1, &seed);
	for (size_t i = 0; i < m; i++)
	{
		for (size_t j = 0; j < n; j++)
		{
			float sum = 0;

			for (size_t t = 0; t < k; t++)
				sum = fmaf(a[i * left.row + t * left.column], b[t * right.row + j * right.column],
						   sum);
			expected[i * n + j] = sum;
		}
	}
	for (int e = 0; e < machine->count; e++)
	{
		const stk_exec *exec = &machine->execs[e];
		float *scratch;

		if (!machines_turn(machine, e, (int) seed))
			continue;
		scratch = malloc(stk_gemm_scratch(stk_threads(exec->pool), m, n, k) * sizeof(float));
		memset(c, 0xff, m * n * sizeof(float));
		stk_gemm(exec, scratch, left, right, c, m, n, k);
		assert_memory_equal(c, expected, m * n * sizeof(float));
		free(scratch);
	}
	free(a);
	free(b);
	free(c);
	free(expected);
}

static void
all_shapes(void **state)
{
	static const size_t sides[] = {1, 2, 5, 12, 13, 33, 100};
	static const size_t terms[] = {1, 7, 384, 385, 800};
	machines machine;
	uint64_t seed = 0;

	(void) state;
	machines_start(&machine);
	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
		for (size_t j = 0; j < sizeof(sides) / sizeof(sides[0]); j++)
			for (size_t t = 0; t < unit_size(5, 4, 2); t++, seed++)
				compare(&machine, sides[i], sides[j], terms[t], seed & 1, seed & 2, seed);
	compare(&machine, unit_size(640, 200, 40), 128, 96, true, true, 99);
	machines_stop(&machine);
}

/* Once the monitor says to stop no more is multiplied: each task asks, in each block of terms. */
static void
stops_when_asked(void **state)
{
	enum
	{
		M = 600,
		N = 20,
		K = 800,
		TASKS = 7 * 3
	};
	long left = 4;
	stk_monitor monitor = {stop_countdown, &left};
	stk_exec exec = {.a = stk_malloc, .cpu = &stk_cpu_portable, .monitor = &monitor};
	float *a = malloc(M * K * sizeof(float));
	float *b = malloc(K * N * sizeof(float));
	float *c = malloc(M * N * sizeof(float));
	float *scratch = malloc(stk_gemm_scratch(1, M, N, K) * sizeof(float));
	size_t whole = 0;

	(void) state;
	for (size_t i = 0; i < M * K; i++)
		a[i] = 1;
	for (size_t i = 0; i < K * N; i++)
		b[i] = 1;
	memset(c, 0xff, M * N * sizeof(float));
	stk_gemm(&exec, scratch, stk_matrix_rows(a, K), stk_matrix_rows(b, N), c, M, N, K);
	assert_int_equal(left, 4 - TASKS);
	for (size_t i = 0; i < M * N; i++)
	{
		assert_true(c[i] == 0 || c[i] == 384);
		whole += c[i] == 384;
	}
	assert_int_equal(whole, 4 * 96 * N);
	free(a);
	free(b);
	free(c);
	free(scratch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_shapes),
		cmocka_unit_test(stops_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
