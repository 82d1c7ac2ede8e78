/*
 * Asking a worker for the codes of a pipe's pieces.
 */
#include "postgres.h"

#include "client/encode_impl.h"

#include "client/worker_impl.h"
#include "guc.h"

/* Data of a piece, about; and its rows at least. */
#define PIPE_PIECE_BYTES (4 * 1024 * 1024)
#define PIPE_PIECE_ROWS 16
/* Times that the worker may have forgotten the codebook by the time a piece comes. */
#define PIPE_MAX_MISSING 4

static Size
PipeRowBytes(const EncodePipe *pipe)
{
	return sizeof(float) * stk_codebook_inputs(pipe->cb);
}

static Size
PipeCodesBytes(const EncodePipe *pipe, size_t n)
{
	return sizeof(uint16) * pipe->cb->levels * n;
}

uint64
PipePieceBytes(const EncodePipe *pipe, size_t rows)
{
	return rows * (PipeRowBytes(pipe) + PipeCodesBytes(pipe, 1));
}

uint64
PipeRemoteBytes(const EncodePipe *pipe, size_t rows)
{
	Size codebook;

	CodebookStored(pipe->options.codebook, &codebook);
	return codebook + PipePieceBytes(pipe, rows) * (PIPE_PIECES - 1);
}

size_t
PipeRemoteRows(const EncodePipe *pipe)
{
	size_t rows = Max(PIPE_PIECE_BYTES / PipeRowBytes(pipe), PIPE_PIECE_ROWS);
	uint64 limit = OffloadLimit();
	uint64 none = PipeRemoteBytes(pipe, 0);

	rows = Min(rows, STK_ENCODE_MAX_ROWS);
	if (limit < none)
		return 0;
	return Min(rows, (limit - none) / (PIPE_PIECES - 1) / PipePieceBytes(pipe, 1));
}

static Spool *
PipeSpool(EncodePipe *pipe)
{
	if (!pipe->spool)
		pipe->spool = SpoolCreate(pipe->context);
	return pipe->spool;
}

/* A place in the spool of so many bytes: the piece's own, from one use to the next. */
static void
PipePlace(EncodePipe *pipe, Piece *piece, uint64 bytes)
{
	if (piece->bytes >= bytes)
		return;
	piece->at = SpoolReserve(PipeSpool(pipe), bytes);
	piece->bytes = bytes;
}

void
PipeAsk(EncodePipe *pipe, Piece *piece)
{
	Size rows_bytes = PipeRowBytes(pipe) * piece->n;
	Size codes_bytes = PipeCodesBytes(pipe, piece->n);
	Size codes_from = TYPEALIGN(8, rows_bytes);
	stk_encode m = {.device = pipe->device,
					.beam = pipe->options.beam,
					.dim = stk_codebook_inputs(pipe->cb),
					.levels = pipe->cb->levels,
					.n = (uint32) piece->n};
	uint64 number;
	uint8 *out;

	if (!piece->request)
		piece->request = WorkerRequestCreate(pipe->context);
	memcpy(m.hash, CodebookHash(pipe->options.codebook), STK_HASH_BYTES);
	m.rows.bytes = rows_bytes;
	m.rows.in_file = rows_bytes > STK_INLINE_MAX;
	piece->codes_at = 0;
	if (m.rows.in_file || codes_bytes > STK_INLINE_MAX)
		PipePlace(pipe, piece, codes_from + codes_bytes);
	if (m.rows.in_file)
	{
		m.rows.offset = piece->at;
		SpoolWrite(pipe->spool, piece->at, piece->x, rows_bytes);
	}
	else
		m.rows.inside = (const uint8 *) piece->x;
	if (codes_bytes > STK_INLINE_MAX)
		m.codes_at = piece->codes_at = piece->at + codes_from;

	piece->away = true;
	piece->loads = pipe->loads;
	piece->request->data = PipePieceBytes(pipe, piece->n);
	out = WorkerCompose(piece->request, &number);
	if (out)
		WorkerAsk(piece->request, stk_write_encode(out, number, &m),
				  stk_encode_needs_file(&m) ? pipe->spool : NULL);
	OffloadWhere(WorkerConnected());
}

/* Hand the codebook to the worker. */
static WorkerAnswer
PipeLoad(EncodePipe *pipe)
{
	Size bytes;
	const uint8 *stored = CodebookStored(pipe->options.codebook, &bytes);
	stk_load m = {.data = {.bytes = bytes, .in_file = bytes > STK_INLINE_MAX}};
	uint64 number;
	uint8 *out;

	if (!pipe->load)
		pipe->load = WorkerRequestCreate(pipe->context);
	memcpy(m.hash, CodebookHash(pipe->options.codebook), STK_HASH_BYTES);
	if (m.data.in_file)
	{
		if (!pipe->codebook_placed)
			pipe->codebook_at = SpoolReserve(PipeSpool(pipe), bytes);
		pipe->codebook_placed = true;
		SpoolWrite(pipe->spool, pipe->codebook_at, stored, bytes);
		m.data.offset = pipe->codebook_at;
	}
	else
		m.data.inside = stored;
	out = WorkerCompose(pipe->load, &number);
	if (out)
		WorkerAsk(pipe->load, stk_write_load(out, number, &m), m.data.in_file ? pipe->spool : NULL);
	WorkerWait(pipe->load);
	pipe->loads++;
	return pipe->load->answer;
}

