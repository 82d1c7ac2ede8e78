/*
 * A codebook: L levels of K_l codewords of dimension D, in binary32.
 *
 * Stored form, final, little-endian (after PostgreSQL's 4-byte length word):
 *
 *    offset  size
 *    0       1        format version, 1
 *    1       1        metric (stk_metric)
 *    2       2        levels, 1..32
 *    4       4        dim, 1..16000
 *    8       4*L      sizes, each 1..65536
 *    8+4*L   4*D*ΣK   codewords, level by level, code by code, each dim binary32 values
 *
 * Every value is finite. With the cosine metric each codeword of the first level has been
 * normalised by whoever trained it; nothing here checks that.
 */
#ifndef STK_CODEBOOK_H
#define STK_CODEBOOK_H

#include <stddef.h>
#include <stdint.h>

#include "semid.h"
#include "status.h"

#define STK_CODEBOOK_VERSION 1
#define STK_MAX_DIM 16000
#define STK_MAX_CODES 65536

typedef enum stk_metric
{
	STK_L2 = 0,
	STK_IP = 1,    /* inner product: the codeword with the largest dot product */
	STK_COSINE = 2 /* rows are normalised once, then as L2 */
} stk_metric;

/* A view: the floats belong to someone else. */
typedef struct stk_codebook
{
	stk_metric metric;
	int levels;
	int dim;
	uint32_t sizes[STK_MAX_LEVELS];
	const float *codewords[STK_MAX_LEVELS]; /* [sizes[l]][dim] */
} stk_codebook;

/* "l2", "ip", "cosine"; STK_EINVAL for another name. */
extern stk_status stk_metric_parse(const char *name, stk_metric *metric);
extern const char *stk_metric_name(stk_metric metric);

/* Bytes of the stored form for this shape; 0 when a limit is passed. */
extern size_t stk_codebook_bytes(int levels, const uint32_t *sizes, int dim);
/* Write everything but the codewords; returns the offset where they begin. */
extern size_t stk_codebook_write_header(uint8_t *out, stk_metric metric, int levels,
										const uint32_t *sizes, int dim);
/*
 * Read metric, levels, dim and sizes of a stored form of which bytes may hold the beginning only;
 * cb's codewords are NULL. STK_ECORRUPT when they are cut off or out of range.
 */
extern stk_status stk_codebook_read_shape(const uint8_t *bytes, size_t len, stk_codebook *cb,
										  stk_error *err);
/*
 * Make a view of a stored form. bytes must be 4-byte aligned and outlive the view.
 * Checks shape and length in O(levels); STK_ECORRUPT otherwise.
 */
extern stk_status stk_codebook_view(const uint8_t *bytes, size_t len, stk_codebook *cb,
									stk_error *err);
/* STK_EINVAL when a codeword holds NaN or infinity: err->level and err->row (the code) tell. */
extern stk_status stk_codebook_check_finite(const stk_codebook *cb, stk_error *err);

#endif
