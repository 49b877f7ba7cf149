/* fsm.h - the state machine of one VM's ownership: which host may run the guest, in which term.
 * Pure: inputs and time in, a list of actions out; no I/O, no clock, no allocation.
 *
 * Why: this room holds every rule that keeps a VM from having two owners, or from losing a reply
 * that was released. Tests can replay the rules on a virtual clock with scripted peers.
 *
 * Where: session/ and control/ turn frames and operator requests into inputs; fleet/ carries the
 * actions out in order. If a journal record cannot be made durable, fleet/ drops the rest of the
 * step's actions and restores the machine from a copy made before the step. This room calls
 * liveness/ (pure) and uses constants of wire/.
 *
 *	                 protect                both streams          first held epoch acked
 *	 UNPROTECTED ──────────────► PREPARING ─────────────► SYNCING ────────────────────► PROTECTED
 *	    ▲  ▲  ▲                      │                     │   ▲                          │  │
 *	    │  │  └──────────────────────┴─────────────────────┘   └──────────────────────────┘  │
 *	    │  │        unprotect, failed, timed out                  standby lost what it acked  │
 *	    │  └──────────────────────────────────────────────────────────────────────────────── │
 *	    │  unprotect, standby gone for good, guest shut itself down, guest changed             │
 *	    │                                                                                     │
 *	    │            standby runs it                            failover, primary gone        │
 *	    └──────────────────────────────── PROMOTING ◄─────────────────────────────────────────┘
 *	    ▲   unprotect (back to the            │  ▲
 *	    │   previous owner)                   ▼  │ failover (try again, new term)
 *	    └────────────────────────────────── FAILED        promotion refused or failed
 *
 * Rules (tests/unit/test_fsm.c checks them after every step of random runs):
 *  1. A new term (larger than any seen) begins whenever the owner changes, or protection begins or
 *     ends.
 *  2. A change of term, owner or state is journaled before any action that follows from it.
 *  3. COMMIT(n) is given only in the current term, and only for an epoch that the standby holds
 *     whole. Outside PROTECTED, COMMIT is given only for epochs of the time before the hold began.
 *  4. PROMOTE is first ordered only from PROTECTED (the standby held a complete epoch that covers
 *     every commit). It is ordered again only after a failed try. With a fence command, PROMOTE
 *     waits until the command succeeds (or fails, if success is not required). In each case PROMOTE
 *     waits until every lease of the old owner has expired, so that it can release nothing
 *     (docs/model).
 *  5. A host may report a term newer than the journal's. The gateway follows that report only with
 *     two voices: both hosts', or one host's and the gateway's own vote for the owner in the
 *     journal. Otherwise it is a conflict: no term begins and nothing is ordered until an operator
 *     names the owner. It is a conflict too if a host obeys a younger gateway, because that gateway
 *     may begin terms.
 *  6. Orders follow from the state, not from events: after a lost order or a restart of an agent or
 *     gateway, a host gets the orders that the state requires as soon as it is connected and has
 *     reported.
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

#define VM_TEXT_MAX    320 /* bytes of an event's or reply's text, with NUL */
#define VM_ACTIONS_MAX 16  /* no step makes more actions than this */

enum vm_state {
	VM_UNPROTECTED = 0,
	VM_PREPARING   = 1, /* the standby is getting ready */
	VM_SYNCING     = 2, /* the first epoch, or a FULL one, is on its way to the standby */
	VM_PROTECTED   = 3, /* the standby holds every committed epoch */
	VM_PROMOTING   = 4, /* the new owner was ordered to run the guest
			     * and has not confirmed that it does */
	VM_FAILED      = 5, /* the promotion failed: the new owner refused or did not
			     * answer, or the fence command failed; the operator decides */
	VM_N_STATES    = 6,
};

const char *vm_state_name(enum vm_state state); /* returns a constant such as "UNPROTECTED" */

/* Convert a name such as "UNPROTECTED" to its state. Returns 0 or -EINVAL. */
int vm_state_parse(const char *name, enum vm_state *ret_state) __attribute__((warn_unused_result));

/* What the journal records about a VM. */
struct vm_record {
	uint64_t term; /* the VM's last term; 0: it was never protected */
	uint8_t owner; /* index of the host that may run the guest and speak for it */
	enum vm_state state;
	bool in_doubt; /* a newer record may be lost; this is a conflict
			* until two voices or an operator name the owner */
};

