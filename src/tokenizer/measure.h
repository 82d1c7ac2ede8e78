/*
 * Measuring a codebook on rows: encode them in pieces and evaluate the codes.
 */
#ifndef SEMTOK_MEASURE_H
#define SEMTOK_MEASURE_H

#include "postgres.h"

#include "core/evaluate.h"
#include "types/codebook.h"

typedef struct Measurement Measurement;

/*
 * Rows are encoded with this beam. Everything lives in the current memory context; the codebook
 * must stay pinned.
 */
extern Measurement *MeasureBegin(CodebookEntry *entry, int beam);
/* x is [n][dim]. */
extern void MeasureRows(Measurement *m, const float *x, size_t n);
extern void MeasureFinish(Measurement *m, stk_evaluation *result);

#endif
