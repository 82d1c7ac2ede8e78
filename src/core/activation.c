#include "activation.h"

#include <string.h>

#include "activation_inline.h"
#include "fpenv.h"

static const char *const names[STK_ACTIVATIONS] = {"relu", "gelu", "silu"};

stk_status
stk_activation_parse(const char *name, stk_activation *activation)
{
	for (int i = 0; i < STK_ACTIVATIONS; i++)
	{
		if (strcmp(name, names[i]) == 0)
		{
			*activation = (stk_activation) i;
			return STK_OK;
		}
	}
	return STK_EINVAL;
}

const char *
stk_activation_name(stk_activation activation)
{
	return names[activation];
}

double
stk_erfc(double x)
{
	return stk_erfc_inline(x);
}

void
stk_activate(stk_activation activation, float *x, size_t n)
{
	switch (activation)
	{
		case STK_RELU:
			for (size_t i = 0; i < n; i++)
				x[i] = x[i] > 0 ? x[i] : 0;
			break;
		case STK_GELU:
			for (size_t i = 0; i < n; i++)
				x[i] = stk_gelu(x[i]);
			break;
		case STK_SILU:
			for (size_t i = 0; i < n; i++)
				x[i] = stk_silu(x[i]);
			break;
	}
}