/* State of the fence command during a promotion. */
enum vm_fencing {
	VM_FENCING_NONE,    /* no command is needed, or it has finished */
	VM_FENCING_UNSURE,  /* the gateway restarted, and the command may have run before;
			     * becomes DUE if the old owner stays silent until mute_ns */
	VM_FENCING_DUE,	    /* the command must run before PROMOTE is ordered */
	VM_FENCING_RUNNING,
};

/* Index of each of a VM's two hosts, by its place in the VM's file. A host keeps its index when
 * the roles change. */
enum vm_host_index {
	VM_HOST_FIRST  = 0, /* `primary` in the VM's file */
	VM_HOST_SECOND = 1, /* `standby` in the VM's file */
};

/* Index of a VM's two streams: the primary's and the standby's, whichever hosts have
 * these roles now. */
enum vm_stream_index {
	VM_STREAM_PRIMARY = 0,
	VM_STREAM_STANDBY = 1,
};

/* Configuration of one VM. It does not change after start. Arrays of hosts are indexed
 * by enum vm_host_index. */
struct vm_config {
	char name[WIRE_NAME_MAX + 1];
	char host[2][WIRE_NAME_MAX + 1];
	struct detector_config detector; /* limits for judging the primary */
	struct liveness_config liveness; /* limits for judging the standby's
					  * host, and for the shadow */
	uint64_t shadow_timeout_ns; /* silence after which the shadow, a detector that knows
				     * only beats, would promote: report that; 0: no shadow */
	uint64_t release_ns;	     /* how long after a LEASE the owner may
				      * release output; 0: give no leases */
	uint64_t standby_timeout_ns; /* the policy for a lost standby applies once
				      * the standby has blocked commits this long */
	uint64_t answer_within_ns; /* alarm if a promoted guest has not answered within this time */
	uint64_t order_timeout_ns;   /* an order fails after this time without progress */
	bool has_fence_command;	     /* run the fence command before a
				      * promotion that follows from silence */
	bool fence_required; /* if the fence command fails, do not promote: the operator decides */
	bool standby_lost_hold;	     /* policy for a lost standby. true: hold
				      * output until the standby is back; false:
				      * continue unprotected in a new term */
};

enum vm_command {
	VM_COMMAND_NONE,
	VM_COMMAND_PROTECT,
	VM_COMMAND_UNPROTECT,
	VM_COMMAND_FAILOVER,
	VM_COMMAND_OWNER, /* ends a conflict: `host` owns the guest */
};

enum vm_input_kind {
	VM_IN_TICK,	    /* relayed_bytes, evidence; give it at vm_fsm_deadline_ns() */
	VM_IN_CONTROL_UP,   /* host: its HELLO was accepted on a control connection */
	VM_IN_CONTROL_DOWN, /* host: its control connection ended */
	VM_IN_SEEN,	    /* host: a BEAT or another authentic frame came */
	VM_IN_REPORT,       /* host, and the members of struct vm_input that come from a REPORT */
	VM_IN_ORDER_DONE,   /* host, order_id, status, text: how the order ended */
	VM_IN_STREAM_UP,    /* host, role, term, epoch: a stream opened; a
			     * standby's epoch is the last that it holds whole */
	VM_IN_STREAM_DOWN,  /* host, role: the stream ended */
	VM_IN_STREAM_REFUSED, /* host, text: the standby can never take over this
			       * guest, because of how the guest was started */
	VM_IN_STREAM_FAILED, /* host, role, text: why its stream is about to end */
	VM_IN_EPOCH_ACK,    /* host, term, epoch, is_unheld; relay.h has checked
			     * that this epoch was sent to the standby */
	VM_IN_COMMAND,	    /* command, op_id, no_wait; for OWNER also host */
	VM_IN_OBEYS_ANOTHER, /* host: the host has obeyed a younger gateway
			      * and accepts nothing from this one */
	VM_IN_FENCED,	    /* host, term, status, text: how the fence command ended */
	VM_IN_N,
};

/* What the host of a promoted guest reports about the guest since the promotion. */
struct vm_guest_report {
	bool is_valid;
	bool was_running;  /* QEMU said after `cont` that the guest runs */
	bool knows_frames; /* `frames` is valid: the host knows the guest's tap */
	uint64_t term;	   /* term of the promotion */
	uint64_t vcpu_us;  /* CPU time of the guest's busiest vCPU */
	uint64_t frames;   /* frames sent by the guest, without QEMU's own announcements */
};

