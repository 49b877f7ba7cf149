/* fsm_lost.c - gives up a cold start that makes no progress, because a host has gone away or cannot
 * be fenced. After that, an operator, or the policy cold_start, can choose a host again
 * (docs/decisions/0067-lost-start.md).
 *
 *	PROMOTING -> FAILED        the chosen host is away for LOST_NS, or again and again for
 *	                           STUCK_NS; or the other host was not fenced in STUCK_NS
 *	FAILED -> UNPROTECTED      the chosen host is back, and runs the guest
 *	FAILED -> PROMOTING        chosen again: it is back and runs nothing; or an operator
 *	                           chooses the other host, after the lost one was fenced
 *
 * vm_fsm.may_run says which hosts must be fenced before another host may start the guest: each host
 * that was ordered to run it, and each host that had to be fenced and was not. A host that is away
 * may run the guest and send its output, without any lease. Only three things show that it does
 * not: it has answered FENCE, the fence command has succeeded, or an operator names it as switched
 * off. */
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* How long a host may be away. If only its connection has broken, or its agent was restarted, the
 * host comes back in this time and gets its order again. */
#define LOST_NS (30 * CLOCK_NS_PER_S)
/* How long a start may make no progress, for whatever reason: a host may come and go, or refuse
 * each FENCE. */
#define STUCK_NS (4 * LOST_NS)
/* A host that is away for less than this time may only be connecting again. */
#define BLINK_NS (5 * CLOCK_NS_PER_S)

static bool is_there(const struct vm_host *host)
{
	return host->up && host->reported;
}

bool vm_lost_is_start(const struct vm_fsm *fsm)
{
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	const struct vm_host *owner = &fsm->host[fsm->record.owner];

	/* An ordinary promotion orders FENCE only after it has succeeded. So in FAILED, a host that
	 * was fenced by an order shows that a cold start was given up. There is one exception: an
	 * operator chose a copy in a conflict, while the other host was already fenced. So the
	 * owner must have no copy. */
	return fsm->record.state == VM_FAILED && !(is_there(owner) && owner->has_copy) &&
	       (fsm->cold.is_lost || (is_there(other) && other->cold.role == VM_COLD_FENCED &&
				      !other->cold.has_qemu));
}

uint8_t vm_lost_unheard(const struct vm_fsm *fsm)
{
	uint8_t owner = fsm->record.owner, other = vm_fsm_other(fsm);

	if (fsm->record.state != VM_FAILED ||
	    is_there(&fsm->host[owner]) == is_there(&fsm->host[other]))
		return VM_HOSTS;
	if (is_there(&fsm->host[owner]))
		return vm_cold_waits(fsm, owner) ? other : VM_HOSTS;
	return vm_cold_waits(fsm, other) ? owner : VM_HOSTS;
}

/* Can @host start the guest from its disks, according to its report? */
static bool may_start(const struct vm_host *host)
{
	return is_there(host) && host->cold.role != VM_COLD_NOT;
}

const char *vm_lost_advice(const struct vm_fsm *fsm, char *text, size_t size)
{
	bool is_owner = !fsm->host[fsm->record.owner].up;
	uint8_t lost = is_owner ? fsm->record.owner : vm_fsm_other(fsm);
	uint8_t beside = vm_fsm_beside(fsm, lost);
	const char *name = vm_host_name(fsm, lost), *vm = fsm->config->name;
	const char *to = vm_host_name(fsm, beside);

	if (fsm->host[lost].up && !fsm->host[lost].reported)
		(void)text_put(text, size, "%s has not reported %s: its agent needs a file for it; "
			       "then `holdfastctl start %s`", name, vm, vm);
	else if (fsm->host[lost].up && fsm->may_run[lost])
		(void)text_put(text, size, "%s may run the guest: its agent's log says why it is "
			       "not fenced. Mend that, then `holdfastctl start %s`", name, vm);
	else if (fsm->host[lost].up)
		(void)text_put(text, size, "`holdfastctl start %s` once %s and %s have reported",
			       vm, to, name);
	else if (!may_start(&fsm->host[beside]))
		(void)text_put(text, size, "%s %s the guest: bring it back. %s cannot start it now",
			       name, fsm->may_run[lost] ? "may run" : "does not run", to);
	else if (!fsm->may_run[lost])
		(void)text_put(text, size, "%s does not run the guest: bring it back, or "
			       "`holdfastctl start %s --on %s --lose`", name, vm, to);
	else if (fsm->config->has_fence_command)
		(void)text_put(text, size, "%s may run the guest: bring it back, or "
			       "`holdfastctl start %s --on %s --lose` has it fenced first", name,
			       vm, to);
	else
		(void)text_put(text, size, "%s may run the guest: bring it back; or, when it is "
			       "off for certain, `holdfastctl start %s --on %s --lose --off %s`",
			       name, vm, to, name);
	return text;
}

