/*
 * What scores a row at several levels from the row alone, without its residuals (pack_joint.cu).
 */
#ifndef STK_PACK_JOINT_H
#define STK_PACK_JOINT_H

#include "pack_margin.cuh"

/*
 * Make d's joints, as many as suit it, asynchronously on stream; d's levels are on the device.
 * STK_ENOMEM, STK_EIO.
 *
 *   bounds  of d's levels, in units of each one's own scale
 */
extern stk_status stk_joint_create(stk_device_codebook *d, const stk_codebook *cb,
								   const level_bound *bounds, cudaStream_t stream, stk_error *err);

#endif
