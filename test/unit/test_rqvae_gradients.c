/*
 * Gradients of an RQ-VAE's loss beside finite differences, in binary64, of the loss written
 * plainly: linear layers, activations, mean squared error, normalisation, straight-through,
 * commitment, codebook loss and diversity. What carries no gradient is held at its value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rqvae_impl.h"
#include "rows.h"

#define ROWS 11
#define INPUTS 7
#define LATENT 4
#define LEVELS 3
#define WIDEST 16

static const uint32_t sizes[LEVELS] = {5, 3, 1};

/* A network on a batch, and what the plain loss holds fast. */
typedef struct setting
{
	stk_train_plan plan;
	stk_rqvae_shape shape;
	bool quantize;
	float x[ROWS][INPUTS];
	double z[ROWS][LATENT];         /* latent vectors */
	double r[LEVELS][ROWS][LATENT]; /* residuals */
	double e[LEVELS][ROWS][LATENT]; /* codewords of the rows */
	double c[LEVELS][5][LATENT];    /* all codewords */
	double temperature[LEVELS];
	uint16_t codes[LEVELS][ROWS];
} setting;

static double
activate(stk_activation activation, double x)
{
	if (activation == STK_RELU)
		return x > 0 ? x : 0;
	if (activation == STK_GELU)
		return 0.5 * x * (1 + erf(x / sqrt(2.0)));
	return x / (1 + exp(-x));
}

/* Layers first .. last - 1 on one row, in and out through y. */
static void
plain_layers(const setting *s, const double *p, int first, int last, double y[WIDEST])
{
	for (int i = first; i < last; i++)
	{
		const stk_rqvae_layer *l = &s->shape.layers[i];
		double out[WIDEST];

		for (size_t o = 0; o < l->out; o++)
		{
			out[o] = p[l->bias + o];
			for (size_t k = 0; k < l->in; k++)
				out[o] += p[l->weight + o * l->in + k] * y[k];
			if (i + 1 < last)
				out[o] = activate(s->plan.rqvae.activation, out[o]);
		}
		memcpy(y, out, sizeof(out));
	}
}

static void
plain_latent(const setting *s, const double *p, const float *x, double *z)
{
	double y[WIDEST];
	double square = 0;

	for (size_t i = 0; i < INPUTS; i++)
		y[i] = x[i];
	plain_layers(s, p, 0, s->shape.n_encoder, y);
	for (size_t i = 0; i < LATENT; i++)
		square += y[i] * y[i];
	for (size_t i = 0; i < LATENT; i++)
		z[i] = s->plan.metric == STK_COSINE ? y[i] / sqrt(square) : y[i];
}

/* 1 - H / log K of one level, of rows r_l that moved with z where `moves`. */
static double
plain_diversity(const setting *s, int level, double z[ROWS][LATENT], bool moves)
{
	uint32_t size = sizes[level];
	double mass[5] = {0};
	double entropy = 0;

	if (size == 1)
		return 0;
	for (size_t i = 0; i < ROWS; i++)
	{
		double e[5];
		double sum = 0;

		for (uint32_t k = 0; k < size; k++)
		{
			double d = 0;

			for (size_t j = 0; j < LATENT; j++)
			{
				double r = s->r[level][i][j] + (moves ? z[i][j] - s->z[i][j] : 0);

				d += (r - s->c[level][k][j]) * (r - s->c[level][k][j]);
			}
			e[k] = exp(-d / s->temperature[level]);
			sum += e[k];
		}
		for (uint32_t k = 0; k < size; k++)
			mass[k] += e[k] / sum / ROWS;
	}
	for (uint32_t k = 0; k < size; k++)
		entropy -= mass[k] * log(mass[k]);
	return 1 - entropy / log(size);
}

/* Where a level's codewords are among the parameters. */
static size_t
codewords_at(const setting *s, int level)
{
	size_t at = s->shape.network;

	for (int l = 0; l < level; l++)
		at += sizes[l] * LATENT;
	return at;
}

static double
plain_loss(const setting *s, const double *p)
{
	const stk_rqvae_plan *plan = &s->plan.rqvae;
	double z[ROWS][LATENT];
	double loss = 0;

	for (size_t i = 0; i < ROWS; i++)
	{
		double y[WIDEST];

		plain_latent(s, p, s->x[i], z[i]);
		for (size_t j = 0; j < LATENT; j++)
		{
			y[j] = z[i][j];
			for (int l = 0; l < LEVELS && s->quantize; l++)
				y[j] += s->e[l][i][j];
			y[j] -= s->quantize ? s->z[i][j] : 0;
		}
		plain_layers(s, p, s->shape.n_encoder, s->shape.n_encoder + s->shape.n_decoder, y);
		for (size_t j = 0; j < INPUTS; j++)
			loss += (y[j] - s->x[i][j]) * (y[j] - s->x[i][j]) / (ROWS * INPUTS);
	}
	for (int l = 0; l < LEVELS && s->quantize; l++)
	{
		const double *codewords = p + codewords_at(s, l);
		bool moves = l == 0 || plan->flow;
		double commitment = 0;
		double codebook = 0;

		for (size_t i = 0; i < ROWS; i++)
		{
			for (size_t j = 0; j < LATENT; j++)
			{
				double r = s->r[l][i][j] + (moves ? z[i][j] - s->z[i][j] : 0);
				double e = codewords[s->codes[l][i] * LATENT + j];

				commitment += (r - s->e[l][i][j]) * (r - s->e[l][i][j]);
				codebook += (e - s->r[l][i][j]) * (e - s->r[l][i][j]);
			}
		}
		loss += plan->commitment * commitment / ROWS / (plan->learnable ? 1 : LATENT);
		loss += plan->learnable ? codebook / ROWS : 0;
		if (plan->diversity > 0)
			loss += plan->diversity * plain_diversity(s, l, z, moves);
	}
	return loss;
}

