/*
 * Codebooks that carry a network: whatever takes rows does with them what it does with their latent
 * vectors and the codebook alone; their stored form, whole and damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "core/evaluate.h"
#include "core/rq.h"
#include "hostile.h"
#include "machines.h"

#define LEVELS 3
#define DIM 6
#define INPUTS 11
#define HIDDEN 9
#define SIZE 8
#define ROWS 300

/* A codebook with a network, as it is stored, and the same without. */
typedef struct book
{
	uint8_t *stored;
	size_t bytes;
	stk_codebook cb, plain;
} book;

static void
book_make(book *b, stk_metric metric, stk_activation activation, bool standardized, uint64_t *seed)
{
	stk_codebook shape = {
		.metric = metric, .levels = LEVELS, .dim = DIM, .sizes = {SIZE, SIZE - 1, SIZE}};
	float *floats;
	size_t at;

	assert_int_equal(stk_network_shape(&shape.network, INPUTS, activation,
									   (uint32_t[]){HIDDEN, DIM}, 2,
									   (uint32_t[]){HIDDEN, HIDDEN, INPUTS}, 3, NULL),
					 STK_OK);
	shape.network.standardized = standardized;
	b->bytes = stk_codebook_stored_bytes(&shape);
	b->stored = malloc(b->bytes);
	at = stk_codebook_write_shape(b->stored, &shape);
	assert_int_equal(at, 8 + 4 * LEVELS + 8 + 4 * 5);
	floats = (float *) (void *) (b->stored + at);
	fill(floats, (b->bytes - at) / sizeof(float), 1, seed);
	for (int i = 0; standardized && i < INPUTS; i++)
		floats[stk_codebook_floats(&shape) + INPUTS + (size_t) i] = 0.5f + (float) i;
	assert_int_equal(stk_codebook_view(b->stored, b->bytes, &b->cb, NULL), STK_OK);
	b->plain = b->cb;
	memset(&b->plain.network, 0, sizeof(b->plain.network));
	assert_int_equal(stk_codebook_inputs(&b->cb), INPUTS);
	assert_int_equal(stk_codebook_inputs(&b->plain), DIM);
}

static stk_evaluation
evaluate(const stk_exec *exec, const stk_codebook *cb, const float *x, const uint16_t *codes)
{
	stk_evaluation result;
	stk_evaluator *ev;

	assert_int_equal(stk_evaluator_create(cb, &stk_malloc, &ev), STK_OK);
	assert_int_equal(stk_evaluator_add(ev, exec, x, codes, 100, NULL), STK_OK);
	assert_int_equal(
		stk_evaluator_add(ev, exec, x + 100 * INPUTS, codes + 100 * LEVELS, ROWS - 100, NULL),
		STK_OK);
	assert_int_equal(stk_evaluator_finish(ev, NULL, &result), STK_OK);
	stk_evaluator_free(ev);
	return result;
}

/* The errors against what the ids stand for, written plainly. */
static void
check_evaluation(const book *b, const stk_exec *exec, const float *x, const uint16_t *codes)
{
	stk_evaluation e = evaluate(exec, &b->cb, x, codes);
	double norms = 0;

	assert_int_equal(e.rows, ROWS);
	for (int r = 0; r < ROWS * INPUTS; r++)
		norms += (double) x[r] * (double) x[r];
	for (int l = 0; l < LEVELS; l++)
	{
		double sum = 0;
		float back[INPUTS];

		for (int r = 0; r < ROWS; r++)
		{
			assert_int_equal(
				stk_rq_reconstruct(&b->cb, exec, codes + r * LEVELS, l + 1, back, NULL), STK_OK);
			for (int i = 0; i < INPUTS; i++)
				sum += pow((double) x[r * INPUTS + i] - (double) back[i], 2);
		}
		assert_true(fabs(e.level[l].mse - sum / ROWS) <= 1e-12 * sum / ROWS);
		assert_true(fabs(e.level[l].relative_error - sum / norms) <= 1e-12 * sum / norms);
	}
}

