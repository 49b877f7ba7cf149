/* fsm_look.h - what others may ask about a VM's state machine (fsm.h).
 *
 * control/ shows the answers to operators, fleet/ and health.h decide by them, and so do the files
 * of the state machine itself. No function here changes the machine or causes actions. None blocks
 * or allocates.
 *
 * Where: anyone with a struct vm_fsm may ask. README.md says which file does what.
 *
 * Threads: the gateway's loop only.
 */
#ifndef VM_FSM_LOOK_H
#define VM_FSM_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/fsm.h"

/* Does the gateway intend to protect the guest again by itself as soon as it can? A drain records
 * this intention. */
bool vm_fsm_wants_again(const struct vm_fsm *fsm);

/* How a VM stands in the way of draining one of its hosts. */
enum vm_drain_place {
	VM_DRAIN_AWAY,    /* the host has neither the guest nor a copy */
	VM_DRAIN_COPY,    /* the guest runs elsewhere, the host has its copy, or gets one */
	VM_DRAIN_ENDING,  /* the copy's end is not confirmed yet */
	VM_DRAIN_MOVABLE, /* the guest runs on the host, and can be moved now */
	/* the guest may run on the host; what prevents a move may end by itself */
	VM_DRAIN_BUSY,
	/* the guest may run on the host; what prevents a move does not end by itself */
	VM_DRAIN_STUCK,
};

/* Returns how the VM stands in the way of draining @host. @is_safe: the VM's health word is SAFE.
 * Writes to @why (@size bytes) what prevents a move, or "". */
enum vm_drain_place vm_drain_look(const struct vm_fsm *fsm, uint8_t host, bool is_safe, char *why,
				  size_t size);

/* If @host is drained, can the VM's guest and its copy be on the VM's two other hosts? */
bool vm_drain_has_third(const struct vm_fsm *fsm, uint8_t host);

/* Returns how long commits have waited for the standby, according to the clock of the policy
 * standby_lost. If nothing waits for the standby, or the VM has no standby, returns 0. */
uint64_t vm_standby_waits_ns(const struct vm_fsm *fsm, uint64_t now_ns);
/* Returns true if the VM is PROTECTED, and the owner's guest has ended without being shut down, or
 * the owner's agent, connected for less than order_timeout, has not yet said whether it found the
 * guest. The standby's copy may then be all that is left of the guest. */
bool vm_copy_is_last(const struct vm_fsm *fsm);
/* Is the standby's whole copy perhaps all that is left of a guest that is UNPROTECTED or SYNCING?
 * This is so while the owner is silent, or does not report that it has the guest. The copy may lack
 * what clients have seen since. See fsm_left.c. */
bool vm_left_is_copy(const struct vm_fsm *fsm, uint64_t now_ns);
/* Returns the time that is left until the policy standby_lost applies, if nothing is committed and
 * the standby is not heard until then. */
uint64_t vm_standby_left_ns(const struct vm_fsm *fsm, uint64_t now_ns);

/* Write to @text (@size bytes) what the standby does wrong. Call this only in
 * SYNCING and PROTECTED, while the standby takes no epochs. Returns @text. */
const char *vm_standby_fault(const struct vm_fsm *fsm, char *text, size_t size);

/* Write to @text (@size bytes) which host is the spare, and whether this host would be able to take
 * a seat, or "" if the VM has no spare. Returns @text. */
const char *vm_spare_describe(const struct vm_fsm *fsm, char *text, size_t size);
/* Is the spare connected, and does it report that it has the guest, or a copy of it? */
bool vm_spare_has_something(const struct vm_fsm *fsm);

/* Write to @text (@size bytes) when the gateway will protect the guest again by itself, and what
 * prevents it. Call this only in UNPROTECTED, if again.when is not VM_AGAIN_NEVER. Returns
 * @text. */
const char *vm_again_describe(const struct vm_fsm *fsm, uint64_t now_ns, char *text, size_t size);

/* Returns how long the guest was stopped in the last move, in ns, as far as the daemons know.
 * Returns 0 if this is not known, or if the guest does not run yet. */
uint64_t vm_move_pause_ns(const struct vm_fsm *fsm);

/* Is it known that the guest runs nowhere, and has no copy in any memory? Then nothing but a cold
 * start helps. */
bool vm_cold_is_nowhere(const struct vm_fsm *fsm);

/* Write to @text (@size bytes) which disks each host has, which disks are the newest, and what
 * happens next. Call this only if vm_cold_is_nowhere(). Returns @text. */
const char *vm_cold_describe(const struct vm_fsm *fsm, char *text, size_t size);

/* Is the VM FAILED because a cold start was given up? The reason is not journaled. So after a
 * restart of the gateway, returns true only if the other host (on which the guest was not started)
 * reports that it is fenced. */
bool vm_lost_is_start(const struct vm_fsm *fsm);

/* Does a FAILED VM wait for a host that is away? This is so if one host is connected but has lost
 * its memory, so that it can neither be promoted nor get the guest back, and the other host is away
 * and may have the guest or a copy of its memory. Returns the index of the host that is away;
 * VM_HOSTS: the VM is not in this situation. */
uint8_t vm_lost_unheard(const struct vm_fsm *fsm);

/* Write to @text (@size bytes) what an operator can do after a cold start was given up: which host
 * may run the guest, and which command chooses again. Call this only in PROMOTING and FAILED.
 * Returns @text. */
const char *vm_lost_advice(const struct vm_fsm *fsm, char *text, size_t size);

/* Should a promoted guest be probed now? */
bool vm_promoted_asks(const struct vm_fsm *fsm, uint64_t now_ns);

/* Write to @text (@size bytes) what was seen of the guest since its promotion, as text for the
 * operator. Do not call this in VM_PROMOTED_NONE. Returns @text. */
const char *vm_promoted_describe(const struct vm_fsm *fsm, char *text, size_t size);

/* Returns true if the VM is in conflict. This is so in three cases. A host obeys a younger gateway.
 * A host reports a newer term that no second voice (rule 5 of fsm.h) confirms. The journal's newest
 * record of this VM may have been lost. In a conflict the gateway begins no term by itself and
 * orders nothing. */
static inline bool vm_fsm_in_conflict(const struct vm_fsm *fsm)
{
	return fsm->host[VM_HOST_FIRST].conflict || fsm->host[VM_HOST_SECOND].conflict ||
	       fsm->host[VM_HOST_THIRD].conflict || fsm->record.in_doubt;
}

/* Returns the index of the host without a seat (rule 7 of fsm.h). If the VM has only two hosts, no
 * host has this index. */
static inline uint8_t vm_record_spare(const struct vm_record *record)
{
	return (uint8_t)(VM_HOST_THIRD - record->seatless);
}

static inline uint8_t vm_fsm_spare(const struct vm_fsm *fsm)
{
	return vm_record_spare(&fsm->record);
}

static inline bool vm_fsm_has_spare(const struct vm_fsm *fsm)
{
	return fsm->config->host[vm_fsm_spare(fsm)][0] != '\0';
}

/* Two hosts have a seat. Returns the one that is not @host. @host must have a seat itself. */
static inline uint8_t vm_fsm_beside(const struct vm_fsm *fsm, uint8_t host)
{
	return (uint8_t)(VM_HOST_FIRST + VM_HOST_SECOND + VM_HOST_THIRD - vm_fsm_spare(fsm) - host);
}

/* Two hosts have a seat. Returns the one that is not the owner. It is the standby, if the VM has a
 * standby now. */
static inline uint8_t vm_fsm_other(const struct vm_fsm *fsm)
{
	return vm_fsm_beside(fsm, fsm->record.owner);
}

#endif
