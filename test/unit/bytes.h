/*
 * Bytes for tests of stored forms: as hexadecimal text, and damaged at random.
 */
#ifndef TEST_BYTES_H
#define TEST_BYTES_H

#include <stdio.h>

#include "catalog.h"

/* Compare with hexadecimal text; spaces do not count. */
static inline void
assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
	char *got = calloc(len + 1, 2);
	char *want = calloc(strlen(hex) + 1, 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		sprintf(got + 2 * i, "%02x", bytes[i]);
	for (const char *p = hex; *p; p++)
		if (*p != ' ')
			want[n++] = *p;
	assert_string_equal(got, want);
	free(got);
	free(want);
}

/*
 * A damaged copy in a block of exactly its length, so that a sanitizer sees the first byte past
 * it. The beginning, where the shape is, is hit most.
 */
static inline uint8_t *
damage(prng *r, const uint8_t *bytes, size_t len, size_t *out_len)
{
	int kind = (int) prng_below(r, 8);
	uint8_t *copy;

	*out_len = len;
	if (kind == 0)
		*out_len = prng_below(r, (uint32_t) len + 1);
	else if (kind == 1)
		*out_len = len + 1 + prng_below(r, 16);
	copy = calloc(*out_len ? *out_len : 1, 1);
	memcpy(copy, bytes, *out_len < len ? *out_len : len);
	if (kind >= 1 && *out_len > 0)
	{
		for (int i = (int) prng_below(r, 4); i >= 0; i--)
		{
			uint32_t within = prng_below(r, 2) && *out_len > 48 ? 48 : (uint32_t) *out_len;
			uint8_t *at = copy + prng_below(r, within);

			switch (prng_below(r, 3))
			{
				case 0:
					*at ^= (uint8_t) (1 << prng_below(r, 8));
					break;
				case 1:
					*at = (uint8_t) prng_next(r);
					break;
				default:
					*at = prng_below(r, 2) ? 0xff : 0;
			}
		}
	}
	return copy;
}

#endif
