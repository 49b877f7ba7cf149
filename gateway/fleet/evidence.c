#include "fleet/evidence.h"

#include "probe/prober.h"
#include "vm/fsm_look.h"

static struct detector_probe asked(const struct prober *prober, enum prober_kind kind,
				   unsigned int host, bool *ret_can_ask)
{
	struct prober_figures figures;

	prober_get(prober, kind, host, &figures);
	if (ret_can_ask)
		*ret_can_ask = figures.configured;
	return (struct detector_probe){figures.all.sent, figures.all.answered};
}

/* Returns true if the next commit waits for the standby. There are two cases: the standby has not
 * acknowledged an epoch of this term that was sent to it whole; or the primary waits for room in
 * the standby's ring. */
static bool standby_owes(const struct fleet_vm *vm)
{
	const struct vm_fsm *fsm = &vm->fsm;

	if (vm->stream[VM_STREAM_PRIMARY] && vm->stream[VM_STREAM_PRIMARY]->is_blocked)
		return true;
	return vm->relay.term == fsm->record.term &&
	       vm->relay.sent_epoch > fsm->protection.complete;
}

/* Returns a text about the guest's last answer, or NULL if the guest has not answered yet. */
static const char *last_answer(const struct prober_figures *guest)
{
	static const char *const words[PROBER_N_METHODS] = {
		[PROBER_ARP] = "it answered ARP", [PROBER_ICMP] = "it answered ICMP echo",
		[PROBER_TCP] = "it answered TCP"};
	const char *how = NULL;
	uint64_t latest_ns = 0;

	for (size_t m = 0; m < PROBER_N_METHODS; m++) {
		if (guest->by[m].last_answer_ns <= latest_ns)
			continue;
		latest_ns = guest->by[m].last_answer_ns;
		how = words[m];
	}
	return how;
}

void evidence_gather(const struct fleet *fleet, const struct fleet_vm *vm,
		     struct detector_evidence *ret_evidence, struct vm_input *ret_tick)
{
	unsigned int owner = vm->fsm.record.owner;
	struct prober_figures guest;
	const struct witness_view *view = fleet_witness_view(fleet, vm);
	struct detector_evidence e = {
		.witness = view->n_timely,
		.to_guest = view->to_guest,
		.from_guest = view->from_guest,
	};

	e.host_client = asked(vm->prober, PROBER_HOST, owner, &e.has_client_path);
	e.host_backup = asked(vm->prober, PROBER_HOST_BACKUP, owner, NULL);
	e.guest = asked(vm->prober, PROBER_GUEST, 0, NULL);
	e.reference = asked(vm->prober, PROBER_HOST, vm_fsm_other(&vm->fsm), NULL);
	prober_get(vm->prober, PROBER_GUEST, 0, &guest);
	*ret_evidence = e;
	*ret_tick = (struct vm_input){.kind = VM_IN_TICK, .relayed_bytes = vm->relay.bytes_total,
				      .standby_owes = standby_owes(vm), .evidence = ret_evidence,
				      .asks_guest = guest.configured,
				      .guest_answers = last_answer(&guest)};
}

void evidence_ask(struct fleet_vm *vm, uint64_t now_ns)
{
	prober_set_active(
		vm->prober,
		(vm->fsm.record.state == VM_PROTECTED && detector_asks(&vm->fsm.detector)) ||
			vm_promoted_asks(&vm->fsm, now_ns),
		now_ns);
}
