/*
 * Query by example with a tokenizer of the catalog. The query names the tokenizer, so ids of
 * other generations cost infinity. The form that takes a codebook is in src/types/.
 */
#include "postgres.h"

#include "fmgr.h"

#include "core/query.h"
#include "tokenizer/catalog.h"
#include "types/bridge.h"
#include "types/codebook.h"
#include "types/semquery.h"

PG_FUNCTION_INFO_V1(semtok_neighbors_id);
PG_FUNCTION_INFO_V1(semtok_neighbors_name);

static Datum
make_neighbors(const TokenizerRef *ref, Datum embedding)
{
	const stk_codebook *cb = CodebookView(ref->codebook);
	const float *gram = cb->metric == STK_IP ? NULL : CodebookGram(ref->codebook);
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_error err = {.level = -1};
	int dim;
	const float *x = CodebookLatent(cb, EmbeddingArg(embedding, stk_codebook_inputs(cb), &dim));
	uint8 *bytes;
	size_t len;
	stk_status status =
		stk_query_neighbors(cb, ref->info.id, x, gram, &allocator, &bytes, &len, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not make a neighbors query");
	return SemqueryDatum(bytes, len);
}

/* neighbors(tokenizer int, embedding real[]) */
Datum
semtok_neighbors_id(PG_FUNCTION_ARGS)
{
	return make_neighbors(TokenizerRefById(fcinfo, PG_GETARG_INT32(0)), PG_GETARG_DATUM(1));
}

/* neighbors(name text, embedding real[]) */
Datum
semtok_neighbors_name(PG_FUNCTION_ARGS)
{
	return make_neighbors(TokenizerRefByName(fcinfo, PG_GETARG_TEXT_PP(0)), PG_GETARG_DATUM(1));
}
