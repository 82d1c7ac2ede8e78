/*
 * The socket where clients of a shared worker connect: the server's own user's, nobody else's.
 */
#ifndef STK_LISTENER_H
#define STK_LISTENER_H

#include <stdbool.h>

#include "core/status.h"

/*
 * Listen at path, mode 0600. A socket that is left there by a worker that has ended is replaced;
 * one that is listened on, and anything else, is not: STK_EINVAL, STK_EIO with the reason. *fd out.
 */
extern stk_status stk_listener_open(const char *path, int *fd, stk_error *err);

/* The next client; -1 when there is none, with errno. Others' clients are turned away. */
extern int stk_listener_accept(int fd);

#endif
