/* hold.h - holds every frame that a guest sends until the epoch in which it was sent is committed.
 *
 * Why: a client must never see a reply that a failover would undo (output commit). The hold is in
 * the kernel, where frames leave the guest. Frames never pass unheld: if the agent is dead, or its
 * socket is gone, or a limit is reached, the hold drops them.
 *
 * Where: the epoch engine (epoch/) calls it; it calls ebpf/hold_prog.h (programs, maps, pins),
 * net/release_port.h (the veth pair) and net/hold_lane.h (sockets and memory). It needs root.
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
 * Both sockets use the same memory (UMEM), so a release copies no frame in user space. A released
 * frame continues from the tap as if the guest had just sent it. So the user's bridge needs no
 * device of ours.
 *
 * A guest with offloads leaves checksums and segmentation to the host. It sends frames of up to
 * 64 KiB, with a virtio_net_hdr beside each. XDP would lose that header. So such a guest, and a tap
 * with an MTU above 3802, has the second kind of hold, with the same promises:
 *
 *	 guest (QEMU)
 *	     | writev
 *	     v          released frames, and PASS: next filter, bridge port
 *	 [tap, receive] --> tc ingress: hold_tap -------------> ...
 *	     ^                | HOLD: the mark is the epoch
 *	     |                v
 *	     +--(release)-- [hfbN]==veth==[hfoN] <--> one packet socket: receives, sends; FIFO
 *
 * The second kind copies each frame into the agent and back. If its veth pair is broken, it drops
 * the guest's frames until the pair is made again. (The first kind holds them.)
 *
 * Life of a hold:
 *      1. hold_open
 *      2. set the epoch, set the mode HOLD
 *      3. receive and release, many times
 *      4. hold_detach: the guest continues unprotected; or hold_close: the guest stays silent,
 *         because it is fenced or the agent restarts
 * The pins in pin_dir outlive the process. If the agent is killed, the VM's next hold_open() takes
 * the hold over.
 *
 * Threads: no function takes a lock, so all calls for one hold must come from one thread. Different
 * holds are independent.
 */
#ifndef NET_HOLD_H
#define NET_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct hold;

#define HOLD_FRAMES_MAX_LIMIT 65536U /* highest frames_max that hold_open() accepts */
/* The longest name of a hold in bytes. The name is the VM's name (letters, digits, _ and -). For
 * each further card, + and a digit follow (net/holds.h) */
#define HOLD_VM_NAME_MAX      65U

enum hold_mode {
	/* every frame is dropped. The value is 0, because a new map is all zero and must pass
	 * nothing */
	HOLD_DROP = 0,
	HOLD_HOLD = 1, /* every frame is stamped and held, or dropped if it cannot be held */
	HOLD_PASS = 2, /* frames pass as if there were no hold; the guest is not protected */
};

/* Says what to hold, and the limits. Used only during hold_open(), which copies what it needs. */
struct hold_config {
	const char *vm;	     /* the hold's name; 1..HOLD_VM_NAME_MAX bytes */
	const char *tap;     /* the guest's tap, a port of a bridge in this network namespace */
	const char *pin_dir; /* directory on a bpffs, used only for this VM; created if missing */
	uint32_t frames_max; /* maximum number of frames held; 1..HOLD_FRAMES_MAX_LIMIT */
	uint64_t bytes_max;  /* maximum number of bytes held, > 0 */
	/* true: the card has offloads, so the guest can leave checksums and segmentation to the
	 * host. Frames are then held and released as the guest gives them */
	bool is_offload;
};

/* The hold's state and counters. Counters start when this process opens the hold, except where
 * noted. */
struct hold_stats {
	/* the current state */
	uint64_t epoch;	      /* epoch with which new frames are stamped */
	uint32_t mode;	      /* enum hold_mode */
	uint32_t frames;      /* frames held: received, but not yet given to the release device */
	uint64_t bytes;	      /* bytes of the held frames */
	/* frames given to the release device, but not yet reported as sent */
	uint32_t frames_sent_pending;

	/* counted by the agent */
	uint64_t received;    /* frames taken into the FIFO */
	uint64_t released;    /* frames given to the release device */
	uint64_t dropped_limit_frames; /* new frames dropped at frames_max */
	uint64_t dropped_limit_bytes;  /* new frames dropped at bytes_max */
	uint64_t dropped_bad_stamp;    /* frames without a valid stamp: a bug, must stay 0 */
	/* Sum of the times for which released frames were held. With offloads, the time of a frame
	 * begins when the agent takes it from the socket */
	uint64_t hold_ns_sum;
	uint64_t hold_ns_max; /* the longest time for which a released frame was held */
	uint64_t frames_peak; /* highest number of frames held at one time */
	uint64_t n_mended;    /* how many times the release device had to be created again */

