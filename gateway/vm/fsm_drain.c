/* fsm_drain.c - what the VM's state machine does when one of the VM's hosts is drained: it reports
 * how the VM stands in the way, ends the copy that the host keeps, and gives the host no new copy.
 *
 * If the copy did not end before the host goes down, the guest would wait for the lost standby: for
 * standby_timeout_ms, or without end under `standby_lost = hold`. The gateway still intends to
 * protect the VM: protection begins again when the host is taken back, whatever the policy
 * `reprotect` is, because nobody has asked for an unprotected guest. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
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

/* Is it doubtful that the owner lives and has the guest? If so, the copy may be needed to save the
 * guest. */
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
	bool has_third = vm_drain_has_third(fsm, s->in->host);

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
	(void)text_put(reason, sizeof(reason), "%s is being drained, so its copy is given up",
		       host);
	vm_end_protection(s, reason);
	fsm->again.n_failed = n_failed; /* ending the copy was no failure */
	fsm->again.failed[s->in->host][0] = '\0';
	vm_fsm_want_again(fsm, s->now_ns);
	if (has_third)
		vm_reply(s, true, "done", "%s runs on %s, and gets its copy on %s now", name,
			 vm_host_name(fsm, fsm->record.owner),
			 vm_host_name(fsm, vm_fsm_spare(fsm)));
	else
		vm_reply(s, true, "done",
			 "%s runs on %s without a copy until `holdfastctl undrain %s`", name,
			 vm_host_name(fsm, fsm->record.owner), host);
}

/* Does the work of vm_drain_look() if another host than @host owns the guest. @host may still have
 * a copy, or an older guest, that is needed. */
static enum vm_drain_place look_elsewhere(const struct vm_fsm *fsm, uint8_t host, char *why,
					  size_t size)
{
	const char *owner = vm_host_name(fsm, fsm->record.owner);

	if (host == vm_fsm_spare(fsm))
		return vm_spare_has_something(fsm) ? VM_DRAIN_ENDING : VM_DRAIN_AWAY;
	if (fsm->record.state != VM_UNPROTECTED)
		return VM_DRAIN_COPY;
	if (vm_left_is_copy(fsm, fsm->stepped_ns)) {
		(void)text_put(why, size,
			       "%s does not say that it has the guest, and the copy here may be "
			       "all that is left: `holdfastctl failover %s --lose` goes on from "
			       "it, `unprotect %s --lose` discards it", owner, fsm->config->name,
			       fsm->config->name);
		return VM_DRAIN_STUCK;
	}
	switch (fsm->protection.promoted.state) {
	case VM_PROMOTED_WATCHED:
		(void)text_put(why, size, "%s has not shown yet that its guest serves", owner);
		return VM_DRAIN_BUSY;
	case VM_PROMOTED_SILENT:
		(void)text_put(why, size,
			       "nothing shows that its guest serves on %s, and the guest that was "
			       "stopped here may be the better one", owner);
		return VM_DRAIN_STUCK;
	default:
		break;
	}
	/* If the guest may still run here, it must be stopped first, so that it is not cut off in
	 * the middle of its work. If the owner still holds output for a copy here, it must stop
	 * doing so first. */
	if ((fsm->fence_due && fsm->host[host].up) ||
	    (fsm->release_due && fsm->host[fsm->record.owner].up))
		return VM_DRAIN_ENDING;
	return VM_DRAIN_AWAY;
}

/* Is the spare the only host that can keep the copy, now, or after a drain has moved the guest? */
static bool needs_spare(const struct vm_fsm *fsm)
{
	uint8_t other = vm_fsm_other(fsm);
	bool is_unprotected = fsm->record.state == VM_UNPROTECTED;

	if (is_unprotected && fsm->again.when == VM_AGAIN_NEVER)
		return false; /* nobody wants a copy */
	return fsm->is_barred[fsm->record.owner] || fsm->is_barred[other] ||
	       (is_unprotected && vm_protect_obstacle(fsm, other));
}

bool vm_drain_has_third(const struct vm_fsm *fsm, uint8_t host)
{
	uint8_t spare = vm_fsm_spare(fsm);

	if (host == spare)
		return !needs_spare(fsm);
	/* Before an unprotected guest can be moved to the other host, that host must get a copy of
	 * it. If it cannot get one, the guest stays here. */
	if (host == fsm->record.owner && fsm->record.state == VM_UNPROTECTED &&
	    vm_protect_obstacle(fsm, vm_fsm_other(fsm)))
		return false;
	return vm_fsm_has_spare(fsm) && !vm_fsm_in_conflict(fsm) &&
	       !vm_protect_obstacle(fsm, spare) &&
	       fsm->again.unfit != 1 + spare;
}

/* Does the work of vm_drain_look() if @h owns the guest, and no other host has a copy. */
static enum vm_drain_place look_unprotected(const struct vm_fsm *fsm, uint8_t h, char *why,
					    size_t size)
{
	const struct vm_host *host = &fsm->host[h];

	if (host->up && host->reported && vm_guest_is_gone(host))
		return VM_DRAIN_AWAY;
	if (fsm->again.when != VM_AGAIN_NEVER) {
		(void)text_put(why, size, "it is not protected, so there is no copy to go on from; "
			       "the gateway protects it again by itself");
		return VM_DRAIN_BUSY;
	}
	(void)text_put(why, size, "it is not protected, so there is no copy to go on from; "
		       "`holdfastctl protect %s`, or shut it down", fsm->config->name);
	return VM_DRAIN_STUCK;
}

enum vm_drain_place vm_drain_look(const struct vm_fsm *fsm, uint8_t host, bool is_safe, char *why,
				  size_t size)
{
	why[0] = '\0';
	if (vm_fsm_in_conflict(fsm)) {
		(void)text_put(why, size, "who owns it is not clear (a conflict); `holdfastctl vm "
			       "show %s`", fsm->config->name);
		return VM_DRAIN_STUCK;
	}
	if (host == vm_fsm_spare(fsm))
		return look_elsewhere(fsm, host, why, size);
	if (fsm->record.state == VM_FAILED) {
		(void)text_put(why, size, "its promotion on %s failed, and an operator must decide",
			       vm_host_name(fsm, fsm->record.owner));
		return VM_DRAIN_STUCK;
	}
	if (fsm->record.state == VM_PROMOTING) {
		(void)text_put(why, size, "it is being promoted on %s",
			       vm_host_name(fsm, fsm->record.owner));
		return VM_DRAIN_BUSY;
	}
	if (fsm->record.owner != host)
		return look_elsewhere(fsm, host, why, size);
	if (fsm->record.state == VM_UNPROTECTED)
		return look_unprotected(fsm, host, why, size);
	if (fsm->record.state != VM_PROTECTED || !is_safe) {
		(void)text_put(why, size, "it is %s, not SAFE",
			       fsm->record.state == VM_PROTECTED
				       ? "protected, but a move could lose something"
				       : vm_state_name(fsm->record.state));
		return VM_DRAIN_BUSY;
	}
	if (fsm->op.id || fsm->move.state == VM_MOVE_ORDERED) {
		(void)text_put(why, size, "an operator's request for it is running");
		return VM_DRAIN_BUSY;
	}
	return VM_DRAIN_MOVABLE;
}
