/* fleet_step.c - gives inputs to the state machines. A step with a journal record waits until the
 * record is durable. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/drains.h"
#include "fleet/evidence.h"
#include "fleet/fleet_private.h"
#include "fleet/witness_keys.h"

#define JOURNAL_SLOW_NS CLOCK_NS_PER_S /* report the disk if a record takes longer than this */
/* After a failed write, ticks stop for this time. Otherwise the next tick might try to write the
 * same record at once, for example the record of a failed promotion. */
#define AGAIN_NS CLOCK_NS_PER_S

static void journal_failed(struct fleet *fleet, struct fleet_vm *vm, const struct vm_input *in,
			   int r)
{
	char text[VM_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "cannot write the journal: %s; free space in state_dir",
		       strerror(-r));
	log_limited(LOG_LEVEL_ERROR, "vm=%s %s", vm->config.name, text);
	if (in->kind == VM_IN_COMMAND)
		fleet_reply(fleet, in->op_id, false, "journal", text);
}

/* Restore the state machine as it was before the step in vm->pending, because that step could not
 * be journaled. */
static void put_back(struct fleet *fleet, struct fleet_vm *vm, int r, uint64_t now_ns)
{
	vm_fsm_put_back(&vm->fsm, &vm->pending.before, now_ns);
	vm->pending.no_tick_ns = now_ns + AGAIN_NS;
	journal_failed(fleet, vm, &vm->pending.in.in, r);
}

/* Carry out the remaining actions of the step in vm->pending, up to the first one that must wait
 * for its journal record. Returns 0 if all actions are done, or if the step now waits. If the
 * record could not be written, restores the state machine and returns -errno. */
static int carry_out(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns)
{
	struct fleet_pending *p = &vm->pending;

	for (; p->at < p->actions.n && !p->waiting; p->at++) {
		int r = fleet_act(fleet, vm, &p->actions.list[p->at], now_ns);

		if (r < 0) {
			put_back(fleet, vm, r, now_ns);
			return r;
		}
		if (r > 0) {
			p->waiting = true;
			p->said = false;
			p->since_ns = now_ns;
		}
	}
	witness_keys_follow(fleet, vm);
	return 0;
}

static int step(struct fleet *fleet, struct fleet_vm *vm, const struct vm_input *in,
		uint64_t now_ns)
{
	struct fleet_pending *p = &vm->pending;

	p->before = vm->fsm;
	inbox_copy(&p->in, in);
	p->in.in.now_ns = now_ns;
	p->in.in.evidence = in->evidence;
	vm_fsm_step(&vm->fsm, &p->in.in, &p->actions);
	p->in.in.evidence = NULL; /* forget the pointer, because the evidence is the caller's */
	if (p->actions.overflow)
		log_error("vm=%s more actions than fit a step: a bug", vm->config.name);
	p->at = 0;
	return carry_out(fleet, vm, now_ns);
}

/* Make sure that the state machine gets the input @e again, whose step was undone because the
 * journal could not be written. If the peer repeats such an input only on a new connection, end the
 * peer's connection. If nobody repeats such an input, keep it in vm->pending.retry. */
static void undo(struct fleet *fleet, struct fleet_vm *vm, const struct inbox_entry *e,
		 uint64_t now_ns)
{
	const struct vm_input *in = &e->in;
	struct fleet_link *link = NULL;

	switch (in->kind) {
	case VM_IN_CONTROL_UP:
	case VM_IN_ORDER_DONE:
		link = vm->host[in->host]->control;
		break;
	case VM_IN_STREAM_UP:
		link = vm->stream[in->role == WIRE_VM_ROLE_STANDBY ? VM_STREAM_STANDBY
								   : VM_STREAM_PRIMARY];
		break;
	case VM_IN_EPOCH_ACK:
		link = vm->stream[VM_STREAM_STANDBY];
		break;
	case VM_IN_FENCED: /* no peer sends this input again, so keep it */
		inbox_copy(&vm->pending.retry, in);
		vm->pending.retry_ns = now_ns + CLOCK_NS_PER_S;
		break;
	default:
		/* Do nothing: the peer repeats the input, or the operator has got an answer. */
		break;
	}
	if (link)
		fleet->links->end(link);
}

/* Handle the inputs that came while the VM waited for the disk, until a step must wait for the disk
 * again. Each input gets the time @now_ns, because the state machine's time must never go back. */
static void drain(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns)
{
	struct inbox_entry e;

	while (!vm->pending.waiting && inbox_take(&vm->pending.inbox, &e)) {
		if (step(fleet, vm, &e.in, now_ns) < 0)
			undo(fleet, vm, &e, now_ns);
	}
}

