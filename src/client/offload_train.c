/*
 * Training, wherever it is computed.
 */
#include "postgres.h"

#include "client/offload.h"

#include "core/fpenv.h"
#include "types/bridge.h"
#include "utils/memutils.h"

/* Rows in the spool, for core. */
typedef struct SpoolRows
{
	Spool *spool;
	uint64 at;
	int dim;
} SpoolRows;

static stk_status
SpoolRowsRead(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const SpoolRows *rows = ctx;
	Size row = sizeof(float) * rows->dim;

	SpoolRead(rows->spool, rows->at + first * row, x, count * row);
	return STK_OK;
}

/*
 * In the session, on one thread. An error of a report or of reading leaves core by the way errors
 * go, so what core has set is put right here: its memory is `context`.
 */
static stk_status
TrainHere(const OffloadTraining *t, MemoryContext context, stk_train_result *result, stk_error *err)
{
	SpoolRows ctx = {t->spool, t->rows_at, t->plan.dim};
	SpoolRows heldout_ctx = {t->spool, t->heldout_at, t->plan.dim};
	stk_rows rows = {t->n, SpoolRowsRead, &ctx};
	stk_rows heldout = {t->heldout_n, SpoolRowsRead, &heldout_ctx};
	stk_exec exec = SemtokExec(context);
	stk_fpenv env = stk_fpenv_enter();
	volatile stk_status status = STK_OK;

	stk_fpenv_leave(env);
	PG_TRY();
	{
		status = stk_train(&t->plan, &exec, &rows, t->heldout_n > 0 ? &heldout : NULL, t->report,
						   t->report_ctx, result, err);
	}
	PG_FINALLY();
	{
		stk_fpenv_leave(env);
	}
	PG_END_TRY();
	return status;
}

stk_status
OffloadTrain(const OffloadTraining *t, void (*restarted)(void *ctx), stk_train_result *result,
			 stk_error *err)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok training", ALLOCSET_DEFAULT_SIZES);
	stk_status status;

	OffloadCheckDevice(t->device);
	status = TrainHere(t, context, result, err);
	MemoryContextDelete(context);
	return status;
}
