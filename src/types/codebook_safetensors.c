/*
 * codebook: import from and export to safetensors.
 *
 * Written: one F32 tensor [K_l, D] a level, "codebooks.0", "codebooks.1", …, and the metric in
 * the metadata. Read: the same names, or one tensor "codebooks" [L, K, D]; F32, F16, BF16 or F64;
 * other tensors are ignored, so a whole checkpoint can be given.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "core/safetensors.h"
#include "types/bridge.h"
#include "types/codebook.h"

/* The header is padded to a multiple of this, which aligns the tensors. */
#define HEADER_ALIGNMENT 8

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

static void
CheckDims(const stk_tensor *tensor, int ndim)
{
	if (tensor->ndim != ndim)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected tensor \"%s\" to have %d dimensions, not %d", tensor->name,
							   ndim, tensor->ndim)));
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

/* Is this the name of a level after `level`? */
static bool
IsLaterLevel(const char *name, int level)
{
	static const char prefix[] = "codebooks.";
	const char *digits = name + strlen(prefix);

	if (strncmp(name, prefix, strlen(prefix)) != 0 || *digits == '\0' || *digits == '0' ||
		strspn(digits, "0123456789") != strlen(digits))
		return false;
	return strlen(digits) > 9 || atoi(digits) > level;
}

static void
FindLevels(const stk_safetensors *file, Shape *shape)
{
	const stk_tensor *stacked = stk_safetensors_find(file, "codebooks");

	for (;;)
	{
		char name[32];
		const stk_tensor *tensor;

		snprintf(name, sizeof(name), "codebooks.%d", shape->levels);
		tensor = stk_safetensors_find(file, name);
		if (tensor == NULL)
			break;
		CheckDims(tensor, 2);
		AddLevel(shape, tensor, 0, tensor->shape[0], tensor->shape[1]);
	}
	for (size_t i = 0; i < file->n; i++)
		if (IsLaterLevel(file->tensors[i].name, shape->levels))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("tensor \"codebooks.%d\" is missing", shape->levels),
							errdetail("There is a tensor \"%s\".", file->tensors[i].name)));
	if (stacked)
	{
		if (shape->levels > 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected tensors \"codebooks.0\", ... or one tensor "
								   "\"codebooks\", not both")));
		CheckDims(stacked, 3);
		for (uint64 l = 0; l < stacked->shape[0]; l++)
			AddLevel(shape, stacked, l * stacked->shape[1] * stacked->shape[2], stacked->shape[1],
					 stacked->shape[2]);
	}
	if (shape->levels == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected tensors \"codebooks.0\", ... or a tensor \"codebooks\""),
						errdetail("The file has %zu tensors.", file->n)));
}

/* codebook_from_safetensors(file bytea, metric text): metric null is the file's own, or l2 */
PG_FUNCTION_INFO_V1(codebook_from_safetensors);
Datum
codebook_from_safetensors(PG_FUNCTION_ARGS)
{
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	stk_metric metric = STK_L2;
	Shape shape = {0};
	stk_safetensors file;
	stk_error err = {0};
	stk_status status;
	struct varlena *v;
	float *out;
	bytea *in;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	in = PG_GETARG_BYTEA_PP(0);
	status = stk_safetensors_read((const uint8 *) VARDATA_ANY(in), VARSIZE_ANY_EXHDR(in), &a, &file,
								  &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "invalid safetensors file");
	if (!PG_ARGISNULL(1))
		metric = CodebookParseMetric(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	else if (file.metric)
		metric = CodebookParseMetric(file.metric);

	FindLevels(&file, &shape);
	v = CodebookAllocate(metric, shape.levels, shape.sizes, shape.dim, &out);
	for (int l = 0; l < shape.levels; l++)
	{
		uint64 count = (uint64) shape.sizes[l] * shape.dim;

		status = stk_tensor_floats(shape.level[l].tensor, shape.level[l].first, count, out, &err);
		if (status != STK_OK)
			SemtokReportStatus(status, &err, "invalid safetensors file");
		out += count;
	}
	stk_safetensors_free(&file);
	CodebookCheckFinite(v);
	PG_FREE_IF_COPY(in, 0);
	PG_RETURN_POINTER(v);
}

PG_FUNCTION_INFO_V1(codebook_to_safetensors);
Datum
codebook_to_safetensors(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_CODEBOOK_P(0);
	stk_codebook view;
	uint64 offset = 0;
	StringInfoData out;
	uint64 header_len;

	CodebookReadView(v, &view);
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ + sizeof(uint64));
	appendStringInfo(&out, "{\"__metadata__\":{\"format\":\"pt\",\"metric\":\"%s\"}",
					 stk_metric_name(view.metric));
	for (int l = 0; l < view.levels; l++)
	{
		uint64 bytes = (uint64) view.sizes[l] * view.dim * sizeof(float);

		appendStringInfo(&out,
						 ",\"codebooks.%d\":{\"dtype\":\"F32\",\"shape\":[%u,%d],"
						 "\"data_offsets\":[" UINT64_FORMAT "," UINT64_FORMAT "]}",
						 l, view.sizes[l], view.dim, offset, offset + bytes);
		offset += bytes;
	}
	appendStringInfoChar(&out, '}');
	while ((out.len - VARHDRSZ) % HEADER_ALIGNMENT != 0)
		appendStringInfoChar(&out, ' ');
	header_len = out.len - VARHDRSZ - sizeof(uint64);
	memcpy(out.data + VARHDRSZ, &header_len, sizeof(uint64));
	appendBinaryStringInfo(&out, (const char *) view.codewords[0], (int) offset);
	SET_VARSIZE(out.data, out.len);
	PG_RETURN_BYTEA_P((bytea *) out.data);
}
