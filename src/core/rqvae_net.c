/*
 * The two halves of an RQ-VAE's network on a batch: layers forward and backward, and room for them.
 */
#include <math.h>
#include <string.h>

#include "dense.h"
#include "explog.h"
#include "rqvae_impl.h"

/* Columns of a matrix that are one task. */
#define STRIP 128

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Widths that room depends on. */
typedef struct widths
{
	size_t widest;   /* numbers of a row of any matrix */
	size_t largest;  /* codes of a level */
	size_t products; /* floats that the largest product needs */
} widths;

static widths
widths_of(int threads, const stk_train_plan *plan, const stk_rqvae_shape *shape, size_t rows)
{
	widths w = {.widest = larger(shape->inputs, shape->latent)};

	for (int i = 0; i < shape->n_encoder + shape->n_decoder; i++)
		w.widest = larger(w.widest, shape->layers[i].out);
	for (int l = 0; l < shape->levels; l++)
		w.largest = larger(w.largest, shape->sizes[l]);
	w.products = larger(w.widest, plan->rqvae.diversity > 0 ? w.largest : 0);
	w.products = stk_gemm_scratch(threads, larger(rows, w.widest), w.products,
								  larger(rows, larger(w.widest, w.largest)));
	return w;
}

/* Where ReLU was 0 its output tells; the others need what they were given. */
static bool
needs_before(const stk_train_plan *plan, bool backward)
{
	return backward && plan->rqvae.activation != STK_RELU;
}

/* Point the arrays into memory; returns the bytes of all of them, SIZE_MAX at overflow. */
static size_t
place_arrays(stk_rqvae_net *net, const widths *w, bool backward, uint8_t *memory)
{
	const stk_rqvae_shape *shape = net->shape;
	size_t rows = net->rows;
	size_t at = 0;
	bool over = false;

#define PLACE(array, count, width)                                                                 \
	do                                                                                             \
	{                                                                                              \
		size_t bytes_ = 0;                                                                         \
		over |= __builtin_mul_overflow((size_t) (count), (size_t) (width) * sizeof(*(array)),      \
									   &bytes_);                                                   \
		(array) = memory ? (void *) (memory + at) : NULL;                                          \
		over |= __builtin_add_overflow(at, bytes_ + STK_ALIGN, &at);                               \
		at = at / STK_ALIGN * STK_ALIGN;                                                           \
	} while (0)
	PLACE(net->x, rows, shape->inputs);
	for (int i = 0; i < shape->n_encoder + shape->n_decoder; i++)
	{
		PLACE(net->after[i], rows, shape->layers[i].out);
		if (needs_before(net->plan, backward))
			PLACE(net->before[i], rows, shape->layers[i].out);
	}
	PLACE(net->lengths, rows, 1);
	for (int l = 0; l <= shape->levels; l++)
		PLACE(net->residuals[l], rows, shape->latent);
	for (int l = 0; l < shape->levels; l++)
		PLACE(net->codes[l], rows, 1);
	PLACE(net->quantized, rows, shape->latent);
	PLACE(net->products, w->products, 1);
	PLACE(net->sums,
		  stk_rqvae_chunks(larger(rows * (shape->latent + 1), shape->trained), STK_RQVAE_CHUNK), 1);
	if (backward)
	{
		PLACE(net->back[0], rows, w->widest);
		PLACE(net->back[1], rows, w->widest);
		PLACE(net->gradients, shape->trained, 1);
	}
	if (backward && net->plan->rqvae.diversity > 0)
	{
		PLACE(net->scores, rows, w->largest);
		PLACE(net->pull, rows, shape->latent);
		PLACE(net->masses, w->largest, 1);
	}
#undef PLACE
	return over ? SIZE_MAX : at;
}

