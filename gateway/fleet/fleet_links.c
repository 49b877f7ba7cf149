/* fleet_links.c - handles opened and closed connections of agents, and agents' signs of life. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "fleet/fleet_private.h"

/* Give an input of @kind to all VMs of @host. For VM_IN_CONTROL_UP, stop at the first VM whose step
 * fails. Returns 0 or -errno of fleet_step(). */
static int tell_all(struct fleet *fleet, const struct fleet_host *host, enum vm_input_kind kind,
		    uint64_t now_ns)
{
	struct vm_input in = {.kind = kind, .takes_moves = kind == VM_IN_CONTROL_UP &&
			      (host->control->features & WIRE_FEATURE_MOVE)};
	int r = 0;

	for (size_t i = 0; i < fleet->n_vms && r >= 0; i++) {
		int h = fleet_vm_host(fleet->vms[i], host);

		if (h < 0)
			continue;
		in.host = (uint8_t)h;
		r = fleet_step(fleet, fleet->vms[i], &in, now_ns);
		if (kind != VM_IN_CONTROL_UP)
			/* a fact (host gone, obeys another): all VMs must learn it, so go on */
			r = 0;
	}
	return r;
}

int fleet_control_up(struct fleet *fleet, struct fleet_host *host, struct fleet_link *link,
		     uint64_t now_ns)
{
	host->control = link;
	return tell_all(fleet, host, VM_IN_CONTROL_UP, now_ns);
}

int fleet_control_again(struct fleet *fleet, struct fleet_vm *vm, uint8_t h, uint64_t now_ns)
{
	struct vm_input in = {.kind = VM_IN_CONTROL_UP, .host = h};

	if (!vm->host[h] || !vm->host[h]->control)
		return 0;
	in.takes_moves = vm->host[h]->control->features & WIRE_FEATURE_MOVE;
	return fleet_step(fleet, vm, &in, now_ns);
}

void fleet_control_down(struct fleet *fleet, struct fleet_host *host, const struct fleet_link *link,
			uint64_t now_ns)
{
	if (host->control != link)
		return;
	host->control = NULL;
	(void)tell_all(fleet, host, VM_IN_CONTROL_DOWN, now_ns);
}

static enum vm_stream_index slot_of(uint8_t role)
{
	return role == WIRE_VM_ROLE_STANDBY ? VM_STREAM_STANDBY : VM_STREAM_PRIMARY;
}

int fleet_stream_up(struct fleet *fleet, struct fleet_vm *vm, struct fleet_link *link,
		    const struct vm_input *in, uint64_t now_ns)
{
	vm->stream[slot_of(in->role)] = link;
	if (slot_of(in->role) == VM_STREAM_STANDBY)
		vm_relay_standby_reset(&vm->relay, in->epoch);
	return fleet_step(fleet, vm, in, now_ns);
}

bool fleet_stream_down(struct fleet *fleet, struct fleet_vm *vm, const struct fleet_link *link,
		       uint8_t host, uint8_t role, uint64_t now_ns)
{
	const struct vm_input in = {.kind = VM_IN_STREAM_DOWN, .host = host, .role = role};

	if (vm->stream[slot_of(role)] != link)
		return false;
	vm->stream[slot_of(role)] = NULL;
	vm_relay_close(&vm->relay);
	/* ignore errors, because the stream has ended in any case */
	(void)fleet_step(fleet, vm, &in, now_ns);
	return true;
}

void fleet_seen(struct fleet_vm *vm, uint8_t host, uint64_t now_ns)
{
	vm_fsm_seen(&vm->fsm, host, now_ns);
	if (vm->pending.waiting)
		/* also change the copy from which a failed step is restored */
		vm_fsm_seen(&vm->pending.before, host, now_ns);
}

void fleet_beat(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t mono_ns,
		uint64_t now_ns)
{
	const struct vm_input in = {.kind = VM_IN_SEEN, .host = host};

	/* ignore errors, because a beat causes no action that can fail */
	(void)fleet_step(fleet, vm, &in, now_ns);
	if (host == vm->fsm.record.owner)
		witness_rx_clock(fleet->witness, vm->index, mono_ns, now_ns);
}

void fleet_granted(struct fleet_vm *vm, uint64_t now_ns)
{
	vm_fsm_granted(&vm->fsm, now_ns);
	if (vm->pending.waiting)
		vm_fsm_granted(&vm->pending.before, now_ns);
}

bool fleet_grant(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t now_ns)
{
	const struct vm_record *record = &vm->fsm.record;

	if (!fleet->config.lease_ms || host != record->owner || record->in_doubt ||
	    (record->state != VM_SYNCING && record->state != VM_PROTECTED) || !fleet_is_durable(vm))
		return false;
	counters_add(&fleet->counters.leases, 1);
	fleet_granted(vm, now_ns);
	return true;
}

void fleet_obeys_younger(struct fleet *fleet, struct fleet_host *host, uint64_t obeyed,
			 uint64_t now_ns, struct error *ret_error)
{
	(void)error_set(ret_error, 0,
			"%s has obeyed a gateway of incarnation %" PRIu64
			", younger than this one (%" PRIu64
			"): this one orders nothing there. Stop the one that is too many; if this "
			"one is to stay, `holdfastctl takeover`",
			host->name, obeyed, fleet->config.incarnation);
	host->obeyed = obeyed;
	if (obeyed > fleet->younger) {
		fleet->younger = obeyed;
		fleet_event(fleet, now_ns, "", "conflict", ret_error->text);
		log_error("%s", ret_error->text);
	}
	(void)tell_all(fleet, host, VM_IN_OBEYS_ANOTHER, now_ns); /* if this fails, the host's
								   * next HELLO repeats it */
}
