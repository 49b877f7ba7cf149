/* witness_prog.h - load, attach, pin and take over the witness's BPF programs.
 *
 * Why: a witness must report also when the agent cannot. The tc filters keep the programs alive,
 * and the programs keep the maps alive. The maps are pinned in a separate directory, so that the
 * next agent can take them over:
 *
 *	PIN_DIR/witness_control   PIN_DIR/witness_state
 *
 * witness_prog_open() stores the helper's ifindex in the programs' constants, loads the programs
 * with the maps that it finds pinned or with new ones, and attaches a filter to the helper and then
 * one to the tap. witness_prog_detach() removes the tap's filter and the pins. The witness needs
 * the VM's hold: it uses the hold's clsact qdisc on the tap, and reads the hold's pinned map
 * hold_sent.
 *
 * Where: hostagent/net/witness_mirror.c calls it; it calls only libbpf.
 * Threads: one owner per object; control and state are shared with the programs, and are read and
 * written atomically. Functions block for netlink and bpf calls, but never wait for an event.
 */
#ifndef WITNESS_PROG_H
#define WITNESS_PROG_H

#include <stdbool.h>

#include "ebpf/witness_shared.h"

enum witness_prog_step { /* the step at which witness_prog_open() failed */
	WITNESS_PROG_PIN_DIR = 0, /* -ENOENT: not on a bpffs */
	WITNESS_PROG_LOCK = 1,	  /* -EBUSY: another process has this witness */
	WITNESS_PROG_HOLD = 2,	  /* -ENOENT: there are no maps of a hold in hold_pin_dir */
	WITNESS_PROG_LOAD = 3,	  /* the kernel refuses the programs */
	WITNESS_PROG_ATTACH = 4,  /* -EINVAL or -ENOENT: the tap has no clsact qdisc */
};

struct witness_prog_config {
	const char *pin_dir;      /* on a bpffs, used only for this witness; created if missing */
	const char *hold_pin_dir; /* the pin_dir of the same VM's hold, which must be open */
	int tap;		  /* ifindex of the tap */
	int helper_out;		  /* ifindex of the device into which samples are cloned */
	int helper_in;		  /* ifindex of its peer, which receives the clones */
};

struct witness_prog {
	struct witness_skel *skel;	  /* owned */
	struct witness_control *control; /* mapped page of the map witness_control */
	struct witness_state *state;	 /* mapped page of the map witness_state */
	int lock_fd;	   /* descriptor of pin_dir, which holds the lock */
	int tap;
	/* pins of a witness of this tap were found: that witness has continued to send */
	bool is_taken_over;
	char pin_dir[256];
};

/* Load and attach as described above. In a new witness, control is zero except for the tap, and
 * nothing is sent. In a witness that is taken over, control is unchanged. Pins of another tap or
 * with another layout are removed first. @prog is the caller's storage, valid after success until
 * witness_prog_done(). *ret_step is set on failure only.
 * 0; -ENAMETOOLONG; the codes at enum witness_prog_step; other -errno. On failure nothing new stays
 * attached or pinned; a witness that was pinned before continues as it was. */
int witness_prog_open(struct witness_prog *prog, const struct witness_prog_config *config,
		      enum witness_prog_step *ret_step) __attribute__((warn_unused_result));

/* Detach the filter from the tap, and remove pins and directory. The helper's filter is removed
 * when the caller deletes the helper. A missing tap or filter is no error. 0; -errno of the first
 * step that failed; all steps are tried. */
int witness_prog_detach(struct witness_prog *prog) __attribute__((warn_unused_result));

/* Do what witness_prog_detach() does, for a witness that an earlier process left. @tap: ifindex, or
 * 0 if the tap is gone. 0; -EBUSY: another process has this witness; other -errno. */
int witness_prog_remove_left(const char *pin_dir, int tap) __attribute__((warn_unused_result));

/* Free memory and descriptors; attached programs continue to run. @prog may be NULL or zeroed. */
void witness_prog_done(struct witness_prog *prog);

#endif
