/* wakefd.h - find the kernel socket that a DPDK driver reads, to sleep on it.
 *
 * Why: net_af_packet and net_af_xdp have no receive interrupts in DPDK's API, but under each queue
 * is a socket that epoll understands: PACKET_MMAP and AF_XDP sockets are readable exactly while
 * their receive ring is not empty. Sleeping on the driver's own socket costs nothing per frame and
 * cannot miss one. (A second AF_PACKET socket as a doorbell was tried. It clones every frame a
 * second time, must be drained, and never sees what XDP redirects to net_af_xdp.) The driver does
 * not reveal its descriptor, so we take the one socket of the right family that appeared between
 * two looks at /proc/self/fd.
 *
 * Threads: no other thread may open such sockets between the two calls. Blocks on procfs.
 */
#ifndef PORT_WAKEFD_H
#define PORT_WAKEFD_H

#include <stdint.h>

#define WAKEFD_FDS_MAX 1024

/* Which descriptors were open at the time of wakefd_look(). */
struct wakefd_view {
	uint64_t open[WAKEFD_FDS_MAX / 64];
};

/* 0 or -errno. */
int wakefd_look(struct wakefd_view *ret_view) __attribute__((warn_unused_result));

/* The socket of @family (AF_PACKET, AF_XDP) opened since @before, still owned by whoever opened it.
 * Returns the descriptor; -ENOENT: none, or more than one; other -errno. */
int wakefd_find(const struct wakefd_view *before, int family)
	__attribute__((warn_unused_result));

#endif
