#include "base/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"

static const struct {
	int signal;
	enum signals_wish wish;
} rows[] = {
	{SIGTERM, SIGNALS_END},	    {SIGINT, SIGNALS_END},     {SIGQUIT, SIGNALS_END},
	{SIGHUP, SIGNALS_RELOAD},   {SIGUSR1, SIGNALS_NONE},   {SIGUSR2, SIGNALS_REPLACE},
	{SIGALRM, SIGNALS_NONE},    {SIGVTALRM, SIGNALS_NONE}, {SIGPROF, SIGNALS_NONE},
	{SIGIO, SIGNALS_NONE},	    {SIGPWR, SIGNALS_NONE},    {SIGSTKFLT, SIGNALS_NONE},
	{SIGXCPU, SIGNALS_NONE},
};

int signals_open(void)
{
	sigset_t set;
	int fd, r;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		sigaddset(&set, rows[i].signal);
	for (int n = SIGRTMIN; n <= SIGRTMAX; n++)
		sigaddset(&set, n);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r != 0)
		return -r;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

enum signals_wish signals_take(int fd, const char **ret_name)
{
	struct signalfd_siginfo info;
	const char *name;

	*ret_name = "";
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return SIGNALS_NONE;
	name = sigabbrev_np((int)info.ssi_signo);
	*ret_name = name ? name : "RT";
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if ((uint32_t)rows[i].signal == info.ssi_signo)
			return rows[i].wish;
	}
	return SIGNALS_NONE;
}
