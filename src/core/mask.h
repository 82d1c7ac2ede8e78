/*
 * Which tokens may come next, as a row of bits: what a decoder outside masks its logits with.
 */
#ifndef STK_MASK_H
#define STK_MASK_H

#include <stdbool.h>

#include "csr.h"
#include "trie.h"

#define STK_MASK_NO_END UINT32_MAX

/* What a row looks like. */
typedef struct stk_mask_form
{
	stk_csr_tokens tokens; /* a row has tokens.vocab bits */
	uint32_t end_token;    /* the token that ends an id, below vocab; or STK_MASK_NO_END */
	bool first_high; /* the first bit of a byte is its highest, as in SQL's bit; else its lowest */
} stk_mask_form;

/*
 * Set the bits of what may follow a prefix of `level` codes.
 *
 *   at        what the prefix leads to: where an id ends there, end_token may follow
 *   children  [n]  its children, whose codes, which are of this level, are all that is looked at
 *   row       [(vocab + 7) / 8]  bits are set, none is cleared
 *
 * STK_EINVAL, with err naming level and code, for a code whose token is not below vocab, that has
 * no offset, or whose token is end_token; the row then holds some of the bits.
 */
extern stk_status stk_mask_row(const stk_mask_form *form, int level, const stk_child *at,
							   const stk_child *children, size_t n, uint8_t *row, stk_error *err);

#endif
