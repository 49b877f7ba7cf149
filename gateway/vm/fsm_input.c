#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
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

static const char *peer_text(const struct vm_step *s)
{
	return s->in->text && s->in->text[0] ? s->in->text : "no reason given";
}

void vm_on_control_up(struct vm_step *s)
{
	struct vm_host *host = &s->fsm->host[s->in->host];

	host->up = true;
	host->up_ns = s->now_ns;
	if (s->in->host == s->fsm->record.owner)
		detector_connection(&s->fsm->detector, true, s->now_ns);
	host->reported = false;
	host->work.is_known = false;
	memset(&host->order, 0, sizeof(host->order)); /* an order that was lost on
						       * the way is given again */
	vm_event(s, "connection", "%s connected", vm_host_name(s->fsm, s->in->host));
}

void vm_on_control_down(struct vm_step *s)
{
	struct vm_host *host = &s->fsm->host[s->in->host];

	if (!host->up)
		return;
	host->up = false;
	if (s->in->host == s->fsm->record.owner)
		detector_connection(&s->fsm->detector, false, s->now_ns);
	host->reported = false;
	memset(&host->order, 0, sizeof(host->order));
	vm_event(s, "connection", "%s lost its control connection",
		 vm_host_name(s->fsm, s->in->host));
}

/* ---- reports ---- */

/* The owner's agent says the guest ended. True when that changed the state. */
static void on_verdict(struct vm_step *s, uint8_t before)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, s->in->host);
	char reason[VM_TEXT_MAX];
	const char *why;

	if (s->in->verdict == WIRE_VERDICT_PAUSED) {
		if (before != WIRE_VERDICT_PAUSED)
			vm_event(s, "supervision", "%s: somebody else paused the guest (%s)", name,
				 peer_text(s));
		return;
	}
	(void)snprintf(reason, sizeof(reason), "%s says: %s (%s)", name,
		       s->in->verdict == WIRE_VERDICT_EXITED ? "guest process exited"
							     : "guest shut itself down",
		       peer_text(s));
	/* The next report repeats the verdict, which then counts. */
	if (s->in->verdict == WIRE_VERDICT_EXITED &&
	    vm_way_is_no_matter(s, "says that its guest ended"))
		return;
	if (s->in->verdict == WIRE_VERDICT_EXITED && fsm->record.state == VM_PROTECTED) {
		if (!vm_promote(s, reason, false, &why) && before != s->in->verdict)
			vm_event(s, "supervision", "%s, but no promotion: %s", reason, why);
		return;
	}
	if (before == s->in->verdict && vm_fsm_in_conflict(fsm))
		return; /* already reported, and nothing follows */
	vm_end_protection(s, reason);
	vm_finish_op(s, false, "guest-ended", "%s", reason);
}

/* After a gateway's restart the primary's report says what was committed. */
static void learn_committed(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	if (s->in->epoch <= fsm->protection.committed)
		return;
	fsm->protection.committed = s->in->epoch;
	if (fsm->record.state == VM_PROTECTED && fsm->stream[1].up &&
	    fsm->protection.complete < fsm->protection.committed)
		vm_set_state(s, VM_SYNCING, fsm->record.owner, false,
			     "%s holds epoch %" PRIu64 ", but %" PRIu64 " was committed",
			     vm_host_name(fsm, vm_fsm_other(fsm)), fsm->protection.complete,
			     fsm->protection.committed);
}

/* The owner's agent seals no more, for example because a device was plugged that the standby lacks.
 * The standby's copy is right up to here. From the new term on the guest runs unprotected. */
static void on_uncovered(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char reason[VM_TEXT_MAX];

	(void)snprintf(reason, sizeof(reason), "suspended: %s says: %s",
		       vm_host_name(fsm, s->in->host), peer_text(s));
	vm_end_protection(s, reason);
	if (fsm->record.state != VM_UNPROTECTED)
		return; /* a conflict: nothing follows */
	fsm->is_suspended = true;
	fsm->is_agreed = false;
	fsm->again_ns = s->now_ns;
	vm_finish_op(s, false, "guest-changed", "%s", reason);
}

