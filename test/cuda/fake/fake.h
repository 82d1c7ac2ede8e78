/*
 * A CUDA runtime that is not one: its devices' memory is ordinary memory, its streams compute at
 * once, and its calls fail when they are told to.
 *
 * They are told by the file "semtok_fake_cuda" in the working directory, which is read at each call,
 * or by fake_cuda_fail. A rule a line:
 *
 *     CALL CODE [first=N] [last=N]   calls number first to last answer this code
 *     devices N | memory N | driver N   what there is: devices, MB of each, the driver's version
 *
 * Calls are counted from 1, in this process, by name: "cudaMalloc"; launchers, too: "launch".
 */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#include "cuda_runtime_api.h"

/* Let calls of this name, from the next one on, fail; NULL: none. Counts them from 1 again. */
extern void fake_cuda_fail(const char *call, int code, unsigned long first, unsigned long last);
/* How many calls of this name there have been since. */
extern unsigned long fake_cuda_calls(const char *call);
/* Things of the devices and pinned memory that are not freed. */
extern long fake_cuda_live(void);
/* What there is, beside what of device 0's memory is never given back. */
extern void fake_cuda_devices(int devices, size_t megabytes);

/* Of the runtime, for the launchers: the code that this call is to answer. */
extern cudaError_t fake_cuda_pass(const char *call);

#endif
