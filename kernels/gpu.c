#include "gpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encode.h"

/* The part of a device's free memory, as it is at the start, that we allow ourselves: one of so many. */
#define MEMORY_SHARE 2
/*
 * Pieces of work take milliseconds, a whole run of k-means seconds. What takes longer than this, in
 * seconds, never ends.
 */
#ifndef HANG_SECONDS
#define HANG_SECONDS 20.0
#endif
/* For so long a wait spins, then it sleeps between two looks; the monitor is asked now and then. */
#define SPIN_SECONDS 2e-4
#define LOOK_NS 20000
#define ASK_SECONDS 5e-3

/* What stk_gpu_abandon has. */
struct abandoned
{
	struct abandoned *next;
	void *what;
};

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* What CUDA said when it was asked for devices; a driver that is too old is told with its version. */
static stk_status
no_devices(cudaError_t code, stk_error *err)
{
	int driver = 0, runtime = 0;
	bool known = cudaDriverGetVersion(&driver) == cudaSuccess &&
				 cudaRuntimeGetVersion(&runtime) == cudaSuccess;

	if (known && driver == 0)
		return stk_fail(err, STK_EDEVICE, "no driver of NVIDIA is installed");
	if (known && code == cudaErrorInsufficientDriver)
		return stk_fail(err, STK_EDEVICE, "the driver is for CUDA %d.%d, expected %d.%d or later",
						driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
	return stk_fail(err, STK_EDEVICE, "there is no CUDA device to use: %s",
					cudaGetErrorString(code));
}

static stk_status
open_one(stk_gpu *gpu, stk_error *err)
{
	static const char doing[] = "use the device";
	struct cudaDeviceProp properties;
	size_t free_bytes = 0, all_bytes = 0;
	bool holds = false;
	stk_status status = stk_cuda_status(cudaSetDevice(gpu->number), doing, err);

	if (status == STK_OK)
		status = stk_cuda_status(cudaGetDeviceProperties(&properties, gpu->number), doing, err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaMemGetInfo(&free_bytes, &all_bytes), doing, err);
	if (status == STK_OK)
		status = stk_probe_tensor(cudaStreamPerThread, &holds, err);
	if (status != STK_OK)
		return status;
	if (!holds)
		return stk_fail(err, STK_EDEVICE, "its tensor unit adds worse than it may");
	gpu->major = properties.major;
	gpu->minor = properties.minor;
	gpu->limit = free_bytes / MEMORY_SHARE;
	snprintf(gpu->name, sizeof(gpu->name), "%.63s", properties.name);
	return STK_OK;
}

/* Add the device to those that there are. */
static stk_status
add(stk_gpu *gpus, int *n, int number, stk_error *err)
{
	stk_gpu *gpu = &gpus[*n];
	stk_error why = {.level = -1};

	memset(gpu, 0, sizeof(*gpu));
	gpu->index = *n;
	gpu->number = number;
	if (open_one(gpu, &why) != STK_OK)
		return stk_fail(err, STK_EDEVICE, "CUDA device %d: %.120s", number, why.message);
	pthread_mutex_init(&gpu->lock, NULL);
	pthread_cond_init(&gpu->made, NULL);
	(*n)++;
	return STK_OK;
}

/* Those of a list of numbers, each once and each to be used. */
static stk_status
add_named(const char *devices, stk_gpu *gpus, int *n, int there, stk_error *err)
{
	const char *at = devices;
	stk_status status = STK_OK;

	do
	{
		char *end;
		long number = strtol(at, &end, 10);
		bool again = false;

		if (end == at || (*end && *end != ',') || number < 0)
			return stk_fail(err, STK_EDEVICE, "expected numbers of CUDA devices, not \"%.64s\"",
							devices);
		if (number >= there)
			return stk_fail(err, STK_EDEVICE, "there is no CUDA device %ld, only %d of them",
							number, there);
		for (int i = 0; i < *n; i++)
			again |= gpus[i].number == number;
		if (!again && *n < STK_MAX_GPUS)
			status = add(gpus, n, (int) number, err);
		at = *end ? end + 1 : NULL;
	} while (at && status == STK_OK);
	return status;
}

stk_status
stk_gpus_open(const char *devices, stk_gpu gpus[STK_MAX_GPUS], int *n, stk_error *err)
{
	int there = 0;
	cudaError_t code = cudaGetDeviceCount(&there);
	stk_status status = STK_OK;

	*n = 0;
	if (code != cudaSuccess || there == 0)
		return no_devices(code != cudaSuccess ? code : cudaErrorNoDevice, err);
	if (strcmp(devices, "all") != 0)
		status = add_named(devices, gpus, n, there, err);
	else
	{
		for (int i = 0; i < there && *n < STK_MAX_GPUS; i++)
			(void) add(gpus, n, i, err);
		if (*n == 0)
			status = STK_EDEVICE;
	}
	if (status != STK_OK)
	{
		stk_gpus_close(gpus, *n);
		*n = 0;
	}
	return status;
}

void
stk_gpus_close(stk_gpu *gpus, int n)
{
	for (int i = 0; i < n; i++)
	{
		pthread_cond_destroy(&gpus[i].made);
		pthread_mutex_destroy(&gpus[i].lock);
	}
}

stk_status
stk_gpu_note(stk_gpu *gpu, stk_status status, stk_error *err)
{
	stk_error told = {.level = -1};

	if (status != STK_EIO && status != STK_ENOMEM)
		return status;
	if (err)
		told = *err;
	if (status == STK_EIO)
	{
		pthread_mutex_lock(&gpu->lock);
		if (!atomic_load(&gpu->failed))
			snprintf(gpu->failure, sizeof(gpu->failure), "CUDA device %d: %.130s", gpu->number,
					 told.message);
		atomic_store(&gpu->failed, true);
		pthread_mutex_unlock(&gpu->lock);
	}
	return stk_fail(err, STK_EDEVICE, "CUDA device %d: %.130s", gpu->number,
					told.message[0] ? told.message : "out of memory");
}

stk_status
stk_gpu_use(stk_gpu *gpu, stk_error *err)
{
	if (atomic_load(&gpu->failed))
		return stk_fail(err, STK_EDEVICE, "%s", gpu->failure);
	return stk_gpu_note(gpu, stk_cuda_status(cudaSetDevice(gpu->number), "choose the device", err),
						err);
}

stk_status
stk_gpu_wait(stk_gpu *gpu, cudaStream_t stream, const stk_monitor *monitor, stk_error *err)
{
	static const struct timespec pause = {.tv_nsec = LOOK_NS};
	double begin = seconds(), asked = begin;
	cudaError_t code;

	if (atomic_load(&gpu->failed))
		return stk_fail(err, STK_EIO, "%s", gpu->failure);
	while ((code = cudaStreamQuery(stream)) == cudaErrorNotReady)
	{
		double now = seconds();

		if (now - begin < SPIN_SECONDS)
		{
			sched_yield();
			continue;
		}
		if (now - begin > HANG_SECONDS)
			return stk_fail(err, STK_EIO, "it has not answered for %.0f seconds", HANG_SECONDS);
		if (now - asked > ASK_SECONDS)
		{
			if (stk_should_stop(monitor))
				return STK_ECANCELED;
			asked = now;
		}
		nanosleep(&pause, NULL);
	}
	return stk_cuda_status(code, "compute on the device", err);
}

/* Take it out of the order of use. With the lock held. */
static void
unlink_use(stk_gpu *gpu, stk_placed *p)
{
	*(p->newer ? &p->newer->older : &gpu->newest) = p->older;
	*(p->older ? &p->older->newer : &gpu->oldest) = p->newer;
	p->newer = p->older = NULL;
}

static void
link_newest(stk_gpu *gpu, stk_placed *p)
{
	p->older = gpu->newest;
	*(gpu->newest ? &gpu->newest->newer : &gpu->oldest) = p;
	gpu->newest = p;
}

void
stk_gpu_abandon(void *what)
{
	/* Nobody looks here: it is only not to be taken for lost. */
	static _Atomic(struct abandoned *) all;
	struct abandoned *a = malloc(sizeof(*a));

	if (!a)
		return;
	a->what = what;
	a->next = atomic_load(&all);
	while (!atomic_compare_exchange_weak(&all, &a->next, a))
		continue;
}

/* Free what is on a device that still answers. */
static void
free_copy(stk_gpu *gpu, stk_device_codebook *copy)
{
	if (!atomic_load(&gpu->failed) && cudaSetDevice(gpu->number) == cudaSuccess)
		stk_device_codebook_free(copy);
	else
		stk_gpu_abandon(copy);
}

/*
 * Let codebooks go that nobody uses, the longest unused first, until so many bytes fit under the limit;
 * all of them with SIZE_MAX. With the lock held, which is let go meanwhile. False: no room.
 */
static bool
make_room(stk_gpu *gpu, size_t bytes)
{
	stk_placed *p = gpu->oldest;

	while ((bytes > gpu->limit || gpu->used > gpu->limit - bytes) && p)
	{
		stk_device_codebook *copy = p->copy;

		if (p->users > 0)
		{
			p = p->newer;
			continue;
		}
		unlink_use(gpu, p);
		p->copy = NULL;
		/* Its owner, who frees it, and others who need it wait until it is gone. */
		p->making = true;
		pthread_mutex_unlock(&gpu->lock);
		free_copy(gpu, copy);
		pthread_mutex_lock(&gpu->lock);
		p->making = false;
		gpu->used -= p->bytes;
		pthread_cond_broadcast(&gpu->made);
		p = gpu->oldest;
	}
	return bytes <= gpu->limit && gpu->used <= gpu->limit - bytes;
}

bool
stk_gpu_take(stk_gpu *gpu, size_t bytes)
{
	bool room;

	pthread_mutex_lock(&gpu->lock);
	room = make_room(gpu, bytes);
	if (room)
		gpu->used += bytes;
	pthread_mutex_unlock(&gpu->lock);
	return room;
}

void
stk_gpu_give(stk_gpu *gpu, size_t bytes)
{
	pthread_mutex_lock(&gpu->lock);
	gpu->used -= bytes;
	pthread_mutex_unlock(&gpu->lock);
}

/* What a codebook takes there: its codewords, half as much again for the filter, and little else. */
static size_t
estimate(const stk_codebook *cb)
{
	size_t wide = ((size_t) cb->dim + STK_CHUNK - 1) / STK_CHUNK * STK_CHUNK;
	size_t bytes = sizeof(stk_device_level) * STK_MAX_LEVELS + 4096;

	if (cb->network.inputs > 0)
		bytes += stk_network_floats(&cb->network) * sizeof(float);
	for (int l = 0; l < cb->levels; l++)
	{
		size_t panels = (cb->sizes[l] + (size_t) STK_PANEL - 1) / STK_PANEL * STK_PANEL;

		bytes += cb->sizes[l] * ((size_t) cb->dim * sizeof(float) + sizeof(double));
		bytes += panels * (wide * sizeof(uint16_t) + sizeof(float)) + wide * sizeof(float) + 4096;
	}
	return bytes;
}

/* Make the copy; again after everything unused has gone, when the device says that it is full. */
static stk_status
make_copy(stk_gpu *gpu, const stk_codebook *cb, stk_device_codebook **copy, stk_error *err)
{
	stk_status status = stk_device_codebook_create(cb, true, cudaStreamPerThread, copy, err);

	if (status == STK_ENOMEM)
	{
		pthread_mutex_lock(&gpu->lock);
		(void) make_room(gpu, SIZE_MAX);
		pthread_mutex_unlock(&gpu->lock);
		status = stk_device_codebook_create(cb, true, cudaStreamPerThread, copy, err);
	}
	return stk_gpu_note(gpu, status, err);
}

stk_status
stk_gpu_place(stk_gpu *gpu, stk_resident *r, stk_device_codebook **copy, stk_error *err)
{
	stk_placed *p = &r->placed[gpu->index];
	size_t bytes = estimate(&r->cb);
	stk_status status = stk_gpu_use(gpu, err);

	if (status != STK_OK)
		return status;
	pthread_mutex_lock(&gpu->lock);
	while (p->making)
		pthread_cond_wait(&gpu->made, &gpu->lock);
	if (!p->copy)
	{
		stk_device_codebook *made = NULL;

		p->making = true;
		if (make_room(gpu, bytes))
		{
			gpu->used += bytes;
			pthread_mutex_unlock(&gpu->lock);
			status = make_copy(gpu, &r->cb, &made, err);
			pthread_mutex_lock(&gpu->lock);
			if (status != STK_OK)
				gpu->used -= bytes;
		}
		else
			status =
				stk_fail(err, STK_EDEVICE,
						 "CUDA device %d: no room for a codebook of %zu MB in the %zu MB for them",
						 gpu->number, bytes >> 20, (size_t) (gpu->limit >> 20));
		p->making = false;
		p->copy = made;
		p->bytes = bytes;
		pthread_cond_broadcast(&gpu->made);
	}
	else
		unlink_use(gpu, p);
	if (status == STK_OK)
	{
		link_newest(gpu, p);
		p->users++;
		*copy = p->copy;
	}
	pthread_mutex_unlock(&gpu->lock);
	return status;
}

void
stk_gpu_let_go(stk_gpu *gpu, stk_resident *r)
{
	pthread_mutex_lock(&gpu->lock);
	r->placed[gpu->index].users--;
	pthread_mutex_unlock(&gpu->lock);
}

void
stk_gpu_forget(stk_gpu *gpu, stk_resident *r)
{
	stk_placed *p = &r->placed[gpu->index];
	stk_device_codebook *copy;

	pthread_mutex_lock(&gpu->lock);
	while (p->making)
		pthread_cond_wait(&gpu->made, &gpu->lock);
	copy = p->copy;
	if (copy)
	{
		unlink_use(gpu, p);
		gpu->used -= p->bytes;
		p->copy = NULL;
	}
	pthread_mutex_unlock(&gpu->lock);
	if (copy)
		free_copy(gpu, copy);
}
