/* fsm_known.h - what the state machine of one VM knows: about the VM's hosts, its streams, and what
 * is under way. These structs are the members of struct vm_fsm.
 *
 * Most of it comes from hosts' reports and is not journaled: after its restart a gateway learns it
 * again from the next reports. Only the machine's own files (fsm_*.c) change it; everybody may read
 * it.
 *
 * Where: fsm.h includes this. control/, fleet/ and health.h read it.
 *
 * Threads: the gateway's loop only.
 */
#ifndef VM_FSM_KNOWN_H
#define VM_FSM_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "liveness/detector.h"
#include "liveness/liveness.h"
#include "vm/fsm_config.h"

#define VM_TEXT_MAX 512 /* size of an event's or reply's text, including the NUL */
/* maximum number of requests that wait for the result of the same order */
#define VM_ASKED_WAITERS_MAX 3

/* The indices of a VM's two streams: the present primary's stream and the present standby's
 * stream. */
enum vm_stream_index {
	VM_STREAM_PRIMARY = 0,
	VM_STREAM_STANDBY = 1,
};

#define VM_STREAMS 2 /* the length of an array indexed by enum vm_stream_index */

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

#endif
