/*
 * A training step of an RQ-VAE, timed with rows on the device: whole epochs, over their steps.
 *
 *   test/cuda/bin/bench_rqvae
 *
 * Each figure is the median of epochs, by the host's clock: batches' places go there and losses and
 * codes come back within. Beside it, of the same epochs, the rate of the products' operations, six
 * for each weight and row.
 */
#include "bench.h"
#include "core/rqvae.h"
#include "trainer.h"

#define EPOCHS 9

typedef struct setting
{
	const char *what;
	size_t batch;
	uint32_t hidden;
	bool learnable;
	double average;
	double clip;
} setting;

static void
bench(const setting *s, const float *x, size_t n, int dim)
{
	const stk_accelerator *a = the_spy()->of;
	stk_exec exec = exec_of(NULL, 0);
	size_t steps = n / s->batch;
	stk_train_plan plan = {.levels = 3, .sizes = {256, 256, 256}, .dim = dim, .seed = 1};
	stk_rqvae_pace *paces = malloc(steps * sizeof(*paces));
	stk_rqvae_loss *losses = malloc(steps * sizeof(*losses));
	uint16_t *codes = malloc(n * 3 * sizeof(*codes));
	size_t *places = malloc(n * sizeof(*places));
	stk_rqvae_run run = {.places = places,
						 .n = steps * s->batch,
						 .size = s->batch,
						 .quantize = true,
						 .paces = paces,
						 .losses = losses,
						 .codes = codes};
	float times[EPOCHS];
	stk_rqvae_state state;
	stk_rqvae_device *d = NULL;
	uint64_t seed = 5;
	double took, first_loss = 0;

	stk_rqvae_defaults(STK_RQVAE_RECTOKENS, &plan);
	plan.batch_size = s->batch;
	plan.rqvae.encoder[0] = plan.rqvae.encoder[1] = s->hidden;
	plan.rqvae.decoder[0] = plan.rqvae.decoder[1] = s->hidden;
	plan.rqvae.learnable = s->learnable;
	plan.rqvae.average = s->average;
	plan.rqvae.clip = s->clip;
	must(stk_rqvae_state_init(&state, &plan, &stk_malloc) == STK_OK, "state", "");
	fill(state.parameters + state.shape.network, state.shape.codes * state.shape.latent, 0.1f,
		 &seed);
	must(a->ops->rqvae->create(a->ctx, &plan, &exec, &state, x, n, &d) == STK_OK, "create",
		 "no cuBLAS?");
	for (size_t i = 0; i < steps; i++)
		paces[i] = (stk_rqvae_pace){1e-3, s->average};
	for (int e = -1; e < EPOCHS; e++)
	{
		double begin;

		stk_random_order(places, n, n, 3, STK_RANDOM_ORDER, 0, (uint32_t) (e + 1));
		begin = bench_now();
		must(a->ops->rqvae->run(d, &run) == STK_OK, "run", s->what);
		if (e >= 0)
			times[e] = (float) ((bench_now() - begin) / (double) steps);
		else
			first_loss = losses[0].reconstruction;
	}
	a->ops->rqvae->free(d);
	qsort(times, EPOCHS, sizeof(times[0]), bench_by_value);
	took = times[EPOCHS / 2];
	printf("%8zu  %5u  %-28s  %8.4f  %6.2f   loss %.5f to %.5f\n", s->batch, s->hidden, s->what,
		   took * 1e3, 6.0 * (double) s->batch * (double) state.shape.network / took * 1e-12,
		   first_loss, losses[steps - 1].reconstruction);
	fflush(stdout);
	stk_rqvae_state_free(&state);
	free(paces);
	free(losses);
	free(codes);
	free(places);
}

int
main(void)
{
	static const setting settings[] = {
		{"moving averages", 640, 512, false, 0, 0},
		{"learnable", 640, 512, true, 0, 0},
		{"averages of weights, a clip", 640, 512, false, 0.999, 1},
		{"moving averages", 640, 256, false, 0, 0},
		{"moving averages", 2048, 512, false, 0, 0},
		{"moving averages", 8192, 512, false, 0, 0},
		{"learnable", 8192, 512, true, 0, 0},
	};
	size_t n = 65536;
	int dim = 384;
	float *x = malloc(n * (size_t) dim * sizeof(float));
	uint64_t seed = 7;

	(void) bench_device();
	fill(x, n * (size_t) dim, 1, &seed);
	printf("%d -> hidden -> hidden -> 64, 3 x 256, and back\n   batch hidden  codewords        "
		   "             step ms  TFLOP/s\n",
		   dim);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		bench(&settings[i], x, n, dim);
	free(x);
	return 0;
}
