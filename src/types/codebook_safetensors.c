/*
 * codebook: import from and export to safetensors.
 *
 * Written: one F32 tensor [K_l, D] a level, "codebooks.0", "codebooks.1", …, and the metric in
 * the metadata; counts as F64 tensors [K_l], "counts.0", …. Read: the same names, or one tensor
 * "codebooks" [L, K, D], or those of RecTokens' RQVAETokenizer, which are written where there is a
 * network (network_safetensors.c); or names that are given. Other tensors are ignored, so a whole
 * checkpoint can be given.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "types/bridge.h"
#include "types/codebook_safetensors.h"
#include "types/network_safetensors.h"

/* The header is padded to a multiple of this, which aligns the tensors. */
#define HEADER_ALIGNMENT 8

/* A level's codewords in the state of RecTokens' RQVAETokenizer. */
#define RECTOKENS_CODEBOOK "rq._module_levels." CODEBOOK_LEVEL_MARK "._codebook.embeddings"

/* A level's values within a tensor. */
typedef struct Level
{
	const stk_tensor *tensor;
	uint64 first; /* value */
} Level;

typedef struct Shape
{
	int levels;
	int dim;
	uint32 sizes[STK_MAX_LEVELS];
	Level level[STK_MAX_LEVELS];
} Shape;

/* The last ndim dimensions of a tensor; libraries that train several at once put a 1 in front. */
static const uint64 *
TensorShape(const stk_tensor *tensor, int ndim)
{
	int extra = tensor->ndim - ndim;
	bool fits = extra >= 0;

	for (int i = 0; i < extra; i++)
		fits = fits && tensor->shape[i] == 1;
	if (!fits)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected tensor \"%s\" to have %d dimensions, not %d", tensor->name,
							   ndim, tensor->ndim)));
	return tensor->shape + extra;
}

static void
AddLevel(Shape *shape, const stk_tensor *tensor, uint64 first, uint64 size, uint64 dim)
{
	int l = shape->levels;

	if (l == STK_MAX_LEVELS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a codebook cannot have more than %d levels", STK_MAX_LEVELS)));
	if (size < 1 || size > STK_MAX_CODES || dim < 1 || dim > STK_MAX_DIM)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "expected 1 to %d codes of 1 to %d dimensions in tensor \"%s\", not " UINT64_FORMAT
				 " of " UINT64_FORMAT,
				 STK_MAX_CODES, STK_MAX_DIM, tensor->name, size, dim)));
	if (l > 0 && dim != (uint64) shape->dim)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %d dimensions in tensor \"%s\", not " UINT64_FORMAT,
							   shape->dim, tensor->name, dim)));
	shape->dim = (int) dim;
	shape->sizes[l] = (uint32) size;
	shape->level[l].tensor = tensor;
	shape->level[l].first = first;
	shape->levels++;
}

char *
CodebookTensorName(const char *name, int number)
{
	const char *mark = strstr(name, CODEBOOK_LEVEL_MARK);

	return psprintf("%.*s%d%s", (int) (mark - name), name, number,
					mark + strlen(CODEBOOK_LEVEL_MARK));
}

/* Is this what the name is for a level of a higher number? */
static bool
IsLaterLevel(const char *tensor, const char *name, int number)
{
	const char *mark = strstr(name, CODEBOOK_LEVEL_MARK);
	const char *digits;
	size_t n;

	if (strncmp(tensor, name, mark - name) != 0)
		return false;
	digits = tensor + (mark - name);
	n = strspn(digits, "0123456789");
	if (n == 0 || *digits == '0' || strcmp(digits + n, mark + strlen(CODEBOOK_LEVEL_MARK)) != 0)
		return false;
	return n > 9 || atoi(digits) > number;
}

/*
 * The tensors of the levels, as many as there are, at most one more than ids can have levels; a gap
 * in their numbers is an error.
 */
static int
FindLevelTensors(const stk_safetensors *file, const char *name, int first,
				 const stk_tensor **tensors)
{
	int levels = 0;

	while (levels <= STK_MAX_LEVELS)
	{
		char *full = CodebookTensorName(name, first + levels);

		tensors[levels] = stk_safetensors_find(file, full);
		pfree(full);
		if (!tensors[levels])
			break;
		levels++;
	}
	for (size_t i = 0; i < file->n && levels <= STK_MAX_LEVELS; i++)
		if (IsLaterLevel(file->tensors[i].name, name, first + levels))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("tensor \"%s\" is missing", CodebookTensorName(name, first + levels)),
					 errdetail("There is a tensor \"%s\".", file->tensors[i].name)));
	return levels;
}

static void
AddLevelTensors(const stk_safetensors *file, const char *name, int first, Shape *shape)
{
	const stk_tensor *tensors[STK_MAX_LEVELS + 1];
	int levels = FindLevelTensors(file, name, first, tensors);

	for (int l = 0; l < levels; l++)
	{
		const uint64 *dims = TensorShape(tensors[l], 2);

		AddLevel(shape, tensors[l], 0, dims[0], dims[1]);
	}
}

