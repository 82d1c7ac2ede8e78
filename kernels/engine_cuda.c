/*
 * The engine of CUDA devices: encodes there, searches tries, and computes the steps of trainings.
 * Rows of a call come from and codes go to ordinary memory, in pieces (lane.h) that take turns on
 * the devices; a codebook is copied to a device when it is first used there (gpu.h), a trie lies
 * on one. What a device cannot do ends with STK_EDEVICE, for the processor to compute: beams, too,
 * that one of them does not take.
 */
#include <stdio.h>
#include <string.h>

#include "beam_shape.h"
#include "engine/plugin.h"
#include "search_cuda.h"
#include "train_cuda.h"

typedef struct cuda_engine
{
	stk_engine engine;
	stk_allocator a;
	stk_engine *host;
	stk_gpu gpus[STK_MAX_GPUS];
	int ngpus;
	atomic_uint turn; /* which device the next small call takes */
} cuda_engine;

static cuda_engine *
own(stk_engine *e)
{
	return (cuda_engine *) e;
}

static void
cuda_unload(stk_engine *engine, stk_resident *r)
{
	cuda_engine *e = own(engine);
	stk_allocator a = r->a;

	for (int i = 0; i < e->ngpus; i++)
		stk_gpu_forget(&e->gpus[i], r);
	stk_free(&a, r);
}

static stk_status
cuda_load(stk_engine *engine, const stk_exec *exec, const stk_codebook *cb, bool wide,
		  stk_resident **out, stk_error *err)
{
	stk_status status = stk_codebook_check_finite(cb, err);
	stk_resident *r;

	(void) engine;
	(void) wide;
	*out = NULL;
	if (status != STK_OK)
		return status;
	r = stk_alloc_array(&exec->a, 1, sizeof(stk_resident));
	if (!r)
		return STK_ENOMEM;
	memset(r, 0, sizeof(*r));
	r->a = exec->a;
	r->cb = *cb;
	*out = r;
	return STK_OK;
}

static size_t
cuda_resident_bytes(const stk_resident *r)
{
	return sizeof(*r);
}

static bool
cuda_takes(const stk_engine *engine, const stk_codebook *cb, int beam)
{
	const cuda_engine *e = (const cuda_engine *) engine;
	size_t rows = stk_lane_rows(cb);
	bool takes = rows > 0;

	for (int i = 0; i < e->ngpus && beam > 1 && takes; i++)
	{
		stk_beam_shape shape;

		takes = stk_beam_shape_choose(cb->sizes, cb->levels, cb->dim, beam, rows,
									  stk_beam_shared(e->gpus[i].major, e->gpus[i].minor), &shape);
	}
	return takes;
}

/* Devices that a call uses, and its lanes there. */
typedef struct call
{
	stk_gpu *gpus[STK_MAX_GPUS];
	stk_lanes *lanes[STK_MAX_GPUS];
	int n;
} call;

/* Choose devices that answer: one for a single piece, in turn, else all. */
static stk_status
choose(cuda_engine *e, bool one, call *c, stk_error *err)
{
	unsigned turn = atomic_fetch_add(&e->turn, 1);

	c->n = 0;
	for (int i = 0; i < e->ngpus; i++)
	{
		stk_gpu *gpu = &e->gpus[(turn + (unsigned) i) % (unsigned) e->ngpus];

		if (!atomic_load(&gpu->failed) && !(one && c->n == 1))
			c->gpus[c->n++] = gpu;
	}
	if (c->n == 0)
		return stk_fail(err, STK_EDEVICE, "%s", e->gpus[0].failure);
	return STK_OK;
}

/* Get everything ready on each device that was chosen. */
static stk_status
begin(call *c, stk_resident *r, int beam, stk_error *err)
{
	stk_status status = STK_OK;
	int chosen = c->n;

	for (c->n = 0; c->n < chosen && status == STK_OK; c->n++)
	{
		stk_gpu *gpu = c->gpus[c->n];
		stk_device_codebook *copy;

		status = stk_gpu_place(gpu, r, &copy, err);
		if (status != STK_OK)
			break;
		status = stk_lanes_take(gpu, &c->lanes[c->n], err);
		if (status != STK_OK)
		{
			stk_gpu_let_go(gpu, r);
			break;
		}
		c->lanes[c->n]->cb = copy;
		c->lanes[c->n]->beam = beam;
	}
	return status;
}

