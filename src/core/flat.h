/*
 * A semantic ID as one number: mixed radix, a digit a level, level 0 the most significant. With
 * sizes [K0, K1, K2] codes [a, b, c] are (a * K1 + b) * K2 + c. Up to 32 levels of 65536 codes:
 * below 2^512. Levels and tokenizer are no part of the number.
 */
#ifndef STK_FLAT_H
#define STK_FLAT_H

#include "semid.h"

/* decimal digits of 2^512 */
#define STK_FLAT_MAX_DIGITS 155

/*
 * Write the number in decimal and a NUL into out (STK_FLAT_MAX_DIGITS + 1 bytes); sizes has one
 * entry a level, each 1 to 65536. STK_ERANGE with err->level where a code is not below its size.
 */
extern stk_status stk_flat_print(const stk_semid *id, const uint32_t *sizes, char *out,
								 stk_error *err);

/*
 * The codes of a number in decimal (len digits, leading zeros allowed) under sizes[levels]; the
 * tokenizer becomes 0. STK_ERANGE where it is not below the product of the sizes, STK_EINVAL where
 * something is no digit or len is 0.
 */
extern stk_status stk_flat_parse(const char *digits, size_t len, const uint32_t *sizes, int levels,
								 stk_semid *id, stk_error *err);

#endif
