/*
 * A step of an RQ-VAE, forward, backward and AdamW: ours beside PyTorch, eager and compiled, at a
 * small batch and a large one.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/rival.h"
#include "core/gemm.h"
#include "core/rqvae.h"

#define HIDDEN 512
#define LATENT 64
#define LEVELS 3
#define SIZE 256
#define STEPS 4

/* Steps on one batch after the other, and who takes them. */
typedef struct problem
{
	stk_train_plan plan;
	const bench_rows *rows;
	stk_rqvae_state state;
	stk_rqvae_device *device;
	size_t *places; /* [STEPS * batch] */
	stk_rqvae_pace paces[STEPS];
	stk_rqvae_loss losses[STEPS];
	uint16_t *codes;
} problem;

static void
take_steps(void *arg)
{
	problem *p = arg;
	stk_rqvae_run run = {.places = p->places,
						 .n = STEPS * (size_t) p->plan.batch_size,
						 .size = (size_t) p->plan.batch_size,
						 .quantize = true,
						 .paces = p->paces,
						 .losses = p->losses,
						 .codes = p->codes};

	bench_check("step", stk_rqvae_processor.run(p->device, &run), NULL);
}

/* Seconds of a step. */
static double
measure(problem *p, int threads)
{
	bench_exec e;
	bench_time time;

	bench_exec_start(&e, STK_SIMD_AUTO, threads);
	bench_check("device",
				stk_rqvae_processor.create(NULL, &p->plan, &e.exec, &p->state, p->rows->x,
										   p->rows->n, &p->device),
				NULL);
	take_steps(p);
	time = bench_measure(p->plan.batch_size > 1000 ? 4 : 20, take_steps, p);
	stk_rqvae_processor.free(p->device);
	bench_exec_stop(&e);
	printf("%-26s %9.2f\n", threads == 1 ? "ours, one thread" : "ours",
		   time.shortest / STEPS * 1e3);
	return time.shortest / STEPS;
}

/* Multiplications and additions of a step's products. */
static double
flops(const stk_rqvae_shape *shape, size_t batch)
{
	double sum = -(double) shape->layers[0].in * shape->layers[0].out / 3;

	for (int i = 0; i < shape->n_encoder + shape->n_decoder; i++)
		sum += (double) shape->layers[i].in * shape->layers[i].out;
	return 6 * sum * (double) batch;
}

static void
run_problem(const bench_rows *rows, const char *path, size_t batch)
{
	problem p = {.rows = rows};
	bench_answer answer;
	uint64_t seed = batch;
	double ours;

	p.plan = (stk_train_plan){.levels = LEVELS, .dim = (int) rows->dim};
	stk_rqvae_defaults(STK_RQVAE_RECTOKENS, &p.plan);
	p.plan.batch_size = batch;
	p.plan.rqvae.latent = LATENT;
	for (int l = 0; l < LEVELS; l++)
		p.plan.sizes[l] = SIZE;
	for (int i = 0; i < 2; i++)
		p.plan.rqvae.encoder[i] = p.plan.rqvae.decoder[i] = HIDDEN;
	bench_check("state", stk_rqvae_state_init(&p.state, &p.plan, &stk_malloc), NULL);
	bench_fill_normal(p.state.parameters + p.state.shape.network, LEVELS * SIZE * LATENT, 1);
	for (size_t i = p.state.shape.network; i < p.state.shape.total; i++)
		p.state.parameters[i] *= 0.05f;
	p.places = bench_alloc(STEPS * batch, sizeof(size_t));
	p.codes = bench_alloc(STEPS * batch, LEVELS * sizeof(uint16_t));
	for (size_t i = 0; i < STEPS * batch; i++)
		p.places[i] = (size_t) stk_below(stk_random(seed, STK_RANDOM_ORDER, 0, 0, i), rows->n);
	for (int i = 0; i < STEPS; i++)
		p.paces[i] = (stk_rqvae_pace){.rate = 1e-3};

	printf("batch of %zu\n%-26s %9s\n", batch, "", "ms a step");
	measure(&p, 1);
	ours = measure(&p, BENCH_THREADS);
	printf("products alone come to     %9.1f GFLOP, %.0f GFLOP/s of a whole step\n",
		   flops(&p.state.shape, batch) / 1e9, flops(&p.state.shape, batch) / ours / 1e9);
	if (bench_rival(&answer, "torch_rqvae.py",
					"rows=%s dim=%zu batch=%zu hidden=%d latent=%d size=%d levels=%d threads=%d "
					"times=%d",
					path, rows->dim, batch, HIDDEN, LATENT, SIZE, LEVELS, BENCH_THREADS,
					batch > 1000 ? 8 : 40) &&
		isfinite(bench_value(&answer, "eager")))
	{
		double eager = bench_value(&answer, "eager");
		double compiled = bench_value(&answer, "compiled");
		double rival = fmin(eager, compiled);

		printf("%-26s %9.2f\n%-26s %9.2f\n", "PyTorch, eager", eager * 1e3, "PyTorch, compiled",
			   compiled * 1e3);
		bench_goal(rival >= ours, "a step no slower than the faster PyTorch", "%.2f times as fast",
				   rival / ours);
	}
	else
		bench_goal_open("a step no slower than the faster PyTorch",
						"PyTorch is not installed (bench/rivals/setup torch)");
	printf("\n");
	stk_rqvae_state_free(&p.state);
	free(p.places);
	free(p.codes);
}

int
main(void)
{
	bench_rows rows = bench_rows_load("beauty", SIZE_MAX);
	const char *path = bench_file("rows");

	printf("A step of an RQ-VAE, %zu -> %d -> %d -> %d, %d x %d codes, %d threads\n\n", rows.dim,
		   HIDDEN, HIDDEN, LATENT, LEVELS, SIZE, BENCH_THREADS);
	bench_write(path, rows.x, rows.n * rows.dim, sizeof(float));
	run_problem(&rows, path, 640);
	run_problem(&rows, path, 8192);
	bench_rows_free(&rows);
	return 0;
}
