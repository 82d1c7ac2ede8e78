#include "worker/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES 512

void
stk_log_line(const char *format, ...)
{
	char line[LINE_BYTES];
	int head = snprintf(line, sizeof(line), "semtokd[%d]: ", (int) getpid());
	size_t used = (size_t) head;
	size_t room = sizeof(line) - used - 1; /* for the newline */
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line + used, room, format, args);
	va_end(args);
	if (n > 0)
		used += (size_t) n < room ? (size_t) n : room - 1;
	line[used++] = '\n';
	/* Nothing can be done about a log that takes no lines. */
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}
