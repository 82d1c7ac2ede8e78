#include "fake.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT "semtok_fake_cuda"
#define RULES 32
#define CALLS 32
#define NAME 48
#define RUNTIME_VERSION 13000
#define MAX_FAKES 64

typedef struct rule
{
	char call[NAME];
	int code;
	unsigned long first, last;
} rule;

typedef struct counter
{
	char call[NAME];
	unsigned long calls;
} counter;

/* What is in each allocation, before what is handed out. */
typedef struct block
{
	size_t bytes;
	struct block *next; /* among all: what a device that has failed keeps is not lost */
	struct block *before;
	int device; /* -1: pinned */
	char pad[64 - sizeof(size_t) - 2 * sizeof(struct block *) - sizeof(int)];
} block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static rule rules[RULES];
static int nrules;
static block *blocks;
static bool scripted; /* the rules are the file's */
static counter counters[CALLS];
static int ncounters;
static int devices = 1;
static size_t memory = (size_t) 1 << 30;
static int driver = RUNTIME_VERSION;
static size_t used[MAX_FAKES];
static long live;
static _Thread_local int current;

static void
add_rule(const char *call, int code, unsigned long first, unsigned long last)
{
	if (nrules == RULES)
		return;
	snprintf(rules[nrules].call, NAME, "%s", call);
	rules[nrules].code = code;
	rules[nrules].first = first;
	rules[nrules++].last = last;
}

/* With the lock held. */
static void
read_script(void)
{
	FILE *f = fopen(SCRIPT, "re");
	char line[256];

	if (f || scripted)
	{
		nrules = 0;
		devices = 1;
		memory = (size_t) 1 << 30;
		driver = RUNTIME_VERSION;
	}
	scripted = f != NULL;
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
	{
		char call[NAME] = "";
		const char *at;
		unsigned long first = 1, last = -1ul;
		int code = 0;

		if (sscanf(line, "%47s %d", call, &code) != 2)
			continue;
		if ((at = strstr(line, "first=")))
			first = strtoul(at + 6, NULL, 10);
		if ((at = strstr(line, "last=")))
			last = strtoul(at + 5, NULL, 10);
		if (strcmp(call, "devices") == 0)
			devices = code;
		else if (strcmp(call, "memory") == 0)
			memory = (size_t) code << 20;
		else if (strcmp(call, "driver") == 0)
			driver = code;
		else
			add_rule(call, code, first, last);
	}
	fclose(f);
}

static counter *
find_counter(const char *call)
{
	for (int i = 0; i < ncounters; i++)
		if (strcmp(counters[i].call, call) == 0)
			return &counters[i];
	if (ncounters == CALLS)
		abort();
	snprintf(counters[ncounters].call, NAME, "%s", call);
	return &counters[ncounters++];
}

cudaError_t
fake_cuda_pass(const char *call)
{
	cudaError_t code = cudaSuccess;
	unsigned long n;

	pthread_mutex_lock(&lock);
	read_script();
	n = ++find_counter(call)->calls;
	for (int i = 0; i < nrules; i++)
		if (strcmp(rules[i].call, call) == 0 && n >= rules[i].first && n <= rules[i].last)
			code = (cudaError_t) rules[i].code;
	pthread_mutex_unlock(&lock);
	return code;
}

void
fake_cuda_fail(const char *call, int code, unsigned long first, unsigned long last)
{
	pthread_mutex_lock(&lock);
	nrules = ncounters = 0;
	memset(counters, 0, sizeof(counters));
	if (call)
		add_rule(call, code, first, last);
	pthread_mutex_unlock(&lock);
}

unsigned long
fake_cuda_calls(const char *call)
{
	unsigned long n;

	pthread_mutex_lock(&lock);
	n = find_counter(call)->calls;
	pthread_mutex_unlock(&lock);
	return n;
}

long
fake_cuda_live(void)
{
	long n;

	pthread_mutex_lock(&lock);
	n = live;
	pthread_mutex_unlock(&lock);
	return n;
}

void
fake_cuda_devices(int n, size_t megabytes)
{
	pthread_mutex_lock(&lock);
	devices = n;
	memory = used[0] + (megabytes << 20);
	pthread_mutex_unlock(&lock);
}

static cudaError_t
allocate(const char *call, void **out, size_t bytes, int device)
{
	cudaError_t code = fake_cuda_pass(call);
	block *b;

	*out = NULL;
	if (code != cudaSuccess)
		return code;
	pthread_mutex_lock(&lock);
	if (device >= 0 && used[device] + bytes > memory)
	{
		pthread_mutex_unlock(&lock);
		return cudaErrorMemoryAllocation;
	}
	b = malloc(sizeof(block) + bytes);
	if (!b)
		abort();
	b->bytes = bytes;
	b->device = device;
	b->next = blocks;
	b->before = NULL;
	if (blocks)
		blocks->before = b;
	blocks = b;
	if (device >= 0)
		used[device] += bytes;
	live++;
	pthread_mutex_unlock(&lock);
	/* What was there before is not to be counted on. */
	memset(b + 1, 0x5a, bytes);
	*out = b + 1;
	return cudaSuccess;
}

