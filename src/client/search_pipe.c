/*
 * Asking a worker for the ids that queries find in a set.
 */
#include "postgres.h"

#include "client/search_pipe.h"

#include "client/offload_impl.h"
#include "client/worker_impl.h"
#include "types/content.h"
#include "utils/memutils.h"
#include "worker/found.h"

/* Pieces: one is gathered while the others are on their way. */
#define PIPE_PIECES 3
/* Terms and ids found of a piece, about. */
#define PIPE_PIECE_BYTES (4 * 1024 * 1024)
/* Times that the worker may have forgotten the set by the time a piece comes. */
#define PIPE_MAX_MISSING 4
/* Bytes a ms that are hashed, sent and checked: what a set costs before the first search. */
#define PIPE_SET_RATE 3e5

typedef struct Piece
{
	size_t n;
	char *terms; /* [rows] */
	int *tags;   /* [rows] */
	char *found; /* of `rows` queries */

	bool away;    /* a worker has been asked */
	int missing;  /* times that the worker had not got the set */
	uint64 loads; /* the pipe's, when the worker was asked */
	WorkerRequest *request;
	stk_search_message message; /* that was asked */
	bool placed;                /* the next two are its own in the spool */
	uint64 terms_at;
	uint64 found_at;
} Piece;

struct SearchPipe
{
	SearchPipeOptions options;
	MemoryContext context; /* of the pipe and all that belongs to it */
	stk_device device;
	uint8 hash[CONTENT_HASH_LENGTH];
	Size row;    /* bytes of a query's terms */
	size_t rows; /* of a piece */
	Piece pieces[PIPE_PIECES];
	int first;     /* the oldest that has not been taken */
	int count;     /* that have been handed in and not been taken */
	bool given_up; /* no worker is asked any more */
	int losses;    /* workers lost */
	Spool *spool;
	WorkerRequest *load;
	uint64 loads; /* of the set, so far */
	uint64 set_at;
	bool set_placed;
};

static Piece *
PipePiece(SearchPipe *pipe, int i)
{
	return &pipe->pieces[(pipe->first + i) % PIPE_PIECES];
}

static Size
PipeSetBytes(const SearchPipeOptions *o)
{
	return VARSIZE(o->datum) - VARHDRSZ;
}

/* The message for queries of this shape. */
static stk_search_message
PipeMessage(const SearchPipeOptions *o, size_t n)
{
	stk_search_message m = {.n = (uint32) n,
							.levels = o->shape.levels,
							.tokenizer = o->shape.tokenizer,
							.norm = o->shape.norm,
							.beam_size = (uint32) o->shape.beam_size,
							.k = (uint32) o->shape.k,
							.width = o->set->depth};

	memcpy(m.sizes, o->shape.sizes, sizeof(m.sizes));
	return m;
}

/*
 * Queries of a piece: no more than there are, than fit into a message, and than
 * semtok.max_worker_bytes leaves room for beside the set; 0 when that is none.
 */
static size_t
PipeRows(const SearchPipeOptions *o)
{
	stk_search_message one = PipeMessage(o, 1);
	uint64 bytes = stk_search_row_bytes(&one) + stk_found_bytes(1, one.k, one.width);
	uint64 rows = Max(PIPE_PIECE_BYTES / bytes, 1);
	uint64 limit = OffloadLimit();

	if (bytes > STK_SEARCH_MAX_BYTES || limit < PipeSetBytes(o))
		return 0;
	rows = Min(rows, (limit - PipeSetBytes(o)) / PIPE_PIECES / bytes);
	return Min(Min(rows, STK_SEARCH_MAX_QUERIES), Max(o->queries, 1));
}

