#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

void child_dies_first(void)
{
	static const char most[] = "1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* without /proc, the kernel itself chooses which process to end */
	(void)!write(fd, most, sizeof(most) - 1);
	(void)close(fd);
}

void child_signals(void)
{
	sigset_t none;

	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGXFSZ, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int child_attributes(posix_spawnattr_t *ret_attributes, short flags)
{
	sigset_t none, ignored;
	int r = posix_spawnattr_init(ret_attributes);

	if (r != 0)
		return -r;
	sigemptyset(&none);
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	sigaddset(&ignored, SIGXFSZ);
	r = posix_spawnattr_setsigmask(ret_attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(ret_attributes, &ignored);
	if (r == 0)
		r = posix_spawnattr_setflags(ret_attributes, (short)(flags |
								     POSIX_SPAWN_SETSIGMASK |
								     POSIX_SPAWN_SETSIGDEF));
	if (r != 0)
		posix_spawnattr_destroy(ret_attributes);
	return -r;
}

pid_t child_start(void (*run)(void *arg), void *arg)
{
	sigset_t all, before;
	pid_t pid;
	int r;

	/* Block all signals: a handler that runs in the child would change our memory. */
	sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r != 0)
		return -r;
	pid = vfork();
	if (pid == 0) {
		run(arg);
		_exit(127); /* not reached */
	}
	r = errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* cannot fail: it has worked above */
	return pid < 0 ? -r : pid;
}
