/*
 * A trie on a device: core's packed trie (core/packed_trie.h), whose view kernels take by value and
 * walk with its inline functions.
 */
#ifndef STK_TRIE_DEVICE_H
#define STK_TRIE_DEVICE_H

#include "device.h"

STK_BEGIN_C

#include "core/packed_trie.h"

/* Made on the device that was current. */
typedef struct stk_device_trie
{
	stk_packed_trie view; /* its pointers are the device's */
	void *memory;         /* the block */
	size_t bytes;
} stk_device_trie;

/*
 * Copy a packed trie's block to the current device; waits until it is there, and has been read back
 * as it is here. block is not needed afterwards. STK_ENOMEM, STK_EIO. Free with
 * stk_device_trie_free.
 */
extern stk_status stk_device_trie_create(const stk_packed_trie *here, const void *block,
										 size_t bytes, cudaStream_t stream, stk_device_trie *out,
										 stk_error *err);
extern void stk_device_trie_free(stk_device_trie *t);

STK_END_C

#endif
