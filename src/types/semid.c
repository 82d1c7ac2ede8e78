/*
 * semid: text and binary I/O, typmod, constructors and parts.
 */
#include "postgres.h"

#include "types/semid.h"

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "types/bridge.h"

/*
 * semid(levels, codes) as one number: levels above bit 17, codes (up to 65536) below. The typmod
 * means exactly that many levels and every code below that many codes.
 */
#define SEMID_TYPMOD(levels, codes) ((levels) << 17 | (codes))
#define SEMID_TYPMOD_LEVELS(typmod) ((typmod) >> 17)
#define SEMID_TYPMOD_CODES(typmod) ((typmod) & ((1 << 17) - 1))

Datum
SemidBytesDatum(const uint8 *bytes, size_t len)
{
	struct varlena *v = palloc(VARHDRSZ + len);

	SET_VARSIZE(v, VARHDRSZ + len);
	memcpy(VARDATA(v), bytes, len);
	return PointerGetDatum(v);
}

Datum
SemidMakeDatum(const stk_semid *id)
{
	uint8 bytes[STK_SEMID_MAX_BYTES];

	return SemidBytesDatum(bytes, stk_semid_pack(id, bytes));
}

void
SemidUnpack(struct varlena *v, stk_semid *id)
{
	stk_status status = stk_semid_unpack(SemidBytes(v), SemidLength(v), id);

	if (status != STK_OK)
		SemtokReportStatus(status, NULL, "could not read semid");
}

static void
CheckTypmod(const stk_semid *id, int32 typmod)
{
	if (typmod < 0)
		return;
	if (id->levels != SEMID_TYPMOD_LEVELS(typmod))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected %d levels, not %d", SEMID_TYPMOD_LEVELS(typmod), id->levels)));
	for (int i = 0; i < id->levels; i++)
		if (id->codes[i] >= SEMID_TYPMOD_CODES(typmod))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected codes below %d, not %d", SEMID_TYPMOD_CODES(typmod),
								   id->codes[i]),
							errdetail("The code is at level %d.", i)));
}

static uint16
CheckCode(int32 code, int level)
{
	if (code < 0 || code > STK_MAX_CODE)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("expected a code between 0 and %d, not %d", STK_MAX_CODE, code),
						errdetail("The code is at level %d.", level)));
	return (uint16) code;
}

PG_FUNCTION_INFO_V1(semid_in);
Datum
semid_in(PG_FUNCTION_ARGS)
{
	char *text = PG_GETARG_CSTRING(0);
	int32 typmod = PG_GETARG_INT32(2);
	stk_error err = {0};
	stk_semid id;
	stk_status status = stk_semid_parse(text, strlen(text), &id, &err);

	if (status != STK_OK)
		ereport(ERROR, (errcode(status == STK_ERANGE ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
													 : ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("invalid input syntax for type %s: \"%s\"", "semid", text),
						errdetail_internal("%s", SemtokErrorSentence(&err))));
	CheckTypmod(&id, typmod);
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}

PG_FUNCTION_INFO_V1(semid_out);
Datum
semid_out(PG_FUNCTION_ARGS)
{
	char *text = palloc(STK_SEMID_MAX_TEXT);
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	stk_semid_print(&id, text);
	PG_RETURN_CSTRING(text);
}

/* The binary form is the stored form. */
PG_FUNCTION_INFO_V1(semid_recv);
Datum
semid_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int32 typmod = PG_GETARG_INT32(2);
	int len = buf->len - buf->cursor;
	const char *bytes = pq_getmsgbytes(buf, len);
	stk_semid id;

	if (stk_semid_unpack((const uint8 *) bytes, len, &id) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary representation of a semid"),
						errdetail("Expected 4 bytes of tokenizer below 2^31 and 1 to %d codes of "
								  "2 bytes.",
								  STK_MAX_LEVELS)));
	CheckTypmod(&id, typmod);
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}

PG_FUNCTION_INFO_V1(semid_send);
Datum
semid_send(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_SEMID_PP(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, (const char *) SemidBytes(v), SemidLength(v));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(semid_typmod_in);
Datum
semid_typmod_in(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	int n;
	int32 *modifiers = ArrayGetIntegerTypmods(array, &n);

	if (n != 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid type modifier of semid"),
				 errdetail("Expected two numbers, semid(levels, codes), not %d.", n)));
	if (modifiers[0] < 1 || modifiers[0] > STK_MAX_LEVELS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("levels of type semid must be between 1 and %d", STK_MAX_LEVELS)));
	if (modifiers[1] < 1 || modifiers[1] > STK_MAX_CODE + 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("codes of type semid must be between 1 and %d", STK_MAX_CODE + 1)));
	PG_RETURN_INT32(SEMID_TYPMOD(modifiers[0], modifiers[1]));
}

