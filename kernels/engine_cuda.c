/*
 * The engine of one CUDA device: encodes greedily there. What the device does not compute goes to
 * the host's engine: beams, trainings, requests too small to travel, and everything once the device
 * has failed.
 *
 * Rows come from and codes go to ordinary memory, in pieces of PIECE_BYTES through two pairs of
 * pinned buffers: while one piece is computed the next travels.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "encode.h"
#include "engine/plugin.h"

/* Rows and codes of one piece: enough to fill the device, and some milliseconds of travelling. */
#define PIECE_BYTES ((size_t) 32 << 20)
#define CODE_BYTES ((size_t) 8 << 20)
/* Pairs of lanes that are kept for the next call: pinned memory is slow to get. */
#define KEPT_PAIRS 4
/* Multiply-adds below which the host is done before a launch and two trips would be. */
#define WORTHWHILE 4e7
#define LANES 2

typedef struct cuda_engine
{
	stk_engine engine;
	stk_allocator a;
	stk_engine *host;
	int device;
	atomic_bool failed; /* the device answers no more: the host computes everything */

	pthread_mutex_t lock; /* of what follows */
	struct lane_pair *idle[KEPT_PAIRS];
	int nidle;
} cuda_engine;

struct stk_resident
{
	stk_allocator a;
	stk_engine *host_engine;
	stk_resident *host;             /* the same codebook there */
	stk_device_codebook *on_device; /* NULL: there was no room, or the device has failed */
	stk_codebook cb;
};

/* A piece on its way: buffers on both sides, and a stream. */
typedef struct lane
{
	cudaStream_t stream;
	float *x_here; /* pinned */
	uint16_t *codes_here;
	stk_encode_failure *failure_here;
	float *x;
	float *normalized;
	uint16_t *codes;
	stk_encode_failure *failure;
	size_t first; /* row of the call that the piece begins with */
	size_t n;     /* 0: nothing on its way */
} lane;

/* What one call uses. */
typedef struct lane_pair
{
	stk_allocator a;
	lane lanes[LANES];
} lane_pair;

static cuda_engine *
own(stk_engine *e)
{
	return (cuda_engine *) e;
}

/* A CUDA failure other than a lack of memory is for good: the context is gone. */
static stk_status
note(cuda_engine *e, stk_status status)
{
	if (status == STK_EIO)
		atomic_store(&e->failed, true);
	return status;
}

static void
cuda_unload(stk_engine *engine, stk_resident *r)
{
	cuda_engine *e = own(engine);
	stk_allocator a = r->a;

	if (cudaSetDevice(e->device) == cudaSuccess)
		stk_device_codebook_free(r->on_device);
	if (r->host)
		e->host->ops->unload(e->host, r->host);
	stk_free(&a, r);
}

static stk_status
cuda_load(stk_engine *engine, const stk_exec *exec, const stk_codebook *cb, bool wide,
		  stk_resident **out, stk_error *err)
{
	cuda_engine *e = own(engine);
	stk_resident *r = stk_alloc_array(&exec->a, 1, sizeof(stk_resident));
	stk_error unsaid;
	stk_status status;

	*out = NULL;
	if (!r)
		return STK_ENOMEM;
	*r = (stk_resident){.a = exec->a, .host_engine = e->host, .cb = *cb};
	status = e->host->ops->load(e->host, exec, cb, wide, &r->host, err);
	if (status != STK_OK)
	{
		cuda_unload(engine, r);
		return status;
	}
	/* Without room on the device, the host's will do. */
	if (!atomic_load(&e->failed) && cudaSetDevice(e->device) == cudaSuccess)
		(void) note(e, stk_device_codebook_create(cb, cudaStreamPerThread, &r->on_device, &unsaid));
	*out = r;
	return STK_OK;
}

static size_t
cuda_resident_bytes(const stk_resident *r)
{
	return sizeof(*r) + r->host_engine->ops->resident_bytes(r->host) +
		   (r->on_device ? r->on_device->bytes : 0);
}

static void
lane_free(lane *l)
{
	(void) cudaFreeHost(l->x_here);
	(void) cudaFreeHost(l->codes_here);
	(void) cudaFreeHost(l->failure_here);
	(void) cudaFree(l->x);
	(void) cudaFree(l->normalized);
	(void) cudaFree(l->codes);
	(void) cudaFree(l->failure);
	if (l->stream)
		(void) cudaStreamDestroy(l->stream);
}

static stk_status
lane_create(lane *l, stk_error *err)
{
	cudaError_t code = cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking);

	if (code == cudaSuccess)
		code = cudaMallocHost((void **) &l->x_here, PIECE_BYTES);
	if (code == cudaSuccess)
		code = cudaMallocHost((void **) &l->codes_here, CODE_BYTES);
	if (code == cudaSuccess)
		code = cudaMallocHost((void **) &l->failure_here, sizeof(*l->failure_here));
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->x, PIECE_BYTES);
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->normalized, PIECE_BYTES);
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->codes, CODE_BYTES);
	if (code == cudaSuccess)
		code = cudaMalloc((void **) &l->failure, sizeof(*l->failure));
	return stk_cuda_status(code, "make room for rows", err);
}

