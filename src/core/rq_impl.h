/*
 * Private to core: the quantizer, and what encoding and training share.
 */
#ifndef STK_RQ_IMPL_H
#define STK_RQ_IMPL_H

#include "rq.h"

struct stk_rq
{
	stk_codebook cb;
	stk_allocator a;
	stk_pack packs[STK_MAX_LEVELS];
	uint32_t largest; /* size of the largest level */
};

/* Note where an error happened; returns err, which may be NULL. */
extern stk_error *stk_rq_place(stk_error *err, size_t row, int level);
/* STK_ERANGE: the residual that level would quantize left binary32's range. */
extern stk_status stk_rq_out_of_range(stk_error *err, size_t row, int level);
/* stk_rq_prepare_row, in the environment already entered, with a row number for the error. */
extern stk_status stk_rq_prepare(const stk_codebook *cb, const stk_reference *reference,
								 const float *x, float *out, size_t row, stk_error *err);

/* stk_rq_encode with a beam > 1, in the environment already entered. */
extern stk_status stk_rq_encode_beam(const stk_rq *rq, const stk_exec *exec, const float *x,
									 size_t n, int beam, uint16_t *codes, stk_error *err);

#endif
