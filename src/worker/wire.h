/*
 * The bytes of a message, on their way out or in: for protocol.c only.
 *
 * The same functions write and read, so that what describes a message does both. Each takes the
 * value to write and returns the one that counts: when reading, what came in.
 */
#ifndef STK_WIRE_H
#define STK_WIRE_H

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "worker/protocol.h"

/* Bytes on their way out or in. After the first failure everything read is 0. */
typedef struct wire
{
	uint8_t *out;      /* when writing, with room for STK_BODY_MAX */
	const uint8_t *in; /* when reading */
	size_t at;
	size_t bytes; /* when reading */
	bool failed;
	stk_error *err;
} wire;

static inline void refuse(wire *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void
refuse(wire *w, const char *format, ...)
{
	if (!w->failed && w->err)
	{
		va_list args;

		va_start(args, format);
		vsnprintf(w->err->message, sizeof(w->err->message), format, args);
		va_end(args);
	}
	w->failed = true;
}

/* The next n bytes of what is read; NULL when they are not there. */
static inline const uint8_t *
next(wire *w, uint64_t n)
{
	if (!w->failed && n > w->bytes - w->at)
		refuse(w, "message is cut off");
	if (w->failed)
		return NULL;
	w->at += (size_t) n;
	return w->in + w->at - n;
}

static inline uint64_t
number(wire *w, uint64_t v, int bytes)
{
	const uint8_t *p;

	if (w->out)
	{
		for (int i = 0; i < bytes; i++)
			w->out[w->at++] = (uint8_t) (v >> 8 * i);
		return v;
	}
	p = next(w, (uint64_t) bytes);
	v = 0;
	for (int i = 0; p && i < bytes; i++)
		v |= (uint64_t) p[i] << 8 * i;
	return v;
}

static inline uint16_t
u16(wire *w, uint16_t v)
{
	return (uint16_t) number(w, v, 2);
}

static inline uint32_t
u32(wire *w, uint32_t v)
{
	return (uint32_t) number(w, v, 4);
}

static inline uint64_t
u64(wire *w, uint64_t v)
{
	return number(w, v, 8);
}

/* A number with bounds, both possible values. */
static inline uint32_t
within(wire *w, uint32_t v, uint32_t first, uint32_t last, const char *what)
{
	v = u32(w, v);
	if (!w->out && !w->failed && (v < first || v > last))
	{
		refuse(w, "%s is %u, expected %u to %u", what, v, first, last);
		return 0;
	}
	return v;
}

static inline bool
flag(wire *w, bool v, const char *what)
{
	return within(w, v, 0, 1, what) != 0;
}

/* An int of either sign, for which bounds come later. */
static inline int
integer(wire *w, int v)
{
	return (int32_t) u32(w, (uint32_t) v);
}

/* A level, or -1. */
static inline int
level_or_none(wire *w, int v, int levels)
{
	v = integer(w, v);
	if (!w->out && (v < -1 || v >= levels))
	{
		refuse(w, "level is %d, expected -1 to %d", v, levels - 1);
		return -1;
	}
	return v;
}

static inline double
real(wire *w, double v, const char *what)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	bits = u64(w, bits);
	memcpy(&v, &bits, sizeof(v));
	if (!w->out && isnan(v))
		refuse(w, "%s is not a number", what);
	return v;
}

static inline bool
printable(char c)
{
	return c >= ' ' && c <= '~';
}

/*
 * A zero-terminated text, padded with zeros; what cannot be printed is written as question marks.
 */
static inline void
text(wire *w, char *t, size_t size, const char *what)
{
	const uint8_t *p;
	size_t n = 0;

	if (w->out)
	{
		n = strnlen(t, size - 1);
		for (size_t i = 0; i < size; i++)
			w->out[w->at++] = (uint8_t) (i >= n ? 0 : printable(t[i]) ? t[i] : '?');
		return;
	}
	memset(t, 0, size);
	p = next(w, size);
	if (!p)
		return;
	while (n < size && printable((char) p[n]))
		n++;
	for (size_t i = n; i < size; i++)
		if (p[i] != 0)
			n = size;
	if (n == size)
		refuse(w, "%s is not a printable text", what);
	else
		memcpy(t, p, n);
}