SearchPipe *
SearchPipeBegin(const SearchPipeOptions *options)
{
	const stk_search_batch *shape = &options->shape;
	stk_device device = OffloadDevice(STK_DEVICE_AUTO);
	double work = stk_search_work(options->set, shape->levels, (double) shape->beam_size) *
				  (double) options->queries;
	double ms = OffloadAssumed(work) - PipeSetBytes(options) / PIPE_SET_RATE;
	stk_search_message one = PipeMessage(options, 1);
	MemoryContext context;
	SearchPipe *pipe;
	bool away;

	/* A set without ids, or a k that no message takes. */
	if (options->set->depth == 0 || shape->k > STK_SEARCH_MAX_IDS)
		return NULL;
	OffloadCheckDevice(STK_DEVICE_AUTO);
	if (!OffloadGoes(device, Max(ms, 0) * (work / OffloadAssumed(work)), Max(ms, 0),
					 PipeSetBytes(options) + PIPE_PIECES * (stk_search_row_bytes(&one) +
															stk_found_bytes(1, one.k, one.width)),
					 &away) ||
		PipeRows(options) == 0)
		return NULL;
	context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok search pipe", ALLOCSET_DEFAULT_SIZES);
	pipe = MemoryContextAllocZero(context, sizeof(*pipe));
	pipe->options = *options;
	pipe->context = context;
	pipe->device = device;
	pipe->options.shape.width = options->set->depth;
	pipe->row = stk_search_row_bytes(&one);
	pipe->rows = PipeRows(options);
	ContentComputeHash(options->datum, pipe->hash);
	for (int i = 0; i < PIPE_PIECES; i++)
	{
		Piece *piece = &pipe->pieces[i];

		piece->terms = MemoryContextAllocHuge(context, mul_size(pipe->rows, pipe->row));
		piece->tags = MemoryContextAllocHuge(context, mul_size(pipe->rows, sizeof(int)));
		piece->found = MemoryContextAllocHuge(
			context, stk_found_bytes(pipe->rows, shape->k, pipe->options.shape.width));
		piece->request = WorkerRequestCreate(context);
	}
	return pipe;
}

static Spool *
PipeSpool(SearchPipe *pipe)
{
	if (!pipe->spool)
		pipe->spool = SpoolCreate(pipe->context);
	return pipe->spool;
}

/* Places in the spool, of the piece's own from one use to the next. */
static void
PipePlace(SearchPipe *pipe, Piece *piece)
{
	if (piece->placed)
		return;
	piece->terms_at = SpoolReserve(PipeSpool(pipe), pipe->rows * pipe->row);
	piece->found_at = SpoolReserve(
		pipe->spool, stk_found_bytes(pipe->rows, pipe->options.shape.k, pipe->options.shape.width));
	piece->placed = true;
}

static void
PipeAsk(SearchPipe *pipe, Piece *piece)
{
	stk_search_message *m = &piece->message;
	uint64 found = stk_found_bytes(piece->n, pipe->options.shape.k, pipe->options.shape.width);
	uint64 number;
	uint8 *out;

	*m = PipeMessage(&pipe->options, piece->n);
	memcpy(m->hash, pipe->hash, STK_HASH_BYTES);
	m->device = pipe->device;
	m->terms.bytes = piece->n * pipe->row;
	m->terms.in_file = m->terms.bytes > STK_INLINE_MAX;
	if (m->terms.in_file || found > STK_INLINE_MAX)
		PipePlace(pipe, piece);
	if (m->terms.in_file)
	{
		m->terms.offset = piece->terms_at;
		SpoolWrite(pipe->spool, piece->terms_at, piece->terms, m->terms.bytes);
	}
	else
		m->terms.inside = (const uint8 *) piece->terms;
	if (found > STK_INLINE_MAX)
		m->found_at = piece->found_at;

	piece->away = true;
	piece->loads = pipe->loads;
	piece->request->data = m->terms.bytes + found;
	out = WorkerCompose(piece->request, &number);
	if (out)
		WorkerAsk(piece->request, stk_write_search(out, number, m),
				  stk_search_needs_file(m) ? pipe->spool : NULL);
	OffloadWhere(WorkerConnected());
}