static void
end(call *c, stk_resident *r)
{
	for (int i = 0; i < c->n; i++)
	{
		stk_lanes_give(c->lanes[i]);
		stk_gpu_let_go(c->gpus[i], r);
	}
}

/* All pieces, in order: the first that fails has the first row that fails. */
static stk_status
encode_pieces(call *c, const stk_exec *exec, const stk_codebook *cb, const float *x, size_t n,
			  uint16_t *codes, stk_error *err)
{
	size_t rows = stk_lane_rows(cb);
	size_t ways = (size_t) c->n * STK_CALL_LANES;
	stk_status status = STK_OK;
	size_t piece = 0;

	for (size_t first = 0; first < n && status == STK_OK; first += rows, piece++)
	{
		stk_lanes *lanes = c->lanes[piece % (size_t) c->n];
		stk_lane *l = &lanes->lane[piece / (size_t) c->n % STK_CALL_LANES];

		if (stk_should_stop(exec->monitor))
			return STK_ECANCELED;
		status = stk_lane_receive(lanes, l, exec, codes, err);
		if (status == STK_OK)
			status =
				stk_lane_send(lanes, l, exec, x, first, n - first < rows ? n - first : rows, err);
	}
	for (size_t i = 0; i < ways && status == STK_OK; i++, piece++)
	{
		stk_lanes *lanes = c->lanes[piece % (size_t) c->n];

		status = stk_lane_receive(lanes, &lanes->lane[piece / (size_t) c->n % STK_CALL_LANES], exec,
								  codes, err);
	}
	return status;
}

static stk_status
cuda_encode(stk_engine *engine, const stk_exec *exec, const stk_resident *r, const float *x,
			size_t n, int beam, uint16_t *codes, stk_error *err)
{
	cuda_engine *e = own(engine);
	/* What is kept of it on devices changes; what was loaded does not. */
	stk_resident *kept = (stk_resident *) (uintptr_t) r;
	call c = {.n = 0};
	stk_status status;

	if (!cuda_takes(engine, &r->cb, beam))
		return stk_fail(err, STK_EDEVICE, "no device encodes with a beam of %d here", beam);
	status = choose(e, n <= stk_lane_rows(&r->cb), &c, err);
	if (status == STK_OK)
		status = begin(&c, kept, beam, err);
	if (status == STK_OK)
		status = encode_pieces(&c, exec, &r->cb, x, n, codes, err);
	end(&c, kept);
	return status;
}

/* The device that answers and has the most memory left to use; the first when none answers. */
static stk_gpu *
roomiest(cuda_engine *e)
{
	stk_gpu *best = &e->gpus[0];
	uint64_t most = 0;

	for (int i = 0; i < e->ngpus; i++)
	{
		stk_gpu *gpu = &e->gpus[i];
		uint64_t left;

		pthread_mutex_lock(&gpu->lock);
		left = gpu->limit > gpu->used ? gpu->limit - gpu->used : 0;
		pthread_mutex_unlock(&gpu->lock);
		if (!atomic_load(&gpu->failed) && left > most)
		{
			most = left;
			best = gpu;
		}
	}
	return best;
}

/* The host's engine trains, and asks a device for its steps. */
static stk_status
cuda_train(stk_engine *engine, const stk_exec *exec, const stk_train_plan *plan,
		   const stk_rows *rows, const stk_rows *heldout,
		   void (*report)(void *ctx, const stk_train_report *r), void *report_ctx,
		   stk_train_result *result, stk_error *err)
{
	stk_engine *host = own(engine)->host;
	stk_exec with = *exec;
	stk_trainer *trainer;
	stk_status status = stk_trainer_create(roomiest(own(engine)), &trainer, err);

	if (status != STK_OK)
		return status;
	with.accelerator = stk_trainer_accelerator(trainer);
	status = host->ops->train(host, &with, plan, rows, heldout, report, report_ctx, result, err);
	stk_trainer_free(trainer);
	return status;
}

