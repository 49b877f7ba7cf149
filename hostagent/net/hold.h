/* hold.h - keep every frame a guest sends until the epoch it was sent in is committed.
 *
 * Why: a client must never see a reply that a failover would forget (output commit). The hold sits
 * where frames leave the guest, in the kernel, and fails closed: with the agent dead, the socket
 * gone or a limit reached, frames are dropped, never passed.
 *
 * Where: the epoch engine (epoch/) calls it; it calls ebpf/hold_prog.h (programs, maps, pins),
 * net/release_port.h (the veth pair) and libxdp (sockets). It needs root.
 *
 *	 guest (QEMU)
 *	     | writev
 *	     | PASS: as without a hold --------------->+
 *	     | HOLD: XDP puts the stamp in             v
 *	     |       front, redirects           [tap, receive] --> tc ingress --> its bridge port --> ...
 *	     v                                         ^
 *	 RX socket -> FIFO -> TX socket ->[hfoN]==veth==[hfbN, tc ingress: hold_release]
 *	    epoch:  7 7 8 8 8
 *	    release(7) sends the two sevens            N is the tap's ifindex
 *
 * Both sockets share one UMEM, so that a release moves a descriptor and copies nothing itself. A
 * released frame goes on as if the guest had just sent it: nothing of ours is in the user's bridge.
 *
 * Life: open -> set_epoch, set_mode(HOLD) -> receive and release, many times -> detach (the guest
 * goes on unprotected) or close (the guest stays silent: fenced, or the agent restarts). The pins
 * in pin_dir outlive the process: after a kill the next hold_open() of the same VM takes over.
 *
 * Threads: one owner thread per hold; no function locks. Different holds are independent.
 */
#ifndef NET_HOLD_H
#define NET_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct hold;

#define HOLD_FRAMES_MAX_LIMIT 65536U /* highest frames_max that hold_open() takes */
#define HOLD_VM_NAME_MAX      63U    /* longest VM name in bytes; letters, digits, _ - only */

enum hold_mode {
	HOLD_DROP = 0, /* every frame is dropped; zero, so that an empty map is closed */
	HOLD_HOLD = 1, /* every frame is stamped and held; dropped when it cannot be */
	HOLD_PASS = 2, /* frames pass as if there were no hold; the guest is not protected */
};

/* What to hold and how much. Only hold_open() reads it; nothing is kept by reference. */
struct hold_config {
	const char *vm;	     /* the VM's name, as in its file; 1..HOLD_VM_NAME_MAX bytes */
	const char *tap;     /* the guest's tap, a port of a bridge in this network namespace */
	const char *pin_dir; /* directory on a bpffs for this VM alone; made when missing */
	uint32_t frames_max; /* most frames held; 1..HOLD_FRAMES_MAX_LIMIT */
	uint64_t bytes_max;  /* most bytes held, > 0 */
};

/* Counts since this process opened the hold, except where said. */
struct hold_stats {
	/* state now */
	uint64_t epoch;	      /* epoch that new frames are stamped with */
	uint32_t mode;	      /* enum hold_mode */
	uint32_t frames;      /* held now: received, not yet handed to the release device */
	uint64_t bytes;	      /* bytes of the held frames */
	uint32_t frames_sent_pending; /* handed to the release device, not yet reported sent */
	/* user side */
	uint64_t received;    /* frames taken into the FIFO */
	uint64_t released;    /* frames handed to the release device */
	uint64_t dropped_limit_frames; /* newest frames dropped at frames_max */
	uint64_t dropped_limit_bytes;  /* newest frames dropped at bytes_max */
	uint64_t dropped_bad_stamp;    /* frames without a valid stamp: a bug, must stay 0 */
	uint64_t hold_ns_sum; /* sum over released frames of release time - stamp time */
	uint64_t hold_ns_max; /* longest of them */
	uint64_t frames_peak; /* most frames held at one time */
	uint64_t n_mended;    /* how often the release device was made again */
	/* program's counters, since the hold was first made (they survive the agent) */
	uint64_t prog_held;	      /* stamped and redirected */
	uint64_t prog_passed;	      /* in mode PASS */
	uint64_t prog_dropped_mode;   /* in mode DROP, or an unknown mode */
	uint64_t prog_dropped_no_socket; /* no agent listened */
	uint64_t prog_dropped_long;   /* longer than a UMEM frame takes */
	uint64_t prog_dropped_stamp;  /* no headroom for the stamp */
	uint64_t prog_dropped_stray;  /* came through our veth pair, but not from us */
	/* kernel's socket counters (XDP_STATISTICS) of this process's sockets */
	uint64_t kernel_rx_dropped;	  /* no room or no memory on the receiving socket */
	uint64_t kernel_rx_ring_full;	  /* hold_receive() was not called for too long */
	uint64_t kernel_rx_no_buffer;	  /* no UMEM frame was free; rx_dropped counts these too */
	uint64_t kernel_tx_invalid;	  /* release descriptors refused: a bug, must stay 0 */
};

/* How many frames of the guest were dropped, each counted once: the kernel counts a frame without a
 * UMEM frame in two counters (net/xdp/xsk.c, xsk_rcv()), so kernel_rx_no_buffer is left out. Stray
 * frames do not count: they are not the guest's. */
static inline uint64_t hold_dropped(const struct hold_stats *s)
{
	return s->dropped_limit_frames + s->dropped_limit_bytes + s->dropped_bad_stamp +
	       s->kernel_rx_dropped + s->kernel_rx_ring_full + s->prog_dropped_mode +
	       s->prog_dropped_no_socket + s->prog_dropped_long + s->prog_dropped_stamp;
}

