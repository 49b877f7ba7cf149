/* fsm_again.c - decides when the gateway protects a guest again without an operator's request.
 *
 *	 protection ended, or promoted               both hosts are ready, next_ns has passed
 *	──────────────────────────────► UNPROTECTED ──────────────────────────────────────────► PREPARING
 *	                                     ▲    the attempt failed: a longer wait                 │
 *	                                     └──────────────────────────────────────────────────────┘
 *
 * The gateway and the owner are two of the three parties (gateway and two hosts), so they can begin
 * the new term. With the policy `reprotect = auto` the gateway begins one whenever an operator
 * wants the VM protected (record.is_wanted). With `ask` it does so only where it had suspended the
 * protection itself, for example because the guest had changed. */
#include <stdio.h>

#include "base/clock.h"
#include "vm/fsm_private.h"

/* The wait after the first failure is AGAIN_NS. Each further failure doubles it, up to
 * AGAIN_MAX_NS. */
#define AGAIN_NS     (10 * CLOCK_NS_PER_S)
#define AGAIN_MAX_NS (640 * CLOCK_NS_PER_S)

static uint64_t wait_ns(unsigned int n_failed)
{
	uint64_t ns = AGAIN_NS;

	while (n_failed-- > 1 && ns < AGAIN_MAX_NS)
		ns *= 2;
	return ns;
}

void vm_again_init(struct vm_fsm *fsm, uint64_t now_ns)
{
	if (!fsm->config->reprotect_auto) {
		fsm->record.is_wanted = false; /* the policy was `auto` before this start */
		return;
	}
	fsm->record.is_wanted |= fsm->record.state != VM_UNPROTECTED;
	if (fsm->record.state == VM_UNPROTECTED)
		vm_again_entered(fsm, now_ns);
}

void vm_again_entered(struct vm_fsm *fsm, uint64_t now_ns)
{
	struct vm_again *again = &fsm->again;

	again->when = VM_AGAIN_NEVER;
	if (fsm->record.state != VM_SYNCING)
		again->is_own = false;
	if (fsm->record.state == VM_PROTECTED || fsm->record.state == VM_PROMOTING)
		again->why = NULL;
	if (fsm->record.state == VM_PROMOTING)
		again->n_failed = 0;
	if (fsm->record.state == VM_UNPROTECTED && fsm->record.is_wanted)
		vm_again_plan(fsm, VM_AGAIN_SOON, "runs the guest unprotected", now_ns);
}

void vm_again_ended(struct vm_fsm *fsm, const struct vm_ended *ended, uint64_t now_ns)
{
	struct vm_again *again = &fsm->again;

	/* A standby that fails again and again must not cause one copy after the other. */
	if (ended->state == VM_PROTECTED && ended->lasted_ns >= AGAIN_MAX_NS)
		again->n_failed = 0;
	again->n_failed++;
	again->next_ns = now_ns + wait_ns(again->n_failed);
	if (ended->was_own && again->when == VM_AGAIN_NEVER)
		again->when = again->why ? VM_AGAIN_SOON : VM_AGAIN_COVERED;
}

void vm_again_plan(struct vm_fsm *fsm, enum vm_again_when when, const char *why, uint64_t at_ns)
{
	fsm->again.when = when;
	fsm->again.why = why;
	fsm->again.next_ns = at_ns;
}

void vm_again_forget(struct vm_fsm *fsm)
{
	fsm->record.is_wanted = false;
	fsm->again = (struct vm_again){.when = VM_AGAIN_NEVER};
}

const char *vm_protect_obstacle(const struct vm_fsm *fsm)
{
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	if (!other->up)
		return "is not connected";
	if (!other->reported)
		return "has not reported this VM";
	if (fsm->record.term == 0)
		return NULL;
	if (fsm->release_due || fsm->stop_due || fsm->fence_due ||
	    other->agent_state == WIRE_STATE_RUNNING || other->agent_state == WIRE_STATE_PROMOTING)
		return "has not yet confirmed the end of the last term";
	/* A host that was fenced may end its stopped guest when it is to stand by. So do not ask it
	 * before the owner has said that it has the guest. */
	if (other->agent_state == WIRE_STATE_FENCED && !vm_has_guest(owner))
		return "was fenced, and what it keeps of the guest may be all that is left: the "
		       "owner does not say that it has the guest";
	return NULL;
}

void vm_again_report(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_again *again = &fsm->again;

	if (fsm->record.state != VM_UNPROTECTED || again->when == VM_AGAIN_NEVER ||
	    (again->when == VM_AGAIN_COVERED && !s->in->is_covered_again))
		return;
	/* Wait until the last protection has ended completely. A later report tries again. */
	if (vm_fsm_in_conflict(fsm) || s->now_ns < again->next_ns || fsm->op.id ||
	    vm_protect_obstacle(fsm))
		return;
	vm_set_state(s, VM_PREPARING, fsm->record.owner, true,
		     "%s %s: protecting it again", vm_host_name(fsm, s->in->host),
		     again->why ? again->why : "says that the guest is again what was protected");
	again->is_own = true;
}

const char *vm_again_describe(const struct vm_fsm *fsm, uint64_t now_ns, char *text, size_t size)
{
	const struct vm_again *again = &fsm->again;
	const char *other = vm_host_name(fsm, vm_fsm_other(fsm));
	const char *obstacle = vm_protect_obstacle(fsm);
	uint64_t left_s = again->next_ns > now_ns ? (again->next_ns - now_ns) / CLOCK_NS_PER_S : 0;

	if (again->when == VM_AGAIN_COVERED)
		(void)snprintf(text, size,
			       "it is protected again by itself once the guest is again what was "
			       "protected");
	else if (obstacle)
		(void)snprintf(text, size, "it is protected again by itself, but %s %s", other,
			       obstacle);
	else if (left_s > 0)
		(void)snprintf(text, size,
			       "it is protected again by itself in %02u:%02u; `holdfastctl protect "
			       "%s` does not wait",
			       (unsigned int)left_s / 60, (unsigned int)left_s % 60,
			       fsm->config->name);
	else
		(void)snprintf(text, size, "it is protected again by itself now");
	return text;
}
