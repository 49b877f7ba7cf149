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
		return; /* without /proc the kernel chooses by itself */
	(void)!write(fd, most, sizeof(most) - 1);
	(void)close(fd);
}

pid_t child_start(void (*run)(void *arg), void *arg)
{
	sigset_t all, before;
	pid_t pid;
	int r;

	/* In the child, our handlers would change our memory. */
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
