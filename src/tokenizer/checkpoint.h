/*
 * Checkpoints: what a training has come to so far, in a file of the data directory, so that the
 * same call goes on from there after a cancel, a crash or a restart.
 *
 * Files lie in semtok_checkpoints, written whole or not at all. Their names tell nothing, and only
 * the server reads them. One that nobody goes on from is removed by a training a month later.
 */
#ifndef SEMTOK_CHECKPOINT_H
#define SEMTOK_CHECKPOINT_H

#include "postgres.h"

#include "tokenizer/sample.h"

typedef struct Checkpoint
{
	char path[MAXPGPATH];
} Checkpoint;

/*
 * The checkpoint of a training. It is found again by who trains the same name in the same way on
 * the same rows, in whatever order they come; heldout may have none.
 *
 *   how  all that makes a difference to what is learnt, as text
 */
extern void CheckpointInit(Checkpoint *c, const char *name, const char *how, const Sample *rows,
						   const Sample *heldout);

/* The state that was kept, [bytes] in the current context; NULL: there is none of this length. */
extern uint8 *CheckpointRead(const Checkpoint *c, Size bytes);
/* Keep a state, durably; it takes the place of the one before. */
extern void CheckpointWrite(const Checkpoint *c, const uint8 *state, Size bytes);
/* Remove it when the transaction commits: what came of it is there then. */
extern void CheckpointRemoveAtCommit(const Checkpoint *c);

/* Remove what nobody has gone on from for a month. */
extern void CheckpointSweep(void);

#endif
