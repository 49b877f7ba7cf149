/* fsm_conflict.c - handles operators' commands while it is not clear who owns the guest
 * (vm_fsm_in_conflict). fsm_newer.c begins a conflict. An operator can end it in two ways:
 *
 *	owner NAME HOST          HOST has the right guest: it goes on, unprotected, in a new term.
 *	                         The other hosts give up what they have
 *	failover NAME --lose     a standby's copy is the right one: it is promoted
 *
 * The gateway does not know which guest or copy is the newest. So `owner` needs --lose if a host
 * may have more of the guest than HOST (docs/decisions/0075-the-copy-in-a-conflict.md). A promotion
 * from a conflict begins only if no host can run a second guest: see refuse_second_guest(). */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "vm/fsm_private.h"

static bool is_there(const struct vm_host *host)
{
	return host->up && host->reported;
}

/* Does @host report a term that is out of range? Only such a term can be above term_seen
 * (vm_on_newer_term()). This gateway then cannot begin a higher term. */
static bool is_out_of_range(const struct vm_fsm *fsm, const struct vm_host *host)
{
	return host->term > fsm->term_seen && host->term > fsm->record.term;
}

static void refuse_out_of_range(struct vm_step *s, uint8_t h)
{
	vm_reply(s, false, "not-possible",
		 "%s reports term %" PRIu64 ", which is out of range; is the role file of %s in "
		 "its role_dir damaged?", vm_host_name(s->fsm, h), s->fsm->host[h].term,
		 s->fsm->config->name);
}

/* Does @host report a guest, or a copy of its memory? */
static bool has_something(const struct vm_host *host)
{
	return host->has_copy ||
	       (!vm_guest_is_gone(host) && (vm_agent_holds(host->agent_state) ||
					    host->agent_state == WIRE_STATE_RUNNING ||
					    host->agent_state == WIRE_STATE_PROMOTING));
}

/* Returns the host with a seat that reports the newest copy of the guest's memory, or VM_HOSTS. */
static uint8_t find_copy(const struct vm_fsm *fsm)
{
	uint8_t best = VM_HOSTS;

	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		const struct vm_host *host = &fsm->host[h];

		if (h == vm_fsm_spare(fsm) || !is_there(host) || !host->has_copy)
			continue;
		if (best == VM_HOSTS || host->term > fsm->host[best].term ||
		    (host->term == fsm->host[best].term && host->epoch > fsm->host[best].epoch))
			best = h;
	}
	return best;
}

/* ---- owner */

/* If @h becomes the owner, host @o gives up what it has of the guest. Could that be all that is
 * left of the guest, or be newer than what @h has? */
static bool may_have_more(const struct vm_step *s, uint8_t h, uint8_t o)
{
	const struct vm_host *named = &s->fsm->host[h], *other = &s->fsm->host[o];

	if (o == h || !s->fsm->config->host[o][0])
		return false;
	if (!vm_has_guest_now(s, h))
		return !is_there(other) || has_something(other);
	/* A copy of the named host's own guest is never ahead of that guest. */
	return is_there(other) && other->has_copy && named->term <= other->term &&
	       !(named->term == other->term && vm_agent_holds(named->agent_state));
}

/* Refuse to name @h, because of what host @o may have. */
static void refuse_loss(struct vm_step *s, uint8_t h, uint8_t o)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_host *other = &fsm->host[o];
	const char *name = vm_host_name(fsm, o), *vm = fsm->config->name;
	char what[VM_TEXT_MAX / 2], next[VM_TEXT_MAX / 2];

	if (!is_there(other)) {
		(void)text_put(what, sizeof(what),
			       "%s is not connected, and may have the guest or a copy of it", name);
		(void)text_put(next, sizeof(next), "bring it back");
	} else if (other->has_copy) {
		(void)text_put(what, sizeof(what),
			       "%s has a copy of it, epoch %" PRIu64 " of term %" PRIu64, name,
			       other->epoch, other->term);
		if (o == vm_fsm_spare(fsm))
			(void)text_put(next, sizeof(next), "it has no seat by the journal: "
				       "docs/operations.md (\"A third host\") gives it one");
		else
			(void)text_put(next, sizeof(next),
				       "`holdfastctl failover %s --lose` promotes the copy", vm);
	} else {
		(void)text_put(what, sizeof(what), "%s reports %s in term %" PRIu64, name,
			       wire_state_name(other->agent_state), other->term);
		(void)text_put(next, sizeof(next), "`holdfastctl owner %s %s` keeps that", vm,
			       name);
	}
	vm_reply(s, false, "would-lose",
		 "%s %s, and %s: that may be all that is left, or the newest. %s; `holdfastctl "
		 "owner %s %s --lose` gives it up", vm_host_name(fsm, h),
		 vm_has_guest_now(s, h) ? "may have an older guest"
					: "does not say that it has the guest",
		 what, next, vm, vm_host_name(fsm, h));
}

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
	fsm->is_copy_unwanted = s->in->may_lose;
	/* no FENCE is needed yet: if the other host runs the guest, its next report shows that */
	fsm->fence_due = false;
}

