/* Encoding: which kernel takes a call, and what a failure is called. */
#include "encode.h"

stk_status
stk_encode_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	stk_encode_call prepared = *call;

	if (call->cb->metric == STK_COSINE)
	{
		stk_status status = stk_normalize_launch(call, stream, err);

		if (status != STK_OK)
			return status;
		prepared.x = call->normalized;
	}
	if (stk_encode_filter_takes(call->cb))
		return stk_encode_filter_launch(&prepared, stream, err);
	return stk_encode_plain_launch(&prepared, stream, err);
}

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
	if (kind == STK_ENCODE_OUT_OF_RANGE)
		return stk_fail(err, STK_ERANGE, "residual of level %d is out of range for type real",
						level);
	if (kind == STK_ENCODE_ZERO)
		return stk_fail(err, STK_EINVAL, "a zero vector has no direction for the cosine metric");
	return stk_fail(err, STK_EINVAL, "embedding holds NaN or infinity");
}
