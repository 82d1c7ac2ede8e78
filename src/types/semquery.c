/*
 * semquery: text and binary I/O, parts, and the cost operator.
 *
 * The text is JSON, one line:
 *
 *    {"kind":"levels","norm":"full","tokenizer":3,"sizes":[256,256],"data":"<base64>"}
 *
 * data is the binary form, which is the stored form without its length word, and the whole value;
 * the other keys are there to be read and must agree with it.
 */
#include "postgres.h"

#include "types/semquery.h"

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "types/bridge.h"
#include "types/flatjson.h"
#include "types/funcarg.h"
#include "types/semid.h"

#define TYPE "semquery"

static const char *const kind_names[] = {
	[STK_QUERY_LEVELS] = "levels",
	[STK_QUERY_WITHIN] = "within",
	[STK_QUERY_MASKED] = "masked",
	[STK_QUERY_NEIGHBORS] = "neighbors",
};

enum
{
	KIND,
	NORM,
	TOKENIZER,
	SIZES,
	DATA,
	KEYS
};

static void
ReadView(struct varlena *v, stk_query *view)
{
	stk_error err = {0};
	stk_status status = stk_query_view((const uint8 *) v, VARSIZE(v), view, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not read semquery");
}

const stk_query *
SemqueryView(Datum semquery, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	stk_query *view = palloc(sizeof(stk_query));

	ReadView((struct varlena *) PG_DETOAST_DATUM(semquery), view);
	MemoryContextSwitchTo(old);
	return view;
}

typedef struct ArgState
{
	FuncArg arg;
	stk_query view;
} ArgState;

const stk_query *
SemqueryArg(FunctionCallInfo fcinfo, int argno)
{
	ArgState *state = fcinfo->flinfo->fn_extra;
	struct varlena *v;
	bool same;

	if (!state)
		fcinfo->flinfo->fn_extra = state =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ArgState));
	v = FuncArgDetoast(&state->arg, fcinfo, argno, &same);
	if (!same)
		ReadView(v, &state->view);
	return &state->view;
}

Datum
SemqueryDatum(uint8 *bytes, size_t len)
{
	if (len > MaxAllocSize)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a semquery cannot be larger than %zu bytes, not %zu",
							   (Size) MaxAllocSize, (Size) len)));
	SET_VARSIZE(bytes, len);
	return PointerGetDatum(bytes);
}

void
SemqueryRefuseMasked(void)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("a semquery with norm masked and without a set has no cost of its own"),
					errhint("Pass the items' set to semtok.logits: norm => 'masked', within => "
							"(SELECT semset_agg(...)).")));
}

/* A copy of the binary form as a datum, checked; NULL with err filled when it is not valid. */
static struct varlena *
FromBinary(const char *bytes, int len, stk_error *err)
{
	struct varlena *v = palloc((Size) VARHDRSZ + len);

	memset(v, 0, VARHDRSZ);
	memcpy(VARDATA(v), bytes, len);
	if (stk_query_check((const uint8 *) v, (size_t) VARHDRSZ + len, err) != STK_OK)
		return NULL;
	SET_VARSIZE(v, (Size) VARHDRSZ + len);
	return v;
}

/* Costs of neighbors are distances, not normalised in any way. */
static const char *
NormName(const stk_query *q)
{
	return stk_norm_name(q->kind == STK_QUERY_NEIGHBORS ? STK_NORM_NONE : q->norm);
}

PG_FUNCTION_INFO_V1(semquery_in);
Datum
semquery_in(PG_FUNCTION_ARGS)
{
	FlatJsonKey keys[KEYS] = {
		[KIND] = {.name = "kind", .kind = FLAT_JSON_STRING},
		[NORM] = {.name = "norm", .kind = FLAT_JSON_STRING},
		[TOKENIZER] = {.name = "tokenizer", .kind = FLAT_JSON_NUMBER},
		[SIZES] = {.name = "sizes", .kind = FLAT_JSON_NUMBERS},
		[DATA] = {.name = "data", .kind = FLAT_JSON_STRING},
	};
	int wrong = -1;
	stk_error err = {0};
	stk_query view;
	struct varlena *v;
	char *data;
	int data_len;

	FlatJsonParse(TYPE, PG_GETARG_CSTRING(0), keys, KEYS);
	data = FlatJsonDecode(TYPE, &keys[DATA], &data_len);
	v = FromBinary(data, data_len, &err);
	if (v == NULL)
		FlatJsonError(TYPE, SemtokErrorSentence(&err));
	pfree(data);

	ReadView(v, &view);
	if (strcmp(keys[KIND].string, kind_names[view.kind]) != 0)
		wrong = KIND;
	if (strcmp(keys[NORM].string, NormName(&view)) != 0)
		wrong = NORM;
	if (keys[TOKENIZER].number != (int32) view.tokenizer)
		wrong = TOKENIZER;
	if (keys[SIZES].n != view.levels)
		wrong = SIZES;
	for (int l = 0; l < view.levels && l < keys[SIZES].n; l++)
		if (keys[SIZES].numbers[l] != (int32) view.sizes[l])
			wrong = SIZES;
	if (wrong >= 0)
		FlatJsonError(TYPE, psprintf("Key \"%s\" contradicts the data.", keys[wrong].name));
	PG_RETURN_POINTER(v);
}

