/*
 * What a network's views are about: its shape, its numbers, and where they lie. No inference: a
 * device's engine takes this file alone.
 */
#include "network.h"

#include <math.h>
#include <string.h>

static stk_status
shape_layers(stk_layer *layers, uint32_t in, const uint32_t *outs, int n, const char *name,
			 stk_error *err)
{
	if (n < 1 || n > STK_MAX_LAYERS)
		return stk_fail(err, STK_EINVAL, "expected 1 to %d layers of the %s, not %d",
						STK_MAX_LAYERS, name, n);
	for (int i = 0; i < n; i++)
	{
		if (outs[i] < 1 || outs[i] > STK_MAX_WIDTH)
			return stk_fail(err, STK_EINVAL, "layer %d of the %s has %u outputs, expected 1 to %d",
							i, name, outs[i], STK_MAX_WIDTH);
		layers[i] = (stk_layer){.in = in, .out = outs[i]};
		in = outs[i];
	}
	return STK_OK;
}

stk_status
stk_network_shape(stk_network *net, uint32_t inputs, stk_activation activation,
				  const uint32_t *encoder_out, int n_encoder, const uint32_t *decoder_out,
				  int n_decoder, stk_error *err)
{
	stk_status status;

	memset(net, 0, sizeof(*net));
	if (inputs < 1 || inputs > STK_MAX_WIDTH)
		return stk_fail(err, STK_EINVAL, "a network has %u inputs, expected 1 to %d", inputs,
						STK_MAX_WIDTH);
	if ((unsigned int) activation >= STK_ACTIVATIONS)
		return stk_fail(err, STK_EINVAL, "a network has unknown activation %d", (int) activation);
	status = shape_layers(net->encoder, inputs, encoder_out, n_encoder, "encoder", err);
	if (status == STK_OK)
		status = shape_layers(net->decoder, net->encoder[n_encoder - 1].out, decoder_out, n_decoder,
							  "decoder", err);
	if (status == STK_OK && decoder_out[n_decoder - 1] != inputs)
		status = stk_fail(err, STK_EINVAL, "the decoder has %u outputs, expected %u",
						  decoder_out[n_decoder - 1], inputs);
	if (status != STK_OK)
		return status;
	net->inputs = inputs;
	net->activation = activation;
	net->n_encoder = n_encoder;
	net->n_decoder = n_decoder;
	return STK_OK;
}

/* Layer i of all, the encoder's first. */
static stk_layer *
layer_at(stk_network *net, int i)
{
	return i < net->n_encoder ? &net->encoder[i] : &net->decoder[i - net->n_encoder];
}

static const stk_layer *
const_layer_at(const stk_network *net, int i)
{
	return i < net->n_encoder ? &net->encoder[i] : &net->decoder[i - net->n_encoder];
}

static size_t
weights_of(const stk_layer *layer)
{
	return (size_t) layer->in * layer->out;
}

uint64_t
stk_network_floats(const stk_network *net)
{
	uint64_t floats = net->standardized ? 2 * (uint64_t) net->inputs : 0;

	for (int i = 0; i < net->n_encoder + net->n_decoder; i++)
	{
		const stk_layer *layer = const_layer_at(net, i);

		floats += (uint64_t) weights_of(layer) + layer->out;
	}
	return floats;
}

/* Products in binary64, of weights that are widened first, beside a filter's in binary32. */
#define SLOWER 3.0

double
stk_network_multiply_adds(const stk_network *net)
{
	double products = 0;

	for (int i = 0; i < net->n_encoder; i++)
		products += SLOWER * (double) weights_of(&net->encoder[i]);
	return products;
}

void
stk_network_attach(stk_network *net, const float *floats)
{
	net->mean = net->scale = NULL;
	if (net->standardized)
	{
		net->mean = floats;
		net->scale = floats + net->inputs;
		floats += 2 * (size_t) net->inputs;
	}
	for (int i = 0; i < net->n_encoder + net->n_decoder; i++)
	{
		stk_layer *layer = layer_at(net, i);

		layer->weight = floats;
		layer->bias = floats + weights_of(layer);
		floats = layer->bias + layer->out;
	}
}

static float *
copy_floats(float *to, const float *from, size_t n)
{
	memcpy(to, from, n * sizeof(float));
	return to + n;
}

void
stk_network_copy(const stk_network *net, float *floats)
{
	if (net->standardized)
	{
		floats = copy_floats(floats, net->mean, net->inputs);
		floats = copy_floats(floats, net->scale, net->inputs);
	}
	for (int i = 0; i < net->n_encoder + net->n_decoder; i++)
	{
		const stk_layer *layer = const_layer_at(net, i);

		floats = copy_floats(floats, layer->weight, weights_of(layer));
		floats = copy_floats(floats, layer->bias, layer->out);
	}
}

static bool
all_finite(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		if (!isfinite(x[i]))
			return false;
	}
	return true;
}

stk_status
stk_network_check_values(const stk_network *net, stk_error *err)
{
	if (net->standardized && !all_finite(net->mean, net->inputs))
		return stk_fail(err, STK_EINVAL, "mean of the network holds NaN or infinity");
	for (uint32_t i = 0; net->standardized && i < net->inputs; i++)
	{
		if (!(net->scale[i] > 0) || isinf(net->scale[i]))
			return stk_fail(err, STK_EINVAL,
							"scale %u of the network is not a finite number above 0", i);
	}
	for (int i = 0; i < net->n_encoder + net->n_decoder; i++)
	{
		const stk_layer *layer = const_layer_at(net, i);
		bool encoder = i < net->n_encoder;

		if (!all_finite(layer->weight, weights_of(layer)) || !all_finite(layer->bias, layer->out))
			return stk_fail(err, STK_EINVAL, "layer %d of the %s holds NaN or infinity",
							encoder ? i : i - net->n_encoder, encoder ? "encoder" : "decoder");
	}
	return STK_OK;
}
