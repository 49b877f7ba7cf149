/* drain.h - empties one host before its maintenance: moves the host's guests away one after
 * another, ends the copies that the host keeps, and keeps the host empty until it is taken back (by
 * an operator, or by its next boot after a guard's drain). Pure: inputs and time in, a list of
 * actions out; no I/O, no clock, no allocation.
 *
 *                 asked           on disk           no guest here        no copy here
 *	  NONE ─────────► RECORDING ───────► MOVING ───────────────► COPIES ───────────► SETTLING
 *	   ▲                                    │ ▲   a guest is back   │                   │ on disk
 *	   │      on disk                       │ └─────────────────────┤                   ▼
 *	   └───────────── LIFTING ◄─────────────┴───────────────────────┴─────────────── DONE
 *	                            given up, undrained, back after a boot
 *
 * In all phases but NONE the host is "barred": no copy is begun there and no guest is moved there
 * (vm/fsm_drain.c). But a barred host can be promoted: a copy that is still there saves the guest.
 *
 * With two hosts, a guest that leaves this host has no other host for its copy. So an operator must
 * agree to that beforehand (`unprotected_ok`). Without this agreement, no guest is moved and no
 * copy is ended as long as no third host can keep the copy. This also holds if a third host was
 * there at first and fails while the drain waits for another guest. The guard of a host that is
 * going down does not need this agreement. The drain that the guard asks for moves the guests and
 * ends the copies that it can, and tells operators which guests and copies are left.
 *
 * An operator can agree to leave guests on the host (`leaves`), but not to leave copies there: such
 * a copy may be all that is left of its guest. So a drain whose copies did not end in time is given
 * up, unless the host itself goes down.
 *
 * In DONE an operator or the guard may ask again. If a guest or a copy is on the host again, the
 * drain begins again. If the guard asks for it and the finished drain was an operator's, the new
 * drain counts as the operator's too: the host's next boot does not end it.
 *
 * Each step of the drain looks at the present state of the VMs' machines, not at earlier requests
 * to them. So a guest that fails over while its host is being drained counts as moved, and a
 * restarted gateway continues where the previous one stopped.
 *
 * Where: fleet_drain.c gives the inputs and carries the actions out. Threads: the gateway's loop.
 */
#ifndef FLEET_DRAIN_H
#define FLEET_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/fsm.h"
#include "vm/fsm_look.h"

#define DRAIN_VMS_MAX	  64
#define DRAIN_ACTIONS_MAX (2 * DRAIN_VMS_MAX + 8)
#define DRAIN_WHY_MAX	  160
#define DRAIN_BOOT_MAX	  36 /* length of a boot's id, as the kernel writes it */
#define DRAIN_LIMIT_S_MAX 86400

enum drain_phase {
	DRAIN_NONE,
	DRAIN_RECORDING, /* "the host is to be drained" is being written to the disk */
	DRAIN_MOVING,	 /* the host's guests are being moved away */
	DRAIN_COPIES,	 /* the copies that the host keeps are being ended */
	DRAIN_SETTLING,	 /* "the host is drained" is being written to the disk */
	DRAIN_DONE,	 /* the host is drained */
	DRAIN_LIFTING,	 /* "the host is no longer drained" is being written to the disk */
};

/* Returns a constant: "none", "draining", "drained" or "lifting". */
const char *drain_phase_name(enum drain_phase phase);

/* What the drain needs to know about one VM of the host; see vm_drain_look(). */
struct drain_view {
	size_t vm;	   /* the VM's index in the fleet, below DRAIN_VMS_MAX */
	const char *name;  /* borrowed */
	const char *other; /* the VM's other host; borrowed */
	bool is_other_barred;
	bool is_spare;	/* the drained host is neither owner nor standby of the VM */
	/* true if the VM's two other hosts can have the guest and its copy while this host is
	 * drained */
	bool has_third;
	enum vm_drain_place place;
	/* why the VM cannot be moved now; "": the VM can be moved; borrowed */
	const char *why;
};

/* The kinds of input. Each comment first lists the valid members of struct drain_input. All inputs
 * also have now_ns, the views and n_faults. */
