#include "network.h"

#include "dot.h"
#include "fpenv.h"
#include "rq_impl.h"

/* Rows that go through a network together, a task on a pool. */
#define TASK_ROWS 24
/* Products between two looks at the monitor. */
#define LOOK ((size_t) 1 << 24)

/* One direction through a network, shared by its tasks. */
typedef struct passage
{
	const stk_network *net;
	const stk_exec *exec;
	bool decoder;
	const stk_layer *layers;
	int n_layers;
	const float *x; /* [n][in of the first] */
	size_t n;
	float *out;               /* [n][out of the last] */
	size_t widest;            /* numbers of a layer's input or output, whole lanes */
	double *scratch;          /* [threads][2][TASK_ROWS][widest] */
	float *narrow;            /* [threads][widest] */
	stk_rq_failure *failures; /* [threads] */
} passage;

/* The first layer's input, widened. */
static stk_status
take_row(const passage *p, const float *x, size_t row, double *wide, float *narrow, stk_error *err)
{
	const stk_network *net = p->net;
	size_t in = p->layers[0].in;

	if (!p->exec->cpu->reference->finite(x, in))
		return stk_fail(stk_rq_place(err, row, -1), STK_EINVAL, "%s holds NaN or infinity",
						p->decoder ? "latent vector" : "embedding");
	if (p->decoder || !net->standardized)
	{
		stk_widen(x, in, wide);
		return STK_OK;
	}
	for (size_t i = 0; i < in; i++)
		narrow[i] = (float) (((double) x[i] - net->mean[i]) * net->scale[i]);
	if (!p->exec->cpu->reference->finite(narrow, in))
		return stk_fail(stk_rq_place(err, row, -1), STK_ERANGE,
						"standardized embedding is out of range for type real");
	stk_widen(narrow, in, wide);
	return STK_OK;
}

/* A row's dot products with a layer's weights, made its output. */
static stk_status
give_row(const passage *p, int l, size_t row, const double *dots, float *out, stk_error *err)
{
	const stk_layer *layer = &p->layers[l];

	for (uint32_t o = 0; o < layer->out; o++)
		out[o] = (float) (dots[o] + (double) layer->bias[o]);
	if (!p->exec->cpu->reference->finite(out, layer->out))
		return stk_fail(stk_rq_place(err, row, -1), STK_ERANGE,
						"output of layer %d of the %s is out of range for type real", l,
						p->decoder ? "decoder" : "encoder");
	if (l + 1 < p->n_layers)
		stk_activate(p->net->activation, out, layer->out);
	return STK_OK;
}

/* The decoder's output in the units of embeddings. */
static stk_status
restore_row(const passage *p, size_t row, float *x, stk_error *err)
{
	const stk_network *net = p->net;

	if (!p->decoder || !net->standardized)
		return STK_OK;
	for (uint32_t i = 0; i < net->inputs; i++)
		x[i] = (float) ((double) x[i] / net->scale[i] + net->mean[i]);
	if (!p->exec->cpu->reference->finite(x, net->inputs))
		return stk_fail(stk_rq_place(err, row, -1), STK_ERANGE,
						"decoded embedding is out of range for type real");
	return STK_OK;
}

/* A layer's dot products, with a look at the monitor now and then. */
static stk_status
layer_products(const passage *p, const stk_layer *layer, const double *in, size_t n, double *dots)
{
	size_t step = LOOK / (n * layer->in) + 1;

	for (size_t o = 0; o < layer->out; o += step)
	{
		size_t outs = layer->out - o < step ? layer->out - o : step;

		if (stk_should_stop(p->exec->monitor))
			return STK_ECANCELED;
		p->exec->cpu->reference->products(in, n, layer->weight + o * layer->in, outs, layer->in,
										  dots + o, p->widest);
	}
	return STK_OK;
}

