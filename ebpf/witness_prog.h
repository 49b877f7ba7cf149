/* witness_prog.h - load, attach, pin and take over the witness's BPF programs.
 *
 * Why: a witness speaks when the agent cannot. tc filters keep its programs alive, programs keep
 * its maps. Maps are pinned in a directory of their own, so that the next agent can take them over:
 *
 *	PIN_DIR/witness_control   PIN_DIR/witness_state
 *
 * open = helper ifindex into rodata -> load (maps found pinned are used again) -> filter on the
 * helper
 * -> filter on the tap; detach undoes it in reverse. The tap's clsact qdisc is the hold's: a
 * witness lives only where a hold does, and reads the hold's pinned map hold_sent.
 *
 * Where: hostagent/net/witness_mirror.c calls it; it calls libbpf only.
 * Threads: one owner per object; control and state are shared with the programs, read and written
 * atomically. Functions block for a netlink or bpf call, none for an event.
 */
#ifndef WITNESS_PROG_H
#define WITNESS_PROG_H

#include <stdbool.h>

#include "ebpf/witness_shared.h"

enum witness_prog_step { /* where witness_prog_open() failed */
	WITNESS_PROG_PIN_DIR = 0, /* -ENOENT: not on a bpffs */
	WITNESS_PROG_LOCK = 1,	  /* -EBUSY: another process has this witness */
	WITNESS_PROG_HOLD = 2,	  /* -ENOENT: no hold's maps in hold_pin_dir */
	WITNESS_PROG_LOAD = 3,	  /* the kernel refuses the programs */
	WITNESS_PROG_ATTACH = 4,  /* -EINVAL or -ENOENT: the tap has no clsact qdisc */
};

struct witness_prog_config {
	const char *pin_dir;	  /* on a bpffs, of this witness alone; made when missing */
	const char *hold_pin_dir; /* of the same VM's hold, which is open */
	int tap;		  /* ifindex */
	int helper_out;		  /* ifindex: samples are cloned into it */
	int helper_in;		  /* ifindex of its peer, where they come out */
};

struct witness_prog {
	struct witness_skel *skel;	  /* owned */
	struct witness_control *control; /* mapped pages */
	struct witness_state *state;
	int lock_fd;	   /* pin_dir, locked */
	int tap;
	bool is_taken_over; /* pins of this tap's witness were found: it never stopped sending */
	char pin_dir[256];
};

/* Load and attach as above. New: control is zero but for the tap, nothing is sent. Taken over:
 * control is unchanged. Pins of another tap, or of another layout, are removed first. @prog is the
 * caller's storage, valid after success until witness_prog_done(). @ret_step is set on failure
 * only. 0; -ENAMETOOLONG; the codes at enum witness_prog_step; other -errno. On failure nothing new
 * stays attached or pinned; a witness found pinned goes on as it was. */
int witness_prog_open(struct witness_prog *prog, const struct witness_prog_config *config,
		      enum witness_prog_step *ret_step) __attribute__((warn_unused_result));

/* Take the filter off the tap, and remove pins and directory. Deleting the helper removes the
 * helper's filter. A missing tap or filter is fine. 0 or -errno of the first step that failed; all
 * are tried. */
int witness_prog_detach(struct witness_prog *prog) __attribute__((warn_unused_result));

/* The same for a witness that another process left. @tap 0: the tap is gone.
 * 0; -EBUSY: another process has this witness; other -errno. */
int witness_prog_remove_left(const char *pin_dir, int tap) __attribute__((warn_unused_result));

/* Free memory and descriptors; attached programs go on. NULL and zeroed objects are fine. */
void witness_prog_done(struct witness_prog *prog);

#endif
