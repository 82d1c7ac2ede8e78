/*
 * One step of an RQ-VAE on a device: forward, through the codewords, back, and on.
 *
 * What the next layer waits for goes on the trainer's stream, gradients of weights on one beside
 * it, and what codewords learn on a third: in a graph they are branches.
 *
 * Bytes and operations: 6 n times the weights multiply-adds in binary32, by cuBLAS; rows of
 * activations a few times; the parameters as adamw.cu says. Bound: with batches of some hundred
 * rows the launches and the products' latency, later the products.
 */
#include "train_rqvae.h"

/* What comes before, as an event, is waited for on a stream. */
static stk_status
follow(cudaStream_t stream, cudaStream_t before, cudaEvent_t event, stk_error *err)
{
	cudaError_t code = cudaEventRecord(event, before);

	if (code == cudaSuccess)
		code = cudaStreamWaitEvent(stream, event, 0);
	return stk_cuda_status(code, "order the parts of a step", err);
}

static stk_blas_matrix
matrix(float *at, size_t columns)
{
	return (stk_blas_matrix){at, stk_wide(columns)};
}

/* Layers first .. end - 1, their activations but the last's. */
static stk_status
forward(const stk_rqvae_device *d, int first, int end, size_t n, stk_error *err)
{
	stk_status status = STK_OK;

	for (int i = first; i < end && status == STK_OK; i++)
	{
		const stk_device_layer *l = &d->layers[i];
		stk_activation_call call = {d->plan.rqvae.activation, n, l->out, l->output, NULL};

		status = stk_blas_forward(d->blas, n, (int) stk_wide(l->in), (int) l->out,
								  matrix(l->input, l->in), matrix(d->parameters + l->at, l->in),
								  matrix(l->output, l->out), err);
		if (i + 1 == end || status != STK_OK)
			continue;
		call.y = d->layers[i + 1].input;
		status = stk_activation_launch(&call, d->trainer->stream, err);
	}
	return status;
}

/*
 * Layers end - 1 .. first, whose last has the gradient of its output; to: that of the first's
 * input, NULL where nobody asks for it.
 */
static stk_status
backward(const stk_rqvae_device *d, int first, int end, size_t n, float *to, stk_error *err)
{
	stk_status status = STK_OK;

	for (int i = end - 1; i >= first && status == STK_OK; i--)
	{
		const stk_device_layer *l = &d->layers[i];
		float *input = i > first ? d->layers[i - 1].gradient : to;
		stk_activation_call call = {d->plan.rqvae.activation, n, l->in,
									i > first ? d->layers[i - 1].output : NULL, input};
		stk_blas *of_weights = input ? d->blas_beside : d->blas;

		if (input)
			status = follow(d->beside, d->trainer->stream, d->ready, err);
		if (status == STK_OK)
			status = stk_blas_weights(of_weights, n, (int) stk_wide(l->in), (int) l->out,
									  matrix(l->gradient, l->out), matrix(l->input, l->in),
									  matrix(d->gradient + l->at, l->in), err);
		if (status == STK_OK && input)
			status = stk_blas_backward(
				d->blas, n, (int) l->in, (int) l->out, matrix(l->gradient, l->out),
				matrix(d->parameters + l->at, l->in), matrix(input, l->in), err);
		if (status == STK_OK && i > first)
			status = stk_activation_backward_launch(&call, d->trainer->stream, err);
	}
	return status;
}

