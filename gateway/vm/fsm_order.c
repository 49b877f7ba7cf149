/* fsm_order.c - decides which order the state requires of each host, and when an order is given
 * again. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "vm/fsm_private.h"

/* wanted_verb() and the want_...() functions return the order that the state requires of a host, or
 * 0. They compute the order again at every step (rule 6 of fsm.h), so that no order is forgotten. A
 * repeated order does no harm. */

/* Must @host, which is not the owner, be fenced again? Yes if it reports an older term, and neither
 * stands by nor is fenced. Such a host can believe that it is the owner. An idle host must be
 * fenced too. If it has lost its files, it no longer knows that it was fenced. Then nothing would
 * stop a QEMU that is started there later. */
static bool must_be_fenced_anew(const struct vm_fsm *fsm, const struct vm_host *host)
{
	const struct vm_order *order = &host->order;
	bool has_obeyed = order->id && order->term == fsm->record.term && order->done && order->ok;

	/* Ignore the older term in a report if the host has carried out an order of the present
	 * term. */
	return host->reported && !has_obeyed && host->term < fsm->record.term &&
	       host->agent_state != WIRE_STATE_FENCED &&
	       host->agent_state != WIRE_STATE_PROMOTING && !vm_agent_stands_by(host->agent_state);
}

/* Does @host, which is not the owner, have the guest of an older term? */
static bool is_outvoted(const struct vm_fsm *fsm, const struct vm_host *host)
{
	return host->reported && host->term < fsm->record.term &&
	       (vm_agent_holds(host->agent_state) || host->agent_state == WIRE_STATE_RUNNING);
}

/* A host without a seat must keep neither guest nor copy, whatever the VM's state is. If this host
 * reports no guest, it is fenced only while the owner reports that the owner has the guest.
 * Otherwise, if the VM's file is wrong, FENCE might end the only guest, on a host that has not
 * found its guest yet. */
static uint8_t want_of_spare(const struct vm_fsm *fsm, const struct vm_host *host)
{
	bool is_owned = vm_has_guest(&fsm->host[fsm->record.owner]);

	if (fsm->record.term == 0)
		return 0;
	if (host->reported && vm_agent_stands_by(host->agent_state))
		return WIRE_VERB_STANDBY_STOP;
	/* The host is still in a promotion of an older term, which no longer counts. */
	if (host->reported && host->agent_state == WIRE_STATE_PROMOTING &&
	    host->term < fsm->record.term)
		return WIRE_VERB_FENCE;
	return is_outvoted(fsm, host) || (is_owned && must_be_fenced_anew(fsm, host))
		       ? WIRE_VERB_FENCE
		       : 0;
}

static uint8_t want_unprotected(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_host *host = &fsm->host[h];

	if (fsm->record.term == 0)
		/* the VM was never protected, so the gateway does not decide which host runs the
		 * guest */
		return 0;
	if (h == fsm->record.owner)
		return fsm->release_due && vm_left_may_release(fsm) ? WIRE_VERB_UNPROTECT : 0;
	if (fsm->fence_due || is_outvoted(fsm, host))
		return WIRE_VERB_FENCE;
	if (fsm->stop_due || (host->reported && vm_agent_stands_by(host->agent_state)))
		return vm_left_may_stop(fsm) ? WIRE_VERB_STANDBY_STOP : 0;
	return must_be_fenced_anew(fsm, host) ? WIRE_VERB_FENCE : 0;
}

/* STANDBY_START may end the stopped guest of a fenced host. So wait for the host's report and, if
 * the host is fenced, for the owner's report: if the owner's guest has ended meanwhile, the fenced
 * host's guest may be all that is left. If no report comes, order_timeout ends the attempt. */
static uint8_t want_preparing(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_host *host = &fsm->host[h], *owner = &fsm->host[fsm->record.owner];

	if (!host->reported)
		return 0;
	if (host->agent_state == WIRE_STATE_FENCED &&
	    (!owner->up || !owner->reported || vm_guest_is_gone(owner)))
		return 0;
	return WIRE_VERB_STANDBY_START;
}

