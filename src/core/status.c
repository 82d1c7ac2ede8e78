#include "status.h"

#include <stdarg.h>
#include <stdio.h>

stk_status
stk_fail(stk_error *err, stk_status status, const char *format, ...)
{
	if (err)
	{
		va_list args;

		va_start(args, format);
		vsnprintf(err->message, sizeof(err->message), format, args);
		va_end(args);
	}
	return status;
}
