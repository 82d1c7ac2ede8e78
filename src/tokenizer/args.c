/*
 * Arguments of functions that are not strict.
 */
#include "postgres.h"

#include "tokenizer/args.h"
#include "types/sizes.h"
#include "utils/builtins.h"

void
ArgRequire(FunctionCallInfo fcinfo, int argno, const char *what)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", what)));
}

char *
ArgText(FunctionCallInfo fcinfo, int argno, const char *what)
{
	ArgRequire(fcinfo, argno, what);
	return text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

int32
ArgInt(FunctionCallInfo fcinfo, int argno, const char *what, int32 min, int32 max)
{
	ArgRequire(fcinfo, argno, what);

	int32 value = PG_GETARG_INT32(argno);

	if (value < min && max == PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %s of %d or more, not %d", what, min, value)));
	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %s of %d to %d, not %d", what, min, max, value)));
	return value;
}

int
ArgSizes(FunctionCallInfo fcinfo, int argno, const char *what, uint32 *sizes)
{
	ArgRequire(fcinfo, argno, what);
	return SizesArg(PG_GETARG_ARRAYTYPE_P(argno), what, sizes);
}
