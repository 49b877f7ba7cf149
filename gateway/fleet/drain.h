/* drain.h - empties one host before its maintenance: moves its guests away one after the other,
 * ends the copies that it keeps, and keeps it empty until it is taken back. Pure: inputs and time
 * in, a list of actions out; no I/O, no clock, no allocation.
 *
 *                 asked           on disk           no guest here        no copy here
 *	  NONE ─────────► RECORDING ───────► MOVING ───────────────► COPIES ───────────► SETTLING
 *	   ▲                                    │ ▲   a guest is back   │                   │ on disk
 *	   │      on disk                       │ └─────────────────────┤                   ▼
 *	   └───────────── LIFTING ◄─────────────┴───────────────────────┴─────────────── DONE
 *	                            given up, undrained, back after a boot
 *
 * In all phases but NONE the host is "barred": no copy is begun there and no guest is moved there
 * (vm/fsm_drain.c). A promotion is never refused for it: a copy that is still there saves the
 * guest.
 *
 * With two hosts, a guest that leaves this host has no other host for its copy. So an operator must
 * agree to that beforehand (`unprotected_ok`). The guard of a host that is going down does not ask:
 * it drains what it can, and what it cannot is named.
 *
 * The drain is carried on by what the VMs' machines say, not by what was asked of them. So a guest
 * that fails over while its host is being drained is away as well, and a gateway that was restarted
 * goes on where the last one was.
 *
 * Where: fleet_drain.c gives the inputs and carries the actions out. Threads: the gateway's loop.
 */
#ifndef FLEET_DRAIN_H
#define FLEET_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/fsm.h"

#define DRAIN_VMS_MAX	  64
#define DRAIN_ACTIONS_MAX (2 * DRAIN_VMS_MAX + 8)
#define DRAIN_WHY_MAX	  160
#define DRAIN_BOOT_MAX	  36 /* length of a boot's id, as the kernel writes it */
#define DRAIN_LIMIT_S_MAX 86400

enum drain_phase {
	DRAIN_NONE,
	DRAIN_RECORDING, /* that it is to be drained is being written to the disk */
	DRAIN_MOVING,	 /* its guests are being moved away */
	DRAIN_COPIES,	 /* the copies that it keeps are being ended */
	DRAIN_SETTLING,	 /* that it is drained is being written to the disk */
	DRAIN_DONE,	 /* it is drained */
	DRAIN_LIFTING,	 /* that it is drained no longer is being written to the disk */
};

/* Returns a constant: "none", "draining", "drained" or "lifting". */
const char *drain_phase_name(enum drain_phase phase);

/* Where a VM of the host stands; see vm_drain_look(). */
struct drain_view {
	size_t vm;	   /* the VM's index in the fleet, below DRAIN_VMS_MAX */
	const char *name;  /* borrowed */
	const char *other; /* the VM's other host; borrowed */
	bool is_other_barred;
	bool has_third; /* there is a third host that can keep the copy meanwhile */
	enum vm_drain_place place;
	const char *why; /* what is in the way, as words about the VM; "" if nothing is; borrowed */
};

/* The kinds of input. Each comment first lists the valid members of struct drain_input. All have
 * now_ns and the views. */
enum drain_input_kind {
	DRAIN_IN_TICK,
	/* op_id, unprotected_ok, waits, leaves, limit_ns: an operator wants it drained */
	DRAIN_IN_ASKED,
	/* limit_ns, boot: the host itself is told to go down */
	DRAIN_IN_GUARD,
	DRAIN_IN_UNDRAIN, /* op_id: an operator wants it back */
	DRAIN_IN_BOOT,	  /* boot: the host has connected, and says in which boot it is */
	DRAIN_IN_MOVED,	  /* vm, ok, text: how a MOVE or an END_COPY ended */
	DRAIN_IN_STORED,  /* ok: what STORE asked for is on the disk, or cannot be written */
};

struct drain_input {
	enum drain_input_kind kind;
	uint64_t now_ns;
	const struct drain_view *views; /* all VMs of the host */
	size_t n_views;
	uint64_t op_id;	     /* 0: nobody waits for an answer */
	bool unprotected_ok; /* the operator agrees that guests have no copy meanwhile */
	bool waits;	     /* wait for guests that cannot be moved yet */
	bool leaves;	     /* go on without guests that cannot be moved */
	uint64_t limit_ns;
	const char *boot;
	size_t vm;
	bool ok;
	const char *text;
};

enum drain_action_kind {
	/* vm: move the guest to its other host, or end the copy on this host; DRAIN_IN_MOVED says
	 * how it ended */
	DRAIN_ACT_MOVE,
	DRAIN_ACT_END_COPY,
	DRAIN_ACT_STORE,    /* no members: record the drain; DRAIN_IN_STORED says how it ended */
	DRAIN_ACT_SAY,	    /* vm, text: tell operators, and the one who waits */
	DRAIN_ACT_REPLY,    /* op_id, ok, code, text: answer an operator */
};

struct drain_action {
	enum drain_action_kind kind;
	size_t vm; /* SAY: DRAIN_VMS_MAX if it is about the host */
	uint64_t op_id;
	bool ok;
	const char *code; /* constant */
	char text[VM_TEXT_MAX];
};

struct drain_actions {
	size_t n;
	struct drain_action list[DRAIN_ACTIONS_MAX];
};

/* What the drain remembers of one VM. */
struct drain_vm {
	bool is_asked;	      /* a MOVE or an END_COPY was given and has not ended */
	bool is_left;	      /* the drain goes on without this guest */
	unsigned int n_failed; /* moves that failed since the drain began */
	uint64_t retry_ns;    /* no new attempt before this */
	char why[DRAIN_WHY_MAX]; /* why the last attempt failed; "": none has */
};

struct drain {
	const char *host; /* borrowed */
	enum drain_phase phase;
	bool by_guard; /* the host itself asked for it, so its next boot ends it */
	/* drain what can be drained, leave the rest, do not wait in vain: the host goes down, or
	 * an operator wants it so (leaves) */
	bool is_urgent, leaves;
	bool waits;
	uint64_t began_ns, limit_ns;
	uint64_t op_id; /* who waits for the end; 0: nobody */
	uint64_t lift_op_id; /* in LIFTING: the same for undrain */
	char boot[DRAIN_BOOT_MAX + 1]; /* if by_guard: the boot in which the host asked */
	unsigned int n_left;	      /* guests that still run there although it is drained */
	struct drain_vm vms[DRAIN_VMS_MAX];
};

/* Handle one input. Give DRAIN_IN_TICK some times a second. Stores the resulting actions in
 * @ret_actions; carry them out in order. */
void drain_step(struct drain *drain, const struct drain_input *in,
		struct drain_actions *ret_actions);

/* Go on with a drain that the last gateway recorded. @is_done: it was drained. */
void drain_resume(struct drain *drain, bool is_done, uint64_t now_ns);

/* May the host get neither guests nor copies? */
static inline bool drain_is_barred(const struct drain *drain)
{
	return drain->phase != DRAIN_NONE;
}

/* Does the drain wait for the disk? */
static inline bool drain_is_storing(const struct drain *drain)
{
	return drain->phase == DRAIN_RECORDING || drain->phase == DRAIN_SETTLING ||
	       drain->phase == DRAIN_LIFTING;
}

#endif
