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
/*
 * Let an encoding wait for its turn, or for its codebook, or answer that the codebook is missing.
 */
extern void stk_request_admit(stk_server *s, stk_job *job);

#endif
