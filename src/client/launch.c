/*
 * Starting semtokd: fork and exec, of a backend or of the supervisor.
 *
 * The child shares the server's memory until it execs, and inherits this process's handlers, which
 * write to that memory. So every signal is blocked around the fork, and the child calls nothing
 * that is not async-signal-safe: all that it needs is made before.
 */
#include "postgres.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "client/launch.h"
#include "compat.h"
#include "guc.h"
#include "storage/fd.h"
#include "utils/memutils.h"

/*
 * Descriptors closed one by one where the kernel cannot close a range: fd.c holds no more than
 * max_files_per_process, and a descriptor is always the lowest that is free.
 */
#define LAUNCH_CLOSE_MAX 65536

/* What the worker keeps of the environment, where it is set. */
static const char *const launch_environment[] = {
	"LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER",
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	"ASAN_OPTIONS",    "UBSAN_OPTIONS",        "TSAN_OPTIONS",
#endif
};

#define LAUNCH_ARGUMENTS 16

/* All that the child needs, made before the fork. */
typedef struct Launch
{
	char path[MAXPGPATH];
	char *argv[LAUNCH_ARGUMENTS];
	char *envp[lengthof(launch_environment) + 2];
	char *missing; /* the line for the log when the program cannot be run */
	Size missing_length;
	int close_max;
	pid_t parent;
	int control; /* to become descriptor 0 */
} Launch;

/* The program lies in semtok/ beside this library, wherever that was found. */
static void
LaunchFind(char *path)
{
	Dl_info info;
	struct stat st;
	char folder[MAXPGPATH];

	if (dladdr((void *) LaunchFind, &info) == 0 || !info.dli_fname)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FILE),
						errmsg("could not find out where the library of semtok is")));
	strlcpy(folder, info.dli_fname, sizeof(folder));
	get_parent_directory(folder);
	if (snprintf(path, MAXPGPATH, "%s/semtok/semtokd", folder) >= MAXPGPATH)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG), errmsg("path of \"%s\" is too long", folder)));
	if (stat(path, &st) != 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FILE),
						errmsg("could not find worker program \"%s\": %m", path),
						errhint("It is installed together with semtok's library.")));
	if (!S_ISREG(st.st_mode) || access(path, X_OK) != 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FILE),
						errmsg("worker program \"%s\" cannot be executed", path),
						errhint("The user that runs the server needs the right to execute it.")));
}

static void
LaunchArguments(Launch *launch, const char *listen_path, int device_rest)
{
	int n = 0;

	launch->argv[n++] = launch->path;
	if (listen_path)
	{
		launch->argv[n++] = "--listen";
		launch->argv[n++] = pstrdup(listen_path);
	}
	else
		launch->argv[n++] = "--private";
	launch->argv[n++] = "--threads";
	launch->argv[n++] = psprintf("%d", WorkerThreads());
	launch->argv[n++] = "--memory";
	launch->argv[n++] = psprintf("%lld", (long long) semtok_worker_memory * 1024);
	launch->argv[n++] = "--batch-max";
	launch->argv[n++] = psprintf("%d", semtok_batch_max);
	launch->argv[n++] = "--batch-wait-us";
	launch->argv[n++] = psprintf("%d", semtok_batch_wait_us);
	launch->argv[n++] = "--cuda-devices";
	launch->argv[n++] = pstrdup(semtok_cuda_devices);
	launch->argv[n++] = "--device-rest";
	launch->argv[n++] = psprintf("%d", device_rest);
	launch->argv[n] = NULL;

	n = 0;
	launch->envp[n++] = "LC_ALL=C";
	for (int i = 0; i < lengthof(launch_environment); i++)
	{
		const char *value = getenv(launch_environment[i]);

		if (value)
			launch->envp[n++] = psprintf("%s=%s", launch_environment[i], value);
	}
	launch->envp[n] = NULL;
}

static void
LaunchCloseAll(int last)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
		return;
#endif
	for (int fd = 3; fd < last; fd++)
		close(fd);
}

