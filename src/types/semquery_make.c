/*
 * The functions that make semqueries: semtok.logits and semtok.neighbors.
 */
#include "postgres.h"

#include "types/semquery.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "types/bridge.h"
#include "types/codebook.h"
#include "types/sizes.h"

/* An array [levels][codes] gives its own sizes. Returns the number of levels. */
static int
SizesOfMatrix(ArrayType *logits, uint32 *sizes)
{
	int levels = ARR_DIMS(logits)[0];
	int codes = ARR_DIMS(logits)[1];

	if (levels > STK_MAX_LEVELS || codes > STK_MAX_CODES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected at most %d levels of %d logits, not %d of %d",
							   STK_MAX_LEVELS, STK_MAX_CODES, levels, codes)));
	for (int l = 0; l < levels; l++)
		sizes[l] = (uint32) codes;
	return levels;
}

/* Sizes of the levels, from the argument or from the shape of the logits. */
static int
LogitsSizes(ArrayType *logits, ArrayType *given, uint32 *sizes)
{
	int n = ArrayGetNItems(ARR_NDIM(logits), ARR_DIMS(logits));
	int levels;
	int64 total = 0;

	if (ARR_NDIM(logits) > 2)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("expected logits of one or two dimensions, not %d", ARR_NDIM(logits))));
	if (given == NULL)
	{
		if (ARR_NDIM(logits) != 2)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("logits in a one-dimensional array need sizes"),
							errhint("Pass the number of codes of each level, such as '{256,256}', "
									"or a two-dimensional array with a row a level.")));
		return SizesOfMatrix(logits, sizes);
	}
	levels = SizesArg(given, "sizes", sizes);
	for (int l = 0; l < levels; l++)
		total += sizes[l];
	if (total != n)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected " INT64_FORMAT " logits, not %d", total, n)));
	if (ARR_NDIM(logits) == 2)
	{
		bool equal = levels == ARR_DIMS(logits)[0];

		for (int l = 0; l < levels; l++)
			equal = equal && (int64) sizes[l] == ARR_DIMS(logits)[1];
		if (!equal)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("sizes contradict the shape of the logits"),
							errdetail("There are %d levels of %d logits.", ARR_DIMS(logits)[0],
									  ARR_DIMS(logits)[1])));
	}
	return levels;
}

/* logits(logits real[], sizes int[], tokenizer int, norm text, within semset) */
PG_FUNCTION_INFO_V1(semtok_logits);
Datum
semtok_logits(PG_FUNCTION_ARGS)
{
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	ArrayType *logits;
	struct varlena *within = NULL;
	uint32 sizes[STK_MAX_LEVELS];
	int levels;
	int32 tokenizer;
	char *norm_name;
	stk_norm norm;
	uint8 *out;
	size_t len;
	stk_error err = {0};
	stk_status status;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", PG_ARGISNULL(2) ? "tokenizer" : "norm")));
	logits = PG_GETARG_ARRAYTYPE_P(0);
	if (array_contains_nulls(logits))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a logit must not be null")));
	levels = LogitsSizes(logits, PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1), sizes);
	tokenizer = PG_GETARG_INT32(2);
	if (tokenizer < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tokenizer must be between 0 and 2147483647, not %d", tokenizer)));
	norm_name = text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (stk_norm_parse(norm_name, &norm) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected norm full, none or masked, not \"%s\"", norm_name)));
	if (!PG_ARGISNULL(4))
		within = (struct varlena *) PG_DETOAST_DATUM(PG_GETARG_DATUM(4));

	status = stk_query_from_logits((const float *) ARR_DATA_PTR(logits), levels, sizes,
								   (uint32) tokenizer, norm,
								   within ? (const uint8 *) VARDATA(within) : NULL,
								   within ? VARSIZE(within) - VARHDRSZ : 0, &a, &out, &len, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not make semquery");
	PG_RETURN_DATUM(SemqueryDatum(out, len));
}

Datum
SemqueryNeighbors(CodebookEntry *codebook, int32 tokenizer, const float *embedding)
{
	const stk_codebook *view = CodebookView(codebook);
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	const float *latent = CodebookLatent(view, embedding);
	const float *gram = NULL;
	uint8 *out;
	size_t len;
	stk_error err = {0};
	stk_status status;

	if (view->metric != STK_IP)
	{
		/* Refuse before the long work what would not fit into a value. */
		if (stk_query_gram_count(view) > MaxAllocSize / sizeof(float))
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("the levels of this codebook are too large for neighbors"),
							errdetail("Their products need %zu values, at most %zu fit.",
									  stk_query_gram_count(view), MaxAllocSize / sizeof(float))));
		gram = CodebookGram(codebook);
	}
	status = stk_query_neighbors(view, (uint32) tokenizer, latent, gram, &a, &out, &len, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not make semquery");
	return SemqueryDatum(out, len);
}

/* neighbors(codebook, embedding real[]): for ids of any tokenizer */
PG_FUNCTION_INFO_V1(semtok_neighbors_codebook);
Datum
semtok_neighbors_codebook(PG_FUNCTION_ARGS)
{
	CodebookEntry *codebook = CodebookArg(fcinfo, 0);
	int dim;
	const float *embedding =
		EmbeddingArg(PG_GETARG_DATUM(1), stk_codebook_inputs(CodebookView(codebook)), &dim);

	PG_RETURN_DATUM(SemqueryNeighbors(codebook, 0, embedding));
}
