/*
 * Arguments of functions that are not strict.
 */
#include "postgres.h"

#include "core/codebook.h"
#include "tokenizer/args.h"
#include "utils/array.h"
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

	ArrayType *array = PG_GETARG_ARRAYTYPE_P(argno);
	int levels = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (ARR_NDIM(array) > 1 || ARR_HASNULL(array) || levels < 1 || levels > STK_MAX_LEVELS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected %s of 1 to %d levels, without nulls", what, STK_MAX_LEVELS)));
	for (int l = 0; l < levels; l++)
	{
		int size = ((const int32 *) ARR_DATA_PTR(array))[l];

		if (size < 1 || size > STK_MAX_CODES)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected %s of 1 to %d, not %d", what, STK_MAX_CODES, size)));
		sizes[l] = (uint32) size;
	}
	return levels;
}
