/* hold_ring.h - two AF_XDP sockets over one UMEM: one receives frames on the tap, one sends them on
 * the veth.
 *
 * Why: the handling of libxdp's rings and of the kernel's copy mode (kicks, batches, errors)
 * belongs in one place.
 *
 * Where: hold.c calls it; it calls libxdp and turns libxdp's results into negative errno.
 *
 *	 UMEM: n_frames chunks of chunk_bytes, each always in exactly one of these places
 *
 *	   fill ring --kernel--> rx ring --hold_ring_receive--> caller (the FIFO)
 *	      ^                                                    | hold_ring_send
 *	      +-- hold_ring_recycle <-- completion ring <--kernel-- tx ring
 *
 *	 one chunk:  | 256 XDP headroom | 16 stamp | the guest's frame ... |
 *
 * Threads: one owner. Only hold_ring_open() allocates and blocks.
 */
#ifndef NET_HOLD_RING_H
#define NET_HOLD_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xdp/xsk.h>

#include "ebpf/hold_shared.h"

#define HOLD_RING_HEADROOM_BYTES 256U /* XDP_PACKET_HEADROOM, kept free by the kernel */
#define HOLD_RING_BATCH          64U  /* maximum number of frames that one receive call returns */
/* The UMEM has room for frames_max frames and this number of further frames, which are on their way
 * out through the release device. */
#define HOLD_RING_SPARE_FRAMES	 512U
/* The longest frame is this much longer than the MTU: an Ethernet header and two VLAN tags. */
#define HOLD_RING_LINK_BYTES	 22U

/* Returns the chunk size for frames of @mtu (2048 or 4096), or 0 if no chunk is large enough. */
uint32_t hold_ring_chunk_bytes(uint32_t mtu);

/* Returns the size of the longest guest frame that fits into a chunk. */
uint32_t hold_ring_frame_max(uint32_t chunk_bytes);

struct hold_ring_out {
	struct xsk_socket *socket; /* NULL: not open */
	struct xsk_ring_prod tx;
	struct xsk_ring_cons done; /* completions */
	struct xsk_ring_prod fill; /* not used, but libxdp requires it */
};

struct hold_ring {
	/* set by hold_ring_open() */
	void *area;		  /* the UMEM, owned */
	size_t area_bytes;
	uint32_t chunk_bytes;
	uint32_t n_frames;
	struct xsk_umem *umem;
	struct xsk_socket *in;	  /* socket on the tap, queue 0; only receives */
	/* sockets on the release device, which only send. Normally one of the two is open; both are
	 * open while the release device is being replaced */
	struct hold_ring_out outs[2];
	uint32_t out_at;	  /* index of the socket that sends */
	struct xsk_ring_prod fill;     /* the fill ring of `in` */
	struct xsk_ring_cons in_done;  /* completions of `in`; not used, but libxdp requires it */
	struct xsk_ring_cons rx;
	/* changes while running */
	uint32_t n_sending;	  /* frames given to the release device and not yet completed */
};

struct hold_ring_frame {
	uint64_t addr; /* address of the stamp in the UMEM */
	uint32_t size_bytes; /* bytes of stamp and frame */
};

enum hold_ring_step { /* the step at which hold_ring_open() failed */
	HOLD_RING_MEMORY = 0,
	HOLD_RING_UMEM = 1, /* the kernel has no AF_XDP (-EAFNOSUPPORT) or cannot lock the memory */
	HOLD_RING_IN = 2,   /* -EBUSY: the tap's queue already has a socket */
	HOLD_RING_OUT = 3,
};

/* Create memory, rings and sockets, and put the receiving socket into slot 0 of the map @xsks_fd.
 * @ring is the caller's storage; on error it owns nothing. Waits up to 1 s until the kernel has
 * removed a dead agent's socket from the queue. Returns 0, or -errno with the failed step in
 * *ret_step. */
int hold_ring_open(struct hold_ring *ring, const char *tap, const char *out, uint32_t n_frames,
		   uint32_t chunk_bytes, int xsks_fd, enum hold_ring_step *ret_step)
	__attribute__((warn_unused_result));
void hold_ring_close(struct hold_ring *ring); /* accepts a zeroed struct */

/* Send through the device @out from now on. Call this after a new release device with this name was
 * created. Frames that the old device did not accept go to the new device, in order.
 * Frames that the old device accepted but did not report as sent are lost. Their chunks of the UMEM
 * are lost, too: at most HOLD_RING_SPARE_FRAMES in the life of a ring.
 * Returns 0 or -errno. On error nothing has changed. */
int hold_ring_reopen_out(struct hold_ring *ring, const char *out)
	__attribute__((warn_unused_result));

/* Take up to @n_max (<= HOLD_RING_BATCH) arrived frames. The caller owns each frame until it passes
 * the frame to hold_ring_send() or hold_ring_recycle(). Returns the number of frames taken, which
 * is 0 if none had arrived. */
uint32_t hold_ring_receive(struct hold_ring *ring, struct hold_ring_frame *ret, uint32_t n_max);

/* Returns a pointer to the UMEM address @addr, valid while the caller owns the frame. */
static inline void *hold_ring_data(const struct hold_ring *ring, uint64_t addr)
{
	return (char *)ring->area + addr;
}

/* Give one frame back to the kernel for receiving. */
void hold_ring_recycle(struct hold_ring *ring, uint64_t addr);

/* Queue the frame of @size_bytes at @addr for sending. Returns false if the ring is full. In this
 * case the caller still owns the frame, and can flush and try again. */
bool hold_ring_send(struct hold_ring *ring, uint64_t addr, uint32_t size_bytes);

/* Let the kernel send the queued frames until none is left or it accepts no more at present.
 * Returns 0, or -ENETDOWN, -ENXIO, ... if the release device is broken; then queued frames stay
 * queued. */
int hold_ring_flush(struct hold_ring *ring) __attribute__((warn_unused_result));

/* Returns the descriptor of the socket that sends, owned by @ring. */
static inline int hold_ring_out_fd(const struct hold_ring *ring)
{
	return xsk_socket__fd(ring->outs[ring->out_at].socket);
}

/* Returns how many queued frames the kernel has not accepted yet. */
uint32_t hold_ring_n_queued(const struct hold_ring *ring);

/* Give completed frames back to the kernel for receiving. */
void hold_ring_reap(struct hold_ring *ring);

#endif
