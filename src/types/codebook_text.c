/*
 * codebook: text I/O. The text is JSON,
 *
 *    {"dim":128,"sizes":[256,256,256],"metric":"l2","data":"<base64>"}
 *
 * where data is the codewords, level by level, code by code, as little-endian binary32. With a
 * network there are also
 *
 *    "inputs":384,"activation":"relu","standardized":0,"encoder":[512,512,128],
 *    "decoder":[512,512,384],"network":"<base64>"
 *
 * of which encoder and decoder are the outputs of each layer, and network the numbers behind the
 * codewords in the stored form (core/codebook.h).
 */
#include "postgres.h"

#include "types/bridge.h"
#include "types/codebook.h"
#include "types/flatjson.h"

#define TYPE "codebook"

enum
{
	DIM,
	SIZES,
	METRIC,
	DATA,
	INPUTS, /* the first of those that make a network, all or none */
	ACTIVATION,
	STANDARDIZED,
	ENCODER,
	DECODER,
	NETWORK,
	KEYS
};

/* Numbers of outputs; any that are not make no network. */
static void
CopyOutputs(const FlatJsonKey *key, uint32 *outs)
{
	for (int i = 0; i < key->n; i++)
		outs[i] = (uint32) key->numbers[i];
}

/* The shape of the network that the keys describe, if they do. */
static void
ReadNetworkShape(const FlatJsonKey *keys, stk_codebook *shape)
{
	uint32 encoder[STK_MAX_LEVELS];
	uint32 decoder[STK_MAX_LEVELS];
	stk_activation activation;
	stk_error err = {0};

	for (int i = INPUTS; i < KEYS; i++)
	{
		if (keys[i].seen != keys[INPUTS].seen)
			FlatJsonError(TYPE,
						  psprintf("Key \"%s\" is missing.", keys[keys[i].seen ? INPUTS : i].name));
	}
	if (!keys[INPUTS].seen)
		return;
	if (stk_activation_parse(keys[ACTIVATION].string, &activation) != STK_OK)
		FlatJsonError(TYPE, psprintf("Expected activation relu, gelu or silu, not \"%s\".",
									 keys[ACTIVATION].string));
	if (keys[STANDARDIZED].number != 0 && keys[STANDARDIZED].number != 1)
		FlatJsonError(TYPE, psprintf("Expected 0 or 1 for key \"%s\", not %d.",
									 keys[STANDARDIZED].name, keys[STANDARDIZED].number));
	CopyOutputs(&keys[ENCODER], encoder);
	CopyOutputs(&keys[DECODER], decoder);
	if (stk_network_shape(&shape->network, (uint32) keys[INPUTS].number, activation, encoder,
						  keys[ENCODER].n, decoder, keys[DECODER].n, &err) != STK_OK)
		FlatJsonError(TYPE, SemtokErrorSentence(&err));
	if (encoder[keys[ENCODER].n - 1] != (uint32) shape->dim)
		FlatJsonError(TYPE, psprintf("The encoder has %u outputs, expected %d.",
									 encoder[keys[ENCODER].n - 1], shape->dim));
	shape->network.standardized = keys[STANDARDIZED].number == 1;
}

/* Decode a key's floats; they are so many bytes, or it is an error. */
static char *
DecodeFloats(FlatJsonKey *key, const char *what, uint64 bytes)
{
	int len;
	char *data = FlatJsonDecode(TYPE, key, &len);

	if ((uint64) len != bytes)
		FlatJsonError(TYPE, psprintf("Expected " UINT64_FORMAT " bytes of %s for this shape, not "
									 "%d.",
									 bytes, what, len));
	return data;
}