static void
check_row(const stk_rq *rq, const stk_rq *plain, const stk_exec *exec, const float *x,
		  const float *z, const uint16_t *codes)
{
	stk_rq_step steps[2][LEVELS];
	uint16_t best[2][4 * LEVELS];
	double keys[2][4];
	size_t found[2];
	float back[INPUTS], decoded[INPUTS], latent[DIM];
	const stk_codebook *cb = stk_rq_codebook(rq);

	memset(steps, 0, sizeof(steps));
	assert_int_equal(stk_rq_trace(rq, exec, x, steps[0], NULL), STK_OK);
	assert_int_equal(stk_rq_trace(plain, exec, z, steps[1], NULL), STK_OK);
	assert_memory_equal(steps[0], steps[1], sizeof(steps[0]));
	assert_int_equal(stk_rq_encode_best(rq, exec, x, 4, 4, best[0], keys[0], &found[0], NULL),
					 STK_OK);
	assert_int_equal(stk_rq_encode_best(plain, exec, z, 4, 4, best[1], keys[1], &found[1], NULL),
					 STK_OK);
	assert_int_equal(found[0], found[1]);
	assert_memory_equal(best[0], best[1], found[0] * LEVELS * sizeof(uint16_t));
	assert_memory_equal(keys[0], keys[1], found[0] * sizeof(double));

	assert_int_equal(stk_rq_reconstruct(cb, exec, codes, LEVELS, back, NULL), STK_OK);
	assert_int_equal(stk_rq_decode(cb, codes, LEVELS, latent, NULL), STK_OK);
	assert_int_equal(stk_network_decode(&cb->network, exec, latent, 1, decoded, NULL), STK_OK);
	assert_memory_equal(back, decoded, sizeof(back));
}

static void
rows_do_as_their_latent_vectors(void **state)
{
	static float x[ROWS * INPUTS], z[ROWS * DIM];
	static uint16_t codes[ROWS * LEVELS], expected[ROWS * LEVELS];
	uint64_t seed = 41;
	machines m;

	(void) state;
	machines_start(&m);
	for (int round = 0; round < 9; round++)
	{
		book b;

		book_make(&b, (stk_metric) (round % 3), (stk_activation) (round / 3), round % 2 == 0,
				  &seed);
		fill(x, ROWS * INPUTS, 4, &seed);
		assert_int_equal(stk_network_encode(&b.cb.network, &m.execs[0], x, ROWS, z, NULL), STK_OK);
		for (int i = 0; i < m.count; i++)
		{
			stk_rq *rq, *plain;

			if (!machines_turn(&m, i, round))
				continue;
			assert_int_equal(stk_rq_create(&b.cb, &m.execs[i], STK_FILTER_BEST, &rq, NULL), STK_OK);
			assert_int_equal(stk_rq_create(&b.plain, &m.execs[i], STK_FILTER_BEST, &plain, NULL),
							 STK_OK);
			for (int beam = 1; beam <= 5; beam += 2)
			{
				if (beam == 5)
					assert_int_equal(stk_rq_prepare_beam(rq, &m.execs[i]), STK_OK);
				assert_int_equal(
					stk_rq_encode(plain, &m.execs[0], z, ROWS, beam, expected, NULL, NULL), STK_OK);
				assert_int_equal(stk_rq_encode(rq, &m.execs[i], x, ROWS, beam, codes, NULL, NULL),
								 STK_OK);
				assert_memory_equal(codes, expected, sizeof(codes));
			}
			check_row(rq, plain, &m.execs[i], x, z, codes);
			check_evaluation(&b, &m.execs[i], x, codes);
			stk_rq_free(rq);
			stk_rq_free(plain);
		}
		free(b.stored);
	}
	machines_stop(&m);
}

/* More rows than latent vectors are made of at once, and a bad one among the later. */
static void
pieces_count_their_rows(void **state)
{
	enum
	{
		dim = STK_MAX_DIM,
		rows = 600
	};
	stk_exec exec = {.a = stk_malloc, .cpu = &stk_cpu_portable};
	stk_codebook shape = {.levels = 1, .dim = dim, .sizes = {2}}, cb;
	uint8_t *stored;
	float *floats, *x = calloc(rows, sizeof(float));
	uint16_t *codes = calloc(rows, sizeof(uint16_t));
	stk_error err;
	stk_rq *rq;

	(void) state;
	assert_int_equal(stk_network_shape(&shape.network, 1, STK_RELU, (uint32_t[]){dim}, 1,
									   (uint32_t[]){1}, 1, NULL),
					 STK_OK);
	stored = calloc(1, stk_codebook_stored_bytes(&shape));
	floats = (float *) (void *) (stored + stk_codebook_write_shape(stored, &shape));
	for (int i = 0; i < dim; i++)
		floats[dim + i] = floats[2 * dim + i] = 1;
	assert_int_equal(stk_codebook_view(stored, stk_codebook_stored_bytes(&shape), &cb, NULL),
					 STK_OK);
	assert_int_equal(stk_rq_create(&cb, &exec, STK_FILTER_BEST, &rq, NULL), STK_OK);
	for (int r = 0; r < rows; r++)
		x[r] = (float) (r % 3 == 0);
	assert_int_equal(stk_rq_encode(rq, &exec, x, rows, 1, codes, NULL, &err), STK_OK);
	for (int r = 0; r < rows; r++)
		assert_int_equal(codes[r], r % 3 == 0);
	x[590] = NAN;
	assert_int_equal(stk_rq_encode(rq, &exec, x, rows, 1, codes, NULL, &err), STK_EINVAL);
	assert_int_equal(err.row, 590);
	stk_rq_free(rq);
	free(stored);
	free(x);
	free(codes);
}