/* Give the start up. @is_stuck: the start has made no progress for STUCK_NS. */
static void give_up(struct vm_step *s, uint8_t lost, bool is_stuck)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_cold cold = fsm->cold;
	char advice[VM_TEXT_MAX], reason[VM_TEXT_MAX];
	bool is_here = fsm->host[lost].up;

	/* A host that refuses FENCE, or does not answer it, may run the guest. */
	fsm->may_run[lost] |= is_here;
	(void)text_put(reason, sizeof(reason), "the start is given up, %s %s. %s",
		       vm_host_name(fsm, lost), is_here ? "is not fenced" : "has gone away",
		       TEXT_SHORT(250, vm_lost_advice(fsm, advice, sizeof(advice))));
	vm_set_state(s, VM_FAILED, fsm->record.owner, false, "%s", reason);
	if (fsm->record.state != VM_FAILED)
		return;
	/* If the start was stuck, the policy would choose the same host again and again. So an
	 * operator must decide. */
	fsm->cold = (struct vm_cold){.is_lost = true, .has_failed = cold.has_failed || is_stuck,
				     .was_certain_alone = cold.was_certain_alone && !is_here};
	vm_finish_op(s, false, "start-failed", "%s", reason);
}

/* Returns the index of the host that keeps the start from making progress, or VM_HOSTS: none. */
static uint8_t lost_host(const struct vm_fsm *fsm)
{
	uint8_t owner = fsm->record.owner, other = vm_fsm_other(fsm);
	const struct vm_order *order = &fsm->host[owner].order;
	bool is_ordered = order->id && order->verb == WIRE_VERB_START &&
			  order->term == fsm->record.term;

	if (!fsm->host[owner].up)
		return owner;
	if (fsm->host[other].up)
		return is_ordered || vm_cold_is_fenced(fsm, other) ? VM_HOSTS : other;
	/* the other host is away, and must be fenced first: only the fence command can do this */
	return fsm->may_run[other] && fsm->fencing == VM_FENCING_NONE ? other : VM_HOSTS;
}

bool vm_lost_tick(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	uint64_t ns = s->now_ns - fsm->entered_ns;
	bool is_stuck = ns >= STUCK_NS, is_over = is_stuck;
	const struct vm_host *host;
	uint8_t lost;

	if (!fsm->cold.is_start)
		return false;
	lost = lost_host(fsm);
	if (lost == VM_HOSTS)
		return true;
	host = &fsm->host[lost];
	if (!host->up && ns >= LOST_NS)
		is_over = liveness_silent_for(&host->live, is_stuck ? BLINK_NS : LOST_NS,
					      s->now_ns);
	if (is_over)
		give_up(s, lost, is_stuck);
	return true;
}

bool vm_lost_refuse(struct vm_step *s, uint8_t h)
{
	const struct vm_fsm *fsm = s->fsm;
	uint8_t other = vm_fsm_beside(fsm, h);
	char advice[VM_TEXT_MAX];

	if (s->in->is_off_named && (s->in->off != other || fsm->host[other].up)) {
		vm_reply(s, false, "not-possible",
			 s->in->off != other ? "--off %s: only the host that is not to start the "
					       "guest can be off"
					     : "--off %s: it is connected, so it is not off",
			 vm_host_name(fsm, s->in->off));
		return true;
	}
	if (fsm->host[other].up || !fsm->may_run[other] || s->in->is_off_named ||
	    (fsm->config->has_fence_command && s->in->may_lose))
		return false;
	vm_reply(s, false, "may-run", "%s", vm_lost_advice(fsm, advice, sizeof(advice)));
	return true;
}

bool vm_lost_refuse_failover(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	uint8_t unheard = vm_lost_unheard(fsm);

	if (unheard == VM_HOSTS)
		return false;
	vm_reply(s, false, "not-possible",
		 "%s has lost the memory of %s. %s is not connected, and may have the guest or a "
		 "copy of its memory: bring it back",
		 vm_host_name(fsm, vm_fsm_beside(fsm, unheard)), fsm->config->name,
		 vm_host_name(fsm, unheard));
	return true;
}
