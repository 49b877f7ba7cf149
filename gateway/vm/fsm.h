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
 * constants of wire/. fsm_config.h has the machine's configuration, fsm_known.h the parts of its
 * state, fsm_look.h what others may ask about it.
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
 * Rules (tests/unit/fsm_lab_rules.h checks them after every step of all test_fsm*.c):
 *  1. A new term (larger than any term seen) begins whenever the owner changes, or protection
 *     begins or ends.
 *  2. A change of term, owner or state is journaled before any action that follows from it.
 *  3. COMMIT(n) is given only in the current term, and only for an epoch that the standby has
 *     completely. While the VM is SYNCING, only epochs that are not held are committed. When the
 *     first held epoch is committed, the VM becomes PROTECTED.
 *  4. A promotion begins only in PROTECTED, or again in FAILED, or, if an operator accepts the
 *     loss, in UNPROTECTED and SYNCING (fsm_left.c, fsm_cold.c), or in a conflict if no other host
 *     can run a second guest (fsm_conflict.c). PROMOTE is ordered only after every lease of the
 *     old owner has expired, because after that the old owner can release nothing (docs/model). If
 *     the owner is silent and there is a fence command, PROMOTE also waits for that command. If
 *     the command fails and is required to succeed, PROMOTE is not ordered. In a move, the old
 *     owner gives up its lease when it lets go of the guest (fsm_move.c).
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
#include "vm/fsm_config.h"
#include "vm/fsm_known.h"
#include "wire/msg.h"

#define VM_ACTIONS_MAX 16 /* maximum number of actions of one step */

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

/* Check whether @host may open a stream with @role in @term now. Returns 0: yes. Otherwise returns
 * an enum wire_refused_code, and *ret_error says why not. */
uint16_t vm_fsm_check_stream(const struct vm_fsm *fsm, uint8_t host, uint8_t role, uint64_t term,
			     struct error *ret_error) __attribute__((warn_unused_result));

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

/* Restore after the gateway's start, for a VM in a drain's record, the intention that
 * vm_fsm_wants_again() (fsm_look.h) told. Does nothing if the VM is not UNPROTECTED. */
void vm_fsm_want_again(struct vm_fsm *fsm, uint64_t now_ns);

/* Call this after host[VM_HOST_THIRD] of fsm->config (`spare` in the VM's file) was changed to
 * another host or to none. Allowed only while this index has no seat (vm_fsm_spare() returns it).
 * Forgets all that was known of the old host. If the new host is connected, give the state machine
 * the input VM_IN_CONTROL_UP next. Causes no actions. */
void vm_fsm_new_spare(struct vm_fsm *fsm, uint64_t now_ns);

/* Returns when the next VM_IN_TICK is due (monotonic ns). */
uint64_t vm_fsm_deadline_ns(const struct vm_fsm *fsm);

#endif
