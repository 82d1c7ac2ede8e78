/*
 * Measuring a codebook on rows: encode them in pieces and evaluate the codes.
 */
#ifndef SEMTOK_MEASURE_H
#define SEMTOK_MEASURE_H

#include "postgres.h"

#include "core/evaluate.h"
#include "core/rq.h"
#include "tokenizer/sample.h"
#include "types/codebook.h"

typedef struct Measurement Measurement;

/*
 * Rows are encoded with this beam, by a codebook that stays pinned or by a quantizer that outlives
 * the measurement. Everything lives in the current memory context.
 */
extern Measurement *MeasureBegin(CodebookEntry *entry, int beam);
extern Measurement *MeasureBeginQuantizer(const stk_rq *rq, int beam);
/* x is [dim]. */
extern void MeasureRow(Measurement *m, const float *x);
/* All of a sample; errors name the row of the query that came as `argument`. */
extern void MeasureSample(Measurement *m, const Sample *sample, const char *argument);
extern void MeasureFinish(Measurement *m, stk_evaluation *result);

#endif
