/*
 * Gathering training rows.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "tokenizer/sample.h"
#include "utils/memutils.h"

/* Bytes of the temporary file between two looks for interrupts. */
#define SAMPLE_PIECE (1024 * 1024)

void
SampleInit(Sample *sample, size_t limit, uint64 seed)
{
	memset(sample, 0, sizeof(*sample));
	sample->context = CurrentMemoryContext;
	sample->limit = limit;
	sample->seed = seed;
}

static int
SampleCompare(const Sample *sample, uint64 ahash, const float *a, uint64 bhash, const float *b)
{
	if (ahash != bhash)
		return ahash < bhash ? -1 : 1;
	return memcmp(a, b, sizeof(float) * sample->dim);
}

static int
SampleHeapCompare(Datum a, Datum b, void *arg)
{
	const Sample *sample = arg;
	size_t i = DatumGetInt64(a);
	size_t j = DatumGetInt64(b);

	return SampleCompare(sample, sample->hashes[i], sample->x + i * sample->dim, sample->hashes[j],
						 sample->x + j * sample->dim);
}

static void *
SampleGrowArray(const Sample *sample, void *array, Size bytes)
{
	return array ? repalloc_huge(array, bytes) : MemoryContextAllocHuge(sample->context, bytes);
}

static void
SampleGrow(Sample *sample)
{
	size_t capacity = sample->capacity ? sample->capacity + sample->capacity / 2 : 1024;

	if (sample->limit && capacity > sample->limit)
		capacity = sample->limit;

	Size bytes = mul_size(capacity, mul_size(sample->dim, sizeof(float)));

	sample->x = SampleGrowArray(sample, sample->x, bytes);
	sample->numbers = SampleGrowArray(sample, sample->numbers, mul_size(capacity, sizeof(int64)));
	if (sample->limit)
		sample->hashes =
			SampleGrowArray(sample, sample->hashes, mul_size(capacity, sizeof(uint64)));
	sample->capacity = capacity;
}

/* Order the rows by hash, once there are as many as the sample may have. */
static void
SampleBuildHeap(Sample *sample)
{
	MemoryContext old = MemoryContextSwitchTo(sample->context);

	sample->heap = binaryheap_allocate((int) sample->limit, SampleHeapCompare, sample);
	for (size_t i = 0; i < sample->rows; i++)
		binaryheap_add_unordered(sample->heap, Int64GetDatum(i));
	binaryheap_build(sample->heap);
	MemoryContextSwitchTo(old);
}

void
SampleAdd(Sample *sample, const float *x, int dim, int64 number)
{
	Size bytes = sizeof(float) * dim;
	uint64 hash = 0;

	sample->dim = dim;
	if (sample->limit)
		hash = hash_bytes_extended((const unsigned char *) x, (int) bytes, sample->seed);

	if (sample->limit == 0 || sample->rows < sample->limit)
	{
		if (sample->rows == sample->capacity)
			SampleGrow(sample);
		memcpy(sample->x + sample->rows * dim, x, bytes);
		if (sample->limit)
			sample->hashes[sample->rows] = hash;
		sample->numbers[sample->rows++] = number;
		return;
	}

	if (!sample->heap)
		SampleBuildHeap(sample);

	size_t last = DatumGetInt64(binaryheap_first(sample->heap));

	if (SampleCompare(sample, hash, x, sample->hashes[last], sample->x + last * dim) >= 0)
		return;
	memcpy(sample->x + last * dim, x, bytes);
	sample->hashes[last] = hash;
	sample->numbers[last] = number;
	binaryheap_replace_first(sample->heap, Int64GetDatum(last));
}

static Size
SampleBytes(const Sample *sample)
{
	return sample->rows * sample->dim * sizeof(float);
}

void
SampleSave(Sample *sample)
{
	MemoryContext old = MemoryContextSwitchTo(sample->context);
	Size bytes = SampleBytes(sample);

	sample->saved = BufFileCreateTemp(false);
	for (Size at = 0; at < bytes; at += SAMPLE_PIECE)
	{
		CHECK_FOR_INTERRUPTS();
		BufFileWrite(sample->saved, (char *) sample->x + at, Min(bytes - at, SAMPLE_PIECE));
	}
	MemoryContextSwitchTo(old);
}

void
SampleRestore(Sample *sample)
{
	Size bytes = SampleBytes(sample);

	if (BufFileSeek(sample->saved, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read the sample's temporary file")));
	for (Size at = 0; at < bytes; at += SAMPLE_PIECE)
	{
		Size piece = Min(bytes - at, SAMPLE_PIECE);

		CHECK_FOR_INTERRUPTS();
		if (BufFileRead(sample->saved, (char *) sample->x + at, piece) != piece)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not read the sample's temporary file")));
	}
	BufFileClose(sample->saved);
	sample->saved = NULL;
}