PG_FUNCTION_INFO_V1(semid_typmod_out);
Datum
semid_typmod_out(PG_FUNCTION_ARGS)
{
	int32 typmod = PG_GETARG_INT32(0);

	if (typmod < 0)
		PG_RETURN_CSTRING(pstrdup(""));
	PG_RETURN_CSTRING(psprintf("(%d,%d)", SEMID_TYPMOD_LEVELS(typmod), SEMID_TYPMOD_CODES(typmod)));
}

/* The length-coercion cast: semid to semid(levels, codes). */
PG_FUNCTION_INFO_V1(semid_enforce_typmod);
Datum
semid_enforce_typmod(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_SEMID_PP(0);
	int32 typmod = PG_GETARG_INT32(1);

	if (typmod >= 0)
	{
		stk_semid id;

		SemidUnpack(v, &id);
		CheckTypmod(&id, typmod);
	}
	PG_RETURN_POINTER(v);
}

/* Codes come as a one-dimensional array without NULLs. */
static void
SemidFromArray(ArrayType *array, stk_semid *id)
{
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const int32 *codes = (const int32 *) ARR_DATA_PTR(array);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected an array of one dimension, not %d", ARR_NDIM(array))));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a code must not be null")));
	if (n < 1 || n > STK_MAX_LEVELS)
		ereport(ERROR,
				(errcode(n < 1 ? ERRCODE_INVALID_PARAMETER_VALUE : ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("expected 1 to %d levels, not %d", STK_MAX_LEVELS, n)));
	id->levels = n;
	for (int i = 0; i < n; i++)
		id->codes[i] = CheckCode(codes[i], i);
}

uint32
SemidTokenizerArg(int32 tokenizer)
{
	if (tokenizer < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tokenizer must be between 0 and 2147483647, not %d", tokenizer)));
	return (uint32) tokenizer;
}

/* semid(codes int[], tokenizer int) */
PG_FUNCTION_INFO_V1(semid_construct);
Datum
semid_construct(PG_FUNCTION_ARGS)
{
	stk_semid id;

	id.tokenizer = SemidTokenizerArg(PG_GETARG_INT32(1));
	SemidFromArray(PG_GETARG_ARRAYTYPE_P(0), &id);
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}

/* Cast from int[]: the second argument of a cast function is the typmod. */
PG_FUNCTION_INFO_V1(semid_from_array);
Datum
semid_from_array(PG_FUNCTION_ARGS)
{
	stk_semid id;

	id.tokenizer = 0;
	SemidFromArray(PG_GETARG_ARRAYTYPE_P(0), &id);
	CheckTypmod(&id, PG_GETARG_INT32(1));
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}

PG_FUNCTION_INFO_V1(semid_codes);
Datum
semid_codes(PG_FUNCTION_ARGS)
{
	Datum codes[STK_MAX_LEVELS];
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	for (int i = 0; i < id.levels; i++)
		codes[i] = Int32GetDatum(id.codes[i]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(codes, id.levels, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(semid_code);
Datum
semid_code(PG_FUNCTION_ARGS)
{
	int32 level = PG_GETARG_INT32(1);
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	if (level < 0 || level >= id.levels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a level between 0 and %d, not %d", id.levels - 1, level)));
	PG_RETURN_INT32(id.codes[level]);
}

PG_FUNCTION_INFO_V1(semid_levels);
Datum
semid_levels(PG_FUNCTION_ARGS)
{
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	PG_RETURN_INT32(id.levels);
}

PG_FUNCTION_INFO_V1(semid_tokenizer);
Datum
semid_tokenizer(PG_FUNCTION_ARGS)
{
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	PG_RETURN_INT32((int32) id.tokenizer);
}

/* The first n codes; an id of fewer levels is its own prefix, as with left(text, n). */
PG_FUNCTION_INFO_V1(semid_prefix);
Datum
semid_prefix(PG_FUNCTION_ARGS)
{
	int32 n = PG_GETARG_INT32(1);
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	if (n < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a prefix of at least 1 level, not %d", n)));
	id.levels = Min(id.levels, n);
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}

/* semid || int: one level more */
PG_FUNCTION_INFO_V1(semid_append);
Datum
semid_append(PG_FUNCTION_ARGS)
{
	int32 code = PG_GETARG_INT32(1);
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	if (id.levels == STK_MAX_LEVELS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a semid cannot have more than %d levels", STK_MAX_LEVELS)));
	id.codes[id.levels] = CheckCode(code, id.levels);
	id.levels++;
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}