/* In the child, with every signal blocked. Only async-signal-safe calls. */
pg_noreturn static void
LaunchChild(const Launch *launch)
{
	sigset_t none;
#ifdef __linux__
	/*
	 * The kernel's own struct, which is no longer than this: all zeros are SIG_DFL without flags.
	 */
	static const uint64_t plain[8];
#endif

	/* PostgreSQL signals a backend's whole process group. */
	setsid();
	/*
	 * What is ignored stays so through exec, and so does the mask. The C library keeps some signals
	 * to itself, which whoever started the server may have ignored: so past it. The kernel refuses
	 * SIGKILL and SIGSTOP.
	 */
#ifdef __linux__
	for (int s = 1; s <= 64; s++)
		syscall(SYS_rt_sigaction, s, plain, NULL, sizeof(uint64_t));
#endif
	sigemptyset(&none);

	if (launch->control == 0)
		fcntl(0, F_SETFD, 0);
	else if (dup2(launch->control, 0) < 0)
		_exit(127);
	if (dup2(2, 1) < 0)
		_exit(127);
	LaunchCloseAll(launch->close_max);
	sigprocmask(SIG_SETMASK, &none, NULL);
#ifdef PR_SET_PDEATHSIG
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != launch->parent)
		_exit(127);
#endif
	execve(launch->path, launch->argv, launch->envp);
	if (write(2, launch->missing, launch->missing_length) < 0)
		_exit(126);
	_exit(127);
}

bool
WorkerPossible(void)
{
#ifdef __linux__
	return true;
#else
	return false;
#endif
}

/* Threads that a worker computes on. */
int
WorkerThreads(void)
{
	long cores;

	if (semtok_worker_threads > 0)
		return semtok_worker_threads;
	cores = sysconf(_SC_NPROCESSORS_ONLN);
	return (int) Max(1, Min(cores, STK_MAX_THREADS));
}

pid_t
WorkerLaunch(const char *listen_path, int device_rest, int *sock)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok launch", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Launch launch = {.parent = getpid()};
	sigset_t all;
	sigset_t before;
	int pair[2];
	int failed;
	pid_t pid;

	if (!WorkerPossible())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("worker processes need Linux")));
	LaunchFind(launch.path);
	LaunchArguments(&launch, listen_path, device_rest);
	launch.missing = psprintf("could not execute \"%s\"\n", launch.path);
	launch.missing_length = strlen(launch.missing);
	launch.close_max = (int) Min(sysconf(_SC_OPEN_MAX), LAUNCH_CLOSE_MAX);
	if (launch.close_max < 0)
		launch.close_max = LAUNCH_CLOSE_MAX;

	if (!AcquireExternalFD())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("could not start a worker: too many open files")));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
	{
		failed = errno;
		ReleaseExternalFD();
		errno = failed;
		ereport(ERROR, (errcode_for_socket_access(),
						errmsg("could not create a socket for a worker: %m")));
	}
	launch.control = pair[1];
	failed = fcntl(pair[0], F_SETFD, FD_CLOEXEC) != 0 || fcntl(pair[1], F_SETFD, FD_CLOEXEC) != 0 ||
					 !pg_set_noblock(pair[0])
				 ? errno
				 : 0;
	pid = -1;
	if (failed == 0)
	{
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, &before);
		pid = fork();
		if (pid == 0)
			LaunchChild(&launch);
		failed = errno;
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	close(pair[1]);
	if (pid < 0)
	{
		close(pair[0]);
		ReleaseExternalFD();
		errno = failed;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("could not start a worker: %m")));
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	*sock = pair[0];
	return pid;
}

bool
WorkerIsOurs(const stk_welcome *welcome)
{
	return welcome->version == STK_PROTOCOL_VERSION &&
		   strcmp(welcome->program, SEMTOK_VERSION) == 0;
}

bool
WorkerReap(pid_t pid, int *status)
{
	pid_t got;

	do
		got = waitpid(pid, status, WNOHANG);
	while (got < 0 && errno == EINTR);
	if (got < 0) /* someone else has */
		*status = 0;
	return got != 0;
}

char *
WorkerStatusText(int status)
{
	if (WIFSIGNALED(status))
		return psprintf("was terminated by signal %d: %s", WTERMSIG(status),
						pg_strsignal(WTERMSIG(status)));
	if (WIFEXITED(status) && WEXITSTATUS(status) == STK_EXIT_DEVICE)
		return pstrdup("ended to begin anew with the device that had failed");
	if (WIFEXITED(status))
		return psprintf("exited with exit code %d", WEXITSTATUS(status));
	return psprintf("ended with status %d", status);
}
