#include "method.h"

static const stk_method *const methods[STK_TRAIN_METHODS] = {[STK_TRAIN_RQKMEANS] =
																 &stk_method_rqkmeans,
															 [STK_TRAIN_EMA] = &stk_method_ema,
															 [STK_TRAIN_RQVAE] = &stk_method_rqvae};

const stk_method *
stk_method_of(stk_train_method method)
{
	/* As a number: an enum from elsewhere may hold any. */
	return (int) method >= 0 && (int) method < STK_TRAIN_METHODS ? methods[method] : NULL;
}

size_t
stk_plan_codes(const stk_train_plan *plan)
{
	size_t codes = 0;

	for (int l = 0; l < plan->levels; l++)
		codes += plan->sizes[l];
	return codes;
}

double
stk_plan_row_work(const stk_train_plan *plan)
{
	return (double) stk_plan_codes(plan) * plan->dim;
}
