/*
 * The rows a tokenizer is trained on, gathered one by one: all of them, or a sample. They go to a
 * spool, where whoever trains finds them; memory holds a few bytes of each.
 */
#ifndef SEMTOK_SAMPLE_H
#define SEMTOK_SAMPLE_H

#include "postgres.h"

#include "client/spool.h"

#define SAMPLE_MAX_ROWS 100000000

/* A row of a sample, as it was drawn. */
typedef struct SampleDraw
{
	uint64 hash;
	uint32 row;
} SampleDraw;

/*
 * A sample of `limit` rows is those whose contents have the smallest seeded hashes. So it depends
 * on what the rows are, not on their order or on the plan that brings them; rows with equal
 * content come in or stay out together, as far as the limit allows.
 */
typedef struct Sample
{
	MemoryContext context; /* of numbers, draws and tied */
	size_t limit;          /* 0 = every row */
	uint64 seed;
	int dim;
	Spool *spool;   /* the caller's */
	uint64 at;      /* where in it [rows][dim] begin, a multiple of 8 */
	int64 *numbers; /* [rows] each row's in its source; 0 = not known */
	size_t rows;
	size_t capacity;
	/*
	 * Hashes that rows are taken in with: those at most `bar`, but for those that were read before.
	 */
	uint64 bar;
	uint64 passed;     /* .. those less than this */
	SampleDraw *draws; /* [rows], from the limit on a heap, the largest hash first; or NULL */
	float *tied;       /* [2][dim] rows read back to be compared; comes with the limit */
} Sample;

/* Rows go to the spool's end, to which nobody else appends before the last of them. */
extern void SampleInit(Sample *sample, Spool *spool, size_t limit, uint64 seed);
/*
 * Before the rows, when about so many will come, or 0: if true, those whose hash is above the bar
 * are not taken in in the first place, which are most of those that will not be in the sample in
 * the end.
 */
extern bool SampleExpect(Sample *sample, double rows);
/* After the rows: there were fewer than expected, and all of them must be added once more. */
extern bool SampleAgain(Sample *sample);
/* Begin anew, as if no row had been added. */
extern void SampleForget(Sample *sample);
/* Take a row in, or not. Memory that is short is an error (53200), and so is the spool's disk. */
extern void SampleAdd(Sample *sample, const float *x, int dim, int64 number);
/* A row [dim] that was taken in. */
extern void SampleRead(const Sample *sample, size_t row, float *x);

#endif