int fleet_step(struct fleet *fleet, struct fleet_vm *vm, const struct vm_input *in,
	       uint64_t now_ns)
{
	int r;

	if (!vm->pending.waiting)
		return step(fleet, vm, in, now_ns);
	r = inbox_put(&vm->pending.inbox, in);
	if (r < 0 && in->kind == VM_IN_COMMAND)
		fleet_reply(fleet, in->op_id, false, "busy",
			    "too much waits for the journal's disk already; ask again");
	return r;
}

static void journal_done(struct fleet *fleet, struct fleet_vm *vm, int r, uint64_t now_ns)
{
	struct fleet_pending *p = &vm->pending;
	struct inbox_entry in;

	fleet_act_journaled(fleet, &p->actions.list[p->at - 1], r);
	p->waiting = false;
	if (p->said)
		log_warn("vm=%s the journal's disk answered after %" PRIu64 " ms", vm->config.name,
			 (now_ns - p->since_ns) / CLOCK_NS_PER_MS);
	if (r == 0)
		r = carry_out(fleet, vm, now_ns);
	else
		put_back(fleet, vm, r, now_ns);
	if (r < 0) {
		inbox_copy(&in, &p->in.in);
		undo(fleet, vm, &in, now_ns);
	}
	drain(fleet, vm, now_ns);
}

void fleet_journal_done(struct fleet *fleet, uint64_t now_ns)
{
	size_t ticket;
	int r;

	while (journal_thread_take(fleet->config.journal_thread, &ticket, &r)) {
		fleet_disk_ended(fleet, ticket == JOURNAL_THREAD_TRIAL, r, now_ns);
		if (ticket == JOURNAL_THREAD_INCARNATION)
			fleet_recorded(fleet, r, now_ns);
		else if (ticket == JOURNAL_THREAD_DRAINED)
			fleet_drains_stored(fleet, r, now_ns);
		else if (ticket < fleet->n_vms && fleet->vms[ticket]->pending.waiting)
			journal_done(fleet, fleet->vms[ticket], r, now_ns);
	}
}

/* Handle the deadlines of a VM whose step waits for the disk, or whose input must be repeated. */
static void tick_pending(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns)
{
	struct fleet_pending *p = &vm->pending;
	struct inbox_entry again;

	if (p->waiting && !p->said && now_ns - p->since_ns >= JOURNAL_SLOW_NS) {
		p->said = true;
		log_warn("vm=%s the journal's disk has not answered for %" PRIu64 " ms",
			 vm->config.name, (now_ns - p->since_ns) / CLOCK_NS_PER_MS);
		fleet_event(fleet, now_ns, vm->config.name, "journal",
			    "the disk of state_dir does not answer; this VM stands still until it "
			    "does");
	}
	if (p->waiting || p->retry_ns == 0 || now_ns < p->retry_ns)
		return;
	p->retry_ns = 0;
	inbox_copy(&again, &p->retry.in);
	if (step(fleet, vm, &again.in, now_ns) < 0)
		undo(fleet, vm, &again, now_ns);
}

static uint64_t tick_at_ns(const struct fleet_vm *vm)
{
	uint64_t at_ns = vm_fsm_deadline_ns(&vm->fsm);

	return at_ns > vm->pending.no_tick_ns ? at_ns : vm->pending.no_tick_ns;
}

void fleet_tick(struct fleet *fleet, uint64_t now_ns)
{
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct fleet_vm *vm = fleet->vms[i];
		struct detector_evidence evidence;
		struct vm_input tick;

		tick_pending(fleet, vm, now_ns);
		fleet_health_tick(fleet, vm, now_ns);
		if (vm->pending.waiting || now_ns < tick_at_ns(vm))
			continue;
		evidence_gather(fleet, vm, &evidence, &tick);
		(void)fleet_step(fleet, vm, &tick, now_ns); /* if this fails, the next
							     * tick tries again */
		evidence_ask(vm, now_ns);
	}
	fleet_disk_tick(fleet, now_ns);
	witness_keys_tick(fleet, now_ns);
	fleet_drains_tick(fleet, now_ns);
}

uint64_t fleet_deadline_ns(const struct fleet *fleet, uint64_t now_ns)
{
	uint64_t deadline_ns = fleet_drains_are_due(fleet) ? now_ns : now_ns + CLOCK_NS_PER_S / 2;

	for (size_t i = 0; i < fleet->n_vms; i++) {
		const struct fleet_pending *p = &fleet->vms[i]->pending;
		uint64_t at_ns = tick_at_ns(fleet->vms[i]);

		/* The journal's thread wakes the loop when the record is written. Until then, the
		 * loop must wake only to report a slow disk. */
		if (p->waiting)
			at_ns = p->said ? UINT64_MAX : p->since_ns + JOURNAL_SLOW_NS;
		if (at_ns < deadline_ns)
			deadline_ns = at_ns;
	}
	return deadline_ns;
}
