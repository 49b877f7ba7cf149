/* fleet_private.h - what the files of fleet/ share. */
#ifndef FLEET_FLEET_PRIVATE_H
#define FLEET_FLEET_PRIVATE_H

#include "fleet/fleet.h"

/* fleet_act.c. Carry out one action of a step of @vm. Returns 0: done; 1: a journal record is being
 * written, call fleet_act_journaled() when it is done; -errno: the record could not be written. */
int fleet_act(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Count that the journal record of @a was written, or that writing it failed with @result. */
void fleet_act_journaled(struct fleet *fleet, const struct vm_action *a, int result);

/* fleet_links.c. Promote nobody for @vm until a lease has expired that was granted at @now_ns at
 * the latest, by this gateway or by another one. Also tells the copy of the machine that a failed
 * journal write would restore. */
void fleet_granted(struct fleet_vm *vm, uint64_t now_ns);

/* Answer the operator's request @op_id. */
void fleet_reply(struct fleet *fleet, uint64_t op_id, bool ok, const char *code, const char *text);

#endif
