/* fsm.h - decides which host may run a VM's guest, and in which term: the state machine of one VM.
 * Pure: inputs and time in, a list of actions out; no I/O, no clock, no allocation.
 *
 * Because of the rules in this directory, a VM never has two owners, and a reply that was released
 * is never lost. Because the state machine is pure, tests can check the rules on a virtual clock
 * with scripted peers.
 *
 * Where: session/ turns frames into inputs, control/ turns operators' requests into inputs. fleet/
 * carries the actions out in order. If a step's journal record cannot be made durable, fleet/
 * undoes the step and drops its remaining actions. This directory calls liveness/ (pure) and uses
 * constants of wire/.
 *
 *	                 protect                both streams          first held epoch acked
 *	 UNPROTECTED ──────────────► PREPARING ─────────────► SYNCING ────────────────────► PROTECTED
 *	    ▲  ▲  ▲                      │                     │   ▲                          │  │
 *	    │  │  └──────────────────────┴─────────────────────┘   └──────────────────────────┘  │
 *          │  │        unprotect, failed, timed out                  standby lost what it acked  │
 *	    │  └──────────────────────────────────────────────────────────────────────────────── │
 *          │  unprotect, standby gone for good, guest shut itself down, guest changed             │
 *          │                                                                                     │
 *          │            standby runs it                            failover, primary gone        │
 *          └──────────────────────────────── PROMOTING ◄─────────────────────────────────────────┘
 *	    ▲   unprotect (back to the            │  ▲
 *	    │   previous owner)                   ▼  │ failover (try again, new term)
 *	    └────────────────────────────────── FAILED        promotion refused or failed
 *
 * An epoch is "held" if all output after its seal is held. "Acked" means that the standby has
 * acknowledged the epoch.
 *
 * Rules (tests/unit/fsm_lab.h checks them after every step of all test_fsm*.c):
 *  1. A new term (larger than any term seen) begins whenever the owner changes, or protection
 *     begins or ends.
 *  2. A change of term, owner or state is journaled before any action that follows from it.
 *  3. COMMIT(n) is given only in the current term, and only for an epoch that the standby has
 *     completely. While the VM is SYNCING, only epochs that are not held are committed. When the
 *     first held epoch is committed, the VM becomes PROTECTED.
 *  4. A promotion begins only in PROTECTED, or again in FAILED, or, if an operator accepts the loss,
 *     in UNPROTECTED and SYNCING (fsm_left.c, fsm_cold.c), or in a conflict if no other host can
 *     run a second guest (fsm_conflict.c). PROMOTE is ordered only after every lease of the old
 *     owner has expired, because after that the old owner can release nothing (docs/model). If the
 *     owner is silent and there is a fence command, PROMOTE also waits for that command. If the
 *     command fails and is required to succeed, PROMOTE is not ordered. In a move, the old owner
 *     gives up its lease when it lets go of the guest (fsm_move.c).
 *  5. A host may report a term newer than the journal's. The gateway follows that report only if
 *     two of three voices agree on the owner. The voices are those of the two hosts and of the
 *     gateway; the gateway's voice is for the owner in the journal. Otherwise there is a conflict:
 *     no term begins and nothing is ordered until two voices agree, the host no longer reports the
 *     newer term (fsm_newer.c), or an operator names the owner, or chooses a standby's copy
 *     (fsm_conflict.c). There is also a conflict while a host obeys a "younger" gateway (one with a
 *     larger incarnation), because the younger gateway may begin terms.
 *  6. Orders follow from the state: a host gets the orders that the state requires as soon as it is
 *     connected and has reported. So lost orders, and restarts of agents or of the gateway, need no
 *     special care.
 *  7. Two hosts have a seat: the owner and the standby. A third host, the spare, has no seat. The
 *     spare gets no orders except FENCE and STANDBY_STOP, no lease and no stream, and it is never
 *     promoted. The spare can take the standby's seat only in UNPROTECTED, together with the new
 *     term of the next protection and in the same record (fsm_spare.c). The owner keeps its seat.
 *  8. STANDBY_STOP is ordered only after the owner has released the guest, or if nobody needs the
 *     copy. Until then the copy may be all that is left of the guest (fsm_left.c).
 *
 * Threads: the gateway's loop only.
 */
#ifndef VM_FSM_H
#define VM_FSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "liveness/detector.h"
#include "liveness/liveness.h"
#include "wire/limits.h"
#include "wire/msg.h"

#define VM_TEXT_MAX    512 /* size of an event's or reply's text, including the NUL */
#define VM_ACTIONS_MAX 16  /* maximum number of actions of one step */
/* maximum number of requests that wait for the result of the same order */
#define VM_ASKED_WAITERS_MAX 3

enum vm_state {
	VM_UNPROTECTED = 0,
	VM_PREPARING   = 1, /* the standby is getting ready */
	/* the first epoch, or a later FULL epoch, is on its way to the standby */
	VM_SYNCING     = 2,
	VM_PROTECTED   = 3, /* the standby holds every committed epoch */
	VM_PROMOTING   = 4, /* the new owner was ordered to run the guest
			     * and has not confirmed that the guest runs */
	/* the new owner refused or did not answer, or the fence command failed; the operator
	 * decides */
	VM_FAILED      = 5,
	VM_N_STATES    = 6,
};

const char *vm_state_name(enum vm_state state); /* returns a constant such as "UNPROTECTED" */

/* Convert a name such as "UNPROTECTED" to its state. Returns 0 or -EINVAL. */
int vm_state_parse(const char *name, enum vm_state *ret_state) __attribute__((warn_unused_result));