static uint8_t want_protected(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_host *host = &fsm->host[h];
	bool standby_there = fsm->stream[VM_STREAM_STANDBY].up || fsm->record.state == VM_PROTECTED;

	if (!host->reported)
		return 0;
	if (h == fsm->record.owner) {
		if (fsm->record.state == VM_PROTECTED && fsm->move.state == VM_MOVE_ORDERED)
			return WIRE_VERB_MOVE;
		if (vm_agent_holds(host->agent_state) && host->agent_state != WIRE_STATE_LOST &&
		    host->term == fsm->record.term && !vm_move_must_go_on(fsm, host))
			return 0;
		return standby_there ? WIRE_VERB_PROTECT : 0;
	}
	if (vm_agent_stands_by(host->agent_state) && host->term == fsm->record.term)
		return 0;
	return WIRE_VERB_STANDBY_START;
}

/* Can PROMOTE be ordered now? Only if the fence command has finished, and the old owner can no
 * longer release output. */
static bool may_promote(const struct vm_fsm *fsm)
{
	return fsm->fencing == VM_FENCING_NONE && fsm->stepped_ns >= fsm->mute_ns;
}

static uint8_t wanted_verb(const struct vm_fsm *fsm, uint8_t h)
{
	bool owner = h == fsm->record.owner;

	if (h == vm_fsm_spare(fsm))
		return want_of_spare(fsm, &fsm->host[h]);
	/* Give no order: orders cannot bring back what was lost with the hosts' memory. */
	if (fsm->record.state != VM_UNPROTECTED && !fsm->cold.is_start &&
	    (vm_cold_is_nowhere(fsm) || vm_cold_waits(fsm, h)))
		return 0;
	switch (fsm->record.state) {
	case VM_UNPROTECTED:
		return want_unprotected(fsm, h);
	case VM_PREPARING:
		return owner ? 0 : want_preparing(fsm, h);
	case VM_SYNCING:
	case VM_PROTECTED:
		return want_protected(fsm, h);
	case VM_PROMOTING:
		if (fsm->cold.is_start)
			return owner && !may_promote(fsm) ? 0 : vm_cold_verb(fsm, h);
		return owner && may_promote(fsm) ? WIRE_VERB_PROMOTE : 0;
	case VM_FAILED:
		return owner && fsm->give_back_due &&
				       (fsm->give_back_is_operators || vm_move_may_begin_back(fsm))
			       ? WIRE_VERB_STANDBY_STOP
			       : 0;
	default:
		return 0;
	}
}

/* Returns the term in which host @h gets the order @verb: the VM's term, with one exception. A host
 * without a seat is ordered to end its copy in the term before the VM's term. So this host's term
 * is older than the VM's, and the host is fenced next, in the VM's term. Otherwise the host would
 * be idle in the VM's term, and nothing would stop a QEMU that is started there later. */
static uint64_t order_term(const struct vm_fsm *fsm, uint8_t h, uint8_t verb)
{
	bool is_before = h == vm_fsm_spare(fsm) && verb == WIRE_VERB_STANDBY_STOP;

	return fsm->record.term - (is_before ? 1 : 0);
}

static void send_order(struct vm_step *s, uint8_t h, uint8_t verb)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_order *order = &fsm->host[h].order;
	struct vm_action *a = vm_act(s, VM_ACT_ORDER);

	*order = (struct vm_order){
		.id = fsm->next_order_id++,
		.term = order_term(fsm, h, verb),
		.sent_ns = s->now_ns,
		.verb = verb,
	};
	fsm->host[h].effective = false;
	if (verb == WIRE_VERB_START || verb == WIRE_VERB_PROMOTE)
		fsm->may_run[h] = true;
	a->host = h;
	a->verb = verb;
	a->term = order->term;
	a->epoch = verb == WIRE_VERB_PROMOTE ? fsm->promote_epoch : 0;
	a->order_id = order->id;
}

/* After a restart of the gateway in PROMOTING, decide whether the fence command must run. If the
 * old owner reports, it gets the order to stop, so the command does not run. (An operator's
 * failover must not switch off a healthy host.) If the old owner stays silent until its leases have
 * expired, the command runs. */