stk_status
stk_rqvae_net_init(stk_rqvae_net *net, const stk_exec *exec, const stk_train_plan *plan,
				   const stk_rqvae_shape *shape, size_t rows, bool backward)
{
	widths w = widths_of(stk_threads(exec->pool), plan, shape, rows);
	stk_status status = STK_OK;
	size_t bytes;

	*net = (stk_rqvae_net){.exec = exec, .plan = plan, .shape = shape, .rows = rows};
	bytes = place_arrays(net, &w, backward, NULL);
	if (bytes == SIZE_MAX)
		return STK_ENOMEM;
	net->memory = stk_alloc_array(&exec->a, bytes + STK_ALIGN, 1);
	if (!net->memory)
		return STK_ENOMEM;
	place_arrays(net, &w, backward, stk_align(net->memory));
	for (int l = 0; l < shape->levels && status == STK_OK; l++)
		status = stk_pack_init(&net->packs[l], exec, STK_FILTER_BEST, true, shape->sizes[l],
							   shape->latent, false);
	if (status == STK_OK && backward)
		status = stk_members_init(&net->members, &exec->a, rows, (uint32_t) w.largest);
	return status;
}

size_t
stk_rqvae_net_bytes(const stk_train_plan *plan, const stk_rqvae_shape *shape, size_t rows,
					bool backward, int threads)
{
	stk_rqvae_net net = {.plan = plan, .shape = shape, .rows = rows};
	widths w = widths_of(threads, plan, shape, rows);

	return place_arrays(&net, &w, backward, NULL);
}

void
stk_rqvae_net_free(stk_rqvae_net *net)
{
	if (!net->exec)
		return;
	for (int l = 0; l < net->shape->levels; l++)
		stk_pack_free(&net->packs[l]);
	stk_members_free(&net->members, &net->exec->a);
	stk_free(&net->exec->a, net->memory);
	net->memory = NULL;
}

/* What a task on rows of one layer works with. */
typedef struct rows_job
{
	const stk_rqvae_net *net;
	size_t n;
	size_t width;
	const float *from; /* [n][width] */
	float *to;         /* [n][width] */
	float *before;     /* [n][width] or NULL */
	const float *bias; /* [width] */
	bool activate;
	double scale;
	double *sums;
} rows_job;

/* The rows of a task: first, and how many. */
static size_t
chunk_rows(size_t n, size_t index, size_t *first)
{
	*first = index * STK_RQVAE_CHUNK;
	return n - *first < STK_RQVAE_CHUNK ? n - *first : STK_RQVAE_CHUNK;
}

static void
run_rows(const rows_job *job, stk_task task)
{
	stk_run(job->net->exec->pool, task, (void *) job, stk_rqvae_chunks(job->n, STK_RQVAE_CHUNK));
}

/* Add biases and activate. */
static void
bias_task(void *arg, size_t index, int thread)
{
	const rows_job *j = arg;
	const stk_dense *dense = stk_dense_of(j->net->exec->cpu);
	stk_activation activation = j->net->plan->rqvae.activation;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);

	(void) thread;
	if (stk_should_stop(j->net->exec->monitor))
		return;
	for (size_t i = first; i < first + n; i++)
	{
		float *y = j->to + i * j->width;

		if (j->activate && activation == STK_RELU)
		{
			dense->bias_relu(y, j->bias, j->width);
			continue;
		}
		dense->add(y, j->bias, j->width);
		if (j->before)
			memcpy(j->before + i * j->width, y, j->width * sizeof(float));
		if (j->activate)
			stk_activate(activation, y, j->width);
	}
}

/* Layers first .. last - 1, from x [n][in of the first]. */
static void
forward(stk_rqvae_net *net, int first, int last, const float *x, size_t n)
{
	for (int i = first; i < last; i++)
	{
		const stk_rqvae_layer *l = &net->shape->layers[i];
		rows_job job = {.net = net,
						.n = n,
						.width = l->out,
						.to = net->after[i],
						.before = net->before[i],
						.bias = net->parameters + l->bias,
						.activate = i + 1 < last};

		stk_gemm(net->exec, net->products, stk_matrix_rows(x, l->in),
				 stk_matrix_transposed(net->parameters + l->weight, l->in), net->after[i], n,
				 l->out, l->in);
		run_rows(&job, bias_task);
		x = net->after[i];
	}
}

