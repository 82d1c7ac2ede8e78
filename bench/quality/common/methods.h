/*
 * All ways of training, ours and the rivals', and the table of how good their ids are.
 */
#ifndef QUALITY_METHODS_H
#define QUALITY_METHODS_H

#include "judge.h"

/*
 * Print the table for a data set of bench_rows_load. ROWS in the environment: at most so many rows;
 * DEFAULTS_ONLY: each method at its defaults; ONLY: methods with this in their name. For main to
 * return.
 */
extern int quality_run(const char *name);

#endif
