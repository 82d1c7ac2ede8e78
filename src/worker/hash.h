/*
 * Names of content: SHA-256, as the database computes it.
 */
#ifndef STK_HASH_H
#define STK_HASH_H

#include "worker/protocol.h"

/* STK_ENOMEM when the library cannot. */
extern stk_status stk_hash(const void *bytes, size_t n, uint8_t hash[STK_HASH_BYTES],
						   stk_error *err);

#endif