static stk_status
cuda_trie_load(stk_engine *engine, const stk_exec *exec, const uint8_t *stored, size_t bytes,
			   stk_resident_trie **out, stk_error *err)
{
	return stk_cuda_trie_load(roomiest(own(engine)), exec, stored, bytes, out, err);
}

static void
cuda_trie_unload(stk_engine *engine, stk_resident_trie *t)
{
	(void) engine;
	stk_cuda_trie_unload(t);
}

static bool
cuda_takes_search(const stk_engine *engine, const stk_search_batch *b)
{
	const cuda_engine *e = (const cuda_engine *) engine;
	bool takes = stk_cuda_takes_search(b);

	for (int i = 0; i < e->ngpus && takes; i++)
		takes = stk_step_shared((uint32_t) b->beam_size) <=
				stk_beam_shared(e->gpus[i].major, e->gpus[i].minor);
	return takes;
}

static stk_status
cuda_search(stk_engine *engine, const stk_exec *exec, const stk_resident_trie *t,
			const stk_search_batch *b, stk_error *err)
{
	if (!cuda_takes_search(engine, b))
		return stk_fail(err, STK_EDEVICE, "no device searches such a batch here");
	return stk_cuda_search(exec, t, b, err);
}

static void
cuda_state(stk_engine *engine, stk_engine_state *state)
{
	cuda_engine *e = own(engine);

	memset(state, 0, sizeof(*state));
	for (int i = 0; i < e->ngpus; i++)
	{
		stk_gpu *gpu = &e->gpus[i];

		pthread_mutex_lock(&gpu->lock);
		if (atomic_load(&gpu->failed))
		{
			state->failed = true;
			memcpy(state->failure, gpu->failure, sizeof(state->failure));
		}
		else
		{
			state->usable = true;
			state->memory += gpu->used;
			state->memory_limit += gpu->limit;
		}
		pthread_mutex_unlock(&gpu->lock);
	}
}

static void
cuda_close(stk_engine *engine)
{
	cuda_engine *e = own(engine);
	stk_allocator a = e->a;

	for (int i = 0; i < e->ngpus; i++)
		stk_lanes_free_kept(&e->gpus[i]);
	stk_gpus_close(e->gpus, e->ngpus);
	stk_free(&a, e);
}

static const stk_engine_ops cuda_ops = {.name = "cuda",
										.load = cuda_load,
										.unload = cuda_unload,
										.resident_bytes = cuda_resident_bytes,
										.takes = cuda_takes,
										.encode = cuda_encode,
										.train = cuda_train,
										.trie_load = cuda_trie_load,
										.trie_unload = cuda_trie_unload,
										.trie_bytes = stk_cuda_trie_bytes,
										.takes_search = cuda_takes_search,
										.search = cuda_search,
										.state = cuda_state,
										.close = cuda_close};

static void
describe(cuda_engine *e)
{
	const stk_gpu *first = &e->gpus[0];
	int used = snprintf(e->engine.device, sizeof(e->engine.device),
						"%.50s, compute capability %d.%d", first->name, first->major, first->minor);

	if (e->ngpus > 1)
		snprintf(e->engine.device + used, sizeof(e->engine.device) - (size_t) used, ", and %d more",
				 e->ngpus - 1);
}

static stk_status
cuda_open(const stk_allocator *a, stk_engine *host, const char *devices, stk_engine **out,
		  stk_error *err)
{
	cuda_engine *e = stk_alloc_array(a, 1, sizeof(cuda_engine));
	stk_status status;

	*out = NULL;
	if (!e)
		return STK_ENOMEM;
	memset(e, 0, sizeof(*e));
	e->engine.ops = &cuda_ops;
	e->a = *a;
	e->host = host;
	status = stk_gpus_open(devices, e->gpus, &e->ngpus, err);
	if (status != STK_OK)
	{
		stk_free(a, e);
		return status;
	}
	describe(e);
	*out = &e->engine;
	return STK_OK;
}

__attribute__((visibility("default")))
const stk_plugin stk_plugin_entry = {.version = STK_PLUGIN_VERSION,
									 .size = sizeof(stk_plugin),
									 .release = SEMTOK_VERSION,
									 .name = "cuda",
									 .open = cuda_open};
