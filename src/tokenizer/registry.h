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
	Datum codebook;
	int64 rows; /* it was trained on */
	Jsonb *options;
	const double *counts; /* [sum of sizes] */
	const TrainingLogRow *log;
	int nlog;
} NewTokenizer;

/*
 * Refuse, before any long work, what TokenizerInsert would refuse: a name that is no name, or that
 * belongs to a role the current user is not a member of; a read-only transaction. verb is for
 * messages: "semtok.train()".
 */
extern void TokenizerCheckWritable(const char *verb, const char *name);

/* Insert as the next version of its name, the first one active. Returns the id. */
extern int32 TokenizerInsert(const NewTokenizer *tokenizer);

/*
 * The same for a verb that changes versions of a name now: until the end of the transaction nobody
 * else does. The catalog is then as GetLatestSnapshot() shows it.
 */
extern void TokenizerLockForChange(const char *verb, const char *name);

/*
 * Lock a tokenizer until the end of the transaction: AccessExclusiveLock to drop it,
 * AccessShareLock so that it is not dropped meanwhile.
 */
extern void TokenizerLockId(int32 id, LOCKMODE mode);

#endif
