/*
 * semtok.encode and semtok.decode: embeddings to semantic IDs and back.
 */
#include "postgres.h"

#include "fmgr.h"
#include "tokenizer/encode.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "storage/shmem.h"

PG_FUNCTION_INFO_V1(semtok_encode_codebook);
PG_FUNCTION_INFO_V1(semtok_encode_id);
PG_FUNCTION_INFO_V1(semtok_encode_name);
PG_FUNCTION_INFO_V1(semtok_decode_codebook);
PG_FUNCTION_INFO_V1(semtok_decode_id);
PG_FUNCTION_INFO_V1(semtok_decode_name);
PG_FUNCTION_INFO_V1(semtok_decode_semid);

Datum
EncodeEmbedding(CodebookEntry *entry, int32 tokenizer, Datum embedding, int32 beam)
{
	const stk_codebook *cb = CodebookView(entry);
	stk_semid id = {.tokenizer = (uint32) tokenizer, .levels = cb->levels};
	stk_exec exec = SemtokExec(CurrentMemoryContext);
	stk_error err = {.level = -1};
	int dim;

	const float *x = EmbeddingArg(embedding, stk_codebook_inputs(cb), &dim);
	stk_status status =
		stk_rq_encode(CodebookQuantizer(entry, beam), &exec, x, 1, beam, id.codes, NULL, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not encode embedding");
	return SemidMakeDatum(&id);
}

int32
EncodeBeamArg(FunctionCallInfo fcinfo, int argno, int32 own)
{
	int32 beam = PG_ARGISNULL(argno) ? own : PG_GETARG_INT32(argno);

	if (beam < 1 || beam > ENCODE_MAX_BEAM)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a beam of 1 to %d, not %d", ENCODE_MAX_BEAM, beam)));
	return beam;
}

/* semtok.encode(codebook, real[], beam int) */
Datum
semtok_encode_codebook(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	return EncodeEmbedding(CodebookArg(fcinfo, 0), 0, PG_GETARG_DATUM(1),
						   EncodeBeamArg(fcinfo, 2, 1));
}

static Datum
EncodeWith(FunctionCallInfo fcinfo, const TokenizerRef *ref)
{
	return EncodeEmbedding(ref->codebook, ref->info.id, PG_GETARG_DATUM(1),
						   EncodeBeamArg(fcinfo, 2, ref->info.beam));
}

/* semtok.encode(tokenizer int, real[], beam int) */
Datum
semtok_encode_id(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	return EncodeWith(fcinfo, TokenizerRefById(fcinfo, PG_GETARG_INT32(0)));
}

/* semtok.encode(name text, real[], beam int) */
Datum
semtok_encode_name(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	return EncodeWith(fcinfo, TokenizerRefByName(fcinfo, PG_GETARG_TEXT_PP(0)));
}

/*
 * Reconstruct. Codes beyond the codebook's levels (they only tell items apart) do not count; fewer
 * give a coarser reconstruction.
 */
static Datum
DecodeSemid(CodebookEntry *entry, const stk_semid *id)
{
	const stk_codebook *cb = CodebookView(entry);
	stk_exec exec = SemtokExec(CurrentMemoryContext);
	float *x = palloc(mul_size(stk_codebook_inputs(cb), sizeof(float)));
	stk_error err = {.level = -1};
	stk_status status =
		stk_rq_reconstruct(cb, &exec, id->codes, Min(id->levels, cb->levels), x, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not decode semantic ID");
	return PointerGetDatum(EmbeddingArray(x, stk_codebook_inputs(cb)));
}

static Datum
DecodeWith(const TokenizerRef *ref, struct varlena *sid)
{
	stk_semid id;

	SemidUnpack(sid, &id);
	if (id.tokenizer != 0 && id.tokenizer != (uint32) ref->info.id)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a semantic ID of tokenizer %d, not %u", ref->info.id,
							   id.tokenizer),
						errhint("semtok.decode(sid) uses the tokenizer that the ID names.")));
	return DecodeSemid(ref->codebook, &id);
}

/* semtok.decode(codebook, semid) */
Datum
semtok_decode_codebook(PG_FUNCTION_ARGS)
{
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(1), &id);
	return DecodeSemid(CodebookArg(fcinfo, 0), &id);
}

/* semtok.decode(tokenizer int, semid) */
Datum
semtok_decode_id(PG_FUNCTION_ARGS)
{
	return DecodeWith(TokenizerRefById(fcinfo, PG_GETARG_INT32(0)), PG_GETARG_SEMID_PP(1));
}

/* semtok.decode(name text, semid) */
Datum
semtok_decode_name(PG_FUNCTION_ARGS)
{
	return DecodeWith(TokenizerRefByName(fcinfo, PG_GETARG_TEXT_PP(0)), PG_GETARG_SEMID_PP(1));
}

/* semtok.decode(semid) */
Datum
semtok_decode_semid(PG_FUNCTION_ARGS)
{
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	if (id.tokenizer == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the semantic ID names no tokenizer"),
						errhint("Call semtok.decode(tokenizer, sid).")));
	return DecodeSemid(TokenizerRefById(fcinfo, (int32) id.tokenizer)->codebook, &id);
}
