/*
 * codebook on the PostgreSQL side, and the backend's cache of parsed codebooks.
 *
 * Parsed codebooks (view, prepared quantizer, Gram tables) are kept by content hash, so nothing
 * ever invalidates them; semtok.codebook_cache bounds the memory that no one is using.
 */
#ifndef SEMTOK_CODEBOOK_H
#define SEMTOK_CODEBOOK_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"

#include "core/codebook.h"
#include "core/rq.h"

#define CODEBOOK_HASH_LENGTH 32 /* SHA-256 of the stored form */

typedef struct CodebookEntry CodebookEntry;

/* Pin the parsed form of a codebook datum until `owner` is reset or deleted. */
extern CodebookEntry *CodebookPin(Datum codebook, MemoryContext owner);
/* The same by hash; NULL when the cache does not hold it. */
extern CodebookEntry *CodebookPinByHash(const uint8 *hash, MemoryContext owner);
/*
 * The codebook argument of a function: parsed once per query, not per row. Uses the call site's
 * fn_extra, which belongs to these functions alone.
 */
extern CodebookEntry *CodebookArg(FunctionCallInfo fcinfo, int argno);

extern const stk_codebook *CodebookView(const CodebookEntry *entry);
extern const uint8 *CodebookHash(const CodebookEntry *entry); /* [CODEBOOK_HASH_LENGTH] */
/* The stored form that the hash is of; *bytes is its length. */
extern const uint8 *CodebookStored(const CodebookEntry *entry, Size *bytes);
/*
 * What the codewords are measured against: x [inputs] itself, or what the network's encoder makes
 * of it, palloc'd.
 */
extern const float *CodebookLatent(const stk_codebook *cb, const float *x);
/*
 * Prepared to encode with a beam of this width and the vector unit of semtok.simd. Tables that only
 * wider beams than 1 need are made at the first such call, everything anew after the setting has
 * changed: so the result is good as long as no other code runs.
 */
extern const stk_rq *CodebookQuantizer(CodebookEntry *entry, int beam);
/* Gram tables for neighbors; made at the first call. */
extern const float *CodebookGram(CodebookEntry *entry);

/* Forget codebooks that no one is using, until the rest fits into so many kB. Cannot fail. */
extern void CodebookCacheTrim(int kilobytes);

#define PG_GETARG_CODEBOOK_P(n) ((struct varlena *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)))

/* View a detoasted datum; a corrupt one is an error. */
extern void CodebookReadView(struct varlena *v, stk_codebook *view);

/* A shape without a network and without floats. */
extern stk_codebook CodebookShape(stk_metric metric, int levels, const uint32 *sizes, int dim);
/*
 * A datum of this shape, its floats still to be filled in: *floats is where they go, the codewords,
 * [sum of sizes][dim], then those of the network (network.h). A shape beyond the limits is an error
 * (54000).
 */
extern struct varlena *CodebookAllocate(const stk_codebook *shape, float **floats);
/* Raise an error (22023) when a codeword is not finite. */
extern void CodebookCheckFinite(struct varlena *v);
/* The metric of this name, or an error (22023). */
extern stk_metric CodebookParseMetric(const char *name);

/* Build a datum from a shape and the codewords in stored order ([sum of sizes][dim]). */
extern Datum CodebookMakeDatum(stk_metric metric, int levels, const uint32 *sizes, int dim,
							   const float *codewords);

/*
 * An embedding argument: float4[] without NULLs, one dimension, finite. Returns its values
 * (pointing into the detoasted array) and checks the count when expected_dim > 0:
 * "expected 128 dimensions, not 64".
 */
extern const float *EmbeddingArg(Datum array, int expected_dim, int *dim);
/* The same, but NULL where that raises an error. */
extern const float *EmbeddingTry(Datum array, int expected_dim, int *dim);
/* Is every value 0, or -0? */
extern bool EmbeddingIsZero(const float *x, int dim);
/* A one-dimensional float4[], its values not yet set. */
extern ArrayType *EmbeddingArrayMake(int dim);
/* A one-dimensional float4[] of these values. */
extern ArrayType *EmbeddingArray(const float *values, int dim);

#endif
