/*
 * Measuring a codebook on rows.
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "tokenizer/measure.h"
#include "types/bridge.h"

struct Measurement
{
	CodebookEntry *entry;
	int beam;
	stk_allocator allocator;
	stk_evaluator *evaluator;
	uint16 *codes; /* [levels] */
};

static void
MeasureCheck(stk_status status, const stk_error *err)
{
	if (status != STK_OK)
		SemtokReportStatus(status, err, "could not evaluate tokenizer");
}

Measurement *
MeasureBegin(CodebookEntry *entry, int beam)
{
	const stk_codebook *cb = CodebookView(entry);
	Measurement *m = palloc0(sizeof(*m));

	m->entry = entry;
	m->beam = beam;
	m->allocator = SemtokAllocator(CurrentMemoryContext);
	m->codes = palloc(sizeof(uint16) * cb->levels);
	MeasureCheck(stk_evaluator_create(cb, &m->allocator, &m->evaluator), NULL);
	return m;
}

void
MeasureRow(Measurement *m, const float *x)
{
	stk_error err = {.level = -1};
	stk_exec exec = SemtokExec(CurrentMemoryContext);

	MeasureCheck(stk_rq_encode(CodebookQuantizer(m->entry, m->beam), &exec, x, 1, m->beam, m->codes,
							   NULL, &err),
				 &err);
	MeasureCheck(stk_evaluator_add(m->evaluator, x, m->codes, 1, &err), &err);
}

void
MeasureFinish(Measurement *m, stk_evaluation *result)
{
	MeasureCheck(stk_evaluator_finish(m->evaluator, &SemtokMonitor, result), NULL);
	stk_evaluator_free(m->evaluator);
	pfree(m->codes);
	pfree(m);
}
