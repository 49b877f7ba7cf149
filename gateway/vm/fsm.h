/* fsm.h - one VM's ownership: who may speak for it, in which term. Pure: inputs and time in, a list
 * of actions out; no I/O, no clock, no allocation.
 *
 * Why: every rule that keeps a VM from having two owners, or from losing a released reply, is in
 * this room and can be replayed on a virtual clock with scripted peers.
 *
 * Where: session/ and control/ turn frames and operator requests into inputs; fleet/fleet.c
 * carries the actions out, in order, and stops at a journal record that cannot be made durable (it
 * then puts the machine back with the copy it kept). Calls liveness/ (pure) and wire's constants.
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
 *  1. The term is new (larger than any seen) whenever the owner changes, or protection begins or
 *     ends.
 *  2. A change of term, owner or state is journaled before any action that follows from it.
 *  3. COMMIT(n) is given only in the current term, and only for an epoch that the standby holds
 *     whole. Outside PROTECTED it is given only for epochs behind which no output is held yet.
 *  4. PROMOTE is ordered only out of PROTECTED (the standby held a complete epoch that covers every
 *     commit), or again after a failed try. With a fence command, PROMOTE waits until the command
 *     succeeds (or fails, when it is not required). In each case PROMOTE waits until no lease ever
 *     granted lets the old owner release (docs/model).
 *  5. A report of a term newer than the journal's is followed only with two voices: both hosts', or
 *     one host's and a vote for the owner that the journal names. Otherwise it is a conflict: no
 *     term begins and nothing is ordered until an operator names the owner. A host that obeys a
 *     younger gateway is a conflict too, for that gateway may be giving terms.
 *  6. Orders follow from the state, not from events: after a lost order or a restart of an agent or
 *     gateway, a host gets what the state wants as soon as it is connected and has reported.
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
#define VM_ACTIONS_MAX 16  /* more than any one step makes */

enum vm_state {
	VM_UNPROTECTED = 0,
	VM_PREPARING   = 1, /* the standby gets ready */
	VM_SYNCING     = 2, /* the first (or a full) epoch is on its way */
	VM_PROTECTED   = 3, /* the standby holds every committed epoch */
	VM_PROMOTING   = 4, /* the owner was ordered to run the
			     * guest and has not confirmed it yet */
	VM_FAILED      = 5, /* the host refused or did not answer; the operator decides */
	VM_N_STATES    = 6,
};

const char *vm_state_name(enum vm_state state); /* "UNPROTECTED"...; constant */

/* "UNPROTECTED"... -> state. 0 or -EINVAL. */
int vm_state_parse(const char *name, enum vm_state *ret_state) __attribute__((warn_unused_result));

/* What the journal keeps of a VM. */
struct vm_record {
	uint64_t term; /* 0: never protected */
	uint8_t owner; /* index of the host that may speak for the guest */
	enum vm_state state;
	bool in_doubt; /* a newer record may be lost: a conflict
			* until two voices or an operator end it */
};

/* The fence command of a promotion. */
enum vm_fencing {
	VM_FENCING_NONE,    /* none is needed, or the command has finished */
	VM_FENCING_UNSURE,  /* the gateway restarted since; DUE if the
			     * old owner stays silent until mute_ns */
	VM_FENCING_DUE,	    /* must run before PROMOTE is ordered */
	VM_FENCING_RUNNING,
};

/* Index of a VM's two hosts, by its file. Their roles change, these numbers do not. */
enum vm_host_index {
	VM_HOST_FIRST  = 0, /* `primary` of the file */
	VM_HOST_SECOND = 1, /* `standby` of the file */
};

/* Index of a VM's two streams: the primary's and the standby's, whichever hosts they come from. */
enum vm_stream_index {
	VM_STREAM_PRIMARY = 0,
	VM_STREAM_STANDBY = 1,
};