	/* counted by the BPF programs since the hold was first created; a new agent continues the
	 * counts */
	uint64_t prog_held;	      /* frames stamped and redirected to the socket */
	uint64_t prog_passed;	      /* frames passed in mode PASS */
	uint64_t prog_dropped_mode;   /* frames dropped in mode DROP or an unknown mode */
	uint64_t prog_dropped_no_socket; /* frames dropped because no agent's socket was there */
	uint64_t prog_dropped_long;   /* frames too long for a UMEM frame, or for the MTU */
	uint64_t prog_dropped_stamp;  /* frames without headroom for the stamp */
	uint64_t prog_dropped_stray;  /* frames from our veth pair that we did not send */

	/* counted by the kernel for this process's sockets. With offloads, only kernel_rx_dropped
	 * and kernel_tx_invalid are used */
	/* frames dropped: the socket had no room or memory */
	uint64_t kernel_rx_dropped;
	uint64_t kernel_rx_ring_full; /* frames dropped: hold_receive() was called too late */
	/* of the frames in kernel_rx_dropped: those for which no UMEM frame was free */
	uint64_t kernel_rx_no_buffer;
	uint64_t kernel_tx_invalid;   /* frames the kernel refused to send: a bug, must stay 0 */
};

/* Returns how many frames of the guest were dropped, each counted once. kernel_rx_no_buffer is left
 * out because the kernel counts such a frame in kernel_rx_dropped too (net/xdp/xsk.c, xsk_rcv()).
 * Stray frames are left out because they are not the guest's. */
static inline uint64_t hold_dropped(const struct hold_stats *s)
{
	return s->dropped_limit_frames + s->dropped_limit_bytes + s->dropped_bad_stamp +
	       s->kernel_rx_dropped + s->kernel_rx_ring_full + s->prog_dropped_mode +
	       s->prog_dropped_no_socket + s->prog_dropped_long + s->prog_dropped_stamp;
}

/* Create the hold of one VM, or take over the pinned hold that an earlier agent left.
 *
 * A new hold has mode HOLD_PASS and epoch 0, and does not disturb the guest's traffic. If an old
 * hold is taken over, it keeps its mode and epoch, and its veth pair is made again. Frames that the
 * dead agent held are lost; no client has seen them.
 *
 * Blocks for tens of ms (rtnetlink, loading the program), and for up to 1 s until the kernel has
 * removed a dead agent's socket. Allocates all memory that the hold will ever need.
 *
 * @config     only read during the call
 * @ret        the hold, owned by the caller, who must end it with hold_detach() or hold_close()
 * @ret_error  always set: "" on success, the reason and what to do about it on error
 *
 * Returns 0. Errors:
 *      -EINVAL    a value of @config is out of range
 *      -ENODEV    there is no such device
 *      -ENOTSUP   the device is not a tap or has several queues, or the kernel has no AF_XDP or XDP
 *      -ENOTCONN  the tap is in no bridge
 *      -EBUSY     the tap has a foreign XDP program or the hold of another VM, or another process
 *                 owns this hold or the tap's queue
 *      -ENOENT    pin_dir is not on a bpffs
 *      -EPERM     we are not root
 *      -ENOMEM, or another -errno of the kernel
 *
 * On error a new hold leaves nothing behind. An existing hold stays as it was: without an agent it
 * drops frames, unless its mode is HOLD_PASS. */
