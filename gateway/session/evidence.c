#include "session/evidence.h"

#include "probe/prober.h"

static struct detector_probe asked(const struct prober *prober, enum prober_kind kind,
				   unsigned int host, bool *ret_can_ask)
{
	struct prober_figures figures;

	prober_get(prober, kind, host, &figures);
	if (ret_can_ask)
		*ret_can_ask = figures.configured;
	return (struct detector_probe){figures.all.sent, figures.all.answered};
}

void evidence_gather(const struct gateway *gw, const struct gateway_vm *vm,
		     struct detector_evidence *ret_evidence)
{
	unsigned int owner = vm->fsm.record.owner;
	const struct witness_view *view = gateway_witness(gw, vm);
	struct detector_evidence e = {
		.witness = view->n_timely, .to_guest = view->to_guest, .from_guest = view->from_guest,
	};

	e.host_client = asked(vm->prober, PROBER_HOST, owner, &e.has_client_path);
	e.host_backup = asked(vm->prober, PROBER_HOST_BACKUP, owner, NULL);
	e.guest = asked(vm->prober, PROBER_GUEST, 0, NULL);
	e.reference = asked(vm->prober, PROBER_HOST, 1 - owner, NULL);
	*ret_evidence = e;
}

void evidence_ask(struct gateway_vm *vm, uint64_t now_ns)
{
	prober_set_active(vm->prober,
			  vm->fsm.record.state == VM_PROTECTED && detector_asks(&vm->fsm.detector),
			  now_ns);
}
