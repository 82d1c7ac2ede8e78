/*
 * semtokd --selftest: does this machine compute as it must?
 */
#ifndef STK_SELFTEST_H
#define STK_SELFTEST_H

/*
 * Compare what the engine computes here, with vector units and threads, with portable C in one
 * thread, and print a line for each comparison. Returns the program's exit status: 1 when one of
 * them failed.
 */
extern int stk_selftest(void);

#endif
