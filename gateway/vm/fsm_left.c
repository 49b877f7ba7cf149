/* fsm_left.c - keeps the standby's copy as long as it may be all that is left of the guest
 * (docs/decisions/0074-copy-that-is-left.md).
 *
 * When a protection ends, two orders end what it has built up. UNPROTECT lets the owner release the
 * guest's output, STANDBY_STOP lets the standby discard its copy:
 *
 *	 protection ends ──► UNPROTECT to the owner ──► the owner reports that the released guest
 *	                                                runs ──► STANDBY_STOP to the standby
 *
 * If the owner dies before that, the copy stays, in every state, without a time limit. An operator
 * decides: the owner comes back, or `failover --lose` goes on from the copy, or `unprotect --lose`
 * discards it. Nothing of this is journaled: after a restart of the gateway, the hosts' reports
 * show it. */
#include <inttypes.h>

#include "vm/fsm_private.h"

static bool stands_by(const struct vm_host *host)
{
	return host->reported && vm_agent_stands_by(host->agent_state);
}

/* Disks that are an unfinished copy fit no epoch of the memory, so such a copy is not whole. */
static bool is_whole(const struct vm_host *host)
{
	return host->epoch > 0 && host->cold.disk != VM_COLD_DISK_TORN;
}

static bool has_copy(const struct vm_host *host)
{
	return stands_by(host) && is_whole(host);
}

/* Does nobody want the copy? An operator gave it up, or the guest shut itself down. */
static bool is_unwanted(const struct vm_fsm *fsm)
{
	const struct vm_host *owner = &fsm->host[fsm->record.owner];

	return fsm->is_copy_unwanted ||
	       (owner->reported && owner->verdict == WIRE_VERDICT_SHUTDOWN);
}

bool vm_left_may_release(const struct vm_fsm *fsm)
{
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	/* A host that was booted has nothing to release, but it would record on its disk that it
	 * released the guest. Then nobody could see later that the standby's copy has all that
	 * clients have seen. So while there may be such a copy, a booted owner does not get the
	 * order. */
	return owner->reported && (owner->cold.role == VM_COLD_NOT || fsm->is_copy_unwanted ||
				   (other->reported && !has_copy(other)));
}

bool vm_left_may_stop(const struct vm_fsm *fsm)
{
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	if (fsm->is_copy_unwanted || (stands_by(other) && !is_whole(other)))
		return true;
	if (fsm->release_due)
		return false;
	/* A booted owner that had released the guest has disks that are newer than the copy. A host
	 * that does not stand by has no copy, and its answer ends the last protection. */
	return is_unwanted(fsm) || vm_has_guest(owner) || owner->cold.role == VM_COLD_RUNNING ||
	       (owner->reported && other->reported && !stands_by(other));
}

/* A dead host's connection can stay for some seconds, so silence counts, too. */
static bool is_away(const struct vm_fsm *fsm, uint8_t h, uint64_t now_ns)
{
	const struct vm_host *host = &fsm->host[h];

	return !host->up ||
	       liveness_silent_for(&host->live, fsm->config->liveness.beat_timeout_ns, now_ns);
}

bool vm_left_is_copy(const struct vm_fsm *fsm, uint64_t now_ns)
{
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];

	if ((fsm->record.state != VM_UNPROTECTED && fsm->record.state != VM_SYNCING) ||
	    vm_fsm_in_conflict(fsm) || !has_copy(other) || is_unwanted(fsm))
		return false;
	return is_away(fsm, fsm->record.owner, now_ns) ||
	       !(vm_has_guest(owner) ||
		 (owner->agent_state == WIRE_STATE_LOST && owner->is_guest_found));
}

/* Check the host that `--off` names. Returns false, with a reply, if that host is not off, or is
 * not the owner. */
static bool check_off(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;

	if (!s->in->is_off_named)
		return true;
	if (s->in->off == fsm->record.owner && !fsm->host[s->in->off].up)
		return true;
	vm_reply(s, false, "not-possible",
		 s->in->off == fsm->record.owner ? "--off %s: it is connected, so it is not off"
						 : "--off %s: it is not the owner",
		 vm_host_name(fsm, s->in->off));
	return false;
}

bool vm_left_failover(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t owner = fsm->record.owner, other = vm_fsm_other(fsm);
	const char *vm = fsm->config->name, *name = vm_host_name(fsm, owner);
	uint64_t silence_max_ns = 2 * fsm->config->liveness.beat_timeout_ns;
	bool may_run;

	if (!vm_left_is_copy(fsm, s->now_ns))
		return false;
	if (!s->in->may_lose) {
		vm_reply(s, false, "would-lose",
			 "%s does not say that it has the guest, and %s has an older copy of it, "
			 "epoch %" PRIu64 ". What clients have seen since may be lost: only if %s "
			 "is off for certain, `holdfastctl failover %s --lose` goes on from it",
			 name, vm_host_name(fsm, other), fsm->host[other].epoch, name, vm);
		return true;
	}
	if (liveness_silent_for(&fsm->host[other].live, silence_max_ns, s->now_ns)) {
		vm_reply(s, false, "not-possible",
			 "%s cannot fail over: the standby is silent too (is this gateway cut "
			 "off?)", vm);
		return true;
	}
	if (!check_off(s))
		return true;
	vm_finish_op(s, false, "aborted", "an operator asked for a failover of %s", vm);
	s->may_resolve = true;
	vm_set_state(s, VM_PROMOTING, other, true,
		     "operator asked for a failover to the older copy, whatever is lost");
	s->may_resolve = false;
	fsm->promote_epoch = 1;
	fsm->release_due = fsm->stop_due = fsm->fence_due = false;
	/* A connected owner gets the order to stop after the promotion. An owner that is away may
	 * still run the guest, and an unprotected guest needs no lease. --off says that the owner
	 * is off. */
	may_run = is_away(fsm, owner, s->now_ns) && !s->in->is_off_named;
	fsm->may_run[owner] = may_run;
	if (fsm->config->has_fence_command && may_run)
		fsm->fencing = VM_FENCING_DUE;
	vm_command_begin(s);
	return true;
}
