/*
 * A model outside the search: the logits that it gives for prefixes, in an array or by a function
 * of the caller's that a search asks level by level.
 */
#ifndef SEMTOK_DECODE_SCORER_H
#define SEMTOK_DECODE_SCORER_H

#include "postgres.h"

#include "utils/array.h"

#include "core/decode.h"

/*
 * Logits of n prefixes out of an array: n rows, or the rows one after the other. `what` names them
 * in errors. Errors: 22004 a null, 2202E a shape that is not n rows of 1 to 65536 codes, 22023 NaN
 * or +infinity.
 *
 * Returns [n][*size], which point into the array.
 */
extern const float *LogitsRows(ArrayType *array, size_t n, const char *what, uint32 *size);

/* A function that gives them. */
typedef struct Scorer Scorer;

/*
 * Make ready to call a function with a context (a jsonb or null), in the current memory context.
 * Errors: 42883 no such function, 42809 one that cannot be a scorer, 42501 no EXECUTE.
 */
extern Scorer *ScorerOpen(Oid function, Datum context, bool context_is_null);

/* Its name and arguments, as errors name it. */
extern const char *ScorerName(const Scorer *scorer);

/* The tokenizer that it gives logits for, by its setting semtok.scorer_tokenizer; 0 = any. */
extern uint32 ScorerTokenizer(const Scorer *scorer);

/*
 * Logits of n > 0 prefixes of `level` codes. What it has answered before is not asked again, as
 * long as that fits in work_mem, so that a search that has to begin anew sees the same model.
 * LogitsRows' errors, and whatever the function raises.
 *
 * Returns [n][*size], valid until the next call.
 */
extern const float *ScorerLogits(Scorer *scorer, const stk_beam *prefixes, size_t n, int level,
								 uint32 *size);

#endif
