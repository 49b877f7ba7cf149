/* port_memory.h - a port without a network card, for tests: the test itself injects and collects
 * frames.
 *
 * port_memory.c implements all of port.h; port_open() ignores the configuration except the device
 * string, which must not be empty. Link port_memory_dep instead of port_dep.
 * Threads: one.
 */
#ifndef PORT_PORT_MEMORY_H
#define PORT_PORT_MEMORY_H

#include "port/port.h"

#define PORT_MEMORY_FRAMES 256 /* maximum number of frames queued in each direction */

/* Make a frame arrive at the port: a copy of the @size bytes at @data. Returns 0. Errors:
 *      -EMSGSIZE  no frame has this size
 *      -ENOBUFS   PORT_MEMORY_FRAMES frames are waiting already, or memory is short */
int port_memory_inject(struct port *port, const void *data, size_t size)
	__attribute__((warn_unused_result));

/* Move the oldest flushed frame to @ret_data (PORT_FRAME_MAX bytes). Returns its size, or -EAGAIN
 * if there is none. */
int port_memory_collect(struct port *port, void *ret_data) __attribute__((warn_unused_result));

/* Returns how many of the frames that port_receive() returned are not freed yet. */
size_t port_memory_outstanding(const struct port *port);

#endif
