/*
 * Encoding one row after the other, in pieces.
 */
#include "postgres.h"

#include "client/offload.h"

#include "miscadmin.h"
#include "types/bridge.h"
#include "utils/memutils.h"

/* Rows that the session encodes at a time. */
#define PIPE_PIECE 256

struct EncodePipe
{
	EncodePipeOptions options;
	MemoryContext context; /* of the pipe and all that belongs to it */
	const stk_codebook *cb;
	size_t n;      /* rows gathered */
	float *x;      /* [PIPE_PIECE][dim] */
	int64 *tags;   /* [PIPE_PIECE] */
	uint16 *codes; /* [PIPE_PIECE][levels] */
};

EncodePipe *
EncodePipeBegin(const EncodePipeOptions *options)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok encode pipe", ALLOCSET_DEFAULT_SIZES);
	EncodePipe *pipe = MemoryContextAllocZero(context, sizeof(*pipe));

	OffloadCheckDevice(options->device);
	pipe->options = *options;
	pipe->context = context;
	pipe->cb = CodebookView(options->codebook);
	pipe->x = MemoryContextAllocHuge(context,
									 mul_size(PIPE_PIECE, mul_size(pipe->cb->dim, sizeof(float))));
	pipe->tags = MemoryContextAlloc(context, sizeof(int64) * PIPE_PIECE);
	pipe->codes = MemoryContextAlloc(context, sizeof(uint16) * PIPE_PIECE * pipe->cb->levels);
	return pipe;
}

/* Encode the first n rows gathered; err->row tells the one that a failure is about. */
static stk_status
PipeEncode(EncodePipe *pipe, size_t n, stk_error *err)
{
	int beam = pipe->options.beam;
	stk_exec exec = SemtokExec(pipe->context);

	*err = (stk_error){.row = SIZE_MAX, .level = -1};
	return stk_rq_encode(CodebookQuantizer(pipe->options.codebook, beam), &exec, pipe->x, n, beam,
						 pipe->codes, NULL, err);
}

static void
PipeTake(EncodePipe *pipe, size_t n)
{
	if (n > 0)
		pipe->options.take(pipe->options.ctx, pipe->x, pipe->tags, n, pipe->codes);
}

/* Raise the error of a row, or of none, after the rows before it have been taken. */
static void
PipeFail(EncodePipe *pipe, stk_status status, const stk_error *err)
{
	if ((status == STK_EINVAL || status == STK_ERANGE) && err->row < pipe->n)
	{
		stk_error none;

		if (PipeEncode(pipe, err->row, &none) == STK_OK)
			PipeTake(pipe, err->row);
		if (pipe->options.blame)
			pipe->options.blame(pipe->options.ctx, pipe->tags[err->row]);
	}
	SemtokReportStatus(status, err, pipe->options.failed);
}

void
EncodePipeAdd(EncodePipe *pipe, const float *x, int64 tag)
{
	memcpy(pipe->x + pipe->n * pipe->cb->dim, x, sizeof(float) * pipe->cb->dim);
	pipe->tags[pipe->n++] = tag;
	if (pipe->n == PIPE_PIECE)
		EncodePipeFlush(pipe);
}

void
EncodePipeFlush(EncodePipe *pipe)
{
	stk_error err;
	stk_status status;

	CHECK_FOR_INTERRUPTS();
	if (pipe->n == 0)
		return;
	status = PipeEncode(pipe, pipe->n, &err);
	if (status != STK_OK)
		PipeFail(pipe, status, &err);
	PipeTake(pipe, pipe->n);
	pipe->n = 0;
}

void
EncodePipeEnd(EncodePipe *pipe)
{
	EncodePipeFlush(pipe);
	MemoryContextDelete(pipe->context);
}