static void
AddStacked(const stk_tensor *stacked, Shape *shape)
{
	const uint64 *dims = TensorShape(stacked, 3);

	for (uint64 l = 0; l < dims[0]; l++)
		AddLevel(shape, stacked, l * dims[1] * dims[2], dims[1], dims[2]);
}

/* A file without what was asked for. */
static void
TensorsMissing(const stk_safetensors *file, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("expected %s", expected),
			 errdetail("The file has %zu tensors%s%s%s.", file->n, file->n ? ", such as \"" : "",
					   file->n ? file->tensors[0].name : "", file->n ? "\"" : "")));
}

static void
FindDefaultLevels(const stk_safetensors *file, int first, Shape *shape)
{
	static const char name[] = "codebooks." CODEBOOK_LEVEL_MARK;
	const stk_tensor *stacked = stk_safetensors_find(file, "codebooks");

	AddLevelTensors(file, name, first, shape);
	if (stacked && shape->levels > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected tensors \"%s\", ... or one tensor \"codebooks\", not both",
							   CodebookTensorName(name, first))));
	if (stacked)
		AddStacked(stacked, shape);
	if (shape->levels == 0)
		AddLevelTensors(file, RECTOKENS_CODEBOOK, first, shape);
	if (shape->levels == 0)
		TensorsMissing(file, psprintf("tensors \"%s\", ... or a tensor \"codebooks\"",
									  CodebookTensorName(name, first)));
}

static void
FindNamedLevels(const stk_safetensors *file, const CodebookNames *names, Shape *shape)
{
	const stk_tensor *stacked;

	if (strstr(names->codebooks, CODEBOOK_LEVEL_MARK))
	{
		AddLevelTensors(file, names->codebooks, names->first, shape);
		if (shape->levels == 0)
			TensorsMissing(file, psprintf("tensors \"%s\", ...",
										  CodebookTensorName(names->codebooks, names->first)));
		return;
	}
	stacked = stk_safetensors_find(file, names->codebooks);
	if (!stacked)
		TensorsMissing(file, psprintf("a tensor \"%s\"", names->codebooks));
	AddStacked(stacked, shape);
}

void
CodebookReadFile(const bytea *bytes, const stk_allocator *a, stk_safetensors *file)
{
	stk_error err = {0};
	stk_status status = stk_safetensors_read((const uint8 *) VARDATA_ANY(bytes),
											 VARSIZE_ANY_EXHDR(bytes), a, file, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "invalid safetensors file");
}

struct varlena *
CodebookFromFile(const stk_safetensors *file, const CodebookNames *names, stk_metric metric)
{
	Shape shape = {0};
	stk_error err = {0};
	NetworkTensors network;
	stk_codebook whole;
	struct varlena *v;
	float *out;

	if (names->codebooks)
		FindNamedLevels(file, names, &shape);
	else
		FindDefaultLevels(file, names->first, &shape);
	NetworkFind(file, names, shape.dim, &network);
	whole = CodebookShape(metric, shape.levels, shape.sizes, shape.dim);
	whole.network = network.shape;
	v = CodebookAllocate(&whole, &out);
	for (int l = 0; l < shape.levels; l++)
	{
		uint64 count = (uint64) shape.sizes[l] * shape.dim;
		stk_status status =
			stk_tensor_floats(shape.level[l].tensor, shape.level[l].first, count, out, &err);

		if (status != STK_OK)
			SemtokReportStatus(status, &err, "invalid safetensors file");
		out += count;
	}
	NetworkReadFloats(&network, out);
	CodebookCheckFinite(v);
	return v;
}

/* The values of a tensor that counts `expected` codewords. */
static void
ReadCounts(const stk_tensor *tensor, uint64 expected, double *counts)
{
	stk_error err = {0};
	stk_status status;

	if (tensor->count != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected " UINT64_FORMAT " values in tensor \"%s\", not " UINT64_FORMAT,
						expected, tensor->name, tensor->count)));
	status = stk_tensor_doubles(tensor, 0, expected, counts, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "invalid safetensors file");
}