/* The latents' nearest codewords, and what codewords learn of it, beside. */
static stk_status
quantize(const stk_rqvae_device *d, size_t n, stk_error *err)
{
	const stk_rqvae_shape *s = &d->shape;
	const stk_train_plan *plan = &d->plan;
	stk_quantize_call call = {.run = d->run,
							  .sum = d->squares,
							  .n = n,
							  .dim = s->latent,
							  .levels = s->levels,
							  .codewords = d->parameters + d->codewords,
							  .z = d->layers[s->n_encoder - 1].output,
							  .residuals = d->residuals,
							  .y = d->layers[s->n_encoder].input};
	stk_codes_call codes = {
		.run = d->run,
		.n = n,
		.dim = s->latent,
		.levels = s->levels,
		.residuals = d->residuals,
		.rule = {.decay = plan->decay, .restart_after = plan->restart_after, .seed = plan->seed},
		.codewords = d->parameters + d->codewords,
		.counts = d->counts,
		.sums = d->sums,
		.idle = d->idle,
		.learnable = plan->rqvae.learnable,
		.gradient = d->gradient + d->codewords,
		.first = d->first + d->codewords,
		.second = d->second + d->codewords};
	stk_status status;

	for (int l = 0; l < s->levels; l++)
		call.sizes[l] = codes.sizes[l] = s->sizes[l];
	status = stk_quantize_launch(&call, d->trainer->stream, err);
	if (status == STK_OK)
		status = follow(d->codes_stream, d->trainer->stream, d->codes_end, err);
	if (status == STK_OK)
		status = stk_codes_launch(&codes, d->codes_stream, err);
	return status;
}

/* The latents as they are for the decoder. */
static stk_status
pass_through(const stk_rqvae_device *d, size_t n, stk_error *err)
{
	size_t bytes = d->shape.latent * sizeof(float);
	size_t pitch = stk_wide(d->shape.latent) * sizeof(float);

	return stk_cuda_status(cudaMemcpy2DAsync(d->layers[d->shape.n_encoder].input, pitch,
											 d->layers[d->shape.n_encoder - 1].output, pitch, bytes,
											 n, cudaMemcpyDeviceToDevice, d->trainer->stream),
						   "copy latent vectors", err);
}

/* All gradients are there, or on their way: end the step. */
static stk_status
finish(const stk_rqvae_device *d, size_t n, bool quantized, stk_error *err)
{
	const stk_rqvae_plan *p = &d->plan.rqvae;
	stk_adamw_call call = {.run = d->run,
						   .sum = d->lengths,
						   .n = n,
						   .trained = quantized && p->learnable ? d->wide : d->codewords,
						   .total = d->wide,
						   .parameters = d->parameters,
						   .gradient = d->gradient,
						   .first = d->first,
						   .second = d->second,
						   .average = d->average,
						   .beta1 = (float) p->beta1,
						   .beta2 = (float) p->beta2,
						   .epsilon = (float) p->epsilon,
						   .clip = p->clip};
	stk_status status = follow(d->trainer->stream, d->beside, d->beside_ends, err);

	if (status == STK_OK && quantized)
		status = follow(d->trainer->stream, d->codes_stream, d->codes_end, err);
	if (status == STK_OK)
		status = stk_adamw_launch(&call, d->trainer->stream, err);
	return status;
}

stk_status
stk_rqvae_step_launch(const stk_rqvae_device *d, size_t n, bool quantized, stk_error *err)
{
	const stk_rqvae_shape *s = &d->shape;
	const stk_rqvae_plan *p = &d->plan.rqvae;
	int middle = s->n_encoder, end = s->n_encoder + s->n_decoder;
	double elements = p->learnable ? (double) n : (double) n * s->latent;
	stk_batch_rows rows = {d->run, d->x, n, s->inputs, d->layers[0].input};
	stk_error_call error = {.run = d->run,
							.sum = d->errors,
							.n = n,
							.columns = s->inputs,
							.x = d->layers[0].input,
							.y = d->layers[end - 1].gradient};
	stk_latent_call latent = {.n = n,
							  .dim = s->latent,
							  .levels = p->flow ? s->levels : 1,
							  .factor = (float) (2 * p->commitment / elements),
							  .residuals = d->residuals,
							  .gradient = d->layers[middle - 1].gradient};
	stk_status status = stk_batch_rows_launch(&rows, d->trainer->stream, err);

	if (status == STK_OK)
		status = forward(d, 0, middle, n, err);
	if (status == STK_OK)
		status = quantized ? quantize(d, n, err) : pass_through(d, n, err);
	if (status == STK_OK)
		status = forward(d, middle, end, n, err);
	if (status == STK_OK)
		status = stk_error_launch(&error, d->trainer->stream, err);
	if (status == STK_OK)
		status = backward(d, middle, end, n, d->layers[middle - 1].gradient, err);
	if (status == STK_OK && quantized)
		status = stk_latent_launch(&latent, d->trainer->stream, err);
	if (status == STK_OK)
		status = backward(d, 0, middle, n, NULL, err);
	if (status == STK_OK)
		status = finish(d, n, quantized, err);
	return status;
}

