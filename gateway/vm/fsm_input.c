/* fsm_input.c - handles what hosts say on their control connections. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "vm/fsm_private.h"

bool vm_agent_holds(uint8_t agent_state)
{
	return agent_state == WIRE_STATE_ATTACHING || agent_state == WIRE_STATE_SYNCING ||
	       agent_state == WIRE_STATE_PROTECTED || agent_state == WIRE_STATE_LOST;
}

bool vm_agent_stands_by(uint8_t agent_state)
{
	return agent_state == WIRE_STATE_STANDBY_STARTING ||
	       agent_state == WIRE_STATE_STANDBY_WARM || agent_state == WIRE_STATE_STANDBY_READY;
}

const char *vm_peer_text(const struct vm_step *s)
{
	return s->in->text && s->in->text[0] ? s->in->text : "no reason given";
}

void vm_on_control_up(struct vm_step *s)
{
	struct vm_host *host = &s->fsm->host[s->in->host];

	host->up = true;
	host->up_ns = s->now_ns;
	host->takes_moves = s->in->takes_moves;
	host->cold.role = VM_COLD_NOT;
	host->is_move_stopped = false;
	if (s->in->host == s->fsm->record.owner)
		detector_connection(&s->fsm->detector, true, s->now_ns);
	host->reported = false;
	host->work.is_known = false;
	/* forget the last order, so that it is given again: it may have been lost */
	memset(&host->order, 0, sizeof(host->order));
	host->told_failure[0] = '\0';
	vm_event(s, "connection", "%s connected", vm_host_name(s->fsm, s->in->host));
	vm_move_connection(s, s->in->host);
}

void vm_on_control_down(struct vm_step *s)
{
	struct vm_host *host = &s->fsm->host[s->in->host];

	if (!host->up)
		return;
	host->up = false;
	if (s->in->host == s->fsm->record.owner)
		detector_connection(&s->fsm->detector, false, s->now_ns);
	vm_asked_host_lost(s, s->in->host);
	host->reported = false;
	memset(&host->order, 0, sizeof(host->order));
	vm_event(s, "connection", "%s lost its control connection",
		 vm_host_name(s->fsm, s->in->host));
	if (s->in->host != vm_fsm_spare(s->fsm))
		vm_move_give_up(s, "a host lost its control connection");
	vm_move_connection(s, s->in->host);
}

/* ---- reports ---- */

/* Handle the verdict of the owner's agent about its guest: exited, shut down, or paused. @before is
 * the verdict in the agent's previous report. */
static void on_verdict(struct vm_step *s, uint8_t before)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, s->in->host);
	char reason[VM_TEXT_MAX];
	const char *why;

	if (s->in->verdict == WIRE_VERDICT_PAUSED) {
		if (before != WIRE_VERDICT_PAUSED)
			vm_event(s, "supervision", "%s: somebody else paused the guest (%s)", name,
				 vm_peer_text(s));
		return;
	}
	(void)text_put(reason, sizeof(reason), "%s says: %s (%s)", name,
		       s->in->verdict == WIRE_VERDICT_EXITED ? "guest process exited"
							     : "guest shut itself down",
		       vm_peer_text(s));
	/* If vm_way_is_no_matter() makes the VM PROTECTED, do not promote now. The agent's next
	 * report repeats the verdict, and the promotion begins then. */
	if (s->in->verdict == WIRE_VERDICT_EXITED &&
	    vm_way_is_no_matter(s, "says that its guest ended"))
		return;
	if (s->in->verdict == WIRE_VERDICT_EXITED && fsm->record.state == VM_PROTECTED) {
		if (!vm_promote(s, reason, false, &why) && before != s->in->verdict)
			vm_event(s, "supervision", "%s, but no promotion: %s", reason, why);
		return;
	}
	if (before == s->in->verdict && vm_fsm_in_conflict(fsm))
		return; /* the event was given already, and in a conflict nothing else may follow */
	if (!vm_fsm_in_conflict(fsm))
		/* do not protect the next guest before an operator asks for it */
		vm_again_forget(fsm);
	vm_end_protection(s, reason);
	fsm->is_copy_unwanted = fsm->record.state == VM_UNPROTECTED &&
				s->in->verdict == WIRE_VERDICT_SHUTDOWN;
	vm_finish_op(s, false, "guest-ended", "%s", reason);
}

