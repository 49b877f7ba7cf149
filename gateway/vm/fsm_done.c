/* fsm_done.c - handles the end of an order: the host's answer, or the end of the gateway's wait for
 * it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* Give an event about an order that @host fails to carry out, and gets again and again. The same
 * text is reported only once, until the host carries out an order or connects again. */
static void __attribute__((format(printf, 4, 5)))
tell_failure(struct vm_step *s, uint8_t host, const char *event, const char *format, ...)
{
	char *told = s->fsm->host[host].told_failure, text[VM_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args);
	va_end(args);
	if (vm_is_same_but_digits(text, told))
		return;
	(void)text_copy(told, VM_TEXT_MAX, text);
	vm_event(s, event, "%s", text);
}

static void promote_ended(struct vm_step *s, uint8_t host, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, host);
	char reason[2 * VM_TEXT_MAX]; /* a longer text is cut */
	/* a start that was given up can succeed after all */
	bool is_start = fsm->cold.is_start;
	bool is_boot = is_start || fsm->cold.is_lost || fsm->cold.has_failed;

	if (fsm->record.state != VM_PROMOTING && !(ok && fsm->record.state == VM_FAILED))
		return;
	if (ok) {
		vm_set_state(s, VM_UNPROTECTED, fsm->record.owner, false,
			     "%s runs the guest in term %" PRIu64, name, fsm->record.term);
		fsm->release_due = false;
		fsm->stop_due = false;
		/* not due if a cold start has already fenced the other host */
		fsm->fence_due = !is_boot || !vm_cold_is_fenced(fsm, vm_fsm_other(fsm));
		/* the operator's `unprotect` was meant to give the guest back to its previous
		 * owner */
		if (fsm->op.command == VM_COMMAND_UNPROTECT)
			vm_finish_op(s, false, "running",
				     "%s has promoted after all: it runs %s in term %" PRIu64, name,
				     fsm->config->name, fsm->record.term);
		vm_promoted_begin(s);
		fsm->protection.promoted.is_boot = is_boot;
		if (fsm->op.command == VM_COMMAND_START)
			vm_finish_op(s, true, "done",
				     "%s starts %s from its disks, in term %" PRIu64 "%s", name,
				     fsm->config->name, fsm->record.term,
				     fsm->cold.is_torn ? "; they are an unfinished copy" : "");
		vm_move_runs(s);
		return;
	}
	if (is_start) {
		(void)text_put(reason, sizeof(reason),
			       "%s did not start the guest: %s; `holdfastctl start %s` tries "
			       "again", name, TEXT_SHORT(350, text), fsm->config->name);
		vm_set_state(s, VM_FAILED, fsm->record.owner, false, "%s", reason);
		fsm->cold.has_failed = true;
		vm_finish_op(s, false, "start-failed", "%s", reason);
		return;
	}
	/* Put the advice into the event too. After a restart of this gateway no operator waits for
	 * a reply. */
	(void)text_put(
		reason, sizeof(reason),
		"%s did not promote: %s; `holdfastctl failover %s` tries again, `holdfastctl "
		"unprotect %s` gives the guest back to %s",
		name, TEXT_SHORT(280, text), fsm->config->name, fsm->config->name,
		vm_host_name(fsm, vm_fsm_other(fsm)));
	if (vm_move_may_begin_back(fsm)) {
		(void)text_put(reason, sizeof(reason),
			       "%s did not promote: %s; the guest is being given back to %s", name,
			       TEXT_SHORT(320, text), vm_host_name(fsm, vm_fsm_other(fsm)));
		vm_set_state(s, VM_FAILED, fsm->record.owner, false, "%s", reason);
		fsm->give_back_due = true;
		fsm->give_back_is_operators = false;
		vm_finish_op(s, false, "move-failed", "%s", reason);
		return;
	}
	vm_set_state(s, VM_FAILED, fsm->record.owner, false, "%s", reason);
	vm_finish_op(s, false, "promotion-failed", "%s", reason);
}