static inline void
hash(wire *w, uint8_t *h)
{
	const uint8_t *p;

	if (w->out)
	{
		memcpy(w->out + w->at, h, STK_HASH_BYTES);
		w->at += STK_HASH_BYTES;
		return;
	}
	p = next(w, STK_HASH_BYTES);
	if (p)
		memcpy(h, p, STK_HASH_BYTES);
}

/* Refuse a place in a file that no read or write could be asked for. */
static inline void
check_place(wire *w, uint64_t offset, uint64_t bytes)
{
	if (offset % 8 != 0)
		refuse(w, "offset %llu is not a multiple of 8", (unsigned long long) offset);
	else if (offset > INT64_MAX || bytes > INT64_MAX - offset)
		refuse(w, "%llu bytes at offset %llu are beyond any file", (unsigned long long) bytes,
			   (unsigned long long) offset);
}

/* Where data is; its bytes, when they are inside, come last in the body, by inside(). */
static inline void
place(wire *w, stk_data *d)
{
	if (w->out && d->bytes == 0)
		*d = (stk_data){0};
	d->in_file = flag(w, d->in_file, "place of data");
	d->offset = u64(w, d->in_file ? d->offset : 0);
	d->bytes = u64(w, d->bytes);
	if (w->out)
		return;
	d->inside = NULL;
	if (d->in_file && d->bytes == 0)
		refuse(w, "no data is said to be in a file");
	else if (d->in_file)
		check_place(w, d->offset, d->bytes);
	else if (d->offset != 0)
		refuse(w, "data within a message has an offset");
}

/* The bytes of n pieces of data that are inside, one after the other; not too many together. */
static inline void
inside(wire *w, stk_data **data, int n)
{
	uint64_t left = STK_INLINE_MAX;

	for (int i = 0; i < n; i++)
	{
		stk_data *d = data[i];

		if (d->in_file || d->bytes == 0)
			continue;
		if (w->out)
		{
			memcpy(w->out + w->at, d->inside, (size_t) d->bytes);
			w->at += (size_t) d->bytes;
		}
		else if (d->bytes > left)
			refuse(w, "more than %d bytes of data within a message", STK_INLINE_MAX);
		else
		{
			left -= d->bytes;
			d->inside = next(w, d->bytes);
		}
	}
}

/* n rows of `width` bytes each, no more and no less. */
static inline void
check_bytes(wire *w, uint64_t bytes, uint64_t n, uint64_t width, const char *what)
{
	uint64_t expected;

	if (__builtin_mul_overflow(n, width, &expected))
		refuse(w, "%s have no possible size", what);
	else if (bytes != expected)
		refuse(w, "%s have %llu bytes, expected %llu", what, (unsigned long long) bytes,
			   (unsigned long long) expected);
}

static inline wire
writer(uint8_t *out)
{
	return (wire){.out = out + STK_HEADER_BYTES};
}

static inline size_t
written(const wire *w, stk_kind kind, uint64_t request, bool with_file)
{
	stk_header h = {.kind = (uint16_t) kind,
					.with_file = with_file,
					.request = request,
					.bytes = (uint32_t) w->at};

	return stk_write_header(w->out - STK_HEADER_BYTES, &h) + w->at;
}

static inline wire
reader(const uint8_t *in, size_t bytes, stk_error *err)
{
	return (wire){.in = in, .bytes = bytes, .err = err};
}

static inline stk_status
finish(wire *w)
{
	if (!w->failed && w->at != w->bytes)
		refuse(w, "message is longer than it says");
	return w->failed ? STK_ECORRUPT : STK_OK;
}

#endif
