/*
 * semtok.encode_trace and semtok.encode_candidates: how an embedding is encoded, and what it could
 * have been encoded to.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "tokenizer/catalog.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(semtok_encode_trace_id);
PG_FUNCTION_INFO_V1(semtok_encode_trace_name);
PG_FUNCTION_INFO_V1(semtok_encode_candidates_id);
PG_FUNCTION_INFO_V1(semtok_encode_candidates_name);

static Datum
EncodeTrace(FunctionCallInfo fcinfo, const TokenizerInfo *info)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CodebookEntry *entry = TokenizerCodebook(info, CurrentMemoryContext);
	const stk_codebook *cb = CodebookView(entry);
	stk_exec exec = SemtokExec(CurrentMemoryContext);
	stk_rq_step steps[STK_MAX_LEVELS];
	stk_error err = {.level = -1};
	stk_status status;
	const float *x;
	int dim;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	x = EmbeddingArg(PG_GETARG_DATUM(1), stk_codebook_inputs(cb), &dim);
	status = stk_rq_trace(CodebookQuantizer(entry, 1), &exec, x, steps, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not encode embedding");
	for (int l = 0; l < cb->levels; l++)
	{
		const stk_rq_step *step = &steps[l];
		Datum values[] = {Int32GetDatum(l),
						  Int32GetDatum(step->code),
						  Float8GetDatum(step->distance),
						  Float8GetDatum(step->residual_norm),
						  Int32GetDatum(step->second),
						  Float8GetDatum(step->margin)};
		bool nulls[] = {false, false, false, false, !step->has_second, !step->has_second};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* semtok.encode_trace(tokenizer int, real[]) */
Datum
semtok_encode_trace_id(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetById(PG_GETARG_INT32(0), &info);
	return EncodeTrace(fcinfo, &info);
}

/* semtok.encode_trace(name text, real[]) */
Datum
semtok_encode_trace_name(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0, &info);
	return EncodeTrace(fcinfo, &info);
}

static Datum
EncodeCandidates(FunctionCallInfo fcinfo, const TokenizerInfo *info)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CodebookEntry *entry = TokenizerCodebook(info, CurrentMemoryContext);
	const stk_codebook *cb = CodebookView(entry);
	stk_exec exec = SemtokExec(CurrentMemoryContext);
	int32 n = PG_GETARG_INT32(2);
	stk_error err = {.level = -1};
	stk_status status;
	uint16_t *codes;
	double *keys;
	size_t found;
	const float *x;
	int dim;

	if (n < 1 || n > ENCODE_MAX_BEAM)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected n of 1 to %d, not %d", ENCODE_MAX_BEAM, n)));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	x = EmbeddingArg(PG_GETARG_DATUM(1), stk_codebook_inputs(cb), &dim);
	codes = palloc(sizeof(uint16_t) * n * cb->levels);
	keys = palloc(sizeof(double) * n);
	status = stk_rq_encode_best(CodebookQuantizer(entry, 1), &exec, x, Max(n, info->beam), n, codes,
								keys, &found, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not encode embedding");
	for (size_t i = 0; i < found; i++)
	{
		stk_semid id = {.tokenizer = (uint32) info->id, .levels = cb->levels};
		/* Sums of rounded terms: an id that meets the embedding may come out below 0. */
		double distortion = cb->metric == STK_IP ? keys[i] : Max(keys[i], 0);
		Datum values[2];
		bool nulls[2] = {false, false};

		memcpy(id.codes, codes + i * cb->levels, sizeof(uint16_t) * cb->levels);
		values[0] = SemidMakeDatum(&id);
		values[1] = Float8GetDatum(distortion);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* semtok.encode_candidates(tokenizer int, real[], n int) */
Datum
semtok_encode_candidates_id(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetById(PG_GETARG_INT32(0), &info);
	return EncodeCandidates(fcinfo, &info);
}

/* semtok.encode_candidates(name text, real[], n int) */
Datum
semtok_encode_candidates_name(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0, &info);
	return EncodeCandidates(fcinfo, &info);
}
