/*
 * semtok.encode_batch: the semantic IDs of a query's embeddings, encoded together.
 *
 * Rows come out in the source's order. Those on their way through the pipe wait in a queue, and so
 * do rows without an embedding that come behind them.
 */
#include "postgres.h"

#include "client/offload.h"
#include "fmgr.h"
#include "funcapi.h"
#include "tokenizer/args.h"
#include "tokenizer/catalog.h"
#include "tokenizer/encode.h"
#include "tokenizer/progress.h"
#include "tokenizer/source.h"
#include "types/semid.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(semtok_encode_batch_id);
PG_FUNCTION_INFO_V1(semtok_encode_batch_name);

enum
{
	ARG_TOKENIZER,
	ARG_SOURCE,
	ARG_BEAM
};

/* Columns of the result. */
enum
{
	BATCH_NUMBER,
	BATCH_KEY,
	BATCH_SID,
	BATCH_COLUMNS
};

/* Bytes of rows behind the pipe after which it is emptied: most of them have no embedding, then. */
#define BATCH_WAITING (4 * 1024 * 1024)

typedef struct BatchRow
{
	text *key; /* NULL = null */
	bool encoded;
} BatchRow;

typedef struct Batch
{
	EncodePipe *pipe;
	int32 tokenizer;
	int levels;
	ReturnSetInfo *result;
	int64 returned; /* rows, which is the number of the one before the queue's first */
	BatchRow *queue;
	size_t capacity;
	size_t first; /* of those that wait */
	size_t end;
	Size bytes; /* that they take, beside the embeddings */
	MemoryContext context;
	SourcePlace place; /* of the row that an error is about */
} Batch;

static void
BatchBlame(void *ctx, int64 number)
{
	SourcePushPlace(&((Batch *) ctx)->place, "source", number);
}

static Size
BatchRowBytes(const BatchRow *row)
{
	return sizeof(BatchRow) + (row->key ? VARSIZE(row->key) : 0);
}

/* Return the row that waits first. codes: [levels], NULL = none. */
static void
BatchReturn(Batch *batch, const uint16 *codes)
{
	BatchRow *row = &batch->queue[batch->first++];
	Datum values[BATCH_COLUMNS] = {0};
	bool nulls[BATCH_COLUMNS] = {false};

	Assert(row->encoded == (codes != NULL));
	batch->bytes -= BatchRowBytes(row);
	values[BATCH_NUMBER] = Int64GetDatum(++batch->returned);
	values[BATCH_KEY] = PointerGetDatum(row->key);
	nulls[BATCH_KEY] = row->key == NULL;
	nulls[BATCH_SID] = codes == NULL;
	if (codes)
	{
		stk_semid id = {.tokenizer = (uint32) batch->tokenizer, .levels = batch->levels};

		memcpy(id.codes, codes, sizeof(uint16) * batch->levels);
		values[BATCH_SID] = SemidMakeDatum(&id);
	}
	tuplestore_putvalues(batch->result->setResult, batch->result->setDesc, values, nulls);
	if (row->key)
		pfree(row->key);
	if (codes)
		pfree(DatumGetPointer(values[BATCH_SID]));
}

/* Return rows up to the next that awaits its codes. */
static void
BatchReturnNulls(Batch *batch)
{
	while (batch->first < batch->end && !batch->queue[batch->first].encoded)
		BatchReturn(batch, NULL);
}

static void
BatchTake(void *ctx, const float *x, const int64 *numbers, size_t n, const uint16 *codes)
{
	Batch *batch = ctx;

	for (size_t i = 0; i < n; i++)
	{
		BatchReturnNulls(batch);
		Assert(numbers[i] == batch->returned + 1);
		BatchReturn(batch, codes + i * batch->levels);
	}
	BatchReturnNulls(batch);
}

/* Room for one row more at the queue's end. */
static void
BatchGrow(Batch *batch)
{
	size_t waiting = batch->end - batch->first;

	if (batch->first > 0 && waiting <= batch->capacity / 2)
	{
		memmove(batch->queue, batch->queue + batch->first, waiting * sizeof(BatchRow));
		batch->first = 0;
		batch->end = waiting;
		return;
	}
	batch->capacity *= 2;
	batch->queue = repalloc_huge(batch->queue, mul_size(batch->capacity, sizeof(BatchRow)));
}

static void
BatchTakeRow(void *ctx, const SourceItem *item)
{
	Batch *batch = ctx;
	BatchRow row = {.encoded = item->x != NULL};

	if (item->key)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->context);

		row.key = DatumGetTextPCopy(PointerGetDatum(item->key));
		MemoryContextSwitchTo(old);
	}
	if (batch->end == batch->capacity)
		BatchGrow(batch);
	batch->queue[batch->end++] = row;
	batch->bytes += BatchRowBytes(&row);
	if (item->x)
		EncodePipeAdd(batch->pipe, item->x, item->number);
	else if (batch->end - batch->first == 1)
		BatchReturnNulls(batch);
	if (batch->bytes > BATCH_WAITING)
		EncodePipeFlush(batch->pipe);
}

static Datum
EncodeBatch(FunctionCallInfo fcinfo, const TokenizerInfo *info)
{
	Source source = {.query = ArgText(fcinfo, ARG_SOURCE, "source"),
					 .argument = "source",
					 .what = "encoding",
					 .dim = info->dim,
					 .metric = TokenizerRowMetric(info),
					 .keyed = true,
					 .all_rows = true};
	Batch batch = {.tokenizer = info->id,
				   .levels = info->levels,
				   .result = (ReturnSetInfo *) fcinfo->resultinfo,
				   .capacity = 1024,
				   .context = CurrentMemoryContext};
	EncodePipeOptions options = {.beam = EncodeBeamArg(fcinfo, ARG_BEAM, info->beam),
								 .codebook = TokenizerCodebook(info, CurrentMemoryContext),
								 .device = STK_DEVICE_AUTO,
								 .failed = "could not encode embedding",
								 .take = BatchTake,
								 .blame = BatchBlame,
								 .ctx = &batch};

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ProgressBegin("encode_batch", info->name, CurrentMemoryContext);
	ProgressPhase("encoding");
	batch.queue = palloc(sizeof(BatchRow) * batch.capacity);
	batch.pipe = EncodePipeBegin(&options);
	SourceScan(&source, BatchTakeRow, &batch);
	EncodePipeEnd(batch.pipe);
	ProgressEnd();
	return (Datum) 0;
}

/* semtok.encode_batch(tokenizer int, source text, beam int) */
Datum
semtok_encode_batch_id(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	ArgRequire(fcinfo, ARG_TOKENIZER, "tokenizer");
	TokenizerGetById(PG_GETARG_INT32(ARG_TOKENIZER), &info);
	return EncodeBatch(fcinfo, &info);
}

/* semtok.encode_batch(name text, source text, beam int) */
Datum
semtok_encode_batch_name(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetByName(ArgText(fcinfo, ARG_TOKENIZER, "name"), 0, &info);
	return EncodeBatch(fcinfo, &info);
}