enum drain_input_kind {
	DRAIN_IN_TICK,
	/* op_id, unprotected_ok, waits, leaves, limit_ns: an operator wants the host drained */
	DRAIN_IN_ASKED,
	/* limit_ns, boot: the host's guard reports that the host is going down */
	DRAIN_IN_GUARD,
	DRAIN_IN_UNDRAIN, /* op_id: an operator takes the host back */
	DRAIN_IN_BOOT,	  /* boot: the host has connected, and has said in which boot it is */
	DRAIN_IN_MOVED,	  /* vm, ok, text: how a MOVE or an END_COPY ended */
	/* ok: true if the record of DRAIN_ACT_STORE is on the disk, false if the write failed */
	DRAIN_IN_STORED,
};

struct drain_input {
	enum drain_input_kind kind;
	uint64_t now_ns;
	const struct drain_view *views; /* all VMs of the host */
	size_t n_views;
	/* number of VMs that the gateway does not look after; they may run on the host */
	size_t n_faults;
	uint64_t op_id;	     /* 0: nobody waits for an answer */
	/* the operator agrees that guests have no copy while the host is drained */
	bool unprotected_ok;
	bool waits;	     /* wait for guests that cannot be moved yet */
	bool leaves;	     /* leave the guests that cannot be moved on the host, and go on */
	uint64_t limit_ns;   /* the drain's time limit */
	const char *boot;    /* the boot's id (drain_record.h) */
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
	DRAIN_ACT_SAY,	    /* vm, text: tell all operators, and the operator who waits */
	DRAIN_ACT_REPLY,    /* op_id, ok, code, text: answer an operator */
};

struct drain_action {
	enum drain_action_kind kind;
	size_t vm; /* SAY: DRAIN_VMS_MAX if the text is about the host */
	uint64_t op_id;
	bool ok;
	const char *code; /* constant */
	char text[VM_TEXT_MAX];
};

struct drain_actions {
	size_t n;
	struct drain_action list[DRAIN_ACTIONS_MAX];
};

/* What the drain remembers about one VM. */
struct drain_vm {
	bool is_asked;	      /* a MOVE or an END_COPY was requested and has not ended */
	bool is_left;	      /* the drain goes on without this guest */
	unsigned int n_failed; /* moves that failed since the drain began */
	uint64_t retry_ns;    /* make no new attempt before this time */
	char why[DRAIN_WHY_MAX]; /* why the last attempt failed; "": no attempt has failed */
};

struct drain {
	const char *host; /* borrowed */
	enum drain_phase phase;
	/* the host was drained already when this drain was asked for, and the file says so */
	bool was_done;
	bool by_guard; /* the host's guard asked for the drain, so the host's next boot ends it */
	/* is_urgent: leave on the host what cannot be moved or ended in time, because the host is
	 * going down or because `leaves` is true. leaves: an operator has agreed to leave guests on
	 * the host */
	bool is_urgent, leaves;
	/* the host is going down: at the time limit the drain ends, whatever is left on the host */
	bool goes_down;
	bool waits; /* as in struct drain_input; also true for a guard's drain */
	/* true if an operator's agreement (unprotected_ok) is needed, but missing */
	bool keeps_copies;
	uint64_t began_ns, limit_ns;
	uint64_t op_id; /* request that waits for the drain to end; 0: none */
	uint64_t lift_op_id; /* in LIFTING: the `undrain` that waits for an answer; 0: none */
	char boot[DRAIN_BOOT_MAX + 1]; /* if by_guard: the boot in which the host asked */
	struct drain_vm vms[DRAIN_VMS_MAX];
};

/* Handle one input. Give DRAIN_IN_TICK some times a second. Stores the resulting actions in
 * @ret_actions; carry them out in order. */
void drain_step(struct drain *drain, const struct drain_input *in,
		struct drain_actions *ret_actions);

/* Continue a drain that the gateway's previous process recorded. @is_done: true if the recorded
 * drain was finished. */
void drain_resume(struct drain *drain, bool is_done, uint64_t now_ns);

/* Returns true if the host must get neither guests nor copies. */
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
