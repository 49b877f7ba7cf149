/* fsm_again.c - decides when the gateway protects a guest again without an operator's request.
 *
 *   ended, or promoted                  both hosts ready, next_ns over
 *   ──────────────────► UNPROTECTED ──────────────────────────────────► PREPARING
 *                            ▲      the attempt failed: a longer wait        │
 *                            └───────────────────────────────────────────────┘
 *
 * The gateway and the owner are two of the three parties (gateway and two hosts), so they can begin
 * the new term. With the policy `reprotect = auto` the gateway begins a new term whenever an
 * operator wants the VM protected (record.is_wanted). With `ask` it does so only after it has
 * suspended the protection itself, for example because the guest had changed. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
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
		fsm->record.is_wanted = false; /* may be set since an earlier start with `auto` */
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
	again->is_repeat = false;
	if (fsm->record.state != VM_SYNCING)
		again->is_own = false;
	if (fsm->record.state == VM_PROTECTED || fsm->record.state == VM_PROMOTING) {
		again->why = NULL;
		again->unfit = 0;
		memset(again->failed, 0, sizeof(again->failed));
	}
	if (fsm->record.state == VM_PROMOTING) {
		again->n_failed = 0;
		again->was_doubtful = false;
	}
	if (fsm->record.state == VM_UNPROTECTED && fsm->record.is_wanted)
		vm_again_plan(fsm, VM_AGAIN_SOON, "runs the guest unprotected", now_ns);
}

void vm_again_ended(struct vm_fsm *fsm, const struct vm_ended *ended, uint64_t now_ns)
{
	struct vm_again *again = &fsm->again;

	/* Make each wait longer, so that a standby that fails again and again does not cause one
	 * copy after another. A protection that lasted long resets the count. */
	if (ended->state == VM_PROTECTED && ended->lasted_ns >= AGAIN_MAX_NS)
		again->n_failed = 0;
	again->n_failed++;
	if (ended->state == VM_PREPARING)
		again->unfit = (uint8_t)(1 + vm_fsm_other(fsm));
	again->next_ns = now_ns + wait_ns(again->n_failed);
	if (ended->was_own && again->when == VM_AGAIN_NEVER)
		again->when = again->why ? VM_AGAIN_SOON : VM_AGAIN_COVERED;
	if (again->when != VM_AGAIN_NEVER && ended->state != VM_PROTECTED)
		(void)text_copy(again->failed[vm_fsm_other(fsm)], sizeof(again->failed[0]),
				ended->reason);
}

bool vm_is_same_but_digits(const char *a, const char *b)
{
	static const char digits[] = "0123456789";

	do {
		a += strspn(a, digits);
		b += strspn(b, digits);
		if (*a != *b)
			return false;
	} while (*a++ && *b++);
	return true;
}

void vm_end_protection(struct vm_step *s, const char *reason)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t other = vm_fsm_other(fsm);
	bool in_use = fsm->record.state == VM_SYNCING || fsm->record.state == VM_PROTECTED;
	struct vm_ended ended = {.state = fsm->record.state,
				 .lasted_ns = s->now_ns - fsm->entered_ns,
				 .was_own = fsm->again.is_own,
				 .reason = reason};

	if (vm_fsm_in_conflict(fsm)) {
		vm_event(s, "conflict",
			 "%s; nothing follows from it: who owns the guest is not clear", reason);
		return;
	}
	s->is_known = fsm->again.is_repeat &&
		      vm_is_same_but_digits(reason, fsm->again.failed[other]);
	vm_set_state(s, VM_UNPROTECTED, fsm->record.owner, true, "%s", reason);
	s->is_known = false;
	vm_again_ended(fsm, &ended, s->now_ns);
	fsm->release_due = in_use;
	fsm->stop_due = true;
}

void vm_again_plan(struct vm_fsm *fsm, enum vm_again_when when, const char *why, uint64_t at_ns)
{
	fsm->again.is_watched = false;
	fsm->again.when = when;
	fsm->again.why = why;
	fsm->again.next_ns = at_ns;
}

void vm_on_policy(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	bool was_wanted = fsm->record.is_wanted;

	if (!fsm->config->reprotect_auto) {
		/* With `ask`, protect again only a guest whose protection an operator's move, a
		 * suspension or a drain has interrupted. */
		if (fsm->is_barred[vm_fsm_other(fsm)] ||
		    (fsm->is_barred[vm_fsm_spare(fsm)] && vm_fsm_wants_again(fsm)))
			return;
		if (fsm->move.state != VM_MOVE_PROTECTING && !fsm->again.is_own &&
		    fsm->again.when != VM_AGAIN_COVERED)
			vm_again_forget(fsm);
		fsm->record.is_wanted = false;
	} else {
		fsm->record.is_wanted |= fsm->record.state != VM_UNPROTECTED;
	}
	if (fsm->record.is_wanted != was_wanted)
		vm_journal_record(s);
}

void vm_again_forget(struct vm_fsm *fsm)
{
	fsm->record.is_wanted = false;
	fsm->again = (struct vm_again){.when = VM_AGAIN_NEVER};
	if (fsm->move.state == VM_MOVE_PROTECTING)
		fsm->move.state = VM_MOVE_UNPROTECTED;
}