/* The network is content with row 20, the metric is not with row 10. */
static void
the_first_row_that_fails_is_named(void **state)
{
	stk_exec exec = {.a = stk_malloc, .cpu = &stk_cpu_portable};
	float x[30 * INPUTS];
	uint16_t codes[30 * LEVELS];
	uint64_t seed = 5;
	stk_error err;
	stk_rq *rq;
	book b;

	(void) state;
	book_make(&b, STK_COSINE, STK_RELU, false, &seed);
	/* Without a bias behind it, what the activation makes zero is a zero vector. */
	memset((float *) (uintptr_t) b.cb.network.encoder[0].bias, 0, HIDDEN * sizeof(float));
	memset((float *) (uintptr_t) b.cb.network.encoder[1].bias, 0, DIM * sizeof(float));
	assert_int_equal(stk_rq_create(&b.cb, &exec, STK_FILTER_BEST, &rq, NULL), STK_OK);
	fill(x, 30 * INPUTS, 1, &seed);
	memset(x + 10 * INPUTS, 0, INPUTS * sizeof(float));
	x[20 * INPUTS] = NAN;
	assert_int_equal(stk_rq_encode(rq, &exec, x, 30, 1, codes, NULL, &err), STK_EINVAL);
	assert_int_equal(err.row, 10);
	assert_string_equal(err.message, "a zero vector has no direction for the cosine metric");
	x[5 * INPUTS] = NAN;
	assert_int_equal(stk_rq_encode(rq, &exec, x, 30, 1, codes, NULL, &err), STK_EINVAL);
	assert_int_equal(err.row, 5);
	assert_string_equal(err.message, "embedding holds NaN or infinity");
	stk_rq_free(rq);
	free(b.stored);
}

static void
stored_form_round_trips(void **state)
{
	uint64_t seed = 11;
	stk_codebook cb;
	stk_error err;
	uint8_t *again;
	book b;

	(void) state;
	book_make(&b, STK_IP, STK_SILU, true, &seed);
	assert_hex(b.stored, 48,
			   "02 01 0300 06000000 08000000 07000000 08000000"
			   "02 01 02 03 0b000000 09000000 06000000 09000000 09000000 0b000000");
	again = malloc(b.bytes);
	stk_codebook_write(again, &b.cb);
	assert_memory_equal(again, b.stored, b.bytes);
	for (size_t cut = 0; cut < b.bytes; cut += cut < 60 ? 1 : 97)
		assert_int_equal(stk_codebook_view(b.stored, cut, &cb, &err), STK_ECORRUPT);
	free(again);
	free(b.stored);
}

static void
damaged_forms_are_refused_or_used(void **state)
{
	stk_exec exec = {.a = stk_malloc, .cpu = &stk_cpu_portable};
	prng r = {7};
	uint64_t seed = 12;
	int read = 0;
	book b;

	(void) state;
	book_make(&b, STK_L2, STK_GELU, true, &seed);
	for (size_t i = 0; i < unit_size(20000, 5000, 500); i++)
	{
		size_t len;
		uint8_t *copy = damage(&r, b.stored, b.bytes, &len);
		stk_codebook cb;
		stk_error err = {.level = -1};
		stk_status status = stk_codebook_view(copy, len, &cb, &err);

		assert_true(status == STK_OK || status == STK_ECORRUPT);
		if (status == STK_OK && stk_codebook_check_finite(&cb, &err) == STK_OK)
		{
			float x[INPUTS] = {1, 2, 3};
			uint16_t codes[LEVELS];
			stk_rq *rq;

			read++;
			assert_int_equal(stk_codebook_inputs(&cb), INPUTS);
			assert_int_equal(stk_rq_create(&cb, &exec, STK_FILTER_BEST, &rq, NULL), STK_OK);
			status = stk_rq_encode(rq, &exec, x, 1, 1, codes, NULL, &err);
			assert_true(status == STK_OK || status == STK_ERANGE || status == STK_EINVAL);
			stk_rq_free(rq);
		}
		free(copy);
	}
	assert_true(read > 0);
	free(b.stored);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_do_as_their_latent_vectors),
		cmocka_unit_test(pieces_count_their_rows),
		cmocka_unit_test(the_first_row_that_fails_is_named),
		cmocka_unit_test(stored_form_round_trips),
		cmocka_unit_test(damaged_forms_are_refused_or_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
