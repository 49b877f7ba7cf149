/* ports.h - all ports of the gateway's one loop. The loop sleeps on all of them together, and a
 * frame on any of them can wake it.
 *
 * Why: epochs come in on the backup network, answers to probes on the client network. The port on
 * the client network is idle most of the time, but strangers' broadcasts arrive there too. They
 * must not wake the loop unless it waits for an answer to a probe.
 *
 * Where: networks.c opens ports and adds them here in the order of enum prober_net. main.c sleeps
 * through ports_before_sleep() and ports_after_sleep(). Between these two calls it serves the
 * epoll's sources, including the ports'. Threads: the gateway's loop. Blocks only as port_close()
 * does.
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
	bool by_frame; /* a frame ended the present sleep, or prevented it */
};

void ports_init(struct ports *ports, int epoll_fd);

/* Add @port to @ports. @ports may not be moved in memory afterwards. Returns 0 or -errno of epoll;
 * in both cases @ports owns @port. */
int ports_add(struct ports *ports, struct port *port) __attribute__((warn_unused_result));

/* Flush and close all ports. */
void ports_close(struct ports *ports);

/* Prepare to sleep until a frame comes in on one of the first @n_watched ports. Returns
 * 1: frames wait already, so do not sleep (by_frame is set); 0: sleep; -errno. After 1
 * and 0 call ports_after_sleep(). */
int ports_before_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* End the preparations of ports_before_sleep(), with the same @n_watched. Returns 0 or -errno. */
int ports_after_sleep(struct ports *ports, size_t n_watched) __attribute__((warn_unused_result));

/* Does each of the first @n_watched ports have a descriptor that can end a sleep? If not, sleep
 * only briefly and poll the ports. */
bool ports_can_wake(const struct ports *ports, size_t n_watched);

#endif
