/*
 * Measuring a codebook on rows.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "tokenizer/measure.h"
#include "types/bridge.h"

/* Rows encoded and evaluated at a time. */
#define MEASURE_PIECE 256

struct Measurement
{
	CodebookEntry *entry;
	int beam;
	stk_allocator allocator;
	stk_evaluator *evaluator;
	uint16 *codes; /* [MEASURE_PIECE][levels] */
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
	Measurement *m = palloc0(sizeof(*m));
	const stk_codebook *cb = CodebookView(entry);

	m->entry = entry;
	m->beam = beam;
	m->allocator = SemtokAllocator(CurrentMemoryContext);
	m->codes = palloc(sizeof(uint16) * MEASURE_PIECE * cb->levels);
	MeasureCheck(stk_evaluator_create(cb, &m->allocator, &m->evaluator), NULL);
	return m;
}

void
MeasureRows(Measurement *m, const float *x, size_t n)
{
	size_t dim = CodebookView(m->entry)->dim;

	for (size_t first = 0; first < n; first += MEASURE_PIECE)
	{
		size_t piece = Min(n - first, MEASURE_PIECE);
		const float *rows = x + first * dim;
		stk_exec exec = SemtokExec(CurrentMemoryContext);
		stk_error err = {.level = -1};

		CHECK_FOR_INTERRUPTS();
		MeasureCheck(stk_rq_encode(CodebookQuantizer(m->entry, m->beam), &exec, rows, piece,
								   m->beam, m->codes, NULL, &err),
					 &err);
		MeasureCheck(stk_evaluator_add(m->evaluator, rows, m->codes, piece, &err), &err);
	}
}

void
MeasureFinish(Measurement *m, stk_evaluation *result)
{
	MeasureCheck(stk_evaluator_finish(m->evaluator, &SemtokMonitor, result), NULL);
	stk_evaluator_free(m->evaluator);
	pfree(m->codes);
	pfree(m);
}