static void
pair_free(lane_pair *p)
{
	stk_allocator a = p->a;

	for (int i = 0; i < LANES; i++)
		lane_free(&p->lanes[i]);
	stk_free(&a, p);
}

/* A pair of lanes, one that was kept or a new one. */
static stk_status
take_pair(cuda_engine *e, lane_pair **out, stk_error *err)
{
	lane_pair *p = NULL;
	stk_status status = STK_OK;

	*out = NULL;
	pthread_mutex_lock(&e->lock);
	if (e->nidle > 0)
		p = e->idle[--e->nidle];
	pthread_mutex_unlock(&e->lock);
	if (!p)
	{
		p = stk_alloc_array(&e->a, 1, sizeof(lane_pair));
		if (!p)
			return STK_ENOMEM;
		*p = (lane_pair){.a = e->a};
		for (int i = 0; i < LANES && status == STK_OK; i++)
			status = lane_create(&p->lanes[i], err);
	}
	if (status == STK_OK)
		*out = p;
	else
		pair_free(p);
	return status;
}

static void
give_pair(cuda_engine *e, lane_pair *p)
{
	bool kept = false;

	/* What was on its way when the call ended still writes into the buffers. */
	for (int i = 0; i < LANES; i++)
	{
		(void) cudaStreamSynchronize(p->lanes[i].stream);
		p->lanes[i].n = 0;
	}
	pthread_mutex_lock(&e->lock);
	if (e->nidle < KEPT_PAIRS && !atomic_load(&e->failed))
	{
		e->idle[e->nidle++] = p;
		kept = true;
	}
	pthread_mutex_unlock(&e->lock);
	if (!kept)
		pair_free(p);
}

/* Send rows first .. first + n - 1 of x on their way. */
static stk_status
lane_send(lane *l, const stk_resident *r, const float *x, size_t first, size_t n, stk_error *err)
{
	size_t dim = (size_t) r->cb.dim;
	size_t codes = n * (size_t) r->cb.levels * sizeof(uint16_t);
	stk_encode_call call = {.cb = r->on_device,
							.x = l->x,
							.n = n,
							.normalized = l->normalized,
							.codes = l->codes,
							.failure = l->failure};
	cudaError_t code;
	stk_status status;

	l->first = first;
	l->n = n;
	memcpy(l->x_here, x + first * dim, n * dim * sizeof(float));
	code = cudaMemcpyAsync(l->x, l->x_here, n * dim * sizeof(float), cudaMemcpyHostToDevice,
						   l->stream);
	if (code == cudaSuccess)
		code = cudaMemsetAsync(l->failure, 0xff, sizeof(*l->failure), l->stream);
	status = stk_cuda_status(code, "copy rows to the device", err);
	if (status == STK_OK)
		status = stk_encode_launch(&call, l->stream, err);
	if (status != STK_OK)
		return status;
	code = cudaMemcpyAsync(l->codes_here, l->codes, codes, cudaMemcpyDeviceToHost, l->stream);
	if (code == cudaSuccess)
		code = cudaMemcpyAsync(l->failure_here, l->failure, sizeof(*l->failure),
							   cudaMemcpyDeviceToHost, l->stream);
	return stk_cuda_status(code, "copy codes from the device", err);
}

/* Wait for a piece and take its codes. *row_failed: the error is a row's, not the device's. */
static stk_status
lane_receive(lane *l, const stk_resident *r, uint16_t *codes, bool *row_failed, stk_error *err)
{
	size_t levels = (size_t) r->cb.levels;
	stk_status status;

	if (l->n == 0)
		return STK_OK;
	status = stk_cuda_status(cudaStreamSynchronize(l->stream), "encode rows on the device", err);
	if (status != STK_OK)
		return status;
	*row_failed = *l->failure_here != STK_ENCODE_NO_FAILURE;
	if (*row_failed)
		return stk_encode_error(*l->failure_here, l->first, err);
	memcpy(codes + l->first * levels, l->codes_here, l->n * levels * sizeof(uint16_t));
	l->n = 0;
	return STK_OK;
}

/* All pieces, in order: the first that fails has the first row that fails. */
static stk_status
encode_pieces(lane *lanes, size_t rows, const stk_exec *exec, const stk_resident *r, const float *x,
			  size_t n, uint16_t *codes, bool *row_failed, stk_error *err)
{
	stk_status status = STK_OK;
	size_t piece = 0;

	for (size_t first = 0; first < n && status == STK_OK; first += rows, piece++)
	{
		lane *l = &lanes[piece % LANES];

		if (stk_should_stop(exec->monitor))
			return STK_ECANCELED;
		status = lane_receive(l, r, codes, row_failed, err);
		if (status == STK_OK)
			status = lane_send(l, r, x, first, n - first < rows ? n - first : rows, err);
	}
	for (int i = 0; i < LANES && status == STK_OK; i++, piece++)
		status = lane_receive(&lanes[piece % LANES], r, codes, row_failed, err);
	return status;
}

