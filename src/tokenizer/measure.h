/*
 * Measuring a codebook on rows: encode them and evaluate the codes.
 */
#ifndef SEMTOK_MEASURE_H
#define SEMTOK_MEASURE_H

#include "postgres.h"

#include "core/evaluate.h"
#include "types/codebook.h"

typedef struct Measurement Measurement;

/*
 * Rows are encoded with this beam, by a codebook that stays pinned. Everything lives in the current
 * memory context.
 */
extern Measurement *MeasureBegin(CodebookEntry *entry, int beam);
/* x is [dim]. */
extern void MeasureRow(Measurement *m, const float *x);
extern void MeasureFinish(Measurement *m, stk_evaluation *result);

#endif