/* Protect the guest again by itself. For the new term gateway and owner are two of three. */
static void protect_again(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	/* Wait until the last protection has ended completely. The report will be repeated. */
	if (vm_fsm_in_conflict(fsm) || !fsm->is_suspended || s->now_ns < fsm->again_ns ||
	    fsm->op.id || fsm->release_due || fsm->stop_due || fsm->fence_due || !other->up ||
	    !other->reported)
		return;
	vm_set_state(s, VM_PREPARING, fsm->record.owner, true,
		     fsm->is_agreed ? "%s kept the guest protected without this gateway: "
				      "protecting it again"
				    : "%s says that the guest is again what was protected: "
				      "protecting it again",
		     vm_host_name(fsm, s->in->host));
	fsm->is_again = true;
}

static void on_owner_report(struct vm_step *s, uint8_t verdict_before)
{
	struct vm_fsm *fsm = s->fsm;
	enum vm_state state = fsm->record.state;

	/* The owner's term may be older: it did not hear of a protection that has ended since. */
	if (state == VM_UNPROTECTED && (s->in->is_covered_again || fsm->is_agreed))
		protect_again(s);
	if (s->in->term != fsm->record.term)
		return;
	vm_promoted_report(s);
	/* In FAILED the host was slow, or its answer was lost. It now does what was ordered. */
	if ((state == VM_PROMOTING || state == VM_FAILED) &&
	    s->in->agent_state == WIRE_STATE_RUNNING) {
		vm_order_ended(s, s->in->host, WIRE_VERB_PROMOTE, true, s->in->text);
		return;
	}
	if (state != VM_SYNCING && state != VM_PROTECTED)
		return;
	if (s->in->role == WIRE_VM_ROLE_PRIMARY)
		learn_committed(s);
	if (s->in->is_uncovered) {
		on_uncovered(s);
		return;
	}
	if (s->in->verdict != WIRE_VERDICT_NONE)
		on_verdict(s, verdict_before);
}

/* Note whether the last order took effect. If the agent has fallen out of that state since (it
 * restarted inside one connection, or gave up), the order is given again. */
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

/* The agent began or stopped slowing the guest down. Its figures have the steps in between. */
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

/* Pauses began or stopped taking time from the guest's clock that it does not get back. */
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
	host->verdict = s->in->verdict;
	host->term = s->in->term;
	host->epoch = s->in->epoch;
	vm_on_work(s, host);
	if (host->term > fsm->record.term) {
		vm_on_newer_term(s);
		return;
	}
	host->conflict = false;
	vm_confirm_record(s);
	on_throttle(s, host);
	vm_on_way(s, host);
	on_clock(s, host);
	track_effect(fsm, host);
	if (vm_settle_failed(s))
		return;
	if (s->in->host == fsm->record.owner)
		on_owner_report(s, verdict_before);
	else if (fsm->record.state == VM_PREPARING)
		vm_resume_if_ready(s);
}

/* ---- orders ---- */

static void promote_ended(struct vm_step *s, uint8_t host, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, host);
	char reason[2 * VM_TEXT_MAX]; /* may be cut */

	if (fsm->record.state != VM_PROMOTING && !(ok && fsm->record.state == VM_FAILED))
		return;
	if (ok) {
		vm_set_state(s, VM_UNPROTECTED, fsm->record.owner, false,
			     "%s runs the guest in term %" PRIu64, name, fsm->record.term);
		fsm->release_due = false;
		fsm->stop_due = false;
		fsm->fence_due = true;
		if (fsm->op.command == VM_COMMAND_UNPROTECT) /* the guest was to be given back */
			vm_finish_op(s, false, "running",
				     "%s has promoted after all: it runs %s in term %" PRIu64, name,
				     fsm->config->name, fsm->record.term);
		vm_promoted_begin(s);
		return;
	}
	/* Put it in the event too: after a restart of this
	 * gateway no operator waits for a reply. */
	(void)snprintf(
		reason, sizeof(reason),
		"%s did not promote: %s; `holdfastctl failover %s` tries again, `holdfastctl "
		"unprotect %s` gives the guest back to %s",
		name, text, fsm->config->name, fsm->config->name,
		vm_host_name(fsm, vm_fsm_other(fsm)));
	vm_set_state(s, VM_FAILED, fsm->record.owner, false, "%s", reason);
	vm_finish_op(s, false, "promotion-failed", "%s", reason);
}