/* What the journal records about a VM. */
struct vm_record {
	uint64_t term; /* the VM's last term; 0: it was never protected */
	/* index of the owner, the host that may run the guest */
	uint8_t owner;
	enum vm_state state;
	/* true if the gateway is to protect the VM again by itself whenever the VM is UNPROTECTED.
	 * Set by `protect` if the VM's policy is reprotect_auto; false after `unprotect` and
	 * `owner`, or when the guest has ended */
	bool is_wanted;
	/* true if a newer record may have been lost. The VM is then in conflict. The conflict ends
	 * when both hosts confirm this record, or when two voices (rule 5) agree on the owner, or
	 * when an operator names the owner */
	bool in_doubt;
	/* VM_HOST_THIRD minus the index of the host without a seat (rule 7). So 0 means that the
	 * host `spare` of the VM's file has no seat, or that the file names no spare. See
	 * vm_record_spare() */
	uint8_t seatless;
};

/* State of the fence command during a promotion. */
enum vm_fencing {
	VM_FENCING_NONE,    /* no command is needed, or it has finished */
	/* the gateway restarted, and the command may have run before that. If the old owner
	 * reports, this becomes NONE. If the old owner stays silent until mute_ns, this becomes
	 * DUE */
	VM_FENCING_UNSURE,
	VM_FENCING_DUE,	    /* the command must run before PROMOTE is ordered */
	VM_FENCING_RUNNING,
};

/* The indices of a VM's hosts. They follow from the VM's file, so a host keeps its index when the
 * roles change. Two hosts have a seat: the owner and the standby. If there is a third host, it has
 * no seat: it is the present spare. */
enum vm_host_index {
	VM_HOST_FIRST  = 0, /* `primary` in the VM's file */
	VM_HOST_SECOND = 1, /* `standby` in the VM's file */
	/* `spare` in the VM's file; if the file names no spare, the host's name is "" */
	VM_HOST_THIRD  = 2,
};

#define VM_HOSTS 3 /* the length of an array indexed by enum vm_host_index */

/* The indices of a VM's two streams: the present primary's stream and the present standby's
 * stream. */
enum vm_stream_index {
	VM_STREAM_PRIMARY = 0,
	VM_STREAM_STANDBY = 1,
};

#define VM_STREAMS 2 /* the length of an array indexed by enum vm_stream_index */

/* Configuration of one VM. It changes only when the VM's file is read again (reloading.h). Arrays
 * of hosts are indexed by enum vm_host_index. */
struct vm_config {
	char name[WIRE_NAME_MAX + 1];
	char host[VM_HOSTS][WIRE_NAME_MAX + 1];
	struct detector_config detector; /* limits for judging the primary */
	struct liveness_config liveness; /* limits for judging the standby's
					  * host, and for the shadow */
	/* The shadow is a detector that knows only beats. After a silence of this length the shadow
	 * reports that it would promote; 0: no shadow */
	uint64_t shadow_timeout_ns;
	uint64_t release_ns;	     /* how long after a LEASE the owner may
				      * release output; 0: give no leases */
	/* a standby that blocks commits for this long counts as lost, and the policy standby_lost
	 * applies */
	uint64_t standby_timeout_ns;
	/* how long the owner may hold output for a copy of the disks; then the policy standby_lost
	 * applies. See fsm_copy.c */
	uint64_t held_copy_max_ns;
	/* how long a promoted guest may take to answer before an alarm is given */
	uint64_t answer_within_ns;
	/* time limit for the owner to let go of the guest in a move; after that, the move is given
	 * up */
	uint64_t move_timeout_ns;
	uint64_t order_timeout_ns;   /* how long an order can go without progress before it fails */
	/* how long the host that is to keep the copy must have been unable to do so, before the
	 * spare takes its seat */
	uint64_t spare_after_ns;
	/* true: run the fence command before a promotion whose reason is the owner's silence */
	bool has_fence_command;
	/* true: if the fence command fails, do not promote; the operator decides */
	bool fence_required;
	/* The policy standby_lost. true: hold output until the standby is back. false: continue
	 * unprotected in a new term */
	bool standby_lost_hold;
	/* The policy reprotect. true: the gateway itself protects the guest again after a failover,
	 * or after a fault has ended the protection. false: an operator must ask */
	bool reprotect_auto;
	/* The policy cold_start. true: when the guest runs nowhere after a power failure, the
	 * gateway itself starts it from the newest disks. false: an operator must ask */
	bool cold_start_newest;
};

enum vm_command {
	VM_COMMAND_NONE,
	VM_COMMAND_PROTECT,
	VM_COMMAND_UNPROTECT,
	/* promotes the standby; in a conflict only with may_lose, and perhaps is_off_named */
	VM_COMMAND_FAILOVER,
	VM_COMMAND_VERIFY, /* compares the standby's copy with the guest */
	VM_COMMAND_DRILL,  /* starts the standby's copy, isolated, and checks whether it runs */
	/* ends a conflict: `host` owns the guest; may_lose: whatever the other hosts have */
	VM_COMMAND_OWNER,
	VM_COMMAND_MOVE,  /* moves the guest to `host`, the standby, without losing anything */
	/* starts the guest, which runs nowhere, from disks: `is_host_named`, `may_lose`,
	 * `may_be_torn` */
	VM_COMMAND_START,
	/* given only by the gateway itself: ends the copy on `host`, which is being drained. The
	 * host gets no copy again before it is taken back (fsm_drain.c) */
	VM_COMMAND_END_COPY,
};

/* The kinds of input. Each comment first lists the valid members of struct vm_input, and then says
 * what has happened. */
