/* fsm_again.c - decides when the gateway protects a guest again without an operator's request.
 *
 *	          protection ended                      both hosts are ready, next_ns has passed
 *	PROTECTED ────────────────► UNPROTECTED, `when` ────────────────────────────────► PREPARING
 *
 * The gateway and the owner are two of the three parties (gateway and two hosts), so they can begin
 * the new term. */
#include "base/clock.h"
#include "vm/fsm_private.h"

/* The first wait after a protection that the gateway itself had begun has failed. A busy standby
 * can be ready then. */
#define AGAIN_NS (10 * CLOCK_NS_PER_S)

void vm_again_entered(struct vm_fsm *fsm)
{
	struct vm_again *again = &fsm->again;

	again->when = VM_AGAIN_NEVER;
	if (fsm->record.state != VM_SYNCING)
		again->is_own = false;
	if (fsm->record.state == VM_PROTECTED)
		again->why = NULL;
}

void vm_again_ended(struct vm_fsm *fsm, bool was_own, uint64_t now_ns)
{
	struct vm_again *again = &fsm->again;

	if (was_own)
		again->when = again->why ? VM_AGAIN_SOON : VM_AGAIN_COVERED;
	again->next_ns = now_ns + AGAIN_NS;
}

void vm_again_plan(struct vm_fsm *fsm, enum vm_again_when when, const char *why, uint64_t at_ns)
{
	fsm->again.when = when;
	fsm->again.why = why;
	fsm->again.next_ns = at_ns;
}

void vm_again_forget(struct vm_fsm *fsm)
{
	fsm->again.when = VM_AGAIN_NEVER;
	fsm->again.why = NULL;
	fsm->again.is_own = false;
}

void vm_again_report(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_again *again = &fsm->again;
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	if (fsm->record.state != VM_UNPROTECTED || again->when == VM_AGAIN_NEVER ||
	    (again->when == VM_AGAIN_COVERED && !s->in->is_covered_again))
		return;
	/* Wait until the last protection has ended completely. A later report tries again. */
	if (vm_fsm_in_conflict(fsm) || s->now_ns < again->next_ns || fsm->op.id ||
	    fsm->release_due || fsm->stop_due || fsm->fence_due || !other->up || !other->reported)
		return;
	vm_set_state(s, VM_PREPARING, fsm->record.owner, true,
		     "%s %s: protecting it again", vm_host_name(fsm, s->in->host),
		     again->why ? again->why : "says that the guest is again what was protected");
	again->is_own = true;
}