struct vm_input {
	enum vm_input_kind kind;
	uint64_t now_ns;
	uint8_t host;	     /* 0 or 1 */
	uint8_t role;	     /* enum wire_vm_role */
	uint8_t agent_state; /* enum wire_state */
	uint8_t verdict;     /* enum wire_verdict */
	uint8_t status;	     /* enum wire_order_status */
	bool no_wait;	     /* answer the command when it is accepted, not when it is done */
	enum vm_command command;
	uint64_t term, epoch, order_id, op_id;
	uint64_t relayed_bytes; /* bytes relayed in all of this VM's streams since
				 * the gateway's start; their growth is progress */
	bool standby_owes;	/* the standby has received a complete epoch but not
				 * acknowledged it, or the standby accepts no more data */
	const struct detector_evidence *evidence; /* all evidence but what the machine knows
						   * itself, such as beats; NULL: none */
	bool asks_guest;	/* TICK: the gateway can send probes to the guest */
	const char *guest_answers; /* TICK: the guest's last answer to a probe, such
				    * as "it answered ARP"; a constant; NULL: none */
	struct vm_guest_report guest; /* in a REPORT: what the host says about a promoted guest */
	const char *text;	/* the peer's explanation; may be NULL; borrowed */
	uint8_t throttle_percent;  /* by how much the agent slows the guest down */
	const char *throttle_why; /* the agent's reason for that; may be NULL; borrowed */
	bool is_uncovered; /* the owner's guest changed, so the standby's
			    * copy no longer fits it; `text` says how */
	bool is_unheld; /* the owner does not yet hold output sent after
			 * this epoch, so nobody may be promoted from it */
	bool is_covered_again; /* the owner's guest had changed, and is
				* now as it was when it was protected */
	const char *way;	  /* what keeps clients from reaching the guest on this
				   * host: one word, `text` says more; NULL: nothing */
	uint64_t n_mended; /* how often the path by which held frames
			    * leave broke on this host and was rebuilt */
	uint8_t clock_alarm_percent; /* share of the guest's clock time lost to
				      * pauses, if that is too much; else 0 */
	const char *clock_why;       /* why the clock is not corrected; may be NULL; borrowed */
	const char *step;   /* how far the host has come with its order,
			     * such as "reserved 1.0 of 5.0 GiB"; or NULL */
	uint64_t n_moves;   /* how many steps of progress the host has counted */
};

enum vm_action_kind {
	VM_ACT_JOURNAL, /* record: make it durable before carrying out the actions after it */
	VM_ACT_ORDER,	/* host, verb, term, epoch, order_id: send ORDER to the host */
	VM_ACT_RESUME,	/* term, epoch, generation: send RESUME on the primary's stream */
	VM_ACT_COMMIT,	/* term, epoch: send COMMIT on the primary's stream */
	VM_ACT_EVENT,	/* event, from, to, text: give operators an event */
	VM_ACT_REPLY,	/* op_id, ok, code, text: answer the operator's request */
	VM_ACT_CLOSE,	/* close both streams: their term has ended */
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
	bool overflow; /* the step made more actions than fit: a bug, which fleet/ logs */
	struct vm_action list[VM_ACTIONS_MAX];
};

/* How far a host has come with its orders, as it reports itself. See fsm_work.c. */
struct vm_work {
	bool is_known;	   /* the host has reported on this connection */
	uint64_t n_moves;  /* the host's count of steps of progress, as last reported */
	uint64_t moved_ns; /* when n_moves last grew */
	char step[128];	   /* the host's last step, such as "copied
			    * 3.1 of 5.0 GiB of guest RAM"; or "" */
};

/* The last order to a host. */
struct vm_order {
	uint64_t id; /* 0: no order was sent on this connection */
	uint64_t term;
	uint64_t sent_ns;
	uint8_t verb;
	bool done; /* the host has answered, or we have given up waiting */
	bool ok;   /* the order succeeded; valid when done */
};

struct vm_host {
	struct liveness live;
	struct vm_order order;
	bool up;       /* the host's control connection is up */
	uint64_t up_ns; /* when the connection last went up; 0: never */
	bool reported; /* a REPORT came on this connection, so agent_state
			* and the other reported members are current */
	bool effective; /* a report showed that the last order took effect;
			 * if the effect disappears, order again */
	bool conflict; /* the host reported a newer term than ours that
			* nobody confirmed, or it obeys a younger gateway */
	uint8_t agent_state;
	uint8_t verdict;
	uint8_t throttle_percent; /* by how much the agent slows the guest down, as last reported */
	uint8_t throttle_peak;	   /* largest throttle_percent since throttled_at_ns */
	uint64_t throttled_at_ns;  /* when throttle_percent last rose above 0 */
	char way[24]; /* what keeps clients from reaching the guest
		       * on this host; "": nothing. See fsm_way.c */
	char way_text[VM_TEXT_MAX]; /* the same, human-readable */
	uint64_t way_lost_ns;	   /* when `way` last changed between "" and anything else */
	uint64_t n_mended;	   /* the host's n_mended (struct vm_input), as last reported */
	struct vm_work work;
	bool is_clock_alarm; /* the host reported that the guest's
			      * clock loses too much time to pauses */
	uint64_t term, epoch;
};

