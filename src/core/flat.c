#include "flat.h"

/* A number of up to 512 bits, least significant limb first. */
#define LIMBS 16

typedef struct number
{
	uint32_t limb[LIMBS];
} number;

/* n = n * factor + add; false when that does not fit. */
static bool
multiply_add(number *n, uint32_t factor, uint32_t add)
{
	uint64_t carry = add;

	for (int i = 0; i < LIMBS; i++)
	{
		carry += (uint64_t) n->limb[i] * factor;
		n->limb[i] = (uint32_t) carry;
		carry >>= 32;
	}
	return carry == 0;
}

/* n = n / divisor; returns the remainder. */
static uint32_t
divide(number *n, uint32_t divisor)
{
	uint64_t rest = 0;

	for (int i = LIMBS - 1; i >= 0; i--)
	{
		rest = rest << 32 | n->limb[i];
		n->limb[i] = (uint32_t) (rest / divisor);
		rest %= divisor;
	}
	return (uint32_t) rest;
}

static bool
is_zero(const number *n)
{
	for (int i = 0; i < LIMBS; i++)
		if (n->limb[i] != 0)
			return false;
	return true;
}

stk_status
stk_flat_print(const stk_semid *id, const uint32_t *sizes, char *out, stk_error *err)
{
	char reversed[STK_FLAT_MAX_DIGITS];
	int digits = 0;
	number n = {{0}};

	for (int l = 0; l < id->levels; l++)
	{
		if (id->codes[l] >= sizes[l])
		{
			stk_fail(err, STK_ERANGE, "expected codes below %u, not %u", sizes[l], id->codes[l]);
			if (err)
				err->level = l;
			return STK_ERANGE;
		}
		/* cannot overflow: what is before is below the product of the sizes before */
		multiply_add(&n, sizes[l], id->codes[l]);
	}
	do
		reversed[digits++] = (char) ('0' + divide(&n, 10));
	while (!is_zero(&n));
	while (digits > 0)
		*out++ = reversed[--digits];
	*out = '\0';
	return STK_OK;
}

stk_status
stk_flat_parse(const char *digits, size_t len, const uint32_t *sizes, int levels, stk_semid *id,
			   stk_error *err)
{
	number n = {{0}};
	bool fits = true;

	if (len == 0)
		return stk_fail(err, STK_EINVAL, "expected a number");
	for (size_t i = 0; i < len && fits; i++)
	{
		if (digits[i] < '0' || digits[i] > '9')
			return stk_fail(err, STK_EINVAL, "expected a digit at byte %zu", i + 1);
		fits = multiply_add(&n, 10, (uint32_t) (digits[i] - '0'));
	}
	id->tokenizer = 0;
	id->levels = levels;
	for (int l = levels - 1; fits && l >= 0; l--)
		id->codes[l] = (uint16_t) divide(&n, sizes[l]);
	if (!fits || !is_zero(&n))
		return stk_fail(err, STK_ERANGE, "expected a number below the product of the sizes");
	return STK_OK;
}
