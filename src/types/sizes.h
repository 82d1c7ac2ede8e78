/*
 * Arguments that are arrays of numbers; of type int[]: how many codes each level has, and where its
 * tokens begin.
 */
#ifndef SEMTOK_SIZES_H
#define SEMTOK_SIZES_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"

#include "core/csr.h"
#include "core/semid.h"

/*
 * The number of elements of an array of one dimension (or none) without NULLs; another is an error
 * (2202E, 22004), in which `what` names it.
 */
extern int PlainArray(ArrayType *array, const char *what);

/*
 * Read an array of one dimension without NULLs, 1 to STK_MAX_LEVELS sizes of 1 to 65536 each,
 * into sizes[STK_MAX_LEVELS]; anything else is an error, in which `what` names the argument.
 * Returns their number.
 */
extern int SizesArg(ArrayType *array, const char *what, uint32 *sizes);

/*
 * Read an argument offsets int[], one dimension, no NULLs, none negative, into tokens; none at all
 * when it is null.
 */
extern void OffsetsArg(FunctionCallInfo fcinfo, int argno, stk_csr_tokens *tokens);

#endif
