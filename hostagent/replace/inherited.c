#include "replace/inherited.h"

#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/log.h"

void inherited_take(struct inherited *inherited, const struct onward *onward)
{
	inherited->n = 0;
	for (uint32_t i = 0; onward && i < onward->n_vms; i++) {
		int fd = onward->vm[i].handed.pid > 0 ? pidfd_open(onward->vm[i].handed.pid, 0)
						      : -1;

		if (fd >= 0)
			inherited->fd[inherited->n++] = fd;
	}
}

void inherited_reap(struct inherited *inherited)
{
	for (uint32_t i = 0; i < inherited->n;) {
		siginfo_t info = {0};
		int r = waitid(P_PIDFD, (id_t)inherited->fd[i], &info, WEXITED | WNOHANG);

		if (r == 0 && info.si_pid == 0) { /* this QEMU still runs */
			i++;
			continue;
		}
		if (r == 0)
			log_info("QEMU pid %d has ended; the agent's last program had started it",
				 info.si_pid);
		fd_close(inherited->fd[i]);
		inherited->fd[i] = inherited->fd[--inherited->n];
	}
}

void inherited_done(struct inherited *inherited)
{
	for (uint32_t i = 0; i < inherited->n; i++)
		fd_close(inherited->fd[i]);
	inherited->n = 0;
}
