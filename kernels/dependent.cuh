/*
 * Kernels that begin while the one before them on the stream still ends, on devices that can
 * (compute capability 9.0): what a launch takes, a few microseconds, is spent by then.
 *
 * A kernel that others follow in this way calls let_next_begin where it begins; one that follows
 * calls wait_for_last before it touches anything that the one before it writes or reads. Whatever
 * came before that one has ended.
 */
#ifndef STK_DEPENDENT_CUH
#define STK_DEPENDENT_CUH

#include "device.h"

static __device__ inline void
let_next_begin()
{
#if __CUDA_ARCH__ >= 900
	cudaTriggerProgrammaticLaunchCompletion();
#endif
}

static __device__ inline void
wait_for_last()
{
#if __CUDA_ARCH__ >= 900
	cudaGridDependencySynchronize();
#endif
}

/* Launch a kernel that follows; errors are for cudaGetLastError to tell, as with any launch. */
template <class... Parameters, class... Arguments>
static void
launch_next(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, cudaStream_t stream,
			const Arguments &...arguments)
{
	cudaLaunchConfig_t config = {};
	cudaLaunchAttribute early = {};
	int device = 0, capability = 0;

	(void) cudaGetDevice(&device);
	(void) cudaDeviceGetAttribute(&capability, cudaDevAttrComputeCapabilityMajor, device);
	early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
	early.val.programmaticStreamSerializationAllowed = 1;
	config.gridDim = blocks;
	config.blockDim = threads;
	config.stream = stream;
	config.attrs = &early;
	config.numAttrs = capability >= 9;
	(void) cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
}

#endif
