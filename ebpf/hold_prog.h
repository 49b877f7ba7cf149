/* hold_prog.h - loads, attaches, pins and takes over the BPF programs of the hold, which keeps a
 * guest's frames back until their epoch is committed.
 *
 * While no agent runs, the programs must continue to drop frames. The next agent must find the
 * programs. So the maps and the link that attaches a program to the tap are pinned in one directory
 * per hold:
 *
 *	PIN_DIR/hold_control   hold_xsks   hold_counters   hold_sent   link or link_tc
 *
 * hold_prog_open() loads the programs with the pinned maps, or with new maps if none are pinned.
 * Then it attaches one program to the tap: hold_tap (pin `link_tc`) for a guest with offloads,
 * hold_xdp (pin `link`) for any other guest. If the program's link is pinned already,
 * hold_prog_open() replaces the program in that link. If an earlier agent attached hold_xdp where
 * hold_tap is wanted, or the reverse, the old program is detached last. So no frame passes
 * unheld. hold_prog_detach() undoes these steps in reverse order. A lock (flock) on the directory
 * keeps a second agent out.
 *
 * Where: hostagent/net/hold.c calls this file, which calls only libbpf and turns libbpf's results
 * into negative errno. libbpf's own messages go to the log at debug level.
 * Threads: one thread at a time may use an object. Functions block for netlink and bpf calls, but
 * never wait for an event.
 */
#ifndef HOLD_PROG_H
#define HOLD_PROG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebpf/hold_shared.h"

enum hold_prog_step { /* the step at which hold_prog_open() failed */
	HOLD_PROG_PIN_DIR = 0, /* -ENOENT: pin_dir is not on a bpffs */
	HOLD_PROG_LOCK = 1,    /* -EBUSY: another process controls this hold */
	/* -EINVAL: the pinned maps have another layout, or the verifier refused a program */
	HOLD_PROG_LOAD = 2,
	/* -EBUSY: the device has an XDP program that is not ours. This is an error also for a guest
	 * with offloads, because that program could send frames elsewhere before hold_tap sees
	 * them */
	HOLD_PROG_FOREIGN = 3,
	HOLD_PROG_ATTACH = 4,
	HOLD_PROG_TC = 5,
};

struct hold_prog_config {
	const char *pin_dir; /* directory for the pins, on a bpffs; created if missing */
	int ifindex;	     /* ifindex of the tap */
	/* size in bytes of the longest frame to hold. With is_offload, GSO frames have a limit of
	 * their own: HOLD_GSO_FRAME_MAX */
	uint32_t max_frame_bytes;
	bool is_offload; /* true: the guest has offloads, so attach hold_tap, not hold_xdp */
};

struct hold_prog {
	struct hold_skel *skel;		/* owned */
	struct hold_control *control;   /* the control map's mapped page, shared with the program */
	int lock_fd;			/* descriptor of pin_dir; keeps it locked */
	int link_fd;			/* descriptor of the link on the tap, or -1 */
	/* descriptor of the other kind of link (XDP or tc) that an earlier agent left, or -1 */
	int other_fd;
	int ifindex;
	int xsks_fd;                    /* descriptor of the map hold_xsks, borrowed from skel */
	bool is_offload;    /* true: link_fd is hold_tap's link; false: hold_xdp's */
	bool is_taken_over; /* true if hold_prog_open() found a pinned link on this device */
	char pin_dir[256];
};

/* Load, attach and pin the programs, as the top of this file describes. A new hold starts in
 * HOLD_MODE_PASS. If a pinned hold is taken over, it keeps its mode and epoch. Pins that belong to
 * another device, or to a device that no longer exists, are removed first. @prog is the caller's
 * storage; after success it is valid until hold_prog_done().
 * Returns 0, -ENAMETOOLONG, an error listed at enum hold_prog_step, or another -errno. On failure,
 * sets *ret_step and removes all that this call has attached or pinned. A hold of this device that
 * was pinned before the call stays pinned. */
int hold_prog_open(struct hold_prog *prog, const struct hold_prog_config *config,
		   enum hold_prog_step *ret_step) __attribute__((warn_unused_result));

/* Attach the program hold_release to the tc ingress of @ifindex, a device that the agent made. From
 * then on, every frame that the device receives goes to the tap or is dropped. If the device is
 * deleted, the program is detached. Returns 0 or -errno. */
int hold_prog_attach_release(struct hold_prog *prog, int ifindex)
	__attribute__((warn_unused_result));

/* Returns true if the hold that is pinned in @pin_dir is for a guest with offloads. Returns false
 * if it is not, or if no hold is pinned there. */
bool hold_prog_pinned_is_offload(const char *pin_dir);

/* Only with is_offload. Make hold_sink drop every frame that arrives at @out, the end hfoN of the
 * veth pair. Call this before @out is up. Returns 0 or -errno. */
int hold_prog_attach_sink(struct hold_prog *prog, int out) __attribute__((warn_unused_result));

/* Only with is_offload. Make hold_tap send the frames to be held into @in, the end hfbN of the veth
 * pair. Call this after hold_prog_attach_sink(). */
void hold_prog_set_capture(struct hold_prog *prog, int in);

/* Returns the descriptor of the program hold_take, the filter of the agent's packet socket. The
 * descriptor belongs to @prog. */
int hold_prog_take_fd(const struct hold_prog *prog);

/* Returns how many frames hold_tap has sent into the veth pair since hold_prog_open(); 0 without
 * is_offload. Makes no system call. */
uint64_t hold_prog_n_captured(const struct hold_prog *prog);

/* Returns how many of the frames that hold_tap sent into the veth pair have come out of it; 0
 * without is_offload. Makes no system call. */
uint64_t hold_prog_n_arrived(const struct hold_prog *prog);

/* Returns how many frames hold_release has passed to the tap since hold_prog_open(). Makes no
 * system call. */
uint64_t hold_prog_n_returned(const struct hold_prog *prog);

/* Detach the program from the tap, remove the tap's clsact qdisc if we created it, and remove pins
 * and directory. After the call, the program can still be busy with a frame that came before the
 * call; hold_prog_quiesce() waits until the program has finished. The maps stay usable until
 * hold_prog_done(). If a step fails, the other steps are still tried. Returns 0, or the -errno of
 * the first step that failed. A missing tap is no error. */
int hold_prog_detach(struct hold_prog *prog) __attribute__((warn_unused_result));

/* Detach and unpin the hold that an earlier process left in @pin_dir. The tap can be gone, renamed,
 * or in no bridge.
 * Returns 0 if nothing is left in @pin_dir;
 * -EBUSY: another process controls this hold;
 * other -errno. */
int hold_prog_remove_left(const char *pin_dir) __attribute__((warn_unused_result));

/* Returns the ifindex of the tap whose hold is pinned in @pin_dir. Returns 0 if there is no such
 * hold or the tap is gone. Does not take the lock, so another process can use the hold
 * meanwhile. */
int hold_prog_pinned_tap(const char *pin_dir);

/* Wait until every BPF program that is active at the time of the call has returned. This takes some
 * milliseconds (an RCU grace period). */
void hold_prog_quiesce(void);

/* Free memory and descriptors. Pinned programs and maps continue to work. @prog can be NULL,
 * zeroed, or the result of a hold_prog_open() that failed. */
void hold_prog_done(struct hold_prog *prog);

/* Store each counter, summed over all CPUs, in ret[HOLD_COUNTER_SLOTS]. Returns 0 or -errno. */
int hold_prog_counters(const struct hold_prog *prog, uint64_t *ret)
	__attribute__((warn_unused_result));

#endif
