/*
 * semtokd --selftest and --engines: does this machine compute as it must, on what, and how fast?
 */
#ifndef STK_SELFTEST_H
#define STK_SELFTEST_H

/*
 * Compare what each engine computes here, with vector units, threads and devices, with portable C
 * in one thread, and print a line for each comparison. Returns the program's exit status: 1 when
 * one of them failed.
 */
extern int stk_selftest(void);

/*
 * Print a line for each engine: its name, what it computes on, and how fast, as measured now; and
 * from which size on work goes to a device. Returns the program's exit status.
 */
extern int stk_print_engines(void);

#endif
