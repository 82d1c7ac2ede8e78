/*
 * Messages over a socket, to a worker and from it. Nothing here blocks but ChannelWait, and nothing
 * that the other side does is an error: a channel that has failed says why and does nothing more.
 */
#ifndef SEMTOK_CHANNEL_H
#define SEMTOK_CHANNEL_H

#include "postgres.h"

#include "client/wait_event.h"
#include "worker/protocol.h"

typedef struct Channel Channel;

/*
 * Take over a connected socket, non-blocking, that AcquireExternalFD has counted: also when this
 * raises an error. Lives until ChannelClose.
 */
extern Channel *ChannelOpen(pgsocket sock);
/* Cannot fail. */
extern void ChannelClose(Channel *channel);

/* Why it cannot be used any more; NULL as long as it can. */
extern const char *ChannelFailure(const Channel *channel);
/* Has it failed because the other side closed it? */
extern bool ChannelEnded(const Channel *channel);
/* It is not to be used any more. The first reason stays. */
extern void ChannelFail(Channel *channel, const char *format, ...) pg_attribute_printf(2, 3);

/* Room for one message, to write it in before it is sent. */
extern uint8 *ChannelBuffer(Channel *channel);
/* Begin to send what is in the buffer, and with it a descriptor, unless it is -1. */
extern void ChannelBeginSend(Channel *channel, Size bytes, int descriptor);
/* Has a part of it, not all, been sent? */
extern bool ChannelBegun(const Channel *channel);
/* Go on with it. True when all of it has been sent, or the channel has failed. */
extern bool ChannelSend(Channel *channel);

/*
 * Go on receiving. True when a message is there, whose body is good until the next call: its header
 * is one that an honest worker may send, its body is unread.
 */
extern bool ChannelReceive(Channel *channel, stk_header *header, const uint8 **body);
/*
 * Messages that have come and gone so far, whole ones: they rise while the other side is alive.
 * Some bytes of one now and then are no sign of that.
 */
extern uint64 ChannelMessages(const Channel *channel);

/*
 * Wait until more can be received, or sent where there is something to send, for so many
 * milliseconds at most. Serves interrupts, which may raise an error.
 */
extern void ChannelWait(Channel *channel, long timeout, SemtokWait wait);

#endif
