/*
 * codebook: making and checking datums, binary I/O, parts, equality.
 */
#include "postgres.h"

#include "types/codebook.h"

#include "catalog/pg_type.h"
#include "common/sha2.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "types/bridge.h"
#include "types/content.h"

#if CODEBOOK_HASH_LENGTH != PG_SHA256_DIGEST_LENGTH
#error "a codebook's hash is its SHA-256"
#endif

void
CodebookReadView(struct varlena *v, stk_codebook *view)
{
	stk_error err = {0};
	stk_status status =
		stk_codebook_view((const uint8 *) VARDATA(v), VARSIZE(v) - VARHDRSZ, view, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not read codebook");
}

stk_codebook
CodebookShape(stk_metric metric, int levels, const uint32 *sizes, int dim)
{
	stk_codebook shape = {.metric = metric, .levels = levels, .dim = dim};

	memcpy(shape.sizes, sizes, sizeof(uint32) * Min(levels, STK_MAX_LEVELS));
	return shape;
}

struct varlena *
CodebookAllocate(const stk_codebook *shape, float **floats)
{
	Size bytes = stk_codebook_stored_bytes(shape);
	struct varlena *v;

	if (bytes == 0)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a codebook has 1 to %d levels of 1 to %d codes and 1 to %d "
							   "dimensions",
							   STK_MAX_LEVELS, STK_MAX_CODES, STK_MAX_DIM)));
	if (bytes > MaxAllocSize - VARHDRSZ)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a codebook cannot be larger than %zu bytes, not %zu",
							   (Size) MaxAllocSize - VARHDRSZ, bytes)));
	v = palloc(VARHDRSZ + bytes);
	SET_VARSIZE(v, VARHDRSZ + bytes);
	*floats = (float *) (VARDATA(v) + stk_codebook_write_shape((uint8 *) VARDATA(v), shape));
	return v;
}

void
CodebookCheckFinite(struct varlena *v)
{
	stk_codebook view;
	stk_error err = {0};
	stk_status status;

	CodebookReadView(v, &view);
	status = stk_codebook_check_finite(&view, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "invalid codebook");
}

stk_metric
CodebookParseMetric(const char *name)
{
	stk_metric metric;

	if (stk_metric_parse(name, &metric) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected metric l2, ip or cosine, not \"%s\"", name)));
	return metric;
}

Datum
CodebookMakeDatum(stk_metric metric, int levels, const uint32 *sizes, int dim,
				  const float *codewords)
{
	stk_codebook shape = CodebookShape(metric, levels, sizes, dim);
	float *out;
	struct varlena *v = CodebookAllocate(&shape, &out);

	memcpy(out, codewords, (char *) v + VARSIZE(v) - (char *) out);
	CodebookCheckFinite(v);
	return PointerGetDatum(v);
}

const float *
CodebookLatent(const stk_codebook *cb, const float *x)
{
	stk_exec exec = SemtokExec(CurrentMemoryContext);
	stk_error err = {.level = -1};
	stk_status status;
	float *latent;

	if (!cb->network.inputs)
		return x;
	latent = palloc(sizeof(float) * cb->dim);
	status = stk_network_encode(&cb->network, &exec, x, 1, latent, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not encode embedding");
	return latent;
}

/* Read the shape only: a toasted codebook is not fetched whole. */
static void
CodebookReadShape(Datum codebook, stk_codebook *shape)
{
	struct varlena *v = PG_DETOAST_DATUM_SLICE(codebook, 0, STK_CODEBOOK_HEADER_MAX);
	stk_error err = {0};
	stk_status status =
		stk_codebook_read_shape((const uint8 *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), shape, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not read codebook");
}

/* The binary form is the stored form. */
PG_FUNCTION_INFO_V1(codebook_recv);
Datum
codebook_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int len = buf->len - buf->cursor;
	struct varlena *v = palloc((Size) VARHDRSZ + len);
	stk_codebook view;
	stk_error err = {0};

	SET_VARSIZE(v, (Size) VARHDRSZ + len);
	pq_copymsgbytes(buf, VARDATA(v), len);
	if (stk_codebook_view((const uint8 *) VARDATA(v), len, &view, &err) != STK_OK ||
		stk_codebook_check_finite(&view, &err) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary representation of a codebook"),
						errdetail_internal("%s", SemtokErrorSentence(&err))));
	PG_RETURN_POINTER(v);
}

