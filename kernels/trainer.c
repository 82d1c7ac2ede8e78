/* What the steps of trainings on a device share: copies, waits, and how failures are told. */
#include <stdio.h>

#include "train_cuda_impl.h"

/* Rows are copied in pieces of about so many bytes: between them the monitor is asked. */
#define COPY_BYTES ((size_t) 32 << 20)

stk_status
stk_trainer_settle(stk_trainer *t, stk_status status, stk_error *err)
{
	/* What is wrong with rows or codes is core's to say. */
	if (status == STK_OK || status == STK_ECANCELED || status == STK_ERANGE)
		return status;
	status = stk_gpu_note(t->gpu, status, err);
	if (!t->said)
		fprintf(stderr, "semtok_cuda: %s; the processor goes on\n", err->message);
	t->said = true;
	return atomic_load(&t->gpu->failed) ? STK_EIO : STK_ENOMEM;
}

stk_status
stk_trainer_wait(stk_trainer *t, const stk_monitor *monitor, stk_error *err)
{
	return stk_gpu_wait(t->gpu, t->stream, monitor, err);
}

stk_status
stk_trainer_copy_in(stk_trainer *t, void *to, const void *from, size_t bytes,
					const stk_monitor *monitor, stk_error *err)
{
	stk_status status = STK_OK;

	for (size_t at = 0; at < bytes && status == STK_OK; at += COPY_BYTES)
	{
		size_t piece = bytes - at < COPY_BYTES ? bytes - at : COPY_BYTES;

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		status = stk_cuda_status(cudaMemcpyAsync((char *) to + at, (const char *) from + at, piece,
												 cudaMemcpyHostToDevice, t->stream),
								 "copy rows to the device", err);
	}
	return status;
}

stk_status
stk_trainer_copy_out(stk_trainer *t, void *to, const void *from, size_t bytes, stk_error *err)
{
	cudaError_t code = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, t->stream);

	if (code == cudaSuccess)
		code = cudaStreamSynchronize(t->stream);
	return stk_cuda_status(code, "copy results from the device", err);
}

stk_status
stk_trainer_no_room(stk_error *err)
{
	return stk_fail(err, STK_ENOMEM, "training needs more of the device's memory than there is");
}