/* Does not change after start. Hosts are numbered 0 and 1: initial primary and standby. */
struct vm_config {
	char name[WIRE_NAME_MAX + 1];
	char host[2][WIRE_NAME_MAX + 1];
	struct detector_config detector; /* of the primary */
	struct liveness_config liveness; /* of the standby, and of the shadow */
	uint64_t shadow_timeout_ns;	 /* report when a detector of beats
					  * alone would promote; 0: no */
	uint64_t release_ns;	     /* how long a lease lets output leave; 0: give no leases */
	uint64_t standby_timeout_ns; /* the standby_lost policy applies once the
				      * standby has blocked commits this long */
	uint64_t answer_within_ns;   /* alarm if a promoted guest has
				      * not answered within this time */
	uint64_t order_timeout_ns;   /* an order fails when it makes no progress for this time */
	bool has_fence_command;	     /* run it before a promotion that follows from silence */
	bool fence_required;	     /* if it fails, promote nobody: the operator decides */
	bool standby_lost_hold;	     /* policy: true: hold output until the standby is
				      * back; false: go on unprotected in a new term */
};

enum vm_command {
	VM_COMMAND_NONE,
	VM_COMMAND_PROTECT,
	VM_COMMAND_UNPROTECT,
	VM_COMMAND_FAILOVER,
	VM_COMMAND_OWNER, /* in a conflict: `host` owns the guest */
};

enum vm_input_kind {
	VM_IN_TICK,	    /* relayed_bytes, evidence; at vm_fsm_deadline_ns() */
	VM_IN_CONTROL_UP,   /* host: its control connection said HELLO */
	VM_IN_CONTROL_DOWN, /* host */
	VM_IN_SEEN,	    /* host: BEAT or another authentic frame */
	VM_IN_REPORT,	    /* host, role, agent_state, verdict, term, epoch, text, throttle_*,
			     * clock_*, step, n_moves */
	VM_IN_ORDER_DONE,   /* host, order_id, status, text */
	VM_IN_STREAM_UP,    /* host, role, term, epoch (standby: its last complete one) */
	VM_IN_STREAM_DOWN,  /* host, role */
	VM_IN_STREAM_REFUSED, /* host, text: the standby can never take
			       * this guest, as the guest is started now */
	VM_IN_STREAM_FAILED, /* host, role, text: why its stream is about to end */
	VM_IN_EPOCH_ACK,    /* host, term, epoch, is_unheld; relay.h
			     * has checked that this epoch was sent */
	VM_IN_COMMAND,	    /* command, op_id, no_wait; OWNER: host */
	VM_IN_OBEYS_ANOTHER, /* host: it has obeyed a younger gateway
			      * and accepts nothing from this one */
	VM_IN_FENCED,	    /* host, term, status, text: how the fence command ended */
	VM_IN_N,
};

/* What a promoted guest's host says of the guest since it runs there. */
struct vm_guest_report {
	bool is_valid;
	bool was_running;  /* QEMU's answer after `cont` */
	bool knows_frames; /* the host knows the guest's tap */
	uint64_t term;	   /* of its promotion */
	uint64_t vcpu_us;  /* CPU time of its busiest vCPU */
	uint64_t frames;   /* from the guest, without QEMU's own announcements */
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
	uint64_t relayed_bytes; /* of all streams since the gateway's start: progress */
	bool standby_owes;	/* the standby has not acknowledged an
				 * epoch sent whole, or takes no more */
	const struct detector_evidence *evidence; /* without what the machine
						   * knows itself; NULL: none */
	bool asks_guest;	/* TICK: probes of the guest can be sent */
	const char *guest_answers; /* TICK: "it answered ARP", for the
				    * last answer; constant, NULL: none */
	struct vm_guest_report guest; /* REPORT */
	const char *text;	/* of the peer, may be NULL; borrowed */
	uint8_t throttle_percent;  /* share of the guest's time that the agent takes from it */
	const char *throttle_why; /* in the agent's words, may be NULL; borrowed */
	bool is_uncovered;     /* the owner's guest is no longer the
				* one that is protected, see text */
	bool is_unheld;	       /* output behind this epoch is not
				* held: nobody is promoted with it */
	bool is_covered_again; /* the owner's guest had changed and is
				* again the one that was protected */
	const char *way;	  /* what keeps clients from the guest there: a
				   * word, `text` says more; NULL: nothing */
	uint64_t n_mended;	  /* how often the path of held frames
				   * broke there and was rebuilt */
	uint8_t clock_alarm_percent; /* clock time lost to pauses while that is too much; else 0 */
	const char *clock_why;	     /* why the clock is not corrected, as throttle_why */
	const char *step;   /* how far the host's order has come,
			     * "reserved 1.0 of 5.0 GiB"; or NULL */
	uint64_t n_moves;   /* how often that progressed, counted by the host */
};

