/*
 * What is computed where.
 */
#include "postgres.h"

#include "client/offload.h"

#include "guc.h"

void
OffloadCheckDevice(stk_device device)
{
	if (device == STK_DEVICE_AUTO)
		device = (stk_device) semtok_device;
	if (device == STK_DEVICE_CUDA)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("this build of semtok cannot compute on device cuda"),
						errhint("With semtok.device = auto the processor computes.")));
}
