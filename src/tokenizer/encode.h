/*
 * Encoding one embedding.
 */
#ifndef SEMTOK_ENCODE_H
#define SEMTOK_ENCODE_H

#include "postgres.h"

#include "fmgr.h"
#include "tokenizer/catalog.h"

/*
 * The semid of an embedding, a float4[] datum, by a codebook at this width, 1 .. ENCODE_MAX_BEAM;
 * it names the tokenizer, 0 = none.
 */
extern Datum EncodeEmbedding(CodebookEntry *entry, int32 tokenizer, Datum embedding, int32 beam);

/* An argument beam (22023); null: `own`, what the tokenizer is meant to be encoded with. */
extern int32 EncodeBeamArg(FunctionCallInfo fcinfo, int argno, int32 own);

#endif
