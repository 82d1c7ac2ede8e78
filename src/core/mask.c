#include "mask.h"

static void
set_bit(const stk_mask_form *form, uint8_t *row, uint64_t bit)
{
	row[bit / 8] |= (uint8_t) (form->first_high ? 0x80 >> bit % 8 : 1 << bit % 8);
}

stk_status
stk_mask_row(const stk_mask_form *form, int level, const stk_child *at, const stk_child *children,
			 size_t n, uint8_t *row, stk_error *err)
{
	const stk_csr_tokens *tokens = &form->tokens;
	uint64_t offset = 0;

	if (form->end_token != STK_MASK_NO_END && at->flags & STK_CHILD_ID)
		set_bit(form, row, form->end_token);
	if (n == 0)
		return STK_OK;
	if (tokens->n_offsets > 0)
	{
		if (level >= tokens->n_offsets)
			return stk_fail(err, STK_EINVAL, "code %u of level %d has no offset: there are %d",
							children[0].code, level, tokens->n_offsets);
		offset = tokens->offsets[level];
	}
	for (size_t i = 0; i < n; i++)
	{
		uint64_t token = offset + children[i].code;

		if (token >= tokens->vocab)
			return stk_fail(err, STK_EINVAL,
							"code %u of level %d is token %llu, expected one below %u",
							children[i].code, level, (unsigned long long) token, tokens->vocab);
		if (token == form->end_token)
			return stk_fail(err, STK_EINVAL, "code %u of level %d is token %llu, the end_token",
							children[i].code, level, (unsigned long long) token);
		set_bit(form, row, token);
	}
	return STK_OK;
}
