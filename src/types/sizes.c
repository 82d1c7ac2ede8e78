#include "postgres.h"

#include "types/sizes.h"

int
SizesArg(ArrayType *array, const char *what, uint32 *sizes)
{
	int levels = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const int32 *values = (const int32 *) ARR_DATA_PTR(array);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected %s of one dimension, not %d", what, ARR_NDIM(array))));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a value of %s must not be null", what)));
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