/* Take the number of the last committed epoch from the primary's report. After a restart the
 * gateway does not know this number. */
static void learn_committed(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	if (s->in->epoch <= fsm->protection.committed)
		return;
	fsm->protection.committed = s->in->epoch;
	if (fsm->record.state == VM_PROTECTED && fsm->stream[VM_STREAM_STANDBY].up &&
	    fsm->protection.complete < fsm->protection.committed)
		vm_set_state(s, VM_SYNCING, fsm->record.owner, false,
			     "%s holds epoch %" PRIu64 ", but %" PRIu64 " was committed",
			     vm_host_name(fsm, vm_fsm_other(fsm)), fsm->protection.complete,
			     fsm->protection.committed);
}

/* Called when the owner's agent seals no more epochs, for example because the guest got a device
 * that the standby lacks. Ends protection: in a new term, the guest runs unprotected. */
static void on_uncovered(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char reason[VM_TEXT_MAX];

	(void)text_put(reason, sizeof(reason), "suspended: %s says: %s",
		       vm_host_name(fsm, s->in->host), vm_peer_text(s));
	vm_end_protection(s, reason);
	if (fsm->record.state != VM_UNPROTECTED)
		return; /* protection has not ended, because of a conflict */
	vm_again_plan(fsm, VM_AGAIN_COVERED, NULL, s->now_ns);
	vm_finish_op(s, false, "guest-changed", "%s", reason);
}

static void on_owner_report(struct vm_step *s, uint8_t verdict_before)
{
	struct vm_fsm *fsm = s->fsm;
	enum vm_state state = fsm->record.state;

	/* After a restart of the gateway, only this report shows that the owner still holds
	 * output. */
	fsm->release_due |= state == VM_UNPROTECTED && fsm->record.term > 0 &&
			    vm_agent_holds(s->in->agent_state);
	/* Do this before vm_again_report(), because a promoted guest that is in doubt must not be
	 * protected again. After a restart, only this report shows that the guest was promoted. */
	if (s->in->term == fsm->record.term)
		vm_promoted_report(s);
	/* Do this before the check of the term. The owner reports an older term than the journal's
	 * if a later protection ended before its orders reached the owner. */
	vm_again_report(s);
	if (s->in->term != fsm->record.term)
		return;
	/* If the new owner runs the guest, the promotion has succeeded. In FAILED, the new owner
	 * was only slow, or its answer was lost. */
	if ((state == VM_PROMOTING || state == VM_FAILED) &&
	    s->in->agent_state == WIRE_STATE_RUNNING) {
		vm_order_ended(s, s->in->host, WIRE_VERB_PROMOTE, true, s->in->text);
		return;
	}
	if (state != VM_SYNCING && state != VM_PROTECTED)
		return;
	/* An agent whose guest runs unprotected reports the epoch of the guest's promotion. That
	 * epoch belongs to an earlier term, so ignore it. */
	if (s->in->role == WIRE_VM_ROLE_PRIMARY && s->in->agent_state != WIRE_STATE_RUNNING)
		learn_committed(s);
	if (s->in->is_uncovered) {
		on_uncovered(s);
		return;
	}
	if (s->in->verdict != WIRE_VERDICT_NONE)
		on_verdict(s, verdict_before);
	vm_on_copy(s);
}

/* Note whether the last order took effect. If the host later leaves the ordered state, for example
 * because its agent restarts, forget the order, so that it is given again. */