static void protect_failed(struct vm_step *s, uint8_t host, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	char reason[VM_TEXT_MAX];
	const char *why;

	if (fsm->record.state == VM_SYNCING) {
		(void)snprintf(reason, sizeof(reason), "%s cannot protect it: %s",
			       vm_host_name(fsm, host), text);
		vm_end_protection(s, reason);
		vm_finish_op(s, false, "protect-failed", "%s", reason);
	} else if (fsm->record.state == VM_PROTECTED) {
		/* Its output stays held, so a promotion loses nothing that a client saw. */
		(void)snprintf(reason, sizeof(reason), "%s cannot take the guest over again: %s",
			       vm_host_name(fsm, host), text);
		if (!vm_promote(s, reason, false, &why))
			vm_event(s, "supervision", "%s, but no promotion: %s", reason, why);
	}
}

static void standby_start_ended(struct vm_step *s, uint8_t host, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	char reason[VM_TEXT_MAX];

	if (ok) {
		vm_resume_if_ready(s);
		return;
	}
	(void)snprintf(reason, sizeof(reason), "%s cannot stand by: %s", vm_host_name(fsm, host),
		       text);
	if (fsm->record.state == VM_PREPARING) {
		vm_end_protection(s, reason);
		vm_finish_op(s, false, "standby-failed", "%s", reason);
	} else {
		vm_event(s, "order", "%s", reason);
	}
}

static void unprotect_ended(struct vm_step *s, uint8_t host, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, host);

	if (ok)
		fsm->release_due = false;
	else
		vm_event(s, "order", "%s has not released the guest: %s; it is told again", name,
			 text);
	if (fsm->op.command != VM_COMMAND_UNPROTECT && fsm->op.command != VM_COMMAND_OWNER)
		return;
	if (ok)
		vm_finish_op(s, true, "done", "%s is unprotected in term %" PRIu64 " on %s",
			     fsm->config->name, fsm->record.term, name);
	else
		vm_finish_op(s, false, "release-failed", "%s has not released the guest: %s", name,
			     text);
}

void vm_order_ended(struct vm_step *s, uint8_t host, uint8_t verb, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;

	if (!text || !text[0])
		text = "no reason given";
	switch (verb) {
	case WIRE_VERB_STANDBY_START:
		standby_start_ended(s, host, ok, text);
		break;
	case WIRE_VERB_STANDBY_STOP:
		if (fsm->give_back_due)
			vm_give_back(s, ok, text);
		else
			fsm->stop_due = false;
		break;
	case WIRE_VERB_PROTECT:
		if (!ok)
			protect_failed(s, host, text);
		break;
	case WIRE_VERB_UNPROTECT:
		unprotect_ended(s, host, ok, text);
		break;
	case WIRE_VERB_PROMOTE:
		promote_ended(s, host, ok, text);
		break;
	case WIRE_VERB_FENCE:
		if (ok)
			fsm->fence_due = false;
		vm_event(s, "order", ok ? "%s is fenced" : "%s is not fenced: %s; it is told again",
			 vm_host_name(fsm, host), text);
		break;
	default:
		break;
	}
}

void vm_on_order_done(struct vm_step *s)
{
	struct vm_order *order = &s->fsm->host[s->in->host].order;

	/* Not the last order, or one of another connection:
	 * nobody waits for its answer any more. */
	if (!order->id || order->id != s->in->order_id || order->done)
		return;
	order->done = true;
	order->ok = s->in->status == WIRE_ORDER_OK;
	if (order->term != s->fsm->record.term)
		return;
	vm_order_ended(s, s->in->host, order->verb, order->ok, s->in->text);
}

