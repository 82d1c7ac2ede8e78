/*
 * codebook: text I/O. The text is JSON,
 *
 *    {"dim":128,"sizes":[256,256,256],"metric":"l2","data":"<base64>"}
 *
 * where data is the codewords, level by level, code by code, as little-endian binary32.
 */
#include "postgres.h"

#include "types/codebook.h"
#include "types/flatjson.h"

#define TYPE "codebook"

enum
{
	DIM,
	SIZES,
	METRIC,
	DATA,
	KEYS
};

PG_FUNCTION_INFO_V1(codebook_in);
Datum
codebook_in(PG_FUNCTION_ARGS)
{
	FlatJsonKey keys[KEYS] = {
		[DIM] = {.name = "dim", .kind = FLAT_JSON_NUMBER},
		[SIZES] = {.name = "sizes", .kind = FLAT_JSON_NUMBERS},
		[METRIC] = {.name = "metric", .kind = FLAT_JSON_STRING},
		[DATA] = {.name = "data", .kind = FLAT_JSON_STRING},
	};
	uint32 sizes[STK_MAX_LEVELS];
	stk_metric metric;
	float *codewords;
	struct varlena *v;
	char *data;
	int data_len;
	Size codes = 0;
	Size bytes;

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
		codes += sizes[l];
	}
	if (stk_metric_parse(keys[METRIC].string, &metric) != STK_OK)
		FlatJsonError(
			TYPE, psprintf("Expected metric l2, ip or cosine, not \"%s\".", keys[METRIC].string));

	/* Decode before the datum is made: a short text must not ask for a large allocation. */
	data = FlatJsonDecode(TYPE, &keys[DATA], &data_len);
	bytes = codes * keys[DIM].number * sizeof(float);
	if ((Size) data_len != bytes)
		FlatJsonError(
			TYPE, psprintf("Expected %zu bytes of data for this shape, not %d.", bytes, data_len));
	v = CodebookAllocate(metric, keys[SIZES].n, sizes, keys[DIM].number, &codewords);
	memcpy(codewords, data, bytes);
	pfree(data);
	CodebookCheckFinite(v);
	PG_RETURN_POINTER(v);
}

PG_FUNCTION_INFO_V1(codebook_out);
Datum
codebook_out(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_CODEBOOK_P(0);
	stk_codebook view;
	const char *data;
	StringInfoData text;

	CodebookReadView(v, &view);
	data = (const char *) view.codewords[0];
	initStringInfo(&text);
	appendStringInfo(&text, "{\"dim\":%d,\"sizes\":[", view.dim);
	for (int l = 0; l < view.levels; l++)
		appendStringInfo(&text, "%s%u", l > 0 ? "," : "", view.sizes[l]);
	appendStringInfo(&text, "],\"metric\":\"%s\",\"data\":\"", stk_metric_name(view.metric));
	FlatJsonAppendBase64(&text, data, (int) ((char *) v + VARSIZE(v) - data));
	appendStringInfoString(&text, "\"}");
	PG_RETURN_CSTRING(text.data);
}