enum vm_action_kind {
	VM_ACT_JOURNAL, /* record: make durable before what follows */
	VM_ACT_ORDER,	/* host, verb, term, epoch, order_id */
	VM_ACT_RESUME,	/* term, epoch k, generation: to the primary's stream */
	VM_ACT_COMMIT,	/* term, epoch: to the primary's stream */
	VM_ACT_EVENT,	/* event, from, to, text */
	VM_ACT_REPLY,	/* op_id, ok, code, text */
	VM_ACT_CLOSE,	/* close both streams: their term is over */
	VM_ACT_FENCE,	/* host, term: run the fence command; VM_IN_FENCED reports its end */
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
	bool overflow; /* our bug; the shell logs it */
	struct vm_action list[VM_ACTIONS_MAX];
};

/* How far a host has come with its orders, by its own report. fsm_work.c. */
struct vm_work {
	bool is_known;	   /* the host reported on this connection */
	uint64_t n_moves;  /* as last reported */
	uint64_t moved_ns; /* when n_moves last grew */
	char step[128];	   /* its last step, "copied 3.1 of 5.0 GiB of guest RAM", or "" */
};

/* The last order to a host. */
struct vm_order {
	uint64_t id; /* 0: none on this connection */
	uint64_t term;
	uint64_t sent_ns;
	uint8_t verb;
	bool done; /* answered, or given up */
	bool ok;   /* valid when done */
};

struct vm_host {
	struct liveness live;
	struct vm_order order;
	bool up;       /* control connection */
	uint64_t up_ns; /* when the connection last went up; 0: never */
	bool reported; /* a REPORT came on it, so the members
			* below are current; else they are old */
	bool effective; /* a report showed the order's effect;
			 * when the effect is gone, order again */
	bool conflict; /* it reported a term newer than ours that nobody
			* confirmed, or it obeys a younger gateway */
	uint8_t agent_state;
	uint8_t verdict;
	uint8_t throttle_percent;  /* share of the guest's time that it
				    * takes, as last reported ... */
	uint8_t throttle_peak;	   /* ... its peak ... */
	uint64_t throttled_at_ns;  /* ... since this time, when it rose above 0 */
	char way[24];		   /* what keeps clients from the guest
				    * there; "": nothing. fsm_way.c */
	char way_text[VM_TEXT_MAX]; /* the same for people */
	uint64_t way_lost_ns;	   /* when `way` last began or stopped being "" */
	uint64_t n_mended;	   /* as last reported */
	struct vm_work work;
	bool is_clock_alarm;	   /* the host said that pauses take too
				    * much from the guest's clock */
	uint64_t term, epoch;
};

struct vm_stream {
	bool up;
	uint64_t changed_ns; /* when it went up or down */
};

/* How long the standby has kept epochs from being committed; valid in SYNCING and PROTECTED.
 * fsm_standby.c. */
