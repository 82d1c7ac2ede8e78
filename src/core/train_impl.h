/*
 * What a training and the forecast of its memory share.
 */
#ifndef STK_TRAIN_IMPL_H
#define STK_TRAIN_IMPL_H

#include <stddef.h>

/* Rows read and measured at a time: enough for all threads, and megabytes where rows are short. */
#define STK_TRAIN_PIECE_BYTES ((size_t) 4 << 20)
#define STK_TRAIN_PIECE_ROWS 256

/* How many of n rows come at a time. No result depends on it. */
extern size_t stk_train_piece(size_t dim, size_t n, int threads);

#endif
