/*
 * A disk that is full, for a server that preloads this (LD_PRELOAD): of a file in pgsql_tmp, as
 * many bytes can be written as the file "full_disk" in the server's data directory says, as text,
 * and not one more. Without that file there is room. What a write finds no room for is what the
 * kernel says then: first a part of it, and then ENOSPC.
 *
 *   cc -shared -fPIC -o full_disk.so full_disk.c -ldl
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Bytes of n at this place of the file that there is room for. */
static size_t
room(int fd, size_t n, off_t at)
{
	char link[64];
	char name[4096];
	ssize_t length;
	long long limit;
	FILE *file;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, name, sizeof(name) - 1);
	name[length < 0 ? 0 : length] = '\0';
	if (!strstr(name, "/pgsql_tmp/") || !(file = fopen("full_disk", "r")))
		return n;
	if (fscanf(file, "%lld", &limit) != 1)
		limit = 0;
	fclose(file);
	if (at >= limit)
		return 0;
	return (off_t) n > limit - at ? (size_t) (limit - at) : n;
}

ssize_t
pwrite(int fd, const void *data, size_t n, off_t at)
{
	ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
	size_t fits = room(fd, n, at);

	if (n > 0 && fits == 0)
	{
		errno = ENOSPC;
		return -1;
	}
	return real(fd, data, fits, at);
}

ssize_t
pwrite64(int fd, const void *data, size_t n, off_t at)
{
	return pwrite(fd, data, n, at);
}
