/*
 * The npy format 1.0 of one array: 6 bytes of magic, 2 of version, 2 of little-endian header
 * length, the header, the values. The header is a Python dictionary in ASCII, {'descr': '<i4',
 * 'fortran_order': False, 'shape': (2, 3), }, and spaces and a newline that bring the values to a
 * multiple of 64 bytes.
 */
#ifndef STK_NPY_H
#define STK_NPY_H

#include "npz.h"

/* Bytes before the values. */
extern size_t stk_npy_header_size(const stk_npy *array);
/* Write them into out. */
extern void stk_npy_write_header(const stk_npy *array, uint8_t *out);

/*
 * Read an array from an npy file, all of it; name is set already. STK_EINVAL with err filled for
 * other versions, Fortran order, other types than whole numbers and booleans, shapes that do not
 * fit the bytes.
 */
extern stk_status stk_npy_read(const uint8_t *bytes, size_t len, stk_npy *array, stk_error *err);

#endif
