/*
 * Steps of a training on a device that are about whole codebooks: encoding, evaluation, and the
 * normal equations of a refit.
 *
 * Rows under evaluation come from ordinary memory, through a call's lanes (lane.h); the others are
 * there already.
 */
#include <stdlib.h>
#include <string.h>

#include "beam_shape.h"
#include "lane.h"
#include "statistics.h"
#include "train_cuda_impl.h"

/* Multiply-adds of an encoding between two looks at the monitor: some tens of milliseconds. */
#define GREEDY_WORK 4e12
#define BEAM_WORK 1e11

struct stk_accelerator_codebook
{
	stk_codebook cb;
	stk_device_codebook *copy;
	int beam;
	size_t taken; /* bytes counted for it */
};

/* Rows that are encoded between two looks. */
static size_t
rows_a_look(const stk_codebook *cb, int beam)
{
	double work = 1;
	double rows;

	for (int l = 0; l < cb->levels; l++)
		work += (double) cb->sizes[l] * cb->dim * (l > 0 ? beam : 1);
	rows = (beam > 1 ? BEAM_WORK : GREEDY_WORK) / work;
	return rows < 1 ? 1 : rows < 1e9 ? (size_t) rows : 1000000000;
}

void
stk_trainer_codebook_free(void *ctx, stk_accelerator_codebook *c)
{
	stk_trainer *t = ctx;
	stk_error unsaid = {.level = -1};

	/* What was on its way when a step was cancelled still reads it. */
	if (c->copy && stk_gpu_use(t->gpu, &unsaid) == STK_OK &&
		stk_gpu_note(t->gpu, stk_trainer_wait(t, NULL, &unsaid), &unsaid) == STK_OK)
		stk_device_codebook_free(c->copy);
	else if (c->copy)
		stk_gpu_abandon(c->copy);
	stk_gpu_give(t->gpu, c->taken);
	free(c);
}

stk_status
stk_trainer_codebook_create(void *ctx, const stk_codebook *cb, int beam,
							stk_accelerator_codebook **out)
{
	stk_trainer *t = ctx;
	stk_beam_shape shape;
	stk_error err = {.level = -1};
	stk_accelerator_codebook *c;
	stk_status status;

	/* Its rows are latent vectors already, or are to be measured as decoded: core's. */
	if (cb->network.inputs > 0)
		return STK_ENOMEM;
	if (beam > 1 &&
		!stk_beam_shape_choose(cb->sizes, cb->levels, cb->dim, beam, rows_a_look(cb, beam),
							   stk_beam_shared(t->gpu->major, t->gpu->minor), &shape))
		return STK_ENOMEM;
	c = calloc(1, sizeof(*c));
	status = c ? stk_gpu_use(t->gpu, &err) : STK_ENOMEM;
	if (status == STK_OK)
	{
		c->cb = *cb;
		c->beam = beam;
		status = stk_device_codebook_create(cb, false, t->stream, &c->copy, &err);
	}
	if (status == STK_OK && !stk_gpu_take(t->gpu, c->copy->bytes))
		status = stk_trainer_no_room(&err);
	else if (status == STK_OK)
		c->taken = c->copy->bytes;
	status = stk_trainer_settle(t, status, &err);
	if (status == STK_OK)
		*out = c;
	else if (c)
		stk_trainer_codebook_free(t, c);
	return status;
}

/* Room for the rows' codes, kept for the next step. */
static stk_status
codes_room(stk_trainer *t, stk_accelerator_rows *r, int levels, stk_error *err)
{
	size_t bytes = r->k->n * (size_t) levels * sizeof(uint16_t);
	stk_status status;

	if (bytes <= r->codes_bytes)
		return STK_OK;
	(void) cudaFree(r->codes);
	stk_gpu_give(t->gpu, r->codes_bytes);
	r->codes = NULL;
	r->codes_bytes = 0;
	if (!stk_gpu_take(t->gpu, bytes))
		return stk_trainer_no_room(err);
	r->codes_bytes = bytes;
	status = stk_cuda_status(cudaMalloc((void **) &r->codes, bytes),
							 "make room for codes on the device", err);
	if (status != STK_OK)
	{
		stk_gpu_give(t->gpu, bytes);
		r->codes_bytes = 0;
	}
	return status;
}

