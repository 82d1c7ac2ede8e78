/*
 * semtok.import_tokenizer and semtok.register_tokenizer: tokenizers that were not trained here.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "tokenizer/args.h"
#include "tokenizer/import.h"
#include "tokenizer/train_options.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

PG_FUNCTION_INFO_V1(semtok_import_tokenizer);
PG_FUNCTION_INFO_V1(semtok_register_tokenizer);

int32
ImportArgId(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? 0 : ArgInt(fcinfo, argno, "id", 1, PG_INT32_MAX);
}

Jsonb *
ImportNoOptions(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

static void
ImportCheckCounts(const double *counts, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (!(counts[k] >= 0) || isinf(counts[k]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected counts of 0 or more, not %g", counts[k])));
}

int32
ImportInsert(NewTokenizer *tokenizer)
{
	CodebookEntry *entry = CodebookPin(tokenizer->codebook, CurrentMemoryContext);
	const stk_codebook *cb = CodebookView(entry);

	if (tokenizer->counts)
		ImportCheckCounts(tokenizer->counts, TokenizerCodewords(cb->levels, cb->sizes));
	tokenizer->method = "imported";
	return TokenizerInsert(tokenizer);
}

/* The argument counts, of any shape, in the order of levels and codes; NULL when it is null. */
static const double *
ImportArgCounts(FunctionCallInfo fcinfo, int argno, const stk_codebook *cb)
{
	size_t codewords = TokenizerCodewords(cb->levels, cb->sizes);
	ArrayType *counts;
	int n;

	if (PG_ARGISNULL(argno))
		return NULL;
	counts = PG_GETARG_ARRAYTYPE_P(argno);
	n = ArrayGetNItems(ARR_NDIM(counts), ARR_DIMS(counts));
	if ((size_t) n != codewords)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected counts of %zu codewords, not %d", codewords, n)));
	if (array_contains_nulls(counts))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a value of counts must not be null")));
	return (const double *) ARR_DATA_PTR(counts);
}

/* semtok.import_tokenizer(name text, codebook codebook, id int, counts float8[], options jsonb) */
Datum
semtok_import_tokenizer(PG_FUNCTION_ARGS)
{
	NewTokenizer tokenizer = {.name = ArgText(fcinfo, 0, "name"), .id = ImportArgId(fcinfo, 2)};
	stk_codebook cb;

	ArgRequire(fcinfo, 1, "codebook");
	tokenizer.options = PG_ARGISNULL(4) ? ImportNoOptions() : PG_GETARG_JSONB_P(4);
	TrainOptionsCheckImported(tokenizer.options);
	TokenizerCheckWritable("semtok.import_tokenizer()", tokenizer.name);

	struct varlena *codebook = PG_GETARG_CODEBOOK_P(1);

	CodebookReadView(codebook, &cb);
	tokenizer.codebook = PointerGetDatum(codebook);
	tokenizer.counts = ImportArgCounts(fcinfo, 3, &cb);
	PG_RETURN_INT32(ImportInsert(&tokenizer));
}

/* semtok.register_tokenizer(name text, sizes int[], id int) */
Datum
semtok_register_tokenizer(PG_FUNCTION_ARGS)
{
	NewTokenizer tokenizer = {.name = ArgText(fcinfo, 0, "name"),
							  .method = "registered",
							  .id = ImportArgId(fcinfo, 2),
							  .options = ImportNoOptions()};
	uint32 sizes[STK_MAX_LEVELS];

	tokenizer.levels = ArgSizes(fcinfo, 1, "sizes", sizes);
	tokenizer.sizes = sizes;
	TokenizerCheckWritable("semtok.register_tokenizer()", tokenizer.name);
	PG_RETURN_INT32(TokenizerInsert(&tokenizer));
}
