#include "method.h"

static const stk_method *const methods[STK_TRAIN_METHODS] = {
	[STK_TRAIN_RQKMEANS] = &stk_method_rqkmeans, [STK_TRAIN_EMA] = &stk_method_ema};

const stk_method *
stk_method_of(stk_train_method method)
{
	/* As a number: an enum from elsewhere may hold any. */
	return (int) method >= 0 && (int) method < STK_TRAIN_METHODS ? methods[method] : NULL;
}