PG_FUNCTION_INFO_V1(semquery_out);
Datum
semquery_out(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_SEMQUERY_P(0);
	stk_query view;
	StringInfoData text;

	ReadView(v, &view);
	initStringInfo(&text);
	appendStringInfo(&text, "{\"kind\":\"%s\",\"norm\":\"%s\",\"tokenizer\":%u,\"sizes\":[",
					 kind_names[view.kind], NormName(&view), view.tokenizer);
	for (int l = 0; l < view.levels; l++)
		appendStringInfo(&text, "%s%u", l > 0 ? "," : "", view.sizes[l]);
	appendStringInfoString(&text, "],\"data\":\"");
	FlatJsonAppendBase64(&text, VARDATA(v), (int) (VARSIZE(v) - VARHDRSZ));
	appendStringInfoString(&text, "\"}");
	PG_RETURN_CSTRING(text.data);
}

PG_FUNCTION_INFO_V1(semquery_recv);
Datum
semquery_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int len = buf->len - buf->cursor;
	stk_error err = {0};
	struct varlena *v = FromBinary(pq_getmsgbytes(buf, len), len, &err);

	if (v == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary representation of a semquery"),
						errdetail_internal("%s", SemtokErrorSentence(&err))));
	PG_RETURN_POINTER(v);
}

PG_FUNCTION_INFO_V1(semquery_send);
Datum
semquery_send(PG_FUNCTION_ARGS)
{
	/* A bytea of the binary form has the very layout of the datum. */
	PG_RETURN_BYTEA_P((bytea *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
}

PG_FUNCTION_INFO_V1(semquery_kind);
Datum
semquery_kind(PG_FUNCTION_ARGS)
{
	stk_query view;

	ReadView(PG_GETARG_SEMQUERY_P(0), &view);
	PG_RETURN_TEXT_P(cstring_to_text(kind_names[view.kind]));
}

PG_FUNCTION_INFO_V1(semquery_norm);
Datum
semquery_norm(PG_FUNCTION_ARGS)
{
	stk_query view;

	ReadView(PG_GETARG_SEMQUERY_P(0), &view);
	PG_RETURN_TEXT_P(cstring_to_text(NormName(&view)));
}

PG_FUNCTION_INFO_V1(semquery_tokenizer);
Datum
semquery_tokenizer(PG_FUNCTION_ARGS)
{
	stk_query view;

	ReadView(PG_GETARG_SEMQUERY_P(0), &view);
	PG_RETURN_INT32((int32) view.tokenizer);
}

PG_FUNCTION_INFO_V1(semquery_levels);
Datum
semquery_levels(PG_FUNCTION_ARGS)
{
	stk_query view;

	ReadView(PG_GETARG_SEMQUERY_P(0), &view);
	PG_RETURN_INT32(view.levels);
}

PG_FUNCTION_INFO_V1(semquery_sizes);
Datum
semquery_sizes(PG_FUNCTION_ARGS)
{
	Datum sizes[STK_MAX_LEVELS];
	stk_query view;

	ReadView(PG_GETARG_SEMQUERY_P(0), &view);
	for (int l = 0; l < view.levels; l++)
		sizes[l] = Int32GetDatum((int32) view.sizes[l]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(sizes, view.levels, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/* semid <~> semquery */
PG_FUNCTION_INFO_V1(semid_cost);
Datum
semid_cost(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_SEMID_PP(0);
	const stk_query *q = SemqueryArg(fcinfo, 1);

	if (q->kind == STK_QUERY_MASKED)
		SemqueryRefuseMasked();
	PG_RETURN_FLOAT8(stk_query_cost(q, SemidBytes(id), SemidLength(id)));
}
