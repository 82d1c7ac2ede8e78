/*
 * The temporary file that carries data to a worker and answers back.
 *
 * It is opened for longer than the transaction, as a procedure commits between its batches; what
 * closes it then is a callback of the memory context that owns it, which an error runs too.
 */
#include "postgres.h"

#include "client/spool.h"

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

/* Appended bytes that are gathered before they are written. */
#define SPOOL_GATHERED (256 * 1024)
/* Bytes moved between two looks for interrupts. */
#define SPOOL_PIECE (1024 * 1024)

struct Spool
{
	File file;      /* -1 = closed */
	uint64 bytes;   /* length, with what is gathered */
	char *gathered; /* [SPOOL_GATHERED], the end of the file */
	Size ngathered;
	MemoryContextCallback callback;
};

static void
SpoolReleased(void *arg)
{
	Spool *spool = arg;

	if (spool->file >= 0)
		FileClose(spool->file);
	spool->file = -1;
}

Spool *
SpoolCreate(MemoryContext owner)
{
	Spool *spool = MemoryContextAllocZero(owner, sizeof(*spool));

	spool->gathered = MemoryContextAlloc(owner, SPOOL_GATHERED);
	spool->file = -1;
	spool->callback.func = SpoolReleased;
	spool->callback.arg = spool;
	MemoryContextRegisterResetCallback(owner, &spool->callback);
	spool->file = OpenTemporaryFile(true);
	return spool;
}

/* The struct stays: its owner still holds the callback. */
void
SpoolClose(Spool *spool)
{
	SpoolReleased(spool);
	if (spool->gathered)
		pfree(spool->gathered);
	spool->gathered = NULL;
}

uint64
SpoolBytes(const Spool *spool)
{
	return spool->bytes;
}

/* To the file itself: nothing is gathered, and its length is the caller's to keep. */
static void
SpoolPut(Spool *spool, uint64 at, const char *data, Size bytes)
{
	while (bytes > 0)
	{
		Size piece = Min(bytes, SPOOL_PIECE);
		int done;

		CHECK_FOR_INTERRUPTS();
		done = FileWrite(spool->file, unconstify(char *, data), (int) piece, (off_t) at,
						 WAIT_EVENT_BUFFILE_WRITE);
		if (done <= 0) /* errno is ENOSPC where the kernel gave no reason */
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not write to temporary file of a worker's data: %m")));
		data += done;
		at += done;
		bytes -= done;
	}
}

/* Write what is gathered. It stays gathered when that fails: nothing is lost but the statement. */
static void
SpoolSettle(Spool *spool)
{
	SpoolPut(spool, spool->bytes - spool->ngathered, spool->gathered, spool->ngathered);
	spool->ngathered = 0;
}

void
SpoolAppend(Spool *spool, const void *data, Size bytes)
{
	if (bytes > SPOOL_GATHERED - spool->ngathered)
		SpoolSettle(spool);
	if (bytes > SPOOL_GATHERED)
		SpoolPut(spool, spool->bytes, data, bytes);
	else
	{
		memcpy(spool->gathered + spool->ngathered, data, bytes);
		spool->ngathered += bytes;
	}
	spool->bytes += bytes;
}

void
SpoolWrite(Spool *spool, uint64 at, const void *data, Size bytes)
{
	SpoolSettle(spool);
	SpoolPut(spool, at, data, bytes);
	spool->bytes = Max(spool->bytes, at + bytes);
}

void
SpoolRead(Spool *spool, uint64 at, void *data, Size bytes)
{
	char *to = data;

	SpoolSettle(spool);
	while (bytes > 0)
	{
		Size piece = Min(bytes, SPOOL_PIECE);
		int done;

		CHECK_FOR_INTERRUPTS();
		done = FileRead(spool->file, to, (int) piece, (off_t) at, WAIT_EVENT_BUFFILE_READ);
		if (done < 0)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not read from temporary file of a worker's data: %m")));
		if (done == 0)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("could not read from temporary file of a worker's data: it ends "
								   "%zu bytes too early",
								   bytes)));
		to += done;
		at += done;
		bytes -= done;
	}
}

/* Zeros are written, not skipped: a hole is no room, and does not count for temp_file_limit. */
uint64
SpoolReserve(Spool *spool, uint64 bytes)
{
	uint64 begin = TYPEALIGN64(8, spool->bytes);
	uint64 end = begin + bytes;

	SpoolSettle(spool);
	memset(spool->gathered, 0, SPOOL_GATHERED);
	while (spool->bytes < end)
	{
		Size piece = Min(end - spool->bytes, SPOOL_GATHERED);

		SpoolPut(spool, spool->bytes, spool->gathered, piece);
		spool->bytes += piece;
	}
	return begin;
}

/* The descriptor of a file that is not open at the moment is none: asking for its size opens it. */
int
SpoolDescriptor(Spool *spool)
{
	SpoolSettle(spool);
	if (FileSize(spool->file) < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open temporary file of a worker's data: %m")));
	return FileGetRawDesc(spool->file);
}
