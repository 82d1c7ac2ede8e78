#include "codebook.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* version, metric, levels, dim */
#define FIXED_HEADER 8
/* activation, standardized, layers of both, inputs */
#define NETWORK_HEADER 8

static const char *const metric_names[] = {"l2", "ip", "cosine"};

#define METRICS (sizeof(metric_names) / sizeof(metric_names[0]))

stk_status
stk_metric_parse(const char *name, stk_metric *metric)
{
	for (size_t i = 0; i < METRICS; i++)
	{
		if (strcmp(name, metric_names[i]) == 0)
		{
			*metric = (stk_metric) i;
			return STK_OK;
		}
	}
	return STK_EINVAL;
}

const char *
stk_metric_name(stk_metric metric)
{
	return metric_names[metric];
}

/* Of the parts before a network's. */
static size_t
plain_header_bytes(int levels)
{
	return FIXED_HEADER + 4 * (size_t) levels;
}

size_t
stk_codebook_bytes(int levels, const uint32_t *sizes, int dim)
{
	uint64_t codes = 0;
	uint64_t bytes;

	if (levels < 1 || levels > STK_MAX_LEVELS || dim < 1 || dim > STK_MAX_DIM)
		return 0;
	for (int l = 0; l < levels; l++)
	{
		if (sizes[l] < 1 || sizes[l] > STK_MAX_CODES)
			return 0;
		codes += sizes[l];
	}
	bytes = plain_header_bytes(levels) + 4 * codes * (uint64_t) dim;
	return bytes <= SIZE_MAX / 2 ? (size_t) bytes : 0;
}

size_t
stk_codebook_header_bytes(const stk_codebook *shape)
{
	const stk_network *net = &shape->network;
	size_t bytes = plain_header_bytes(shape->levels);

	if (net->inputs)
		bytes += NETWORK_HEADER + 4 * (size_t) (net->n_encoder + net->n_decoder);
	return bytes;
}

size_t
stk_codebook_floats(const stk_codebook *shape)
{
	size_t codes = 0;

	for (int l = 0; l < shape->levels; l++)
		codes += shape->sizes[l];
	return codes * (size_t) shape->dim;
}

/* Outputs of each layer. */
static void
list_outputs(const stk_layer *layers, int n, uint32_t *outs)
{
	for (int i = 0; i < n; i++)
		outs[i] = layers[i].out;
}

/* Is the network one that stk_network_shape would make for this codebook? */
static bool
network_fits(const stk_network *net, int dim)
{
	uint32_t encoder[STK_MAX_LAYERS], decoder[STK_MAX_LAYERS];
	stk_network same;

	if (net->n_encoder < 1 || net->n_encoder > STK_MAX_LAYERS || net->n_decoder < 1 ||
		net->n_decoder > STK_MAX_LAYERS)
		return false;
	list_outputs(net->encoder, net->n_encoder, encoder);
	list_outputs(net->decoder, net->n_decoder, decoder);
	return stk_network_shape(&same, net->inputs, net->activation, encoder, net->n_encoder, decoder,
							 net->n_decoder, NULL) == STK_OK &&
		   encoder[net->n_encoder - 1] == (uint32_t) dim;
}

size_t
stk_codebook_stored_bytes(const stk_codebook *shape)
{
	const stk_network *net = &shape->network;
	size_t plain = stk_codebook_bytes(shape->levels, shape->sizes, shape->dim);
	uint64_t bytes;

	if (plain == 0 || net->inputs == 0)
		return plain;
	if (!network_fits(net, shape->dim))
		return 0;
	bytes = (uint64_t) plain - plain_header_bytes(shape->levels) +
			stk_codebook_header_bytes(shape) + 4 * stk_network_floats(net);
	return bytes <= SIZE_MAX / 2 ? (size_t) bytes : 0;
}

static uint8_t *
write_outputs(uint8_t *to, const stk_layer *layers, int n)
{
	for (int i = 0; i < n; i++, to += 4)
		memcpy(to, &layers[i].out, 4);
	return to;
}

size_t
stk_codebook_write_shape(uint8_t *out, const stk_codebook *shape)
{
	const stk_network *net = &shape->network;
	uint16_t levels16 = (uint16_t) shape->levels;
	uint32_t dim32 = (uint32_t) shape->dim;

	out[0] = net->inputs ? STK_CODEBOOK_NETWORK_VERSION : STK_CODEBOOK_VERSION;
	out[1] = (uint8_t) shape->metric;
	memcpy(out + 2, &levels16, 2);
	memcpy(out + 4, &dim32, 4);
	memcpy(out + FIXED_HEADER, shape->sizes, 4 * (size_t) shape->levels);
	if (net->inputs)
	{
		out += plain_header_bytes(shape->levels);
		out[0] = (uint8_t) net->activation;
		out[1] = net->standardized;
		out[2] = (uint8_t) net->n_encoder;
		out[3] = (uint8_t) net->n_decoder;
		memcpy(out + 4, &net->inputs, 4);
		out = write_outputs(out + NETWORK_HEADER, net->encoder, net->n_encoder);
		write_outputs(out, net->decoder, net->n_decoder);
	}
	return stk_codebook_header_bytes(shape);
}

void
stk_codebook_write(uint8_t *out, const stk_codebook *cb)
{
	float *to = (float *) (void *) (out + stk_codebook_write_shape(out, cb));

	for (int l = 0; l < cb->levels; l++)
	{
		size_t n = (size_t) cb->sizes[l] * (size_t) cb->dim;

		memcpy(to, cb->codewords[l], n * sizeof(float));
		to += n;
	}
	if (cb->network.inputs)
		stk_network_copy(&cb->network, to);
}