/* ---- streams ---- */

uint16_t vm_fsm_check_stream(const struct vm_fsm *fsm, uint8_t host, uint8_t role, uint64_t term,
			     struct error *ret_error)
{
	bool owner = host == fsm->record.owner;
	bool primary = role == WIRE_VM_ROLE_PRIMARY;
	enum vm_state state = fsm->record.state;

	/* Tell only an outvoted host "stale term": an owner whose protection ended must go on. */
	if (term < fsm->record.term && !owner && primary)
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_STALE_TERM,
			      "term %" PRIu64 " is over: %s owns %s in term %" PRIu64, term,
			      vm_host_name(fsm, fsm->record.owner), fsm->config->name,
			      fsm->record.term);
	if (owner != primary)
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_NOT_ASKED, "%s is the %s of %s",
			      vm_host_name(fsm, host), owner ? "owner" : "standby",
			      fsm->config->name);
	if (state != VM_SYNCING && state != VM_PROTECTED && (primary || state != VM_PREPARING))
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_NOT_ASKED,
				 "%s is %s, no %s stream is wanted", fsm->config->name,
				 vm_state_name(state), wire_vm_role_name(role));
	if (term < fsm->record.term)
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_STALE_TERM,
			      "term %" PRIu64 " is over, %s is in term %" PRIu64, term,
			      fsm->config->name, fsm->record.term);
	if (term > fsm->record.term)
		return (uint16_t)error_set(ret_error, WIRE_REFUSED_NOT_ASKED,
			      "term %" PRIu64 " was never given; %s is in term %" PRIu64, term,
			      fsm->config->name, fsm->record.term);
	return 0;
}

void vm_resume_if_ready(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t other = vm_fsm_other(fsm);
	const struct vm_order *order = &fsm->host[other].order;
	struct vm_action *a;

	/* `effective`: the standby has reported since, including whether clients would reach the
	 * guest there. */
	if (fsm->record.state == VM_PREPARING && fsm->stream[1].up &&
	    order->verb == WIRE_VERB_STANDBY_START && order->term == fsm->record.term &&
	    order->done && order->ok && fsm->host[other].effective &&
	    !vm_way_obstacle(fsm, other)) {
		vm_set_state(s, VM_SYNCING, fsm->record.owner, false, "standby %s is ready",
			     vm_host_name(fsm, other));
		return; /* PROTECT is ordered next, and then the primary opens its stream */
	}
	if (fsm->record.state != VM_SYNCING && fsm->record.state != VM_PROTECTED)
		return;
	if (!fsm->stream[0].up || !fsm->stream[1].up)
		return;
	/* After our own restart `committed` may be unknown, but PROTECTED means that something was
	 * committed. */
	if ((fsm->protection.complete < fsm->protection.committed ||
	     fsm->protection.complete == 0) &&
	    fsm->record.state == VM_PROTECTED)
		vm_set_state(s, VM_SYNCING, fsm->record.owner, false,
			     "%s holds epoch %" PRIu64 ", but %" PRIu64 " was committed",
			     vm_host_name(fsm, vm_fsm_other(fsm)), fsm->protection.complete,
			     fsm->protection.committed);
	fsm->protection.progress_ns = s->now_ns;
	fsm->protection.progress_bytes = 0;
	vm_standby_resumed(fsm);
	a = vm_act(s, VM_ACT_RESUME);
	a->term = fsm->record.term;
	a->epoch = fsm->protection.complete;
	a->generation = ++fsm->generation;
	/* Commit again in case an acknowledgement was lost on the way. This does not make a VM
	 * PROTECTED: that needs an acknowledgement of an epoch that was sent, whatever a standby
	 * says it holds. */
	if (fsm->record.state == VM_PROTECTED)
		vm_epoch_complete(s, fsm->protection.complete);
}