/* An operator says, in a conflict, which host has the right guest. */
static void on_owner(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	uint8_t h = s->in->host;
	const struct vm_host *host = &fsm->host[h];
	const char *name = vm_host_name(fsm, h), *vm = fsm->config->name;

	/* Can the named host be the owner at all? */
	if (h == vm_fsm_spare(fsm)) {
		vm_reply(s, false, "not-possible",
			 "%s has no seat by the journal; if its guest is the right one, name it as "
			 "`primary` in the gateway's file of %s, move the journal away and restart "
			 "the gateway (docs/operations.md)", name, vm);
		return;
	}
	if (vm_refuse_absent(s, h))
		return;
	if (is_out_of_range(fsm, host)) {
		refuse_out_of_range(s, h);
		return;
	}
	if (host->has_copy) {
		vm_reply(s, false, "not-possible",
			 "%s reports %s: it has a copy of the guest, epoch %" PRIu64 " of term "
			 "%" PRIu64 ", and no guest that could go on; `holdfastctl failover %s "
			 "--lose` promotes the copy", name, wire_state_name(host->agent_state),
			 host->epoch, host->term, vm);
		return;
	}
	if (host->agent_state == WIRE_STATE_FENCED || host->agent_state == WIRE_STATE_FAILED ||
	    vm_agent_stands_by(host->agent_state)) {
		vm_reply(s, false, "not-possible",
			 "%s reports %s: it has no guest that could go on; is the other host the "
			 "owner?", name, wire_state_name(host->agent_state));
		return;
	}
	/* Would another host have to give up something that may be newer? */
	for (uint8_t o = 0; o < VM_HOSTS && !s->in->may_lose; o++) {
		if (may_have_more(s, h, o)) {
			refuse_loss(s, h, o);
			return;
		}
	}
	resolve(s, h);
	vm_command_begin(s);
}

/* ---- failover --lose */

/* Can host @o, whose guest is to be replaced by the copy, run a guest and send its output? If so,
 * refuse the command and return true. A host that holds its guest's output sends nothing without a
 * lease, and PROMOTE waits until no lease is left. Any other guest must be ended first: the order
 * FENCE could be lost with the connection, and nothing would stop the guest then. */
static bool refuse_host(struct vm_step *s, uint8_t o)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_host *host = &fsm->host[o];
	const char *name = vm_host_name(fsm, o), *vm = fsm->config->name;
	uint8_t state = host->agent_state;

	if (!host->up && s->in->is_off_named && s->in->off == o)
		return false;
	if (!is_there(host)) {
		vm_reply(s, false, "may-run", host->up
			 ? "%s has not reported %s, so it may run it: does it have a file for it? "
			   "Or, when it is off for certain, `holdfastctl failover %s --lose --off "
			   "%s`"
			 : "%s is not connected, so it may run %s: bring it back; or, when it is "
			   "off for certain, `holdfastctl failover %s --lose --off %s`",
			 name, vm, vm, name);
	} else if (is_out_of_range(fsm, host)) {
		refuse_out_of_range(s, o);
	} else if (!vm_guest_is_gone(host) &&
		   (state == WIRE_STATE_RUNNING || state == WIRE_STATE_PROMOTING ||
		    state == WIRE_STATE_ATTACHING || state == WIRE_STATE_SYNCING)) {
		vm_reply(s, false, "may-run",
			 "%s reports %s in term %" PRIu64 ": its guest may send output beside the "
			 "copy's. If the copy is the right one, end the QEMU there first", name,
			 wire_state_name(state), host->term);
	} else if (o == vm_fsm_spare(fsm) && host->has_copy) {
		vm_reply(s, false, "not-possible",
			 "%s has a copy of it, epoch %" PRIu64 " of term %" PRIu64 ", and no seat "
			 "by the journal; if that is the right one, name the host as `primary` in "
			 "the gateway's file of %s, move the journal away and restart the gateway "
			 "(docs/operations.md)", name, host->epoch, host->term, vm);
	} else {
		return false;
	}
	return true;
}

