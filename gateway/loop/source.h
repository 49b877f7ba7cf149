/* source.h - registers a descriptor in the gateway's epoll together with the function that serves
 * it.
 *
 * Where: main's loop waits for the sources; session/, control/, fence/, ports.c and main add them.
 * Threads: the gateway's loop. The loop handles one event at a time, so a handler may free any
 * source, including its own.
 */
#ifndef LOOP_SOURCE_H
#define LOOP_SOURCE_H

#include <stdint.h>

struct source {
	int fd;		 /* owned by the structure that embeds this */
	uint32_t events; /* the epoll events for which fd is registered */
	void (*ready)(struct source *source, uint32_t events, uint64_t now_ns);
};

/* Register @source->fd in the epoll @epoll_fd for @events (level triggered). The caller must have
 * set fd and ready. Returns 0 or -errno. */
int source_add(int epoll_fd, struct source *source, uint32_t events)
	__attribute__((warn_unused_result));

/* Change the events for which @source is registered, unless they are the same. Returns 0 or
 * -errno. */
int source_change(int epoll_fd, struct source *source, uint32_t events)
	__attribute__((warn_unused_result));

/* Wait at most @timeout_ns (UINT64_MAX: without limit) for a source to become ready, and serve it.
 * Returns 1 if a source was served, 0 if none was ready in time, or -errno of epoll_pwait2. */
int source_wait(int epoll_fd, uint64_t timeout_ns) __attribute__((warn_unused_result));

#endif
