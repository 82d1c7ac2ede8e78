/*
 * A semantic ID as words of a language model's vocabulary, one token a level, coarse to fine:
 *
 *   <item_L0_C12><item_L1_C7>   as RecTokens names them; what is printed
 *   <a_12><b_7>                 a letter a level (LC-Rec, LETTER); 26 levels at most
 *   <s_a_12><s_b_7>             the same with a leading s
 *
 * Read are all of these, one form in a text, levels in order from the first without a gap, and
 * codes as such a vocabulary writes them: decimal, no sign, no leading zeros. White space (blank,
 * tab, newline, vertical tab, form feed, carriage return) may stand around tokens, as decoders of
 * language models put it there, not inside them. The tokenizer is no part of these forms.
 */
#ifndef STK_TOKENS_H
#define STK_TOKENS_H

#include "semid.h"

/* "<item_L31_C65535>" a level and a terminating NUL */
#define STK_TOKENS_MAX_TEXT (17 * STK_MAX_LEVELS + 1)

/* Write the tokens and a NUL into out (STK_TOKENS_MAX_TEXT bytes); returns the length. */
extern size_t stk_tokens_print(const stk_semid *id, char *out);

/*
 * Parse text (len bytes, not NUL-terminated) into id, whose tokenizer becomes 0. STK_EINVAL, or
 * STK_ERANGE for a code or a level beyond the limits, with err filled.
 */
extern stk_status stk_tokens_parse(const char *text, size_t len, stk_semid *id, stk_error *err);

#endif