enum vm_input_kind {
	/* relayed_bytes, standby_owes, evidence and the members marked TICK: time has passed; give
	 * this input at vm_fsm_deadline_ns() */
	VM_IN_TICK,
	/* host, takes_moves: the host's HELLO was accepted on a control connection */
	VM_IN_CONTROL_UP,
	VM_IN_CONTROL_DOWN, /* host: the host's control connection ended */
	VM_IN_SEEN,	    /* host: a BEAT or another authentic frame came */
	VM_IN_REPORT,       /* host, and the members of struct vm_input that come from a REPORT */
	/* host, order_id, status, text, and after a MOVE also epoch: how the order ended */
	VM_IN_ORDER_DONE,
	/* host, role, term, epoch: a stream opened. For a standby, `epoch` is the last whole epoch
	 * that it has */
	VM_IN_STREAM_UP,
	VM_IN_STREAM_DOWN,  /* host, role: the stream ended */
	VM_IN_STREAM_REFUSED, /* host, text: the standby can never take over this
			       * guest, because of how the guest was started */
	/* host, role, text: the host's stream is about to end; `text` says why */
	VM_IN_STREAM_FAILED,
	/* host, term, epoch, is_unheld: the standby acknowledged an epoch. relay.h has checked that
	 * the epoch was sent to the standby */
	VM_IN_EPOCH_ACK,
	/* command, op_id, no_wait; for VM_COMMAND_OWNER, _MOVE and _END_COPY also host; for
	 * VM_COMMAND_PROTECT also host if is_host_named: a request of an operator, or of the
	 * gateway itself for a drain */
	VM_IN_COMMAND,
	/* host: the host has obeyed a younger gateway, and accepts nothing from this gateway */
	VM_IN_OBEYS_ANOTHER,
	VM_IN_FENCED,	    /* host, term, status, text: how the fence command ended */
	VM_IN_POLICY, /* reprotect_auto of the configuration may have changed */
	VM_IN_N,
};

/* What a host reports about itself while it has neither the guest nor a copy of the guest's memory.
 * It reads its role and term from its disk. See fsm_cold.c. */
enum vm_cold_role {
	VM_COLD_NOT = 0, /* the host has the guest or a copy of its memory, or does not say */
	VM_COLD_NONE,	 /* the host's disk records no role */
	VM_COLD_FENCED,
	VM_COLD_STANDBY,
	VM_COLD_PRIMARY, /* in its term the host owned the guest, which was protected */
	/* in its term the host owned the guest, or may have, and the guest was unprotected */
	VM_COLD_RUNNING,
};

enum vm_cold_disk {
	VM_COLD_DISK_NONE,
	/* the guest itself wrote to these disks on this host, in the host's term */
	VM_COLD_DISK_OWN,
	/* like VM_COLD_DISK_OWN, but the guest's flushes were ignored, so the disks may be torn */
	VM_COLD_DISK_UNSOUND,
	VM_COLD_DISK_COPY,    /* the standby's copy of the disks, complete, at `epoch` of `term` */
	/* a copy onto the standby's disks was begun and not finished, so some blocks are older than
	 * others. A host can report this with the role VM_COLD_NOT */
	VM_COLD_DISK_TORN,
};

struct vm_cold_word {
	enum vm_cold_role role;
	enum vm_cold_disk disk;
	uint64_t ran; /* the term of the role on the host's disk */
	uint64_t term, epoch; /* valid for VM_COLD_DISK_COPY */
	bool has_qemu;	      /* the host keeps a stopped QEMU of the guest */
};

/* What the host of a promoted guest reports about the guest since the promotion. */
struct vm_guest_report {
	bool is_valid;
	bool was_running;  /* QEMU said after `cont` that the guest runs */
	bool knows_frames; /* true if `frames` is valid, because the host knows the guest's tap */
	uint64_t term;	   /* term of the promotion */
	uint64_t vcpu_us;  /* CPU time of the guest's busiest vCPU */
	uint64_t frames;   /* frames sent by the guest, without QEMU's own announcements */
};

struct vm_input {
	enum vm_input_kind kind;
	uint64_t now_ns;
	uint8_t host;	     /* enum vm_host_index */
	uint8_t role;	     /* enum wire_vm_role */
	uint8_t agent_state; /* enum wire_state */
	uint8_t verdict;     /* enum wire_verdict */
	uint8_t status;	     /* enum wire_order_status */
	/* true: answer the command as soon as it is accepted; false: when it is done */
	bool no_wait;
	enum vm_command command;
	uint64_t term, epoch, order_id, op_id;
	/* bytes relayed in this VM's streams since the gateway's start, a sign of the copy's
	 * progress */
	uint64_t relayed_bytes;
	/* true if the standby accepts no more data, or has not acknowledged a complete epoch */
	bool standby_owes;
	/* evidence from outside of the state machine (the beats, for example, are inside); NULL:
	 * none */
	const struct detector_evidence *evidence;
	bool asks_guest;	/* TICK: true if the gateway can send probes to the guest */
	/* TICK: the guest's last answer to a probe, as a constant string such as "it answered ARP";
	 * NULL: none */
	const char *guest_answers;
	bool takes_moves; /* CONTROL_UP: true if the host's agent knows the order MOVE */
	struct vm_cold_word cold; /* REPORT */
	/* VM_COMMAND_START, _PROTECT: true if the operator named `host`; _START: true if the
	 * operator accepts that writes may be lost */
	bool is_host_named, may_lose;
	bool may_be_torn; /* VM_COMMAND_START: also disks that are an unfinished copy */
	/* VM_COMMAND_START, VM_COMMAND_FAILOVER: true if the operator says that the host `off` is
	 * switched off */
	bool is_off_named;
	uint8_t off; /* valid if is_off_named */
	/* REPORT: how long ago the host stopped the guest for a move; 0: the guest is not stopped
	 * for a move */
	uint64_t move_stopped_us;
	struct vm_guest_report guest; /* in a REPORT: what the host says about a promoted guest */
	const char *text;	/* the peer's explanation; may be NULL; borrowed */
	uint8_t throttle_percent;  /* by how much the agent slows the guest down */
	/* the agent's reason for slowing the guest down; may be NULL; borrowed */
	const char *throttle_why;
	/* true if the standby's copy no longer fits the owner's guest, which has changed; `text`
	 * says how */
	bool is_uncovered;
	/* EPOCH_ACK: true if the owner released the output that the guest sent after this epoch,
	 * without waiting for a commit. Clients can have seen this output, but a guest that
	 * continues from this epoch does not know of it */
	bool is_unheld;
	/* true if the owner's guest had changed, but is now again as it was when its protection
	 * began */
	bool is_covered_again;
	/* true if the owner's agent was restarted, and the guest that it protected still runs.
	 * Older agents do not say */
	bool is_guest_found;
	/* true if the protection of the owner's guest is suspended, and the owner's agent still
	 * checks whether the guest is again as it was while protected. Valid if knows_suspended:
	 * older agents do not say */
	bool is_suspended, knows_suspended;
	/* a word for the obstacle between clients and the guest on this host, explained in `text`;
	 * NULL: none */
	const char *way;
	/* how often this host has had to rebuild the path through which held frames leave */
	uint64_t n_mended;
	/* percentage of time that the guest's clock loses to pauses, if this is too much; 0: this
	 * is not too much */
	uint8_t clock_alarm_percent;
	/* why the agent does not correct the guest's clock; may be NULL; borrowed */
	const char *clock_why;
	/* the host's last step of progress with its order, such as "reserved 1.0 of 5.0 GiB";
	 * borrowed, can be NULL */
	const char *step;
	uint64_t n_moves;   /* how many steps of progress the host has counted so far */
	/* The owner holds output while it copies the guest's disks again: copied_bytes of
	 * copy_bytes are done. copy_bytes is 0 if there is no such copy. A host may send any
	 * numbers */
	uint64_t copied_bytes, copy_bytes;
};

