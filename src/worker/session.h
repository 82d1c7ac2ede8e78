/*
 * A session: reading a client's requests, answering those that need no computation, and sending
 * what is answered. The loop's thread.
 */
#ifndef STK_SESSION_H
#define STK_SESSION_H

#include "worker/server.h"

/* Takes over fd, and closes it when there is no memory (NULL). control: it is descriptor 0. */
extern stk_session *stk_session_open(stk_server *s, int fd, bool control);

/* Its socket can be read from: take one request. */
extern void stk_session_read(stk_server *s, stk_session *session);
/* Its socket can be written to again. */
extern void stk_session_write(stk_server *s, stk_session *session);
/*
 * Something has changed about it since the loop last looked: take the request that waits for the
 * window, say what events are to be waited for, or close it. Then session is gone.
 */
extern void stk_session_settle(stk_server *s, stk_session *session);
/* Have it closed by the loop. */
extern void stk_session_end(stk_server *s, stk_session *session);

/* Send a message, whole: every message goes out here. It may be s->scratch. */
extern void stk_session_send(stk_server *s, stk_session *session, uint8_t *message, size_t bytes);
/* The same, of a launch that waits until its reports are sent. */
extern void stk_session_report(stk_server *s, stk_session *session, stk_launch *l, uint8_t *message,
							   size_t bytes);
/* Write, send and count the answer of a job that is done. */
extern void stk_session_send_answer(stk_server *s, const stk_job *job);
/* The same with a job of the session's, and free it. */
extern void stk_session_answer(stk_server *s, stk_job *job);
/* Take a job away from its session. */
extern void stk_session_lose(stk_job *job);
/* Free a job that no session has. */
extern void stk_session_free_job(stk_server *s, stk_job *job);

#endif
