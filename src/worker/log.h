/*
 * The worker's log: standard error, which the server's log collector reads. One write a line, so
 * that lines of several processes do not mix.
 */
#ifndef STK_LOG_H
#define STK_LOG_H

/* "semtokd[PID]: message". No newline at the end of format; longer lines are cut. Any thread. */
extern void stk_log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
