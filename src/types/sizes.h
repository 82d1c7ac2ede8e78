/*
 * Arguments of type int[]: how many codes each level has.
 */
#ifndef SEMTOK_SIZES_H
#define SEMTOK_SIZES_H

#include "postgres.h"

#include "utils/array.h"

#include "core/semid.h"

/*
 * Read an array of one dimension without NULLs, 1 to STK_MAX_LEVELS sizes of 1 to 65536 each,
 * into sizes[STK_MAX_LEVELS]; anything else is an error, in which `what` names the argument.
 * Returns their number.
 */
extern int SizesArg(ArrayType *array, const char *what, uint32 *sizes);

#endif
