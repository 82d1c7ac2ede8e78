/*
 * semid in other people's forms: one mixed-radix number, and tokens of a vocabulary. Neither form
 * has a place for the tokenizer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "core/flat.h"
#include "core/tokens.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/sizes.h"

/* semid_flat(semid, sizes int[]) → numeric */
PG_FUNCTION_INFO_V1(semid_flat);
Datum
semid_flat(PG_FUNCTION_ARGS)
{
	uint32 sizes[STK_MAX_LEVELS];
	int n = SizesArg(PG_GETARG_ARRAYTYPE_P(1), "sizes", sizes);
	char digits[STK_FLAT_MAX_DIGITS + 1];
	stk_error err = {0};
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	if (n != id.levels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %d sizes, one a level, not %d", id.levels, n)));
	if (stk_flat_print(&id, sizes, digits, &err) != STK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg_internal("%s", err.message),
				 errdetail("The code is at level %d.", err.level)));
	PG_RETURN_DATUM(DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
										ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * The digits of a number that is whole and not negative, without leading zeros: zeros after the
 * point are dropped. NaN, infinities and the rest are errors.
 */
static char *
WholeDigits(Numeric value)
{
	char *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)));
	size_t whole = strspn(text, "0123456789");

	if (numeric_is_nan(value) || numeric_is_inf(value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a whole number, not %s", text)));
	if (text[0] == '-')
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("expected a number of at least 0")));
	if (text[whole] == '.' && strspn(text + whole + 1, "0") != strlen(text + whole + 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a whole number, not a fraction")));
	text[whole] = '\0';
	return text;
}

/* semid_unflat(flat numeric, sizes int[], tokenizer int) */
PG_FUNCTION_INFO_V1(semid_unflat);
Datum
semid_unflat(PG_FUNCTION_ARGS)
{
	char *digits = WholeDigits(PG_GETARG_NUMERIC(0));
	uint32 sizes[STK_MAX_LEVELS];
	int levels = SizesArg(PG_GETARG_ARRAYTYPE_P(1), "sizes", sizes);
	uint32 tokenizer = SemidTokenizerArg(PG_GETARG_INT32(2));
	stk_error err = {0};
	stk_semid id;

	if (stk_flat_parse(digits, strlen(digits), sizes, levels, &id, &err) != STK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg_internal("%s", err.message)));
	id.tokenizer = tokenizer;
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}

PG_FUNCTION_INFO_V1(semid_tokens);
Datum
semid_tokens(PG_FUNCTION_ARGS)
{
	char text[STK_TOKENS_MAX_TEXT];
	stk_semid id;

	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(text, stk_tokens_print(&id, text)));
}

/* semid_from_tokens(tokens text, tokenizer int) */
PG_FUNCTION_INFO_V1(semid_from_tokens);
Datum
semid_from_tokens(PG_FUNCTION_ARGS)
{
	text *tokens = PG_GETARG_TEXT_PP(0);
	uint32 tokenizer = SemidTokenizerArg(PG_GETARG_INT32(1));
	stk_error err = {0};
	stk_semid id;
	stk_status status = stk_tokens_parse(VARDATA_ANY(tokens), VARSIZE_ANY_EXHDR(tokens), &id, &err);

	if (status != STK_OK)
		ereport(ERROR, (errcode(status == STK_ERANGE ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
													 : ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("invalid tokens of a semantic ID: \"%s\"", text_to_cstring(tokens)),
						errdetail_internal("%s", SemtokErrorSentence(&err))));
	id.tokenizer = tokenizer;
	PG_RETURN_DATUM(SemidMakeDatum(&id));
}
