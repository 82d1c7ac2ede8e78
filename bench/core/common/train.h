/*
 * Codebooks for benchmarks, and how good they are: one judge for ours and the rivals'.
 */
#ifndef BENCH_TRAIN_H
#define BENCH_TRAIN_H

#include "bench.h"
#include "core/rqkmeans.h"
#include "data.h"

/* A codebook of levels of one size: codewords [levels][size][dim], allocated. */
typedef struct bench_codebook
{
	int levels;
	uint32_t size;
	size_t dim;
	float *codewords;
} bench_codebook;

extern bench_codebook bench_codebook_new(int levels, uint32_t size, size_t dim);
extern void bench_codebook_free(bench_codebook *cb);
extern size_t bench_codebook_floats(const bench_codebook *cb);
/* Core's view of it, L2. */
extern stk_codebook bench_codebook_view(const bench_codebook *cb);

/* Options for Lloyd's k-means under L2, level by level. */
extern stk_rqkmeans_options bench_options(const bench_codebook *cb, int epochs, stk_init init,
										  uint64_t seed);

/* Train cb on rows. The rows are sorted, and with several levels overwritten. */
extern void bench_train(const stk_exec *exec, const stk_rqkmeans_options *opt, float *x, size_t n,
						bench_codebook *cb);

/*
 * The codewords that such a training of the first level begins with: given to rivals, so that all
 * climb from the same place. sorted: the rows as training left them. start [size][dim] out.
 */
extern void bench_start(const stk_exec *exec, const stk_rqkmeans_options *opt, const float *sorted,
						size_t n, float *start);

/* How long a trainer took, and what it needed beside its rows. */
typedef struct bench_trained
{
	bench_time time;
	double memory; /* kB; NAN when it was not measured */
} bench_trained;

/*
 * Rivals' k-means: FAISS level by level on residuals, scikit-learn one level. start [size][dim]:
 * the first level's initial codewords, may be NULL; all others are random rows, or by FAISS's own
 * k-means++ when plus says so. cb gets what they trained. False
 * when they are not installed.
 */
extern bool bench_train_faiss(const bench_rows *rows, int epochs, bool plus, const float *start,
							  int times, bench_codebook *cb, bench_trained *out);
extern bool bench_train_sklearn(const bench_rows *rows, int epochs, const float *start, int times,
								bench_codebook *cb, bench_trained *out);

/* What a codebook makes of rows. */
typedef struct bench_quality
{
	double error; /* mean squared distance of a row from the sum of its codewords */
	uint64_t ids; /* distinct codes */
} bench_quality;

/*
 * codes [n][levels] as some encoder gave them; NULL: by the exact greedy rule.
 */
extern bench_quality bench_judge(const stk_exec *exec, const bench_codebook *cb, const float *x,
								 size_t n, const uint16_t *codes);

/*
 * Judge an objective beside a rival's that began with the same codewords: no worse to 0.01 %, as
 * far as the order of sums takes two runs apart. theirs NAN: the rival was not there.
 */
extern void bench_goal_objective(const char *what, double ours, double theirs);

#endif
