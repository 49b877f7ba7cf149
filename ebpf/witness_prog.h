/* witness_prog.h - loads, attaches, pins and takes over the BPF programs of the witness, which
 * reports a guest's frames to the gateway.
 *
 * A witness must report even when the agent cannot. So the tc filters keep the programs alive, and
 * the programs keep the maps alive. The maps are pinned in a directory of the witness's own. The
 * next agent takes them over from there:
 *
 *      PIN_DIR/witness_control   PIN_DIR/witness_state
 *
 * witness_prog_open() loads the programs with the pinned maps, or with new maps if none are pinned.
 * Then it attaches a tc filter to each of the guest's taps. It also attaches one to the helper, a
 * device in which the datagrams are made. All filters use the same maps, so a guest with two cards
 * has one witness. witness_prog_detach() removes the taps' filters and the pins. Each tap must
 * already have a hold: the witness uses the hold's clsact qdisc, and reads the hold's map
 * hold_sent.
 *
 * Where: hostagent/net/witness_mirror.c calls this file, which calls only libbpf.
 * Threads: one thread at a time may use an object. Control and state are shared with the programs,
 * and are read and written atomically. Functions block for netlink and bpf calls, but never wait
 * for an event.
 */
#ifndef WITNESS_PROG_H
#define WITNESS_PROG_H

#include <stdbool.h>
#include <stdint.h>

#include "ebpf/witness_shared.h"

enum witness_prog_step { /* the step at which witness_prog_open() failed */
	WITNESS_PROG_PIN_DIR = 0, /* -ENOENT: pin_dir is not on a bpffs */
	WITNESS_PROG_LOCK = 1,	  /* -EBUSY: another process controls this witness */
	WITNESS_PROG_HOLD = 2,	  /* -ENOENT: a directory in hold_pin_dirs has no maps */
	WITNESS_PROG_LOAD = 3,	  /* the kernel refuses the programs */
	WITNESS_PROG_ATTACH = 4,  /* -EINVAL or -ENOENT: a tap has no clsact qdisc */
};

/* The ifindexes of the guest's taps. */
struct witness_prog_taps {
	uint32_t n;
	int ifindex[WITNESS_TAPS_MAX];
};

struct witness_prog_config {
	/* directory for this witness's pins only, on a bpffs; created if missing */
	const char *pin_dir;
	/* for each tap, the pin_dir of its hold, in any order; the holds must be open */
	const char *hold_pin_dirs[WITNESS_TAPS_MAX];
	struct witness_prog_taps taps;
	int helper_out;		  /* ifindex of the device into which samples are cloned */
	int helper_in;            /* ifindex of helper_out's peer, which receives the clones */
};

struct witness_prog {
	struct witness_skel *skel;	  /* owned */
	struct witness_control *control; /* mapped page of the map witness_control */
	struct witness_state *state;	 /* mapped page of the map witness_state */
	int lock_fd;	   /* descriptor of pin_dir; keeps it locked */
	struct witness_prog_taps taps;
	/* true if witness_prog_open() found a pinned witness of these taps; it has never stopped
	 * sending */
	bool is_taken_over;
	char pin_dir[256];
};

/* Load and attach the programs, as the top of this file describes. A new witness sends nothing,
 * because struct witness_control is zero except for the taps. A pinned witness that is taken over
 * keeps its struct witness_control. If the pins belong to other taps or have another layout, they
 * are removed first. @prog is the caller's storage; after success it is valid until
 * witness_prog_done().
 * Returns 0, -ENAMETOOLONG, an error listed at enum witness_prog_step, or another -errno. On
 * failure, sets *ret_step and removes all that this call has attached or pinned. A witness that was
 * pinned before the call continues unchanged. */
int witness_prog_open(struct witness_prog *prog, const struct witness_prog_config *config,
		      enum witness_prog_step *ret_step) __attribute__((warn_unused_result));

/* Detach the filters from the taps, and remove pins and directory. The helper's filter is removed
 * when the caller deletes the helper. A missing tap or filter is no error. If a step fails, the
 * other steps are still tried. Returns 0, or the -errno of the first step that failed. */
int witness_prog_detach(struct witness_prog *prog) __attribute__((warn_unused_result));

/* Detach and unpin the witness that an earlier process left in @pin_dir. Does what
 * witness_prog_detach() does, for the taps for which that witness was made, and also for @taps.
 * Returns 0, also if there is no such witness;
 * -EBUSY: another process controls this witness;
 * other -errno. */
int witness_prog_remove_left(const char *pin_dir, const struct witness_prog_taps *taps)
	__attribute__((warn_unused_result));

/* Free memory and descriptors; attached programs continue to run. @prog may be NULL or zeroed. */
void witness_prog_done(struct witness_prog *prog);

#endif