/* The kinds of action. Each comment gives the members of struct vm_action that are valid for the
 * kind, and then what the caller must do. */
enum vm_action_kind {
	VM_ACT_JOURNAL, /* record: make it durable before any later action is carried out */
	VM_ACT_ORDER,	/* host, verb, term, epoch, order_id: send ORDER to the host */
	VM_ACT_RESUME,	/* term, epoch, generation: send RESUME on the primary's stream */
	VM_ACT_COMMIT,	/* term, epoch: send COMMIT on the primary's stream */
	VM_ACT_EVENT,	/* event, from, to, text: give operators an event */
	VM_ACT_REPLY,	/* op_id, ok, code, text: answer the operator's request */
	VM_ACT_CLOSE,	/* no members: close both streams, because their term has ended */
	VM_ACT_FENCE,   /* host, term: run the fence command; VM_IN_FENCED reports how it ended */
};

struct vm_action {
	enum vm_action_kind kind;
	uint8_t host;
	uint8_t verb;
	bool ok;
	uint32_t generation;
	struct vm_record record;
	uint64_t term, epoch, order_id, op_id;
	const char *event; /* constant: "state", "order", "stream", "supervision", ... */
	const char *from, *to; /* constant state names, or "" */
	const char *code;      /* constant: "done", "busy", ... */
	char text[VM_TEXT_MAX];
};

struct vm_actions {
	size_t n;
	bool overflow; /* true if the step made more actions than fit: a bug, which fleet/ logs */
	struct vm_action list[VM_ACTIONS_MAX];
};

/* How far a host has come with its orders, according to its own reports. See fsm_work.c. */
struct vm_work {
	bool is_known;	   /* true once the host has reported on this connection */
	uint64_t n_moves;  /* the host's count of steps of progress, as last reported */
	uint64_t moved_ns; /* when n_moves last grew */
	char step[128];	   /* the host's last step, such as "copied
			    * 3.1 of 5.0 GiB of guest RAM"; or "" */
};

/* The last order to a host. */
struct vm_order {
	uint64_t id; /* the order's number; 0: no order was sent on this connection */
	uint64_t term;
	uint64_t sent_ns;
	uint8_t verb;
	bool done; /* true once the host has answered, or the gateway has stopped waiting */
	bool ok;   /* true if the order succeeded; valid once `done` is true */
};

struct vm_host {
	struct liveness live;
	struct vm_order order;
	bool up;       /* true while the host's control connection is up */
	uint64_t up_ns; /* when the connection last went up; 0: never */
	/* when the host was last fit to keep a copy, according to its report on a connection that
	 * had lasted for some time; or when this gateway started */
	uint64_t fit_ns;
	/* for a host without a seat: the newer term that an event has reported */
	uint64_t told_term;
	/* text of the last event about an order that the host failed to carry out, and gets again;
	 * "": there was no such event on this connection, or the host has carried out an order
	 * since */
	char told_failure[VM_TEXT_MAX];
	/* true if a REPORT has come on this connection: agent_state and the other reported members
	 * are then up to date */
	bool reported;
	/* true once a report has shown that the last order took effect */
	bool effective;
	/* true if the host obeys a younger gateway, or has reported a newer term that no second
	 * voice confirms */
	bool conflict;
	bool takes_moves;     /* true if the agent on this connection knows the order MOVE */
	/* true if the host keeps the guest stopped for a move, as last reported */
	bool is_move_stopped;
	/* as last reported; its role is VM_COLD_NOT until `reported` is true */
	struct vm_cold_word cold;
	/* this host's disks are an unfinished copy, and an event has reported it */
	bool is_torn_told;
	uint8_t agent_state;
	uint8_t verdict;
	/* as last reported: the host has a whole copy of the guest's memory */
	bool has_copy;
	bool is_guest_found; /* as last reported */
	uint8_t throttle_percent; /* by how much the agent slows the guest down, as last reported */
	uint8_t throttle_peak;	   /* largest throttle_percent since throttled_at_ns */
	uint64_t throttled_at_ns;  /* when throttle_percent last rose above 0 */
	/* a word for the obstacle between clients and the guest on this host; "": none. See
	 * fsm_way.c */
	char way[24];
	char way_text[VM_TEXT_MAX]; /* human-readable text for `way` */
	uint64_t way_lost_ns;	   /* when `way` last changed between "" and anything else */
	uint64_t n_mended;	   /* the host's n_mended (struct vm_input), as last reported */
	struct vm_work work;
	/* true if the host last reported that the guest's clock loses too much time to pauses */
	bool is_clock_alarm;
	uint64_t term, epoch;
};