stk_status
stk_rqvae_step_graph(stk_rqvae_device *d, bool quantized, stk_error *err)
{
	static const char doing[] = "make a graph of a step";
	cudaStream_t stream = d->trainer->stream;
	cudaGraph_t graph = NULL;
	stk_status status, ended;

	if (d->graph)
		(void) cudaGraphExecDestroy(d->graph);
	d->graph = NULL;
	status = stk_cuda_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
							 doing, err);
	if (status != STK_OK)
		return status;
	status = stk_rqvae_step_launch(d, d->most, quantized, err);
	/* Ended in any case. */
	ended =
		stk_cuda_status(cudaStreamEndCapture(stream, &graph), doing, status == STK_OK ? err : NULL);
	status = status == STK_OK ? ended : status;
	if (status == STK_OK)
		status = stk_cuda_status(cudaGraphInstantiate(&d->graph, graph, 0), doing, err);
	if (graph)
		(void) cudaGraphDestroy(graph);
	d->graph_quantizes = quantized;
	return status;
}

static float *
take_floats(stk_rqvae_device *d, size_t *at, size_t rows, size_t columns)
{
	return stk_take(d->memory, at, rows * columns * sizeof(float));
}

static stk_step_sum
take_sum(stk_rqvae_device *d, size_t *at)
{
	double *partial = stk_take(d->memory, at, STK_STEP_BLOCKS * sizeof(double));

	return (stk_step_sum){partial, stk_take(d->memory, at, sizeof(uint32_t))};
}

void
stk_rqvae_lay_out(stk_rqvae_device *d)
{
	const stk_rqvae_shape *s = &d->shape;
	int n_layers = s->n_encoder + s->n_decoder;
	size_t at = 0, wide = 0;

	for (int i = 0; i < n_layers; i++)
	{
		stk_device_layer *l = &d->layers[i];

		l->in = s->layers[i].in;
		l->out = s->layers[i].out;
		l->at = wide;
		wide += l->out * stk_wide(l->in);
		l->input = take_floats(d, &at, d->most, stk_wide(l->in));
		/* The last has the gradient in its output's place, and the others' is short-lived. */
		l->gradient = take_floats(d, &at, d->most, stk_wide(l->out));
		l->output = i + 1 < n_layers ? take_floats(d, &at, d->most, stk_wide(l->out)) : l->gradient;
	}
	d->codewords = wide;
	d->wide = (wide + s->codes * s->latent + 3) / 4 * 4;
	d->x = take_floats(d, &at, d->n, s->inputs);
	d->residuals = take_floats(d, &at, (size_t) s->levels + 1, d->most * s->latent);
	d->parameters = take_floats(d, &at, 1, d->wide);
	d->gradient = take_floats(d, &at, 1, d->wide);
	d->first = take_floats(d, &at, 1, d->wide);
	d->second = take_floats(d, &at, 1, d->wide);
	d->average = d->plan.rqvae.average > 0 ? take_floats(d, &at, 1, d->wide) : NULL;
	d->counts = stk_take(d->memory, &at, s->codes * sizeof(double));
	d->sums = stk_take(d->memory, &at, s->codes * s->latent * sizeof(double));
	d->idle = stk_take(d->memory, &at, s->codes * sizeof(uint32_t));
	d->errors = take_sum(d, &at);
	d->squares = take_sum(d, &at);
	d->lengths = take_sum(d, &at);
	d->run.cursor = stk_take(d->memory, &at, sizeof(stk_step_cursor));
	d->run.paces = stk_take(d->memory, &at, d->steps * sizeof(stk_step_pace));
	d->run.places = stk_take(d->memory, &at, d->portion * sizeof(size_t));
	d->run.codes = stk_take(d->memory, &at, d->portion * (size_t) s->levels * sizeof(uint16_t));
	d->run.losses = stk_take(d->memory, &at, d->steps * STK_LOSSES * sizeof(double));
	d->bytes = at;
}