bool vm_guest_is_gone(const struct vm_host *host)
{
	return host->agent_state == WIRE_STATE_FAILED || host->verdict == WIRE_VERDICT_EXITED ||
	       host->verdict == WIRE_VERDICT_SHUTDOWN;
}

bool vm_has_guest(const struct vm_host *host)
{
	return host->up && host->reported && host->agent_state != WIRE_STATE_LOST &&
	       (vm_agent_holds(host->agent_state) || host->agent_state == WIRE_STATE_RUNNING) &&
	       (host->verdict == WIRE_VERDICT_NONE || host->verdict == WIRE_VERDICT_PAUSED);
}

bool vm_has_guest_now(const struct vm_step *s, uint8_t h)
{
	const struct vm_host *host = &s->fsm->host[h];

	return vm_has_guest(host) &&
	       !liveness_silent_for(&host->live, s->fsm->config->liveness.beat_timeout_ns,
				    s->now_ns);
}

bool vm_is_being_fenced(const struct vm_host *host)
{
	return host->order.id && host->order.verb == WIRE_VERB_FENCE && !host->order.done;
}

bool vm_promoted_is_doubtful(const struct vm_fsm *fsm)
{
	return fsm->protection.promoted.state == VM_PROMOTED_WATCHED ||
	       fsm->protection.promoted.state == VM_PROMOTED_SILENT;
}

/* The guest has ended, so nobody wants it protected. Only is_wanted changes; no new term begins. */
static void forget_ended(struct vm_step *s)
{
	bool was_wanted = s->fsm->record.is_wanted;

	vm_again_forget(s->fsm);
	if (was_wanted)
		vm_journal_record(s);
	vm_event(s, "supervision",
		 "the guest has ended, so it is not protected again by itself; start it, then "
		 "`holdfastctl protect %s`", s->fsm->config->name);
}

/* The owner's agent or the guest's QEMU was restarted. So nobody knows whether the guest is again
 * what was protected. */
static void forget_suspended(struct vm_step *s)
{
	vm_again_forget(s->fsm);
	vm_event(s, "supervision",
		 "%s no longer knows what was protected (its agent or the guest's QEMU was started "
		 "anew), so it is not protected again by itself: `holdfastctl protect %s`",
		 vm_host_name(s->fsm, s->in->host), s->fsm->config->name);
}

/* After a suspension: returns when to protect the guest again although the owner's agent does not
 * report that it checks the guest. Not at once, because the owner's last report may have been sent
 * before the protection ended. */
static uint64_t unwatched_ns(const struct vm_fsm *fsm)
{
	return fsm->entered_ns + wait_ns(fsm->again.n_failed);
}

/* The protection was suspended because the guest had changed. Must the gateway still wait until the
 * owner reports that the guest is again as it was protected? If no agent checks this, do not wait
 * for ever, but try to protect a wanted VM again. If the guest still has the change, a host
 * refuses, and the next wait is longer. */
static bool waits_for_cover(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_again *again = &fsm->again;

	if (again->when != VM_AGAIN_COVERED || s->in->is_covered_again)
		return false;
	again->is_watched = s->in->is_suspended;
	if (again->is_watched || fsm->release_due)
		return true;
	if (fsm->record.is_wanted)
		return s->now_ns < unwatched_ns(fsm);
	/* an agent that reports is_suspended as false has forgotten what was protected; an older
	 * agent does not report it, so wait for is_covered_again */
	if (s->in->knows_suspended)
		forget_suspended(s);
	return true;
}

const char *vm_protect_obstacle(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	const struct vm_host *other = &fsm->host[h];
	bool has_seat = h == vm_fsm_other(fsm);

	if (fsm->is_barred[h])
		return "is drained: `holdfastctl undrain` takes it back";
	if (!other->up)
		return "is not connected";
	if (!other->reported)
		return "has not reported this VM";
	if (fsm->record.term == 0)
		return NULL;
	if (has_seat && !fsm->release_due && vm_left_is_copy(fsm, fsm->stepped_ns))
		return "has a copy that may be all that is left of the guest: `failover --lose` "
		       "goes on from it, `unprotect --lose` gives it up";
	if (fsm->release_due || (has_seat && (fsm->stop_due || fsm->fence_due)) ||
	    (!has_seat && vm_agent_stands_by(other->agent_state)) ||
	    vm_is_being_fenced(other) || vm_agent_holds(other->agent_state) ||
	    other->agent_state == WIRE_STATE_RUNNING ||
	    other->agent_state == WIRE_STATE_PROMOTING)
		return "has not yet confirmed the end of the last term";
	/* When a fenced host is asked to stand by, it may end its stopped guest. So do not ask this
	 * host before the owner has reported that the owner has the guest. */
	if (other->agent_state == WIRE_STATE_FENCED && !vm_has_guest(owner))
		return "was fenced, and what it keeps of the guest may be all that is left: the "
		       "owner does not say that it has the guest";
	return NULL;
}