/* Hand the set to the worker. */
static WorkerAnswer
PipeLoad(SearchPipe *pipe)
{
	Size bytes = PipeSetBytes(&pipe->options);
	const uint8 *stored = (const uint8 *) VARDATA(pipe->options.datum);
	stk_load m = {.data = {.bytes = bytes, .in_file = bytes > STK_INLINE_MAX}};
	uint64 number;
	uint8 *out;

	if (!pipe->load)
		pipe->load = WorkerRequestCreate(pipe->context);
	memcpy(m.hash, pipe->hash, STK_HASH_BYTES);
	if (m.data.in_file)
	{
		if (!pipe->set_placed)
			pipe->set_at = SpoolReserve(PipeSpool(pipe), bytes);
		pipe->set_placed = true;
		SpoolWrite(pipe->spool, pipe->set_at, stored, bytes);
		m.data.offset = pipe->set_at;
	}
	else
		m.data.inside = stored;
	out = WorkerCompose(pipe->load, &number);
	if (out)
		WorkerAsk(pipe->load, stk_write_trie(out, number, &m), m.data.in_file ? pipe->spool : NULL);
	WorkerWait(pipe->load);
	pipe->loads++;
	return pipe->load->answer;
}

/* The session searches for this piece and for all that follow. */
static bool
PipeGiveUp(SearchPipe *pipe, const char *why, const char *remedy)
{
	OffloadFallback(pipe->device, why, remedy);
	OffloadWhere(NULL);
	pipe->given_up = true;
	return false;
}

/*
 * The worker was lost, and every piece with it that had no answer: ask another one, once. False
 * when the session is to search.
 */
static bool
PipeRetry(SearchPipe *pipe)
{
	bool connected = ++pipe->losses < 2 && WorkerConnect(true);

	if (!connected)
		return PipeGiveUp(pipe, WorkerTrouble(), WorkerRemedy());
	for (int i = 0; i < pipe->count; i++)
	{
		Piece *piece = PipePiece(pipe, i);

		if (!piece->away || piece->request->answer != WORKER_LOST)
			continue;
		/* Who was lost may live and write what it found yet: nothing else is to be there then. */
		piece->placed = false;
		if (WorkerConnected())
			PipeAsk(pipe, piece);
	}
	return true;
}

/* Let the piece's batch have what was found, if it is that. */
static bool
PipeReadFound(SearchPipe *pipe, Piece *piece, stk_search_batch *b)
{
	const stk_search_message *asked = &piece->message;
	Size bytes = stk_found_bytes(asked->n, asked->k, asked->width);
	stk_error err = {.level = -1};
	stk_found m;

	if (stk_read_found(piece->request->body, piece->request->bytes, asked, &m, &err) != STK_OK)
	{
		WorkerDistrust(piece->request, "it sent ids that are none: %s", err.message);
		return false;
	}
	if (m.found.in_file)
		SpoolRead(pipe->spool, piece->found_at, piece->found, bytes);
	else
		memcpy(piece->found, m.found.inside, bytes);
	*b = pipe->options.shape;
	b->n = piece->n;
	if (b->norm == STK_NORM_MASKED)
		b->logits = (const float *) piece->terms;
	else
		b->cost = (const double *) piece->terms;
	stk_found_arrays(piece->found, b);
	if (stk_found_check(b, pipe->options.set, &err) != STK_OK)
	{
		WorkerDistrust(piece->request, "it sent ids that are none: %s", err.message);
		return false;
	}
	return true;
}

/* The worker did not search. */
static bool
PipeFailed(SearchPipe *pipe, WorkerRequest *request)
{
	stk_error err = {.level = -1};
	stk_failed failed;

	if (stk_read_failed(request->body, request->bytes, &failed, &err) != STK_OK)
	{
		WorkerDistrust(request, "it sent a failure that is none: %s", err.message);
		return true;
	}
	return PipeGiveUp(pipe, OffloadFailure(&failed), OffloadRemedy(&failed));
}

