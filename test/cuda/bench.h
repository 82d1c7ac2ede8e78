/*
 * What the measurements on a device share: medians by events, and the rate at which this device
 * copies, to say what the least time of a call is.
 */
#ifndef TEST_CUDA_BENCH_H
#define TEST_CUDA_BENCH_H

#include <time.h>

#include "device.h"

#define BENCH_RUNS 40
#define BENCH_WARM 5
/* Seconds of warming up: an idle device takes some to reach its clocks. */
#define BENCH_WARM_SECONDS 0.02

static inline int
bench_by_value(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return (x > y) - (x < y);
}

static inline double
bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* The median time of once(arg, i), i = 0, 1, ..., on the default stream, in seconds. */
static inline double
bench_measure(void (*once)(void *arg, int i), void *arg)
{
	cudaEvent_t begin, end;
	float ms[BENCH_RUNS];

	MUST_CUDA(cudaEventCreate(&begin));
	MUST_CUDA(cudaEventCreate(&end));
	for (double start = bench_now(); bench_now() < start + BENCH_WARM_SECONDS;)
	{
		once(arg, 0);
		MUST_CUDA(cudaDeviceSynchronize());
	}
	for (int i = 0; i < BENCH_WARM + BENCH_RUNS; i++)
	{
		MUST_CUDA(cudaEventRecord(begin, 0));
		once(arg, i);
		MUST_CUDA(cudaEventRecord(end, 0));
		MUST_CUDA(cudaEventSynchronize(end));
		if (i >= BENCH_WARM)
			MUST_CUDA(cudaEventElapsedTime(&ms[i - BENCH_WARM], begin, end));
	}
	MUST_CUDA(cudaEventDestroy(begin));
	MUST_CUDA(cudaEventDestroy(end));
	qsort(ms, BENCH_RUNS, sizeof(ms[0]), bench_by_value);
	return ms[BENCH_RUNS / 2] * 1e-3;
}

typedef struct bench_copy
{
	void *from, *to;
	size_t bytes;
} bench_copy;

static inline void
bench_copy_once(void *arg, int i)
{
	const bench_copy *c = arg;

	(void) i;
	MUST_CUDA(cudaMemcpyAsync(c->to, c->from, c->bytes, cudaMemcpyDeviceToDevice, 0));
}

/* Says which device this is; returns the bytes that it copies in a second, read and written. */
static inline double
bench_device(void)
{
	struct cudaDeviceProp device;
	int driver = 0;
	bench_copy copy = {.bytes = (size_t) 1 << 30};
	double rate;

	MUST_CUDA(cudaGetDeviceProperties(&device, 0));
	MUST_CUDA(cudaDriverGetVersion(&driver));
	copy.from = device_memory(copy.bytes);
	copy.to = device_memory(copy.bytes);
	MUST_CUDA(cudaMemset(copy.from, 0x5a, copy.bytes));
	rate = 2.0 * (double) copy.bytes / bench_measure(bench_copy_once, &copy);
	printf("%s, driver for CUDA %d.%d; copy on the device: %.2f TB/s, read and written\n",
		   device.name, driver / 1000, driver % 1000 / 10, rate * 1e-12);
	MUST_CUDA(cudaFree(copy.from));
	MUST_CUDA(cudaFree(copy.to));
	return rate;
}

#endif