/* The shape of the network of a version 2, of which bytes is where it begins. */
static stk_status
read_network(const uint8_t *bytes, size_t len, stk_codebook *cb, stk_error *err)
{
	stk_network *net = &cb->network;
	uint32_t outs[2 * STK_MAX_LAYERS];
	uint32_t inputs;
	int encoder, decoder;
	stk_error why = {.level = -1};

	if (len < NETWORK_HEADER)
		return stk_fail(err, STK_ECORRUPT, "codebook is cut off");
	encoder = bytes[2];
	decoder = bytes[3];
	memcpy(&inputs, bytes + 4, 4);
	if (bytes[0] >= STK_ACTIVATIONS)
		return stk_fail(err, STK_ECORRUPT, "network of the codebook has unknown activation %d",
						bytes[0]);
	if (bytes[1] > 1)
		return stk_fail(err, STK_ECORRUPT, "network of the codebook has flag %d, expected 0 or 1",
						bytes[1]);
	if (encoder < 1 || encoder > STK_MAX_LAYERS || decoder < 1 || decoder > STK_MAX_LAYERS)
		return stk_fail(err, STK_ECORRUPT,
						"network of the codebook has %d and %d layers, expected 1 to %d", encoder,
						decoder, STK_MAX_LAYERS);
	if (len < NETWORK_HEADER + 4 * (size_t) (encoder + decoder))
		return stk_fail(err, STK_ECORRUPT, "codebook is cut off");
	memcpy(outs, bytes + NETWORK_HEADER, 4 * (size_t) (encoder + decoder));
	if (stk_network_shape(net, inputs, (stk_activation) bytes[0], outs, encoder, outs + encoder,
						  decoder, &why) != STK_OK)
		return stk_fail(err, STK_ECORRUPT, "%s", why.message);
	if (outs[encoder - 1] != (uint32_t) cb->dim)
		return stk_fail(err, STK_ECORRUPT, "the encoder has %u outputs, expected %d",
						outs[encoder - 1], cb->dim);
	net->standardized = bytes[1];
	return STK_OK;
}

stk_status
stk_codebook_read_shape(const uint8_t *bytes, size_t len, stk_codebook *cb, stk_error *err)
{
	uint16_t levels;
	uint32_t dim;
	size_t header;

	if (len < FIXED_HEADER)
		return stk_fail(err, STK_ECORRUPT, "codebook is cut off");
	if (bytes[0] != STK_CODEBOOK_VERSION && bytes[0] != STK_CODEBOOK_NETWORK_VERSION)
		return stk_fail(err, STK_ECORRUPT, "codebook has format version %d, expected %d or %d",
						bytes[0], STK_CODEBOOK_VERSION, STK_CODEBOOK_NETWORK_VERSION);
	if (bytes[1] >= METRICS)
		return stk_fail(err, STK_ECORRUPT, "codebook has unknown metric %d", bytes[1]);
	memcpy(&levels, bytes + 2, 2);
	memcpy(&dim, bytes + 4, 4);
	if (levels < 1 || levels > STK_MAX_LEVELS)
		return stk_fail(err, STK_ECORRUPT, "codebook has %u levels, expected 1 to %d",
						(unsigned int) levels, STK_MAX_LEVELS);
	if (dim < 1 || dim > STK_MAX_DIM)
		return stk_fail(err, STK_ECORRUPT, "codebook has %u dimensions, expected 1 to %d", dim,
						STK_MAX_DIM);
	header = plain_header_bytes(levels);
	if (len < header)
		return stk_fail(err, STK_ECORRUPT, "codebook is cut off");

	memset(cb, 0, sizeof(*cb));
	cb->metric = (stk_metric) bytes[1];
	cb->levels = levels;
	cb->dim = (int) dim;
	memcpy(cb->sizes, bytes + FIXED_HEADER, 4 * (size_t) levels);
	for (int l = 0; l < levels; l++)
	{
		if (cb->sizes[l] < 1 || cb->sizes[l] > STK_MAX_CODES)
			return stk_fail(err, STK_ECORRUPT,
							"level %d of the codebook has size %u, expected 1 to %d", l,
							cb->sizes[l], STK_MAX_CODES);
	}
	return bytes[0] == STK_CODEBOOK_VERSION ? STK_OK
											: read_network(bytes + header, len - header, cb, err);
}

stk_status
stk_codebook_view(const uint8_t *bytes, size_t len, stk_codebook *cb, stk_error *err)
{
	stk_status status = stk_codebook_read_shape(bytes, len, cb, err);
	size_t expected;
	const float *floats;

	if (status != STK_OK)
		return status;
	expected = stk_codebook_stored_bytes(cb);
	if (len != expected)
		return stk_fail(err, STK_ECORRUPT, "codebook has %zu bytes, expected %zu", len, expected);

	floats = (const float *) (const void *) (bytes + stk_codebook_header_bytes(cb));
	for (int l = 0; l < cb->levels; l++)
	{
		cb->codewords[l] = floats;
		floats += (size_t) cb->sizes[l] * (size_t) cb->dim;
	}
	if (cb->network.inputs)
		stk_network_attach(&cb->network, floats);
	return STK_OK;
}

stk_status
stk_codebook_check_finite(const stk_codebook *cb, stk_error *err)
{
	for (int l = 0; l < cb->levels; l++)
	{
		const float *c = cb->codewords[l];

		for (uint32_t k = 0; k < cb->sizes[l]; k++, c += cb->dim)
		{
			for (int i = 0; i < cb->dim; i++)
			{
				if (isfinite(c[i]))
					continue;
				if (err)
				{
					err->row = k;
					err->level = l;
				}
				return stk_fail(err, STK_EINVAL, "codeword %u of level %d holds NaN or infinity", k,
								l);
			}
		}
	}
	return cb->network.inputs ? stk_network_check_values(&cb->network, err) : STK_OK;
}
