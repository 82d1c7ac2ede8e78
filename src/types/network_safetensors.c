#include "postgres.h"

#include "types/network_safetensors.h"

#include <math.h>

#include "types/bridge.h"

#define ENCODER_NAME "encoder.net." CODEBOOK_LEVEL_MARK
#define DECODER_NAME "decoder.net." CODEBOOK_LEVEL_MARK
#define MEAN_NAME "standardize.mean"
#define SCALE_NAME "standardize.scale"
#define WEIGHT ".weight"
#define BIAS ".bias"

static const stk_tensor *
TensorNeeded(const stk_safetensors *file, const char *name)
{
	const stk_tensor *tensor = stk_safetensors_find(file, name);

	if (!tensor)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tensor \"%s\" is missing", name)));
	return tensor;
}

/* The number of the layer whose weights these would be; -1 when they are not. */
static int
LayerNumber(const char *tensor, const char *name)
{
	const char *mark = strstr(name, CODEBOOK_LEVEL_MARK);
	const char *rest = mark + strlen(CODEBOOK_LEVEL_MARK);
	const char *digits = tensor + (mark - name);
	size_t n;

	if (strncmp(tensor, name, mark - name) != 0)
		return -1;
	n = strspn(digits, "0123456789");
	if (n == 0 || n > 6 || (*digits == '0' && n > 1) || strncmp(digits + n, rest, strlen(rest)) ||
		strcmp(digits + n + strlen(rest), WEIGHT) != 0)
		return -1;
	return atoi(digits);
}

static int
CompareNumbers(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/*
 * Numbers of the layers of these names, ascending. Other modules stand between them, always as many:
 * activations, say; or one more behind each layer but the first, as GRID's dropouts do.
 */
static int
FindNumbers(const stk_safetensors *file, const char *name, int *numbers)
{
	int n = 0;
	int step;
	bool dropout;

	for (size_t i = 0; i < file->n; i++)
	{
		int number = LayerNumber(file->tensors[i].name, name);

		if (number < 0)
			continue;
		if (n == STK_MAX_LAYERS)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("a network cannot have more than %d layers named \"%s\"",
								   STK_MAX_LAYERS, name)));
		numbers[n++] = number;
	}
	qsort(numbers, n, sizeof(int), CompareNumbers);
	step = n > 1 ? numbers[1] - numbers[0] : 1;
	/* A second that is missing makes the first step twice the others. */
	if (n > 2 && numbers[2] - numbers[1] < step)
		step = numbers[2] - numbers[1];
	dropout = n > 2 && step > 1 && numbers[2] - numbers[1] == step + 1;
	for (int i = 1; i < n; i++)
	{
		int expected = numbers[i - 1] + step + (dropout && i > 1);

		if (numbers[i] != expected)
			TensorNeeded(file, psprintf("%s" WEIGHT, CodebookTensorName(name, expected)));
	}
	return n;
}

/* A name of the network's own that nothing was made of. */
static void
RefuseOthers(const stk_safetensors *file, const char *name, const stk_tensor *const *weights,
			 const stk_tensor *const *biases, int n)
{
	Size prefix = strstr(name, CODEBOOK_LEVEL_MARK) - name;

	for (size_t i = 0; i < file->n && prefix > 0; i++)
	{
		const stk_tensor *tensor = &file->tensors[i];
		bool known = strncmp(tensor->name, name, prefix) != 0;

		for (int l = 0; l < n && !known; l++)
			known = tensor == weights[l] || tensor == biases[l];
		if (!known)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("unexpected tensor \"%s\"", tensor->name),
							errdetail("A network's layers have weights and biases, and an "
									  "activation between them, and nothing else.")));
	}
}

/* One direction's layers: their tensors, and the outputs of each. */
static int
FindLayers(const stk_safetensors *file, const char *name, bool ours, uint64 *in,
		   const stk_tensor **weights, const stk_tensor **biases, uint32 *outs)
{
	int numbers[STK_MAX_LAYERS];
	int n = FindNumbers(file, name, numbers);

	/* The names that we know count from 0, which a file without its first layer does not. */
	if (n == 0 || (ours && numbers[0] != 0))
		TensorNeeded(file, psprintf("%s" WEIGHT, CodebookTensorName(name, 0)));
	for (int l = 0; l < n; l++)
	{
		char *full = CodebookTensorName(name, numbers[l]);
		const stk_tensor *weight = TensorNeeded(file, psprintf("%s" WEIGHT, full));
		const stk_tensor *bias = TensorNeeded(file, psprintf("%s" BIAS, full));

		if (weight->ndim != 2)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected tensor \"%s\" to have 2 dimensions, not %d",
								   weight->name, weight->ndim)));
		if (weight->shape[0] < 1 || weight->shape[0] > STK_MAX_WIDTH || weight->shape[1] < 1 ||
			weight->shape[1] > STK_MAX_WIDTH || (*in > 0 && weight->shape[1] != *in))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("expected tensor \"%s\" to be [N, %s], not [" UINT64_FORMAT
							", " UINT64_FORMAT "]",
							weight->name, *in > 0 ? psprintf(UINT64_FORMAT, *in) : "N",
							weight->shape[0], weight->shape[1]),
					 errdetail("A layer has 1 to %d inputs, as many as the one before it has "
							   "outputs.",
							   STK_MAX_WIDTH)));
		if (bias->count != weight->shape[0])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected " UINT64_FORMAT
								   " values in tensor \"%s\", not " UINT64_FORMAT,
								   weight->shape[0], bias->name, bias->count)));
		weights[l] = weight;
		biases[l] = bias;
		outs[l] = (uint32) weight->shape[0];
		*in = weight->shape[0];
	}
	RefuseOthers(file, name, weights, biases, n);
	return n;
}

