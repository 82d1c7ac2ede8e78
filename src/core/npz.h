/*
 * Arrays in NumPy's npz files: a zip archive of npy files, NAME.npy for the array NAME.
 *
 * Written: what numpy.savez writes, with entries stored as they are, npy format 1.0, C order,
 * little-endian, and no time of day, so that equal arrays make equal files. Read: stored entries
 * of whole numbers and booleans, strictly: sizes, offsets, overlaps, checksums, shapes.
 */
#ifndef STK_NPZ_H
#define STK_NPZ_H

#include "alloc.h"
#include "status.h"

#define STK_NPY_MAX_DIMS 32
#define STK_NPY_MAX_NAME 40

typedef enum stk_npy_type
{
	STK_NPY_BOOL,
	STK_NPY_I8,
	STK_NPY_U8,
	STK_NPY_I16,
	STK_NPY_U16,
	STK_NPY_I32,
	STK_NPY_U32,
	STK_NPY_I64
} stk_npy_type;

typedef struct stk_npy
{
	char name[STK_NPY_MAX_NAME]; /* without ".npy" */
	stk_npy_type type;
	int ndim;
	uint64_t shape[STK_NPY_MAX_DIMS];
	const uint8_t *data; /* in C order, of no particular alignment */
} stk_npy;

/* Number of values; UINT64_MAX when the shape is too large for that. */
extern uint64_t stk_npy_count(const stk_npy *array);
/* Bytes of the values; UINT64_MAX when there are too many. */
extern uint64_t stk_npy_bytes(const stk_npy *array);
/* Value i in C order, which must be below the count. */
extern int64_t stk_npy_value(const stk_npy *array, uint64_t i);

/*
 * Bytes of the file of these arrays; their data is not looked at. UINT64_MAX beyond the 4 GB that
 * a zip archive without extensions can hold.
 */
extern uint64_t stk_npz_size(const stk_npy *arrays, size_t n);

/*
 * Write all of the file but the arrays' values and the checksums into out, stk_npz_size bytes
 * that are zero, and point each array's data to where its values go.
 */
extern void stk_npz_begin(stk_npy *arrays, size_t n, uint8_t *out);
/* Write what depends on the values, once they are there. STK_ECANCELED. */
extern stk_status stk_npz_end(const stk_npy *arrays, size_t n, uint8_t *out,
							  const stk_monitor *monitor);

/* An entry of a file that is read. */
typedef struct stk_npz_entry
{
	const uint8_t *name; /* in the file */
	size_t name_len;
	const uint8_t *data; /* in the file */
	uint32_t stored;     /* bytes in the file */
	uint32_t size;       /* bytes of the npy file in it */
	uint32_t crc;
	uint16_t method; /* 0 = stored */
} stk_npz_entry;

typedef struct stk_npz
{
	stk_npz_entry *entries;
	size_t n;
	const stk_allocator *a;
} stk_npz;

/*
 * Find the entries of a file, which must stay while they are used; free with stk_npz_close.
 * STK_EINVAL with err filled for what is no sound zip archive of one file, STK_ENOMEM.
 */
extern stk_status stk_npz_open(const uint8_t *bytes, size_t len, const stk_allocator *a,
							   stk_npz *file, stk_error *err);
extern void stk_npz_close(stk_npz *file);

/* Has the file an array of this name? */
extern bool stk_npz_has(const stk_npz *file, const char *name);
/*
 * Read an array, which points into the file. STK_EINVAL with err filled when it is missing, twice
 * there, compressed, damaged, or not of whole numbers; STK_ECANCELED.
 */
extern stk_status stk_npz_array(const stk_npz *file, const char *name, const stk_monitor *monitor,
								stk_npy *array, stk_error *err);

#endif
