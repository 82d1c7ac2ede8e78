/*
 * k-means on a device, bit for bit as core's kmeans.h: rows that stay there, their nearest
 * centroids, and whole runs of Lloyd's iterations.
 */
#ifndef STK_DEVICE_KMEANS_H
#define STK_DEVICE_KMEANS_H

#include "encode.h"
#include "pack_device.h"
#include "update.h"

STK_BEGIN_C

/* norms [n] out: squared norms of rows x [n][dim], by the reference. STK_EIO. */
extern stk_status stk_norms_launch(const float *x, size_t n, size_t dim, double *norms,
								   cudaStream_t stream, stk_error *err);

/*
 * x_i -= codewords[codes[i]] for rows x [n][dim], in binary32. A number that leaves its range becomes
 * 0, and *bad, on the device, 1; bad may be NULL. STK_EIO.
 */
extern stk_status stk_subtract_launch(float *x, size_t n, size_t dim, const float *codewords,
									  const uint16_t *codes, uint32_t *bad, cudaStream_t stream,
									  stk_error *err);

/* What is known of rows and the centroids that they chose; all pointers are the device's. */
typedef struct stk_scores_call
{
	size_t dim;
	const float *codewords; /* [size][dim] */
	const double *half;     /* [size] half their squared norms */
	bool inner_product;     /* scores leave them out */
	const float *x;         /* [n][dim] */
	size_t n;
	const uint16_t *codes; /* [n] */
	const double *norms;   /* [n]; NULL: nobody asks for errors */
	double *scores;        /* [n] out: the reference's */
	double *errors; /* [n / STK_MEMBERS_CHUNK, rounded up] out: sums of squared distances, of a
					 * chunk of rows each, in the shape of core's member_sums.h; or NULL */
} stk_scores_call;

/* Asynchronous on stream. STK_EIO. */
extern stk_status stk_scores_launch(const stk_scores_call *call, cudaStream_t stream,
									stk_error *err);

/* An assignment of a run as it is remembered. */
typedef struct stk_lloyd_record
{
	double error;
	uint32_t empty;
	uint32_t changed; /* centroids that the update before it changed */
} stk_lloyd_record;

/* Records of a run that are on the device at a time. */
#define STK_LLOYD_RECORDS 64

/* Where a run stands. */
typedef struct stk_lloyd_state
{
	uint32_t number;     /* assignments on record */
	uint32_t over;       /* nothing is to change any more */
	uint32_t changed[2]; /* centroids that the updates before even and odd assignments changed */
	uint32_t until_empty;
	stk_lloyd_record records[STK_LLOYD_RECORDS]; /* number i is at i mod STK_LLOYD_RECORDS */
} stk_lloyd_state;

/*
 * Put the assignment that members has grouped on record, unless the run is over; see whether it is
 * now. errors as of stk_scores_call, of n rows; odd: its number is. STK_EIO.
 */
extern stk_status stk_lloyd_record_launch(const stk_device_members *members, const double *errors,
										  size_t n, bool odd, stk_lloyd_state *state,
										  cudaStream_t stream, stk_error *err);

/* Rows on a device, and what k-means needs for them there. */
typedef struct stk_device_kmeans
{
	float *x; /* [n][dim] */
	size_t n;
	size_t dim;
	double *norms;   /* [n] once they are measured */
	uint16_t *codes; /* [n] */
	double *scores;  /* [n] */
	double *errors;  /* [n / STK_MEMBERS_CHUNK, rounded up] */
	stk_encode_failure *failure;
	stk_lloyd_state *state;
	void *memory; /* all of the above, in one piece */
	size_t bytes;
	stk_lloyd_state *state_here; /* pinned */
	cudaStream_t beside;         /* for what need not wait for the other */
	cudaEvent_t packed, kept, encoded, grouped, recorded;

	/* For the centroids that it was last about: */
	stk_device_pack *pack;       /* NULL: none yet */
	stk_device_members *members; /* the same */
	double *counts;              /* [members->view.size] the same */
	void *kept_codewords; /* pack's codewords up to the end of their half norms, as rows were last
						   * assigned to them; the same */
	size_t kept_room;     /* bytes of it */
} stk_device_kmeans;

/*
 * Room on the current device for n rows, x and norms of which are the caller's to fill; free with
 * stk_device_kmeans_free. STK_ENOMEM, STK_EIO, STK_EINVAL (2^31 rows or more).
 */
extern stk_status stk_device_kmeans_create(size_t n, size_t dim, cudaStream_t stream,
										   stk_device_kmeans **out, stk_error *err);
extern void stk_device_kmeans_free(stk_device_kmeans *k);

/*
 * Make room for up to `size` centroids; for runs of Lloyd's iterations, for this size and no other.
 * What k->pack has is lost. STK_ENOMEM, STK_EIO.
 */
extern stk_status stk_kmeans_room(stk_device_kmeans *k, uint32_t size, cudaStream_t stream,
								  stk_error *err);
extern stk_status stk_lloyd_room(stk_device_kmeans *k, uint32_t size, cudaStream_t stream,
								 stk_error *err);

/*
 * Assign all rows to k->pack's codewords, `size` of them: codes and scores. Asynchronous on stream.
 * STK_EIO.
 */
extern stk_status stk_kmeans_nearest_launch(stk_device_kmeans *k, uint32_t size, bool inner_product,
											cudaStream_t stream, stk_error *err);

/* Lloyd's iterations on rows that are measured, from k->pack's codewords. */
typedef struct stk_lloyd_call
{
	uint32_t size;
	bool inner_product;
	bool unit;
	bool until_empty;
} stk_lloyd_call;

/*
 * Begin a run with assignment 0; asynchronous on stream. k->state tells how far it has come. STK_EIO.
 */
extern stk_status stk_lloyd_begin_launch(stk_device_kmeans *k, const stk_lloyd_call *call,
										 cudaStream_t stream, stk_error *err);

/*
 * Go on by so many steps, an update and an assignment each, after assignment number `from`.
 * Asynchronous on stream. Once the run is over they change nothing. STK_EIO.
 */
extern stk_status stk_lloyd_steps_launch(stk_device_kmeans *k, const stk_lloyd_call *call, int from,
										 int steps, cudaStream_t stream, stk_error *err);

/* The same as a graph to be launched on stream, for an even `steps` and any even `from`. */
extern stk_status stk_lloyd_steps_graph(stk_device_kmeans *k, const stk_lloyd_call *call, int steps,
										cudaStream_t stream, cudaGraphExec_t *graph,
										stk_error *err);

STK_END_C

#endif
