/* fsm_drain.c - what a drain of one of the VM's hosts asks of its machine: how the VM stands in the
 * way, the end of the copy that the host keeps, and that the host gets no other.
 *
 * Ending a copy on purpose spares the guest the wait for a standby that has gone down
 * (standby_timeout_ms, or for good under `standby_lost = hold`). The wish for protection stays: it
 * is begun again once the host is taken back, whatever the policy `reprotect` is, because nobody
 * said that the guest should be without. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "vm/fsm_private.h"

void vm_fsm_bar(struct vm_fsm *fsm, uint8_t host, bool is_barred)
{
	fsm->is_barred[host] = is_barred;
}

bool vm_fsm_wants_again(const struct vm_fsm *fsm)
{
	return fsm->record.state == VM_UNPROTECTED && fsm->again.when == VM_AGAIN_SOON;
}

void vm_fsm_want_again(struct vm_fsm *fsm, uint64_t now_ns)
{
	if (fsm->record.state == VM_UNPROTECTED)
		vm_again_plan(fsm, VM_AGAIN_SOON, "runs the guest, whose other host was drained",
			      now_ns);
}

/* Is it doubtful that the owner lives and has the guest? Then the copy may be what saves it. */
static bool may_need_copy(const struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];

	return !vm_has_guest(owner) || vm_guest_is_gone(owner) ||
	       liveness_silent_for(&owner->live, fsm->config->liveness.beat_timeout_ns / 2,
				   s->now_ns) ||
	       (fsm->record.state == VM_PROTECTED && fsm->detector.state != DETECTOR_PROTECTED);
}

void vm_on_end_copy(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const char *name = fsm->config->name, *host = vm_host_name(fsm, s->in->host);
	unsigned int n_failed = fsm->again.n_failed;
	char reason[VM_TEXT_MAX];

	if (s->in->host == fsm->record.owner) {
		vm_reply(s, false, "not-possible", "%s owns %s, so it keeps no copy", host, name);
		return;
	}
	if (fsm->record.state == VM_UNPROTECTED || s->in->host == vm_fsm_spare(fsm)) {
		vm_reply(s, true, "already", "%s has no copy of %s", host, name);
		return;
	}
	if (fsm->record.state == VM_PROMOTING || fsm->record.state == VM_FAILED || fsm->op.id ||
	    fsm->move.state == VM_MOVE_ORDERED) {
		vm_reply(s, false, "busy", "%s is %s%s", name, vm_state_name(fsm->record.state),
			 fsm->op.id ? ", and an operator's request is running" : "");
		return;
	}
	if (may_need_copy(s)) {
		vm_reply(s, false, "not-safe",
			 "%s may need its copy on %s: it is not certain that %s runs well", name,
			 host, vm_host_name(fsm, fsm->record.owner));
		return;
	}
	(void)snprintf(reason, sizeof(reason), "%s is being drained, so its copy is given up",
		       host);
	vm_end_protection(s, reason);
	fsm->again.n_failed = n_failed; /* this was no failure */
	vm_fsm_want_again(fsm, s->now_ns);
	vm_reply(s, true, "done", "%s runs on %s without a copy until `holdfastctl undrain %s`",
		 name, vm_host_name(fsm, fsm->record.owner), host);
}

/* The guest is the other host's. May there be anything of it on this host that is still needed? */
static enum vm_drain_place look_elsewhere(const struct vm_fsm *fsm, uint8_t host, char *why,
					  size_t size)
{
	const char *owner = vm_host_name(fsm, fsm->record.owner);

	if (host == vm_fsm_spare(fsm))
		return vm_spare_has_something(fsm) ? VM_DRAIN_ENDING : VM_DRAIN_AWAY;
	if (fsm->record.state != VM_UNPROTECTED)
		return VM_DRAIN_COPY;
	switch (fsm->protection.promoted.state) {
	case VM_PROMOTED_WATCHED:
		(void)snprintf(why, size, "%s has not shown yet that its guest serves", owner);
		return VM_DRAIN_BUSY;
	case VM_PROMOTED_SILENT:
		(void)snprintf(why, size,
			       "nothing shows that its guest serves on %s, and the guest that was "
			       "stopped here may be the better one", owner);
		return VM_DRAIN_STUCK;
	default:
		break;
	}
	/* A guest that may still run here must be stopped first, else it is cut off in the middle
	 * of what it does; and the owner must no longer hold output for a copy here. */
	if ((fsm->fence_due && fsm->host[host].up) ||
	    (fsm->release_due && fsm->host[fsm->record.owner].up))
		return VM_DRAIN_ENDING;
	return VM_DRAIN_AWAY;
}

bool vm_drain_has_third(const struct vm_fsm *fsm, uint8_t host)
{
	uint8_t spare = vm_fsm_spare(fsm);

	if (host == spare)
		return true;
	return vm_fsm_has_spare(fsm) && !vm_fsm_in_conflict(fsm) &&
	       !vm_protect_obstacle(fsm, spare) &&
	       fsm->again.unfit != 1 + spare;
}

/* The host owns the guest, which has no copy elsewhere. */
static enum vm_drain_place look_unprotected(const struct vm_fsm *fsm, uint8_t h, char *why,
					    size_t size)
{
	const struct vm_host *host = &fsm->host[h];

	if (host->up && host->reported && vm_guest_is_gone(host))
		return VM_DRAIN_AWAY;
	if (fsm->again.when != VM_AGAIN_NEVER) {
		(void)snprintf(why, size, "it is not protected, so there is no copy to go on from; "
			       "the gateway protects it again by itself");
		return VM_DRAIN_BUSY;
	}
	(void)snprintf(why, size, "it is not protected, so there is no copy to go on from; "
		       "`holdfastctl protect %s`, or shut it down", fsm->config->name);
	return VM_DRAIN_STUCK;
}

enum vm_drain_place vm_drain_look(const struct vm_fsm *fsm, uint8_t host, bool is_safe, char *why,
				  size_t size)
{
	why[0] = '\0';
	if (vm_fsm_in_conflict(fsm)) {
		(void)snprintf(why, size, "who owns it is not clear (a conflict); `holdfastctl vm "
			       "show %s`", fsm->config->name);
		return VM_DRAIN_STUCK;
	}
	if (host == vm_fsm_spare(fsm))
		return look_elsewhere(fsm, host, why, size);
	if (fsm->record.state == VM_FAILED) {
		(void)snprintf(why, size, "its promotion on %s failed, and an operator must decide",
			       vm_host_name(fsm, fsm->record.owner));
		return VM_DRAIN_STUCK;
	}
	if (fsm->record.state == VM_PROMOTING) {
		(void)snprintf(why, size, "it is being promoted on %s",
			       vm_host_name(fsm, fsm->record.owner));
		return VM_DRAIN_BUSY;
	}
	if (fsm->record.owner != host)
		return look_elsewhere(fsm, host, why, size);
	if (fsm->record.state == VM_UNPROTECTED)
		return look_unprotected(fsm, host, why, size);
	if (fsm->record.state != VM_PROTECTED || !is_safe) {
		(void)snprintf(why, size, "it is %s, not SAFE",
			       fsm->record.state == VM_PROTECTED
				       ? "protected, but a move could lose something"
				       : vm_state_name(fsm->record.state));
		return VM_DRAIN_BUSY;
	}
	if (fsm->op.id || fsm->move.state == VM_MOVE_ORDERED) {
		(void)snprintf(why, size, "an operator's request for it is running");
		return VM_DRAIN_BUSY;
	}
	return VM_DRAIN_MOVABLE;
}
