/* fsm_spare.c - a third host, the spare: when it takes the seat of the host that is to keep
 * the copy.
 *
 *	owner  other  spare
 *	alpha  beta   gamma    UNPROTECTED; beta is away, drained, or could not stand by, or
 *	  │      └─────┐│      an operator asks for it
 *	  │      ┌─────┼┘
 *	alpha  gamma  beta     PREPARING, in a new term, by one record; beta is the spare now,
 *	                       and is fenced when it comes back
 *
 * Two hosts have a seat. Only they and the gateway vote (rule 5 of fsm.h), hold streams, and can
 * own the guest. A change of seats needs the gateway and the owner: two of the three parties. It
 * takes the seat from the third, which has no say.
 *
 * Why the old holder of the seat cannot harm: what it agrees upon with the owner without a gateway
 * is of the term after one in which it has stood by. The change of seats leaves out two terms. In
 * the second of them the old holder is told to end its copy. So it is in no term from which it
 * could agree to one that the owner asks for. Until the owner has entered the new term its guest is
 * unprotected, so the new holder has no copy to promote.
 *
 * Hosts keep their indices when seats change. So a late report, answer or stream of one host is
 * never taken for another's (docs/decisions/0058-spare.md). */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "vm/fsm_private.h"

static struct vm_host *spare_of(const struct vm_fsm *fsm)
{
	return (struct vm_host *)&fsm->host[vm_fsm_spare(fsm)];
}

bool vm_spare_is_not_past(const struct vm_fsm *fsm, uint64_t term)
{
	const struct vm_host *spare = spare_of(fsm);

	return spare->up && spare->reported && spare->term <= term;
}

bool vm_spare_has_something(const struct vm_fsm *fsm)
{
	const struct vm_host *spare = spare_of(fsm);

	return spare->up && spare->reported && spare->agent_state != WIRE_STATE_FENCED &&
	       spare->agent_state != WIRE_STATE_IDLE && spare->cold.role == VM_COLD_NOT;
}

/* A host that connects again and again for a moment is not there. */
#define STEADY_NS (5 * CLOCK_NS_PER_S)

void vm_spare_reported(struct vm_fsm *fsm, uint8_t h, uint64_t now_ns)
{
	struct vm_host *host = &fsm->host[h];

	if (h == fsm->record.owner ||
	    (now_ns - host->up_ns >= STEADY_NS && !vm_protect_obstacle(fsm, h)))
		host->fit_ns = now_ns;
}

/* Could the other host not stand by in the last attempt? Then the spare is tried, and so on by
 * turns, each time after a longer wait (fsm_again.c). */
static bool is_other_unfit(const struct vm_fsm *fsm)
{
	return fsm->again.unfit == 1 + vm_fsm_other(fsm);
}

/* Is the spare to take the seat of the other host? Yes if that host is drained, could not stand by
 * in the last attempt, or has been unable to keep a copy for spare_after. */
static bool is_other_gone(const struct vm_fsm *fsm, uint64_t now_ns)
{
	uint8_t other = vm_fsm_other(fsm);

	return fsm->is_barred[other] || is_other_unfit(fsm) ||
	       (now_ns - fsm->host[other].fit_ns >= fsm->config->spare_after_ns &&
		vm_protect_obstacle(fsm, other));
}

bool vm_spare_take_seat(struct vm_step *s, const char *why)
{
	struct vm_fsm *fsm = s->fsm;
	uint8_t out = vm_fsm_other(fsm), in = vm_fsm_spare(fsm);
	struct vm_record before = fsm->record;
	uint64_t seen_before = fsm->term_seen;
	bool was_doubtful = vm_promoted_is_doubtful(fsm);

	/* Leave out two terms. Perhaps the host that loses its seat has voted for the first one,
	 * and its answer was lost. In the second one it is told to end its copy (send_order()).
	 * So it was never in the term in which the owner goes on, and never agrees to the next. */
	if (fsm->term_seen < before.term + 2)
		fsm->term_seen = before.term + 2;
	fsm->record.seatless = (uint8_t)(VM_HOST_THIRD - out);
	vm_set_state(s, VM_PREPARING, fsm->record.owner, true,
		     "%s takes the seat of %s, which is the spare now: %.200s",
		     vm_host_name(fsm, in), vm_host_name(fsm, out), why);
	if (fsm->record.term == before.term) {
		fsm->record.seatless = before.seatless; /* it was refused: nothing was journaled */
		fsm->term_seen = seen_before;
		return false;
	}
	fsm->again.was_doubtful |= was_doubtful;
	/* Nothing is waited for any more of the host that has lost its seat. What it still does is
	 * ended when it reports (want_of_spare()). */
	fsm->stop_due = fsm->fence_due = false;
	return true;
}