static void judge_fencing(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_host *host = &fsm->host[vm_fsm_other(fsm)];

	/* If the new owner reports that it has neither guest nor copy, this is a cold start, which
	 * needs no fence command.
	 */
	if ((host->up && host->reported) ||
	    fsm->host[fsm->record.owner].cold.role != VM_COLD_NOT)
		fsm->fencing = VM_FENCING_NONE;
	else if (s->now_ns >= fsm->mute_ns)
		fsm->fencing = VM_FENCING_DUE;
}

/* Start the fence command. Called in PROMOTING, before PROMOTE is ordered. */
static void start_fencing(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t h = vm_fsm_other(fsm);
	struct vm_action *a;

	vm_event(s, "fence", "running the fence command against %s", vm_host_name(fsm, h));
	a = vm_act(s, VM_ACT_FENCE);
	a->host = h;
	a->term = fsm->record.term;
	fsm->fencing = VM_FENCING_RUNNING;
}

void vm_on_fenced(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = vm_host_name(fsm, vm_fsm_other(fsm));
	const char *text = s->in->text && s->in->text[0] ? s->in->text : "no reason given";
	bool ok = s->in->status == WIRE_ORDER_OK, is_start = fsm->cold.is_start;
	char reason[2 * VM_TEXT_MAX]; /* a longer text is cut */

	if (fsm->fencing != VM_FENCING_RUNNING || s->in->term != fsm->record.term)
		return;
	fsm->fencing = VM_FENCING_NONE;
	if (ok)
		fsm->may_run[vm_fsm_other(fsm)] = false;
	/* Go on without the fence only if fence_required = no. In a cold start, a host that may run
	 * the guest must be fenced in any case. */
	if (ok || (!fsm->config->fence_required &&
		   !(is_start && fsm->may_run[vm_fsm_other(fsm)]))) {
		vm_event(s, "fence", ok ? "%s is fenced: %s"
					: "%s is not fenced (%s), going on: fence_required = no",
			 name, text);
		return;
	}
	/* Put the advice into the event too. When the primary falls silent, usually no operator
	 * waits for a reply. */
	if (is_start)
		(void)text_put(reason, sizeof(reason),
			       "the fence command against %s failed: %s; when %s is off for "
			       "certain, `holdfastctl start %s --on %s --lose --off %s` starts "
			       "the guest without it", name,
			       TEXT_SHORT(100, text), name, fsm->config->name,
			       vm_host_name(fsm, fsm->record.owner), name);
	else
		(void)text_put(reason, sizeof(reason),
			       "the fence command against %s failed: %s; when %s is known to be "
			       "off, `holdfastctl failover %s` promotes without it", name,
			       TEXT_SHORT(130, text), name, fsm->config->name);
	vm_set_state(s, VM_FAILED, fsm->record.owner, false, "%s", reason);
	fsm->cold.is_lost = is_start;
	vm_finish_op(s, false, "fence-failed", "%s", reason);
}

void vm_reconcile(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;

	if (vm_fsm_in_conflict(fsm))
		return; /* give no order, because any order could stop the right guest */
	if (fsm->fencing == VM_FENCING_UNSURE)
		judge_fencing(s);
	if (fsm->record.state == VM_PROMOTING && fsm->fencing == VM_FENCING_DUE)
		start_fencing(s);

	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		const struct vm_host *host = &fsm->host[h];
		const struct vm_order *order = &host->order;
		/* A host in a newer term accepts no order of ours. */
		bool is_ahead = host->reported && host->term > fsm->record.term;
		uint8_t verb = host->up && !is_ahead ? wanted_verb(fsm, h) : 0;

		if (!verb)
			continue;
		if (order->id && order->verb == verb && order->term == order_term(fsm, h, verb)) {
			/* The order was sent already. If it was refused and order_timeout has
			 * passed, send it again. */
			if (!order->done || order->ok || !vm_is_stuck(s, h, order->sent_ns))
				continue;
		}
		send_order(s, h, verb);
	}
}