/* What the activation multiplies a gradient by. */
static double
slope(stk_activation activation, double x)
{
	double s;

	if (activation == STK_GELU)
		return 0.5 * stk_erfc(-x * 0.70710678118654752440) +
			   x * 0.39894228040143267794 * stk_exp(-0.5 * x * x);
	s = 1 / (1 + stk_exp(-x));
	return s * (1 + x * (1 - s));
}

/* Take the gradient through the activation, in place. */
static void
slope_task(void *arg, size_t index, int thread)
{
	const rows_job *j = arg;
	stk_activation activation = j->net->plan->rqvae.activation;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);
	float *g = j->to + first * j->width;

	(void) thread;
	if (stk_should_stop(j->net->exec->monitor))
		return;
	if (activation == STK_RELU)
	{
		stk_dense_of(j->net->exec->cpu)->relu_slope(g, j->from + first * j->width, n * j->width);
		return;
	}
	for (size_t k = 0; k < n * j->width; k++)
		g[k] = (float) (g[k] * slope(activation, j->before[first * j->width + k]));
}

/* Sums over rows, in their order, one strip of columns. */
static void
columns_task(void *arg, size_t index, int thread)
{
	const rows_job *j = arg;
	const stk_dense *dense = stk_dense_of(j->net->exec->cpu);
	size_t first = index * STRIP;
	size_t n = j->width - first < STRIP ? j->width - first : STRIP;

	(void) thread;
	memset(j->to + first, 0, n * sizeof(float));
	for (size_t i = 0; i < j->n; i++)
		dense->add(j->to + first, j->from + i * j->width + first, n);
}

/*
 * Layers last - 1 .. first, backward: gradients of their weights, from net->back[*at], which holds
 * that of what the last one gives. x [n][in of the first] is what the first was given; with
 * `through` the gradient of that is left in net->back[*at].
 */
static void
backward(stk_rqvae_net *net, int first, int last, const float *x, size_t n, int *at, bool through)
{
	for (int i = last - 1; i >= first; i--)
	{
		const stk_rqvae_layer *l = &net->shape->layers[i];
		const float *given = i > first ? net->after[i - 1] : x;
		float *g = net->back[*at];
		rows_job activation = {.net = net,
							   .n = n,
							   .width = l->out,
							   .from = net->after[i],
							   .before = net->before[i],
							   .to = g};
		rows_job bias = {
			.net = net, .n = n, .width = l->out, .from = g, .to = net->gradients + l->bias};

		if (i + 1 < last)
			run_rows(&activation, slope_task);
		stk_run(net->exec->pool, columns_task, &bias, stk_rqvae_chunks(l->out, STRIP));
		stk_gemm(net->exec, net->products, stk_matrix_transposed(g, l->out),
				 stk_matrix_rows(given, l->in), net->gradients + l->weight, l->out, l->in, n);
		if (i == first && !through)
			return;
		*at = 1 - *at;
		stk_gemm(net->exec, net->products, stk_matrix_rows(g, l->out),
				 stk_matrix_rows(net->parameters + l->weight, l->in), net->back[*at], n, l->in,
				 l->out);
	}
}

/* The encoder's output as latent vectors: under cosine over their lengths. */
static void
latent_task(void *arg, size_t index, int thread)
{
	const rows_job *j = arg;
	const stk_reference *reference = j->net->exec->cpu->reference;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);
	bool finite = true;

	(void) thread;
	for (size_t i = first; i < first + n; i++)
	{
		const float *h = j->from + i * j->width;
		float *z = j->to + i * j->width;
		double square;
		double length;

		finite = finite && reference->finite(h, j->width);
		memcpy(z, h, j->width * sizeof(float));
		if (j->net->plan->metric != STK_COSINE)
			continue;
		reference->dots(h, &h, 1, j->width, &square);
		length = sqrt(square);
		j->net->lengths[i] = (float) length;
		for (size_t k = 0; k < j->width && length > 0; k++)
			z[k] = (float) ((double) h[k] / length);
	}
	j->sums[index] = finite ? 0 : 1;
}