const char *vm_again_last_failure(const struct vm_fsm *fsm, uint8_t h)
{
	return fsm->again.failed[h][0] ? fsm->again.failed[h] : NULL;
}

/* Begin the new protection, unless there is still something to wait for. */
static void begin(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t owner = fsm->record.owner;

	/* Wait until the last protection has ended completely. A later report or tick tries
	 * again. */
	if (s->now_ns < fsm->again.next_ns || fsm->op.id || vm_promoted_is_doubtful(fsm) ||
	    vm_guest_is_gone(&fsm->host[owner]))
		return;
	if (!vm_spare_may_begin(s)) {
		if (vm_protect_obstacle(fsm, vm_fsm_other(fsm)))
			return;
		s->is_known = vm_again_last_failure(fsm, vm_fsm_other(fsm)) != NULL;
		vm_set_state(s, VM_PREPARING, owner, true, "%s %s: protecting it again",
			     vm_host_name(fsm, owner),
			     s->in->is_covered_again
				     ? "says that the guest is again what was protected"
			     : fsm->again.why ? fsm->again.why
					      : "runs the guest unprotected");
		s->is_known = false;
	}
	fsm->again.is_own = true;
	fsm->again.is_repeat = vm_again_last_failure(fsm, vm_fsm_other(fsm)) != NULL;
}

void vm_again_report(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_again *again = &fsm->again;

	if (fsm->record.state != VM_UNPROTECTED || again->when == VM_AGAIN_NEVER ||
	    vm_fsm_in_conflict(fsm) || s->was_conflict)
		return;
	if (s->in->verdict == WIRE_VERDICT_EXITED || s->in->verdict == WIRE_VERDICT_SHUTDOWN) {
		forget_ended(s);
		return;
	}
	if (waits_for_cover(s))
		return;
	begin(s);
}

void vm_again_tick(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];

	if (fsm->record.state != VM_UNPROTECTED || fsm->again.when != VM_AGAIN_SOON ||
	    vm_fsm_in_conflict(fsm) || s->was_conflict)
		return;
	/* In these two cases a spare may take the other host's seat. That is decided only at a
	 * report (vm_again_report()), not here. */
	if (fsm->again.unfit || vm_protect_obstacle(fsm, vm_fsm_other(fsm)))
		return;
	/* Begin only if the owner is not silent. It may have died since its report. Then the other
	 * host's stopped guest may be all that is left, and a host that is asked to stand by may
	 * end its stopped guest. */
	if (vm_has_guest(owner) && owner->agent_state == WIRE_STATE_RUNNING &&
	    owner->term == fsm->record.term &&
	    !liveness_silent_for(&owner->live, fsm->config->liveness.beat_timeout_ns / 2,
				 s->now_ns))
		begin(s);
}

const char *vm_again_describe(const struct vm_fsm *fsm, uint64_t now_ns, char *text, size_t size)
{
	const struct vm_again *again = &fsm->again;
	const char *other = vm_host_name(fsm, vm_fsm_other(fsm));
	const char *obstacle = vm_protect_obstacle(fsm, vm_fsm_other(fsm));
	char spare[VM_TEXT_MAX / 2];
	bool is_owners = fsm->release_due && fsm->host[vm_fsm_other(fsm)].reported;
	bool is_unwatched = again->when == VM_AGAIN_COVERED && !again->is_watched;
	uint64_t next_ns = is_unwatched ? unwatched_ns(fsm) : again->next_ns;
	uint64_t left_s = next_ns > now_ns ? (next_ns - now_ns) / CLOCK_NS_PER_S : 0;

	if (again->when == VM_AGAIN_COVERED && !(is_unwatched && fsm->record.is_wanted))
		(void)text_put(text, size,
			       "it is protected again by itself once the guest is again what was "
			       "protected; `holdfastctl protect %s` does not wait",
			       fsm->config->name);
	else if (vm_promoted_is_doubtful(fsm))
		(void)text_put(text, size,
			       "it is protected again by itself once the promoted guest has shown "
			       "that it serves; `holdfastctl protect %s` does not wait",
			       fsm->config->name);
	else if (vm_guest_is_gone(&fsm->host[fsm->record.owner]))
		(void)text_put(text, size, "nothing by itself: %s says that the guest has ended",
			       vm_host_name(fsm, fsm->record.owner));
	else if (obstacle && is_owners)
		(void)text_put(text, size,
			       "it is protected again by itself, but %s has not yet confirmed that "
			       "it released the guest; `holdfastctl events` and its agent's log "
			       "say why", vm_host_name(fsm, fsm->record.owner));
	else if (obstacle)
		(void)text_put(text, size, "it is protected again by itself, but %s %s%s", other,
			       obstacle, vm_spare_when(fsm, now_ns, spare, sizeof(spare)));
	else if (left_s > 0)
		(void)text_put(text, size,
			       "it is protected again by itself in %02u:%02u; `holdfastctl protect "
			       "%s` does not wait",
			       (unsigned int)left_s / 60, (unsigned int)left_s % 60,
			       fsm->config->name);
	else
		(void)text_put(text, size, "it is protected again by itself now");
	return text;
}