/* If a host other than @copy may run the guest, refuse the command and return true. */
static bool refuse_second_guest(struct vm_step *s, uint8_t copy)
{
	const struct vm_fsm *fsm = s->fsm;

	if (s->in->is_off_named && fsm->host[s->in->off].up) {
		vm_reply(s, false, "not-possible", "--off %s: it is connected, so it is not off",
			 vm_host_name(fsm, s->in->off));
		return true;
	}
	for (uint8_t o = 0; o < VM_HOSTS; o++) {
		if (o != copy && fsm->config->host[o][0] && refuse_host(s, o))
			return true;
	}
	return false;
}

/* An operator says, in a conflict, that the standby's copy is the right one. From here on this is
 * an ordinary promotion. */
static void on_failover(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t copy = find_copy(fsm);
	uint64_t epoch;

	if (copy == VM_HOSTS) {
		vm_reply(s, false, "not-possible",
			 "no connected host reports a copy of %s that could be promoted: bring the "
			 "missing host back, or see `holdfastctl vm show %s`", fsm->config->name,
			 fsm->config->name);
		return;
	}
	if (is_out_of_range(fsm, &fsm->host[copy])) {
		refuse_out_of_range(s, copy);
		return;
	}
	if (refuse_second_guest(s, copy))
		return;
	epoch = fsm->host[copy].epoch;
	s->may_resolve = true;
	/* As in resolve(): nothing may end the old guest before the next `protect`. */
	vm_again_forget(fsm);
	vm_set_state(s, VM_PROMOTING, copy, true,
		     "operator chose the copy on %s, epoch %" PRIu64 " of term %" PRIu64,
		     vm_host_name(fsm, copy), epoch, fsm->host[copy].term);
	fsm->release_due = fsm->stop_due = fsm->fence_due = false;
	fsm->promote_epoch = epoch;
	/* Another gateway may have granted the old owner a lease until now. */
	vm_fsm_granted(fsm, s->now_ns);
	vm_command_begin(s);
}

/* ---- any command */

static void refuse(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	const char *vm = fsm->config->name;
	uint8_t h = find_copy(fsm);
	char copy[VM_TEXT_MAX / 2] = "";

	if (h != VM_HOSTS)
		(void)text_put(copy, sizeof(copy),
			       "; `holdfastctl failover %s --lose` promotes the copy on %s, epoch "
			       "%" PRIu64 " of term %" PRIu64, vm, vm_host_name(fsm, h),
			       fsm->host[h].epoch, fsm->host[h].term);
	vm_reply(s, false, "conflict",
	      "who owns %s is not clear (`holdfastctl events` says why): `holdfastctl owner %s "
	      "HOST` names the host with the right guest, and stops the other one%s; `takeover` "
	      "instead, if hosts obey a younger gateway that is gone", vm, vm, copy);
}

bool vm_conflict_command(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;

	if (s->in->command == VM_COMMAND_START)
		return false;
	if (vm_fsm_in_conflict(fsm)) {
		if (s->in->command == VM_COMMAND_OWNER)
			on_owner(s);
		else if (s->in->command == VM_COMMAND_FAILOVER && s->in->may_lose)
			on_failover(s);
		else
			refuse(s);
		return true;
	}
	if (s->in->command != VM_COMMAND_OWNER)
		return false;
	vm_reply(s, false, "no-conflict",
		 "%s owns %s in term %" PRIu64 ", no host says otherwise, so there is nothing to "
		 "decide; `holdfastctl move %s` lets the other host run it",
		 vm_host_name(fsm, fsm->record.owner), fsm->config->name, fsm->record.term,
		 fsm->config->name);
	return true;
}