struct vm_stream {
	bool up;
	uint64_t changed_ns; /* when the stream last went up or down */
};

/* How long commits have waited for the standby, and what the standby did meanwhile. Valid in
 * SYNCING and PROTECTED. See fsm_standby.c. */
struct vm_standby {
	/* when the clock of standby_lost (fsm_standby.c) was last at zero. After a commit, this
	 * time is in the future, because the standby needs time to apply the epoch */
	uint64_t since_ns;
	uint64_t ticked_ns;  /* when the clock of standby_lost was last advanced */
	uint64_t base_bytes; /* relayed_bytes when the present attempt (since a RESUME) began */
	uint64_t sent_bytes; /* bytes relayed in the present attempt */
	uint64_t best_bytes; /* bytes relayed in the best attempt since the last commit */
	unsigned int n_resumes; /* RESUMEs since the last commit; each begins an attempt */
	/* how often the standby has ended its stream since the last commit */
	unsigned int n_breaks;
	bool is_waited_for;	/* true if something waited for the standby at the last tick */
	/* true if a new attempt has begun, but base_bytes still belongs to the last attempt */
	bool is_new_stream;
	bool is_told;		/* true once the event "standby_lost = hold" was given */
	/* why the standby ended its stream, as the standby itself says; "": it gave no reason */
	char why[VM_TEXT_MAX / 2];
};

/* A copy of the disks for which the owner holds output. Valid in SYNCING and PROTECTED. See
 * fsm_copy.c. */
struct vm_copy {
	bool is_held;	       /* true if the owner's last report mentions such a copy */
	/* when such a copy was first reported since the last commit; 0: never */
	uint64_t began_ns;
	/* how much is to be copied, and how much of it is done, as last reported */
	uint64_t bytes, done_bytes;
	/* the smallest number of bytes left to copy since the present attempt began */
	uint64_t least_bytes;
	uint64_t attempt_ns;   /* when the present attempt was first reported */
	uint64_t first_bytes;  /* value of done_bytes at attempt_ns */
	unsigned int n_attempts; /* how often the copy has begun since the last commit */
	uint64_t n_steps;      /* steps that count as progress; only grows */
	bool is_told;	       /* true once the event "standby_lost = hold" was given */
};

/* Counts the events about streams, to limit their number. */
struct vm_stream_events {
	uint64_t window_ns; /* when the present window began */
	unsigned int n;	    /* events given in the window */
	uint64_t n_untold;  /* events suppressed since the last event was given */
};

/* What the gateway knows about whether a promoted guest serves its clients. See fsm_promoted.c. */
enum vm_promoted_state {
	VM_PROMOTED_NONE,    /* nothing was promoted in this term */
	VM_PROMOTED_WATCHED, /* waiting for signs that the guest serves */
	VM_PROMOTED_SERVES,
	VM_PROMOTED_SILENT,  /* no sign came within answer_within_ns, so the alarm was given */
};

struct vm_promoted {
	enum vm_promoted_state state;
	uint64_t since_ns;	    /* when the host said that it runs the guest */
	bool is_boot; /* true if the guest boots, so it may take longer to answer */
	bool has_base;
	struct detector_probe base; /* counts of probes of the guest at the first tick */
	uint64_t n_asked, n_answered; /* probes of the guest sent and answered since `base` */
	struct vm_guest_report said; /* what the host last reported about the guest */
};

/* What the gateway knows about one term of protection. A new term resets all of it. */
struct vm_protection {
	uint64_t committed;	 /* last epoch committed in this term; 0: none known */
	uint64_t committed_ns;
	uint64_t complete;	 /* last epoch that the standby holds whole; 0: none known */
	/* the first acknowledged epoch without WIRE_FLAG_UNHELD; 0: none. After the seal of this
	 * epoch all output is held */
	uint64_t held_from;
	struct vm_standby standby;
	struct vm_copy copy;
	struct vm_promoted promoted;
	/* the last value of relayed_bytes. In SYNCING, progress_ns is when relayed_bytes last
	 * grew */
	uint64_t progress_bytes;
	uint64_t progress_ns;
	/* true once an event has said that a promotion is needed but impossible */
	bool waiting_said;
};

/* What the gateway waits for in UNPROTECTED, before it protects the guest again by itself. */
enum vm_again_when {
	VM_AGAIN_NEVER,   /* nothing: only an operator begins a protection */
	VM_AGAIN_COVERED, /* the owner must report that the guest is again as it was protected */
	VM_AGAIN_SOON,    /* both hosts must be ready */
};

/* How the gateway protects the guest again by itself. This is not journaled, but
 * vm_record.is_wanted is. See fsm_again.c. */