struct vm_stream {
	bool up;
	uint64_t changed_ns; /* when the stream last went up or down */
};

/* How long the standby has kept epochs from being committed. Valid in SYNCING and
 * PROTECTED. See fsm_standby.c. */
struct vm_standby {
	uint64_t since_ns;   /* when the wait for the standby began; may be in the
			      * future, to give the standby time to apply an epoch */
	uint64_t ticked_ns;  /* when the clock of standby_lost was last advanced */
	uint64_t base_bytes; /* relayed_bytes when the present attempt (since a RESUME) began */
	uint64_t sent_bytes; /* bytes relayed in the present attempt */
	uint64_t best_bytes; /* the most that any attempt relayed since the last commit */
	unsigned int n_resumes; /* RESUMEs since the last commit; each begins an attempt */
	unsigned int n_breaks;  /* how often the standby ended its stream since the last commit */
	bool is_waited_for;	/* at the last tick something waited for the standby */
	bool is_new_stream;	/* a new attempt has begun, but base_bytes
				 * is still the previous attempt's */
	bool is_told;		/* the event "standby_lost = hold" was given */
	char why[VM_TEXT_MAX / 2]; /* why the standby ended its stream,
				    * in its words; "": it did not say */
};

/* Limits the events about streams. */
struct vm_stream_events {
	uint64_t window_ns; /* when the present window began */
	unsigned int n;	    /* events given in the window */
	uint64_t n_untold;  /* events suppressed since the last one given */
};

/* Does a promoted guest serve its clients? See fsm_promoted.c. */
enum vm_promoted_state {
	VM_PROMOTED_NONE,    /* nothing was promoted in this term */
	VM_PROMOTED_WATCHED, /* waiting for signs that the guest serves */
	VM_PROMOTED_SERVES,
	VM_PROMOTED_SILENT,  /* no sign came within answer_within: the alarm was given */
};

struct vm_promoted {
	enum vm_promoted_state state;
	uint64_t since_ns;	    /* when the host said that it runs the guest */
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
	uint64_t held_from; /* first acknowledged epoch without WIRE_FLAG_UNHELD:
			     * output after its seal is held; 0: none */
	struct vm_standby standby;
	struct vm_promoted promoted;
	uint64_t progress_bytes; /* relayed_bytes when progress was last seen, at progress_ns */
	uint64_t progress_ns;
	bool waiting_said;       /* the event was given that a promotion is needed but impossible */
};

/* All state of one VM's ownership. Plain data: a copy can be kept and restored. */
struct vm_fsm {
	const struct vm_config *config;
	struct vm_record record;	/* as last journaled (or about to be, in this step) */
	uint64_t entered_ns;		/* when record.state was entered */
	uint64_t stepped_ns;		/* time of the last step */
	uint64_t ticked_ns;		/* time of the last tick */
	uint64_t term_seen;		/* largest term any agent reported */
	struct vm_host host[2]; /* indexed by enum vm_host_index */
	struct vm_stream stream[2];	/* indexed by enum vm_stream_index */
	uint32_t generation;		/* generation of the last RESUME */
	struct vm_protection protection;
	struct vm_stream_events stream_events;
	uint64_t promote_epoch; /* PROMOTING: the lowest epoch with which the standby may promote */
	struct detector detector;	/* of the owner's host; valid in PROTECTED */
	uint64_t mute_ns; /* after this time no lease lets the previous owner release output */
	enum vm_fencing fencing;	/* state of the fence command; NONE outside of PROMOTING */
	bool shadow_fired; /* the shadow judged shadow_host dead, and the event was given */
	uint64_t shadow_told_ns; /* when shadow_host had last been seen before
				  * that event; 0 once it is seen again */
	uint8_t shadow_host;		/* the owner when it was last PROTECTED */
	uint64_t next_order_id;
	bool release_due; /* UNPROTECTED: the owner must still release the guest's output */
	bool give_back_due;		/* FAILED: an operator wants the guest to go back
					 * to the previous owner. This waits until the host
					 * that did not promote has stopped standing by */
	bool stop_due; /* UNPROTECTED: the other host must still stop its standby */
	bool fence_due; /* the other host was outvoted and must still confirm that it is fenced */
	bool close_due;			/* this step began a new term: close the streams */
	bool is_suspended;		/* UNPROTECTED not by an operator's wish, but for example
					 * because the guest changed: protect it again when the
					 * owner reports that this is possible, but not before
					 * again_ns. Not journaled, like is_agreed and is_again */
	bool is_agreed;			/* the hosts kept the guest protected without this
					 * gateway: protect it again without waiting for the
					 * owner to report that this is possible. Ends in
					 * PROTECTED, or when an operator decides otherwise */
	bool is_again; /* PREPARING or SYNCING was begun by the
			* gateway itself, not by an operator */
	uint64_t again_ns;
	struct {
		uint64_t id; /* 0: no request waits */
		enum vm_command command;
		uint64_t started_ns;
	} op; /* the operator's request that waits for its result */
};

