/*
 * As much of the CUDA runtime's interface as the engine uses, for a fake of it: names and numbers
 * are NVIDIA's, everything else is ours. With this in place of NVIDIA's header, and runtime.c and
 * launchers.c in place of the runtime and the kernels, the engine is built and run where there is
 * neither.
 */
#ifndef FAKE_CUDA_RUNTIME_API_H
#define FAKE_CUDA_RUNTIME_API_H

#include <stddef.h>

#ifdef __cplusplus
extern "C"
{
#endif

	typedef enum cudaError
	{
		cudaSuccess = 0,
		cudaErrorInvalidValue = 1,
		cudaErrorMemoryAllocation = 2,
		cudaErrorInsufficientDriver = 35,
		cudaErrorNoDevice = 100,
		cudaErrorECCUncorrectable = 214,
		cudaErrorNotReady = 600,
		cudaErrorIllegalAddress = 700,
		cudaErrorLaunchFailure = 719,
		cudaErrorUnknown = 999
	} cudaError_t;

	typedef struct CUstream_st *cudaStream_t;
	typedef struct CUevent_st *cudaEvent_t;
	typedef struct CUgraphExec_st *cudaGraphExec_t;

#define cudaStreamPerThread ((cudaStream_t) 0x2)
#define cudaStreamNonBlocking 0x01

	enum cudaMemcpyKind
	{
		cudaMemcpyHostToDevice = 1,
		cudaMemcpyDeviceToHost = 2
	};

	/* Of its many fields those that we read. */
	struct cudaDeviceProp
	{
		char name[256];
		int major;
		int minor;
	};

	extern cudaError_t cudaGetDeviceCount(int *count);
	extern cudaError_t cudaSetDevice(int device);
	extern cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device);
	extern cudaError_t cudaDriverGetVersion(int *version);
	extern cudaError_t cudaRuntimeGetVersion(int *version);
	extern cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all_bytes);
	extern cudaError_t cudaMalloc(void **memory, size_t bytes);
	extern cudaError_t cudaFree(void *memory);
	extern cudaError_t cudaMallocHost(void **memory, size_t bytes);
	extern cudaError_t cudaFreeHost(void *memory);
	extern cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
	extern cudaError_t cudaStreamDestroy(cudaStream_t stream);
	extern cudaError_t cudaStreamQuery(cudaStream_t stream);
	extern cudaError_t cudaStreamSynchronize(cudaStream_t stream);
	extern cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
									   enum cudaMemcpyKind kind, cudaStream_t stream);
	extern cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from,
										 size_t from_pitch, size_t width, size_t height,
										 enum cudaMemcpyKind kind, cudaStream_t stream);
	extern cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
	extern cudaError_t cudaGetLastError(void);
	extern const char *cudaGetErrorString(cudaError_t error);

#ifdef __cplusplus
}
#endif

#endif
