/*
 * The rows a tokenizer is trained on, gathered one by one: all of them, or a sample. They go to a
 * spool, where whoever trains finds them; memory holds a few bytes of each.
 */
#ifndef SEMTOK_SAMPLE_H
#define SEMTOK_SAMPLE_H

#include "postgres.h"

#include "client/spool.h"
#include "lib/binaryheap.h"

#define SAMPLE_MAX_ROWS 100000000

/*
 * A sample of `limit` rows is those whose contents have the smallest seeded hashes. So it depends
 * on what the rows are, not on their order or on the plan that brings them; rows with equal
 * content come in or stay out together, as far as the limit allows.
 */
typedef struct Sample
{
	MemoryContext context; /* of numbers, hashes, heap and tied */
	size_t limit;          /* 0 = every row */
	uint64 seed;
	int dim;
	Spool *spool;   /* the caller's */
	uint64 at;      /* where in it [rows][dim] begin, a multiple of 8 */
	int64 *numbers; /* [rows] each row's in its source */
	size_t rows;
	size_t capacity;
	uint64 *hashes;   /* [rows]; NULL without a limit */
	binaryheap *heap; /* of row numbers, the largest hash first; NULL until the limit is reached */
	float *tied;      /* [2][dim] rows read back to be compared; comes with heap */
} Sample;

/* Rows go to the spool's end, to which nobody else appends before the last of them. */
extern void SampleInit(Sample *sample, Spool *spool, size_t limit, uint64 seed);
/* Take a row in, or not. Memory that is short is an error (53200), and so is the spool's disk. */
extern void SampleAdd(Sample *sample, const float *x, int dim, int64 number);

#endif
