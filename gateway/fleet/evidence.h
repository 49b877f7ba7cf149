/* evidence.h - collects evidence that a VM's primary is alive, for the failure detector
 * (liveness/detector.h).
 *
 * The evidence comes from the witness receiver, the prober and the relay. Each of them counts in a
 * form of its own; this file converts the counts to the form that the detector expects. Evidence
 * from the agent's messages does not pass through this file.
 * Where: fleet_tick() calls it. Threads: the gateway's loop. Does not block or allocate.
 */
#ifndef FLEET_EVIDENCE_H
#define FLEET_EVIDENCE_H

#include "fleet/fleet.h"

/* Store in *@ret_tick the input VM_IN_TICK for @vm's state machine, with the facts that the state
 * machine cannot know itself. The input points to *@ret_evidence, which must stay valid until the
 * state machine has handled the input. */
void evidence_gather(const struct fleet *fleet, const struct fleet_vm *vm,
		     struct detector_evidence *ret_evidence, struct vm_input *ret_tick);

/* If the detector is in doubt or a promoted guest is being watched, probe @vm. If not, do not probe
 * it. */
void evidence_ask(struct fleet_vm *vm, uint64_t now_ns);

#endif
