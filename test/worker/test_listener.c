/* listener: a socket for its own user alone, in the place of one that is no longer listened on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/listener.h"

/* Who the listener takes itself for: to be another user takes rights that a test need not have. */
static bool somebody_else;

uid_t
geteuid(void)
{
	return (uid_t) syscall(SYS_geteuid) + somebody_else;
}

static struct sockaddr_un
address_of(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static int
connect_to(const char *path)
{
	struct sockaddr_un a = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *) &a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
make_path(char path[64])
{
	snprintf(path, 64, "/tmp/semtok-listener-%d.sock", (int) getpid());
	unlink(path);
}

static void
only_its_own_user(void **state)
{
	char path[64];
	struct stat st;
	stk_error err;
	mode_t mask = umask(0);
	char byte;
	int fd, client, end;

	(void) state;
	make_path(path);
	assert_int_equal(stk_listener_open(path, &fd, &err), STK_OK);
	assert_int_equal(umask(mask), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stk_listener_accept(fd), -1);
	assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
	client = connect_to(path);
	assert_true(client >= 0);
	end = stk_listener_accept(fd);
	assert_true(end >= 0);
	assert_true(fcntl(end, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(end, F_GETFL) & O_NONBLOCK);
	close(client);
	close(end);

	/* Another user's are closed, and looked for no longer. */
	somebody_else = true;
	client = connect_to(path);
	assert_true(client >= 0);
	assert_int_equal(stk_listener_accept(fd), -1);
	assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
	assert_int_equal(read(client, &byte, 1), 0);
	somebody_else = false;
	close(client);
	close(fd);
	unlink(path);
}

static void
what_is_there_already(void **state)
{
	char path[64], other[70], far[200];
	struct stat st;
	stk_error err;
	int fd, second, file;

	(void) state;
	make_path(path);
	assert_int_equal(stk_listener_open(path, &fd, &err), STK_OK);
	assert_int_equal(stk_listener_open(path, &second, &err), STK_EINVAL);
	assert_string_equal(err.message, "another worker listens there");
	second = connect_to(path);
	assert_true(second >= 0);
	close(second);

	/* Nobody listens any more: it is replaced. */
	close(fd);
	assert_int_equal(connect_to(path), -1);
	assert_int_equal(stk_listener_open(path, &fd, &err), STK_OK);
	second = connect_to(path);
	assert_true(second >= 0);
	close(second);
	close(fd);

	/* A link to a socket is not one, and neither is a file. */
	snprintf(other, sizeof(other), "%s.other", path);
	unlink(other);
	assert_int_equal(symlink(path, other), 0);
	assert_int_equal(stk_listener_open(other, &fd, &err), STK_EINVAL);
	assert_string_equal(err.message, "what is at the socket's path is not a socket");
	assert_int_equal(lstat(other, &st), 0);
	unlink(other);
	file = open(other, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	close(file);
	assert_int_equal(stk_listener_open(other, &fd, &err), STK_EINVAL);
	assert_int_equal(lstat(other, &st), 0);
	unlink(other);
	unlink(path);

	memset(far, 'a', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_int_equal(stk_listener_open(far, &fd, &err), STK_EINVAL);
	assert_string_equal(err.message, "the socket's path is too long");
	assert_int_equal(stk_listener_open("/nowhere/at/all", &fd, &err), STK_EIO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_its_own_user),
		cmocka_unit_test(what_is_there_already),
	};

	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
