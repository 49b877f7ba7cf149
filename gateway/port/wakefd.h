/* wakefd.h - finds the kernel socket that a DPDK driver reads, so that the loop can sleep on it.
 *
 * DPDK has no receive interrupts for net_af_packet and net_af_xdp. But each of their queues has a
 * socket that epoll can watch. This socket is readable exactly while its receive ring is not empty.
 * The driver does not reveal the socket's descriptor. So this file lists /proc/self/fd before and
 * after the driver opens the socket. The new socket of the right address family is the driver's.
 *
 * Threads: between wakefd_look() and wakefd_find() no other thread may open a socket of that
 * family. Both functions block while they read procfs.
 */
#ifndef PORT_WAKEFD_H
#define PORT_WAKEFD_H

#include <stdint.h>

#define WAKEFD_FDS_MAX 1024

/* The descriptors that were open when wakefd_look() was called, one bit each. */
struct wakefd_view {
	uint64_t open[WAKEFD_FDS_MAX / 64];
};

/* Store in *ret_view which descriptors are open now. Returns 0 or -errno. */
int wakefd_look(struct wakefd_view *ret_view) __attribute__((warn_unused_result));

/* Find the socket of @family (AF_PACKET or AF_XDP) that was opened since @before. Returns the
 * socket's descriptor, which the driver still owns. Errors:
 *      -ENOENT         there is no such socket, or more than one
 *      another -errno  of reading /proc/self/fd */
int wakefd_find(const struct wakefd_view *before, int family)
	__attribute__((warn_unused_result));

#endif
