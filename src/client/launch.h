/*
 * Starting semtokd: fork and exec, of a backend or of the supervisor.
 *
 * It is found beside this library, in semtok/, and is given nothing of ours but descriptor 0, the
 * log as 1 and 2, and a scrubbed environment. It ends when descriptor 0 reaches its end, and is
 * killed when the process that started it ends.
 */
#ifndef SEMTOK_LAUNCH_H
#define SEMTOK_LAUNCH_H

#include "postgres.h"

#include "worker/protocol.h"

/* Socket of the shared worker, relative to the data directory. Base backups leave it out. */
#define SEMTOK_SOCKET "pg_stat_tmp/semtok.sock"

/*
 * Start one. listen_path NULL: a private worker, whose only client is descriptor 0. Otherwise one
 * that listens there, too, and that descriptor 0 controls. The settings of guc.h go along as
 * arguments; device_rest: for how many seconds it goes on without a device that has failed. Returns
 * the process id and in *sock our end of descriptor 0, non-blocking and close-on-exec; an error
 * where that is not possible (58P01: there is no program), and then nothing is left behind. The
 * descriptor counts as an external one: whoever closes it calls ReleaseExternalFD.
 *
 * Reap it before this process ends, after it has had time to end by itself: where the postmaster is
 * the first process of a container, it inherits orphans, and takes one that died of a signal for a
 * crash of the server's.
 */
extern pid_t WorkerLaunch(const char *listen_path, int device_rest, int *sock);

/* Are there worker processes on this platform? They need Linux; elsewhere sessions compute. */
extern bool WorkerPossible(void);

/* Threads that a worker computes on: semtok.worker_threads, or one for each core. */
extern int WorkerThreads(void);

/* Is it of the version of this library, so that both speak and compute the same? */
extern bool WorkerIsOurs(const stk_welcome *welcome);

/* Has it ended? Then *status is what waitpid says, and it is no longer a zombie. */
extern bool WorkerReap(pid_t pid, int *status);

/* "was terminated by signal 9: Killed", "exited with exit code 1"; palloc'd. */
extern char *WorkerStatusText(int status);

#endif
