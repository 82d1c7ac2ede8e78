/*
 * What the ways of bringing in a tokenizer share.
 */
#ifndef SEMTOK_IMPORT_H
#define SEMTOK_IMPORT_H

#include "postgres.h"

#include "fmgr.h"
#include "tokenizer/registry.h"

/* The argument id: null, which gives 0, or 1 and more. */
extern int32 ImportArgId(FunctionCallInfo fcinfo, int argno);

/* What is known of an imported tokenizer when nothing is said: an empty object. */
extern Jsonb *ImportNoOptions(void);

/*
 * Insert an imported tokenizer, whose name, id, codebook, options and counts [sum of sizes] have
 * been filled in. Counts that no rows can have are an error (22023).
 */
extern int32 ImportInsert(NewTokenizer *tokenizer);

#endif
