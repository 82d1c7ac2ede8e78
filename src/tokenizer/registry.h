/*
 * Writing the catalog of tokenizers: always as the owner of its tables, who alone may.
 */
#ifndef SEMTOK_REGISTRY_H
#define SEMTOK_REGISTRY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/lockdefs.h"
#include "tokenizer/catalog.h"
#include "utils/jsonb.h"

/* Sub-ids of the catalog's lock tags, so that hashes of names, ids and the sequence do not meet. */
enum
{
	TOKENIZER_LOCK_NAME = 1,
	TOKENIZER_LOCK_ID = 2,
	TOKENIZER_LOCK_SEQUENCE = 3
};

/* Who ran before OwnerEnter. An error restores it at the end of the (sub)transaction. */
typedef struct OwnerSection
{
	Oid user;
	int context;
} OwnerSection;

/*
 * Become the owner of the catalog, restricted as index builds are: what runs inside can neither
 * change the session nor outlive the section. Run no SQL of the caller inside.
 */
extern void OwnerEnter(OwnerSection *section);
extern void OwnerLeave(const OwnerSection *section);

/* One measurement of a training, for semtok.training_log. */
typedef struct TrainingLogRow
{
	int step;
	int level; /* -1 = none */
	int epoch; /* -1 = none */
	const char *metric;
	double value;
	TimestampTz at;
} TrainingLogRow;

typedef struct NewTokenizer
{
	const char *name;
	const char *method;
	int32 id;       /* 0 = the next one */
	Datum codebook; /* 0 = none: levels and sizes tell the ids' shape, and rows and counts are 0 */
	int levels;
	const uint32 *sizes; /* [levels] */
	int64 rows;          /* it was trained on; 0 = not known */
	Jsonb *options;
	const double *counts; /* [sum of sizes]; NULL = not known */
	Datum state;          /* bytea, of a method that has one; 0 = none */
	const TrainingLogRow *log;
	int nlog;
} NewTokenizer;

/*
 * Refuse, before any long work, what TokenizerInsert would refuse: a name that is no name, or that
 * belongs to a role the current user is not a member of; a read-only transaction. verb is for
 * messages: "semtok.train()".
 */
extern void TokenizerCheckWritable(const char *verb, const char *name);

/*
 * Insert as the next version of its name, the first one active. Returns the id. One that was given
 * and that this name has with the same codebook (or, without one, the same sizes) is returned as it
 * is; any other use of it is an error (42710).
 */
extern int32 TokenizerInsert(const NewTokenizer *tokenizer);

/*
 * The same for a verb that changes versions of a name now: until the end of the transaction nobody
 * else does. The catalog is then as GetLatestSnapshot() shows it.
 */
extern void TokenizerLockForChange(const char *verb, const char *name);

/*
 * An id that was never given before, base and sequence taken into account, locked until the end of
 * the transaction. Call it as the catalog's owner. ids.c.
 */
extern int32 TokenizerNextId(void);
/* Never give this id: it is about to be inserted. As the catalog's owner. */
extern void TokenizerReserveId(int32 id);

/*
 * Lock a tokenizer until the end of the transaction: AccessExclusiveLock to drop it,
 * AccessShareLock so that it is not dropped meanwhile, ExclusiveLock to insert it.
 */
extern void TokenizerLockId(int32 id, LOCKMODE mode);

#endif