PG_FUNCTION_INFO_V1(codebook_send);
Datum
codebook_send(PG_FUNCTION_ARGS)
{
	/* A bytea of the stored form has the very layout of the datum. */
	PG_RETURN_BYTEA_P((bytea *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
}

PG_FUNCTION_INFO_V1(codebook_levels);
Datum
codebook_levels(PG_FUNCTION_ARGS)
{
	stk_codebook shape;

	CodebookReadShape(PG_GETARG_DATUM(0), &shape);
	PG_RETURN_INT32(shape.levels);
}

PG_FUNCTION_INFO_V1(codebook_sizes);
Datum
codebook_sizes(PG_FUNCTION_ARGS)
{
	Datum sizes[STK_MAX_LEVELS];
	stk_codebook shape;

	CodebookReadShape(PG_GETARG_DATUM(0), &shape);
	for (int l = 0; l < shape.levels; l++)
		sizes[l] = Int32GetDatum((int32) shape.sizes[l]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(sizes, shape.levels, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(codebook_dim);
Datum
codebook_dim(PG_FUNCTION_ARGS)
{
	stk_codebook shape;

	CodebookReadShape(PG_GETARG_DATUM(0), &shape);
	PG_RETURN_INT32(stk_codebook_inputs(&shape));
}

PG_FUNCTION_INFO_V1(codebook_latent_dim);
Datum
codebook_latent_dim(PG_FUNCTION_ARGS)
{
	stk_codebook shape;

	CodebookReadShape(PG_GETARG_DATUM(0), &shape);
	PG_RETURN_INT32(shape.dim);
}

PG_FUNCTION_INFO_V1(codebook_metric);
Datum
codebook_metric(PG_FUNCTION_ARGS)
{
	stk_codebook shape;

	CodebookReadShape(PG_GETARG_DATUM(0), &shape);
	PG_RETURN_TEXT_P(cstring_to_text(stk_metric_name(shape.metric)));
}

PG_FUNCTION_INFO_V1(codebook_hash);
Datum
codebook_hash(PG_FUNCTION_ARGS)
{
	uint8 hash[CODEBOOK_HASH_LENGTH];
	text *hex = palloc(VARHDRSZ + 2 * CODEBOOK_HASH_LENGTH);

	ContentComputeHash(PG_GETARG_CODEBOOK_P(0), hash);
	hex_encode((const char *) hash, CODEBOOK_HASH_LENGTH, VARDATA(hex));
	SET_VARSIZE(hex, VARHDRSZ + 2 * CODEBOOK_HASH_LENGTH);
	PG_RETURN_TEXT_P(hex);
}

/* One codeword; of a toasted codebook only its slice is fetched. */
PG_FUNCTION_INFO_V1(codebook_vector);
Datum
codebook_vector(PG_FUNCTION_ARGS)
{
	Datum codebook = PG_GETARG_DATUM(0);
	int32 level = PG_GETARG_INT32(1);
	int32 code = PG_GETARG_INT32(2);
	stk_codebook shape;
	int64 offset;
	int32 bytes;
	struct varlena *v;

	CodebookReadShape(codebook, &shape);
	if (level < 0 || level >= shape.levels)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected a level between 0 and %d, not %d", shape.levels - 1, level)));
	if (code < 0 || (uint32) code >= shape.sizes[level])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected a code between 0 and %u, not %d", shape.sizes[level] - 1, code)));
	offset = code;
	for (int l = 0; l < level; l++)
		offset += shape.sizes[l];
	bytes = shape.dim * (int32) sizeof(float);
	offset = offset * bytes + (int64) stk_codebook_header_bytes(&shape);
	v = PG_DETOAST_DATUM_SLICE(codebook, (int32) offset, bytes);
	if (VARSIZE_ANY_EXHDR(v) != bytes)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("codebook is cut off")));
	PG_RETURN_ARRAYTYPE_P(EmbeddingArray((const float *) VARDATA(v), shape.dim));
}

/* Where codebook_entries stands. */
typedef struct EntriesState
{
	stk_codebook view;
	int level;
	uint32 code;
} EntriesState;

PG_FUNCTION_INFO_V1(codebook_entries);
Datum
codebook_entries(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	EntriesState *state;
	Datum values[3];
	bool nulls[3] = {false, false, false};
	const float *codeword;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		struct varlena *v;

		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &call->tuple_desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->tuple_desc = BlessTupleDesc(call->tuple_desc);
		v = (struct varlena *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0));
		state = palloc0(sizeof(EntriesState));
		CodebookReadView(v, &state->view);
		call->user_fctx = state;
		MemoryContextSwitchTo(old);
	}
	call = SRF_PERCALL_SETUP();
	state = call->user_fctx;
	if (state->level == state->view.levels)
		SRF_RETURN_DONE(call);

	codeword = state->view.codewords[state->level] + (Size) state->code * state->view.dim;
	values[0] = Int32GetDatum(state->level);
	values[1] = Int32GetDatum((int32) state->code);
	values[2] = PointerGetDatum(EmbeddingArray(codeword, state->view.dim));
	if (++state->code == state->view.sizes[state->level])
	{
		state->level++;
		state->code = 0;
	}
	SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(call->tuple_desc, values, nulls)));
}