void vm_on_stream_up(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	bool standby = s->in->role == WIRE_VM_ROLE_STANDBY;
	struct vm_stream *stream = &fsm->stream[standby ? 1 : 0];

	stream->up = true;
	stream->changed_ns = s->now_ns;
	if (standby)
		fsm->protection.complete = s->in->epoch;
	vm_stream_event(s, "%s stream of %s is up%s", wire_vm_role_name(s->in->role),
		 vm_host_name(fsm, s->in->host), standby ? "" : ", waiting for its epochs");
	vm_resume_if_ready(s);
}

void vm_on_stream_down(struct vm_step *s)
{
	struct vm_stream *stream =
		&s->fsm->stream[s->in->role == WIRE_VM_ROLE_STANDBY ? 1 : 0];

	if (!stream->up)
		return;
	stream->up = false;
	stream->changed_ns = s->now_ns;
	if (s->in->role == WIRE_VM_ROLE_STANDBY)
		vm_standby_broke(s->fsm, NULL);
	vm_stream_event(s, "%s stream of %s is down", wire_vm_role_name(s->in->role),
			vm_host_name(s->fsm, s->in->host));
}

void vm_on_stream_failed(struct vm_step *s)
{
	if (s->in->role == WIRE_VM_ROLE_STANDBY)
		vm_standby_broke(s->fsm, peer_text(s));
	vm_stream_event(s, "%s of %s: %s", wire_vm_role_name(s->in->role),
			vm_host_name(s->fsm, s->in->host), peer_text(s));
}

/* A retry would be refused again, so the operator must hear of it now. A VM that is already
 * PROTECTED stays so; its standby then counts as gone after standby_timeout. */
void vm_on_stream_refused(struct vm_step *s)
{
	vm_on_stream_failed(s);
	if (s->fsm->record.state == VM_SYNCING)
		protect_failed(s, s->in->host, peer_text(s));
}

void vm_epoch_complete(struct vm_step *s, uint64_t epoch)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_action *a;

	if (epoch == 0 || epoch < fsm->protection.committed)
		return;
	/* A commit releases output, and here output cannot leave: the VM is not protected yet. */
	if (fsm->record.state == VM_SYNCING && vm_way_obstacle(fsm, fsm->record.owner))
		return;
	/* While output leaves unheld the VM is not protected either: a takeover would lose what
	 * clients have heard since the epoch. */
	if (fsm->record.state == VM_SYNCING && fsm->protection.held_from &&
	    epoch >= fsm->protection.held_from) {
		vm_set_state(s, VM_PROTECTED, fsm->record.owner, false,
			     "%s holds epoch %" PRIu64 " whole",
			     vm_host_name(fsm, vm_fsm_other(fsm)), epoch);
		if (fsm->op.command == VM_COMMAND_PROTECT)
			vm_finish_op(s, true, "done", "%s is protected in term %" PRIu64
				     ": %s, standby %s", fsm->config->name, fsm->record.term,
				     vm_host_name(fsm, fsm->record.owner),
				     vm_host_name(fsm, vm_fsm_other(fsm)));
	}
	if (epoch > fsm->protection.committed) {
		fsm->protection.committed = epoch;
		fsm->protection.committed_ns = s->now_ns;
		vm_standby_committed(s);
	}
	a = vm_act(s, VM_ACT_COMMIT);
	a->term = fsm->record.term;
	a->epoch = epoch;
}

void vm_on_epoch_ack(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	/* Never acknowledge an old term again, whatever still arrives. */
	if (s->in->term != fsm->record.term || s->in->host != vm_fsm_other(fsm) ||
	    (fsm->record.state != VM_SYNCING && fsm->record.state != VM_PROTECTED))
		return;
	if (s->in->epoch <= fsm->protection.complete)
		return;
	fsm->protection.complete = s->in->epoch;
	if (!s->in->is_unheld && !fsm->protection.held_from)
		fsm->protection.held_from = s->in->epoch;
	vm_epoch_complete(s, s->in->epoch);
}
