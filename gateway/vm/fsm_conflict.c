/* fsm_conflict.c - handles operators' commands while it is not clear who owns the guest
 * (vm_fsm_in_conflict). fsm_newer.c begins a conflict. */
#include <inttypes.h>
#include <stdio.h>

#include "vm/fsm_private.h"

/* Begin a new term, unprotected, with @owner. If another host runs the guest, it is fenced. */
static void resolve(struct vm_step *s, uint8_t owner)
{
	struct vm_fsm *fsm = s->fsm;

	s->may_resolve = true;
	/* The operator can be wrong, so nothing may end the guest on the other host before the next
	 * `protect`. */
	vm_again_forget(fsm);
	vm_set_state(s, VM_UNPROTECTED, owner, true, "operator named %s as the owner",
		     vm_host_name(fsm, owner));
	fsm->release_due = true;
	fsm->stop_due = true;
	/* no FENCE is needed yet: if the other host runs the guest, its next report shows that */
	fsm->fence_due = false;
}

/* Handle the command `owner`, by which an operator says, in a conflict, which host has the right
 * guest. */
static void on_owner(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t h = s->in->host;
	const struct vm_host *host = &fsm->host[h];
	const char *name = vm_host_name(fsm, h);

	if (!vm_fsm_in_conflict(fsm)) {
		vm_reply(s, false, "no-conflict",
		      "%s owns %s in term %" PRIu64 ", no host says otherwise, so there is "
		      "nothing to decide; `holdfastctl move %s` lets the other host run it",
		      vm_host_name(fsm, fsm->record.owner), fsm->config->name, fsm->record.term,
		      fsm->config->name);
		return;
	}
	if (h == vm_fsm_spare(fsm)) {
		vm_reply(s, false, "not-possible",
			 "%s has no seat by the journal; if its guest is the right one, name it as "
			 "`primary` in the gateway's file of %s, move the journal away and restart "
			 "the gateway (docs/operations.md)", name, fsm->config->name);
		return;
	}
	if (vm_refuse_absent(s, h))
		return;
	if (host->term > fsm->term_seen && host->term > fsm->record.term) {
		vm_reply(s, false, "not-possible",
		      "%s reports term %" PRIu64 ", which is out of range; is "
		      "the role file of %s in its role_dir damaged?",
		      name, host->term, fsm->config->name);
		return;
	}
	if (host->agent_state == WIRE_STATE_FENCED || host->agent_state == WIRE_STATE_FAILED ||
	    vm_agent_stands_by(host->agent_state)) {
		vm_reply(s, false, "not-possible",
			 "%s reports %s: it has no guest that could go on; is the other host the "
			 "owner?",
		      name, wire_state_name(host->agent_state));
		return;
	}
	resolve(s, h);
	vm_command_begin(s);
}

static void refuse(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;

	vm_reply(s, false, "conflict",
	      "who owns %s is not clear (`holdfastctl events` says why): `holdfastctl owner %s "
	      "HOST` names the host with the right guest, and stops the other one; `takeover` "
	      "instead, if hosts obey a younger gateway that is gone",
	      fsm->config->name, fsm->config->name);
}

bool vm_conflict_command(struct vm_step *s)
{
	if (s->in->command == VM_COMMAND_OWNER) {
		on_owner(s);
		return true;
	}
	if (!vm_fsm_in_conflict(s->fsm) || s->in->command == VM_COMMAND_START)
		return false;
	refuse(s);
	return true;
}
