/*
 * Names by content: of codebooks and semsets, which are equal where their bytes are.
 */
#ifndef SEMTOK_CONTENT_H
#define SEMTOK_CONTENT_H

#include "postgres.h"

#define CONTENT_HASH_LENGTH 32 /* SHA-256 */

/* SHA-256 of a detoasted datum's stored form; hash is [CONTENT_HASH_LENGTH]. */
extern void ContentComputeHash(const struct varlena *v, uint8 *hash);

#endif
