#include "blas.h"

#include <dlfcn.h>
#include <stdint.h>

#include "rival.h"

/* cblas.h's names for the order of matrices. */
#define ROW_MAJOR 101
#define NOT_TRANSPOSED 111
#define TRANSPOSED 112

typedef void (*sgemm_function)(int order, int transpose_a, int transpose_b, int64_t m, int64_t n,
							   int64_t k, float alpha, const float *a, int64_t lda, const float *b,
							   int64_t ldb, float beta, float *c, int64_t ldc);
typedef void (*threads_function)(int threads);

static sgemm_function sgemm;
static threads_function set_threads;

bool
bench_blas(void)
{
	char path[1024];
	void *library;

	if (sgemm)
		return true;
	if (!bench_rival_text("openblas.py", path, sizeof(path)))
		return false;
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return false;
	/* As POSIX has it: a function's address from a pointer to an object. */
	*(void **) &sgemm = dlsym(library, "scipy_cblas_sgemm64_");
	*(void **) &set_threads = dlsym(library, "scipy_openblas_set_num_threads64_");
	return sgemm && set_threads;
}

void
bench_blas_threads(int threads)
{
	set_threads(threads);
}

void
bench_sgemm(const float *a, const float *b, float *c, size_t m, size_t n, size_t k)
{
	sgemm(ROW_MAJOR, NOT_TRANSPOSED, TRANSPOSED, (int64_t) m, (int64_t) n, (int64_t) k, 1, a,
		  (int64_t) k, b, (int64_t) k, 0, c, (int64_t) n);
}