void vm_protect_failed(struct vm_step *s, uint8_t host, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	char reason[VM_TEXT_MAX];
	const char *why;

	if (fsm->record.state == VM_SYNCING) {
		(void)text_put(reason, sizeof(reason), "%s cannot protect it: %s",
			       vm_host_name(fsm, host), text);
		vm_end_protection(s, reason);
		if (host == vm_fsm_other(fsm))
			fsm->again.unfit = (uint8_t)(1 + host);
		vm_finish_op(s, false, "protect-failed", "%s", reason);
	} else if (fsm->record.state == VM_PROTECTED) {
		/* The guest's output is still held, so a promotion loses nothing that a client has
		 * seen. */
		(void)text_put(reason, sizeof(reason), "%s cannot take the guest over again: %s",
			       vm_host_name(fsm, host), text);
		if (!vm_promote(s, reason, false, &why))
			tell_failure(s, host, "supervision", "%s, but no promotion: %s", reason,
				     why);
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
	(void)text_put(reason, sizeof(reason), "%s cannot stand by: %s", vm_host_name(fsm, host),
		       text);
	if (fsm->record.state == VM_PREPARING) {
		vm_end_protection(s, reason);
		vm_finish_op(s, false, "standby-failed", "%s", reason);
	} else {
		tell_failure(s, host, "order", "%s", reason);
	}
}

static void unprotect_ended(struct vm_step *s, uint8_t host, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, host);

	if (ok)
		fsm->release_due = false;
	else
		tell_failure(s, host, "order",
			     "%s has not released the guest: %s; it is told again", name, text);
	if (fsm->op.command != VM_COMMAND_UNPROTECT && fsm->op.command != VM_COMMAND_OWNER)
		return;
	if (ok)
		vm_finish_op(s, true, "done", "%s is unprotected in term %" PRIu64 " on %s",
			     fsm->config->name, fsm->record.term, name);
	else
		vm_finish_op(s, false, "release-failed", "%s has not released the guest: %s", name,
			     text);
}

static void fence_ended(struct vm_step *s, uint8_t host, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, host);

	if (ok) {
		fsm->fence_due = false;
		vm_event(s, "order", "%s is fenced", name);
		return;
	}
	if (fsm->cold.is_start)
		fsm->may_run[host] = true;
	tell_failure(s, host, "order", "%s is not fenced: %s; it is told again", name, text);
}

void vm_order_ended(struct vm_step *s, uint8_t host, uint8_t verb, bool ok, const char *text)
{
	struct vm_fsm *fsm = s->fsm;

	if (!text || !text[0])
		text = "no reason given";
	if (ok)
		fsm->host[host].told_failure[0] = '\0';
	if (host == vm_fsm_spare(fsm)) {
		/* The state machine waits only for hosts that have a seat, so only give an
		 * event. */
		if (ok)
			vm_event(s, "order", "%s, which has no seat, has carried out %s",
				 vm_host_name(fsm, host), wire_verb_name(verb));
		else
			tell_failure(s, host, "order", "%s, which has no seat, has not carried out "
				     "%s: %s; it is told again", vm_host_name(fsm, host),
				     wire_verb_name(verb), text);
		return;
	}
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
			vm_protect_failed(s, host, text);
		break;
	case WIRE_VERB_UNPROTECT:
		unprotect_ended(s, host, ok, text);
		break;
	case WIRE_VERB_PROMOTE:
	case WIRE_VERB_START:
		promote_ended(s, host, ok, text);
		break;
	case WIRE_VERB_FENCE:
		fence_ended(s, host, ok, text);
		break;
	case WIRE_VERB_MOVE:
		vm_move_ordered(s, host, ok, text);
		break;
	default:
		break;
	}
}

void vm_on_order_done(struct vm_step *s)
{
	struct vm_order *order = &s->fsm->host[s->in->host].order;

	if (vm_asked_done(s))
		return;
	/* Ignore answers to all but the last order on this connection, because nothing waits for
	 * them. */
	if (!order->id || order->id != s->in->order_id || order->done)
		return;
	order->done = true;
	order->ok = s->in->status == WIRE_ORDER_OK;
	if (order->term != s->fsm->record.term)
		return;
	/* A host carries out its orders one by one. So when it answers FENCE, no older order to run
	 * the guest is left. */
	if (order->verb == WIRE_VERB_FENCE && order->ok)
		s->fsm->may_run[s->in->host] = false;
	vm_order_ended(s, s->in->host, order->verb, order->ok, s->in->text);
}
