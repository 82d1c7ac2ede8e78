/*
 * Encoding one row after the other, in pieces that are taken in order: some on their way to a
 * worker and back, some computed in the session.
 */
#include "postgres.h"

#include "client/encode_impl.h"

#include "client/worker_impl.h"
#include "miscadmin.h"
#include "types/bridge.h"
#include "utils/memutils.h"

/* Rows that the session encodes at a time. */
#define PIPE_PIECE_HERE 256

EncodePipe *
EncodePipeBegin(const EncodePipeOptions *options)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok encode pipe", ALLOCSET_DEFAULT_SIZES);
	EncodePipe *pipe = MemoryContextAllocZero(context, sizeof(*pipe));
	double codewords = 0;

	OffloadCheckDevice(options->device);
	pipe->options = *options;
	pipe->device = OffloadDevice(options->device);
	pipe->context = context;
	pipe->cb = CodebookView(options->codebook);
	for (int l = 0; l < pipe->cb->levels; l++)
		codewords += pipe->cb->sizes[l];
	/*
	 * Behind the first level a beam costs about a look-up in a table for each codeword and prefix.
	 */
	pipe->row_multiply_adds = codewords * pipe->cb->dim +
							  (options->beam > 1 ? codewords * options->beam : 0) +
							  stk_network_multiply_adds(&pipe->cb->network);
	OffloadWhere(NULL);
	return pipe;
}

/* Encode the first n rows of a piece; err->row tells the one that a failure is about. */
static stk_status
PipeEncode(EncodePipe *pipe, Piece *piece, size_t n, stk_error *err)
{
	int beam = pipe->options.beam;
	stk_exec exec = SemtokExec(pipe->context);

	*err = (stk_error){.row = SIZE_MAX, .level = -1};
	return stk_rq_encode(CodebookQuantizer(pipe->options.codebook, beam), &exec, piece->x, n, beam,
						 piece->codes, NULL, err);
}

static void
PipeTake(EncodePipe *pipe, Piece *piece, size_t n)
{
	if (n > 0)
		pipe->options.take(pipe->options.ctx, piece->x, piece->tags, n, piece->codes);
}

/* Raise the error of a row, or of none, after the rows before it have been taken. */
pg_noreturn static void
PipeFail(EncodePipe *pipe, Piece *piece, stk_status status, const stk_error *err)
{
	if ((status == STK_EINVAL || status == STK_ERANGE) && err->row < piece->n)
	{
		stk_error none;

		if (PipeEncode(pipe, piece, err->row, &none) == STK_OK)
			PipeTake(pipe, piece, err->row);
		if (pipe->options.blame)
			pipe->options.blame(pipe->options.ctx, piece->tags[err->row]);
	}
	SemtokReportStatus(status, err, pipe->options.failed);
}

static void
PipeCompute(EncodePipe *pipe, Piece *piece)
{
	double begin = WorkerClock();
	stk_error err;
	stk_status status;

	CHECK_FOR_INTERRUPTS();
	status = PipeEncode(pipe, piece, piece->n, &err);
	if (status != STK_OK)
		PipeFail(pipe, piece, status, &err);
	pipe->here_ms += WorkerClock() - begin;
	if (piece->accused)
		WorkerDistrust(piece->request, "it found fault with a row that has none");
}

/* Have the oldest piece taken. */
static void
PipeDeliver(EncodePipe *pipe)
{
	Piece *piece = PipePiece(pipe, 0);

	if (!piece->away || !PipeCollect(pipe, piece))
		PipeCompute(pipe, piece);
	PipeTake(pipe, piece, piece->n);
	piece->n = 0;
	pipe->first = (pipe->first + 1) % PIPE_PIECES;
	pipe->count--;
}

/* Would so many rows go to a worker now? */
static bool
PipeGoes(EncodePipe *pipe, size_t rows)
{
	bool away;

	if (pipe->rest_till > 0 && WorkerClock() < pipe->rest_till)
		return false;
	if (OffloadGoes(pipe->device, pipe->row_multiply_adds * rows, pipe->here_ms,
					PipeRemoteBytes(pipe, 1), &away))
		return true;
	if (away)
		pipe->rest_till = WorkerClock() + PIPE_REST_MS;
	return false;
}

static void *
PipeArray(EncodePipe *pipe, void *old, size_t rows, Size bytes)
{
	if (old)
		pfree(old);
	return MemoryContextAllocHuge(pipe->context, mul_size(rows, bytes));
}

/* Room for the rows that come next. */
static void
PipeGather(EncodePipe *pipe, Piece *piece)
{
	size_t rows = PIPE_PIECE_HERE;

	pipe->rows = PipeRemoteRows(pipe);
	if (PipeGoes(pipe, Max(pipe->rows, 1)))
		rows = pipe->rows;
	if (piece->room < rows)
	{
		piece->x = PipeArray(pipe, piece->x, rows, sizeof(float) * stk_codebook_inputs(pipe->cb));
		piece->tags = PipeArray(pipe, piece->tags, rows, sizeof(int64));
		piece->codes = PipeArray(pipe, piece->codes, rows, sizeof(uint16) * pipe->cb->levels);
		piece->room = rows;
	}
	pipe->full = rows;
}

/* Hand in the rows gathered, and have taken what can be without waiting. */
static void
PipeHandIn(EncodePipe *pipe)
{
	Piece *piece = PipePiece(pipe, pipe->count);

	piece->away = false;
	piece->accused = false;
	piece->losses = 0;
	piece->missing = 0;
	if (piece->n <= pipe->rows && PipeGoes(pipe, piece->n) &&
		WorkerData() + PipePieceBytes(pipe, piece->n) <= OffloadLimit())
		PipeAsk(pipe, piece);
	pipe->count++;
	if (PipePiece(pipe, 0)->away)
		WorkerPoll();
	while (pipe->count > 0 && (pipe->count == PIPE_PIECES - 1 || !PipePiece(pipe, 0)->away ||
							   PipePiece(pipe, 0)->request->answer != WORKER_ASKED))
		PipeDeliver(pipe);
}

void
EncodePipeAdd(EncodePipe *pipe, const float *x, int64 tag)
{
	Piece *piece = PipePiece(pipe, pipe->count);

	if (piece->n == 0)
		PipeGather(pipe, piece);
	memcpy(piece->x + piece->n * stk_codebook_inputs(pipe->cb), x,
		   sizeof(float) * stk_codebook_inputs(pipe->cb));
	piece->tags[piece->n++] = tag;
	if (piece->n == pipe->full)
		PipeHandIn(pipe);
}

void
EncodePipeFlush(EncodePipe *pipe)
{
	if (PipePiece(pipe, pipe->count)->n > 0)
		PipeHandIn(pipe);
	while (pipe->count > 0)
		PipeDeliver(pipe);
}

void
EncodePipeEnd(EncodePipe *pipe)
{
	EncodePipeFlush(pipe);
	MemoryContextDelete(pipe->context);
}
