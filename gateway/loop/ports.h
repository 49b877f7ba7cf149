/* ports.h - all ports of the gateway's one loop: it sleeps on them together, and any can wake it.
 *
 * Why: epochs come in on the backup network, answers to probes on the client network. The second
 * port is idle most of the time, yet strangers' broadcasts arrive there. They must not wake the
 * loop unless it waits for an answer.
 *
 * Where: networks.c opens ports and adds them here in the order of enum prober_net. main.c sleeps
 * through ports_before_sleep() and ports_after_sleep(). In between it serves the epoll's sources,
 * including the ports'. Threads: the gateway's loop. Blocks only as port_close() does.
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
		struct source source; /* first: ports.c finds the slot by it */
		struct port *port;    /* owned */
		bool *by_frame;
	} slots[PORTS_MAX];
	size_t n;
	int epoll_fd; /* borrowed */
	bool by_frame; /* a frame ended the present sleep */
};

void ports_init(struct ports *ports, int epoll_fd);

/* Take @port, which may not be moved afterwards. 0 or
 * -errno of epoll; @port is taken in both cases. */
int ports_add(struct ports *ports, struct port *port) __attribute__((warn_unused_result));

/* Flush and close all. */
void ports_close(struct ports *ports);

/* Prepare to sleep until a frame comes in on one of the first @n_watched ports. 1: frames already
 * wait, do not sleep (by_frame is set); 0; -errno. After 1 and 0 call ports_after_sleep(). */
int ports_before_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* 0 or -errno. */
int ports_after_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* Has each of the first @n_watched ports a descriptor that
 * ends a sleep? If not, sleep only briefly. */
bool ports_can_wake(const struct ports *ports, size_t n_watched);

#endif
