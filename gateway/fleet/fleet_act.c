/* fleet_act.c - carries out the actions of a state machine's step. Nothing in this file gives an
 * input to a state machine. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "fleet/drains.h"
#include "fleet/fleet_private.h"
#include "vm/fsm_look.h"

const char *fleet_with(const struct fleet_vm *vm, const struct vm_record *record)
{
	uint8_t spare = vm_record_spare(record);

	return vm->config.host[VM_HOST_THIRD][0]
		       ? vm->config.host[VM_HOST_FIRST + VM_HOST_SECOND + VM_HOST_THIRD - spare -
					 record->owner]
		       : "";
}

/* Begin to write the journal record of @a. Returns
 *      0       the record is on disk
 *      1       the journal's thread is writing it
 *      -errno  it could not be written */
static int act_journal(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a)
{
	const char *owner = vm->config.host[a->record.owner], *with = fleet_with(vm, &a->record);
	int r;

	if (fleet->config.journal_thread) {
		r = journal_thread_append(fleet->config.journal_thread, vm->index, vm->config.name,
					  owner, a->record.term, a->record.state,
					  a->record.is_wanted, with);
		if (r >= 0)
			return 1;
	} else {
		r = vm_journal_append(fleet->config.journal, vm->config.name, owner,
				      a->record.term, a->record.state, a->record.is_wanted, with);
	}
	fleet_act_journaled(fleet, a, r);
	return r;
}

void fleet_act_journaled(struct fleet *fleet, const struct vm_action *a, int result)
{
	struct fleet_counters *c = &fleet->counters;

	counters_add(result < 0 ? &c->journal_errors : &c->journal_writes, 1);
	if (result == 0 && a->record.state == VM_PROMOTING) {
		counters_add(&c->promotions, 1);
		FAULT_POINT(FAULT_GATEWAY_PROMOTING);
	}
}

static void act_event(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a,
		      uint64_t now_ns)
{
	struct fleet_sinks *sinks = &fleet->sinks;

	counters_add(&fleet->counters.events, 1);
	if (sinks->event &&
	    !sinks->event(sinks->arg, now_ns, vm->config.name, a->event, a->from, a->to, a->text)) {
		counters_add(&fleet->counters.events_suppressed, 1);
		return; /* a suppressed event is not logged either */
	}
	log_info("vm=%s term=%" PRIu64 " epoch=%" PRIu64 " %s%s%s%s%s: %s", vm->config.name,
		 vm->fsm.record.term, vm->fsm.protection.committed, a->event, a->from[0] ? " " : "",
		 a->from, a->to[0] ? " -> " : "", a->to, a->text);
}

static void act_resume(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a)
{
	if (!vm->stream[VM_STREAM_PRIMARY])
		return;
	vm_relay_resume(&vm->relay, a->term, a->epoch, a->generation);
	counters_add(&fleet->counters.resumes, 1);
	log_info("vm=%s epoch=%" PRIu64 " resume generation=%" PRIu32, vm->config.name, a->epoch,
		 a->generation);
	fleet->links->resume(vm->stream[VM_STREAM_PRIMARY], a);
}

static void act_commit(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a)
{
	FAULT_POINT(FAULT_GATEWAY_BEFORE_COMMIT);
	if (!vm->stream[VM_STREAM_PRIMARY])
		return;
	counters_add(&fleet->counters.commits, 1);
	fleet->links->commit(vm->stream[VM_STREAM_PRIMARY], a);
}

static void act_order(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a)
{
	const struct fleet_host *host = vm->host[a->host];

	if (!host->control)
		return;
	log_info("vm=%s host=%s order=%" PRIu64 " %s term=%" PRIu64 " epoch=%" PRIu64,
		 vm->config.name, host->name, a->order_id, wire_verb_name(a->verb), a->term,
		 a->epoch);
	counters_add(&fleet->counters.orders_sent, 1);
	fleet->links->order(host->control, vm->config.name, a);
}

/* Detach the streams of @vm at once, and end them. The VM's state machine gets no input about this,
 * because it asked for it. */
static void act_close(struct fleet *fleet, struct fleet_vm *vm)
{
	vm_relay_close(&vm->relay);
	for (size_t i = 0; i < VM_STREAMS; i++) {
		if (vm->stream[i])
			fleet->links->end(vm->stream[i]);
		vm->stream[i] = NULL;
	}
}

void fleet_reply(struct fleet *fleet, uint64_t op_id, bool ok, const char *code, const char *text)
{
	if (fleet_drains_own(fleet, op_id, ok, text))
		return;
	if (fleet->sinks.reply)
		fleet->sinks.reply(fleet->sinks.arg, op_id, ok, code, text);
}

/* Send a reply to an operator. If `protect` finds the VM PROTECTED already, also say what is
 * missing and what happens next, because a PROTECTED VM need not be SAFE. In that state, no other
 * request of an operator is answered "already". */
static void act_reply(struct fleet *fleet, const struct fleet_vm *vm, const struct vm_action *a,
		      uint64_t now_ns)
{
	struct health health;
	char text[sizeof(a->text) + sizeof(health.missing) + sizeof(health.next) + 64];

	fleet_health(vm, now_ns, &health);
	if (strcmp(a->code, "already") != 0 || vm->fsm.record.state != VM_PROTECTED ||
	    health.word == HEALTH_SAFE) {
		fleet_reply(fleet, a->op_id, a->ok, a->code, a->text);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s; it is not SAFE but %s: %s; %s", a->text,
		       health_word_name(health.word), health.missing, health.next);
	fleet_reply(fleet, a->op_id, a->ok, a->code, text);
}

int fleet_act(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a, uint64_t now_ns)
{
	switch (a->kind) {
	case VM_ACT_JOURNAL:
		return act_journal(fleet, vm, a);
	case VM_ACT_ORDER:
		act_order(fleet, vm, a);
		break;
	case VM_ACT_RESUME:
		act_resume(fleet, vm, a);
		break;
	case VM_ACT_COMMIT:
		act_commit(fleet, vm, a);
		break;
	case VM_ACT_EVENT:
		act_event(fleet, vm, a, now_ns);
		break;
	case VM_ACT_REPLY:
		act_reply(fleet, vm, a, now_ns);
		break;
	case VM_ACT_CLOSE:
		act_close(fleet, vm);
		break;
	case VM_ACT_FENCE:
		if (fleet->config.fence)
			fleet->config.fence(fleet->config.fence_arg, vm, a->host, a->term, now_ns);
		break;
	}
	return 0;
}
