/* What a row's failure is called: as core calls it. */
#include "encode.h"

stk_status
stk_encode_error(stk_encode_failure failure, size_t first, stk_error *err)
{
	stk_encode_kind kind = (stk_encode_kind) (failure & 3);
	int level = (int) (failure >> 2 & 0xff) - 1;

	if (failure == STK_ENCODE_NO_FAILURE)
		return STK_OK;
	if (err)
	{
		err->row = first + (size_t) (failure >> 10);
		err->level = level;
	}
	if (kind == STK_ENCODE_LAYER)
	{
		if (err)
			err->level = -1;
		if (level < 0)
			return stk_fail(err, STK_ERANGE,
							"standardized embedding is out of range for type real");
		return stk_fail(err, STK_ERANGE,
						"output of layer %d of the encoder is out of range for type real", level);
	}
	if (kind == STK_ENCODE_OUT_OF_RANGE)
		return stk_fail(err, STK_ERANGE, "residual of level %d is out of range for type real",
						level);
	if (kind == STK_ENCODE_ZERO)
		return stk_fail(err, STK_EINVAL, "a zero vector has no direction for the cosine metric");
	return stk_fail(err, STK_EINVAL, "embedding holds NaN or infinity");
}
