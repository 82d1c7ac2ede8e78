/*
 * What an accelerator has of somebody's rows and codebook, and what it is asked about them.
 *
 * A question is answered (true, and *status is STK_OK or STK_ECANCELED), or the processor has to
 * compute it (false). An accelerator that is of no use any more is not asked again.
 */
#ifndef STK_ATTACHED_H
#define STK_ATTACHED_H

#include "exec.h"

typedef struct stk_attached
{
	const stk_accelerator *accelerator; /* NULL: there is none */
	const stk_monitor *monitor;         /* of the exec, as the pool */
	const stk_pool *pool;
	stk_accelerator_rows *rows;         /* NULL: it has none */
	stk_accelerator_codebook *codebook; /* NULL: the same */
} stk_attached;

/* Nothing is attached yet. Detach in the end. */
extern void stk_attached_init(stk_attached *t, const stk_exec *exec);
extern void stk_detach(stk_attached *t);

/* Let it have a copy of rows x [n][dim], or a codebook in the place of the last. Nothing fails. */
extern void stk_attach_rows(stk_attached *t, const float *x, size_t n, size_t dim);
extern void stk_attach_codebook(stk_attached *t, const stk_codebook *cb, int beam);

/* The rows' codes [n][levels] by the codebook. */
extern bool stk_attached_encode(stk_attached *t, uint16_t *codes, stk_status *status);
/* Of other rows, which run names; the pool is filled in here. */
extern bool stk_attached_evaluate(stk_attached *t, stk_accelerator_evaluation *run,
								  stk_status *status);
extern bool stk_attached_normal(stk_attached *t, stk_accelerator_normal *run, stk_status *status);

#endif
