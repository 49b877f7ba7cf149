/* evidence.h - what the gateway knows of a VM's primary besides its agent's messages, for the detector.
 *
 * Why: the detector is pure and takes counts; witness receiver, prober and relay keep them each in its own
 * words. Where: gateway_tick(). Threads: the gateway's loop. Neither blocks nor allocates.
 */
#ifndef SESSION_EVIDENCE_H
#define SESSION_EVIDENCE_H

#include "session/gateway.h"

/* The tick for @vm's machine, with what it does not know itself (see struct vm_input). It points to
 * *@ret_evidence. */
void evidence_gather(const struct gateway *gw, const struct gateway_vm *vm,
		     struct detector_evidence *ret_evidence, struct vm_input *ret_tick);

/* Ask while there is doubt, and no longer. */
void evidence_ask(struct gateway_vm *vm, uint64_t now_ns);

#endif
