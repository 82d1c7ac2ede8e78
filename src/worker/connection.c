#include "worker/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/faults.h"

/* Descriptors that one read makes room for: one more than is allowed, so that more is noticed. */
#define MAX_DESCRIPTORS 2

void
stk_connection_init(stk_connection *c, int fd)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->message.file = -1;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void
stk_message_free(stk_message *m)
{
	free(m->body);
	if (m->file >= 0)
		close(m->file);
	m->body = NULL;
	m->file = -1;
}

void
stk_connection_close(stk_connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	stk_message_free(&c->message);
	free(c->out);
	c->out = NULL;
	c->out_at = c->out_end = c->out_room = 0;
}

/* Take the first descriptor of a control message as *file; close the others, and count all. */
static int
take_descriptors(struct msghdr *msg, int *file)
{
	int count = 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h))
	{
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++)
		{
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (count++ == 0)
				*file = fd;
			else
				close(fd);
		}
	}
	return count;
}

/*
 * Read up to n > 0 bytes. Descriptors may come with the first byte of a message alone: `first` says
 * whether this is it.
 */
static stk_receipt
read_some(stk_connection *c, uint8_t *to, size_t n, bool first, size_t *got, stk_error *err)
{
	union
	{
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
	} control;
	struct iovec iov = {to, n};
	struct msghdr msg = {.msg_iov = &iov,
						 .msg_iovlen = 1,
						 .msg_control = &control,
						 .msg_controllen = sizeof(control)};
	int file = -1;
	ssize_t r;

	do
		r = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? STK_NOT_YET : STK_GONE;

	int descriptors = take_descriptors(&msg, &file);

	if (descriptors > 0 && (descriptors > 1 || !first || (msg.msg_flags & MSG_CTRUNC)))
	{
		close(file);
		stk_fail(err, STK_ECORRUPT, "descriptors came where one at most was expected");
		return STK_BROKEN;
	}
	if (msg.msg_flags & MSG_CTRUNC)
	{
		stk_fail(err, STK_ECORRUPT, "a descriptor could not be received");
		return STK_BROKEN;
	}
	if (file >= 0)
		c->message.file = file;
	if (r == 0)
		return STK_GONE;
	*got = (size_t) r;
	return STK_RECEIVED;
}

/*
 * Data is only ever read from and written to regular files: nothing else is sure not to block. What
 * was opened for its path alone counts as open for reading.
 */
static bool
is_data_file(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flags >= 0 &&
		   (flags & O_ACCMODE) == O_RDWR;
}

/* A header is complete: check it and make room for the body. */
static stk_receipt
begin_body(stk_connection *c, stk_error *err)
{
	stk_message *m = &c->message;

	if (stk_read_header(c->head, &m->header, err) != STK_OK)
		return STK_BROKEN;
	if (m->header.with_file != (m->file >= 0))
	{
		stk_fail(err, STK_ECORRUPT,
				 m->header.with_file ? "a message lacks its descriptor"
									 : "a descriptor came with a message of none");
		return STK_BROKEN;
	}
	if (m->file >= 0 && !is_data_file(m->file))
	{
		stk_fail(err, STK_ECORRUPT,
				 "a descriptor is not of a regular file open for reading and writing");
		return STK_BROKEN;
	}
	STK_FAULT(STK_STEP_HEADER, m->header.kind, c->control);
	if (m->file >= 0)
		STK_FAULT(STK_STEP_DESCRIPTOR, m->header.kind, c->control);
	if (m->header.bytes > 0 && !(m->body = malloc(m->header.bytes)))
	{
		stk_fail(err, STK_ENOMEM, "out of memory");
		return STK_BROKEN;
	}
	return STK_RECEIVED;
}

stk_receipt
stk_connection_receive(stk_connection *c, stk_message *m, stk_error *err)
{
	stk_receipt r;
	size_t got;

	while (c->got < STK_HEADER_BYTES)
	{
		r = read_some(c, c->head + c->got, STK_HEADER_BYTES - c->got, c->got == 0, &got, err);
		if (r != STK_RECEIVED)
			return r;
		c->got += got;
		if (c->got == STK_HEADER_BYTES && (r = begin_body(c, err)) != STK_RECEIVED)
			return r;
	}
	while (c->got < STK_HEADER_BYTES + c->message.header.bytes)
	{
		size_t at = c->got - STK_HEADER_BYTES;

		r = read_some(c, c->message.body + at, c->message.header.bytes - at, false, &got, err);
		if (r != STK_RECEIVED)
			return r;
		c->got += got;
	}
	STK_FAULT(STK_STEP_BODY, c->message.header.kind, c->control);
	*m = c->message;
	memset(&c->message, 0, sizeof(c->message));
	c->message.file = -1;
	c->got = 0;
	return STK_RECEIVED;
}

bool
stk_connection_flush(stk_connection *c)
{
	while (c->out_at < c->out_end)
	{
		ssize_t w =
			send(c->fd, c->out + c->out_at, c->out_end - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		c->out_at += (size_t) w;
	}
	/* An idle connection keeps no memory. */
	free(c->out);
	c->out = NULL;
	c->out_at = c->out_end = c->out_room = 0;
	return true;
}

bool
stk_connection_send(stk_connection *c, const uint8_t *bytes, size_t n)
{
	size_t sent = 0;

	while (stk_connection_unsent(c) == 0 && sent < n)
	{
		ssize_t w = send(c->fd, bytes + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (w < 0)
			return false;
		sent += (size_t) w;
	}
	if (sent == n)
		return true;
	if (c->out_end + (n - sent) > c->out_room)
	{
		size_t unsent = stk_connection_unsent(c);
		size_t room = unsent + (n - sent) + unsent / 2;
		uint8_t *out = malloc(room);

		if (!out)
			return false;
		if (unsent > 0)
			memcpy(out, c->out + c->out_at, unsent);
		free(c->out);
		c->out = out;
		c->out_at = 0;
		c->out_end = unsent;
		c->out_room = room;
	}
	memcpy(c->out + c->out_end, bytes + sent, n - sent);
	c->out_end += n - sent;
	return true;
}
