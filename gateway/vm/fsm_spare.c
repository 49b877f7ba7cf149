/* fsm_spare.c - decides when a third host, the spare, takes the seat of the host that is to keep
 * the copy.
 *
 *	owner  other  spare
 *	alpha  beta   gamma    UNPROTECTED; beta is away, drained, or could not stand by, or
 *	  │      └─────┐│      an operator asks for it
 *	  │      ┌─────┼┘
 *	alpha  gamma  beta     PREPARING, in a new term, by one record; beta is the spare now,
 *	                       and is fenced when it comes back
 *
 * Two hosts have a seat: the owner and the host that keeps the copy. Only these hosts can have
 * streams and own the guest, and only they and the gateway vote (rule 5 of fsm.h). For a change of
 * seats, two of these three parties must agree: the gateway and the owner. The third party, which
 * loses its seat, is not asked.
 *
 * The host that loses its seat can do no harm. Without a gateway, it could agree with the owner
 * only on a term directly after one in which it stood by. But the change of seats skips two terms,
 * and in the second of them that host is ordered to end its copy. So it never stood by in the term
 * before one for which the owner can ask. The former spare can do no harm either: until the owner
 * has entered the new term, the guest is unprotected, and the former spare has no copy to promote.
 *
 * Hosts keep their indices when seats change. So a late report, answer or stream of one host is
 * never taken for that of another host (docs/decisions/0058-spare.md). */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
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

/* Only a host that has been connected for this long counts as fit to keep a copy. So a host that
 * connects again and again, each time for a moment, does not count. */
#define STEADY_NS (5 * CLOCK_NS_PER_S)

void vm_spare_reported(struct vm_fsm *fsm, uint8_t h, uint64_t now_ns)
{
	struct vm_host *host = &fsm->host[h];

	if (h == fsm->record.owner ||
	    (now_ns - host->up_ns >= STEADY_NS && !vm_protect_obstacle(fsm, h)))
		host->fit_ns = now_ns;
}

/* Was the other host unable to stand by in the last attempt? If so, the spare is tried next. So the
 * two hosts take turns, each time after a longer wait (fsm_again.c). */
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

	/* Skip two terms. The host that loses its seat may have voted for the first one, in an
	 * answer that was lost. In the second one it is told to end its copy (send_order()). So it
	 * is never in the term in which the owner continues, and cannot agree to the term after
	 * that. */
	if (fsm->term_seen < before.term + 2)
		fsm->term_seen = before.term + 2;
	fsm->record.seatless = (uint8_t)(VM_HOST_THIRD - out);
	vm_set_state(s, VM_PREPARING, fsm->record.owner, true,
		     "%s takes the seat of %s, which is the spare now: %s",
		     vm_host_name(fsm, in), vm_host_name(fsm, out), TEXT_SHORT(200, why));
	if (fsm->record.term == before.term) {
		/* the change was refused, and nothing was journaled */
		fsm->record.seatless = before.seatless;
		fsm->term_seen = seen_before;
		return false;
	}
	fsm->again.was_doubtful |= was_doubtful;
	/* Wait for nothing more from the host that has lost its seat. When it reports that it still
	 * has something, it is ordered to end that (want_of_spare()). */
	fsm->stop_due = fsm->fence_due = false;
	return true;
}

bool vm_spare_may_begin(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char why[VM_TEXT_MAX];

	if (!is_other_gone(fsm, s->now_ns) || vm_protect_obstacle(fsm, vm_fsm_spare(fsm)))
		return false;
	/* Wait while the other host is connected and has not confirmed that its guest is
	 * stopped. */
	if (fsm->fence_due && fsm->host[vm_fsm_other(fsm)].up)
		return false;
	/* The promoted guest has never shown that it serves, and the spare keeps the previous
	 * guest. So an operator must decide which of them is the better one. */
	if (fsm->again.was_doubtful && spare_of(fsm)->agent_state == WIRE_STATE_FENCED)
		return false;
	/* Wait until the owner reports that it runs the guest unprotected. Before that, the old
	 * copy may still be needed, and the owner may still agree on something with the host that
	 * has it. */
	if (fsm->host[fsm->record.owner].agent_state != WIRE_STATE_RUNNING)
		return false;
	if (fsm->is_barred[vm_fsm_other(fsm)])
		(void)text_put(why, sizeof(why), "%s is drained",
			       vm_host_name(fsm, vm_fsm_other(fsm)));
	else if (is_other_unfit(fsm))
		(void)text_put(why, sizeof(why), "%s could not stand by",
			       vm_host_name(fsm, vm_fsm_other(fsm)));
	else
		(void)text_put(why, sizeof(why), "%s could not keep a copy for %" PRIu64 " s",
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
		(void)text_put(text, size, "; the spare %s %s", name, obstacle);
	else if (is_other_gone(fsm, now_ns))
		(void)text_put(text, size, "; %s takes its seat now", name);
	else if (!other->up)
		(void)text_put(text, size, "; %s takes its seat in %02" PRIu64 ":%02" PRIu64, name,
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
		(void)text_put(text, size, "%s, drained", name);
	else if (!spare->up)
		(void)text_put(text, size, "%s, not connected", name);
	else if (!spare->reported)
		(void)text_put(text, size, "%s, connected, has not reported this VM", name);
	else
		(void)text_put(text, size, "%s, connected, %s", name,
			       wire_state_name(spare->agent_state));
	return text;
}

void vm_fsm_new_spare(struct vm_fsm *fsm, uint64_t now_ns)
{
	struct vm_host *spare = spare_of(fsm);

	*spare = (struct vm_host){.fit_ns = now_ns};
	liveness_init(&spare->live, &fsm->config->liveness, now_ns);
	fsm->is_barred[vm_fsm_spare(fsm)] = false;
	fsm->again.failed[vm_fsm_spare(fsm)][0] = '\0';
}
