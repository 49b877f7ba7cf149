/* evidence.h - collects for the detector what the gateway knows about a VM's primary from other
 * sources than the agent's messages.
 *
 * Why: the detector is pure and takes counts, but the witness receiver, the prober and the relay
 * each count in their own form. Where: fleet_tick() calls it. Threads: the gateway's loop. Does not
 * block or allocate.
 */
#ifndef FLEET_EVIDENCE_H
#define FLEET_EVIDENCE_H

#include "fleet/fleet.h"

/* Make the TICK input for @vm's machine: fill in the members of struct vm_input that the machine
 * does not know itself. The input points to *@ret_evidence. */
void evidence_gather(const struct fleet *fleet, const struct fleet_vm *vm,
		     struct detector_evidence *ret_evidence, struct vm_input *ret_tick);

/* Start probing @vm while the detector is in doubt or a promoted guest is being watched;
 * stop it otherwise. */
void evidence_ask(struct fleet_vm *vm, uint64_t now_ns);

#endif
