/* port.h - one network port of the gateway: receives and sends whole Ethernet frames in user space.
 *
 * The gateway receives epochs from many hosts on few cores. So received frames bypass the kernel's
 * TCP and are not copied. DPDK makes this possible for PCI cards. With DPDK's drivers net_af_packet
 * and net_af_xdp, any kernel interface can be a port too.
 *
 * Where: the gateway's main loop calls these functions and passes the frames to stack/stack.h. Only
 * the .c files of this directory include DPDK's headers, because DPDK's headers conflict with those
 * of lwIP. port_dpdk.c implements this header for the daemon, and port_memory.c for tests.
 *
 * One iteration of the loop (port/idler.h decides when to sleep):
 *
 *	n = port_receive(port, frames, 32);          no system call
 *	for each: stack_input(stack, frames[i].data, frames[i].size, port_frame_free, frames[i].handle);
 *      stack_poll(stack, now_ns);                   timers, acknowledgements; calls port_transmit()
 *      port_flush(port);                            one system call when there is something to send
 *	idle long enough?  if (!port_arm(port)) epoll_pwait2(.. port_wait_fd(port) ..); port_disarm(port);
 *
 * Threads: call all functions of a port on the thread that opened it. Different ports may be used
 * on different threads, but calls of port_open() and port_close() must not overlap.
 */
#ifndef PORT_PORT_H
#define PORT_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

#define PORT_MAC_BYTES	   6
#define PORT_BURST_MAX     64   /* maximum number of frames that one port_receive() returns */
#define PORT_PIECES_MAX    64   /* maximum number of pieces of one frame for port_transmit() */
/* a frame must fit into one buffer, so port_open() refuses jumbo frames */
#define PORT_MTU_MAX	   1500
#define PORT_FRAME_MAX	   (PORT_MTU_MAX + 14)
#define PORT_BUFFERS_DEFAULT 8192

struct port; /* opaque */

enum port_hugepages {
	PORT_HUGEPAGES_AUTO, /* use 2 MiB pages if enough are free; otherwise, plain memory */
	PORT_HUGEPAGES_YES,  /* use 2 MiB pages; fail if not enough are free */
	PORT_HUGEPAGES_NO,
};

struct port_config {
	/* "net_af_packet0,iface=bk0", "net_af_xdp0,iface=bk0", or a PCI address "0000:3b:00.0" */
	const char *device;
	/* Every port_open() uses n_buffers and mtu. The other members below configure DPDK, so only
	 * the first port_open() of a process uses them. */
	const char *cores;	       /* cores for DPDK's helper threads, such as "0-3";
					* NULL: the caller's cores */
	size_t memory_mb;	       /* memory for DPDK; 0: as much as the buffers need */
	enum port_hugepages hugepages;
	unsigned int n_buffers;	       /* frame buffers; 0: PORT_BUFFERS_DEFAULT */
	/* number of buffers that ports opened later will need; if memory_mb is 0, memory is
	 * reserved for them too */
	unsigned int n_more_buffers;
	unsigned int mtu;	       /* 0: PORT_MTU_MAX */
};

/* A received frame. The caller may read and change the bytes until it calls
 * port_frame_free(handle). */
struct port_frame {
	void *data;
	size_t size;
	void *handle;
};

/* Counts since port_open(). */
struct port_counters {
	uint64_t rx_frames;    /* frames passed to the caller */
	uint64_t rx_bytes;
	/* frames received but discarded, because they had a VLAN tag or did not fit into one
	 * buffer */
	uint64_t rx_dropped;
	/* frames lost because the driver or the kernel had no room; 0 if the driver does not count
	 * them */
	uint64_t rx_missed;
	uint64_t rx_no_buffer; /* frames not received because no buffer was free */
	uint64_t tx_frames;    /* frames passed to the driver */
	uint64_t tx_bytes;
	/* frames dropped because the driver's ring stayed full or the frame was too long */
	uint64_t tx_dropped;
	uint64_t tx_no_buffer; /* frames dropped by port_transmit() because no buffer was free */
	uint64_t wakes; /* port_disarm() calls: how often the loop slept, or was about to sleep */
};

