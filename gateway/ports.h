/* ports.h - the gateway's ports as its one loop sees them: slept on together, woken by any.
 *
 * Why: epochs come in on the backup network, answers to probes on the client network. The second
 * port carries nothing most of the time, yet strangers' broadcasts arrive there: it must not wake the
 * loop unless somebody waits for an answer.
 *
 * Where: networks.c opens ports and adds them here in the order of enum prober_net; main.c sleeps through
 * ports_before_sleep() and ports_after_sleep(); in between the epoll's sources are served, ours too.
 * Threads: the gateway's loop. Blocks only as port_close() does.
 */
#ifndef GATEWAY_PORTS_H
#define GATEWAY_PORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "port/port.h"
#include "session/source.h"

#define PORTS_MAX 2

struct ports {
	struct ports_slot {
		struct source source; /* first: ports.c finds the slot by it */
		struct port *port;    /* owned */
		bool *by_frame;
	} slots[PORTS_MAX];
	size_t n;
	int epoll_fd; /* borrowed */
	bool by_frame; /* the present sleep was ended by a frame */
};

void ports_init(struct ports *ports, int epoll_fd);

/* Take @port, not to be moved after. 0 or -errno of epoll, and @port is taken all the same. */
int ports_add(struct ports *ports, struct port *port) __attribute__((warn_unused_result));

/* Flush and close all. */
void ports_close(struct ports *ports);

/* Get ready to sleep until a frame comes in on one of the first @n_watched ports.
 * 1: frames wait already, do not sleep (by_frame is set); 0; -errno. Each but -errno is followed by
 * ports_after_sleep(). */
int ports_before_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* 0 or -errno. */
int ports_after_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* Has each of the first @n_watched ports a descriptor that ends a sleep? If not, sleep briefly. */
bool ports_can_wake(const struct ports *ports, size_t n_watched);

#endif
