/* hold_ring.h - two AF_XDP sockets over one UMEM: frames come in at the tap, go out at the veth.
 *
 * Why: keeps libxdp's rings and the kernel's behaviour in copy mode (kicks, batches, errors) in one
 * place. Where: hold.c calls it; it calls libxdp and turns its results into negative errno.
 *
 *	 UMEM: n_frames x chunk_bytes, each always in exactly one place
 *
 *	   fill ring --kernel--> rx ring --hold_ring_receive--> caller (the FIFO)
 *	      ^                                                    | hold_ring_send
 *	      +-- hold_ring_recycle <-- completion ring <--kernel-- tx ring
 *
 *	 one chunk:  | 256 XDP headroom | 16 stamp | the guest's frame ... |
 *
 * Threads: one owner. Allocates and blocks in open only.
 */
#ifndef NET_HOLD_RING_H
#define NET_HOLD_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xdp/xsk.h>

#include "ebpf/hold_shared.h"

#define HOLD_RING_HEADROOM_BYTES 256U /* XDP_PACKET_HEADROOM, kept free by the kernel */
#define HOLD_RING_BATCH		 64U  /* most frames that one receive call returns */
/* UMEM frames beyond frames_max: for those on their way out through the release device. */
#define HOLD_RING_SPARE_FRAMES	 512U
/* A frame is its MTU plus Ethernet header and two VLAN tags. */
#define HOLD_RING_LINK_BYTES	 22U

/* Returns the chunk size for frames of @mtu: 2048 or 4096; 0: no chunk is large enough. */
uint32_t hold_ring_chunk_bytes(uint32_t mtu);

/* The longest guest frame that fits in a chunk. */
uint32_t hold_ring_frame_max(uint32_t chunk_bytes);

struct hold_ring_out {
	struct xsk_socket *socket; /* NULL: none */
	struct xsk_ring_prod tx;
	struct xsk_ring_cons done; /* completions */
	struct xsk_ring_prod fill; /* never used, libxdp wants it */
};

struct hold_ring {
	/* made by open */
	void *area;		  /* the UMEM, owned */
	size_t area_bytes;
	uint32_t chunk_bytes;
	uint32_t n_frames;
	struct xsk_umem *umem;
	struct xsk_socket *in;	  /* on the tap, queue 0: receives only */
	struct hold_ring_out outs[2]; /* on the release device, send only; 2 while one takes over */
	uint32_t out_at;	  /* index of the one that sends */
	struct xsk_ring_prod fill;     /* of `in` */
	struct xsk_ring_cons in_done;  /* of `in`; never used, libxdp wants it */
	struct xsk_ring_cons rx;
	/* running */
	uint32_t n_sending;	  /* given to the release device and not yet completed */
};

struct hold_ring_frame {
	uint64_t addr; /* of the stamp in the UMEM */
	uint32_t size_bytes; /* stamp and frame */
};

enum hold_ring_step { /* where hold_ring_open() failed */
	HOLD_RING_MEMORY = 0,
	HOLD_RING_UMEM = 1, /* the kernel knows no AF_XDP (-EAFNOSUPPORT) or locks no memory */
	HOLD_RING_IN = 2,   /* -EBUSY: the tap's queue has a socket already */
	HOLD_RING_OUT = 3,
};

/* Make memory, rings and sockets, and put the receiving one into slot 0 of map @xsks_fd. @ring is
 * the caller's storage; on error it holds nothing. Waits up to 1 s for a dead agent's socket to
 * leave the queue. 0 or -errno with *ret_step. */
int hold_ring_open(struct hold_ring *ring, const char *tap, const char *out, uint32_t n_frames,
		   uint32_t chunk_bytes, int xsks_fd, enum hold_ring_step *ret_step)
	__attribute__((warn_unused_result));
void hold_ring_close(struct hold_ring *ring); /* a zeroed one is fine */

/* Send through @out from now on: the release device was made again under this name. Frames that the
 * old device has not taken move there, in order. Frames that it took and did not report sent are
 * given up, at most HOLD_RING_SPARE_FRAMES in a ring's life. 0; -errno: nothing changed. */
int hold_ring_reopen_out(struct hold_ring *ring, const char *out)
	__attribute__((warn_unused_result));

/* Take up to @n_max (<= HOLD_RING_BATCH) arrived frames; each is the caller's until it goes to
 * hold_ring_send() or hold_ring_recycle(). Returns the number taken; 0: none. */
uint32_t hold_ring_receive(struct hold_ring *ring, struct hold_ring_frame *ret, uint32_t n_max);

/* Bytes at @addr. Borrowed while the frame is the caller's. */
static inline void *hold_ring_data(const struct hold_ring *ring, uint64_t addr)
{
	return (char *)ring->area + addr;
}

/* Give one frame back to the kernel for receiving. */
void hold_ring_recycle(struct hold_ring *ring, uint64_t addr);

/* Queue the frame of @size_bytes at @addr for sending. False: the ring is full, the frame stays the
 * caller's; flush and try again. */
bool hold_ring_send(struct hold_ring *ring, uint64_t addr, uint32_t size_bytes);

/* Let the kernel send the queued frames until none is left or it takes no more for now. 0;
 * -ENETDOWN, -ENXIO, ...: the release device is broken; queued frames stay queued. */
int hold_ring_flush(struct hold_ring *ring) __attribute__((warn_unused_result));

/* Descriptor of the socket that sends; borrowed. */
static inline int hold_ring_out_fd(const struct hold_ring *ring)
{
	return xsk_socket__fd(ring->outs[ring->out_at].socket);
}

/* How many queued frames the kernel has not taken yet. */
uint32_t hold_ring_n_queued(const struct hold_ring *ring);

/* Move completed frames back to the fill ring. */
void hold_ring_reap(struct hold_ring *ring);

#endif
