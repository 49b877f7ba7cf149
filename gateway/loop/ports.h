/* ports.h - all ports of the gateway's loop. The loop sleeps on them together, until a frame
 * arrives.
 *
 * The backup network carries epochs. The client network carries answers to probes, and also
 * broadcasts, which must not wake the loop. So the client network's port wakes the loop only while
 * probes are active.
 *
 * Where: networks.c opens ports and adds them here in the order of enum prober_net. main.c calls
 * ports_before_sleep() before each sleep and ports_after_sleep() after it. Between these two calls,
 * main.c waits in epoll and serves the descriptors that are ready (source.h). Threads: the
 * gateway's loop. Only ports_leave() and ports_close() block.
 */
#ifndef LOOP_PORTS_H
#define LOOP_PORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "port/port.h"
#include "loop/source.h"

#define PORTS_MAX 2

struct ports {
	struct ports_slot {
		struct source source; /* must be first: port_ready() casts it to the slot */
		struct port *port;    /* owned */
		bool *by_frame;
	} slots[PORTS_MAX];
	size_t n;
	int epoll_fd; /* borrowed */
	bool by_frame; /* true if a frame has ended or prevented the present sleep */
};

void ports_init(struct ports *ports, int epoll_fd);

/* Add @port to @ports, which then owns @port even if this fails. @ports must not be moved in memory
 * afterwards. Returns 0 or -errno of epoll. */
int ports_add(struct ports *ports, struct port *port) __attribute__((warn_unused_result));

/* Flush all ports, and close those that another process can open only after that (those that are
 * not port_is_shareable()). So the next program (replacing.h) can open all ports. Afterwards only
 * ports_close() may be called. */
void ports_leave(struct ports *ports);
/* Close all ports that are still open. */
void ports_close(struct ports *ports);

/* Prepare to sleep until a frame arrives on one of the first @n_watched ports. Returns
 * 0: the loop can sleep;
 * 1: frames have arrived already, so the loop must not sleep; ports->by_frame is true;
 * -errno: an error.
 * After 0 or 1, the caller must call ports_after_sleep(). */
int ports_before_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* Undo the preparations of ports_before_sleep(), with the same @n_watched. Returns 0 or -errno. */
int ports_after_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* Returns true if each of the first @n_watched ports has a descriptor that can end a sleep. If not,
 * the caller must sleep only briefly and poll the ports. */
bool ports_can_wake(const struct ports *ports, size_t n_watched);

#endif
