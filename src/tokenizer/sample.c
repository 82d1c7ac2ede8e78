/*
 * Gathering training rows.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/shmem.h"
#include "tokenizer/sample.h"
#include "utils/memutils.h"

void
SampleInit(Sample *sample, Spool *spool, size_t limit, uint64 seed)
{
	memset(sample, 0, sizeof(*sample));
	sample->context = CurrentMemoryContext;
	sample->limit = limit;
	sample->seed = seed;
	sample->spool = spool;
	sample->at = SpoolReserve(spool, 0);
}

static Size
SampleRowBytes(const Sample *sample)
{
	return sizeof(float) * sample->dim;
}

static uint64
SamplePlace(const Sample *sample, size_t row)
{
	return sample->at + (uint64) row * SampleRowBytes(sample);
}

/* Compare a row taken in, by its content, with x [dim]; spare [dim] is for the former. */
static int
SampleCompareContent(const Sample *sample, size_t row, float *spare, const float *x)
{
	SpoolRead(sample->spool, SamplePlace(sample, row), spare, SampleRowBytes(sample));
	return memcmp(spare, x, SampleRowBytes(sample));
}

static int
SampleHeapCompare(Datum a, Datum b, void *arg)
{
	const Sample *sample = arg;
	size_t i = DatumGetInt64(a);
	size_t j = DatumGetInt64(b);
	float *x = sample->tied + sample->dim;

	if (sample->hashes[i] != sample->hashes[j])
		return sample->hashes[i] < sample->hashes[j] ? -1 : 1;
	SpoolRead(sample->spool, SamplePlace(sample, j), x, SampleRowBytes(sample));
	return SampleCompareContent(sample, i, sample->tied, x);
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

	sample->tied = palloc(2 * SampleRowBytes(sample));
	sample->heap = binaryheap_allocate((int) sample->limit, SampleHeapCompare, sample);
	for (size_t i = 0; i < sample->rows; i++)
		binaryheap_add_unordered(sample->heap, Int64GetDatum(i));
	binaryheap_build(sample->heap);
	MemoryContextSwitchTo(old);
}

void
SampleAdd(Sample *sample, const float *x, int dim, int64 number)
{
	uint64 hash = 0;

	sample->dim = dim;
	if (sample->limit)
		hash = hash_bytes_extended((const unsigned char *) x, (int) SampleRowBytes(sample),
								   sample->seed);

	if (sample->limit == 0 || sample->rows < sample->limit)
	{
		if (sample->rows == sample->capacity)
			SampleGrow(sample);
		SpoolAppend(sample->spool, x, SampleRowBytes(sample));
		if (sample->limit)
			sample->hashes[sample->rows] = hash;
		sample->numbers[sample->rows++] = number;
		return;
	}

	if (!sample->heap)
		SampleBuildHeap(sample);

	size_t last = DatumGetInt64(binaryheap_first(sample->heap));

	if (hash > sample->hashes[last] ||
		(hash == sample->hashes[last] && SampleCompareContent(sample, last, sample->tied, x) <= 0))
		return;
	SpoolWrite(sample->spool, SamplePlace(sample, last), x, SampleRowBytes(sample));
	sample->hashes[last] = hash;
	sample->numbers[last] = number;
	binaryheap_replace_first(sample->heap, Int64GetDatum(last));
}
