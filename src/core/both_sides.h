/*
 * Functions of headers that a device's kernels take as they are: one source, the same bits.
 */
#ifndef STK_BOTH_SIDES_H
#define STK_BOTH_SIDES_H

#ifdef __CUDACC__
#define STK_BOTH_SIDES __host__ __device__
#else
#define STK_BOTH_SIDES
#endif

#endif
