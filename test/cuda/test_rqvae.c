/*
 * Steps of an RQ-VAE on a device against the processor's: the same codes and losses, and parameters
 * that moved the same way; and the device against itself, bit for bit.
 *
 *   make cuda-test here; test/cuda/bin/test_rqvae [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer; -1: few of
 * them, for its slower tools.
 *
 * Both add in binary32, each in its own order, so sums of products differ by some 1e-6 of their
 * terms. AdamW divides by the root of squares: a gradient that is small beside its terms may come
 * out with another sign, and its parameter moves as far the other way. So parameters are compared
 * as a whole: how far apart both ends are, over how far the processor's has come. 1e-3 of the way
 * is a hundred times what is seen, and what a wrong factor or a lost term anywhere leaves is more.
 * Where a latent vector lies in the middle of two codewords codes may differ, and then everything
 * does a little, the next batches' codes, too: up to one code in 100 may, and 3e-2 of the way.
 *
 * What one such code changes grows with the steps: whole trainings go their own ways. How far the
 * processor's own goes when the rows differ in their last digit is the measure for those.
 */
#include <math.h>

#include "core/rqvae.h"
#include "trainer.h"

/* Of the way that parameters go; with a code that differs. */
#define TOLERANCE 1e-3
#define TOLERANCE_CODES 3e-2
/* Of losses of whole trainings, as a multiple of what the last digit of the rows changes. */
#define TOLERANCE_TRAINING 3

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong, double worst)
{
	printf("%-6s %-64s %9zu compared %6lu wrong, %.1e apart\n", wrong ? "FAILED" : "ok", what,
		   compared, wrong, worst);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* A training: rows, batches, and what to train. */
typedef struct problem
{
	const char *what;
	stk_train_plan plan;
	size_t n;
	int epochs;
	bool quantize;
	uint64_t step; /* that the state is at already */
} problem;

/* A state, and what steps that led to it noted. */
typedef struct end
{
	stk_rqvae_state state;
	stk_rqvae_loss *losses; /* [steps] */
	uint16_t *codes;        /* [ncodes] */
	size_t steps;
	size_t ncodes;
} end;

/* Rows around a few centres, so that there is something to learn. */
static float *
make_rows(size_t n, size_t dim, uint64_t *seed)
{
	float *x = malloc(n * dim * sizeof(float));
	float *centres = malloc(20 * dim * sizeof(float));

	must(x && centres, "rows", "out of memory");
	fill(centres, 20 * dim, 1, seed);
	fill(x, n * dim, 1, seed);
	for (size_t i = 0; i < n * dim; i++)
		x[i] = 0.4f * x[i] + centres[i / dim % 20 * dim + i % dim];
	free(centres);
	return x;
}

/* A state as training begins, with codewords; some of them are far from everything. */
static void
make_state(const problem *p, stk_rqvae_state *s, uint64_t seed)
{
	float *codewords;

	must(stk_rqvae_state_init(s, &p->plan, &stk_malloc) == STK_OK, "state", "out of memory");
	codewords = s->parameters + s->shape.network;
	fill(codewords, s->shape.codes * s->shape.latent, 1, &seed);
	for (size_t k = 0; k < s->shape.codes; k++)
	{
		for (size_t i = 0; i < s->shape.latent; i++)
			codewords[k * s->shape.latent + i] *= k % 7 == 3 ? 9.0f : 0.3f;
		s->counts[k] = p->step && k % 3 ? 2.5 : 0;
		for (size_t i = 0; i < s->shape.latent && p->step; i++)
			s->sums[k * s->shape.latent + i] =
				s->counts[k] * (double) codewords[k * s->shape.latent + i];
	}
	memcpy(s->average, s->parameters, s->shape.total * sizeof(float));
	for (size_t i = 0; i < s->shape.trained && p->step; i++)
	{
		s->first[i] = 1e-3f * next_float(&seed);
		s->second[i] = 1e-5f * fabsf(next_float(&seed));
	}
	s->step = p->step;
	s->quantized = p->quantize;
}

/* The steps of an epoch from a state on, by one who computes them. */
static void
take_epoch(const problem *p, int epoch, const stk_rqvae_device_ops *ops, void *ctx,
		   const stk_exec *exec, const float *x, const stk_rqvae_state *from, end *e)
{
	size_t size = p->plan.batch_size ? p->plan.batch_size : p->n;
	stk_rqvae_device *d = NULL;
	stk_rqvae_run run = {.n = p->n, .size = size, .quantize = p->quantize};
	stk_rqvae_pace *paces;
	size_t *places = malloc(p->n * sizeof(*places));

	e->steps = (p->n + size - 1) / size;
	e->ncodes = p->quantize ? p->n * (size_t) p->plan.levels : 0;
	e->losses = calloc(e->steps, sizeof(*e->losses));
	e->codes = malloc(e->ncodes * sizeof(*e->codes) + 1);
	paces = malloc(e->steps * sizeof(*paces));
	stk_random_order(places, p->n, p->n, 3, STK_RANDOM_ORDER, 0, (uint32_t) epoch);
	for (size_t i = 0; i < e->steps; i++)
		paces[i] =
			(stk_rqvae_pace){.rate = p->plan.rqvae.learning_rate / (1 + 0.1 * (double) (i % 5)),
							 .keep = p->plan.rqvae.average > 0 ? 0.9 : 0};
	run.places = places;
	run.paces = paces;
	run.losses = e->losses;
	run.codes = e->codes;
	must(ops->create(ctx, &p->plan, exec, from, x, p->n, &d) == STK_OK, "create", p->what);
	must(ops->run(d, &run) == STK_OK, "run", p->what);
	must(stk_rqvae_state_init(&e->state, &p->plan, &stk_malloc) == STK_OK, "state", "");
	must(ops->read(d, &e->state) == STK_OK, "read", p->what);
	ops->free(d);
	free(paces);
	free(places);
}

static void
end_free(end *e)
{
	stk_rqvae_state_free(&e->state);
	free(e->losses);
	free(e->codes);
}

/* How far numbers are apart, over how far the second have come from where they began. */
static double
apart(const float *a, const float *b, const float *from, size_t n)
{
	double difference = 0, way = 1e-30;

	for (size_t i = 0; i < n; i++)
	{
		difference += pow((double) a[i] - b[i], 2);
		way += pow((double) b[i] - from[i], 2);
	}
	/* NaN is far away. */
	return isfinite(difference) ? sqrt(difference / way) : INFINITY;
}

/* Of losses, as a share of the larger. */
static double
loss_apart(double a, double b)
{
	double larger = fmax(fabs(a), fabs(b));

	return isfinite(a) && isfinite(b) ? (larger > 0 ? fabs(a - b) / larger : 0) : INFINITY;
}

/* What is wrong after an epoch from the state `begin`; *worst: how far apart both are. */
static unsigned long
compare(const problem *p, const stk_rqvae_state *begin, const end *there, const end *here,
		double *worst)
{
	const stk_rqvae_shape *s = &here->state.shape;
	const stk_rqvae_state *a = &there->state, *b = &here->state;
	size_t differing = 0;
	unsigned long wrong = 0, counts = 0;
	double way = 0, losses = 0;

	for (size_t i = 0; i < here->ncodes; i++)
		differing += here->codes[i] != there->codes[i];
	for (size_t i = 0; i < here->steps; i++)
	{
		const stk_rqvae_loss *l = &there->losses[i], *m = &here->losses[i];

		losses = fmax(losses, loss_apart(l->reconstruction, m->reconstruction));
		losses = fmax(losses, loss_apart(l->commitment, m->commitment));
		losses = fmax(losses, loss_apart(l->codebook, m->codebook));
		losses = fmax(losses, loss_apart(l->norm, m->norm));
	}
	way = fmax(way, apart(a->parameters, b->parameters, begin->parameters, s->network));
	way = fmax(way, apart(a->first, b->first, begin->first, s->trained));
	way = fmax(way, apart(a->second, b->second, begin->second, s->trained));
	if (p->plan.rqvae.average > 0)
		way = fmax(way, apart(a->average, b->average, begin->average, s->total));
	if (p->quantize)
		way = fmax(way, apart(a->parameters + s->network, b->parameters + s->network,
							  begin->parameters + s->network, s->codes * s->latent));
	for (size_t k = 0; k < s->codes; k++)
		counts += a->idle[k] != b->idle[k] || fabs(a->counts[k] - b->counts[k]) > 1e-12;
	way = fmax(way, losses);
	wrong += differing * 100 > here->ncodes;
	wrong += !(way <= (differing ? TOLERANCE_CODES : TOLERANCE));
	/* Each code that differs changes two counts. */
	wrong += counts > 2 * differing;
	wrong += a->step != b->step;
	if (wrong)
		printf("       codes %zu of %zu differ, counts %lu, losses %.1e, ways %.1e apart\n",
			   differing, here->ncodes, counts, losses, way);
	*worst = fmax(*worst, way);
	return wrong;
}

/* Bit for bit. */
static unsigned long
differ_at_all(const end *a, const end *b)
{
	const stk_rqvae_shape *s = &a->state.shape;

	return (memcmp(a->losses, b->losses, a->steps * sizeof(*a->losses)) != 0) +
		   (memcmp(a->codes, b->codes, a->ncodes * sizeof(*a->codes)) != 0) +
		   (memcmp(a->state.parameters, b->state.parameters, s->total * sizeof(float)) != 0) +
		   (memcmp(a->state.first, b->state.first, s->trained * sizeof(float)) != 0) +
		   (memcmp(a->state.second, b->state.second, s->trained * sizeof(float)) != 0) +
		   (memcmp(a->state.average, b->state.average, s->total * sizeof(float)) != 0) +
		   (memcmp(a->state.counts, b->state.counts, s->codes * sizeof(double)) != 0) +
		   (memcmp(a->state.sums, b->state.sums, s->codes * s->latent * sizeof(double)) != 0) +
		   (memcmp(a->state.idle, b->state.idle, s->codes * sizeof(uint32_t)) != 0);
}

/*
 * Epoch after epoch of the processor's: the device begins each where the processor did, since what
 * one code changes grows with the steps.
 */
static void
test_problem(const problem *p, int runs)
{
	const stk_accelerator *a = the_spy()->of;
	stk_exec exec = exec_of(NULL, 10000000);
	uint64_t seed = 11;
	float *x = make_rows(p->n, (size_t) p->plan.dim, &seed);
	stk_rqvae_state state;
	unsigned long wrong = 0, unequal = 0;
	size_t steps = 0;
	double worst = 0;
	char what[128];

	make_state(p, &state, 5);
	for (int epoch = 0; epoch < p->epochs; epoch++)
	{
		end here, there;

		take_epoch(p, epoch, &stk_rqvae_processor, NULL, &exec, x, &state, &here);
		take_epoch(p, epoch, a->ops->rqvae, a->ctx, &exec, x, &state, &there);
		wrong += compare(p, &state, &there, &here, &worst);
		steps += here.steps;
		for (int run = 1; run < runs && epoch == 0; run++)
		{
			end again;

			take_epoch(p, epoch, a->ops->rqvae, a->ctx, &exec, x, &state, &again);
			unequal += differ_at_all(&there, &again);
			end_free(&again);
		}
		stk_rqvae_state_free(&state);
		state = here.state;
		free(here.losses);
		free(here.codes);
		end_free(&there);
	}
	snprintf(what, sizeof(what), "%s, %zu x %d by %zu", p->what, p->n, p->plan.dim,
			 (size_t) p->plan.batch_size);
	say(what, steps, wrong, worst);
	if (runs > 1)
	{
		snprintf(what, sizeof(what), "%s, %d runs", p->what, runs);
		say(what, (size_t) runs, unequal, 0);
	}
	stk_rqvae_state_free(&state);
	free(x);
}

/* A small plan, odd in all its numbers. */
static problem
small(const char *what)
{
	problem p = {.what = what, .n = 1003, .epochs = 3, .quantize = true};

	stk_rqvae_defaults(STK_RQVAE_RECTOKENS, &p.plan);
	p.plan.levels = 3;
	p.plan.sizes[0] = 37;
	p.plan.sizes[1] = 300;
	p.plan.sizes[2] = 5;
	p.plan.dim = 45;
	p.plan.batch_size = 130;
	p.plan.epochs = 3;
	p.plan.seed = 7;
	p.plan.restart_after = 5;
	p.plan.rqvae.latent = 13;
	p.plan.rqvae.encoder[0] = 50;
	p.plan.rqvae.encoder[1] = 31;
	p.plan.rqvae.decoder[0] = 29;
	p.plan.rqvae.decoder[1] = 52;
	p.plan.rqvae.learning_rate = 2e-3;
	return p;
}

static void
test_options(int runs)
{
	problem p = small("RecTokens' preset");

	test_problem(&p, runs);
	p = small("all of the ways that codewords learn: by gradients");
	p.plan.rqvae.learnable = true;
	test_problem(&p, runs);
	p = small("codewords by gradients, from a state under way");
	p.plan.rqvae.learnable = true;
	p.plan.rqvae.flow = true;
	p.step = 1234;
	test_problem(&p, runs);
	p = small("flow, averages, a clip that bites, GELU");
	p.plan.rqvae.flow = true;
	p.plan.rqvae.average = 0.9;
	p.plan.rqvae.clip = 0.05;
	p.plan.rqvae.activation = STK_GELU;
	p.step = 77;
	test_problem(&p, runs);
	p = small("SiLU, no restart, decay 0, a clip that does not");
	p.plan.rqvae.activation = STK_SILU;
	p.plan.restart_after = 0;
	p.plan.decay = 0;
	p.plan.rqvae.clip = 1e6;
	p.plan.rqvae.weight_decay = 0.1;
	test_problem(&p, runs);
	p = small("before codewords are chosen");
	p.quantize = false;
	p.plan.rqvae.average = 0.5;
	test_problem(&p, runs);
	p = small("the same, learnable");
	p.quantize = false;
	p.plan.rqvae.learnable = true;
	test_problem(&p, runs);
	p = small("no hidden layers, one level, whole batches");
	p.plan.rqvae.n_encoder = p.plan.rqvae.n_decoder = 0;
	p.plan.levels = 1;
	p.plan.batch_size = 0;
	test_problem(&p, runs);
	p = small("one row a batch, one of all");
	p.n = 9;
	p.plan.batch_size = 1;
	test_problem(&p, runs);
	p = small("a latent of 200, wide levels, four hidden layers");
	p.plan.rqvae.n_encoder = 4;
	p.plan.rqvae.encoder[2] = p.plan.rqvae.encoder[3] = 64;
	p.plan.rqvae.latent = 200;
	p.plan.sizes[1] = 1025;
	test_problem(&p, runs);
}

/* 200 steps of the shape that recipes have. */
static void
test_recipe(int runs, bool ours)
{
	problem p = {.what = ours ? "200 steps of ours" : "200 steps of RecTokens'",
				 .n = 3200,
				 .epochs = 40,
				 .quantize = true};

	stk_rqvae_defaults(ours ? STK_RQVAE_OURS : STK_RQVAE_RECTOKENS, &p.plan);
	p.plan.levels = 3;
	p.plan.sizes[0] = p.plan.sizes[1] = p.plan.sizes[2] = 256;
	p.plan.dim = 384;
	test_problem(&p, runs);
}

/* What trainings say of their epochs. */
typedef struct curve
{
	stk_rqvae_report said[64];
	int n;
} curve;

static void
take_epoch_report(void *ctx, const stk_rqvae_report *r)
{
	curve *c = ctx;

	must(c->n < 64, "reports", "too many");
	c->said[c->n++] = *r;
}

/* A whole training of 200 steps; rows in their last digit other ones, or as they are. */
static void
train(stk_rqvae_preset preset, const stk_accelerator *a, bool other, curve *c)
{
	stk_train_plan plan = {.levels = 3, .sizes = {256, 256, 256}, .dim = 384, .seed = 1};
	stk_exec exec = exec_of(a, 10000000);
	stk_rqvae_hooks hooks = {.report = take_epoch_report, .ctx = c};
	size_t n = 12800;
	stk_rqvae_state state;
	uint64_t seed = 11;
	float *x = make_rows(n, 384, &seed);
	float *heldout = make_rows(1000, 384, &seed);
	stk_error err = {.level = -1};

	stk_rqvae_defaults(preset, &plan);
	plan.epochs = 10;
	for (size_t i = 0; i < n * 384 && other; i++)
		x[i] = nextafterf(x[i], i % 2 ? INFINITY : -INFINITY);
	c->n = 0;
	must(stk_rqvae_state_init(&state, &plan, &stk_malloc) == STK_OK, "state", "");
	must(stk_rqvae_train(&plan, &exec, x, n, heldout, 1000, &hooks, &state, &err) == STK_OK,
		 "train", err.message);
	stk_rqvae_state_free(&state);
	free(x);
	free(heldout);
}

/* The largest difference between losses of two trainings. */
static double
curves_apart(const curve *a, const curve *b)
{
	double worst = a->n == b->n ? 0 : INFINITY;

	for (int i = 0; i < a->n && i < b->n; i++)
	{
		const stk_rqvae_report *r = &a->said[i], *s = &b->said[i];

		worst = fmax(worst, loss_apart(r->loss.reconstruction, s->loss.reconstruction));
		worst = fmax(worst, loss_apart(r->loss.commitment, s->loss.commitment));
		if (r->step != s->step || r->evaluated != s->evaluated)
			worst = INFINITY;
		if (r->evaluated)
			worst = fmax(worst, loss_apart(r->heldout.mse, s->heldout.mse));
	}
	return worst;
}

static void
test_training(stk_rqvae_preset preset)
{
	static curve here, other, there;
	double own, apart;
	char what[96];

	train(preset, NULL, false, &here);
	train(preset, NULL, true, &other);
	train(preset, the_spy()->of, false, &there);
	own = curves_apart(&other, &here);
	apart = curves_apart(&there, &here);
	snprintf(what, sizeof(what), "200 steps by %s, the last digit %.1e",
			 preset == STK_RQVAE_OURS ? "ours" : "RecTokens' preset", own);
	say(what, (size_t) here.n, !(apart <= TOLERANCE_TRAINING * fmax(own, TOLERANCE)), apart);
}

/* What a device does not do it says before it begins. */
static void
test_refusals(void)
{
	const stk_accelerator *a = the_spy()->of;
	stk_exec exec = exec_of(NULL, 0);
	problem p = small("refused");
	uint64_t seed = 3;
	float *x = make_rows(p.n, (size_t) p.plan.dim, &seed);
	unsigned long wrong = 0;

	for (int i = 0; i < 2; i++)
	{
		stk_rqvae_device *d = NULL;
		stk_rqvae_state s;

		p.plan.rqvae.diversity = i == 0 ? 0.1 : 0;
		p.plan.metric = i == 0 ? STK_L2 : STK_COSINE;
		make_state(&p, &s, 5);
		wrong += a->ops->rqvae->create(a->ctx, &p.plan, &exec, &s, x, p.n, &d) != STK_EDEVICE;
		stk_rqvae_state_free(&s);
	}
	say("what it does not do it refuses", 2, wrong, 0);
	free(x);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	problem p = small("RecTokens' preset");

	if (runs < 0)
	{
		p.n = 300;
		test_problem(&p, 1);
	}
	else
	{
		test_options(runs > 3 ? 3 : 1);
		test_refusals();
	}
	if (runs > 0)
	{
		test_recipe(runs, false);
		test_recipe(runs, true);
		test_training(STK_RQVAE_RECTOKENS);
		test_training(STK_RQVAE_OURS);
	}
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
