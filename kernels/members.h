/*
 * The rows behind each code, on a device, as core's member_sums.h: grouped by code, in row order.
 * Sums over them, in their one shape, are taken by kernels made of members.cuh.
 */
#ifndef STK_DEVICE_MEMBERS_H
#define STK_DEVICE_MEMBERS_H

#include "device.h"

STK_BEGIN_C

/* Members summed in one set of lanes. */
#define STK_MEMBERS_CHUNK 256

/* One of them, of a code. */
typedef struct stk_members_chunk
{
	uint32_t code;
	uint32_t rows;   /* of the code */
	uint32_t begin;  /* the chunk's first row's place among all rows by code */
	uint32_t number; /* of the chunk among the code's */
} stk_members_chunk;

/* What kernels read of a grouping; all pointers are the device's. */
typedef struct stk_members_view
{
	uint32_t size;             /* codes */
	uint32_t *rows;            /* [n] by code, then in row order */
	uint32_t *first;           /* [size + 1] where each code's rows begin */
	uint32_t *first_chunk;     /* [size + 1] where each code's chunks begin */
	stk_members_chunk *chunks; /* [first_chunk[size]] */
	uint32_t *arrived;         /* [size] 0 between launches: blocks that are done with a code */
	double *sums;              /* [chunks][dim] scratch */
} stk_members_view;

/* Room on a device for groupings. */
typedef struct stk_device_members
{
	stk_members_view view;
	size_t most; /* rows, below 2^31 */
	size_t dim;
	/* Passes over digits of the codes; one where codes are few. */
	int passes;
	uint32_t bins;    /* values of a digit, up to the next multiple of 4 */
	int bits;         /* of the digit, where there are two */
	uint32_t *sorted; /* [most] rows by the first digit */
	uint32_t *tiles;  /* [tiles][bins] rows of each tile */
	uint32_t *counts; /* [size] 0 between launches: rows of each code, where there are two */
	void *memory;     /* everything above, in one piece */
	size_t bytes;
} stk_device_members;

/*
 * Room for at most n rows [n][dim] and `size` codes on the current device. STK_ENOMEM, STK_EIO,
 * STK_EINVAL (2^31 rows or more); free with stk_device_members_free.
 */
extern stk_status stk_device_members_create(size_t n, uint32_t size, size_t dim,
											cudaStream_t stream, stk_device_members **out,
											stk_error *err);
extern void stk_device_members_free(stk_device_members *m);

/*
 * Group n <= most rows by their codes, each below size: row i's is codes[i * stride], on the device.
 * Asynchronous on stream. STK_EIO.
 */
extern stk_status stk_members_group_launch(const stk_device_members *m, const uint16_t *codes,
										   size_t stride, size_t n, cudaStream_t stream,
										   stk_error *err);

STK_END_C

#endif
