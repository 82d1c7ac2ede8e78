#include "attached.h"

void
stk_attached_init(stk_attached *t, const stk_exec *exec)
{
	*t = (stk_attached){
		.accelerator = exec->accelerator, .monitor = exec->monitor, .pool = exec->pool};
}

static void
drop_codebook(stk_attached *t)
{
	if (t->codebook)
		t->accelerator->ops->codebook_free(t->accelerator->ctx, t->codebook);
	t->codebook = NULL;
}

void
stk_detach(stk_attached *t)
{
	drop_codebook(t);
	if (t->rows)
		t->accelerator->ops->rows_free(t->accelerator->ctx, t->rows);
	t->rows = NULL;
}

/* What it said: is that the answer? */
static bool
is_answer(stk_attached *t, stk_status status)
{
	if (status == STK_EIO)
	{
		stk_detach(t);
		t->accelerator = NULL;
	}
	return status == STK_OK || status == STK_ECANCELED;
}

void
stk_attach_rows(stk_attached *t, const float *x, size_t n, size_t dim)
{
	const stk_accelerator *a = t->accelerator;
	stk_status status;

	if (!a || !a->ops->rows_create || !a->ops->rows_free)
		return;
	status = a->ops->rows_create(a->ctx, x, n, dim, t->monitor, &t->rows);
	if (status != STK_OK)
		t->rows = NULL;
	(void) is_answer(t, status);
}

void
stk_attach_codebook(stk_attached *t, const stk_codebook *cb, int beam)
{
	const stk_accelerator *a = t->accelerator;
	stk_status status;

	if (!a || !a->ops->codebook_create || !a->ops->codebook_free)
		return;
	drop_codebook(t);
	status = a->ops->codebook_create(a->ctx, cb, beam, &t->codebook);
	if (status != STK_OK)
		t->codebook = NULL;
	(void) is_answer(t, status);
}

bool
stk_attached_encode(stk_attached *t, uint16_t *codes, stk_status *status)
{
	const stk_accelerator *a = t->accelerator;

	if (!t->rows || !t->codebook || !a->ops->encode)
		return false;
	*status = a->ops->encode(a->ctx, t->rows, t->codebook, codes, t->monitor);
	return is_answer(t, *status);
}

bool
stk_attached_evaluate(stk_attached *t, stk_accelerator_evaluation *run, stk_status *status)
{
	const stk_accelerator *a = t->accelerator;

	if (!t->codebook || !a->ops->evaluate)
		return false;
	run->pool = t->pool;
	*status = a->ops->evaluate(a->ctx, t->codebook, run, t->monitor);
	return is_answer(t, *status);
}

bool
stk_attached_normal(stk_attached *t, stk_accelerator_normal *run, stk_status *status)
{
	const stk_accelerator *a = t->accelerator;

	if (!t->rows || !a->ops->normal)
		return false;
	*status = a->ops->normal(a->ctx, t->rows, run, t->monitor);
	return is_answer(t, *status);
}