bool vm_spare_may_begin(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char why[VM_TEXT_MAX];

	if (!is_other_gone(fsm, s->now_ns) || vm_protect_obstacle(fsm, vm_fsm_spare(fsm)))
		return false;
	/* The other host is there, and has not confirmed that its guest stands still. */
	if (fsm->fence_due && fsm->host[vm_fsm_other(fsm)].up)
		return false;
	/* The promoted guest never showed that it serves, and this host keeps the guest of before:
	 * an operator decides which one is the better. */
	if (fsm->again.was_doubtful && spare_of(fsm)->agent_state == WIRE_STATE_FENCED)
		return false;
	/* The owner has let go of the last protection, and says that it has the guest: only then
	 * nothing of the old copy is needed, and nothing is agreed upon it. */
	if (fsm->host[fsm->record.owner].agent_state != WIRE_STATE_RUNNING)
		return false;
	if (fsm->is_barred[vm_fsm_other(fsm)])
		(void)snprintf(why, sizeof(why), "%s is drained",
			       vm_host_name(fsm, vm_fsm_other(fsm)));
	else if (is_other_unfit(fsm))
		(void)snprintf(why, sizeof(why), "%s could not stand by",
			       vm_host_name(fsm, vm_fsm_other(fsm)));
	else
		(void)snprintf(why, sizeof(why), "%s could not keep a copy for %" PRIu64 " s",
			       vm_host_name(fsm, vm_fsm_other(fsm)),
			       (s->now_ns - fsm->host[vm_fsm_other(fsm)].fit_ns) /
				       CLOCK_NS_PER_S);
	return vm_spare_take_seat(s, why);
}

const char *vm_spare_when(const struct vm_fsm *fsm, uint64_t now_ns, char *text, size_t size)
{
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];
	const char *name = vm_host_name(fsm, vm_fsm_spare(fsm));
	const char *obstacle = vm_protect_obstacle(fsm, vm_fsm_spare(fsm));
	uint64_t due_ns = other->fit_ns + fsm->config->spare_after_ns;
	uint64_t left_s = due_ns > now_ns ? (due_ns - now_ns) / CLOCK_NS_PER_S + 1 : 0;

	text[0] = '\0';
	if (!vm_fsm_has_spare(fsm))
		return text;
	if (obstacle)
		(void)snprintf(text, size, "; the spare %s %s", name, obstacle);
	else if (is_other_gone(fsm, now_ns))
		(void)snprintf(text, size, "; %s takes its seat now", name);
	else if (!other->up)
		(void)snprintf(text, size, "; %s takes its seat in %02" PRIu64 ":%02" PRIu64, name,
			       left_s / 60, left_s % 60);
	return text;
}

const char *vm_spare_describe(const struct vm_fsm *fsm, char *text, size_t size)
{
	const struct vm_host *spare = spare_of(fsm);
	const char *name = vm_host_name(fsm, vm_fsm_spare(fsm));

	text[0] = '\0';
	if (!vm_fsm_has_spare(fsm))
		return text;
	if (fsm->is_barred[vm_fsm_spare(fsm)])
		(void)snprintf(text, size, "%s, drained", name);
	else if (!spare->up)
		(void)snprintf(text, size, "%s, not connected", name);
	else if (!spare->reported)
		(void)snprintf(text, size, "%s, connected, has not reported this VM", name);
	else
		(void)snprintf(text, size, "%s, connected, %s", name,
			       wire_state_name(spare->agent_state));
	return text;
}

void vm_fsm_new_spare(struct vm_fsm *fsm, uint64_t now_ns)
{
	struct vm_host *spare = spare_of(fsm);

	*spare = (struct vm_host){.fit_ns = now_ns};
	liveness_init(&spare->live, &fsm->config->liveness, now_ns);
	fsm->is_barred[vm_fsm_spare(fsm)] = false;
}