/* Make the hold of one VM, or take over the pinned one that a killed agent left.
 *
 * New: mode is HOLD_PASS, epoch 0; the guest's traffic is not disturbed. Taken over: mode and epoch
 * stay as they were. Frames that the dead process held are lost (they were never committed to
 * anyone), and its veth pair is made again.
 * Blocks: rtnetlink and program load, tens of ms; up to 1 s for the dead agent's socket to go.
 * Allocates all memory that the hold will ever need.
 *
 * @config   read during the call only
 * @ret      the hold, owned by the caller: hold_detach() or hold_close()
 * @ret_error  always set: "" or the reason with the next step
 * 0;
 * -EINVAL: config out of range; -ENODEV: no such device; -ENOTSUP: not a tap, multi-queue, kernel
 *  without AF_XDP or XDP; -ENOTCONN: tap is in no bridge; -EBUSY: foreign XDP program or another
 *  process owns this hold or the tap's queue; -EMSGSIZE: MTU larger than a UMEM frame takes;
 * -ENOENT: pin_dir is on no bpffs; -EPERM: not root; -ENOMEM; other -errno of the kernel. On error
 * nothing of ours is
 *  left behind, except that a hold found pinned stays as it was, closed. */
int hold_open(const struct hold_config *config, struct hold **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Let the guest go on without protection: release all held frames in order, whatever their epoch
 * (call it only when that is allowed), set HOLD_PASS, remove program, sockets, veth pair and
 * pin_dir. Frames sent during the change may be reordered a little. None is lost, unless the tap is
 * gone or the release device cannot be made again (then the log says how many). @h is freed in
 * every case; NULL is allowed. Blocks: tens of ms. 0; -errno of the first removal that failed (the
 * others were still tried). */
int hold_detach(struct hold *h);

/* Remove what an earlier process left of the hold of VM @vm in @pin_dir; a running guest goes on
 * without a hold. The tap may be gone, renamed or in no bridge. Held frames are lost. Blocks: tens
 * of ms.
 * 0: nothing is left; -EBUSY: another process has this hold; other -errno. */
int hold_remove_left(const char *vm, const char *pin_dir) __attribute__((warn_unused_result));

/* Leave the guest silent: set HOLD_DROP, discard held frames, close the sockets, keep program, veth
 * pair and pins for the next hold_open(). For a fenced host. @h is freed; NULL is allowed.
 * Does not block for long. */
void hold_close(struct hold *h);

/* Stamp frames from now on with @epoch (not 0). Call it while the guest is stopped: tun runs XDP
 * inside QEMU's writev(), so every frame sent before `stop` returned already has the old stamp.
 * A plain store to a mapped page: no system call, never blocks. */
void hold_set_epoch(struct hold *h, uint64_t epoch);
uint64_t hold_epoch(const struct hold *h);

/* Change the mode; it applies from the next frame on. Set the epoch before HOLD_HOLD. Held frames
 * stay held. Touches only the mapped page, no other kernel state.
 * 0; -EINVAL: unknown @mode, or HOLD_HOLD with epoch 0. */
int hold_set_mode(struct hold *h, enum hold_mode mode) __attribute__((warn_unused_result));
enum hold_mode hold_mode(const struct hold *h);

/* True when hold_open() found a pinned hold. Its mode and epoch are then the dead agent's, and
 * frames that the guest sent since then were dropped. */
bool hold_is_taken_over(const struct hold *h);

/* Descriptor that polls readable (POLLIN) when frames arrived. Owned by @h. */
int hold_fd(const struct hold *h);

/* Take arrived frames into the FIFO, and go on with a release that the kernel interrupted. Never
 * allocates; blocks (tens of ms) only to make the release device again.
 * Returns the number of frames newly held since the last call, including those that hold_release()
 * took (0 is normal): a caller that seals on demand must hear of each. -errno: the release device
 * is broken and could not be made again; frames stay held, and it is tried again each second. */
int hold_receive(struct hold *h) __attribute__((warn_unused_result));

/* Send all frames stamped <= @epoch in the order they came, keep the rest. Receives first, so that
 * no frame of the epoch is left in the ring. Never allocates; one sendto() per batch that the
 * kernel takes. If the kernel takes no more now, the next hold_receive() or hold_release() sends
 * the rest; see hold_is_sending(). A lower @epoch than before releases nothing new. The current
 * epoch cannot be committed, so it is refused: call hold_set_epoch() at the seal, release after the
 * commit. Returns the number of frames handed to the device by this call; -EINVAL: @epoch >=
 * hold_epoch(), nothing changed; -errno as for hold_receive(). */
int hold_release(struct hold *h, uint64_t epoch) __attribute__((warn_unused_result));

/* Why released frames cannot leave now, for people; "": they can. */
const char *hold_trouble(const struct hold *h);

/* How often the release device was made again because it was removed, set down or led nowhere. */
uint64_t hold_n_mended(const struct hold *h);

/* True while released frames still wait for the kernel to take them: call hold_receive() again
 * within a millisecond. */
bool hold_is_sending(const struct hold *h);

/* True from 3/4 of frames_max or bytes_max on: seal at once. At the limit, new frames are dropped
 * and counted until a release makes room. */
bool hold_needs_seal(const struct hold *h);

/* Discard all held frames (a new term begins, they will never be committed), and forget the highest
 * released epoch. */
void hold_discard(struct hold *h);

/* Epoch of the oldest held frame, or UINT64_MAX when nothing is held. */
uint64_t hold_oldest_epoch(const struct hold *h);
uint32_t hold_count(const struct hold *h); /* frames held */
uint64_t hold_bytes(const struct hold *h); /* their bytes */

/* Read all counters (a few system calls). 0, or -errno with *ret untouched. */
int hold_stats(struct hold *h, struct hold_stats *ret) __attribute__((warn_unused_result));

#endif