static cudaError_t
release(const char *call, void *memory_of)
{
	cudaError_t code = fake_cuda_pass(call);
	block *b;

	if (code != cudaSuccess || !memory_of)
		return code;
	b = (block *) memory_of - 1;
	pthread_mutex_lock(&lock);
	if (b->device >= 0)
		used[b->device] -= b->bytes;
	if (b->before)
		b->before->next = b->next;
	else
		blocks = b->next;
	if (b->next)
		b->next->before = b->before;
	live--;
	pthread_mutex_unlock(&lock);
	free(b);
	return cudaSuccess;
}

cudaError_t
cudaGetDeviceCount(int *count)
{
	cudaError_t code = fake_cuda_pass("cudaGetDeviceCount");

	pthread_mutex_lock(&lock);
	*count = code == cudaSuccess ? devices : 0;
	pthread_mutex_unlock(&lock);
	return code == cudaSuccess && *count == 0 ? cudaErrorNoDevice : code;
}

cudaError_t
cudaSetDevice(int device)
{
	cudaError_t code = fake_cuda_pass("cudaSetDevice");

	if (device < 0 || device >= MAX_FAKES)
		return cudaErrorInvalidValue;
	if (code == cudaSuccess)
		current = device;
	return code;
}

cudaError_t
cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
	memset(properties, 0, sizeof(*properties));
	snprintf(properties->name, sizeof(properties->name), "fake device %d", device);
	properties->major = 9;
	return fake_cuda_pass("cudaGetDeviceProperties");
}

cudaError_t
cudaDriverGetVersion(int *version)
{
	pthread_mutex_lock(&lock);
	*version = driver;
	pthread_mutex_unlock(&lock);
	return cudaSuccess;
}

cudaError_t
cudaRuntimeGetVersion(int *version)
{
	*version = RUNTIME_VERSION;
	return cudaSuccess;
}

cudaError_t
cudaMemGetInfo(size_t *free_bytes, size_t *all_bytes)
{
	pthread_mutex_lock(&lock);
	*all_bytes = memory;
	*free_bytes = memory - used[current];
	pthread_mutex_unlock(&lock);
	return fake_cuda_pass("cudaMemGetInfo");
}

cudaError_t
cudaMalloc(void **out, size_t bytes)
{
	return allocate("cudaMalloc", out, bytes, current);
}

cudaError_t
cudaFree(void *memory_of)
{
	return release("cudaFree", memory_of);
}

cudaError_t
cudaMallocHost(void **out, size_t bytes)
{
	return allocate("cudaMallocHost", out, bytes, -1);
}

cudaError_t
cudaFreeHost(void *memory_of)
{
	return release("cudaFreeHost", memory_of);
}

cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
	void *made = NULL;
	cudaError_t code = allocate("cudaStreamCreateWithFlags", &made, 1, -1);

	(void) flags;
	*stream = made;
	return code;
}

cudaError_t
cudaStreamDestroy(cudaStream_t stream)
{
	return release("cudaStreamDestroy", stream);
}

cudaError_t
cudaStreamQuery(cudaStream_t stream)
{
	(void) stream;
	return fake_cuda_pass("cudaStreamQuery");
}

cudaError_t
cudaStreamSynchronize(cudaStream_t stream)
{
	(void) stream;
	return fake_cuda_pass("cudaStreamSynchronize");
}

cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
				cudaStream_t stream)
{
	cudaError_t code = fake_cuda_pass("cudaMemcpyAsync");

	(void) kind;
	(void) stream;
	if (code == cudaSuccess)
		memcpy(to, from, bytes);
	return code;
}

cudaError_t
cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
				  size_t height, enum cudaMemcpyKind kind, cudaStream_t stream)
{
	cudaError_t code = fake_cuda_pass("cudaMemcpy2DAsync");

	(void) kind;
	(void) stream;
	for (size_t i = 0; i < height && code == cudaSuccess; i++)
		memcpy((char *) to + i * to_pitch, (const char *) from + i * from_pitch, width);
	return code;
}

cudaError_t
cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
	cudaError_t code = fake_cuda_pass("cudaMemsetAsync");

	(void) stream;
	if (code == cudaSuccess)
		memset(to, value, bytes);
	return code;
}

cudaError_t
cudaGetLastError(void)
{
	return cudaSuccess;
}

const char *
cudaGetErrorString(cudaError_t error)
{
	switch (error)
	{
		case cudaErrorInsufficientDriver:
			return "CUDA driver version is insufficient for CUDA runtime version";
		case cudaErrorNoDevice:
			return "no CUDA-capable device is detected";
		case cudaErrorECCUncorrectable:
			return "uncorrectable ECC error encountered";
		case cudaErrorIllegalAddress:
			return "an illegal memory access was encountered";
		case cudaErrorLaunchFailure:
			return "unspecified launch failure";
		default:
			return "unknown error";
	}
}