/* Encode on the device. *row_failed: the error is a row's, and the answer. */
static stk_status
encode_there(cuda_engine *e, const stk_exec *exec, const stk_resident *r, const float *x, size_t n,
			 uint16_t *codes, bool *row_failed, stk_error *err)
{
	size_t rows = PIECE_BYTES / ((size_t) r->cb.dim * sizeof(float));
	size_t coded = CODE_BYTES / ((size_t) r->cb.levels * sizeof(uint16_t));
	lane_pair *p = NULL;
	stk_status status = stk_cuda_status(cudaSetDevice(e->device), "choose the device", err);

	if (status == STK_OK)
		status = take_pair(e, &p, err);
	if (status != STK_OK)
		return note(e, status);
	status =
		encode_pieces(p->lanes, rows < coded ? rows : coded, exec, r, x, n, codes, row_failed, err);
	if (!*row_failed)
		status = note(e, status);
	give_pair(e, p);
	return status;
}

static bool
worthwhile(const stk_codebook *cb, size_t n)
{
	double codes = 0;

	for (int l = 0; l < cb->levels; l++)
		codes += cb->sizes[l];
	return (double) n * cb->dim * codes >= WORTHWHILE;
}

static stk_status
cuda_encode(stk_engine *engine, const stk_exec *exec, const stk_resident *r, const float *x,
			size_t n, int beam, uint16_t *codes, stk_error *err)
{
	cuda_engine *e = own(engine);

	if (beam == 1 && r->on_device && !atomic_load(&e->failed) && worthwhile(&r->cb, n))
	{
		bool row_failed = false;
		stk_error why = {.level = -1};
		stk_status status = encode_there(e, exec, r, x, n, codes, &row_failed, &why);

		if (status == STK_OK || status == STK_ECANCELED)
			return status;
		if (row_failed)
		{
			if (err)
				*err = why;
			return status;
		}
		fprintf(stderr, "semtok_cuda: %s; the processor computes instead\n", why.message);
	}
	return e->host->ops->encode(e->host, exec, r->host, x, n, beam, codes, err);
}

/* The device does not train yet. */
static stk_status
cuda_train(stk_engine *engine, const stk_exec *exec, const stk_train_plan *plan,
		   const stk_rows *rows, const stk_rows *heldout,
		   void (*report)(void *ctx, const stk_train_report *r), void *report_ctx,
		   stk_train_result *result, stk_error *err)
{
	stk_engine *host = own(engine)->host;

	return host->ops->train(host, exec, plan, rows, heldout, report, report_ctx, result, err);
}

static void
cuda_close(stk_engine *engine)
{
	cuda_engine *e = own(engine);
	stk_allocator a = e->a;

	for (int i = 0; i < e->nidle; i++)
		pair_free(e->idle[i]);
	pthread_mutex_destroy(&e->lock);
	stk_free(&a, e);
}

static const stk_engine_ops cuda_ops = {.name = "cuda",
										.load = cuda_load,
										.unload = cuda_unload,
										.resident_bytes = cuda_resident_bytes,
										.encode = cuda_encode,
										.train = cuda_train,
										.close = cuda_close};

/* Choose device 0, and see that it computes as it must. */
static stk_status
open_device(cuda_engine *e, stk_error *err)
{
	static const char doing[] = "use a CUDA device";
	struct cudaDeviceProp properties;
	bool holds = false;
	int devices = 0;
	stk_status status = stk_cuda_status(cudaGetDeviceCount(&devices), doing, err);

	if (status == STK_OK && devices == 0)
		status = stk_fail(err, STK_EIO, "there is no CUDA device");
	if (status == STK_OK)
		status = stk_cuda_status(cudaSetDevice(0), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaGetDeviceProperties(&properties, 0), doing, err);
	if (status == STK_OK)
		status = stk_probe_tensor(cudaStreamPerThread, &holds, err);
	if (status == STK_OK && !holds)
		status = stk_fail(err, STK_EIO, "the tensor unit of %.64s adds worse than it may",
						  properties.name);
	if (status == STK_OK)
		snprintf(e->engine.device, sizeof(e->engine.device), "%.60s, compute capability %d.%d",
				 properties.name, properties.major, properties.minor);
	return status;
}

static stk_status
cuda_open(const stk_allocator *a, stk_engine *host, stk_engine **out, stk_error *err)
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
	pthread_mutex_init(&e->lock, NULL);
	status = open_device(e, err);
	if (status != STK_OK)
	{
		cuda_close(&e->engine);
		return status;
	}
	*out = &e->engine;
	return STK_OK;
}

__attribute__((visibility("default")))
const stk_plugin stk_plugin_entry = {.version = STK_PLUGIN_VERSION,
									 .size = sizeof(stk_plugin),
									 .release = SEMTOK_VERSION,
									 .name = "cuda",
									 .open = cuda_open};