stk_status
stk_trainer_encode(void *ctx, stk_accelerator_rows *r, const stk_accelerator_codebook *c,
				   uint16_t *codes, const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	const stk_device_kmeans *k = r->k;
	size_t levels = (size_t) c->cb.levels;
	size_t look = rows_a_look(&c->cb, c->beam);
	stk_encode_failure failure = STK_ENCODE_NO_FAILURE;
	stk_error err = {.level = -1};
	stk_status status = stk_gpu_use(t->gpu, &err);

	if (status == STK_OK)
		status = codes_room(t, r, c->cb.levels, &err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaMemsetAsync(k->failure, 0xff, sizeof(failure), t->stream),
								 "encode rows on the device", &err);
	for (size_t first = 0; first < k->n && status == STK_OK; first += look)
	{
		stk_encode_call call = {.cb = c->copy,
								.x = k->x + first * k->dim,
								.n = k->n - first < look ? k->n - first : look,
								.codes = r->codes + first * levels,
								.failure = k->failure,
								.beam = c->beam};

		status = stk_encode_launch(&call, t->stream, &err);
		if (status == STK_OK)
			status = stk_trainer_wait(t, monitor, &err);
		if (status == STK_OK && stk_should_stop(monitor))
			status = STK_ECANCELED;
	}
	if (status == STK_OK)
		status = stk_trainer_copy_out(t, &failure, k->failure, sizeof(failure), &err);
	/* Other steps count on it. */
	if (status == STK_OK && failure != STK_ENCODE_NO_FAILURE)
	{
		status = stk_cuda_status(cudaMemsetAsync(k->failure, 0xff, sizeof(failure), t->stream),
								 "encode rows on the device", &err);
		status = status == STK_OK ? STK_ERANGE : status;
	}
	if (status == STK_OK)
		status = stk_trainer_copy_out(t, codes, r->codes, k->n * levels * sizeof(uint16_t), &err);
	return stk_trainer_settle(t, status, &err);
}

/* All pieces of a run, lane after lane. */
static stk_status
evaluate_pieces(stk_lanes *lanes, const stk_exec *exec, stk_accelerator_evaluation *run,
				size_t rows, stk_error *err)
{
	stk_status status = STK_OK;
	size_t piece = 0;

	for (size_t first = 0; first < run->n && status == STK_OK; first += rows, piece++)
	{
		stk_lane *l = &lanes->lane[piece % STK_CALL_LANES];
		size_t n = run->n - first < rows ? run->n - first : rows;

		if (stk_should_stop(exec->monitor))
			return STK_ECANCELED;
		status = stk_lane_receive(lanes, l, exec, run->codes, err);
		if (status == STK_OK)
			status = stk_lane_send(lanes, l, exec, run->x, first, n, err);
	}
	for (size_t i = 0; i < STK_CALL_LANES && status == STK_OK; i++, piece++)
		status =
			stk_lane_receive(lanes, &lanes->lane[piece % STK_CALL_LANES], exec, run->codes, err);
	return status;
}

stk_status
stk_trainer_evaluate(void *ctx, const stk_accelerator_codebook *c, stk_accelerator_evaluation *run,
					 const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	size_t rows = stk_lane_rows(&c->cb) / STK_MEMBERS_CHUNK * STK_MEMBERS_CHUNK;
	stk_exec exec = {.pool = run->pool, .monitor = monitor};
	stk_error err = {.level = -1};
	stk_lanes *lanes;
	stk_status status = rows > 0 ? stk_gpu_use(t->gpu, &err) : STK_ENOMEM;

	if (status == STK_OK)
		status = stk_lanes_take(t->gpu, &lanes, &err);
	if (status == STK_OK)
	{
		lanes->cb = c->copy;
		lanes->beam = c->beam;
		lanes->sums = run->sums;
		status = evaluate_pieces(lanes, &exec, run, rows, &err);
		stk_lanes_give(lanes);
	}
	/* Whose row is at fault, and why, the processor finds out. */
	if (status == STK_EINVAL)
		status = STK_ERANGE;
	return stk_trainer_settle(t, status, &err);
}

/* What normal equations take on a device, beside the rows and their codes. */
typedef struct equations
{
	stk_normal_call call;
	stk_device_members *members[STK_MAX_LEVELS];
	void *memory;
	size_t taken;
} equations;