struct vm_standby {
	uint64_t since_ns;   /* when the wait for the standby began; may
			      * lie ahead: time to apply an epoch */
	uint64_t ticked_ns;  /* when the clock was last advanced */
	uint64_t base_bytes; /* relayed_bytes when the present attempt began ... */
	uint64_t sent_bytes; /* ... and what was relayed in it */
	uint64_t best_bytes; /* the most that any attempt relayed since the last commit */
	unsigned int n_resumes; /* attempts since the last commit */
	unsigned int n_breaks;  /* how many of these the standby ended */
	bool is_waited_for;	/* something waited for the standby at the last look */
	bool is_new_stream;	/* base_bytes still belongs to the attempt before */
	bool is_told;		/* the event about the policy `hold` was given */
	char why[VM_TEXT_MAX / 2]; /* why the standby broke its stream,
				    * in its words; "": not said */
};

/* Limits the events about streams. */
struct vm_stream_events {
	uint64_t window_ns; /* when it began */
	unsigned int n;	    /* events given in the window */
	uint64_t n_untold;  /* events suppressed since the last one given */
};

/* Does a promoted guest serve? fsm_promoted.c. */
enum vm_promoted_state {
	VM_PROMOTED_NONE,    /* nothing was promoted in this term */
	VM_PROMOTED_WATCHED, /* waiting for signs that the guest serves */
	VM_PROMOTED_SERVES,
	VM_PROMOTED_SILENT,  /* no such sign within answer_within: the alarm was given */
};

struct vm_promoted {
	enum vm_promoted_state state;
	uint64_t since_ns;	    /* when the host said that it runs the guest */
	bool has_base;
	struct detector_probe base; /* counts of probes of the guest at the first look ... */
	uint64_t n_asked, n_answered; /* ... and probes sent and answered since */
	struct vm_guest_report said; /* the host's last report */
};

/* What is known of one term of protection. All of it is forgotten when a new term begins. */
struct vm_protection {
	uint64_t committed;	 /* last epoch committed in this term; 0: none known */
	uint64_t committed_ns;
	uint64_t complete;	 /* last epoch that the standby holds whole; 0: none known */
	uint64_t held_from;	 /* first acknowledged epoch behind which output is held; 0: none */
	struct vm_standby standby;
	struct vm_promoted promoted;
	uint64_t progress_bytes; /* relayed_bytes when progress was last seen */
	uint64_t progress_ns;
	bool waiting_said;	 /* the event about an impossible promotion was given */
};

/* All state of one VM's ownership. Plain data: may be copied to keep and restore it. */
struct vm_fsm {
	const struct vm_config *config;
	struct vm_record record;	/* as last journaled (or about to be, in this step) */
	uint64_t entered_ns;		/* when record.state was entered */
	uint64_t stepped_ns;		/* last step; 0: none */
	uint64_t ticked_ns;		/* last tick */
	uint64_t term_seen;		/* largest term any agent reported */
	struct vm_host host[2]; /* by enum vm_host_index */
	struct vm_stream stream[2];	/* by enum vm_stream_index */
	uint32_t generation;		/* of the last RESUME */
	struct vm_protection protection;
	struct vm_stream_events stream_events;
	uint64_t promote_epoch;		/* PROMOTING: lowest acceptable epoch */
	struct detector detector;	/* of the owner's host; valid in PROTECTED */
	uint64_t mute_ns;		/* from this time on no lease lets the
					 * previous owner release: it is mute */
	enum vm_fencing fencing;	/* in PROMOTING; else NONE */
	bool shadow_fired;		/* the shadow judged shadow_host
					 * dead, and its event was given */
	uint64_t shadow_told_ns;	/* when that host had last been
					 * seen; 0 once it is seen again */
	uint8_t shadow_host;		/* the owner when it was last PROTECTED */
	uint64_t next_order_id;
	bool release_due;		/* UNPROTECTED: the owner has not yet released */
	bool give_back_due;		/* FAILED: the operator gives the guest back
					 * to the last owner, as soon as the host that
					 * did not promote has stopped standing by */
	bool stop_due;			/* UNPROTECTED: the other host has
					 * not yet stopped its standby */
	bool fence_due;			/* the other host was outvoted and has
					 * not yet confirmed that it is fenced */
	bool close_due;			/* this step ends the streams' term */
	bool is_suspended;		/* UNPROTECTED because the owner's guest changed:
					 * protect it again once it is as before, but not before
					 * again_ns. Not journaled, nor are the next two */
	bool is_agreed;			/* do not wait for the owner's word: the hosts kept
					 * the guest protected without this gateway. Until
					 * it is PROTECTED, or an operator says otherwise */
	bool is_again;			/* PREPARING or SYNCING by itself,
					 * not at an operator's request */
	uint64_t again_ns;
	struct {
		uint64_t id; /* 0: none */
		enum vm_command command;
		uint64_t started_ns;
	} op; /* the operator's request that waits for its result */
};