static void track_effect(struct vm_fsm *fsm, struct vm_host *host)
{
	bool in_effect;

	if (host->order.verb == WIRE_VERB_PROTECT)
		in_effect = vm_agent_holds(host->agent_state) &&
			    host->agent_state != WIRE_STATE_LOST;
	else if (host->order.verb == WIRE_VERB_STANDBY_START)
		in_effect = vm_agent_stands_by(host->agent_state);
	else
		return;
	if (!host->order.done || host->term != fsm->record.term)
		return;
	if (in_effect) {
		host->effective = true;
	} else if (host->effective) {
		host->effective = false;
		memset(&host->order, 0, sizeof(host->order));
	}
}

/* Give an event when the agent begins to slow the guest down, and when it stops. Changes in between
 * are only in the agent's statistics. */
static void on_throttle(struct vm_step *s, struct vm_host *host)
{
	const char *name = vm_host_name(s->fsm, s->in->host);
	uint8_t before = host->throttle_percent, now = s->in->throttle_percent;
	uint64_t ms;

	host->throttle_percent = now;
	if (before == 0 && now > 0) {
		host->throttled_at_ns = s->now_ns;
		host->throttle_peak = 0;
		vm_event(s, "pace", "%s throttles the guest by %u %%: %s", name, now,
			 s->in->throttle_why ? s->in->throttle_why : "no reason given");
	}
	if (now > host->throttle_peak)
		host->throttle_peak = now;
	if (before == 0 || now > 0)
		return;
	ms = (s->now_ns - host->throttled_at_ns) / CLOCK_NS_PER_MS;
	vm_event(s, "pace",
		 "%s lets the guest run freely again: throttled for %" PRIu64 ".%" PRIu64
		 " s, by %u %% at most",
		 name, ms / 1000, ms % 1000 / 100, host->throttle_peak);
}

/* Give an event when the guest's clock begins to lose too much time to pauses, and when it no
 * longer does. */
static void on_clock(struct vm_step *s, struct vm_host *host)
{
	const char *name = vm_host_name(s->fsm, s->in->host);
	bool is_alarm = s->in->clock_alarm_percent > 0;

	if (is_alarm && !host->is_clock_alarm)
		vm_event(s, "clock", "the guest's clock on %s lost %u %% of the last minute: %s",
			 name, s->in->clock_alarm_percent,
			 s->in->clock_why ? s->in->clock_why
					  : "its pauses are not all given back yet");
	else if (!is_alarm && host->is_clock_alarm)
		vm_event(s, "clock",
			 "the guest's clock on %s goes right again; what it lost stays lost", name);
	host->is_clock_alarm = is_alarm;
}

void vm_on_report(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_host *host = &fsm->host[s->in->host];
	uint8_t verdict_before = host->verdict;

	if (!host->up)
		return;
	host->reported = true;
	host->agent_state = s->in->agent_state;
	host->cold = s->in->cold;
	host->verdict = s->in->verdict;
	host->is_guest_found = s->in->is_guest_found;
	host->term = s->in->term;
	host->epoch = s->in->epoch;
	host->has_copy = s->in->role == WIRE_VM_ROLE_STANDBY && s->in->epoch > 0 &&
			 s->in->verdict != WIRE_VERDICT_EXITED;
	vm_cold_tell_torn(s, s->in->host);
	vm_on_work(s, host);
	if (host->term > fsm->record.term) {
		vm_on_newer_term(s);
		return;
	}
	if (vm_on_claim_of_spare(s))
		return;
	host->conflict = false;
	vm_confirm_record(s);
	vm_spare_reported(fsm, s->in->host, s->now_ns);
	if (s->in->host == vm_fsm_spare(fsm)) {
		host->is_move_stopped = false; /* for the other hosts, vm_move_report() sets this */
		return; /* vm_reconcile() decides from the state what the spare must do */
	}
	on_throttle(s, host);
	vm_on_way(s, host);
	on_clock(s, host);
	track_effect(fsm, host);
	vm_move_report(s, host);
	if (vm_settle_failed(s))
		return;
	if (s->in->host == fsm->record.owner)
		on_owner_report(s, verdict_before);
	else if (fsm->record.state == VM_PREPARING)
		vm_resume_if_ready(s);
}
