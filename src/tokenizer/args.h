/*
 * Arguments of functions that are not strict.
 */
#ifndef SEMTOK_ARGS_H
#define SEMTOK_ARGS_H

#include "postgres.h"

#include "fmgr.h"

/* Refuse a null (22004); `what` is the argument's name. */
extern void ArgRequire(FunctionCallInfo fcinfo, int argno, const char *what);
/* A text argument that must not be null, as a C string. */
extern char *ArgText(FunctionCallInfo fcinfo, int argno, const char *what);
/* An int argument that must not be null and must lie in a range (22023). */
extern int32 ArgInt(FunctionCallInfo fcinfo, int argno, const char *what, int32 min, int32 max);
/*
 * An int[] argument that holds the size of every level (SizesArg's errors for what no ids can
 * have).
 *
 *   sizes  [STK_MAX_LEVELS]  out
 *
 * Returns the levels.
 */
extern int ArgSizes(FunctionCallInfo fcinfo, int argno, const char *what, uint32 *sizes);

#endif
