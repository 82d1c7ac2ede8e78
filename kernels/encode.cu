/* Encoding: which kernel takes a call. */
#include "encode.h"

/* Rows up to which a cluster of blocks shares each tile; measured on an H200. */
#define FEW_ROWS 1024
/* Rows from which on Hopper's own kernels, whose blocks are large, are the faster ones. */
#define HOPPER_ROWS 8192

stk_status
stk_encode_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	stk_encode_call prepared = *call;

	if (call->beam <= 1 && call->tile == 0 && call->n <= FEW_ROWS && stk_encode_few_takes(call))
		return stk_encode_few_launch(call, stream, err);
	if (call->cb->metric == STK_COSINE)
	{
		stk_status status = stk_normalize_launch(call, stream, err);

		if (status != STK_OK)
			return status;
		prepared.x = call->normalized;
	}
	if (call->beam > 1)
		return stk_encode_beam_launch(&prepared, stream, err);
	if (call->tile == STK_HOPPER || (call->tile == 0 && call->n >= HOPPER_ROWS))
	{
		bool taken;
		stk_status status = stk_encode_hopper_launch(&prepared, stream, &taken, err);

		if (status == STK_OK && !taken)
			status = stk_encode_wide_hopper_launch(&prepared, stream, &taken, err);
		if (status != STK_OK || taken)
			return status;
	}
	if (stk_encode_filter_takes(call->cb))
		return stk_encode_filter_launch(&prepared, stream, err);
	return stk_encode_plain_launch(&prepared, stream, err);
}
