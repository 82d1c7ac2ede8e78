/*
 * A checkpoint's file: a header and the state.
 */
#include "postgres.h"

#include "tokenizer/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "access/xact.h"
#include "common/cryptohash.h"
#include "common/file_perm.h"
#include "common/sha2.h"
#include "core/row_hash.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define CHECKPOINT_FOLDER "semtok_checkpoints"
#define CHECKPOINT_MAGIC 0x43545353 /* "SSTC" */
#define CHECKPOINT_KEEP_SECONDS (30 * 24 * 3600)
/* Bytes moved between two looks for interrupts. */
#define CHECKPOINT_PIECE (8 * 1024 * 1024)

typedef struct CheckpointHeader
{
	uint32 magic;
	pg_crc32c crc; /* of the state */
	uint64 bytes;  /* of the state */
} CheckpointHeader;

/* One that is to go when the transaction commits; in TopTransactionContext. */
typedef struct CheckpointUsed
{
	struct CheckpointUsed *next;
	SubTransactionId subtransaction; /* in which that was said */
	Checkpoint checkpoint;
} CheckpointUsed;

static CheckpointUsed *used = NULL;

/* What rows are, whatever their order: two sums of their hashes, and how many there are. */
static void
CheckpointHashRows(const Sample *rows, uint64 *sums)
{
	float *x = palloc(sizeof(float) * Max(rows->dim, 1));

	sums[0] = rows->rows;
	sums[1] = sums[2] = 0;
	for (size_t i = 0; i < rows->rows; i++)
	{
		SampleRead(rows, i, x);
		sums[1] += stk_row_hash(x, (size_t) rows->dim, 1);
		sums[2] += stk_row_hash(x, (size_t) rows->dim, 2);
	}
	pfree(x);
}

void
CheckpointInit(Checkpoint *c, const char *name, const char *how, const Sample *rows,
			   const Sample *heldout)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	char hex[2 * sizeof(digest) + 1];
	Oid user = GetUserId();
	uint64 sums[2][3];

	CheckpointHashRows(rows, sums[0]);
	CheckpointHashRows(heldout, sums[1]);
	/* Texts with their ends, so that no two of them run together. */
	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) SEMTOK_VERSION, sizeof(SEMTOK_VERSION)) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) name, strlen(name) + 1) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) how, strlen(how) + 1) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) &user, sizeof(user)) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) sums, sizeof(sums)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash a training: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
	hex[hex_encode((const char *) digest, sizeof(digest), hex)] = '\0';
	snprintf(c->path, sizeof(c->path), "%s/%u-%s", CHECKPOINT_FOLDER, MyDatabaseId, hex);
}

static pg_crc32c
CheckpointSum(const uint8 *state, Size bytes)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, state, bytes);
	FIN_CRC32C(crc);
	return crc;
}

uint8 *
CheckpointRead(const Checkpoint *c, Size bytes)
{
	int fd = OpenTransientFile(c->path, O_RDONLY | PG_BINARY);
	CheckpointHeader header;
	uint8 *state = NULL;
	bool whole;

	if (fd < 0 && errno == ENOENT)
		return NULL;
	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open checkpoint \"%s\": %m", c->path)));
	whole = read(fd, &header, sizeof(header)) == sizeof(header) &&
			header.magic == CHECKPOINT_MAGIC && header.bytes == bytes;
	if (whole)
		state = MemoryContextAllocHuge(CurrentMemoryContext, bytes);
	for (Size at = 0; whole && at < bytes;)
	{
		ssize_t n = read(fd, state + at, Min(bytes - at, CHECKPOINT_PIECE));

		CHECK_FOR_INTERRUPTS();
		whole = n > 0;
		at += Max(n, 0);
	}
	CloseTransientFile(fd);
	if (whole && CheckpointSum(state, bytes) == header.crc)
		return state;
	ereport(WARNING,
			(errmsg("checkpoint \"%s\" is damaged", c->path), errdetail("It is not made use of.")));
	return NULL;
}

static void
CheckpointPut(int fd, const char *path, const void *data, Size bytes)
{
	const char *from = data;

	while (bytes > 0)
	{
		ssize_t n;

		CHECK_FOR_INTERRUPTS();
		errno = 0;
		n = write(fd, from, Min(bytes, CHECKPOINT_PIECE));
		if (n <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not write checkpoint \"%s\": %m", path)));
		}
		from += n;
		bytes -= n;
	}
}

/* Under a name of this session's until it is whole. */
void
CheckpointWrite(const Checkpoint *c, const uint8 *state, Size bytes)
{
	CheckpointHeader header = {
		.magic = CHECKPOINT_MAGIC, .crc = CheckpointSum(state, bytes), .bytes = bytes};
	char path[MAXPGPATH];
	int fd;

	if (MakePGDirectory(CHECKPOINT_FOLDER) < 0 && errno != EEXIST)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create directory \"%s\": %m", CHECKPOINT_FOLDER)));
	snprintf(path, sizeof(path), "%s.%d.tmp", c->path, MyProcPid);
	fd = OpenTransientFile(path, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create checkpoint \"%s\": %m", path)));
	PG_TRY();
	{
		CheckpointPut(fd, path, &header, sizeof(header));
		CheckpointPut(fd, path, state, bytes);
		if (pg_fsync(fd) != 0)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not fsync checkpoint \"%s\": %m", path)));
	}
	PG_CATCH();
	{
		unlink(path);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not close checkpoint \"%s\": %m", path)));
	(void) durable_rename(path, c->path, ERROR);
}

static void
CheckpointRemove(const Checkpoint *c)
{
	if (unlink(c->path) < 0 && errno != ENOENT)
		ereport(WARNING, (errcode_for_file_access(),
						  errmsg("could not remove checkpoint \"%s\": %m", c->path)));
}

/* A prepared transaction may yet be rolled back: its checkpoints stay. */
static void
CheckpointTransactionEnds(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		for (CheckpointUsed *u = used; u; u = u->next)
			CheckpointRemove(&u->checkpoint);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		used = NULL;
}

static void
CheckpointSubtransactionEnds(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							 void *arg)
{
	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (CheckpointUsed **at = &used; *at;)
	{
		CheckpointUsed *u = *at;

		if (u->subtransaction == mine && event == SUBXACT_EVENT_ABORT_SUB)
		{
			*at = u->next;
			continue;
		}
		if (u->subtransaction == mine)
			u->subtransaction = parent;
		at = &u->next;
	}
}

void
CheckpointRemoveAtCommit(const Checkpoint *c)
{
	static bool registered = false;
	CheckpointUsed *u = MemoryContextAlloc(TopTransactionContext, sizeof(CheckpointUsed));

	if (!registered)
	{
		RegisterXactCallback(CheckpointTransactionEnds, NULL);
		RegisterSubXactCallback(CheckpointSubtransactionEnds, NULL);
		registered = true;
	}
	*u = (CheckpointUsed){
		.next = used, .subtransaction = GetCurrentSubTransactionId(), .checkpoint = *c};
	used = u;
}

void
CheckpointSweep(void)
{
	DIR *dir = AllocateDir(CHECKPOINT_FOLDER);
	time_t now = time(NULL);
	struct dirent *entry;

	if (!dir && errno == ENOENT)
		return;
	while ((entry = ReadDirExtended(dir, CHECKPOINT_FOLDER, LOG)) != NULL)
	{
		char path[MAXPGPATH];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", CHECKPOINT_FOLDER, entry->d_name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
			now - st.st_mtime > CHECKPOINT_KEEP_SECONDS)
			unlink(path);
	}
	FreeDir(dir);
}
