/*
 * The rows a tokenizer is trained on, gathered one by one: all of them, or a sample.
 */
#ifndef SEMTOK_SAMPLE_H
#define SEMTOK_SAMPLE_H

#include "postgres.h"

#include "lib/binaryheap.h"
#include "storage/buffile.h"

#define SAMPLE_MAX_ROWS 100000000

/*
 * A sample of `limit` rows is those whose contents have the smallest seeded hashes. So it depends
 * on what the rows are, not on their order or on the plan that brings them; rows with equal
 * content come in or stay out together, as far as the limit allows.
 */
typedef struct Sample
{
	MemoryContext context; /* of x, numbers, hashes and heap */
	size_t limit;          /* 0 = every row */
	uint64 seed;
	int dim;
	float *x;       /* [rows][dim] */
	int64 *numbers; /* [rows] each row's in its source */
	size_t rows;
	size_t capacity;
	uint64 *hashes;   /* [rows]; NULL without a limit */
	binaryheap *heap; /* of row numbers, the largest hash first; NULL until the limit is reached */
	BufFile *saved;   /* the rows as they were; between SampleSave and SampleRestore */
} Sample;

extern void SampleInit(Sample *sample, size_t limit, uint64 seed);
/* Take a row in, or not. Memory that is short is an error (53200). */
extern void SampleAdd(Sample *sample, const float *x, int dim, int64 number);

/*
 * When all rows are in: keep a copy of x in a temporary file, and bring it back, once, after x has
 * been overwritten. So the rows are in memory once.
 */
extern void SampleSave(Sample *sample);
extern void SampleRestore(Sample *sample);

#endif
