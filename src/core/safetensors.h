/*
 * Reading safetensors files, strictly.
 *
 * A file is 8 bytes of little-endian header length, the header, and the tensors' bytes. The
 * header is a JSON object: each tensor's name to {"dtype": …, "shape": […], "data_offsets":
 * [begin, end]}, and optionally "__metadata__" to an object of strings. The tensors' bytes cover
 * the rest of the file without gap or overlap.
 */
#ifndef STK_SAFETENSORS_H
#define STK_SAFETENSORS_H

#include "alloc.h"
#include "status.h"

#define STK_TENSOR_MAX_DIMS 8
/* The format's own limit on the header. */
#define STK_SAFETENSORS_MAX_HEADER 100000000

typedef enum stk_dtype
{
	STK_BOOL,
	STK_U8,
	STK_I8,
	STK_F8_E5M2,
	STK_F8_E4M3,
	STK_I16,
	STK_U16,
	STK_F16,
	STK_BF16,
	STK_I32,
	STK_U32,
	STK_F32,
	STK_F64,
	STK_I64,
	STK_U64
} stk_dtype;

typedef struct stk_tensor
{
	const char *name; /* UTF-8, NUL-terminated, without a NUL inside */
	stk_dtype dtype;
	int ndim;
	uint64_t shape[STK_TENSOR_MAX_DIMS];
	uint64_t count;      /* values: the product of shape */
	uint64_t begin, end; /* of its bytes, from the end of the header */
	const uint8_t *data; /* of no particular alignment, in the file */
} stk_tensor;

typedef struct stk_safetensors
{
	stk_tensor *tensors; /* ascending by name */
	size_t n;
	const char *metric;     /* "__metadata__"'s entry "metric", NULL without one */
	const char *activation; /* the same of "activation" */
	const char *options;    /* and of "semtok.options" */
	char *names;            /* owns the strings */
	const stk_allocator *a;
} stk_safetensors;

/*
 * Read a file. The tensors point into bytes; free with stk_safetensors_free. a must outlive the
 * result. STK_EINVAL with err filled for anything that the format does not allow, STK_ENOMEM.
 */
extern stk_status stk_safetensors_read(const uint8_t *bytes, size_t len, const stk_allocator *a,
									   stk_safetensors *file, stk_error *err);
extern void stk_safetensors_free(stk_safetensors *file);

/* The tensor of this name, or NULL. */
extern const stk_tensor *stk_safetensors_find(const stk_safetensors *file, const char *name);

extern const char *stk_dtype_name(stk_dtype dtype);

/*
 * Convert `count` values from value `first` on to binary32. F32, F16 and BF16 convert exactly,
 * F64 rounds to nearest; NaN and infinity are passed on. STK_EINVAL for another dtype, STK_ERANGE
 * when a finite F64 leaves binary32's range.
 */
extern stk_status stk_tensor_floats(const stk_tensor *tensor, uint64_t first, uint64_t count,
									float *out, stk_error *err);
/*
 * The same in binary64, where whole numbers (I8 to I64, U8 to U64) are taken too; all convert
 * exactly but those beyond 2^53, which round to nearest. STK_EINVAL for another dtype.
 */
extern stk_status stk_tensor_doubles(const stk_tensor *tensor, uint64_t first, uint64_t count,
									 double *out, stk_error *err);

#endif