/* Is there a layer of this name? */
static bool
HasLayers(const stk_safetensors *file, const char *name)
{
	for (size_t i = 0; i < file->n; i++)
		if (LayerNumber(file->tensors[i].name, name) >= 0)
			return true;
	return false;
}

static const stk_tensor *
FindStandard(const stk_safetensors *file, const char *name, uint32 inputs)
{
	const stk_tensor *tensor = TensorNeeded(file, name);

	if (tensor->count != inputs)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %u values in tensor \"%s\", not " UINT64_FORMAT, inputs,
							   name, tensor->count)));
	return tensor;
}

/* The last layer's outputs are the next one's inputs. */
static void
CheckOutputs(const stk_tensor *last, uint64 expected, const char *of)
{
	if (last->shape[0] != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected " UINT64_FORMAT " outputs in tensor \"%s\", not " UINT64_FORMAT,
						expected, last->name, last->shape[0]),
				 errdetail("That is the dimension of the %s.", of)));
}

static stk_activation
FindActivation(const stk_safetensors *file, const CodebookNames *names)
{
	const char *name = names->activation ? names->activation : file->activation;
	stk_activation activation = STK_RELU;

	if (name && stk_activation_parse(name, &activation) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected activation relu, gelu or silu, not \"%s\"", name)));
	return activation;
}

void
NetworkFind(const stk_safetensors *file, const CodebookNames *names, int dim, NetworkTensors *found)
{
	const char *encoder = names->encoder ? names->encoder : ENCODER_NAME;
	const char *decoder = names->decoder ? names->decoder : DECODER_NAME;
	uint32 encoder_out[STK_MAX_LAYERS];
	uint32 decoder_out[STK_MAX_LAYERS];
	uint64 width = 0;
	uint32 inputs;
	int n_encoder;
	int n_decoder;
	stk_error err = {0};

	memset(found, 0, sizeof(*found));
	if (names->no_network || (!names->encoder && !names->decoder && !HasLayers(file, encoder) &&
							  !HasLayers(file, decoder)))
		return;
	n_encoder = FindLayers(file, encoder, !names->encoder, &width, found->weights, found->biases,
						   encoder_out);
	inputs = (uint32) found->weights[0]->shape[1];
	CheckOutputs(found->weights[n_encoder - 1], (uint64) dim, "codewords");
	n_decoder = FindLayers(file, decoder, !names->decoder, &width, found->weights + n_encoder,
						   found->biases + n_encoder, decoder_out);
	CheckOutputs(found->weights[n_encoder + n_decoder - 1], inputs, "embeddings");
	if (stk_network_shape(&found->shape, inputs, FindActivation(file, names), encoder_out,
						  n_encoder, decoder_out, n_decoder, &err) != STK_OK)
		SemtokReportStatus(STK_EINVAL, &err, "invalid safetensors file");
	if (stk_safetensors_find(file, MEAN_NAME) || stk_safetensors_find(file, SCALE_NAME))
	{
		found->mean = FindStandard(file, MEAN_NAME, inputs);
		found->scale = FindStandard(file, SCALE_NAME, inputs);
		found->shape.standardized = true;
	}
}

/* All values of a tensor; returns where the next one's go. */
static float *
ReadTensor(const stk_tensor *tensor, float *out)
{
	stk_error err = {0};
	stk_status status = stk_tensor_floats(tensor, 0, tensor->count, out, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "invalid safetensors file");
	for (uint64 i = 0; i < tensor->count; i++)
		if (!isfinite(out[i]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("tensor \"%s\" holds NaN or infinity", tensor->name)));
	return out + tensor->count;
}

void
NetworkReadFloats(const NetworkTensors *found, float *floats)
{
	const stk_network *shape = &found->shape;

	if (shape->standardized)
	{
		floats = ReadTensor(found->mean, floats);
		floats = ReadTensor(found->scale, floats);
	}
	for (int l = 0; l < shape->n_encoder + shape->n_decoder; l++)
	{
		floats = ReadTensor(found->weights[l], floats);
		floats = ReadTensor(found->biases[l], floats);
	}
}

/* Linear layers and activations take turns, as in RecTokens' networks. */
static void
DescribeLayers(StringInfo header, const char *name, const stk_layer *layers, int n, uint64 *offset)
{
	for (int l = 0; l < n; l++)
	{
		const char *full = CodebookTensorName(name, 2 * l);

		CodebookDescribeTensor(header, psprintf("%s" WEIGHT, full), "F32",
							   psprintf("%u,%u", layers[l].out, layers[l].in),
							   (uint64) layers[l].out * layers[l].in * sizeof(float), offset);
		CodebookDescribeTensor(header, psprintf("%s" BIAS, full), "F32",
							   psprintf("%u", layers[l].out), layers[l].out * sizeof(float),
							   offset);
	}
}

void
NetworkDescribe(StringInfo header, const stk_network *net, uint64 *offset)
{
	if (net->standardized)
	{
		char *shape = psprintf("%u", net->inputs);

		CodebookDescribeTensor(header, MEAN_NAME, "F32", shape, net->inputs * sizeof(float),
							   offset);
		CodebookDescribeTensor(header, SCALE_NAME, "F32", shape, net->inputs * sizeof(float),
							   offset);
	}
	DescribeLayers(header, ENCODER_NAME, net->encoder, net->n_encoder, offset);
	DescribeLayers(header, DECODER_NAME, net->decoder, net->n_decoder, offset);
}
