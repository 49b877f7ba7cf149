/* fleet_private.h - functions that only the files of fleet/ call. */
#ifndef FLEET_FLEET_PRIVATE_H
#define FLEET_FLEET_PRIVATE_H

#include "fleet/fleet.h"

/* In fleet_act.c: carry out the action @a of a step of @vm. Returns
 *      0       the action is done
 *      1       its journal record is being written; when the write has ended, the caller must call
 *              fleet_act_journaled()
 *      -errno  its journal record could not be written */
int fleet_act(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Count that the journal record of @a was written, or that writing it failed with @result. */
void fleet_act_journaled(struct fleet *fleet, const struct vm_action *a, int result);

/* In fleet_act.c: returns the name of the host that, according to @record, has a seat beside the
 * owner (fsm.h, rule 7). Returns "" if @vm has no spare. */
const char *fleet_with(const struct fleet_vm *vm, const struct vm_record *record);

/* In fleet_links.c: note that the owner of @vm may have got a lease at @now_ns, from this gateway
 * or from another one. No host can be promoted before this lease has expired. If a step waits for
 * the disk, also changes the copy of the state machine that is restored if the step fails. */
void fleet_granted(struct fleet_vm *vm, uint64_t now_ns);

/* In fleet_health.c: judge @vm's health if that is due, and give an event if its word changed. */
void fleet_health_tick(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns);

/* Answer the operator's request @op_id. */
void fleet_reply(struct fleet *fleet, uint64_t op_id, bool ok, const char *code, const char *text);

#endif
