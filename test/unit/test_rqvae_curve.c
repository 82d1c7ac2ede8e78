/*
 * 200 steps of an RQ-VAE beside a plain PyTorch implementation of the same equations: the same
 * rows, batches, initial weights, codewords and rates, losses within a thousandth.
 *
 * What PyTorch computed is in test/data/rqvae-curves.txt. To make it again, where PyTorch is:
 *
 *    SEMTOK_RQVAE_CURVES=folder test/unit/bin/test_rqvae_curve    writes what goes into each curve
 *    python3 test/python/rqvae_curves.py folder >test/data/rqvae-curves.txt
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rqvae.h"
#include "rows.h"

#define ROWS 1024
#define INPUTS 24
#define BATCH 128
#define EPOCHS 25
#define STEPS (ROWS / BATCH * EPOCHS)
#define CURVES "test/data/rqvae-curves.txt"

/* Steps as they go by, between the training and the processor that computes them. */
typedef struct witness
{
	FILE *file; /* what goes into the curve; NULL: nobody asks */
	const stk_train_plan *plan;
	const float *x;
	double losses[STEPS];
	size_t steps;
} witness;

static witness *seen;

static void
put(const void *data, size_t size, size_t n)
{
	if (seen->file)
		assert_int_equal(fwrite(data, size, n, seen->file), n);
}

/* The plan as a line of JSON, then arrays as they are. */
static void
put_beginning(const stk_rqvae_state *s)
{
	const stk_train_plan *plan = seen->plan;
	const stk_rqvae_plan *p = &plan->rqvae;
	const char *activations[] = {"relu", "gelu", "silu"};

	if (!seen->file)
		return;
	fprintf(seen->file,
			"{\"inputs\": %d, \"latent\": %d, \"encoder\": [%u, %u], \"decoder\": [%u, %u], "
			"\"sizes\": [%u, %u, %u], \"rows\": %d, \"batch\": %d, \"steps\": %d, "
			"\"activation\": \"%s\", \"cosine\": %d, \"learnable\": %d, \"flow\": %d, "
			"\"weight_decay\": %.17g, \"beta1\": %.17g, \"beta2\": %.17g, \"epsilon\": %.17g, "
			"\"clip\": %.17g, \"commitment\": %.17g, \"diversity\": %.17g, \"decay\": %.17g}\n",
			plan->dim, p->latent, p->encoder[0], p->encoder[1], p->decoder[0], p->decoder[1],
			plan->sizes[0], plan->sizes[1], plan->sizes[2], ROWS, BATCH, STEPS,
			activations[p->activation], plan->metric == STK_COSINE, p->learnable, p->flow,
			p->weight_decay, p->beta1, p->beta2, p->epsilon, p->clip, p->commitment, p->diversity,
			plan->decay);
	put(seen->x, sizeof(float), (size_t) ROWS * INPUTS);
	put(s->parameters, sizeof(float), s->shape.total);
	put(s->counts, sizeof(double), s->shape.codes);
	put(s->sums, sizeof(double), s->shape.codes * s->shape.latent);
}

static stk_status
witness_create(void *ctx, const stk_train_plan *plan, const stk_exec *exec,
			   const stk_rqvae_state *state, const float *x, size_t n, stk_rqvae_device **out)
{
	seen = ctx;
	seen->x = x;
	put_beginning(state);
	return stk_rqvae_processor.create(NULL, plan, exec, state, x, n, out);
}

static stk_status
witness_run(stk_rqvae_device *d, stk_rqvae_run *run)
{
	stk_status status = stk_rqvae_processor.run(d, run);

	assert_int_equal(status, STK_OK);
	assert_int_equal(run->n, ROWS);
	for (size_t i = 0; i < ROWS / BATCH; i++)
	{
		const stk_rqvae_loss *l = &run->losses[i];
		uint64_t places[BATCH];

		for (size_t r = 0; r < BATCH; r++)
			places[r] = run->places[i * BATCH + r];
		put(&run->paces[i].rate, sizeof(double), 1);
		put(places, sizeof(uint64_t), BATCH);
		seen->losses[seen->steps++] =
			l->reconstruction + l->commitment + l->codebook + l->diversity;
	}
	return status;
}

static stk_status
witness_read(stk_rqvae_device *d, stk_rqvae_state *state)
{
	return stk_rqvae_processor.read(d, state);
}

static void
witness_free(stk_rqvae_device *d)
{
	stk_rqvae_processor.free(d);
}