static size_t
lay_out(equations *s)
{
	stk_normal_call *c = &s->call;
	size_t total = c->first[c->levels];
	size_t chunks = (c->n + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
	size_t at = 0;

	c->codewords = stk_take(s->memory, &at, total * c->dim * sizeof(float));
	c->right = stk_take(s->memory, &at, total * c->dim * sizeof(double));
	c->pairs = stk_take(s->memory, &at, total * total * sizeof(uint32_t));
	c->chunks = stk_take(s->memory, &at, chunks * c->dim * sizeof(double));
	c->squares = stk_take(s->memory, &at, c->dim * sizeof(double));
	return at;
}

static stk_status
equations_create(stk_trainer *t, equations *s, stk_error *err)
{
	size_t bytes = lay_out(s);
	stk_status status =
		stk_cuda_status(cudaMalloc(&s->memory, bytes), "make room for normal equations", err);

	lay_out(s);
	for (int l = 0; l < s->call.levels && status == STK_OK; l++)
	{
		status = stk_device_members_create(s->call.n, s->call.first[l + 1] - s->call.first[l],
										   s->call.dim, t->stream, &s->members[l], err);
		bytes += status == STK_OK ? s->members[l]->bytes : 0;
	}
	if (status == STK_OK && !stk_gpu_take(t->gpu, bytes))
		status = stk_trainer_no_room(err);
	else if (status == STK_OK)
		s->taken = bytes;
	return status;
}

/* After a wait: nothing uses it any more. */
static void
equations_free(stk_trainer *t, equations *s)
{
	for (int l = 0; l < s->call.levels; l++)
		stk_device_members_free(s->members[l]);
	(void) cudaFree(s->memory);
	stk_gpu_give(t->gpu, s->taken);
	free(s);
}

/* Rows of numbers that lie further apart here than there. */
static stk_status
copy_rows_out(stk_trainer *t, void *to, size_t apart, const void *from, size_t row, size_t rows,
			  stk_error *err)
{
	return stk_cuda_status(
		cudaMemcpy2DAsync(to, apart, from, row, row, rows, cudaMemcpyDeviceToHost, t->stream),
		"copy results from the device", err);
}

static stk_status
set_up(stk_trainer *t, equations *s, const uint16_t *codes, stk_accelerator_normal *run,
	   const stk_monitor *monitor, stk_error *err)
{
	const stk_normal_call *c = &s->call;
	size_t total = c->first[c->levels];
	stk_status status = stk_trainer_copy_in(t, (void *) (uintptr_t) c->codewords, run->codewords,
											total * c->dim * sizeof(float), monitor, err);

	if (status == STK_OK)
		status = stk_trainer_copy_in(t, (void *) (uintptr_t) c->codes, codes,
									 c->n * (size_t) c->levels * sizeof(uint16_t), monitor, err);
	if (status == STK_OK)
		status =
			stk_normal_launch(c, (const stk_device_members *const *) s->members, t->stream, err);
	if (status == STK_OK)
		status = copy_rows_out(t, run->right, run->right_stride * sizeof(double), c->right,
							   c->dim * sizeof(double), total, err);
	if (status == STK_OK)
		status = copy_rows_out(t, run->pairs, run->pairs_stride * sizeof(uint32_t), c->pairs,
							   total * sizeof(uint32_t), total, err);
	if (status == STK_OK)
		status = stk_trainer_wait(t, monitor, err);
	if (status == STK_OK)
		status = stk_trainer_copy_out(t, run->squares, c->squares, c->dim * sizeof(double), err);
	return status;
}

stk_status
stk_trainer_normal(void *ctx, stk_accelerator_rows *r, stk_accelerator_normal *run,
				   const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	equations *s = calloc(1, sizeof(*s));
	stk_error err = {.level = -1};
	stk_status status = s ? stk_gpu_use(t->gpu, &err) : STK_ENOMEM;

	if (!s)
		return stk_trainer_settle(t, status, &err);
	s->call =
		(stk_normal_call){.levels = run->levels, .dim = r->k->dim, .x = r->k->x, .n = r->k->n};
	for (int l = 0; l < run->levels; l++)
		s->call.first[l + 1] = s->call.first[l] + run->sizes[l];
	if (status == STK_OK)
		status = codes_room(t, r, run->levels, &err);
	s->call.codes = r->codes;
	if (status == STK_OK)
		status = equations_create(t, s, &err);
	if (status == STK_OK)
		status = set_up(t, s, run->codes, run, monitor, &err);
	/* What is on its way after a stop still works with its memory. */
	if (!atomic_load(&t->gpu->failed) && cudaStreamSynchronize(t->stream) == cudaSuccess)
		equations_free(t, s);
	else
	{
		stk_gpu_give(t->gpu, s->taken);
		stk_gpu_abandon(s);
	}
	return stk_trainer_settle(t, status, &err);
}
