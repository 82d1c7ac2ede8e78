/*
 * Binary32 arithmetic that training is made of, by one vector unit or another. Every number that
 * comes out is rounded where it says so and nowhere else, so all units give the same bits.
 */
#ifndef STK_DENSE_H
#define STK_DENSE_H

#include "cpu.h"

/* The most a tile of a product has. */
#define STK_DENSE_MAX_ROWS 12
#define STK_DENSE_MAX_COLUMNS 32

/* AdamW's numbers at one step, as rqvae.h has them. */
typedef struct stk_adamw
{
	float cut;    /* gradients times this */
	float decay;  /* 1 - rate * weight_decay */
	float first;  /* 1 - beta1 */
	float second; /* beta2 */
	float fresh;  /* 1 - beta2 */
	float root;   /* sqrt(1 - beta2^t) */
	float rate;   /* rate / (1 - beta1^t) */
	float epsilon;
} stk_adamw;

typedef struct stk_dense
{
	uint32_t rows; /* of a product's tile */
	uint32_t columns;

	/*
	 * Lay lines of a matrix side by side: to[i][j] = from[j * line + i * term], i < terms, j < rows
	 * (columns); one of line and term is 1.
	 */
	void (*pack_rows)(const float *from, size_t line, size_t term, size_t terms, float *to);
	void (*pack_columns)(const float *from, size_t line, size_t term, size_t terms, float *to);
	/*
	 * A tile of a product: c[r][j] = c[r][j] (fresh: 0) + a[0][r] b[0][j] + a[1][r] b[1][j] ...,
	 * each term fused.
	 *
	 *   a  [k][rows]
	 *   b  [k][columns]
	 *   c  [rows][columns] in lines of `stride`
	 */
	void (*multiply)(const float *a, const float *b, size_t k, float *c, size_t stride, bool fresh);

	/* y = y + bias where that is above 0, else +0. */
	void (*bias_relu)(float *y, const float *bias, size_t n);
	/* g = +0 where y is not above 0. */
	void (*relu_slope)(float *g, const float *y, size_t n);
	/* y = y + x. */
	void (*add)(float *y, const float *x, size_t n);
	/* y = factor * x; y may be x. */
	void (*scale)(float *y, const float *x, float factor, size_t n);
	/* a = a + take * (p - a). */
	void (*approach)(float *a, const float *p, float take, size_t n);
	/*
	 * g' = g cut; m = m + first (g' - m); v = v second + fresh g' g';
	 * p = p decay - rate (m / (sqrt(v) / root + epsilon)).
	 */
	void (*adamw)(const stk_adamw *w, const float *g, float *m, float *v, float *p, size_t n);
} stk_dense;

extern const stk_dense stk_dense_scalar;
#if defined(__x86_64__)
extern const stk_dense stk_dense_avx2;
extern const stk_dense stk_dense_avx512;
#elif defined(__aarch64__)
extern const stk_dense stk_dense_neon;
#endif

/* That of the processor's path. */
extern const stk_dense *stk_dense_of(const stk_cpu *cpu);

#endif