/* Do the part of port_open() that is possible while another process still uses the device: start
 * DPDK, make the frame buffers, and open a device that is shareable (port_is_shareable()). Nothing
 * is sent. The caller must call port_open() with the same @config later, and open no other packet
 * socket until then. That port_open() drops the frames that have arrived before it. Blocks (up to a
 * second), allocates. Returns 0. On failure, sets *ret_error to a sentence for the operator and
 * returns
 *      -ENOTSUP  this cannot be done for a PCI card, which DPDK opens when it starts; nor for a
 *                net_af_xdp device, whose queue the kernel frees only a moment after the other
 *                process has closed it
 *      another error of port_open() */
int port_prepare(const struct port_config *config, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Open the port named in @config and start it. The first call in a process starts DPDK. Later calls
 * cannot change DPDK's memory or cores. Signals and the caller's CPU affinity stay as they were.
 * Blocks (up to a second), allocates.
 * Returns 0 and sets *ret_port, which the caller must end with port_close(). On failure, sets
 * *ret_error to a sentence for the operator, leaves *ret_port unchanged, and returns
 *      -EINVAL  a member of @config is invalid
 *      -ENODEV  the device or its driver does not exist, or the kernel refuses the device
 *      -ENOMEM  not enough memory or hugepages
 *      another -errno from DPDK */
int port_open(const struct port_config *config, struct port **ret_port, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns true if another process can open the device while this port is open. This is so for
 * net_af_packet, because each packet socket on an interface gets its own copy of all frames. So the
 * process that replaces this one need not wait for port_close(). */
bool port_is_shareable(const struct port *port);

/* Stop and free the port. Free all its frames first. NULL is fine. Blocks: on a virtual machine the
 * kernel needs 40 ms to free the rings of a packet socket (16 MiB). */
void port_close(struct port *port);

/* Receive up to @max (<= PORT_BURST_MAX) of the frames that have arrived, in their order. Never
 * blocks. Returns how many frames it stored in @ret_frames. The caller must call port_frame_free()
 * for each. */
size_t port_receive(struct port *port, struct port_frame *ret_frames, size_t max)
	__attribute__((warn_unused_result));

/* Release a frame's buffer. Call this on the port's thread. NULL is fine. */
void port_frame_free(void *handle);

/* Copy one frame into the transmit queue. The frame is the concatenation of @n_pieces pieces
 * (1..PORT_PIECES_MAX). The next port_flush() sends the frame, or a later port_flush() if the
 * driver's ring is full. The frame can also be sent earlier. Never waits for the network, but
 * net_af_packet can wait for room in its ring. Returns 0. All errors are counted:
 *      -ENOBUFS   no buffer is free; the frame is lost (TCP repeats it)
 *      -EMSGSIZE  the frame is empty or longer than PORT_FRAME_MAX, or has too many pieces */
int port_transmit(struct port *port, const struct iovec *pieces, size_t n_pieces)
	__attribute__((warn_unused_result));

/* Send the frames that port_transmit() queued. Frames that do not fit into the driver's ring stay
 * queued for the next call. While the queue is full, port_transmit() drops and counts new
 * frames. */
void port_flush(struct port *port);

/* Returns a descriptor that epoll can watch (EPOLLIN, level-triggered) for arriving frames. The
 * descriptor belongs to the port; never read from it. Returns -1 if the device has no such
 * descriptor; the caller must then wake by a timer and poll the port. */
int port_wait_fd(const struct port *port);

/* Prepare to sleep on port_wait_fd(). Returns true if there is work already: the caller must not
 * sleep. In both cases the caller must call port_disarm() afterwards. */
bool port_arm(struct port *port);
/* Undo port_arm(), after the sleep or instead of it. */
void port_disarm(struct port *port);

/* Attach a BPF program (type socket filter) to the port's kernel socket, in place of the previous
 * program. The program sees each frame from its Ethernet header on, before the kernel copies the
 * frame. If the program returns 0, the kernel drops the frame. If @program_fd is -1, only removes
 * the previous program. @program_fd stays the caller's. Returns 0. Errors:
 *      -ENOTSUP        the device is not net_af_packet, or its socket was not found
 *      another -errno  of setsockopt(2) */
int port_filter(struct port *port, int program_fd) __attribute__((warn_unused_result));

/* Returns the port's MAC address: PORT_MAC_BYTES bytes, valid until port_close(). */
const uint8_t *port_mac(const struct port *port);

void port_get_counters(struct port *port, struct port_counters *ret_counters);

#endif
