#include "tokens.h"

#include <stdio.h>

/* The forms of a token. */
typedef enum form
{
	FORM_NONE,
	FORM_ITEM,    /* <item_L0_C12> */
	FORM_LETTER,  /* <a_12> */
	FORM_S_LETTER /* <s_a_12> */
} form;

/* Text being parsed. */
typedef struct cursor
{
	const char *text;
	const char *p;
	const char *end;
} cursor;

size_t
stk_tokens_print(const stk_semid *id, char *out)
{
	size_t len = 0;

	for (int l = 0; l < id->levels; l++)
		len += (size_t) snprintf(out + len, STK_TOKENS_MAX_TEXT - len, "<item_L%d_C%d>", l,
								 id->codes[l]);
	return len;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return c >= 'a' && c <= 'z';
}

static void
skip_space(cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || (*c->p >= '\t' && *c->p <= '\r')))
		c->p++;
}

/* Take these characters if they come next. */
static bool
accept(cursor *c, const char *word)
{
	size_t len = strlen(word);

	if ((size_t) (c->end - c->p) < len || memcmp(c->p, word, len) != 0)
		return false;
	c->p += len;
	return true;
}

/* The input may be in any encoding, so messages give a byte's place rather than a piece of it. */
static stk_status
expected(const cursor *c, const char *what, stk_error *err)
{
	if (c->p == c->end)
		return stk_fail(err, STK_EINVAL, "expected %s at the end of the input", what);
	return stk_fail(err, STK_EINVAL, "expected %s at byte %zu", what,
					(size_t) (c->p - c->text) + 1);
}

/* A decimal number without sign and leading zeros; values beyond 32 bits saturate. */
static stk_status
take_number(cursor *c, const char *what, uint32_t *value, stk_error *err)
{
	uint64_t v = 0;

	if (c->p == c->end || !is_digit(*c->p))
		return expected(c, what, err);
	if (*c->p == '0' && c->end - c->p > 1 && is_digit(c->p[1]))
		return stk_fail(err, STK_EINVAL, "number with a leading zero at byte %zu",
						(size_t) (c->p - c->text) + 1);
	for (; c->p < c->end && is_digit(*c->p); c->p++)
	{
		v = v * 10 + (uint64_t) (*c->p - '0');
		if (v > UINT32_MAX)
			v = UINT32_MAX;
	}
	*value = (uint32_t) v;
	return STK_OK;
}

/* A token up to its code: its form and its level. */
static stk_status
take_level(cursor *c, form *found, uint32_t *level, stk_error *err)
{
	if (!accept(c, "<"))
		return expected(c, "\"<\"", err);
	if (accept(c, "item_L"))
	{
		stk_status status = take_number(c, "a level", level, err);

		*found = FORM_ITEM;
		if (status != STK_OK)
			return status;
		return accept(c, "_C") ? STK_OK : expected(c, "\"_C\"", err);
	}
	/* <s_12> is letter s; <s_a_12> has a letter after it */
	*found = FORM_LETTER;
	if (c->end - c->p >= 3 && c->p[0] == 's' && c->p[1] == '_' && is_letter(c->p[2]))
	{
		*found = FORM_S_LETTER;
		c->p += 2;
	}
	if (c->p == c->end || !is_letter(*c->p))
		return expected(c, "\"item_L\" or a letter from a to z", err);
	*level = (uint32_t) (*c->p++ - 'a');
	return accept(c, "_") ? STK_OK : expected(c, "\"_\"", err);
}

static stk_status
take_token(cursor *c, form *form_of_all, stk_semid *id, stk_error *err)
{
	size_t start = (size_t) (c->p - c->text) + 1;
	form found = FORM_NONE;
	uint32_t level = 0;
	uint32_t code = 0;
	stk_status status = take_level(c, &found, &level, err);

	if (status == STK_OK)
		status = take_number(c, "a code", &code, err);
	if (status != STK_OK)
		return status;
	if (!accept(c, ">"))
		return expected(c, "\">\"", err);

	if (*form_of_all == FORM_NONE)
		*form_of_all = found;
	if (found != *form_of_all)
		return stk_fail(err, STK_EINVAL, "token of another form at byte %zu", start);
	if (id->levels == STK_MAX_LEVELS)
		return stk_fail(err, STK_ERANGE, "expected at most %d levels", STK_MAX_LEVELS);
	if (level != (uint32_t) id->levels)
		return stk_fail(err, STK_EINVAL, "expected level %d, not %u, at byte %zu", id->levels,
						level, start);
	if (code > STK_MAX_CODE)
		return stk_fail(err, STK_ERANGE, "code of level %d is not between 0 and %d", id->levels,
						STK_MAX_CODE);
	id->codes[id->levels++] = (uint16_t) code;
	return STK_OK;
}

stk_status
stk_tokens_parse(const char *text, size_t len, stk_semid *id, stk_error *err)
{
	cursor c = {text, text, text + len};
	form found = FORM_NONE;

	id->tokenizer = 0;
	id->levels = 0;
	skip_space(&c);
	do
	{
		stk_status status = take_token(&c, &found, id, err);

		if (status != STK_OK)
			return status;
		skip_space(&c);
	} while (c.p < c.end);
	return STK_OK;
}