PG_FUNCTION_INFO_V1(codebook_in);
Datum
codebook_in(PG_FUNCTION_ARGS)
{
	FlatJsonKey keys[KEYS] = {
		[DIM] = {.name = "dim", .kind = FLAT_JSON_NUMBER},
		[SIZES] = {.name = "sizes", .kind = FLAT_JSON_NUMBERS},
		[METRIC] = {.name = "metric", .kind = FLAT_JSON_STRING},
		[DATA] = {.name = "data", .kind = FLAT_JSON_STRING},
		[INPUTS] = {.name = "inputs", .kind = FLAT_JSON_NUMBER, .optional = true},
		[ACTIVATION] = {.name = "activation", .kind = FLAT_JSON_STRING, .optional = true},
		[STANDARDIZED] = {.name = "standardized", .kind = FLAT_JSON_NUMBER, .optional = true},
		[ENCODER] = {.name = "encoder", .kind = FLAT_JSON_NUMBERS, .optional = true},
		[DECODER] = {.name = "decoder", .kind = FLAT_JSON_NUMBERS, .optional = true},
		[NETWORK] = {.name = "network", .kind = FLAT_JSON_STRING, .optional = true},
	};
	uint32 sizes[STK_MAX_LEVELS];
	stk_metric metric;
	stk_codebook shape;
	float *floats;
	struct varlena *v;
	char *data;
	char *network = NULL;
	Size bytes;
	Size network_bytes;

	FlatJsonParse(TYPE, PG_GETARG_CSTRING(0), keys, KEYS);
	if (keys[DIM].number < 1 || keys[DIM].number > STK_MAX_DIM)
		FlatJsonError(
			TYPE, psprintf("Expected 1 to %d dimensions, not %d.", STK_MAX_DIM, keys[DIM].number));
	if (keys[SIZES].n == 0)
		FlatJsonError(TYPE, psprintf("Expected 1 to %d sizes.", STK_MAX_LEVELS));
	for (int l = 0; l < keys[SIZES].n; l++)
	{
		int32 size = keys[SIZES].numbers[l];

		if (size < 1 || size > STK_MAX_CODES)
			FlatJsonError(
				TYPE, psprintf("Expected sizes between 1 and %d, not %d.", STK_MAX_CODES, size));
		sizes[l] = (uint32) size;
	}
	if (stk_metric_parse(keys[METRIC].string, &metric) != STK_OK)
		FlatJsonError(
			TYPE, psprintf("Expected metric l2, ip or cosine, not \"%s\".", keys[METRIC].string));

	shape = CodebookShape(metric, keys[SIZES].n, sizes, keys[DIM].number);
	ReadNetworkShape(keys, &shape);

	/* Decode before the datum is made: a short text must not ask for a large allocation. */
	bytes = stk_codebook_floats(&shape) * sizeof(float);
	data = DecodeFloats(&keys[DATA], "data", bytes);
	network_bytes = stk_network_floats(&shape.network) * sizeof(float);
	if (shape.network.inputs)
		network = DecodeFloats(&keys[NETWORK], "network", network_bytes);
	v = CodebookAllocate(&shape, &floats);
	memcpy(floats, data, bytes);
	pfree(data);
	if (network)
	{
		memcpy((char *) floats + bytes, network, network_bytes);
		pfree(network);
	}
	CodebookCheckFinite(v);
	PG_RETURN_POINTER(v);
}

static void
AppendOutputs(StringInfo text, const char *name, const stk_layer *layers, int n)
{
	appendStringInfo(text, ",\"%s\":[", name);
	for (int i = 0; i < n; i++)
		appendStringInfo(text, "%s%u", i > 0 ? "," : "", layers[i].out);
	appendStringInfoChar(text, ']');
}

PG_FUNCTION_INFO_V1(codebook_out);
Datum
codebook_out(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_CODEBOOK_P(0);
	stk_codebook view;
	const stk_network *net = &view.network;
	const char *data;
	Size bytes;
	StringInfoData text;

	CodebookReadView(v, &view);
	data = (const char *) view.codewords[0];
	bytes = stk_codebook_floats(&view) * sizeof(float);
	initStringInfo(&text);
	appendStringInfo(&text, "{\"dim\":%d,\"sizes\":[", view.dim);
	for (int l = 0; l < view.levels; l++)
		appendStringInfo(&text, "%s%u", l > 0 ? "," : "", view.sizes[l]);
	appendStringInfo(&text, "],\"metric\":\"%s\",\"data\":\"", stk_metric_name(view.metric));
	FlatJsonAppendBase64(&text, data, (int) bytes);
	appendStringInfoChar(&text, '"');
	if (net->inputs)
	{
		appendStringInfo(&text, ",\"inputs\":%u,\"activation\":\"%s\",\"standardized\":%d",
						 net->inputs, stk_activation_name(net->activation), net->standardized);
		AppendOutputs(&text, "encoder", net->encoder, net->n_encoder);
		AppendOutputs(&text, "decoder", net->decoder, net->n_decoder);
		appendStringInfoString(&text, ",\"network\":\"");
		FlatJsonAppendBase64(&text, data + bytes, (int) (stk_network_floats(net) * sizeof(float)));
		appendStringInfoChar(&text, '"');
	}
	appendStringInfoChar(&text, '}');
	PG_RETURN_CSTRING(text.data);
}