struct vm_again {
	enum vm_again_when when;
	/* with VM_AGAIN_SOON: why the gateway protects the guest again, a constant text that
	 * follows the owner's name. Kept until the VM is PROTECTED, or an operator decides
	 * otherwise; NULL: none */
	const char *why;
	/* true if the gateway itself began the present PREPARING or SYNCING; false if an operator
	 * began it */
	bool is_own;
	/* with VM_AGAIN_COVERED: true if, by the owner's last report, its agent still checks
	 * whether the guest is again as it was while protected */
	bool is_watched;
	uint64_t next_ns; /* make no attempt before this time */
	/* how many attempts in a row have failed; a protection that ended soon counts as a
	 * failure */
	unsigned int n_failed;
	/* 1 + the index of the host that could not keep the copy in the last attempt, so that the
	 * spare is tried next; 0: none */
	uint8_t unfit;
	/* why the last attempt with this host as the standby failed; "": none has failed since the
	 * VM was last PROTECTED, or an operator decided otherwise */
	char failed[VM_HOSTS][VM_TEXT_MAX];
	/* in PREPARING: true if the last attempt with this standby failed. Then this attempt causes
	 * no events, unless it fails for another reason, or gets further than PREPARING */
	bool is_repeat;
	/* true if the spare took a seat before it was certain that the promoted guest serves its
	 * clients; false again at the next promotion */
	bool was_doubtful;
};

/* How far a move has come. See fsm_move.c. */
enum vm_move_state {
	VM_MOVE_NONE,	    /* there was no move since this gateway's start */
	VM_MOVE_ORDERED,    /* the owner was ordered to let go of the guest; the VM is PROTECTED */
	VM_MOVE_PROMOTING,  /* the owner has let go, and the new owner was journaled */
	VM_MOVE_PROTECTING, /* the new owner runs the guest; it is not protected again yet */
	VM_MOVE_DONE,	    /* the guest is protected again */
	/* the guest stays on the old owner or must return there. Or it is no longer this move that
	 * decides where the guest runs, but an operator or the hosts' vote */
	VM_MOVE_FAILED,
	/* the new owner runs the guest, but the guest will not be protected again: an operator does
	 * not want it, or the guest has ended */
	VM_MOVE_UNPROTECTED,
};

const char *vm_move_state_name(enum vm_move_state state); /* a constant such as "ordered" */

/* The present move of the guest to the VM's other host, or the last move. Not journaled. */
struct vm_move {
	enum vm_move_state state;
	uint8_t from, to;      /* the host that lets go of the guest, and the one that gets it */
	uint64_t epoch;        /* the guest's last epoch on `from`; valid from PROMOTING on */
	uint64_t term;	       /* the promotion's term; 0 before PROMOTING */
	/* true if the new owner's connection broke in PROMOTING: the guest may have run there for a
	 * while, and nobody knows whether it did */
	bool is_unsure;
	/* true once an event has said that the guest could not be given back */
	bool is_stuck_told;
	uint64_t began_ns;
	uint64_t stopped_ns;   /* when `from` stopped the guest; 0: the host did not say */
	uint64_t yielded_ns;   /* when `from` had let go of the guest; valid from PROMOTING on */
	/* when the new owner reported that the guest runs; valid from PROTECTING on */
	uint64_t runs_ns;
	uint64_t protected_ns; /* when the guest was protected again; 0: not yet */
};

/* A cold start; see fsm_cold.c. Not journaled: a gateway that was restarted decides again, from the
 * same reports of the hosts. */
struct vm_cold {
	/* since when the guest has been known to run nowhere; 0: this is not known */
	uint64_t since_ns;
	/* number of hosts whose reports are in the last event about this; 0: there was no event */
	uint8_t told;
	/* in PROMOTING: the owner is ordered to start the guest from its disks */
	bool is_start;
	bool is_alone;	   /* valid if is_start; true: do not wait for the other host */
	/* true if the guest did not start: an operator decides what happens next */
	bool has_failed;
	/* in FAILED: a start was given up, because a host went away or was not fenced (fsm_lost.c).
	 * A gateway that was restarted asks vm_lost_is_start(). */
	bool is_lost;
	/* valid if is_start or is_lost: the owner was chosen although only the owner had reported,
	 * and it was certain that the start loses nothing that a client has seen */
	bool was_certain_alone;
	bool is_torn; /* valid if is_start: the disks are an unfinished copy */
};

/* Orders that an operator asks for, and that the agent may answer much later; see fsm_asked.c. */
enum vm_asked_kind {
	VM_ASKED_VERIFY,
	VM_ASKED_DRILL,
	VM_ASKED_N,
};

struct vm_asked {
	/* the requests that wait for the result, the newest last; 0: none */
	uint64_t op_id[VM_ASKED_WAITERS_MAX];
	uint64_t order_id; /* the order whose answer has not come yet; 0: none */
	uint64_t since_ns; /* when that order was given */
};