/* Rows first .. first + n - 1, n <= TASK_ROWS. */
static stk_status
pass_rows(const passage *p, size_t first, size_t n, int thread, stk_error *err)
{
	size_t in = p->layers[0].in;
	size_t out = p->layers[p->n_layers - 1].out;
	double *wide = p->scratch + (size_t) thread * 2 * TASK_ROWS * p->widest;
	double *dots = wide + TASK_ROWS * p->widest;
	float *narrow = p->narrow + (size_t) thread * p->widest;
	stk_status status = STK_OK;

	for (size_t r = 0; r < n && status == STK_OK; r++)
		status = take_row(p, p->x + (first + r) * in, first + r, wide + r * stk_wide_dim(in),
						  narrow, err);
	for (int l = 0; l < p->n_layers && status == STK_OK; l++)
	{
		bool last = l + 1 == p->n_layers;
		size_t outs = p->layers[l].out;

		status = layer_products(p, &p->layers[l], wide, n, dots);
		for (size_t r = 0; r < n && status == STK_OK; r++)
		{
			float *row = last ? p->out + (first + r) * out : narrow;

			status = give_row(p, l, first + r, dots + r * p->widest, row, err);
			if (!last)
				stk_widen(row, outs, wide + r * stk_wide_dim(outs));
			else if (status == STK_OK)
				status = restore_row(p, first + r, row, err);
		}
	}
	return status;
}

static void
pass_task(void *arg, size_t index, int thread)
{
	const passage *p = arg;
	stk_rq_failure *failure = &p->failures[thread];
	size_t first = index * TASK_ROWS;
	size_t n = p->n - first < TASK_ROWS ? p->n - first : TASK_ROWS;
	stk_rq_failure one = {.err = {.level = -1}};

	if (stk_rq_failed_before(failure, first))
		return;
	one.status = pass_rows(p, first, n, thread, &one.err);
	if (one.status == STK_OK)
		return;
	/* Row by row, to name the first that fails. */
	for (size_t r = 0; r < n && one.status != STK_ECANCELED; r++)
	{
		one.status = pass_rows(p, first + r, 1, thread, &one.err);
		if (one.status != STK_OK)
			break;
	}
	stk_rq_merge_failure(failure, &one);
}

static stk_status
pass(passage *p, stk_error *err)
{
	const stk_allocator *a = &p->exec->a;
	size_t threads = (size_t) stk_threads(p->exec->pool);
	stk_rq_failure failure = {.status = STK_ENOMEM};

	for (int l = 0; l < p->n_layers; l++)
	{
		size_t width =
			stk_wide_dim(p->layers[l].in > p->layers[l].out ? p->layers[l].in : p->layers[l].out);

		p->widest = width > p->widest ? width : p->widest;
	}
	p->scratch = stk_alloc_array(a, threads * 2 * TASK_ROWS, p->widest * sizeof(double));
	p->narrow = stk_alloc_array(a, threads, p->widest * sizeof(float));
	p->failures = stk_alloc_array(a, threads, sizeof(stk_rq_failure));
	if (p->scratch && p->narrow && p->failures)
	{
		stk_fpenv env = stk_fpenv_enter();

		failure.status = STK_OK;
		for (size_t t = 0; t < threads; t++)
			p->failures[t] = failure;
		stk_run(p->exec->pool, pass_task, p, (p->n + TASK_ROWS - 1) / TASK_ROWS);
		for (size_t t = 0; t < threads; t++)
			stk_rq_merge_failure(&failure, &p->failures[t]);
		stk_fpenv_leave(env);
	}
	stk_free(a, p->scratch);
	stk_free(a, p->narrow);
	stk_free(a, p->failures);
	if (err && (failure.status == STK_EINVAL || failure.status == STK_ERANGE))
		*err = failure.err;
	return failure.status;
}

stk_status
stk_network_encode(const stk_network *net, const stk_exec *exec, const float *x, size_t n, float *z,
				   stk_error *err)
{
	passage p = {.net = net,
				 .exec = exec,
				 .layers = net->encoder,
				 .n_layers = net->n_encoder,
				 .x = x,
				 .n = n,
				 .out = z};

	return pass(&p, err);
}

stk_status
stk_network_decode(const stk_network *net, const stk_exec *exec, const float *z, size_t n, float *x,
				   stk_error *err)
{
	passage p = {.net = net,
				 .exec = exec,
				 .decoder = true,
				 .layers = net->decoder,
				 .n_layers = net->n_decoder,
				 .x = z,
				 .n = n,
				 .out = x};

	return pass(&p, err);
}
