/*
 * What a codebook on a device learns from a batch of rows and their codes, bit for bit as core's
 * ema.h and kmeans.h do.
 */
#ifndef STK_DEVICE_UPDATE_H
#define STK_DEVICE_UPDATE_H

#include "members.h"
#include "pack_device.h"

STK_BEGIN_C

#include "core/ema.h"

/* The first row that is not finite; the largest number when there is none. */
typedef unsigned long long stk_update_failure;

#define STK_UPDATE_NO_FAILURE (~0ull)

/*
 * stk_ema_update on a device; all pointers are the device's, e's too, and all of them but members'
 * are as there.
 */
typedef struct stk_ema_call
{
	stk_ema e; /* its allocator is not looked at */
	stk_ema_rule rule;
	const stk_device_members *members;
	const float *x;        /* [n][dim] */
	size_t n;              /* >= 1 */
	const uint16_t *codes; /* [n], each below e.size */
	stk_update_failure
		*failure; /* STK_UPDATE_NO_FAILURE before; lowered: codes of rows that are not
								  * finite are as they were */
} stk_ema_call;

/* Asynchronous on stream. STK_EIO. */
extern stk_status stk_ema_launch(const stk_ema_call *call, cudaStream_t stream, stk_error *err);

/* stk_kmeans_update, or where persistent stk_kmeans_add_batch, on a device, rows grouped already. */
typedef struct stk_means_call
{
	const stk_device_members *members; /* grouped by the rows' codes */
	const float *x;                    /* [n][dim], finite */
	size_t n;
	float *centroids;     /* [size][dim] */
	double *counts;       /* [size] rows behind each centroid */
	bool persistent;      /* what came before in counts weighs in */
	bool unit;            /* centroids are kept at norm 1 */
	uint8_t *moved;       /* [size] set to 1 where a bit of the centroid changed; may be NULL */
	uint32_t *changed;    /* added to: how many did; may be NULL */
	const uint32_t *over; /* not 0: nothing is to change any more; may be NULL */
	const stk_device_pack
		*pack; /* of the centroids, packed: what moves is packed again, by the same
								  * centre and scale; may be NULL */
} stk_means_call;

/* Asynchronous on stream. STK_EIO. */
extern stk_status stk_means_launch(const stk_means_call *call, cudaStream_t stream, stk_error *err);

STK_END_C

#endif
