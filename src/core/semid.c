#include "semid.h"

size_t
stk_semid_pack(const stk_semid *id, uint8_t *out)
{
	uint8_t *p = out;

	*p++ = (uint8_t) (id->tokenizer >> 24);
	*p++ = (uint8_t) (id->tokenizer >> 16);
	*p++ = (uint8_t) (id->tokenizer >> 8);
	*p++ = (uint8_t) id->tokenizer;
	for (int l = 0; l < id->levels; l++)
	{
		*p++ = (uint8_t) (id->codes[l] >> 8);
		*p++ = (uint8_t) id->codes[l];
	}
	return (size_t) (p - out);
}

stk_status
stk_semid_unpack(const uint8_t *bytes, size_t len, stk_semid *id)
{
	if (len < STK_SEMID_HEADER + 2 || len > STK_SEMID_MAX_BYTES || len % 2 != 0)
		return STK_ECORRUPT;
	id->tokenizer = stk_semid_bytes_tokenizer(bytes);
	if (id->tokenizer > INT32_MAX)
		return STK_ECORRUPT;
	id->levels = stk_semid_bytes_levels(len);
	for (int l = 0; l < id->levels; l++)
		id->codes[l] = stk_semid_bytes_code(bytes, l);
	return STK_OK;
}

/* Text being parsed. */
typedef struct cursor
{
	const char *p;
	const char *end;
} cursor;

static void
skip_space(cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || (*c->p >= '\t' && *c->p <= '\r')))
		c->p++;
}

/* Take ch, with the spaces before it, if it comes next. */
static bool
accept(cursor *c, char ch)
{
	skip_space(c);
	if (c->p == c->end || *c->p != ch)
		return false;
	c->p++;
	return true;
}

/* Digits with an optional minus sign; values beyond 32 bits saturate. */
static bool
accept_number(cursor *c, bool *negative, uint32_t *value)
{
	const char *start;
	uint64_t v = 0;

	skip_space(c);
	start = c->p;
	*negative = c->p < c->end && *c->p == '-';
	if (*negative)
		c->p++;
	if (c->p == c->end || *c->p < '0' || *c->p > '9')
	{
		c->p = start;
		return false;
	}
	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
	{
		v = v * 10 + (uint64_t) (*c->p - '0');
		if (v > UINT32_MAX)
			v = UINT32_MAX;
	}
	*value = (uint32_t) v;
	return true;
}

/* The input may be in any encoding, so messages give a byte's place rather than a piece of it. */
static stk_status
expected(const cursor *c, const char *text, const char *what, stk_error *err)
{
	if (c->p == c->end)
		return stk_fail(err, STK_EINVAL, "expected %s at the end of the input", what);
	return stk_fail(err, STK_EINVAL, "expected %s at byte %zu", what, (size_t) (c->p - text) + 1);
}

stk_status
stk_semid_parse(const char *text, size_t len, stk_semid *id, stk_error *err)
{
	cursor c = {text, text + len};
	bool negative;
	uint32_t value;

	id->tokenizer = 0;
	id->levels = 0;

	if (!accept(&c, '['))
		return expected(&c, text, "\"[\"", err);
	do
	{
		if (!accept_number(&c, &negative, &value))
			return expected(&c, text, "a code", err);
		if ((negative && value != 0) || value > STK_MAX_CODE)
			return stk_fail(err, STK_ERANGE, "code of level %d is not between 0 and %d", id->levels,
							STK_MAX_CODE);
		if (id->levels == STK_MAX_LEVELS)
			return stk_fail(err, STK_ERANGE, "expected at most %d levels", STK_MAX_LEVELS);
		id->codes[id->levels++] = (uint16_t) value;
	} while (accept(&c, ','));
	if (!accept(&c, ']'))
		return expected(&c, text, "\",\" or \"]\"", err);

	if (accept(&c, '@'))
	{
		if (!accept_number(&c, &negative, &value))
			return expected(&c, text, "a tokenizer", err);
		if ((negative && value != 0) || value > INT32_MAX)
			return stk_fail(err, STK_ERANGE, "tokenizer is not between 0 and %d", INT32_MAX);
		id->tokenizer = value;
	}
	skip_space(&c);
	if (c.p != c.end)
		return expected(&c, text, "the end of the input", err);
	return STK_OK;
}

/* Decimal digits of v at out; returns the end. */
static char *
print_number(char *out, uint32_t v)
{
	char digits[10];
	int n = 0;

	do
	{
		digits[n++] = (char) ('0' + v % 10);
		v /= 10;
	} while (v != 0);
	while (n > 0)
		*out++ = digits[--n];
	return out;
}

size_t
stk_semid_print(const stk_semid *id, char *out)
{
	char *p = out;

	for (int l = 0; l < id->levels; l++)
	{
		*p++ = l == 0 ? '[' : ',';
		p = print_number(p, id->codes[l]);
	}
	*p++ = ']';
	if (id->tokenizer != 0)
	{
		*p++ = '@';
		p = print_number(p, id->tokenizer);
	}
	*p = '\0';
	return (size_t) (p - out);
}
