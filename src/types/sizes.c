#include "postgres.h"

#include "types/sizes.h"

int
PlainArray(ArrayType *array, const char *what)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected %s of one dimension, not %d", what, ARR_NDIM(array))));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a value of %s must not be null", what)));
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

int
SizesArg(ArrayType *array, const char *what, uint32 *sizes)
{
	int levels = PlainArray(array, what);
	const int32 *values = (const int32 *) ARR_DATA_PTR(array);

	if (levels < 1 || levels > STK_MAX_LEVELS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected %s of 1 to %d levels, not %d", what, STK_MAX_LEVELS, levels)));
	for (int l = 0; l < levels; l++)
	{
		if (values[l] < 1 || values[l] > STK_MAX_CODE + 1)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected %s between 1 and %d, not %d", what, STK_MAX_CODE + 1,
								   values[l])));
		sizes[l] = (uint32) values[l];
	}
	return levels;
}

void
OffsetsArg(FunctionCallInfo fcinfo, int argno, stk_csr_tokens *tokens)
{
	ArrayType *array;
	const int32 *values;
	int n;

	tokens->n_offsets = 0;
	if (PG_ARGISNULL(argno))
		return;
	array = PG_GETARG_ARRAYTYPE_P(argno);
	values = (const int32 *) ARR_DATA_PTR(array);
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected offsets of one dimension, not %d", ARR_NDIM(array))));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an offset must not be null")));
	if (n < 1 || n > STK_MAX_LEVELS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected 1 to %d offsets, not %d", STK_MAX_LEVELS, n)));
	for (int l = 0; l < n; l++)
	{
		if (values[l] < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("an offset must not be negative, not %d", values[l])));
		tokens->offsets[l] = (uint32) values[l];
	}
	tokens->n_offsets = n;
}
