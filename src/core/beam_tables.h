/*
 * What a codebook's beam encoding has ready: codewords packed for scores of their own worth, and
 * the dot products between codewords of different levels. With the dot products x . c_k of a row,
 * every prefix's scores are sums of table rows: no residual is formed.
 */
#ifndef STK_BEAM_TABLES_H
#define STK_BEAM_TABLES_H

#include "codebook.h"
#include "exec.h"
#include "pack.h"

/* Codebooks whose tables would need more than this have none. */
#define STK_BEAM_TABLE_BYTES ((size_t) 64 << 20)
/* Scores come in groups of so many. */
#define STK_BEAM_LANES 16

typedef struct stk_beam_level
{
	stk_pack pack;   /* not centred, binary32 */
	uint32_t stride; /* floats of a table row, a multiple of STK_BEAM_LANES */
	size_t first;    /* where this level's scores begin among a row's */
	size_t above;    /* codewords of the levels above; a codeword's place among them all */
	float *products; /* [above][stride] dot products c_a . c_k, zeros behind the last k */
} stk_beam_level;

typedef struct stk_beam_tables
{
	int levels;
	size_t total; /* scores of a row: the levels' strides */
	stk_beam_level level[STK_MAX_LEVELS];
	void *memory; /* as allocated */
	size_t bytes;
	stk_allocator a;
} stk_beam_tables;

/*
 * Make the tables of cb, whose floats must outlive them; half norms as the reference computes
 * them. *out is NULL with STK_OK where there are none: the table would be too big, or this
 * processor has no filter in binary32. STK_ENOMEM, STK_ECANCELED. In the caller's floating-point
 * environment.
 */
extern stk_status stk_beam_tables_create(const stk_codebook *cb, const stk_exec *exec,
										 const stk_allocator *a, stk_beam_tables **out);
extern void stk_beam_tables_free(stk_beam_tables *t);

/*
 * Bound the error of a prefix's value (rq_beam.c) at every level, for a row with |x| <= norm.
 *
 *   error  [levels]  out
 *
 * False when numbers are too large for binary32: nothing is proved.
 */
extern bool stk_beam_errors(const stk_beam_tables *t, double norm, double *error);

/*
 * Values of a prefix's children: out[k] = base + (scores[k] - rows[0][k] - rows[1][k] ...) in
 * binary32, each step rounded.
 *
 *   scores  [n]                n a multiple of STK_BEAM_LANES
 *   rows    [count][n]
 *   out     [n]
 *   maxima  [STK_BEAM_LANES]   out, the largest of out[i], out[i + STK_BEAM_LANES], ...
 */
typedef void (*stk_beam_children)(float base, const float *scores, const float *const *rows,
								  int count, uint32_t n, float *out, float *maxima);

extern stk_beam_children stk_beam_children_for(const stk_cpu *cpu);

#endif