/* Initialise @fsm from the journal's record (@record; term 0 for a new VM). @config is borrowed.
 * @first_order_id must be larger than any order id of an earlier run (use wall-clock ns). */
void vm_fsm_init(struct vm_fsm *fsm, const struct vm_config *config, const struct vm_record *record,
		 uint64_t first_order_id, uint64_t now_ns);

/* Handle one input. Returns the resulting actions in @ret_actions; the caller carries them
 * out in order. */
void vm_fsm_step(struct vm_fsm *fsm, const struct vm_input *in, struct vm_actions *ret_actions);

/* Note that a lease is granted. Call before a LEASE is sent to the owner. */
void vm_fsm_granted(struct vm_fsm *fsm, uint64_t now_ns);

/* Order no PROMOTE until a lease of @release_ns has expired that was granted at @now_ns at the
 * latest, by this gateway or by somebody else. */
void vm_fsm_mute_after(struct vm_fsm *fsm, uint64_t now_ns, uint64_t release_ns);

/* Note that @host lives, because bytes came from it. Causes no actions, so it may be called
 * between two steps. */
void vm_fsm_seen(struct vm_fsm *fsm, uint8_t host, uint64_t now_ns);

/* Undo a step that could not be journaled: restore the copy @before, made before that step, and
 * continue at @now_ns. */
void vm_fsm_put_back(struct vm_fsm *fsm, const struct vm_fsm *before, uint64_t now_ns);

/* Check whether @host may open a stream with @role in @term now. Returns 0 if so; else an enum
 * wire_refused_code, with an explanation in *ret_error. */
uint16_t vm_fsm_check_stream(const struct vm_fsm *fsm, uint8_t host, uint8_t role, uint64_t term,
			     struct error *ret_error) __attribute__((warn_unused_result));

/* Returns how long the standby has kept epochs from being committed, by the clock of the policy
 * standby_lost. 0: nothing waits for the standby, or there is none. */
uint64_t vm_standby_waits_ns(const struct vm_fsm *fsm, uint64_t now_ns);

/* Describe what the standby does wrong. Valid while vm_standby_waits_ns() is not 0. Returns @text,
 * of @size bytes. */
const char *vm_standby_fault(const struct vm_fsm *fsm, char *text, size_t size);

/* Should a promoted guest be probed now? */
bool vm_promoted_asks(const struct vm_fsm *fsm, uint64_t now_ns);

/* Describe, human-readable, what was seen of the guest since its promotion. Not valid in
 * VM_PROMOTED_NONE. Returns @text, of @size bytes. */
const char *vm_promoted_describe(const struct vm_fsm *fsm, char *text, size_t size);

/* Returns when the next VM_IN_TICK is due (monotonic ns). */
uint64_t vm_fsm_deadline_ns(const struct vm_fsm *fsm);

/* Is the VM in conflict? A host is in a newer term than the journal and nobody confirms that term,
 * or a host obeys a younger gateway, or the journal is damaged. In a conflict the gateway begins no
 * term by itself and orders nothing. */
static inline bool vm_fsm_in_conflict(const struct vm_fsm *fsm)
{
	return fsm->host[VM_HOST_FIRST].conflict || fsm->host[VM_HOST_SECOND].conflict ||
	       fsm->record.in_doubt;
}

/* Returns the host that does not own the guest. It is the standby, if there is one. */
static inline uint8_t vm_fsm_other(const struct vm_fsm *fsm)
{
	return (uint8_t)(1 - fsm->record.owner);
}

#endif
