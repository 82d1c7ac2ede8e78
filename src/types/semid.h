/*
 * semid on the PostgreSQL side. A datum is a varlena (short headers allowed) around core's
 * stored form, so read it with the _ANY macros and never assume alignment.
 */
#ifndef SEMTOK_SEMID_H
#define SEMTOK_SEMID_H

#include "postgres.h"

#include "fmgr.h"
#include "compat.h"
#include "core/semid.h"

#define DatumGetSemidPP(d) ((struct varlena *) PG_DETOAST_DATUM_PACKED(d))
#define PG_GETARG_SEMID_PP(n) DatumGetSemidPP(PG_GETARG_DATUM(n))
#define SemidBytes(v) ((const uint8 *) VARDATA_ANY(v))
#define SemidLength(v) ((size_t) VARSIZE_ANY_EXHDR(v))

/* The order of two semids: below 0, 0 or above 0. semid_ops.c */
extern int SemidCompare(Datum a, Datum b);

/* A new datum, palloc'd. */
extern Datum SemidMakeDatum(const stk_semid *id);
/* The same from a stored form. */
extern Datum SemidBytesDatum(const uint8 *bytes, size_t len);
/* Take a datum apart; a corrupt one is an error. */
extern void SemidUnpack(struct varlena *v, stk_semid *id);
/* An argument as a semid's tokenizer; a negative one is an error. */
extern uint32 SemidTokenizerArg(int32 tokenizer);

/* For those who must know an operator by its function. */
extern PGDLLEXPORT Datum semid_cmp(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum semid_starts_with(PG_FUNCTION_ARGS);

#endif
