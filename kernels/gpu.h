/*
 * The CUDA devices of the engine: which there are, which still answer, and the memory that codebooks
 * take there.
 *
 * A failure other than a lack of memory is for good: CUDA's own state in this process is not to be
 * trusted afterwards, nor is the device asked for anything again, not even for its memory back. All
 * of this may be called by several threads at once.
 */
#ifndef STK_GPU_H
#define STK_GPU_H

#include <pthread.h>
#include <stdatomic.h>

#include "device.h"
#include "engine/engine.h"

/* Devices of an engine at most. */
#define STK_MAX_GPUS 16
/* Buffers of calls that are kept for the next: see lane.h. */
#define STK_KEPT_LANES 4

struct stk_lanes;

/* A codebook's copy on one device. Under the device's lock, but for what `making` keeps others from. */
typedef struct stk_placed
{
	stk_device_codebook *copy; /* NULL: it is not there */
	size_t bytes;              /* counted for it */
	unsigned users;
	bool making;                      /* a thread is at it */
	struct stk_placed *newer, *older; /* by last use; of those that are there */
} stk_placed;

typedef struct stk_gpu
{
	int index;  /* among the engine's */
	int number; /* CUDA's */
	int major, minor;
	char name[64];
	uint64_t limit;     /* bytes that we allow ourselves */
	atomic_bool failed; /* it answers no more */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t made;
	char failure[160];
	uint64_t used; /* bytes: codebooks and lanes */
	stk_placed *newest, *oldest;
	struct stk_lanes *idle[STK_KEPT_LANES];
	int nidle;
} stk_gpu;

/* A codebook, wherever it is. */
struct stk_resident
{
	stk_allocator a;
	stk_codebook cb;
	stk_placed placed[STK_MAX_GPUS];
};

/*
 * Find the devices "all" or "0,2", in this order, and see that each computes as it must. Of "all", one
 * that does not is left out, with the reason in err->message. STK_EDEVICE when none is left, one that
 * was named cannot be used, or the driver does not do.
 */
extern stk_status stk_gpus_open(const char *devices, stk_gpu gpus[STK_MAX_GPUS], int *n,
								stk_error *err);
extern void stk_gpus_close(stk_gpu *gpus, int n);

/*
 * What a launcher's or CUDA's status means for who asked: STK_EDEVICE for a device that has no memory
 * left or, as STK_EIO says, has failed, which is noted. Others as they are.
 */
extern stk_status stk_gpu_note(stk_gpu *gpu, stk_status status, stk_error *err);

/* Have the calling thread use it. STK_EDEVICE. */
extern stk_status stk_gpu_use(stk_gpu *gpu, stk_error *err);

/*
 * Wait until everything on the stream is done. STK_ECANCELED when the monitor says so: then it goes
 * on there. STK_EIO when it fails, or takes longer than any piece of work may: the device hangs.
 */
extern stk_status stk_gpu_wait(stk_gpu *gpu, cudaStream_t stream, const stk_monitor *monitor,
							   stk_error *err);

/*
 * The codebook's copy on the device, made there if need be: other codebooks go, the longest unused
 * first, where the memory is short. Good until it is let go. STK_EDEVICE.
 */
extern stk_status stk_gpu_place(stk_gpu *gpu, stk_resident *r, stk_device_codebook **copy,
								stk_error *err);
extern void stk_gpu_let_go(stk_gpu *gpu, stk_resident *r);
/* Nobody uses it any more: free it. */
extern void stk_gpu_forget(stk_gpu *gpu, stk_resident *r);

/*
 * Keep what a device that has failed may still write to, or cannot be asked to free, to the end of the
 * program.
 */
extern void stk_gpu_abandon(void *what);

/* Count memory of the device that is taken, if need be in place of codebooks; false: no room. */
extern bool stk_gpu_take(stk_gpu *gpu, size_t bytes);
extern void stk_gpu_give(stk_gpu *gpu, size_t bytes);

#endif