int hold_open(const struct hold_config *config, struct hold **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Let the guest continue without protection: release all held frames in order, whatever their
 * epoch. Then set HOLD_PASS, and remove the program, sockets, veth pair and pin_dir. Call this only
 * when uncommitted frames can leave without harm. Frames that the guest sends during the change can
 * be slightly reordered.
 * Held frames are lost if the tap is gone or the release device cannot be created again. The log
 * says how many frames were lost.
 * @h is always freed; NULL is allowed. Blocks for tens of ms. Returns 0, or the -errno of the first
 * removal that failed. After such a failure, the other removals are still tried. */
int hold_detach(struct hold *h);

/* Remove what an earlier process left of the hold of VM @vm in @pin_dir. Held frames are lost. A
 * running guest continues without a hold. The tap can be gone, renamed or in no bridge. Blocks for
 * tens of ms.
 * Returns 0 if nothing is left;
 * -EBUSY: another process has this hold;
 * other -errno of the kernel. */
int hold_remove_left(const char *vm, const char *pin_dir) __attribute__((warn_unused_result));

/* Close the hold and leave the guest silent: set HOLD_DROP, discard held frames, close the sockets,
 * but keep program, veth pair and pins for the next hold_open(). Used when the host is fenced or
 * the agent ends. @h is freed; NULL is allowed. Does not block for long. */
void hold_close(struct hold *h);

/* Stamp frames with @epoch (not 0) from now on. Call this while the guest is stopped. All frames
 * that the guest sent before QMP `stop` returned have the old stamp already, because tun runs our
 * program inside QEMU's writev(). Exception: with RPS on the tap, hold_tap can run later. Then a
 * frame can get a later epoch than its own, and is held longer.
 * Stores to a mapped page: makes no system call and never blocks. */
void hold_set_epoch(struct hold *h, uint64_t epoch);
uint64_t hold_epoch(const struct hold *h);

/* Change the mode from the next frame on. Set the epoch before setting HOLD_HOLD. Held frames stay
 * held. This only writes to the mapped page and changes no other kernel state. Returns 0, or
 * -EINVAL if @mode is unknown, or is HOLD_HOLD while the epoch is 0. */
int hold_set_mode(struct hold *h, enum hold_mode mode) __attribute__((warn_unused_result));
enum hold_mode hold_mode(const struct hold *h);

/* Returns true if hold_open() took over a pinned hold. In this case mode and epoch are as the
 * earlier agent has set them. Frames that the guest sent while there was no agent passed if the
 * mode is HOLD_PASS, and were dropped otherwise. */
bool hold_is_taken_over(const struct hold *h);

/* Returns a descriptor that becomes readable (POLLIN) when frames have arrived. Owned by @h. */
int hold_fd(const struct hold *h);

/* Take arrived frames into the FIFO. If the kernel has not yet accepted all released frames, give
 * it the rest. Never allocates. Blocks (tens of ms) only if the release device must be created
 * again.
 * Returns the number of frames newly held since the last call (0 is normal). This number includes
 * frames that hold_release() received.
 * Returns -errno if the release device is broken and cannot be created again. In this case frames
 * stay held. Later calls try to create the device again, once a second. */
int hold_receive(struct hold *h) __attribute__((warn_unused_result));

/* Send all frames stamped with @epoch or less, in the order in which they came. Keep the other
 * frames. Takes arrived frames into the FIFO first. Never allocates.
 * If the kernel accepts no more frames now, hold_is_sending() is true. The next hold_receive() or
 * hold_release() sends the rest. If @epoch is lower than in an earlier call, nothing new is
 * released.
 * The current epoch cannot be committed yet, so it is refused. Call hold_set_epoch() at the seal,
 * and hold_release() after the commit.
 * Returns the number of frames that this call gave to the release device;
 * -EINVAL: @epoch >= hold_epoch(); nothing has changed;
 * other -errno: see hold_receive(). */
int hold_release(struct hold *h, uint64_t epoch) __attribute__((warn_unused_result));

/* Returns a human-readable text that says why released frames cannot leave at present; "" if they
 * can. */
const char *hold_trouble(const struct hold *h);

/* Returns true while released frames still wait for the kernel to accept them. In that case, call
 * hold_receive() again within a millisecond. */
bool hold_is_sending(const struct hold *h);

/* Returns true if the held frames have reached 3/4 of frames_max or bytes_max: the caller should
 * seal at once. At the limit, new frames are dropped and counted until a release makes room. */
bool hold_needs_seal(const struct hold *h);

/* Discard all held frames, and forget the highest released epoch. Call this at the start of a new
 * term, in which these frames can never be committed. */
void hold_discard(struct hold *h);

/* Returns the epoch of the oldest held frame, or UINT64_MAX if no frame is held. */
uint64_t hold_oldest_epoch(const struct hold *h);
uint32_t hold_count(const struct hold *h); /* number of held frames */
uint64_t hold_bytes(const struct hold *h); /* bytes of the held frames */

/* Read all counters, with a few system calls. Returns 0 or -errno. On error *ret is unchanged. */
int hold_stats(struct hold *h, struct hold_stats *ret) __attribute__((warn_unused_result));

#endif
