/*
 * Measuring a codebook on rows.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "tokenizer/measure.h"
#include "tokenizer/source.h"
#include "types/bridge.h"

/* Rows encoded and evaluated at a time. */
#define MEASURE_PIECE 256
#define MEASURE_FAILED "could not evaluate tokenizer"

struct Measurement
{
	CodebookEntry *entry; /* NULL: rq it is */
	const stk_rq *rq;
	int dim;
	int beam;
	stk_allocator allocator;
	stk_evaluator *evaluator;
	uint16 *codes; /* [MEASURE_PIECE][levels] */
};

static void
MeasureCheck(stk_status status, const stk_error *err)
{
	if (status != STK_OK)
		SemtokReportStatus(status, err, MEASURE_FAILED);
}

static Measurement *
MeasureBeginCodebook(const stk_codebook *cb, int beam)
{
	Measurement *m = palloc0(sizeof(*m));

	m->dim = cb->dim;
	m->beam = beam;
	m->allocator = SemtokAllocator(CurrentMemoryContext);
	m->codes = palloc(sizeof(uint16) * MEASURE_PIECE * cb->levels);
	MeasureCheck(stk_evaluator_create(cb, &m->allocator, &m->evaluator), NULL);
	return m;
}

Measurement *
MeasureBegin(CodebookEntry *entry, int beam)
{
	Measurement *m = MeasureBeginCodebook(CodebookView(entry), beam);

	m->entry = entry;
	return m;
}

Measurement *
MeasureBeginQuantizer(const stk_rq *rq, int beam)
{
	Measurement *m = MeasureBeginCodebook(stk_rq_codebook(rq), beam);

	m->rq = rq;
	return m;
}

/* Up to MEASURE_PIECE rows; err->row is the one that a failure is about. */
static stk_status
MeasurePiece(Measurement *m, const float *x, size_t n, stk_error *err)
{
	const stk_rq *rq = m->entry ? CodebookQuantizer(m->entry, m->beam) : m->rq;
	stk_exec exec = SemtokExec(CurrentMemoryContext);
	stk_status status = stk_rq_encode(rq, &exec, x, n, m->beam, m->codes, NULL, err);

	if (status == STK_OK)
		status = stk_evaluator_add(m->evaluator, x, m->codes, n, err);
	return status;
}

void
MeasureRow(Measurement *m, const float *x)
{
	stk_error err = {.level = -1};

	MeasureCheck(MeasurePiece(m, x, 1, &err), &err);
}

void
MeasureSample(Measurement *m, const Sample *sample, const char *argument)
{
	for (size_t first = 0; first < sample->rows; first += MEASURE_PIECE)
	{
		size_t n = Min(sample->rows - first, MEASURE_PIECE);
		stk_error err = {.row = SIZE_MAX, .level = -1};
		stk_status status;

		CHECK_FOR_INTERRUPTS();
		status = MeasurePiece(m, sample->x + first * m->dim, n, &err);
		if (status != STK_OK)
			SourceReportStatus(status, &err, MEASURE_FAILED, argument, sample->numbers + first, n);
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
