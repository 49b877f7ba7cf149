/* fsm_private.h - what the files of the state machine share. Only they include it. README.md says
 * which file does what.
 *
 * Threads: as fsm.h.
 */
#ifndef VM_FSM_PRIVATE_H
#define VM_FSM_PRIVATE_H

#include "vm/fsm.h"

/* The step that is being made. */
struct vm_step {
	struct vm_fsm *fsm;
	const struct vm_input *in;
	struct vm_actions *out;
	uint64_t now_ns;
	bool may_resolve; /* two voices or an operator named the owner, so
			   * a new term may begin even in a conflict */
};

typedef void (*vm_handler_fn)(struct vm_step *s);

/* Append an empty action of @kind. Never returns NULL: if the list is full, returns its last
 * element and sets `overflow`. */
struct vm_action *vm_act(struct vm_step *s, enum vm_action_kind kind);

void vm_event(struct vm_step *s, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Change the state. The only function that does: it checks the change against the table,
 * sets @owner, begins a new term if @new_term, journals the record and gives the event.
 * @format: the reason. */
void vm_set_state(struct vm_step *s, enum vm_state to, uint8_t owner, bool new_term,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Reply to the operator's request that waits for its result, if there is one. */
void vm_finish_op(struct vm_step *s, bool ok, const char *code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* End protection under the same owner: begin a new term, order the owner to release the output, and
 * order the other host to stop its standby. In a conflict only gives an event. */
void vm_end_protection(struct vm_step *s, const char *reason);

/* Promote the other host if that is allowed now. @silent: the reason is the owner's silence, so
 * first make sure that our own link is not down. Returns true if the promotion has begun; else
 * *ret_why (a constant) says what is missing. */
bool vm_promote(struct vm_step *s, const char *reason, bool silent, const char **ret_why);

/* The standby now has all of epoch @epoch. Commit the epoch if it is new. Become PROTECTED if the
 * epoch was sealed with the hold in place. */
void vm_epoch_complete(struct vm_step *s, uint64_t epoch);

/* fsm_way.c. Handle the part of a REPORT in which @host says what keeps clients from reaching the
 * guest on it, or that nothing does. */
void vm_on_way(struct vm_step *s, struct vm_host *host);
/* Returns what keeps clients from reaching the guest on @host, in that host's
 * words; NULL: nothing. */
const char *vm_way_obstacle(const struct vm_fsm *fsm, uint8_t host);
/* Handle the end of the owner's guest, or the silence of its host, while the VM is SYNCING because
 * output cannot leave: become PROTECTED again if the standby holds all that was committed. Returns
 * false if this does not apply. @why: for the event. */
bool vm_way_is_no_matter(struct vm_step *s, const char *why);
/* Called at each tick in SYNCING: ends the protection if the guest's output has been blocked for
 * too long. */
void vm_judge_way(struct vm_step *s);

/* In PREPARING, become SYNCING if the standby is ready. Later, send RESUME if both
 * streams are up. */
void vm_resume_if_ready(struct vm_step *s);

/* fsm_standby.c. Set the clock of standby_lost to zero, because a protection or its
 * first copy begins. */
void vm_standby_begin(struct vm_fsm *fsm, uint64_t now_ns);
/* Note that a new epoch was committed: the clock of standby_lost begins again. */
void vm_standby_committed(struct vm_step *s);
/* Note that RESUME is sent: a new attempt begins. */
void vm_standby_resumed(struct vm_fsm *fsm);
/* Note that the standby says @why its stream is about to end; if @why is NULL, note that the
 * stream has ended. */
void vm_standby_broke(struct vm_fsm *fsm, const char *why);
/* Called at each tick in SYNCING and PROTECTED. Applies the policy standby_lost once its
 * timeout has expired. */
void vm_judge_standby(struct vm_step *s);
/* Give an event of kind "stream". If there are too many such events, only count this one. */
void vm_stream_event(struct vm_step *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* fsm_work.c. Note the progress that @host reports. */
void vm_on_work(struct vm_step *s, struct vm_host *host);
/* Returns when host @h last made progress with any order, or @since_ns if that is later. */
uint64_t vm_moved_ns(const struct vm_fsm *fsm, uint8_t h, uint64_t since_ns);
/* Has host @h made no progress for order_timeout, counted from @since_ns at the earliest? */
bool vm_is_stuck(const struct vm_step *s, uint8_t h, uint64_t since_ns);
/* Describe the last step before progress stopped: "it copied ..." for host @h; "alpha copied ..."
 * for both hosts, in a first copy. Both return @text, of @size bytes. */
const char *vm_describe_stuck(const struct vm_fsm *fsm, uint8_t h, char *text, size_t size);
const char *vm_describe_copy(const struct vm_fsm *fsm, char *text, size_t size);

/* fsm_promoted.c. Begin to watch whether the guest serves, because the promoted host said that it
 * runs the guest. The operator's request ends when the result is known. */
void vm_promoted_begin(struct vm_step *s);
/* Take from the owner's REPORT what it says about the promoted guest. */
void vm_promoted_report(struct vm_step *s);
/* Called at each tick in UNPROTECTED. */
void vm_promoted_tick(struct vm_step *s);

/* Handle a report of a term above the journal's. fsm->host holds the report already. */
void vm_on_newer_term(struct vm_step *s);

/* Settle FAILED if the two hosts had agreed without this gateway, in the same term, that the old
 * owner keeps the guest. The other host therefore accepts no PROMOTE in that term. The guest stays
 * where it is, in a new term, and is protected again if the hosts kept it protected. Returns false
 * if the state is not FAILED or there is no such agreement. */
bool vm_settle_failed(struct vm_step *s);

/* Begin a conflict: the reporting host has obeyed a younger gateway. With two gateways there
 * are four parties: this gateway and the owner could agree while the younger gateway
 * promotes the standby. */
void vm_on_obeys_another(struct vm_step *s);

/* Handle a report in the journal's term while the journal's newest line may be lost (in_doubt): end
 * the doubt if both hosts confirm that term. */
void vm_confirm_record(struct vm_step *s);

/* Journal the present record. */
void vm_journal_record(struct vm_step *s);

/* End a conflict because an operator named @owner: begin a new term, unprotected. If the other host
 * runs the guest, it is fenced. */
void vm_resolve_conflict(struct vm_step *s, uint8_t owner);

/* fsm_input.c. Returns the reason that the host gave, or "no reason given". */
const char *vm_peer_text(const struct vm_step *s);

/* fsm_done.c. Handle that @host cannot do its part in a protection, or that its standby can never
 * take over this guest. */
void vm_protect_failed(struct vm_step *s, uint8_t host, const char *text);

/* Handle the end of an order to @host: it was answered, or given up. */
void vm_order_ended(struct vm_step *s, uint8_t host, uint8_t verb, bool ok, const char *text);

/* Handle the end of the STANDBY_STOP that was ordered before giving the guest back: it was
 * answered, or given up. */
void vm_give_back(struct vm_step *s, bool ok, const char *text);

/* Send each host the order that the state requires, unless it was sent already. Last part
 * of a step. */
void vm_reconcile(struct vm_step *s);

/* Is this an agent state in which the agent, as primary, holds or may hold the guest's output? */
bool vm_agent_holds(uint8_t agent_state);
/* Is this an agent state of a standby? */
bool vm_agent_stands_by(uint8_t agent_state);

static inline const char *vm_host_name(const struct vm_fsm *fsm, uint8_t host)
{
	return fsm->config->host[host];
}

/* Handlers of inputs, one for each kind. */
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
