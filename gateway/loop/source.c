#include "loop/source.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/clock.h"

static int control(int epoll_fd, int op, struct source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(epoll_fd, op, source->fd, &event) < 0)
		return -errno;
	source->events = events;
	return 0;
}

int source_add(int epoll_fd, struct source *source, uint32_t events)
{
	return control(epoll_fd, EPOLL_CTL_ADD, source, events);
}

int source_change(int epoll_fd, struct source *source, uint32_t events)
{
	if (source->events == events)
		return 0;
	return control(epoll_fd, EPOLL_CTL_MOD, source, events);
}

int source_wait(int epoll_fd, uint64_t timeout_ns)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / CLOCK_NS_PER_S),
		.tv_nsec = (long)(timeout_ns % CLOCK_NS_PER_S),
	};
	struct epoll_event event;
	struct source *source;
	int n = epoll_pwait2(epoll_fd, &event, 1, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return 0;
	source = event.data.ptr;
	source->ready(source, event.events, clock_mono_ns());
	return 1;
}