/* The worker has not got the set. True when it has been asked again. */
static bool
PipeMissing(SearchPipe *pipe, Piece *piece)
{
	if (++piece->missing > PIPE_MAX_MISSING)
		return PipeGiveUp(pipe, "it forgets tries too soon", NULL);
	/* The worker may have said so as the last it ever said. */
	if (WorkerConnected() && piece->loads == pipe->loads)
	{
		WorkerAnswer answer = PipeLoad(pipe);

		if (answer == WORKER_ANSWERED && pipe->load->kind == STK_MSG_FAILED)
		{
			if (!PipeFailed(pipe, pipe->load))
				return false;
		}
		else if (answer == WORKER_ANSWERED && pipe->load->kind != STK_MSG_DONE)
			WorkerDistrust(pipe->load, "it did not say that it has the set");
	}
	if (!WorkerConnected())
		piece->request->answer = WORKER_LOST;
	else
		PipeAsk(pipe, piece);
	return true;
}

/* Get what the oldest piece finds. False when the session is to search. */
static bool
PipeCollect(SearchPipe *pipe, Piece *piece, stk_search_batch *b)
{
	for (;;)
	{
		WorkerRequest *request = piece->request;
		bool again = true;

		WorkerWait(request);
		if (request->answer == WORKER_LOST)
			again = PipeRetry(pipe);
		else if (request->kind == STK_MSG_FOUND)
		{
			if (PipeReadFound(pipe, piece, b))
				return true;
		}
		else if (request->kind == STK_MSG_MISSING)
			again = PipeMissing(pipe, piece);
		else if (request->kind == STK_MSG_FAILED)
			again = PipeFailed(pipe, request);
		else
			WorkerDistrust(request, "it sent an answer to another question");
		if (!again)
			return false;
	}
}

/* Have the oldest piece taken. */
static void
PipeDeliver(SearchPipe *pipe)
{
	Piece *piece = PipePiece(pipe, 0);
	stk_search_batch batch;
	bool found = piece->away && !pipe->given_up && PipeCollect(pipe, piece, &batch);

	for (size_t i = 0; i < piece->n; i++)
		pipe->options.take(pipe->options.ctx, piece->tags[i], found ? &batch : NULL, i);
	piece->n = 0;
	pipe->first = (pipe->first + 1) % PIPE_PIECES;
	pipe->count--;
}

/* Hand in the queries gathered, and have taken what can be without waiting. */
static void
PipeHandIn(SearchPipe *pipe)
{
	Piece *piece = PipePiece(pipe, pipe->count);

	piece->away = false;
	piece->missing = 0;
	if (!pipe->given_up && !WorkerConnect(true))
		PipeGiveUp(pipe, WorkerTrouble(), WorkerRemedy());
	if (!pipe->given_up)
		PipeAsk(pipe, piece);
	pipe->count++;
	WorkerPoll();
	while (pipe->count > 0 &&
		   (pipe->count == PIPE_PIECES - 1 || pipe->given_up || !PipePiece(pipe, 0)->away ||
			PipePiece(pipe, 0)->request->answer != WORKER_ASKED))
		PipeDeliver(pipe);
}

void
SearchPipeAdd(SearchPipe *pipe, const void *terms, int tag)
{
	Piece *piece = PipePiece(pipe, pipe->count);

	memcpy(piece->terms + piece->n * pipe->row, terms, pipe->row);
	piece->tags[piece->n++] = tag;
	if (piece->n == pipe->rows || pipe->given_up)
		PipeHandIn(pipe);
}

void
SearchPipeFlush(SearchPipe *pipe)
{
	if (PipePiece(pipe, pipe->count)->n > 0)
		PipeHandIn(pipe);
	while (pipe->count > 0)
		PipeDeliver(pipe);
}

void
SearchPipeEnd(SearchPipe *pipe)
{
	MemoryContextDelete(pipe->context);
}
