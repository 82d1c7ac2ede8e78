/* Encoding: which kernel takes a call. */
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
