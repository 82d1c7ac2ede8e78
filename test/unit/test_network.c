/*
 * A codebook's network: every machine gives the bits of a plain loop in binary64, activations are
 * those of libm within their rounding, and numbers that go wrong name their row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/dot.h"
#include "core/network.h"
#include "foreign_fpenv.h"
#include "machines.h"

#define MAX_FLOATS 40000

typedef struct built
{
	stk_network net;
	float floats[MAX_FLOATS];
} built;

/* A network of these widths with weights that keep its values in range. */
static void
build(built *b, uint32_t inputs, stk_activation activation, const uint32_t *encoder, int n_encoder,
	  const uint32_t *decoder, int n_decoder, bool standardized, uint64_t *state)
{
	assert_int_equal(stk_network_shape(&b->net, inputs, activation, encoder, n_encoder, decoder,
									   n_decoder, NULL),
					 STK_OK);
	b->net.standardized = standardized;
	assert_true(stk_network_floats(&b->net) <= MAX_FLOATS);
	fill(b->floats, stk_network_floats(&b->net), 0.7f, state);
	for (uint32_t i = 0; standardized && i < inputs; i++)
		b->floats[inputs + i] = fabsf(b->floats[inputs + i]) + 0.1f;
	stk_network_attach(&b->net, b->floats);
	assert_int_equal(stk_network_check_values(&b->net, NULL), STK_OK);
}

static void
plain_layers(const stk_network *net, const stk_layer *layers, int n, float *x)
{
	float y[256];

	for (int l = 0; l < n; l++)
	{
		for (uint32_t o = 0; o < layers[l].out; o++)
			y[o] =
				(float) (plain_dot(x, layers[l].weight + (size_t) o * layers[l].in, layers[l].in) +
						 (double) layers[l].bias[o]);
		if (l + 1 < n)
			stk_activate(net->activation, y, layers[l].out);
		memcpy(x, y, layers[l].out * sizeof(float));
	}
}

static void
plain_encode(const stk_network *net, const float *x, float *z)
{
	float row[256];

	memcpy(row, x, net->inputs * sizeof(float));
	for (uint32_t i = 0; net->standardized && i < net->inputs; i++)
		row[i] = (float) (((double) x[i] - (double) net->mean[i]) * (double) net->scale[i]);
	plain_layers(net, net->encoder, net->n_encoder, row);
	memcpy(z, row, net->encoder[net->n_encoder - 1].out * sizeof(float));
}

static void
plain_decode(const stk_network *net, const float *z, float *x)
{
	float row[256];

	memcpy(row, z, net->decoder[0].in * sizeof(float));
	plain_layers(net, net->decoder, net->n_decoder, row);
	for (uint32_t i = 0; net->standardized && i < net->inputs; i++)
		row[i] = (float) ((double) row[i] / (double) net->scale[i] + (double) net->mean[i]);
	memcpy(x, row, net->inputs * sizeof(float));
}

/* Widths around those of a register, more rows than a task has. */
static void
same_bits_everywhere(void **state)
{
	static const uint32_t widths[][4] = {{1, 1, 1, 1},     {7, 9, 5, 3},      {8, 16, 24, 4},
										 {33, 61, 17, 12}, {128, 65, 40, 31}, {100, 3, 90, 64}};
	static const size_t rows[] = {1, 2, 5, 24, 25, 61};
	static built b;
	static float x[61 * 128], z[61 * 64], back[61 * 128], got[61 * 128];
	uint64_t seed = 17;
	machines m;

	(void) state;
	machines_start(&m);
	for (int round = 0; round < 18; round++)
	{
		const uint32_t *w = widths[round % 6];
		size_t n = rows[(round * 5 + round / 6) % 6];
		uint32_t inputs = w[0], latent = w[3];

		build(&b, inputs, (stk_activation) (round / 6), w + 1, 3, (uint32_t[]){w[2], inputs}, 2,
			  round % 2 == 1, &seed);
		fill(x, n * inputs, 3, &seed);
		for (size_t r = 0; r < n; r++)
		{
			plain_encode(&b.net, x + r * inputs, z + r * latent);
			plain_decode(&b.net, z + r * latent, back + r * inputs);
		}
		for (int i = 0; i < m.count; i++)
		{
			if (!machines_turn(&m, i, round))
				continue;
			foreign_fpenv_enter();
			assert_int_equal(stk_network_encode(&b.net, &m.execs[i], x, n, got, NULL), STK_OK);
			foreign_fpenv_leave();
			assert_memory_equal(got, z, n * latent * sizeof(float));
			assert_int_equal(stk_network_decode(&b.net, &m.execs[i], z, n, got, NULL), STK_OK);
			assert_memory_equal(got, back, n * inputs * sizeof(float));
		}
	}
	machines_stop(&m);
}

static void
activations_are_libms(void **state)
{
	(void) state;
	for (double x = -12; x <= 12; x += 0x1p-7)
	{
		double erfc_x = erfc(x);
		float relu = (float) x, gelu = (float) x, silu = (float) x;

		assert_true(fabs(stk_erfc(x) - erfc_x) <= 4e-16 * erfc_x * (1 + x * x));
		stk_activate(STK_RELU, &relu, 1);
		stk_activate(STK_GELU, &gelu, 1);
		stk_activate(STK_SILU, &silu, 1);
		assert_true(relu == (x > 0 ? (float) x : 0));
		assert_true(fabs(gelu - x * 0.5 * erfc(-x * sqrt(0.5))) <= 0x1p-23 * fabs(gelu) + 1e-45);
		assert_true(fabs(silu - x / (1 + exp(-x))) <= 0x1p-23 * fabs(silu) + 1e-45);
	}
	assert_true(stk_erfc(40) == 0 && stk_erfc(-40) == 2 && stk_erfc(0) == 1);
	for (int i = 0; i < STK_ACTIVATIONS; i++)
	{
		stk_activation same;

		assert_int_equal(stk_activation_parse(stk_activation_name((stk_activation) i), &same),
						 STK_OK);
		assert_int_equal(same, i);
	}
}