/* The session computes this piece and, for a while, what follows. */
static bool
PipeGiveUp(EncodePipe *pipe, const char *why, const char *remedy)
{
	OffloadFallback(pipe->device, why, remedy);
	OffloadWhere(NULL);
	pipe->rest_till = WorkerClock() + PIPE_REST_MS;
	return false;
}

/*
 * The worker was lost, and every piece with it that had no answer: ask another one, once. False
 * when the session is to compute the oldest piece, and then the others, too.
 */
static bool
PipeRetry(EncodePipe *pipe)
{
	bool again = ++PipePiece(pipe, 0)->losses < 2;
	bool connected = again && WorkerConnect(true);

	for (int i = 0; i < pipe->count; i++)
	{
		Piece *piece = PipePiece(pipe, i);

		if (!piece->away || piece->request->answer != WORKER_LOST)
			continue;
		/* Who was lost may live and write the codes yet: nothing else is to be there then. */
		piece->bytes = 0;
		if (!connected)
			piece->away = false;
		else if (WorkerConnected())
			PipeAsk(pipe, piece);
	}
	if (connected)
		return true;
	return PipeGiveUp(pipe, WorkerTrouble(), WorkerRemedy());
}

/* Read the codes, from the body or the file, and see that the codebook has them. */
static bool
PipeReadCodes(EncodePipe *pipe, Piece *piece)
{
	const stk_codebook *cb = pipe->cb;
	Size bytes = PipeCodesBytes(pipe, piece->n);
	stk_error err = {.level = -1};
	stk_codes m;

	if (stk_read_codes(piece->request->body, piece->request->bytes, (uint32) piece->n, cb->levels,
					   &m, &err) != STK_OK)
	{
		WorkerDistrust(piece->request, "it sent codes that are none: %s", err.message);
		return false;
	}
	if (m.codes.in_file)
		SpoolRead(pipe->spool, piece->codes_at, piece->codes, bytes);
	else
		memcpy(piece->codes, m.codes.inside, bytes);
	for (size_t i = 0; i < piece->n; i++)
		for (int l = 0; l < cb->levels; l++)
			if (piece->codes[i * cb->levels + l] >= cb->sizes[l])
			{
				WorkerDistrust(piece->request, "it sent codes that the codebook does not have");
				return false;
			}
	return true;
}

/* The worker did not compute it. True when it is to be asked again, or another one. */
static bool
PipeFailed(EncodePipe *pipe, Piece *piece, const WorkerRequest *request)
{
	stk_error err = {.level = -1};
	stk_failed failed;

	if (stk_read_failed(request->body, request->bytes, &failed, &err) != STK_OK)
	{
		WorkerDistrust(piece->request, "it sent a failure that is none: %s", err.message);
		return true;
	}
	piece->accused = request == piece->request && failed.failure == STK_FAILED_COMPUTATION &&
					 (failed.status == STK_EINVAL || failed.status == STK_ERANGE);
	if (piece->accused)
		return false;
	return PipeGiveUp(pipe, OffloadFailure(&failed), OffloadRemedy(&failed));
}

/* The worker has not got the codebook. True when it has been asked again. */
static bool
PipeMissing(EncodePipe *pipe, Piece *piece)
{
	if (++piece->missing > PIPE_MAX_MISSING)
		return PipeGiveUp(pipe, "it forgets codebooks too soon", NULL);
	/* The worker may have said so as the last it ever said. */
	if (WorkerConnected() && piece->loads == pipe->loads)
	{
		WorkerAnswer answer = PipeLoad(pipe);

		if (answer == WORKER_ANSWERED && pipe->load->kind == STK_MSG_FAILED)
			return PipeFailed(pipe, piece, pipe->load);
		if (answer == WORKER_ANSWERED && pipe->load->kind != STK_MSG_DONE)
			WorkerDistrust(piece->request, "it did not say that it has the codebook");
	}
	if (!WorkerConnected())
		piece->request->answer = WORKER_LOST;
	else
		PipeAsk(pipe, piece);
	return true;
}

bool
PipeCollect(EncodePipe *pipe, Piece *piece)
{
	for (;;)
	{
		WorkerRequest *request = piece->request;
		bool again;

		WorkerWait(request);
		if (request->answer == WORKER_LOST)
			again = PipeRetry(pipe);
		else if (request->kind == STK_MSG_CODES)
		{
			if (PipeReadCodes(pipe, piece))
				return true;
			again = true;
		}
		else if (request->kind == STK_MSG_MISSING)
			again = PipeMissing(pipe, piece);
		else if (request->kind == STK_MSG_FAILED)
			again = PipeFailed(pipe, piece, request);
		else
		{
			WorkerDistrust(request, "it sent an answer to another question");
			again = true;
		}
		if (!again)
			return false;
	}
}
