/* hold_prog.h - load, attach, pin and take over the hold's BPF programs.
 *
 * Why: the programs must outlive the agent, because they drop frames when it is dead, and the next
 * agent must find them. So maps and the XDP link are pinned in one directory per VM:
 *
 *	PIN_DIR/hold_control   hold_xsks   hold_counters   hold_sent   link
 *
 * open = set rodata -> load (maps found pinned are used again) -> attach or replace in the pinned
 * link -> pin; detach undoes it in reverse. A directory lock (flock) keeps a second agent out.
 *
 * Where: hostagent/net/hold.c calls it; it calls libbpf only, and turns libbpf's results into
 * negative errno here, once. libbpf's own messages go to the log at debug level.
 * Threads: one owner per object. Functions block for a netlink or bpf call, none for an event.
 */
#ifndef HOLD_PROG_H
#define HOLD_PROG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebpf/hold_shared.h"

enum hold_prog_step { /* where hold_prog_open() failed */
	HOLD_PROG_PIN_DIR = 0, /* -ENOENT: not on a bpffs */
	HOLD_PROG_LOCK = 1,    /* -EBUSY: another process has this hold */
	HOLD_PROG_LOAD = 2,    /* -EINVAL: pinned maps of another layout, or verifier */
	HOLD_PROG_FOREIGN = 3, /* -EBUSY: the device has an XDP program that is not ours */
	HOLD_PROG_ATTACH = 4,
	HOLD_PROG_TC = 5,
};

struct hold_prog_config {
	const char *pin_dir; /* on a bpffs; made when missing */
	int ifindex;	     /* the tap */
	uint32_t max_frame_bytes;
};

struct hold_prog {
	struct hold_skel *skel;		/* owned */
	struct hold_control *control;	/* mapped page, shared with the program and other agents */
	int lock_fd;			/* pin_dir, locked */
	int link_fd;			/* XDP link, or -1 */
	int ifindex;
	int xsks_fd;			/* borrowed from skel */
	bool is_taken_over;		/* the link was found pinned on this device */
	char pin_dir[256];
};

/* Load and attach as above. A new hold starts in HOLD_MODE_PASS; one taken over keeps control as
 * it is. Pins of a device that is gone are removed first. @prog is the caller's storage, valid
 * after success until hold_prog_done(). @ret_step is set on failure only.
 * 0; -ENAMETOOLONG; the codes at enum hold_prog_step; other -errno. On failure nothing new stays
 * attached or pinned; a hold found pinned stays. */
int hold_prog_open(struct hold_prog *prog, const struct hold_prog_config *config,
		   enum hold_prog_step *ret_step) __attribute__((warn_unused_result));

/* Attach hold_release to the tc ingress of @ifindex, a device of ours. From then on every frame on
 * it goes to the tap or is dropped. Deleting the device detaches it. 0 or -errno. */
int hold_prog_attach_release(struct hold_prog *prog, int ifindex)
	__attribute__((warn_unused_result));

/* How many frames hold_release gave to the tap since hold_prog_open(). Only reads memory. */
uint64_t hold_prog_n_returned(const struct hold_prog *prog);

/* Take the XDP program off the tap (and its clsact qdisc if we made it), and remove pins and
 * directory. No program runs on frames that arrive afterwards, but one may still be running on an
 * earlier frame (hold_prog_quiesce()). The maps stay usable until hold_prog_done(). 0 or -errno of
 * the first step that failed; all steps are tried. */
int hold_prog_detach(struct hold_prog *prog) __attribute__((warn_unused_result));

/* Detach and unpin what an earlier process left in @pin_dir, even if its device is gone, renamed or
 * in no bridge. 0: nothing is left there; -EBUSY: another process has this hold; other -errno. */
int hold_prog_remove_left(const char *pin_dir) __attribute__((warn_unused_result));

/* Wait until no CPU runs a program that began before the call (a grace period, ms). */
void hold_prog_quiesce(void);

/* Free memory and descriptors; pinned programs and maps go on working. NULL, zeroed (lock_fd and
 * link_fd -1 or 0-after-done) and half-built objects are fine. */
void hold_prog_done(struct hold_prog *prog);

/* Sum each counter over all CPUs into ret[HOLD_COUNTER_SLOTS]. 0 or -errno. */
int hold_prog_counters(const struct hold_prog *prog, uint64_t *ret)
	__attribute__((warn_unused_result));

#endif