/* All state of one VM's ownership. Plain data: a copy can be kept and restored. */
struct vm_fsm {
	const struct vm_config *config;
	/* the record as last journaled, or as this step is about to journal it */
	struct vm_record record;
	uint64_t entered_ns;		/* when record.state was entered */
	uint64_t stepped_ns;		/* time of the last step */
	uint64_t ticked_ns;		/* time of the last tick */
	uint64_t term_seen;		/* largest term any agent reported */
	struct vm_host host[VM_HOSTS]; /* indexed by enum vm_host_index */
	struct vm_stream stream[VM_STREAMS];	/* indexed by enum vm_stream_index */
	uint32_t generation;		/* generation of the last RESUME */
	struct vm_protection protection;
	struct vm_stream_events stream_events;
	/* in PROMOTING: the lowest epoch with which the standby may promote */
	uint64_t promote_epoch;
	struct detector detector;	/* judges the owner's host; valid in PROTECTED */
	/* when all leases with which the previous owner can release output have expired */
	uint64_t mute_ns;
	enum vm_fencing fencing;	/* state of the fence command; NONE outside of PROMOTING */
	bool shadow_fired; /* true once an event has said that the shadow judged shadow_host dead */
	/* when shadow_host was last seen before that event; 0 once shadow_host is seen again */
	uint64_t shadow_told_ns;
	uint8_t shadow_host;            /* the host that owned the VM when it was last PROTECTED */
	uint64_t next_order_id;
	/* in UNPROTECTED: true while the owner must still release the guest's output */
	bool release_due;
	/* in FAILED: true if the guest is to return to the previous owner. Before that, the other
	 * host must stop its standby */
	bool give_back_due;
	/* valid if give_back_due. true: an operator wants it; false: a move has failed */
	bool give_back_is_operators;
	bool stop_due; /* in UNPROTECTED: true while the other host must still stop its standby */
	/* true if nobody needs the standby's copy: an operator gives it up, or the guest has shut
	 * itself down; false again when the VM leaves UNPROTECTED */
	bool is_copy_unwanted;
	/* true until the other host, which was the owner before, confirms that it is fenced */
	bool fence_due;
	bool close_due; /* true if this step began a new term, so that the streams must be closed */
	/* true for a host that is drained, or being drained: it gets neither a copy nor the guest.
	 * Set by vm_fsm_bar(). Such a host can still be promoted */
	bool is_barred[VM_HOSTS];
	struct vm_again again;
	struct vm_move move;
	struct vm_cold cold;
	/* in PROMOTING and FAILED: true for a host that may run the guest, because the host was
	 * ordered to run it, or because the host had to be fenced for a cold start and was not. See
	 * fsm_lost.c */
	bool may_run[VM_HOSTS];
	struct {
		uint64_t id; /* the request's number; 0: no request waits */
		enum vm_command command;
		uint64_t started_ns;
	} op; /* the operator's request that waits for its result */
	struct vm_asked asked[VM_ASKED_N];
};

/* Initialise @fsm from the journal's @record. For a new VM, pass a record with term 0. @config is
 * borrowed. @first_order_id must be larger than any order id of an earlier run: use the wall
 * clock's nanoseconds. */
void vm_fsm_init(struct vm_fsm *fsm, const struct vm_config *config, const struct vm_record *record,
		 uint64_t first_order_id, uint64_t now_ns);

/* Handle one input. Stores the resulting actions in @ret_actions. The caller must carry them out in
 * order. */
void vm_fsm_step(struct vm_fsm *fsm, const struct vm_input *in, struct vm_actions *ret_actions);

/* Note that the owner gets a lease now. Call this before the LEASE is sent. */
void vm_fsm_granted(struct vm_fsm *fsm, uint64_t now_ns);

/* Note that a gateway (this one or another) may have granted the owner a lease at @now_ns. From
 * then on, no PROMOTE is ordered before @release_ns and a margin have passed. */
void vm_fsm_mute_after(struct vm_fsm *fsm, uint64_t now_ns, uint64_t release_ns);

/* Note that bytes came from @host, so it lives. Causes no actions: you can call this between two
 * steps. */
void vm_fsm_seen(struct vm_fsm *fsm, uint8_t host, uint64_t now_ns);

/* Undo a step that could not be journaled. @before: the copy of *fsm that was made before that
 * step. Restores this copy, and continues at @now_ns. */
void vm_fsm_put_back(struct vm_fsm *fsm, const struct vm_fsm *before, uint64_t now_ns);

/* For a drain: keep guests and copies away from @host (@is_barred is true), or allow them again.
 * Causes no actions. */
void vm_fsm_bar(struct vm_fsm *fsm, uint8_t host, bool is_barred);

/* Does the gateway intend to protect the guest again by itself as soon as it can? A drain records
 * this intention. */
bool vm_fsm_wants_again(const struct vm_fsm *fsm);
/* Restore this intention after the gateway's start, for a VM in a drain's record. Does nothing if
 * the VM is not UNPROTECTED. */
void vm_fsm_want_again(struct vm_fsm *fsm, uint64_t now_ns);

/* How a VM stands in the way of draining one of its hosts. */
enum vm_drain_place {
	VM_DRAIN_AWAY,    /* the host has neither the guest nor a copy */
	VM_DRAIN_COPY,    /* the guest runs elsewhere, the host has its copy, or gets one */
	VM_DRAIN_ENDING,  /* the copy's end is not confirmed yet */
	VM_DRAIN_MOVABLE, /* the guest runs on the host, and can be moved now */
	/* the guest may run on the host; what prevents a move may end by itself */
	VM_DRAIN_BUSY,
	/* the guest may run on the host; what prevents a move does not end by itself */
	VM_DRAIN_STUCK,
};

/* Returns how the VM stands in the way of draining @host. @is_safe: the VM's health word is SAFE.
 * Writes to @why (@size bytes) what prevents a move, or "". */
enum vm_drain_place vm_drain_look(const struct vm_fsm *fsm, uint8_t host, bool is_safe, char *why,
				  size_t size);

/* If @host is drained, can the VM's guest and its copy be on the VM's two other hosts? */
bool vm_drain_has_third(const struct vm_fsm *fsm, uint8_t host);

/* Check whether @host may open a stream with @role in @term now. Returns 0: yes. Otherwise returns
 * an enum wire_refused_code, and *ret_error says why not. */
uint16_t vm_fsm_check_stream(const struct vm_fsm *fsm, uint8_t host, uint8_t role, uint64_t term,
			     struct error *ret_error) __attribute__((warn_unused_result));

/* Returns how long commits have waited for the standby, according to the clock of the policy
 * standby_lost. If nothing waits for the standby, or the VM has no standby, returns 0. */
uint64_t vm_standby_waits_ns(const struct vm_fsm *fsm, uint64_t now_ns);
/* Returns true if the VM is PROTECTED, and the owner's guest has ended without being shut down, or
 * the owner's agent, connected for less than order_timeout, has not yet said whether it found the
 * guest. The standby's copy may then be all that is left of the guest. */