/* Rows about 60 places, which the network has something to learn about. */
static void
make_rows(float *x)
{
	float places[60][INPUTS];
	uint64_t seed = 17;

	fill(places[0], 60 * INPUTS, 1, &seed);
	for (size_t i = 0; i < ROWS; i++)
		for (size_t k = 0; k < INPUTS; k++)
			x[i * INPUTS + k] = places[i % 60][k] + 0.2f * next_float(&seed);
}

/* What PyTorch computed. */
static void
read_curve(const char *name, double *losses)
{
	FILE *file = fopen(CURVES, "r");
	char word[64];
	double loss;
	int step;
	int found = 0;

	assert_non_null(file);
	while (fscanf(file, "%63s %d %lf", word, &step, &loss) == 3)
	{
		if (strcmp(word, name) != 0)
			continue;
		assert_in_range(step, 1, STEPS);
		losses[step - 1] = loss;
		found++;
	}
	fclose(file);
	assert_int_equal(found, STEPS);
}

/* Train by the plan and compare. */
static void
follow(const char *name, const stk_train_plan *plan)
{
	static const stk_rqvae_device_ops ops = {witness_create, witness_run, witness_read,
											 witness_free};
	const char *folder = getenv("SEMTOK_RQVAE_CURVES");
	witness w = {.plan = plan};
	stk_accelerator_ops all = {.rqvae = &ops};
	stk_accelerator accelerator = {&all, &w};
	stk_exec exec = *plain_exec();
	float *x = malloc(sizeof(float) * ROWS * INPUTS);
	double expected[STEPS];
	stk_rqvae_state s;

	if (folder)
	{
		char path[1024];

		snprintf(path, sizeof(path), "%s/%s.bin", folder, name);
		w.file = fopen(path, "wb");
		assert_non_null(w.file);
	}
	make_rows(x);
	exec.accelerator = &accelerator;
	assert_int_equal(stk_rqvae_state_init(&s, plan, &stk_malloc), STK_OK);
	assert_int_equal(stk_rqvae_train(plan, &exec, x, ROWS, NULL, 0, NULL, &s, NULL), STK_OK);
	assert_int_equal(w.steps, STEPS);
	stk_rqvae_state_free(&s);
	free(x);
	if (folder)
	{
		fclose(w.file);
		return;
	}
	read_curve(name, expected);
	for (size_t i = 0; i < STEPS; i++)
		if (!(fabs(w.losses[i] - expected[i]) <= 1e-3 * expected[i]))
			fail_msg("%s: loss %.9g at step %zu, where PyTorch has %.9g", name, w.losses[i], i + 1,
					 expected[i]);
}

static stk_train_plan
plan_of(void)
{
	stk_train_plan plan = {.levels = 3, .sizes = {16, 12, 8}, .dim = INPUTS, .seed = 5};

	stk_rqvae_defaults(STK_RQVAE_RECTOKENS, &plan);
	plan.epochs = EPOCHS;
	plan.batch_size = BATCH;
	plan.restart_after = 0; /* its draws are not PyTorch's */
	plan.rqvae.latent = 8;
	for (int i = 0; i < 2; i++)
	{
		plan.rqvae.encoder[i] = 32;
		plan.rqvae.decoder[i] = 24;
	}
	return plan;
}

static void
as_rectokens(void **state)
{
	stk_train_plan plan = plan_of();

	(void) state;
	follow("rectokens", &plan);
}

static void
scaled_and_paced(void **state)
{
	stk_train_plan plan = plan_of();

	(void) state;
	plan.rqvae.standardize = STK_RQVAE_WHOLE;
	plan.rqvae.init = STK_RQVAE_LLOYD;
	plan.rqvae.flow = true;
	plan.rqvae.warmup = 20;
	plan.rqvae.schedule = STK_RQVAE_COSINE;
	plan.rqvae.average = 0.99;
	plan.rqvae.clip = 1;
	follow("paced", &plan);
}

static void
learnable_codewords(void **state)
{
	stk_train_plan plan = plan_of();

	(void) state;
	plan.rqvae.learnable = true;
	plan.rqvae.activation = STK_GELU;
	plan.rqvae.clip = 0.5;
	follow("learnable", &plan);
}

static void
cosine_and_diversity(void **state)
{
	stk_train_plan plan = plan_of();

	(void) state;
	plan.metric = STK_COSINE;
	plan.rqvae.activation = STK_SILU;
	plan.rqvae.flow = true;
	plan.rqvae.diversity = 0.05;
	plan.rqvae.weight_decay = 0.1;
	follow("cosine", &plan);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_rectokens),
		cmocka_unit_test(scaled_and_paced),
		cmocka_unit_test(learnable_codewords),
		cmocka_unit_test(cosine_and_diversity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