double *
CodebookFileCounts(const stk_safetensors *file, const CodebookNames *names, int levels,
				   const uint32 *sizes)
{
	const char *name = names->counts ? names->counts : "counts." CODEBOOK_LEVEL_MARK;
	const stk_tensor *tensors[STK_MAX_LEVELS + 1];
	const stk_tensor *flat = NULL;
	int found = 0;
	uint64 codewords = 0;
	double *counts;
	uint64 at = 0;

	if (strstr(name, CODEBOOK_LEVEL_MARK))
		found = FindLevelTensors(file, name, names->first, tensors);
	else
		flat = stk_safetensors_find(file, name);
	if (!names->counts && found == 0)
		flat = stk_safetensors_find(file, "counts");
	if (found == 0 && !flat)
	{
		if (names->counts)
			TensorsMissing(file,
						   psprintf("a tensor \"%s\"", strstr(name, CODEBOOK_LEVEL_MARK)
														   ? CodebookTensorName(name, names->first)
														   : name));
		return NULL;
	}
	if (!flat && found != levels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected counts of %d levels, not %d", levels, found)));

	for (int l = 0; l < levels; l++)
		codewords += sizes[l];
	counts = palloc(codewords * sizeof(double));
	if (flat)
		ReadCounts(flat, codewords, counts);
	for (int l = 0; l < levels && !flat; l++)
	{
		ReadCounts(tensors[l], sizes[l], counts + at);
		at += sizes[l];
	}
	return counts;
}

/* codebook_from_safetensors(file bytea, metric text): metric null is the file's own, or l2 */
PG_FUNCTION_INFO_V1(codebook_from_safetensors);
Datum
codebook_from_safetensors(PG_FUNCTION_ARGS)
{
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	CodebookNames names = {0};
	stk_safetensors file;
	stk_metric metric = STK_L2;
	struct varlena *v;
	bytea *in;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	in = PG_GETARG_BYTEA_PP(0);
	CodebookReadFile(in, &a, &file);
	if (!PG_ARGISNULL(1))
		metric = CodebookParseMetric(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	else if (file.metric)
		metric = CodebookParseMetric(file.metric);
	v = CodebookFromFile(&file, &names, metric);
	stk_safetensors_free(&file);
	PG_FREE_IF_COPY(in, 0);
	PG_RETURN_POINTER(v);
}

void
CodebookDescribeTensor(StringInfo header, const char *name, const char *dtype, const char *shape,
					   uint64 bytes, uint64 *offset)
{
	appendStringInfo(header,
					 ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
					 "\"data_offsets\":[" UINT64_FORMAT "," UINT64_FORMAT "]}",
					 name, dtype, shape, *offset, *offset + bytes);
	*offset += bytes;
}

/* The format wants UTF-8. */
static void
AppendMetadata(StringInfo out, const stk_codebook *cb, const char *options)
{
	StringInfoData json;

	appendStringInfo(out, "{\"__metadata__\":{\"format\":\"pt\",\"metric\":\"%s\"",
					 stk_metric_name(cb->metric));
	if (cb->network.inputs)
		appendStringInfo(out, ",\"activation\":\"%s\"",
						 stk_activation_name(cb->network.activation));
	if (options)
	{
		initStringInfo(&json);
		escape_json(&json, options);
		appendStringInfo(out, ",\"semtok.options\":%s",
						 pg_server_to_any(json.data, json.len, PG_UTF8));
		pfree(json.data);
	}
	appendStringInfoChar(out, '}');
}

bytea *
CodebookMakeFile(const stk_codebook *cb, const double *counts, const char *options)
{
	const stk_network *net = &cb->network;
	const char *name = net->inputs ? RECTOKENS_CODEBOOK : "codebooks." CODEBOOK_LEVEL_MARK;
	Size network_bytes = stk_network_floats(net) * sizeof(float);
	uint64 codewords = 0;
	uint64 offset = 0;
	StringInfoData out;
	uint64 header_len;

	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ + sizeof(uint64));
	AppendMetadata(&out, cb, options);
	/* The wider values first, so that all are aligned. */
	for (int l = 0; l < cb->levels && counts; l++)
		CodebookDescribeTensor(&out, psprintf("counts.%d", l), "F64", psprintf("%u", cb->sizes[l]),
							   (uint64) cb->sizes[l] * sizeof(double), &offset);
	for (int l = 0; l < cb->levels; l++)
	{
		CodebookDescribeTensor(&out, CodebookTensorName(name, l), "F32",
							   psprintf("%u,%d", cb->sizes[l], cb->dim),
							   (uint64) cb->sizes[l] * cb->dim * sizeof(float), &offset);
		codewords += cb->sizes[l];
	}
	if (net->inputs)
		NetworkDescribe(&out, net, &offset);
	appendStringInfoChar(&out, '}');
	while ((out.len - VARHDRSZ) % HEADER_ALIGNMENT != 0)
		appendStringInfoChar(&out, ' ');
	header_len = out.len - VARHDRSZ - sizeof(uint64);
	memcpy(out.data + VARHDRSZ, &header_len, sizeof(uint64));
	/* A codebook is smaller than a datum may be, so both parts have lengths of type int. */
	if (counts)
		appendBinaryStringInfo(&out, (const char *) counts, (int) (codewords * sizeof(double)));
	appendBinaryStringInfo(&out, (const char *) cb->codewords[0],
						   (int) (codewords * cb->dim * sizeof(float)));
	enlargeStringInfo(&out, (int) network_bytes);
	if (net->inputs)
		stk_network_copy(net, (float *) (out.data + out.len));
	out.len += (int) network_bytes;
	SET_VARSIZE(out.data, out.len);
	return (bytea *) out.data;
}

PG_FUNCTION_INFO_V1(codebook_to_safetensors);
Datum
codebook_to_safetensors(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_CODEBOOK_P(0);
	stk_codebook view;

	CodebookReadView(v, &view);
	PG_RETURN_BYTEA_P(CodebookMakeFile(&view, NULL, NULL));
}
