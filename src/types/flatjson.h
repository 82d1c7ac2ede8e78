/*
 * Types whose text is one flat JSON object: numbers, short arrays of numbers, strings, and one
 * string of base64. Read in one pass by PostgreSQL's JSON parser, so tens of megabytes are no
 * matter; no json or jsonb value is made, whose strings are limited.
 */
#ifndef SEMTOK_FLATJSON_H
#define SEMTOK_FLATJSON_H

#include "postgres.h"

#include "compat.h"
#include "core/semid.h"
#include "lib/stringinfo.h"

typedef enum FlatJsonKind
{
	FLAT_JSON_NUMBER,
	FLAT_JSON_NUMBERS,
	FLAT_JSON_STRING
} FlatJsonKind;

typedef struct FlatJsonKey
{
	const char *name;
	FlatJsonKind kind;
	bool optional;
	bool seen;
	int32 number;                  /* FLAT_JSON_NUMBER */
	int32 numbers[STK_MAX_LEVELS]; /* FLAT_JSON_NUMBERS: one a level, or less */
	int n;
	char *string; /* FLAT_JSON_STRING; palloc'd */
} FlatJsonKey;

/*
 * Read text, which must be an object with every one of the keys exactly once, in any order, and
 * no other; those that are optional may be missing. Errors are 22P02 and name the type.
 */
extern void FlatJsonParse(const char *type, char *text, FlatJsonKey *keys, int nkeys);
/* The bytes that a string in base64 stands for; palloc'd. The string is freed. */
extern char *FlatJsonDecode(const char *type, FlatJsonKey *key, int *len);
/* Append bytes in base64. */
extern void FlatJsonAppendBase64(StringInfo out, const char *bytes, int len);
/* "invalid input syntax for type codebook" with this detail, a sentence (22P02). */
pg_noreturn extern void FlatJsonError(const char *type, const char *detail);

#endif
