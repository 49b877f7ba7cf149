/* fsm_private.h - what the files of the state machine share; nobody else includes it. README.md
 * says which file does what.
 *
 * Threads: as fsm.h.
 */
#ifndef VM_FSM_PRIVATE_H
#define VM_FSM_PRIVATE_H

#include "vm/fsm.h"

/* The step being made. */
struct vm_step {
	struct vm_fsm *fsm;
	const struct vm_input *in;
	struct vm_actions *out;
	uint64_t now_ns;
	bool may_resolve; /* two voices or an operator named the
			   * owner: a conflict bars no new term */
};

typedef void (*vm_handler_fn)(struct vm_step *s);

/* Append an empty action of @kind. Never NULL (on overflow: a spare that is thrown away). */
struct vm_action *vm_act(struct vm_step *s, enum vm_action_kind kind);

void vm_event(struct vm_step *s, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* THE function that changes state: checks the table, journals, gives the event. Sets @owner and,
 * with @new_term, a new term. The text is the reason. */
void vm_set_state(struct vm_step *s, enum vm_state to, uint8_t owner, bool new_term,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* End the operator's waiting request, if there is one. */
void vm_finish_op(struct vm_step *s, bool ok, const char *code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* End protection under the same owner: new term, release the output, stop the standby. */
void vm_end_protection(struct vm_step *s, const char *reason);

/* Promote the other host if that is allowed now. @silent: the reason is the
 * owner's silence, so rule out that our own link is down. True: promotion
 * has begun. False: *ret_why (a constant) says what is missing. */
bool vm_promote(struct vm_step *s, const char *reason, bool silent, const char **ret_why);

/* The standby holds epoch @epoch whole: commit it if it is new, become PROTECTED. */
void vm_epoch_complete(struct vm_step *s, uint64_t epoch);

/* fsm_way.c. @host reported what keeps clients from the guest there, or that nothing does. */
void vm_on_way(struct vm_step *s, struct vm_host *host);
/* What keeps clients from the guest at @host, in its own words; NULL: nothing. */
const char *vm_way_obstacle(const struct vm_fsm *fsm, uint8_t host);
/* SYNCING because output cannot leave, and now the owner's guest ended
 * or its host fell silent: become PROTECTED again if the standby holds
 * all that was committed. False: this does not apply. */
bool vm_way_is_no_matter(struct vm_step *s, const char *why);
/* SYNCING, at each tick: end a protection whose output cannot leave. */
void vm_judge_way(struct vm_step *s);

/* Send RESUME when both streams are there. */
void vm_resume_if_ready(struct vm_step *s);

/* fsm_standby.c. A protection or its first copy begins: set the clock of standby_lost to zero. */
void vm_standby_begin(struct vm_fsm *fsm, uint64_t now_ns);
/* A new epoch was committed. */
void vm_standby_committed(struct vm_step *s);
/* RESUME is sent: a new attempt begins. */
void vm_standby_resumed(struct vm_fsm *fsm);
/* The standby said @why its stream is about to end. NULL: the stream has ended. */
void vm_standby_broke(struct vm_fsm *fsm, const char *why);
/* At each tick in SYNCING and PROTECTED. Applies the policy when its time has come. */
void vm_judge_standby(struct vm_step *s);
/* Give an event of kind "stream". When there are too many, only count it. */
void vm_stream_event(struct vm_step *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* fsm_work.c. A REPORT of @host came. */
void vm_on_work(struct vm_step *s, struct vm_host *host);
/* When host @h last made progress with any order, but at least @since_ns. */
uint64_t vm_moved_ns(const struct vm_fsm *fsm, uint8_t h, uint64_t since_ns);
/* Has host @h made no progress since @since_ns, for order_timeout? */
bool vm_is_stuck(const struct vm_step *s, uint8_t h, uint64_t since_ns);
/* The evidence for that: "it copied ..." for host @h; "alpha copied ..." for both hosts, in a first
 * copy. Both return @text, of @size bytes. */
const char *vm_describe_stuck(const struct vm_fsm *fsm, uint8_t h, char *text, size_t size);
const char *vm_describe_copy(const struct vm_fsm *fsm, char *text, size_t size);

/* fsm_promoted.c. The promoted host said that it runs the
 * guest. Ends the operator's request later. */
void vm_promoted_begin(struct vm_step *s);
/* The owner sent a REPORT. */
void vm_promoted_report(struct vm_step *s);
/* UNPROTECTED: at each tick. */
void vm_promoted_tick(struct vm_step *s);

/* A host reported a term above the journal's; fsm->host has it already. */
void vm_on_newer_term(struct vm_step *s);

/* In FAILED, when both hosts explain the failure: in that term they had agreed on the old owner, by
 * a vote that this gateway did not hear of. The other host takes no PROMOTE of that term, so the
 * guest stays where it is, in a new term. If it was protected it is protected again by itself.
 * False: there is no such agreement. */
bool vm_settle_failed(struct vm_step *s);

/* The reporting host has obeyed a younger gateway. Two gateways are four parties: this one and the
 * owner could agree while the younger one promotes the standby. */
void vm_on_obeys_another(struct vm_step *s);

/* A host reported in the journal's term, but the journal's newest line may be lost: go on once both
 * hosts confirm that term. */
void vm_confirm_record(struct vm_step *s);

/* Journal the record as it is. */
void vm_journal_record(struct vm_step *s);

/* An operator names the owner: new term, unprotected. If
 * the other host runs the guest, it is fenced. */
void vm_resolve_conflict(struct vm_step *s, uint8_t owner);

/* fsm_input.c. What the host gave as a reason, or "no reason given". */
const char *vm_peer_text(const struct vm_step *s);

/* fsm_done.c. @host's part in a protection failed, or its standby can never take this guest. */
void vm_protect_failed(struct vm_step *s, uint8_t host, const char *text);

/* An order was answered, or given up. */
void vm_order_ended(struct vm_step *s, uint8_t host, uint8_t verb, bool ok, const char *text);

/* STANDBY_STOP, ordered before a guest is given back, was answered or given up. */
void vm_give_back(struct vm_step *s, bool ok, const char *text);

/* Send each host the orders that the state wants and that
 * were not yet sent. Last part of a step. */
void vm_reconcile(struct vm_step *s);

/* True for agent states in which the agent holds, or may
 * hold, output of the guest as its primary. */
bool vm_agent_holds(uint8_t agent_state);
/* True for agent states of a standby. */
bool vm_agent_stands_by(uint8_t agent_state);

static inline const char *vm_host_name(const struct vm_fsm *fsm, uint8_t host)
{
	return fsm->config->host[host];
}

/* Handlers, by input. */
void vm_on_control_up(struct vm_step *s);
void vm_on_control_down(struct vm_step *s);
void vm_on_report(struct vm_step *s);
void vm_on_order_done(struct vm_step *s);
void vm_on_stream_up(struct vm_step *s);
void vm_on_stream_down(struct vm_step *s);
void vm_on_stream_refused(struct vm_step *s);
void vm_on_stream_failed(struct vm_step *s);
void vm_on_epoch_ack(struct vm_step *s);
void vm_on_command(struct vm_step *s);
void vm_on_fenced(struct vm_step *s);

#endif