bool
stk_rqvae_encode(stk_rqvae_net *net, size_t n)
{
	int last = net->shape->n_encoder;
	rows_job job = {.net = net,
					.n = n,
					.width = net->shape->latent,
					.from = net->after[last - 1],
					.to = net->residuals[0],
					.sums = net->sums};
	double wrong = 0;

	forward(net, 0, last, net->x, n);
	run_rows(&job, latent_task);
	for (size_t i = 0; i < stk_rqvae_chunks(n, STK_RQVAE_CHUNK); i++)
		wrong += net->sums[i];
	return wrong == 0;
}

void
stk_rqvae_decode(stk_rqvae_net *net, size_t n)
{
	int first = net->shape->n_encoder;

	forward(net, first, first + net->shape->n_decoder, net->quantized, n);
}

/* The squared error of rows, and its gradient. */
static void
error_task(void *arg, size_t index, int thread)
{
	const rows_job *j = arg;
	const stk_reference *reference = j->net->exec->cpu->reference;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first) * j->width;
	float *g = j->to + first * j->width;
	const float *difference = g;

	(void) thread;
	reference->subtract(j->from + first * j->width, j->net->x + first * j->width, n, g);
	reference->dots(g, &difference, 1, n, &j->sums[index]);
	stk_dense_of(j->net->exec->cpu)->scale(g, g, (float) j->scale, n);
}

static double
add_chunks(const stk_rqvae_net *net, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < stk_rqvae_chunks(n, STK_RQVAE_CHUNK); i++)
		sum += net->sums[i];
	return sum;
}

/* What a task on latent gradients works with. */
typedef struct latent_job
{
	const stk_rqvae_net *net;
	size_t n;
	float *g;   /* [n][latent] in and out */
	int levels; /* whose residuals pull the rows */
	float scale;
} latent_job;

/* The commitment's part, and the way through the normalisation. */
static void
commit_task(void *arg, size_t index, int thread)
{
	const latent_job *j = arg;
	size_t width = j->net->shape->latent;
	size_t first;
	size_t n = chunk_rows(j->n, index, &first);

	(void) thread;
	for (int l = 1; l <= j->levels; l++)
	{
		const float *r = j->net->residuals[l] + first * width;
		float *g = j->g + first * width;

		for (size_t k = 0; k < n * width; k++)
			g[k] += j->scale * r[k];
	}
	for (size_t i = first; i < first + n && j->net->plan->metric == STK_COSINE; i++)
	{
		const float *z = j->net->residuals[0] + i * width;
		float *g = j->g + i * width;
		double length = j->net->lengths[i];
		double along = 0;

		for (size_t k = 0; k < width; k++)
			along += (double) z[k] * g[k];
		for (size_t k = 0; k < width; k++)
			g[k] = length > 0 ? (float) ((g[k] - along * z[k]) / length) : 0;
	}
}

/* What a task on codewords' gradients works with. */
typedef struct codes_job
{
	const stk_rqvae_net *net;
	size_t n;
	int level;
	const float *codewords;
	float *g; /* [size][latent] out */
} codes_job;

/* Of |e - r|^2 summed over a code's rows, over n. */
static void
codewords_task(void *arg, size_t index, int thread)
{
	const codes_job *j = arg;
	const stk_rqvae_net *net = j->net;
	size_t width = net->shape->latent;
	size_t count = stk_members_count(&net->members, (uint32_t) index);
	const float *c = j->codewords + index * width;
	float *g = j->g + index * width;

	(void) thread;
	for (size_t k = 0; k < width; k++)
	{
		double sum = 0;

		for (size_t i = 0; i < count; i++)
			sum += net->residuals[j->level]
								 [net->members.rows[net->members.first[index] + i] * width + k];
		g[k] = (float) (2 * ((double) count * c[k] - sum) / (double) j->n);
	}
}

