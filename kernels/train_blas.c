/*
 * cuBLAS, opened at run time by the name that its version of CUDA has. The few functions that are
 * used are declared here, as cublas_v2.h does, so that building needs CUDA's compiler alone.
 */
#include "train_blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* cublasStatus_t's success, and cublasOperation_t. */
enum
{
	SUCCESS = 0,
	PLAIN = 0,
	TRANSPOSED = 1
};

typedef struct cublasContext *handle;

static struct
{
	int (*create)(handle *h);
	int (*destroy)(handle h);
	int (*set_stream)(handle h, cudaStream_t stream);
	int (*set_workspace)(handle h, void *workspace, size_t bytes);
	int (*sgemm)(handle h, int transa, int transb, int m, int n, int k, const float *alpha,
				 const float *a, int lda, const float *b, int ldb, const float *beta, float *c,
				 int ldc);
	const char *(*describe)(int status);
} blas;

static char why_not[128];

struct stk_blas
{
	handle h;
	void *workspace;
};

/* Once in a program's life: a library that is missing now is missing until the next. */
static void
open_library(void)
{
	char name[32];
	void *library;
	const struct
	{
		void *function;
		const char *name;
	} needed[] = {
		{&blas.create, "cublasCreate_v2"},        {&blas.destroy, "cublasDestroy_v2"},
		{&blas.set_stream, "cublasSetStream_v2"}, {&blas.set_workspace, "cublasSetWorkspace_v2"},
		{&blas.sgemm, "cublasSgemm_v2"},          {&blas.describe, "cublasGetStatusString"}};

	snprintf(name, sizeof(name), "libcublas.so.%d", CUDART_VERSION / 1000);
	library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!library)
	{
		snprintf(why_not, sizeof(why_not), "%s is not installed", name);
		return;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
	{
		void *found = dlsym(library, needed[i].name);

		if (!found)
		{
			snprintf(why_not, sizeof(why_not), "%s has no %s", name, needed[i].name);
			return;
		}
		*(void **) needed[i].function = found;
	}
}

static stk_status
blas_status(int code, stk_error *err)
{
	return code == SUCCESS
			   ? STK_OK
			   : stk_fail(err, STK_EIO, "could not multiply matrices: %.100s", blas.describe(code));
}

stk_status
stk_blas_create(cudaStream_t stream, stk_blas **out, stk_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	stk_blas *b;
	stk_status status;

	*out = NULL;
	pthread_once(&once, open_library);
	if (why_not[0])
		return stk_fail(err, STK_EDEVICE, "%s", why_not);
	b = calloc(1, sizeof(*b));
	if (!b)
		return STK_ENOMEM;
	status = stk_cuda_status(cudaMalloc(&b->workspace, STK_BLAS_BYTES),
							 "make room for products of matrices", err);
	if (status == STK_OK)
		status = blas_status(blas.create(&b->h), err);
	if (status == STK_OK)
		status = blas_status(blas.set_stream(b->h, stream), err);
	/* After the stream, which would take another. */
	if (status == STK_OK)
		status = blas_status(blas.set_workspace(b->h, b->workspace, STK_BLAS_BYTES), err);
	if (status == STK_OK)
		*out = b;
	else
		stk_blas_free(b);
	return status;
}

void
stk_blas_free(stk_blas *b)
{
	if (!b)
		return;
	if (b->h)
		(void) blas.destroy(b->h);
	(void) cudaFree(b->workspace);
	free(b);
}

/*
 * As cuBLAS has it: columns lie together, so each of our matrices is the transpose of one of its.
 */
static stk_status
multiply(stk_blas *b, int transa, int transb, size_t m, size_t n, size_t k, stk_blas_matrix left,
		 stk_blas_matrix right, stk_blas_matrix product, stk_error *err)
{
	static const float one = 1, zero = 0;

	return blas_status(blas.sgemm(b->h, transa, transb, (int) m, (int) n, (int) k, &one, left.at,
								  (int) left.stride, right.at, (int) right.stride, &zero,
								  product.at, (int) product.stride),
					   err);
}

stk_status
stk_blas_forward(stk_blas *b, size_t n, int in, int out, stk_blas_matrix x, stk_blas_matrix w,
				 stk_blas_matrix y, stk_error *err)
{
	return multiply(b, TRANSPOSED, PLAIN, (size_t) out, n, (size_t) in, w, x, y, err);
}

stk_status
stk_blas_backward(stk_blas *b, size_t n, int in, int out, stk_blas_matrix y, stk_blas_matrix w,
				  stk_blas_matrix x, stk_error *err)
{
	return multiply(b, PLAIN, PLAIN, (size_t) in, n, (size_t) out, w, y, x, err);
}

stk_status
stk_blas_weights(stk_blas *b, size_t n, int in, int out, stk_blas_matrix y, stk_blas_matrix x,
				 stk_blas_matrix w, stk_error *err)
{
	return multiply(b, PLAIN, TRANSPOSED, (size_t) in, (size_t) out, n, x, y, w, err);
}
