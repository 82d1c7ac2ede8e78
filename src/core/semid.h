/*
 * A semantic ID: the id of the tokenizer that made it and 1 to 32 codes, coarse to fine.
 *
 * Stored form, final: 4 bytes tokenizer, then 2 bytes a code, all big-endian. Equal ids have
 * equal bytes, and memcmp over the common length, then the shorter first, is the order of ids:
 * tokenizer, then codes, a prefix before its extensions. Indexes and sorts rely on that.
 *
 * Text form: [12,7,255] with tokenizer 0, [12,7,255]@3 with tokenizer 3.
 */
#ifndef STK_SEMID_H
#define STK_SEMID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "status.h"

#define STK_MAX_LEVELS 32
#define STK_MAX_CODE 65535
#define STK_SEMID_HEADER 4
#define STK_SEMID_MAX_BYTES (STK_SEMID_HEADER + 2 * STK_MAX_LEVELS)
/* "[65535,...]@2147483647" and a terminating NUL */
#define STK_SEMID_MAX_TEXT (6 * STK_MAX_LEVELS + 16)

typedef struct stk_semid
{
	uint32_t tokenizer; /* 0 .. 2^31-1; 0 = none */
	int levels;         /* 1 .. STK_MAX_LEVELS */
	uint16_t codes[STK_MAX_LEVELS];
} stk_semid;

/* Write the stored form into out (STK_SEMID_MAX_BYTES is enough); returns its length. */
extern size_t stk_semid_pack(const stk_semid *id, uint8_t *out);

/* Read a stored form. STK_ECORRUPT when the length or the tokenizer is not possible. */
extern stk_status stk_semid_unpack(const uint8_t *bytes, size_t len, stk_semid *id);

/* Parse text (len bytes, not NUL-terminated). STK_EINVAL or STK_ERANGE with err filled. */
extern stk_status stk_semid_parse(const char *text, size_t len, stk_semid *id, stk_error *err);

/* Write text and a NUL into out (STK_SEMID_MAX_TEXT bytes); returns the length without NUL. */
extern size_t stk_semid_print(const stk_semid *id, char *out);

static inline uint32_t
stk_semid_bytes_tokenizer(const uint8_t *bytes)
{
	return (uint32_t) bytes[0] << 24 | (uint32_t) bytes[1] << 16 | (uint32_t) bytes[2] << 8 |
		   bytes[3];
}

static inline uint16_t
stk_semid_bytes_code(const uint8_t *bytes, int level)
{
	const uint8_t *p = bytes + STK_SEMID_HEADER + 2 * level;

	return (uint16_t) (p[0] << 8 | p[1]);
}

static inline int
stk_semid_bytes_levels(size_t len)
{
	return (int) ((len - STK_SEMID_HEADER) / 2);
}

/* Order of two stored forms: <0, 0, >0. */
static inline int
stk_semid_bytes_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	if (c != 0)
		return c;
	return (alen > blen) - (alen < blen);
}

/* Does id begin with prefix? Tokenizer 0 in the prefix stands for every tokenizer. */
static inline bool
stk_semid_bytes_starts_with(const uint8_t *id, size_t len, const uint8_t *prefix, size_t prefix_len)
{
	size_t skip = stk_semid_bytes_tokenizer(prefix) == 0 ? STK_SEMID_HEADER : 0;

	return prefix_len <= len && memcmp(id + skip, prefix + skip, prefix_len - skip) == 0;
}

/*
 * The beginning of a stored form as a number: where two of these differ they order as the ids do,
 * where they are equal the ids must be compared. It holds the tokenizer and two codes, and three
 * codes where the tokenizer is below 2^15, so that ids of three levels rarely tie; codes that an
 * id has not got are 0.
 */
static inline uint64_t
stk_semid_bytes_abbreviate(const uint8_t *bytes, size_t len)
{
	uint32_t tokenizer = stk_semid_bytes_tokenizer(bytes);
	int levels = stk_semid_bytes_levels(len);
	uint64_t codes = (uint64_t) stk_semid_bytes_code(bytes, 0) << 32;

	if (levels > 1)
		codes |= (uint64_t) stk_semid_bytes_code(bytes, 1) << 16;
	if (levels > 2)
		codes |= stk_semid_bytes_code(bytes, 2);
	if (tokenizer < 1 << 15)
		return (uint64_t) tokenizer << 48 | codes;
	return ((uint64_t) tokenizer | UINT64_C(1) << 31) << 32 | codes >> 16;
}

#endif
