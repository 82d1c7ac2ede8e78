#include "worker/listener.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/log.h"

#define BACKLOG 256

/* Is somebody listening there? */
static bool
is_alive(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive;

	if (fd < 0)
		return true;
	alive = connect(fd, (const struct sockaddr *) address, sizeof(*address)) == 0 ||
			errno != ECONNREFUSED;
	close(fd);
	return alive;
}

/* Make way for a socket of ours. */
static stk_status
remove_stale(const struct sockaddr_un *address, stk_error *err)
{
	struct stat st;

	if (lstat(address->sun_path, &st) != 0)
		return errno == ENOENT ? STK_OK
							   : stk_fail(err, STK_EIO, "could not look at the socket's path: %s",
										  strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return stk_fail(err, STK_EINVAL, "what is at the socket's path is not a socket");
	if (is_alive(address))
		return stk_fail(err, STK_EINVAL, "another worker listens there");
	if (unlink(address->sun_path) != 0)
		return stk_fail(err, STK_EIO, "could not remove the old socket: %s", strerror(errno));
	return STK_OK;
}

stk_status
stk_listener_open(const char *path, int *fd, stk_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t old;
	bool ok;
	stk_status status;

	if (strlen(path) >= sizeof(address.sun_path))
		return stk_fail(err, STK_EINVAL, "the socket's path is too long");
	memcpy(address.sun_path, path, strlen(path));
	status = remove_stale(&address, err);
	if (status != STK_OK)
		return status;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return stk_fail(err, STK_EIO, "could not create a socket: %s", strerror(errno));
	old = umask(0177);
	ok = bind(*fd, (struct sockaddr *) &address, sizeof(address)) == 0 && listen(*fd, BACKLOG) == 0;
	umask(old);
	if (ok)
		return STK_OK;
	status = stk_fail(err, STK_EIO, "could not listen: %s", strerror(errno));
	close(*fd);
	return status;
}

int
stk_listener_accept(int fd)
{
	for (;;)
	{
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred peer;
		socklen_t length = sizeof(peer);

		if (client < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (client < 0)
			return -1;
		if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
			peer.uid == geteuid())
			return client;
		stk_log_line("turning a client of another user away");
		close(client);
	}
}
