/* evidence.h - collects for the detector what the gateway knows of a VM's primary besides its
 * agent's messages.
 *
 * Why: the detector is pure and takes counts; witness receiver, prober and relay each count in
 * their own form. Where: fleet_tick(). Threads: the gateway's loop. Does not block or allocate.
 */
#ifndef FLEET_EVIDENCE_H
#define FLEET_EVIDENCE_H

#include "fleet/fleet.h"

/* Make the TICK input for @vm's machine, with what the machine does not know itself (see struct
 * vm_input). It points to *@ret_evidence. */
void evidence_gather(const struct fleet *fleet, const struct fleet_vm *vm,
		     struct detector_evidence *ret_evidence, struct vm_input *ret_tick);

/* Probe while there is doubt, and only then. */
void evidence_ask(struct fleet_vm *vm, uint64_t now_ns);

#endif
