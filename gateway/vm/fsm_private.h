/* fsm_private.h - types and functions that only the files of the state machine use. README.md says
 * which file does what.
 *
 * Threads: the gateway's loop only.
 */
#ifndef VM_FSM_PRIVATE_H
#define VM_FSM_PRIVATE_H

#include "vm/fsm_look.h"

/* The step that is being made. */
struct vm_step {
	struct vm_fsm *fsm;
	const struct vm_input *in;
	struct vm_actions *out;
	uint64_t now_ns;
	/* true if two voices (rule 5 of fsm.h) or an operator named the owner. A new term can then
	 * begin even in a conflict */
	bool may_resolve;
	bool was_conflict; /* true if the VM was in conflict when the step began */
	/* true if operators know the next change of state already, because an attempt fails again
	 * for the same reason. vm_set_state() then gives no event */
	bool is_known;
};

typedef void (*vm_handler_fn)(struct vm_step *s);

/* Append an empty action of @kind. If the list is full, returns its last element and sets
 * `overflow`. Never returns NULL. */
struct vm_action *vm_act(struct vm_step *s, enum vm_action_kind kind);

void vm_event(struct vm_step *s, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Change the state; no other function does this. Checks the change against the table, sets @owner,
 * begins a new term if @new_term, journals the record and gives the event. @format gives the
 * reason. */
void vm_set_state(struct vm_step *s, enum vm_state to, uint8_t owner, bool new_term,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Answer the command of this step's input, without waiting for anything. */
void vm_reply(struct vm_step *s, bool ok, const char *code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Reply to the operator's request that waits for its result, if there is one. */
void vm_finish_op(struct vm_step *s, bool ok, const char *code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* In fsm_again.c: end protection, but keep the owner. Begins a new term. Orders the owner to
 * release the output, and the other host to stop its standby. In a conflict, only gives an
 * event. */
void vm_end_protection(struct vm_step *s, const char *reason);

/* In fsm.c: promote the standby's host if that is allowed now. @silent is true if the reason is the
 * owner's silence. In this case the standby's host must have been heard very recently, which shows
 * that the gateway's own link works. Returns true if the promotion has begun. If not, returns false
 * and sets *ret_why (a constant) to what is missing. */
bool vm_promote(struct vm_step *s, const char *reason, bool silent, const char **ret_why);

/* In fsm_stream.c: called when the standby has all of @epoch. Commits the epoch. If the VM is
 * SYNCING and all output after the seal is held, the VM becomes PROTECTED. Does nothing if a later
 * epoch was committed already, or if the VM is SYNCING and output cannot leave the owner's host. */
void vm_epoch_complete(struct vm_step *s, uint64_t epoch);

/* In fsm_way.c: handle the part of a REPORT about an obstacle between clients and the guest on
 * @host. */
void vm_on_way(struct vm_step *s, struct vm_host *host);
/* Returns @host's description of the obstacle between clients and the guest; NULL: none. */
const char *vm_way_obstacle(const struct vm_fsm *fsm, uint8_t host);
/* Called when the owner's guest has ended or the owner's host is silent. Makes the VM PROTECTED
 * again and returns true in one case: the VM is SYNCING only because output cannot leave the host,
 * and the standby has all committed epochs. In any other case, returns false. @why becomes part of
 * the event's text. */
bool vm_way_is_no_matter(struct vm_step *s, const char *why);
/* Called at each tick in SYNCING. If the guest's output was blocked for too long, ends the
 * protection. */
void vm_judge_way(struct vm_step *s);

/* In fsm_stream.c: in PREPARING, become SYNCING if the standby is ready. In SYNCING and PROTECTED,
 * send RESUME if both streams are up. */
void vm_resume_if_ready(struct vm_step *s);

/* In fsm_standby.c: reset the clock of standby_lost, which measures how long commits have waited
 * for the standby. Called when a protection or its first copy begins. */
void vm_standby_begin(struct vm_fsm *fsm, uint64_t now_ns);
/* Start the clock of standby_lost again, because a new epoch was committed. */
void vm_standby_committed(struct vm_step *s);
/* Called when RESUME is sent: the standby's next attempt to catch up begins. */
void vm_standby_resumed(struct vm_fsm *fsm);
/* Note that the standby will end its stream for the reason @why. If @why is NULL, the stream has
 * ended already. */
void vm_standby_broke(struct vm_fsm *fsm, const char *why);
/* Called at each tick in SYNCING and PROTECTED. If the timeout of standby_lost has expired, applies
 * that policy. */
void vm_judge_standby(struct vm_step *s);
/* Give an event of kind "stream". If there are too many such events, only count this one. */
void vm_stream_event(struct vm_step *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* In fsm_copy.c: handle the part of the owner's REPORT about a copy of the disks for which output
 * is held. Applies the policy standby_lost if the copy takes too long. */
void vm_on_copy(struct vm_step *s);
/* Called when an epoch was committed, which shows that no such copy is under way. */
void vm_copy_ended(struct vm_fsm *fsm);
/* Leave the @gap_ns during which the gateway itself was stalled out of the copy's times. */
void vm_copy_stalled(struct vm_fsm *fsm, uint64_t gap_ns);

/* The last state before the VM became UNPROTECTED. */
struct vm_ended {
	enum vm_state state; /* the state that has ended */
	uint64_t lasted_ns;  /* how long the VM was in that state */
	bool was_own;	     /* true if the gateway itself had begun the protection */
	const char *reason;  /* why it has ended */
};

/* In fsm_again.c: called at the start with the journal's record. */
void vm_again_init(struct vm_fsm *fsm, uint64_t now_ns);
/* Called when the VM has entered a state. Forgets what the old state waited for, and applies the
 * policy. */
void vm_again_entered(struct vm_fsm *fsm, uint64_t now_ns);
/* Called in UNPROTECTED when a protection, or an attempt to begin one, has ended. If the gateway
 * had begun it, the gateway tries again, each time after a longer wait. */
void vm_again_ended(struct vm_fsm *fsm, const struct vm_ended *ended, uint64_t now_ns);
/* In UNPROTECTED: protect the guest again at @at_ns at the earliest. @why: see struct vm_again. */
void vm_again_plan(struct vm_fsm *fsm, enum vm_again_when when, const char *why, uint64_t at_ns);
/* Are the texts the same, except for their numbers? */
bool vm_is_same_but_digits(const char *a, const char *b);
/* Returns why the last attempt with host @h as the standby failed, since the VM was last PROTECTED;
 * NULL: none has failed. */
const char *vm_again_last_failure(const struct vm_fsm *fsm, uint8_t h);
/* Called when the policy reprotect may have changed. */
void vm_on_policy(struct vm_step *s);
/* Called when nobody wants a protection any more: an operator has decided so, or the guest has
 * ended. */
void vm_again_forget(struct vm_fsm *fsm);
/* Called at each report of the owner: begin a protection, if one is due and both hosts are
 * ready. */
void vm_again_report(struct vm_step *s);
/* Called at each tick in UNPROTECTED. If the owner has already reported, does the same as
 * vm_again_report(). So a promoted guest is protected again as soon as it has shown that it serves,
 * without a wait for the next report of its host. */
void vm_again_tick(struct vm_step *s);
/* Returns what prevents host @h, which is not the owner, from becoming the standby, as words that
 * follow the host's name; NULL: nothing prevents it. Call this in UNPROTECTED. */
const char *vm_protect_obstacle(const struct vm_fsm *fsm, uint8_t h);
/* Does @host, the owner, report that its guest has ended? */
bool vm_guest_is_gone(const struct vm_host *host);
/* Is the host connected, and does it report that it has the guest, running or paused? */
bool vm_has_guest(const struct vm_host *host);
/* Like vm_has_guest(), but returns false if host @h is silent. The connection of a dead host can
 * last for up to 10 s. */
bool vm_has_guest_now(const struct vm_step *s, uint8_t h);
/* Has @host got an order FENCE that it has not answered? */
bool vm_is_being_fenced(const struct vm_host *host);
/* Is it still unknown, or doubtful, whether a promoted guest serves its clients? If so, the stopped
 * guest that the other host keeps may be the better one, and an operator must decide. */
bool vm_promoted_is_doubtful(const struct vm_fsm *fsm);

/* In fsm_asked.c: handle a command of kind @kind. */
void vm_on_asked(struct vm_step *s, enum vm_asked_kind kind);
/* Called when a host has answered an order. If an operator asked for the order (`asked`), handles
 * the answer and returns true. */
bool vm_asked_done(struct vm_step *s);
/* Called when the protection has ended, so that no order in `asked` will be answered: give an event
 * about each of these orders, and reply to those who wait. */
void vm_asked_protection_ended(struct vm_step *s);
/* Called when the connection of @host has ended, so that this host will answer no order in `asked`.
 * Gives events and replies like vm_asked_protection_ended(). */
void vm_asked_host_lost(struct vm_step *s, uint8_t host);

/* In fsm_work.c: note the progress that @host reports. */
void vm_on_work(struct vm_step *s, struct vm_host *host);
/* Returns when host @h last made progress with any order, or @since_ns if that is later. */
uint64_t vm_moved_ns(const struct vm_fsm *fsm, uint8_t h, uint64_t since_ns);
/* Has host @h made no progress for order_timeout, counted from @since_ns at the earliest? */
bool vm_is_stuck(const struct vm_step *s, uint8_t h, uint64_t since_ns);
/* Write to @text (@size bytes) which step of host @h was the last before its progress stopped, such
 * as "it copied 3.1 of 5.0 GiB". Returns @text. */
const char *vm_describe_stuck(const struct vm_fsm *fsm, uint8_t h, char *text, size_t size);
/* Like vm_describe_stuck(), but during a protection's first copy: describes both hosts, with their
 * names. */
const char *vm_describe_copy(const struct vm_fsm *fsm, char *text, size_t size);

/* In fsm_promoted.c: called when the promoted host has said that it runs the guest. Begins to watch
 * whether the guest serves its clients. The operator's request gets its reply when this is
 * known. */
void vm_promoted_begin(struct vm_step *s);
/* Note what the owner's REPORT says about the promoted guest. */
void vm_promoted_report(struct vm_step *s);
/* Called at each tick in UNPROTECTED. Continues to watch the promoted guest. */
void vm_promoted_tick(struct vm_step *s);

/* In fsm_move.c: begin a move. Call this if an operator wants the guest on the other host, and
 * nothing prevents this. */
void vm_move_begin(struct vm_step *s);
/* Called when the owner has answered the order MOVE. Begins the promotion, or gives the move up. */
void vm_move_ordered(struct vm_step *s, uint8_t host, bool ok, const char *text);
/* If a move was ordered, give it up for the reason @why. The owner is then ordered to let the guest
 * continue. */
void vm_move_give_up(struct vm_step *s, const char *why);
/* Called when the VM has entered a state. Continues, ends or gives up a move. */
void vm_move_entered(struct vm_step *s);
/* Called when the new owner of a moved guest runs it. Gives an event, and plans to protect the
 * guest again. */
void vm_move_runs(struct vm_step *s);
/* After a move whose promotion, in the present term, has not succeeded: is it certain that the
 * guest has not run on the new owner? Only then may the guest be given back without an operator. */
bool vm_move_is_certain(const struct vm_fsm *fsm);
/* Is vm_move_is_certain() true, and does the old owner report that it has the guest? */
bool vm_move_may_begin_back(const struct vm_fsm *fsm);
/* Called when the guest is given back because the move failed. Plans to protect it again, but not
 * at once. */
void vm_move_given_back(struct vm_step *s);
/* Called when @host's control connection has ended, or a new one has begun. */
void vm_move_connection(struct vm_step *s, uint8_t host);
/* Note what @host's REPORT says about a move. */
void vm_move_report(struct vm_step *s, struct vm_host *host);
/* Called at each tick in PROTECTED. Gives up a move that takes too long. */
void vm_move_tick(struct vm_step *s);
/* Was @host ordered to let go of the guest, or does it keep the guest stopped, although no move is
 * under way? If so, it must be ordered to let the guest continue. */
bool vm_move_must_go_on(const struct vm_fsm *fsm, const struct vm_host *host);
/* Reply to the operator who waits for the move: the promoted guest serves (@ok), or does not show
 * that it does. @how says what was seen. */
void vm_move_reply(struct vm_step *s, bool ok, const char *how);

/* In fsm_spare.c: begin a protection with the spare in the other host's seat. @why ends a sentence
 * that begins with the spare's name. Call this in UNPROTECTED, and only if vm_protect_obstacle() of
 * the spare is NULL. Returns true if the protection has begun. */
bool vm_spare_take_seat(struct vm_step *s, const char *why);
/* Called when a protection is due. If the spare is to take the other host's seat now, begins the
 * protection and returns true. */
bool vm_spare_may_begin(struct vm_step *s);
/* Write to @text (@size bytes) what happens with the spare next, such as "; gamma takes its seat in
 * 00:42", or "". Returns @text. */
const char *vm_spare_when(const struct vm_fsm *fsm, uint64_t now_ns, char *text, size_t size);
/* Called when host @h has reported. Notes whether this host would be able to keep a copy. */
void vm_spare_reported(struct vm_fsm *fsm, uint8_t h, uint64_t now_ns);
/* Is the spare connected, has it reported, and is it in no newer term than @term? */
bool vm_spare_is_not_past(const struct vm_fsm *fsm, uint64_t term);

/* In fsm_cold.c: check whether the guest runs nowhere. If so, start it if the policy cold_start
 * says so. Called at each report and tick. */
void vm_cold_look(struct vm_step *s);
/* Handle the command START. */
void vm_on_start(struct vm_step *s);
/* Has host @h lost its memory, and with its memory the guest or the copy? If so, only the orders of
 * a cold start make sense for this host. */
bool vm_cold_waits(const struct vm_fsm *fsm, uint8_t h);
/* Has host @h answered FENCE of the present term, so that its guest is stopped? */
bool vm_cold_is_fenced(const struct vm_fsm *fsm, uint8_t h);
/* Returns the order that a cold start requires of host @h, or 0. Call this in PROMOTING if
 * cold.is_start is true. */
uint8_t vm_cold_verb(const struct vm_fsm *fsm, uint8_t h);
/* Are the disks of host @h an unfinished copy, and has the host nothing else of the guest? */
bool vm_cold_is_torn(const struct vm_fsm *fsm, uint8_t h);
/* Called when host @h has reported. If its disks are an unfinished copy, gives one event. */
void vm_cold_tell_torn(struct vm_step *s, uint8_t h);
/* In fsm_lost.c: called at each tick in PROMOTING. If a cold start makes no progress because a host
 * has gone away or is not fenced, waits for that host for a limited time. Then gives the start up:
 * the VM becomes FAILED, and a host can be chosen again. Returns true if the VM was in a cold
 * start. */
bool vm_lost_tick(struct vm_step *s);
/* Called when the command START chooses host @h. Refuses the command and returns true in two cases:
 * - the other host is away and may run the guest, and nothing will fence it
 * - the operator names a host as switched off, but that host is connected, or is not the other
 *   host */
bool vm_lost_refuse(struct vm_step *s, uint8_t h);
/* Called for the command FAILOVER in FAILED. If one host has lost its memory, and only the other
 * host, which is away, may have the guest or a copy, refuses the command and returns true. */
bool vm_lost_refuse_failover(struct vm_step *s);
/* In fsm_command.c: accept the operator's command. The operator waits for the result or, with
 * no_wait, gets a reply at once. */
void vm_command_begin(struct vm_step *s);
/* In fsm_command.c: if host @h is not connected, or has not reported, refuse the command and return
 * true. */
bool vm_refuse_absent(struct vm_step *s, uint8_t h);
/* In fsm_left.c: may the owner, in UNPROTECTED, be ordered to release the guest? */
bool vm_left_may_release(const struct vm_fsm *fsm);
/* May the standby, in UNPROTECTED, be ordered to discard its copy? Not while this copy may be all
 * that is left of the guest. */
bool vm_left_may_stop(const struct vm_fsm *fsm);
/* Handle the command FAILOVER if vm_left_is_copy(). Returns true if it was handled. */
bool vm_left_failover(struct vm_step *s);
/* In fsm_drain.c: handle the command END_COPY. */
void vm_on_end_copy(struct vm_step *s);

/* In fsm.c: returns what is missing for a promotion, or NULL. The standby's host must have been
 * heard within @silence_max_ns. */
const char *vm_promotion_obstacle(const struct vm_fsm *fsm, uint64_t silence_max_ns,
				  uint64_t now_ns);

/* In fsm_newer.c: handle a report of a term above the journal's. fsm->host holds the report
 * already. */
void vm_on_newer_term(struct vm_step *s);

/* If the reporting host has no seat, but reports that it has the guest or a copy in the journal's
 * own term, begin a conflict and return true. No order of this gateway can have caused such a
 * report. */
bool vm_on_claim_of_spare(struct vm_step *s);

/* Acts only in FAILED. Without the gateway, the two hosts can agree that the old owner keeps the
 * guest in the failed term. If both hosts report this agreement, ends FAILED and returns true. The
 * guest stays on the old owner, in a new term. If the hosts kept the guest protected, it is
 * protected again. Without such an agreement, or in another state, returns false. */
bool vm_settle_failed(struct vm_step *s);

/* Begin a conflict, because the reporting host has obeyed a younger gateway (one with a larger
 * incarnation). With two gateways, two voices are no majority: this gateway and the owner could
 * agree on one thing, and the younger gateway and the standby on another. */
void vm_on_obeys_another(struct vm_step *s);

/* Called when the journal's newest line may have been lost (in_doubt), and a host reports the term
 * of the last readable line. If both hosts confirm this term and its owner, the doubt ends. */
void vm_confirm_record(struct vm_step *s);

/* In fsm.c: journal the present record. */
void vm_journal_record(struct vm_step *s);

/* In fsm_conflict.c: handle the command `owner`, and in a conflict all other commands except
 * `start`. Returns true if the command was handled. */
bool vm_conflict_command(struct vm_step *s);

/* In fsm_input.c: returns the reason that the host gave, or "no reason given". */
const char *vm_peer_text(const struct vm_step *s);

/* In fsm_done.c: called when @host cannot do its part in a protection, or when its standby can
 * never take over this guest. In SYNCING, ends the protection. In PROTECTED, promotes the
 * standby. */
void vm_protect_failed(struct vm_step *s, uint8_t host, const char *text);

/* Called at the end of an order: @host has answered, or the gateway has stopped waiting. */
void vm_order_ended(struct vm_step *s, uint8_t host, uint8_t verb, bool ok, const char *text);

/* In fsm_command.c: called in FAILED when the guest cannot be given back, for the reason @why.
 * Replies to the operator who waits for this; if none waits, gives an event. */
void vm_give_back_fails(struct vm_step *s, const char *why);
/* Give the guest back to its previous owner. Called at the end of the order STANDBY_STOP to the
 * other host. @ok and @text are the host's answer, or say that the gateway no longer waits for
 * it. */
void vm_give_back(struct vm_step *s, bool ok, const char *text);

/* In fsm_order.c: send each host the order that the state requires, unless it was sent already.
 * This is the last part of a step. */
void vm_reconcile(struct vm_step *s);

/* In fsm_input.c: is @agent_state one in which the agent, as primary, holds or may hold the guest's
 * output? */
bool vm_agent_holds(uint8_t agent_state);
/* Is @agent_state one of a standby? */
bool vm_agent_stands_by(uint8_t agent_state);

static inline const char *vm_host_name(const struct vm_fsm *fsm, uint8_t host)
{
	return fsm->config->host[host];
}

/* The handlers of the inputs, one for each kind. */
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
