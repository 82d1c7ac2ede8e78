/*
 * CALL semtok.tokenize: what its walk over the tables and the work on a batch share.
 */
#ifndef SEMTOK_TOKENIZE_H
#define SEMTOK_TOKENIZE_H

#include "postgres.h"

#include "access/transam.h"
#include "client/offload.h"
#include "storage/block.h"
#include "tokenizer/catalog.h"
#include "utils/relcache.h"

/* Rows under way: tokenize_batch.c. */
typedef struct TokenizeRows TokenizeRows;

/* What a run was asked for. All of it outlives its commits. */
typedef struct TokenizeRun
{
	Oid relation;
	const char *alias; /* the relation's own name, quoted, which where_clause may qualify with */
	const char *embedding; /* quoted, as is column */
	const char *column;
	const char *read;  /* the embedding of a row of alias as real[] */
	const char *where; /* NULL = every row */
	const char *types; /* schema of semid, quoted */
	Oid semid;         /* the types' OIDs */
	Oid semid_array;
	bool append;
	TokenizerInfo tokenizer;
	EncodePipe *pipe;
	TokenizeRows *under_way; /* NULL between batches */
	int64 found;             /* rows that needed an id, so far */
	int64 rows;              /* given one */
	uint32 statements;       /* that wrote rows of the batch */
} TokenizeRun;

/* A range of blocks of one table; names are quoted and qualified. */
typedef struct TokenizeRange
{
	const char *table;
	const char *relation; /* run->relation */
	BlockNumber first;
	BlockNumber end;
	bool lock; /* lock the rows before their embeddings are read, so that none changes meanwhile */
} TokenizeRange;

/* The pipe that TokenizeRangeRows encodes with; it lives in the current memory context. */
extern EncodePipe *TokenizePipe(TokenizeRun *run, CodebookEntry *codebook);

/*
 * Give the rows of a range their ids, in the current transaction, whose active snapshot is older
 * than the call and lasts until its end. The caller has connected to SPI and resets the current
 * memory context afterwards.
 */
extern void TokenizeRangeRows(TokenizeRun *run, const TokenizeRange *range);

/*
 * Let rows be written where the old versions of rows of a range of blocks are, which a transaction
 * that has committed left there. The caller has a snapshot and a lock on the table against VACUUM.
 */
extern void TokenizeMakeRoom(Relation table, BlockNumber first, BlockNumber end);

/* What is known of who else has written. Begun before the first walk; tokenize_alone.c. */
typedef struct TokenizeAlone
{
	FullTransactionId next; /* the first id that has been given out since */
	uint64 own;             /* ids of our batches since */
	bool proven;            /* nothing to the contrary so far */
} TokenizeAlone;

/* In the caller's transaction, before the tables are measured. */
extern void TokenizeAloneBegin(TokenizeAlone *alone);
/* At the end of a batch's work on a table, after which its count of commands should be this. */
extern void TokenizeAloneBatch(TokenizeAlone *alone, Oid table, CommandId commands);
/*
 * True when nothing but the batches has written anything from the beginning on. Asked when the last
 * of them has committed.
 */
extern bool TokenizeAloneProven(const TokenizeAlone *alone);

#endif