bool vm_copy_is_last(const struct vm_fsm *fsm);
/* Is the standby's whole copy perhaps all that is left of a guest that is UNPROTECTED or SYNCING?
 * This is so while the owner is silent, or does not report that it has the guest. The copy may lack
 * what clients have seen since. See fsm_left.c. */
bool vm_left_is_copy(const struct vm_fsm *fsm, uint64_t now_ns);
/* Returns the time that is left until the policy standby_lost applies, if nothing is committed and
 * the standby is not heard until then. */
uint64_t vm_standby_left_ns(const struct vm_fsm *fsm, uint64_t now_ns);

/* Write to @text (@size bytes) what the standby does wrong. Call this only in
 * SYNCING and PROTECTED, while the standby takes no epochs. Returns @text. */
const char *vm_standby_fault(const struct vm_fsm *fsm, char *text, size_t size);

/* Write to @text (@size bytes) which host is the spare, and whether this host would be able to take
 * a seat, or "" if the VM has no spare. Returns @text. */
const char *vm_spare_describe(const struct vm_fsm *fsm, char *text, size_t size);
/* Is the spare connected, and does it report that it has the guest, or a copy of it? */
bool vm_spare_has_something(const struct vm_fsm *fsm);

/* Call this after host[VM_HOST_THIRD] of fsm->config (`spare` in the VM's file) was changed to
 * another host or to none. Allowed only while this index has no seat (vm_fsm_spare() returns it).
 * Forgets all that was known of the old host. If the new host is connected, give the state machine
 * the input VM_IN_CONTROL_UP next. Causes no actions. */
void vm_fsm_new_spare(struct vm_fsm *fsm, uint64_t now_ns);

/* Write to @text (@size bytes) when the gateway will protect the guest again by itself, and what
 * prevents it. Call this only in UNPROTECTED, if again.when is not VM_AGAIN_NEVER. Returns
 * @text. */
const char *vm_again_describe(const struct vm_fsm *fsm, uint64_t now_ns, char *text, size_t size);

/* Returns how long the guest was stopped in the last move, in ns, as far as the daemons know.
 * Returns 0 if this is not known, or if the guest does not run yet. */
uint64_t vm_move_pause_ns(const struct vm_fsm *fsm);

/* Is it known that the guest runs nowhere, and has no copy in any memory? Then nothing but a cold
 * start helps. */
bool vm_cold_is_nowhere(const struct vm_fsm *fsm);

/* Write to @text (@size bytes) which disks each host has, which disks are the newest, and what
 * happens next. Call this only if vm_cold_is_nowhere(). Returns @text. */
const char *vm_cold_describe(const struct vm_fsm *fsm, char *text, size_t size);

/* Is the VM FAILED because a cold start was given up? The reason is not journaled. So after a
 * restart of the gateway, returns true only if the other host (on which the guest was not started)
 * reports that it is fenced. */
bool vm_lost_is_start(const struct vm_fsm *fsm);

/* Does a FAILED VM wait for a host that is away? This is so if one host is connected but has lost
 * its memory, so that it can neither be promoted nor get the guest back, and the other host is away
 * and may have the guest or a copy of its memory. Returns the index of the host that is away;
 * VM_HOSTS: the VM is not in this situation. */
uint8_t vm_lost_unheard(const struct vm_fsm *fsm);

/* Write to @text (@size bytes) what an operator can do after a cold start was given up: which host
 * may run the guest, and which command chooses again. Call this only in PROMOTING and FAILED.
 * Returns @text. */
const char *vm_lost_advice(const struct vm_fsm *fsm, char *text, size_t size);

/* Should a promoted guest be probed now? */
bool vm_promoted_asks(const struct vm_fsm *fsm, uint64_t now_ns);

/* Write to @text (@size bytes) what was seen of the guest since its promotion, as text for the
 * operator. Do not call this in VM_PROMOTED_NONE. Returns @text. */
const char *vm_promoted_describe(const struct vm_fsm *fsm, char *text, size_t size);

/* Returns when the next VM_IN_TICK is due (monotonic ns). */
uint64_t vm_fsm_deadline_ns(const struct vm_fsm *fsm);

/* Returns true if the VM is in conflict. This is so in three cases. A host obeys a younger gateway.
 * A host reports a newer term that no second voice (rule 5) confirms. The journal's newest record
 * of this VM may have been lost. In a conflict the gateway begins no term by itself and orders
 * nothing. */
static inline bool vm_fsm_in_conflict(const struct vm_fsm *fsm)
{
	return fsm->host[VM_HOST_FIRST].conflict || fsm->host[VM_HOST_SECOND].conflict ||
	       fsm->host[VM_HOST_THIRD].conflict || fsm->record.in_doubt;
}

/* Returns the index of the host without a seat (rule 7). If the VM has only two hosts, no host has
 * this index. */
static inline uint8_t vm_record_spare(const struct vm_record *record)
{
	return (uint8_t)(VM_HOST_THIRD - record->seatless);
}

static inline uint8_t vm_fsm_spare(const struct vm_fsm *fsm)
{
	return vm_record_spare(&fsm->record);
}

static inline bool vm_fsm_has_spare(const struct vm_fsm *fsm)
{
	return fsm->config->host[vm_fsm_spare(fsm)][0] != '\0';
}

/* Two hosts have a seat. Returns the one that is not @host. @host must have a seat itself. */
static inline uint8_t vm_fsm_beside(const struct vm_fsm *fsm, uint8_t host)
{
	return (uint8_t)(VM_HOST_FIRST + VM_HOST_SECOND + VM_HOST_THIRD - vm_fsm_spare(fsm) - host);
}

/* Two hosts have a seat. Returns the one that is not the owner. It is the standby, if the VM has a
 * standby now. */
static inline uint8_t vm_fsm_other(const struct vm_fsm *fsm)
{
	return vm_fsm_beside(fsm, fsm->record.owner);
}

#endif
