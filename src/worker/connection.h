/*
 * One end of a stream socket: whole messages in, bytes out, never waiting.
 *
 * A message is read by exactly its own bytes, so that the descriptor that comes with its first byte
 * cannot be taken for another message's. Every descriptor that comes in is the message's or closed.
 */
#ifndef STK_CONNECTION_H
#define STK_CONNECTION_H

#include "worker/protocol.h"

/* A message that has come in; the receiver's to free. */
typedef struct stk_message
{
	stk_header header;
	uint8_t *body; /* [header.bytes]; NULL when there are none */
	int file;      /* a regular file open for reading and writing; -1 = none */
} stk_message;

typedef struct stk_connection
{
	int fd;
	bool control; /* it is the supervisor's */

	/* The message that is coming in. */
	uint8_t head[STK_HEADER_BYTES];
	size_t got; /* bytes of it, of header and body together */
	stk_message message;

	/* What is still to be sent: out_at .. out_end of [out_room]. */
	uint8_t *out;
	size_t out_at;
	size_t out_end;
	size_t out_room;
} stk_connection;

typedef enum stk_receipt
{
	STK_RECEIVED,
	STK_NOT_YET, /* the rest has not come */
	STK_GONE,    /* end of file, or the connection was reset */
	STK_BROKEN   /* something that no honest client sends; err says what */
} stk_receipt;

/* Takes over fd, a stream socket, and makes it non-blocking. */
extern void stk_connection_init(stk_connection *c, int fd);
/* Close it, with all that was not received or sent. */
extern void stk_connection_close(stk_connection *c);

/* Read at most one message. After STK_GONE and STK_BROKEN only closing may follow. */
extern stk_receipt stk_connection_receive(stk_connection *c, stk_message *m, stk_error *err);
/* Frees the body and closes the file, where they have not been taken away (NULL, -1). */
extern void stk_message_free(stk_message *m);

/*
 * Send, or keep for later what the socket does not take now. False when the other side is gone, or
 * there is no memory: then only closing may follow.
 */
extern bool stk_connection_send(stk_connection *c, const uint8_t *bytes, size_t n);
/* Send what was kept, as far as the socket takes it. False as above. */
extern bool stk_connection_flush(stk_connection *c);

/* Bytes that wait to be sent. */
static inline size_t
stk_connection_unsent(const stk_connection *c)
{
	return c->out_end - c->out_at;
}

#endif
