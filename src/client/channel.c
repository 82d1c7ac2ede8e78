#include "postgres.h"

#include "client/channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include "compat.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"

/* Places in the set of what is waited for. */
#define CHANNEL_EVENTS 3

struct Channel
{
	pgsocket sock;
	WaitEventSet *set; /* latch, end of the server, sock */
	int sock_event;    /* the last one's place in it */
	uint64 messages;   /* whole ones, in and out */
	char failure[256]; /* empty: none */
	bool ended;        /* it is that the other side closed it */
	int descriptor;    /* to go with the first byte of out; -1 = none */
	Size out_bytes;
	Size out_sent;
	Size in_bytes; /* of a message that is being received */
	uint8 out[STK_HEADER_BYTES + STK_BODY_MAX];
	uint8 in[STK_HEADER_BYTES + STK_BODY_MAX];
};

Channel *
ChannelOpen(pgsocket sock)
{
	Channel *channel = NULL;

	PG_TRY();
	{
		channel = MemoryContextAllocZero(TopMemoryContext, sizeof(*channel));
		channel->sock = sock;
		channel->descriptor = -1;
		channel->set = SemtokCreateWaitEventSet(CHANNEL_EVENTS);
		AddWaitEventToSet(channel->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		AddWaitEventToSet(channel->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
		channel->sock_event = AddWaitEventToSet(channel->set, WL_SOCKET_READABLE, sock, NULL, NULL);
	}
	PG_CATCH();
	{
		if (channel)
			ChannelClose(channel);
		else
		{
			close(sock);
			ReleaseExternalFD();
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	return channel;
}

void
ChannelClose(Channel *channel)
{
	if (channel->set)
		FreeWaitEventSet(channel->set);
	close(channel->sock);
	ReleaseExternalFD();
	pfree(channel);
}

const char *
ChannelFailure(const Channel *channel)
{
	return channel->failure[0] ? channel->failure : NULL;
}

bool
ChannelEnded(const Channel *channel)
{
	return channel->ended;
}

void
ChannelFail(Channel *channel, const char *format, ...)
{
	va_list args;

	if (channel->failure[0])
		return;
	va_start(args, format);
	vsnprintf(channel->failure, sizeof(channel->failure), format, args);
	va_end(args);
}

static void
ChannelEnd(Channel *channel)
{
	channel->ended = !channel->failure[0];
	ChannelFail(channel, "it closed the connection");
}

/* After a call on the socket that did nothing: is that so because it would have had to wait? */
static bool
ChannelWouldWait(Channel *channel, const char *what)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return true;
	if (errno == EPIPE || errno == ECONNRESET)
		ChannelEnd(channel);
	else
		ChannelFail(channel, "could not %s: %s", what, strerror(errno));
	return false;
}

uint8 *
ChannelBuffer(Channel *channel)
{
	Assert(channel->out_sent == channel->out_bytes || channel->failure[0]);
	return channel->out;
}

void
ChannelBeginSend(Channel *channel, Size bytes, int descriptor)
{
	channel->out_bytes = bytes;
	channel->out_sent = 0;
	channel->descriptor = descriptor;
}

bool
ChannelBegun(const Channel *channel)
{
	return channel->out_sent > 0 && channel->out_sent < channel->out_bytes;
}

/* One attempt; what sendmsg returns. */
static ssize_t
ChannelSendSome(Channel *channel)
{
	struct iovec data = {channel->out + channel->out_sent, channel->out_bytes - channel->out_sent};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	union
	{
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;

	if (channel->descriptor >= 0)
	{
		memset(&control, 0, sizeof(control));
		message.msg_control = control.room;
		message.msg_controllen = sizeof(control.room);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &channel->descriptor, sizeof(int));
	}
	return sendmsg(channel->sock, &message, MSG_NOSIGNAL);
}

bool
ChannelSend(Channel *channel)
{
	while (channel->out_sent < channel->out_bytes && !channel->failure[0])
	{
		ssize_t sent = ChannelSendSome(channel);

		if (sent < 0 && ChannelWouldWait(channel, "send to it"))
			return false;
		if (sent > 0)
		{
			channel->descriptor = -1;
			channel->out_sent += sent;
			channel->messages += channel->out_sent == channel->out_bytes;
		}
	}
	return true;
}

/* Get up to `wanted` bytes of a message together. Descriptors that come along are dropped. */
static bool
ChannelFill(Channel *channel, Size wanted)
{
	while (channel->in_bytes < wanted && !channel->failure[0])
	{
		ssize_t got =
			recv(channel->sock, channel->in + channel->in_bytes, wanted - channel->in_bytes, 0);

		if (got < 0 && ChannelWouldWait(channel, "receive from it"))
			return false;
		if (got == 0)
			ChannelEnd(channel);
		if (got > 0)
			channel->in_bytes += got;
	}
	return !channel->failure[0];
}

bool
ChannelReceive(Channel *channel, stk_header *header, const uint8 **body)
{
	stk_error err = {.level = -1};

	if (!ChannelFill(channel, STK_HEADER_BYTES))
		return false;
	if (stk_read_header(channel->in, header, &err) != STK_OK)
	{
		ChannelFail(channel, "it sent what is no message: %s", err.message);
		return false;
	}
	if (header->with_file)
	{
		ChannelFail(channel, "it sent a file");
		return false;
	}
	if (!ChannelFill(channel, STK_HEADER_BYTES + header->bytes))
		return false;
	*body = channel->in + STK_HEADER_BYTES;
	channel->in_bytes = 0;
	channel->messages++;
	return true;
}

uint64
ChannelMessages(const Channel *channel)
{
	return channel->messages;
}

void
ChannelWait(Channel *channel, long timeout, SemtokWait wait)
{
	bool sending = channel->out_sent < channel->out_bytes;
	WaitEvent event;

	CHECK_FOR_INTERRUPTS();
	ModifyWaitEvent(channel->set, channel->sock_event,
					WL_SOCKET_READABLE | (sending ? WL_SOCKET_WRITEABLE : 0), NULL);
	if (WaitEventSetWait(channel->set, timeout, &event, 1, SemtokWaitEvent(wait)) > 0 &&
		(event.events & WL_LATCH_SET))
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}
