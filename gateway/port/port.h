/* port.h - one network port of the gateway: whole Ethernet frames in and out, in user space.
 *
 * Why: the gateway takes epochs from many hosts on few cores, so frames must not pass the kernel's
 * TCP, and must not be copied on the way in. DPDK makes that possible for PCI cards and, through
 * its net_af_packet and net_af_xdp drivers, for any kernel interface.
 *
 * Where: the gateway's main loop calls this and hands frames to stack/ (see stack/stack.h). DPDK's
 * headers and lwIP's clash, so this room includes only DPDK, and nothing of DPDK shows here.
 * Two files implement it: port_dpdk.c (the daemon), port_memory.c (tests, see port/port_memory.h).
 *
 * One turn of the loop, with the idler of port/idler.h:
 *
 *	n = port_receive(port, frames, 32);          no system call
 *	for each: stack_input(stack, frames[i].data, frames[i].size, port_frame_free, frames[i].handle);
 *	stack_poll(stack, now_ns);                   timers, acknowledgements; calls port_transmit()
 *	port_flush(port);                            one system call when there is something to send
 *	idle long enough?  if (!port_arm(port)) epoll_pwait2(.. port_wait_fd(port) ..); port_disarm(port);
 *
 * Threads: all functions of one port from one thread (the one that opened it); ports of one process
 * may live on different threads, but port_open() and port_close() must not run at the same time.
 */
#ifndef PORT_PORT_H
#define PORT_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

#define PORT_MAC_BYTES	   6
#define PORT_BURST_MAX	   64	/* most frames one port_receive() returns */
#define PORT_PIECES_MAX	   64	/* most pieces one port_transmit() takes */
#define PORT_MTU_MAX	   1500 /* one frame is one buffer; jumbo frames are refused at open */
#define PORT_FRAME_MAX	   (PORT_MTU_MAX + 14)
#define PORT_BUFFERS_DEFAULT 8192

struct port; /* opaque */

enum port_hugepages {
	PORT_HUGEPAGES_AUTO, /* use 2 MiB pages when enough are free, else plain memory */
	PORT_HUGEPAGES_YES,  /* fail without them */
	PORT_HUGEPAGES_NO,
};

struct port_config {
	/* "net_af_packet0,iface=bk0", "net_af_xdp0,iface=bk0", or a PCI address "0000:3b:00.0" */
	const char *device;
	/* Except n_buffers and mtu, the rest counts only at the first port_open() of a process. */
	const char *cores;	       /* cores for DPDK's helper threads,
					* "0-3"; NULL: the caller's */
	size_t memory_mb;	       /* DPDK's memory; 0: what n_buffers needs */
	enum port_hugepages hugepages;
	unsigned int n_buffers;	       /* frame buffers; 0: PORT_BUFFERS_DEFAULT */
	unsigned int n_more_buffers;   /* for ports opened later: memory_mb
					* 0 provides for these too */
	unsigned int mtu;	       /* 0: PORT_MTU_MAX */
};

/* A received frame. @data is the caller's to read and change until port_frame_free(handle). */
struct port_frame {
	void *data;
	size_t size;
	void *handle;
};

/* All counted since port_open(). */
struct port_counters {
	uint64_t rx_frames;    /* handed to the caller */
	uint64_t rx_bytes;
	uint64_t rx_dropped;   /* received and discarded: VLAN tag, longer than one buffer */
	uint64_t rx_missed;    /* the driver or the kernel had no room
				* (0 if the driver cannot tell) */
	uint64_t rx_no_buffer; /* receiving stopped because no buffer was free */
	uint64_t tx_frames;    /* given to the driver */
	uint64_t tx_bytes;
	uint64_t tx_dropped;   /* the driver's ring stayed full, or the frame was too long */
	uint64_t tx_no_buffer; /* port_transmit() had no free buffer */
	uint64_t wakes;	       /* port_disarm() calls: how often the loop slept */
};

/* Open the port named in @config and start it. The first call of a process starts DPDK (once per
 * process; it cannot be restarted with other memory or cores). Signals and the caller's CPU
 * affinity are left as they were. Blocks (up to a second), allocates.
 * *ret_error: a sentence for people on failure.
 * 0: *ret_port is the caller's, end with port_close(). -EINVAL: a field of @config; -ENODEV: the
 * device or its driver does not exist or is refused by the kernel; -ENOMEM: no memory or hugepages;
 * other -errno from DPDK. On failure *ret_port is untouched. */
int port_open(const struct port_config *config, struct port **ret_port, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Stop and free. NULL is allowed. All frames must have been freed before. Blocks. */
void port_close(struct port *port);

/* Take up to @max (<= PORT_BURST_MAX) waiting frames, in order. Never blocks.
 * Returns how many were written to @ret_frames; each is the caller's until port_frame_free(). */
size_t port_receive(struct port *port, struct port_frame *ret_frames, size_t max)
	__attribute__((warn_unused_result));

/* Give a frame's buffer back. Same thread as its port. NULL is allowed. */
void port_frame_free(void *handle);

/* Queue one frame, the concatenation of @n_pieces pieces (1..PORT_PIECES_MAX),
 * copied. port_flush() sends it at the latest, unless the driver's ring is full
 * then. Never blocks for the wire (net_af_packet may wait for its ring). 0;
 * -ENOBUFS: no free buffer, the frame is lost (TCP repeats it); -EMSGSIZE:
 * longer than PORT_FRAME_MAX, or empty, or too many pieces. All are counted. */
int port_transmit(struct port *port, const struct iovec *pieces, size_t n_pieces)
	__attribute__((warn_unused_result));

/* Send the frames that port_transmit() queued. Those that do not fit the driver's ring stay queued
 * for the next call. Once the queue is full port_transmit() drops and counts. */
void port_flush(struct port *port);

/* A descriptor that epoll may watch (EPOLLIN, level-triggered) for arriving frames, or -1 when the
 * device has none: then wake by timer. Owned by the port; never read from it. */
int port_wait_fd(const struct port *port);

/* Call before sleeping on port_wait_fd(). True: frames are already waiting, do not sleep. After the
 * sleep (or after true) call port_disarm(). */
bool port_arm(struct port *port);
void port_disarm(struct port *port);

/* Make the kernel drop frames, before it copies them, for which this BPF program returns 0. The
 * program is of type socket filter and sees the frame from the Ethernet header on. @program_fd is
 * the caller's; -1: no program any more. Replaces the previous program. 0; -ENOTSUP: this device's
 * frames do not come through the kernel; -errno of setsockopt(2). */
int port_filter(struct port *port, int program_fd) __attribute__((warn_unused_result));

/* PORT_MAC_BYTES bytes, valid as long as the port. */
const uint8_t *port_mac(const struct port *port);

void port_get_counters(struct port *port, struct port_counters *ret_counters);

#endif
