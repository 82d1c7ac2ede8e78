/*
 * What encode_pipe.c (order, and the session's own computing) and encode_remote.c (asking a worker)
 * share.
 */
#ifndef SEMTOK_ENCODE_IMPL_H
#define SEMTOK_ENCODE_IMPL_H

#include "postgres.h"

#include "client/offload_impl.h"

/* Pieces of a pipe: one is gathered while the others are on their way. */
#define PIPE_PIECES 4
/* How long a pipe does without a worker after one has failed it. */
#define PIPE_REST_MS 10000

/* Rows that are encoded together. They stay in memory until they are taken: no file is needed to
 * compute them in the session after all. */
typedef struct Piece
{
	size_t n;
	size_t room;   /* rows */
	float *x;      /* [room][inputs] */
	int64 *tags;   /* [room] */
	uint16 *codes; /* [room][levels] */

	bool away;    /* a worker has been asked; else the session computes it in its turn */
	bool accused; /* the worker says that a row is at fault: the session will see */
	int losses;   /* workers lost over it */
	int missing;  /* times that the worker had not got the codebook */
	uint64 loads; /* the pipe's, when the worker was asked */
	WorkerRequest *request;
	uint64 at;       /* its place in the spool, and how long that is */
	uint64 bytes;    /* 0 = none yet */
	uint64 codes_at; /* 0 = in the answer's body */
} Piece;

struct EncodePipe
{
	EncodePipeOptions options;
	MemoryContext context; /* of the pipe and all that belongs to it */
	const stk_codebook *cb;
	stk_device device; /* that is wanted */
	Piece pieces[PIPE_PIECES];
	int first;   /* the oldest that has not been taken */
	int count;   /* that have been handed in and not been taken; the next is being gathered */
	size_t full; /* rows of the piece that is being gathered, when it is full */
	double row_multiply_adds;
	double here_ms;   /* that the session has computed so far */
	double rest_till; /* of the clock; no worker is asked until then */

	/* Of asking a worker. */
	size_t rows;  /* of a piece */
	Spool *spool; /* NULL until it is needed */
	WorkerRequest *load;
	uint64 loads; /* of the codebook, so far */
	uint64 codebook_at;
	bool codebook_placed;
};

static inline Piece *
PipePiece(EncodePipe *pipe, int i)
{
	return &pipe->pieces[(pipe->first + i) % PIPE_PIECES];
}

/* How many rows a piece for a worker may have; 0 when semtok.max_worker_bytes leaves none. */
extern size_t PipeRemoteRows(const EncodePipe *pipe);
/* Bytes that so many rows and their codes take. */
extern uint64 PipePieceBytes(const EncodePipe *pipe, size_t rows);
/* Bytes that a worker gets of a pipe at a time, when its pieces have so many rows. */
extern uint64 PipeRemoteBytes(const EncodePipe *pipe, size_t rows);
/* Ask a worker, who is connected, for a piece. */
extern void PipeAsk(EncodePipe *pipe, Piece *piece);
/*
 * Get the codes of the oldest piece, which is away. False when the session is to compute it.
 */
extern bool PipeCollect(EncodePipe *pipe, Piece *piece);

#endif
