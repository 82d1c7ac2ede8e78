/*
 * Gathering training rows.
 */
#include "postgres.h"

#include <math.h>

#include "core/row_hash.h"
#include "storage/shmem.h"
#include "tokenizer/sample.h"
#include "utils/memutils.h"

/* Of the rows that a sample wants, how many times as many are taken in where a guess decides. */
#define SAMPLE_SPARE 1.25

void
SampleInit(Sample *sample, Spool *spool, size_t limit, uint64 seed)
{
	memset(sample, 0, sizeof(*sample));
	sample->context = CurrentMemoryContext;
	sample->limit = limit;
	sample->seed = seed;
	sample->spool = spool;
	sample->at = SpoolReserve(spool, 0);
	sample->bar = UINT64_MAX;
}

/* Hashes are spread evenly, so a share of them is one of the rows. */
bool
SampleExpect(Sample *sample, double rows)
{
	double share = SAMPLE_SPARE * (double) sample->limit / rows;

	if (sample->limit == 0 || sample->passed > 0 || !(share < 1))
		return false;
	sample->bar = (uint64) ldexp(share, 64);
	return true;
}

bool
SampleAgain(Sample *sample)
{
	if (sample->rows == sample->limit || sample->bar == UINT64_MAX)
		return false;
	sample->passed = sample->bar + 1;
	sample->bar = UINT64_MAX;
	return true;
}

void
SampleForget(Sample *sample)
{
	if (sample->tied)
		pfree(sample->tied);
	sample->tied = NULL;
	sample->rows = 0;
	sample->passed = 0;
	sample->bar = UINT64_MAX;
	sample->at = SpoolReserve(sample->spool, 0);
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

void
SampleRead(const Sample *sample, size_t row, float *x)
{
	SpoolRead(sample->spool, SamplePlace(sample, row), x, SampleRowBytes(sample));
}

/* Compare a row taken in, by its content, with x [dim]; spare [dim] is for the former. */
static int
SampleCompareContent(const Sample *sample, size_t row, float *spare, const float *x)
{
	SampleRead(sample, row, spare);
	return memcmp(spare, x, SampleRowBytes(sample));
}

/* Does the first come behind the second? */
static bool
SampleIsBehind(Sample *sample, SampleDraw a, SampleDraw b)
{
	float *x = sample->tied + sample->dim;

	if (a.hash != b.hash)
		return a.hash > b.hash;
	SampleRead(sample, b.row, x);
	return SampleCompareContent(sample, a.row, sample->tied, x) > 0;
}

/* Put a draw where it belongs in the heap at or below node i, which is free. */
static void
SampleSift(Sample *sample, size_t i, SampleDraw draw)
{
	for (;;)
	{
		size_t child = 2 * i + 1;

		if (child >= sample->rows)
			break;
		if (child + 1 < sample->rows &&
			SampleIsBehind(sample, sample->draws[child + 1], sample->draws[child]))
			child++;
		if (!SampleIsBehind(sample, sample->draws[child], draw))
			break;
		sample->draws[i] = sample->draws[child];
		i = child;
	}
	sample->draws[i] = draw;
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
		sample->draws =
			SampleGrowArray(sample, sample->draws, mul_size(capacity, sizeof(SampleDraw)));
	sample->capacity = capacity;
}

/* Order the rows by hash, once there are as many as the sample may have. */
static void
SampleBuildHeap(Sample *sample)
{
	sample->tied = MemoryContextAlloc(sample->context, 2 * SampleRowBytes(sample));
	for (size_t i = sample->rows / 2; i-- > 0;)
		SampleSift(sample, i, sample->draws[i]);
}

void
SampleAdd(Sample *sample, const float *x, int dim, int64 number)
{
	SampleDraw draw = {.row = (uint32) sample->rows};
	SampleDraw last;

	sample->dim = dim;
	if (sample->limit)
		draw.hash = stk_row_hash(x, (size_t) dim, sample->seed);
	if (draw.hash > sample->bar || draw.hash < sample->passed)
		return;
	if (sample->limit == 0 || sample->rows < sample->limit)
	{
		if (sample->rows == sample->capacity)
			SampleGrow(sample);
		SpoolAppend(sample->spool, x, SampleRowBytes(sample));
		if (sample->limit)
			sample->draws[sample->rows] = draw;
		sample->numbers[sample->rows++] = number;
		return;
	}

	if (!sample->tied)
		SampleBuildHeap(sample);
	last = sample->draws[0];
	if (draw.hash > last.hash ||
		(draw.hash == last.hash && SampleCompareContent(sample, last.row, sample->tied, x) <= 0))
		return;
	draw.row = last.row;
	SpoolWrite(sample->spool, SamplePlace(sample, draw.row), x, SampleRowBytes(sample));
	sample->numbers[draw.row] = number;
	SampleSift(sample, 0, draw);
}
