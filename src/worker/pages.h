/*
 * Large blocks of memory, straight from the kernel and in huge pages where it has them: filling
 * fresh memory is bound by page faults otherwise, and these are 512 times fewer.
 */
#ifndef STK_PAGES_H
#define STK_PAGES_H

#include <stddef.h>

/* From here on a block is worth pages of its own. */
#define STK_PAGES_MIN ((size_t) 4 << 20)

/* Bytes that a block of so many takes. bytes <= SIZE_MAX / 2. */
extern size_t stk_pages_taken(size_t bytes);
/* A block of zeros, aligned to a huge page; NULL when there is no memory. bytes > 0. */
extern void *stk_pages_map(size_t bytes);
/*
 * Make one of `before` bytes longer or shorter, maybe elsewhere. NULL, and it stays, if that fails.
 */
extern void *stk_pages_resize(void *block, size_t before, size_t bytes);
/* bytes as it was mapped, or last resized. */
extern void stk_pages_unmap(void *block, size_t bytes);

#endif
