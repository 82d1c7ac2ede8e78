/*
 * OpenBLAS's single-precision matrix product, from NumPy's copy among the rivals: what a k-means on
 * top of a BLAS would use.
 */
#ifndef BENCH_BLAS_H
#define BENCH_BLAS_H

#include <stdbool.h>
#include <stddef.h>

/* Look it up; false when the rivals are not installed. */
extern bool bench_blas(void);
/* Threads of each call from now on. */
extern void bench_blas_threads(int threads);
/* c [m][n] = a [m][k] . b [n][k] transposed. */
extern void bench_sgemm(const float *a, const float *b, float *c, size_t m, size_t n, size_t k);

#endif