static void
codeword_gradients(stk_rqvae_net *net, size_t n)
{
	for (int l = 0; l < net->shape->levels; l++)
	{
		const float *codewords = stk_rqvae_codewords(net->shape, net->parameters, l);
		codes_job job = {.net = net,
						 .n = n,
						 .level = l,
						 .codewords = codewords,
						 .g = net->gradients + (codewords - net->parameters)};

		stk_members_group(&net->members, net->codes[l], n, net->shape->sizes[l]);
		stk_run(net->exec->pool, codewords_task, &job, net->shape->sizes[l]);
	}
}

double
stk_rqvae_commitment_scale(const stk_rqvae_net *net, size_t n)
{
	double elements = net->plan->rqvae.learnable ? 1 : (double) net->shape->latent;

	return net->plan->rqvae.commitment / ((double) n * elements);
}

/* From what the decoder got back to the encoder's output, in net->back[at]. */
static void
latent_gradients(stk_rqvae_net *net, size_t n, int at, stk_rqvae_loss *loss)
{
	const stk_rqvae_plan *p = &net->plan->rqvae;
	int levels = p->flow ? net->shape->levels : 1;
	latent_job job = {.net = net,
					  .n = n,
					  .g = net->back[at],
					  .levels = levels,
					  .scale = (float) (2 * stk_rqvae_commitment_scale(net, n))};

	for (int l = 0; l < net->shape->levels && p->diversity > 0; l++)
		loss->diversity += p->diversity * stk_rqvae_diversity(net, n, l, l < levels ? job.g : NULL);
	stk_run(net->exec->pool, commit_task, &job, stk_rqvae_chunks(n, STK_RQVAE_CHUNK));
}

stk_status
stk_rqvae_gradients(stk_rqvae_net *net, size_t n, bool quantize, stk_rqvae_loss *loss, bool *finite)
{
	const stk_rqvae_shape *shape = net->shape;
	int middle = shape->n_encoder;
	int last = middle + shape->n_decoder;
	double elements = (double) n * shape->inputs;
	rows_job error = {.net = net,
					  .n = n,
					  .width = shape->inputs,
					  .from = net->after[last - 1],
					  .to = net->back[0],
					  .scale = 2 / elements,
					  .sums = net->sums};
	double commits[STK_MAX_LEVELS] = {0};
	latent_job plain = {.net = net, .n = n};
	int at = 0;

	memset(loss, 0, sizeof(*loss));
	*finite = stk_rqvae_encode(net, n);
	if (*finite && quantize)
	{
		stk_status status = stk_rqvae_quantize(net, n, commits, finite);

		if (status != STK_OK)
			return status;
	}
	if (!*finite)
		return STK_OK;
	if (!quantize)
		memcpy(net->quantized, net->residuals[0], n * shape->latent * sizeof(float));
	stk_rqvae_decode(net, n);
	run_rows(&error, error_task);
	loss->reconstruction = add_chunks(net, n) / elements;
	for (int l = 0; l < shape->levels; l++)
	{
		loss->commitment += stk_rqvae_commitment_scale(net, n) * commits[l];
		loss->codebook += net->plan->rqvae.learnable ? commits[l] / (double) n : 0;
	}

	backward(net, middle, last, net->quantized, n, &at, true);
	plain.g = net->back[at];
	if (quantize)
		latent_gradients(net, n, at, loss);
	else
		stk_run(net->exec->pool, commit_task, &plain, stk_rqvae_chunks(n, STK_RQVAE_CHUNK));
	backward(net, 0, middle, net->x, n, &at, false);
	if (shape->trained > shape->network && quantize)
		codeword_gradients(net, n);
	else if (shape->trained > shape->network)
		memset(net->gradients + shape->network, 0,
			   (shape->trained - shape->network) * sizeof(float));
	*finite = isfinite(loss->reconstruction + loss->commitment + loss->codebook + loss->diversity);
	return STK_OK;
}