/* Start from what the journal holds (@record, or term 0 for a new VM). @config is borrowed.
 * @first_order_id must be larger than any order id of an earlier run (use wall-clock ns). */
void vm_fsm_init(struct vm_fsm *fsm, const struct vm_config *config, const struct vm_record *record,
		 uint64_t first_order_id, uint64_t now_ns);

/* Take one input. Empties @ret_actions first. Carry the actions out in order. */
void vm_fsm_step(struct vm_fsm *fsm, const struct vm_input *in, struct vm_actions *ret_actions);

/* Call before a LEASE is sent to the owner. */
void vm_fsm_granted(struct vm_fsm *fsm, uint64_t now_ns);

/* Somebody granted a lease of @release_ns at @now_ns at the
 * latest: order no PROMOTE until it is over. */
void vm_fsm_mute_after(struct vm_fsm *fsm, uint64_t now_ns, uint64_t release_ns);

/* Bytes came from @host: it lives. Gives no actions, so it may come between two steps. */
void vm_fsm_seen(struct vm_fsm *fsm, uint8_t host, uint64_t now_ns);

/* A step could not be journaled: restore the copy @before, made ahead of that step, and go on at
 * @now_ns. */
void vm_fsm_put_back(struct vm_fsm *fsm, const struct vm_fsm *before, uint64_t now_ns);

/* May @host open a stream with @role in @term now? 0, or an enum wire_refused_code with a sentence
 * in *ret_error. */
uint16_t vm_fsm_check_stream(const struct vm_fsm *fsm, uint8_t host, uint8_t role, uint64_t term,
			     struct error *ret_error) __attribute__((warn_unused_result));

/* How long the standby has kept epochs from being committed, by the clock of the policy
 * standby_lost. 0: nothing waits for it, or there is no standby. */
uint64_t vm_standby_waits_ns(const struct vm_fsm *fsm, uint64_t now_ns);

/* What the standby does wrong. Valid while vm_standby_waits_ns()
 * is not 0. Returns @text, of @size bytes. */
const char *vm_standby_fault(const struct vm_fsm *fsm, char *text, size_t size);

/* Should a promoted guest be probed now? */
bool vm_promoted_asks(const struct vm_fsm *fsm, uint64_t now_ns);

/* What was seen of the promoted guest since, in words. Not valid in VM_PROMOTED_NONE. Returns
 * @text, of @size bytes. */
const char *vm_promoted_describe(const struct vm_fsm *fsm, char *text, size_t size);

/* The latest time (monotonic ns) at which a tick has something to do. */
uint64_t vm_fsm_deadline_ns(const struct vm_fsm *fsm);

/* A host is in a newer term than the journal and nobody confirms it, or it obeys a younger gateway,
 * or the journal is damaged: no term begins by itself, and nothing is ordered. */
static inline bool vm_fsm_in_conflict(const struct vm_fsm *fsm)
{
	return fsm->host[VM_HOST_FIRST].conflict || fsm->host[VM_HOST_SECOND].conflict ||
	       fsm->record.in_doubt;
}

/* The host that does not own the guest: the standby while there is one. */
static inline uint8_t vm_fsm_other(const struct vm_fsm *fsm)
{
	return (uint8_t)(1 - fsm->record.owner);
}

#endif