/* Hold fast what carries no gradient, as it is at p. */
static void
hold(setting *s, const double *p, const stk_rqvae_net *net)
{
	for (size_t i = 0; i < ROWS; i++)
		plain_latent(s, p, s->x[i], s->z[i]);
	for (int l = 0; l < LEVELS && s->quantize; l++)
	{
		const double *codewords = p + codewords_at(s, l);

		memcpy(s->c[l], codewords, sizes[l] * LATENT * sizeof(double));
		memcpy(s->codes[l], net->codes[l], sizeof(s->codes[l]));
		s->temperature[l] = 1e-12;
		for (size_t i = 0; i < ROWS; i++)
		{
			for (size_t j = 0; j < LATENT; j++)
			{
				double left;

				s->r[l][i][j] = l == 0 ? s->z[i][j] : s->r[l - 1][i][j] - s->e[l - 1][i][j];
				s->e[l][i][j] = codewords[s->codes[l][i] * LATENT + j];
				left = s->r[l][i][j] - s->e[l][i][j];
				s->temperature[l] += left * left / ROWS;
			}
		}
	}
}

static double
total(const stk_rqvae_loss *l)
{
	return l->reconstruction + l->commitment + l->codebook + l->diversity;
}

static void
compare(setting *s, uint64_t seed)
{
	stk_rqvae_net net;
	stk_rqvae_loss loss;
	float *parameters;
	double *p;
	double largest = 0;
	bool finite;

	stk_rqvae_shape_of(&s->plan, &s->shape);
	parameters = calloc(s->shape.total, sizeof(float));
	p = calloc(s->shape.total, sizeof(double));
	fill(parameters, s->shape.total, 0.7f, &seed);
	fill(s->x[0], ROWS * INPUTS, 1, &seed);
	for (size_t i = 0; i < s->shape.total; i++)
		p[i] = parameters[i];
	assert_int_equal(stk_rqvae_net_init(&net, plain_exec(), &s->plan, &s->shape, ROWS + 2, true),
					 STK_OK);
	net.parameters = parameters;
	memcpy(net.x, s->x, sizeof(s->x));
	assert_int_equal(stk_rqvae_gradients(&net, ROWS, s->quantize, &loss, &finite), STK_OK);
	assert_true(finite);
	hold(s, p, &net);
	assert_true(fabs(total(&loss) - plain_loss(s, p)) < 2e-6 * total(&loss));

	for (size_t i = 0; i < s->shape.trained; i++)
		largest = fabs(net.gradients[i]) > largest ? fabs(net.gradients[i]) : largest;
	for (size_t i = 0; i < s->shape.trained; i++)
	{
		double at = p[i];
		double above, below, difference;

		p[i] = at + 1e-5;
		above = plain_loss(s, p);
		p[i] = at - 1e-5;
		below = plain_loss(s, p);
		p[i] = at;
		difference = (above - below) / 2e-5;
		if (fabs(difference - net.gradients[i]) > 1e-5 * largest)
			fail_msg("parameter %zu of %zu: gradient %.9g, but finite difference %.9g "
					 "(activation %d, metric %d, learnable %d, flow %d, diversity %g)",
					 i, s->shape.trained, net.gradients[i], difference,
					 (int) s->plan.rqvae.activation, (int) s->plan.metric, s->plan.rqvae.learnable,
					 s->plan.rqvae.flow, s->plan.rqvae.diversity);
	}
	stk_rqvae_net_free(&net);
	free(parameters);
	free(p);
}

static setting
setting_of(stk_activation activation)
{
	setting s = {.plan = {.levels = LEVELS, .dim = INPUTS}, .quantize = true};

	stk_rqvae_defaults(STK_RQVAE_RECTOKENS, &s.plan);
	memcpy(s.plan.sizes, sizes, sizeof(sizes));
	s.plan.rqvae.latent = LATENT;
	s.plan.rqvae.n_encoder = 2;
	s.plan.rqvae.encoder[0] = 9;
	s.plan.rqvae.encoder[1] = 5;
	s.plan.rqvae.n_decoder = 1;
	s.plan.rqvae.decoder[0] = 13;
	s.plan.rqvae.activation = activation;
	return s;
}

static void
every_operation(void **state)
{
	(void) state;
	for (int options = 0; options < STK_ACTIVATIONS * 16; options++)
	{
		setting s = setting_of((stk_activation) (options / 16));

		s.plan.metric = options & 1 ? STK_COSINE : STK_L2;
		s.plan.rqvae.learnable = options & 2;
		s.plan.rqvae.flow = options & 4;
		s.plan.rqvae.diversity = options & 8 ? 0.7 : 0;
		compare(&s, (uint64_t) options);
	}
}

static void
without_quantization(void **state)
{
	(void) state;
	for (int options = 0; options < 4; options++)
	{
		setting s = setting_of(STK_RELU);

		s.quantize = false;
		s.plan.metric = options & 1 ? STK_COSINE : STK_L2;
		s.plan.rqvae.learnable = options & 2;
		compare(&s, 100 + (uint64_t) options);
	}
}

static void
no_hidden_layers(void **state)
{
	setting s = setting_of(STK_GELU);

	(void) state;
	s.plan.rqvae.n_encoder = s.plan.rqvae.n_decoder = 0;
	compare(&s, 200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_operation),
		cmocka_unit_test(without_quantization),
		cmocka_unit_test(no_hidden_layers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