static void
bad_numbers_name_their_row(void **state)
{
	static built b;
	static float x[100 * 9], z[100 * 3];
	uint64_t seed = 3;
	machines m;

	(void) state;
	machines_start(&m);
	build(&b, 9, STK_RELU, (uint32_t[]){5, 3}, 2, (uint32_t[]){9}, 1, false, &seed);
	for (int i = 0; i < m.count; i++)
	{
		stk_error err = {.level = -1};

		fill(x, 900, 1, &seed);
		x[70 * 9 + 4] = NAN;
		x[30 * 9 + 8] = INFINITY;
		assert_int_equal(stk_network_encode(&b.net, &m.execs[i], x, 100, z, &err), STK_EINVAL);
		assert_int_equal(err.row, 30);
		/* Beyond binary32 in the second layer of an early row, in the first of a later one. */
		fill(x, 900, 1, &seed);
		for (int d = 0; d < 9; d++)
		{
			float largest = b.net.encoder[0].weight[d] < 0 ? -3e38f : 3e38f;

			x[51 * 9 + d] = largest;
			x[50 * 9 + d] = 0.3f * largest;
		}
		assert_int_equal(stk_network_encode(&b.net, &m.execs[i], x, 100, z, &err), STK_ERANGE);
		assert_in_range(err.row, 50, 51);
		assert_non_null(strstr(err.message, "of the encoder is out of range for type real"));
	}
	machines_stop(&m);
}

static void
shapes_are_checked(void **state)
{
	uint32_t many[STK_MAX_LAYERS + 1];
	stk_network net;
	stk_error err;

	(void) state;
	for (int i = 0; i <= STK_MAX_LAYERS; i++)
		many[i] = 4;
	assert_int_equal(
		stk_network_shape(&net, 4, STK_RELU, many, STK_MAX_LAYERS, many, STK_MAX_LAYERS, &err),
		STK_OK);
	assert_int_equal(stk_network_floats(&net), 2 * STK_MAX_LAYERS * 20);
	net.standardized = true;
	assert_int_equal(stk_network_floats(&net), 2 * STK_MAX_LAYERS * 20 + 8);
	assert_int_equal(stk_network_shape(&net, 4, STK_RELU, many, STK_MAX_LAYERS + 1, many, 1, &err),
					 STK_EINVAL);
	assert_int_equal(stk_network_shape(&net, 4, STK_RELU, many, 0, many, 1, &err), STK_EINVAL);
	assert_int_equal(stk_network_shape(&net, 5, STK_RELU, many, 1, many, 1, &err), STK_EINVAL);
	assert_string_equal(err.message, "the decoder has 4 outputs, expected 5");
	assert_int_equal(stk_network_shape(&net, 0, STK_RELU, many, 1, many, 1, &err), STK_EINVAL);
	assert_int_equal(
		stk_network_shape(&net, 4, (stk_activation) STK_ACTIVATIONS, many, 1, many, 1, &err),
		STK_EINVAL);
	many[1] = 0;
	assert_int_equal(stk_network_shape(&net, 4, STK_RELU, many, 3, many, 1, &err), STK_EINVAL);
	assert_string_equal(err.message, "layer 1 of the encoder has 0 outputs, expected 1 to 16000");
	many[1] = STK_MAX_WIDTH + 1;
	assert_int_equal(stk_network_shape(&net, 4, STK_RELU, many, 1, many, 3, &err), STK_EINVAL);
}

static void
values_are_checked(void **state)
{
	static built b;
	uint64_t seed = 5;
	size_t n;

	(void) state;
	build(&b, 4, STK_SILU, (uint32_t[]){3, 2}, 2, (uint32_t[]){4}, 1, true, &seed);
	n = stk_network_floats(&b.net);
	assert_int_equal(n, 8 + 15 + 8 + 12);
	for (size_t i = 0; i < n; i++)
	{
		float kept = b.floats[i];
		stk_error err;

		b.floats[i] = i % 2 ? NAN : -INFINITY;
		assert_int_equal(stk_network_check_values(&b.net, &err), STK_EINVAL);
		if (i >= 8)
			assert_non_null(strstr(err.message, i < 23   ? "layer 0 of the encoder"
												: i < 31 ? "layer 1 of the encoder"
														 : "layer 0 of the decoder"));
		b.floats[i] = kept;
	}
	b.floats[5] = 0;
	assert_int_equal(stk_network_check_values(&b.net, NULL), STK_EINVAL);
}

static bool
stop_at_once(void *ctx)
{
	(void) ctx;
	return true;
}

static void
stops_when_asked(void **state)
{
	static built b;
	float x[9] = {0}, z[3];
	stk_monitor monitor = {.stop = stop_at_once};
	stk_exec exec = {.a = stk_malloc, .cpu = &stk_cpu_portable, .monitor = &monitor};
	uint64_t seed = 3;

	(void) state;
	build(&b, 9, STK_RELU, (uint32_t[]){5, 3}, 2, (uint32_t[]){9}, 1, false, &seed);
	assert_int_equal(stk_network_encode(&b.net, &exec, x, 1, z, NULL), STK_ECANCELED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bits_everywhere),       cmocka_unit_test(activations_are_libms),
		cmocka_unit_test(bad_numbers_name_their_row), cmocka_unit_test(shapes_are_checked),
		cmocka_unit_test(values_are_checked),         cmocka_unit_test(stops_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
