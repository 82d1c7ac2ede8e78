/*
 * What a request asks for: read it, and answer it or make it a job. The loop's thread.
 */
#ifndef STK_REQUEST_H
#define STK_REQUEST_H

#include "worker/server.h"

/* Is it of a kind that the window counts? */
extern bool stk_request_computes(const stk_message *m);
/* Frees the message. False, with the reason, when it is nothing an honest client sends. */
extern bool stk_request_take(stk_server *s, stk_session *session, stk_message *m, stk_error *err);
/* Pin the codebook or the set that an encoding or a search needs; NULL when it is not here. */
extern stk_cached *stk_request_pin(stk_server *s, const stk_job *job);
/* Let such a job wait for its turn, or for what it needs, or answer that that is missing. */
extern void stk_request_admit(stk_server *s, stk_job *job);

#endif
