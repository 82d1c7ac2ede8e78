/*
 * The event loop: wait for clients, requests, answers to send, and launches that end.
 */
#ifndef STK_LOOP_H
#define STK_LOOP_H

#include "worker/server.h"

/*
 * Serve until descriptor 0 reaches its end or a signal says stop. Returns the program's exit
 * status; what is under way is left to the end of the process.
 */
extern int stk_loop_run(const stk_settings *settings);

#endif
