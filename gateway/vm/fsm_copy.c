/* fsm_copy.c - judges a copy of the guest's disks for which the owner holds output.
 *
 * A disk whose mirror broke is copied again. Until that is done, the owner can send no epoch, so
 * its clients wait (docs/disks.md). But the host is well, and a promotion would only end the
 * protection. So the owner's REPORT says how much of the copy is done (keys held_copied_bytes and
 * held_copy_bytes). While the copy makes progress, no host is promoted:
 *
 *	 what the reports tell                       what follows
 *	 less is left than ever in this attempt      The detector counts it as progress.
 *	 the copy began anew                         It counts as progress too, up to ATTEMPTS_MAX
 *	                                             attempts since the last commit.
 *       no less is left, or numbers that cannot     Nothing. So the detector promotes the standby,
 *	 be true                                     by the rules for a host without epochs.
 *	 it takes longer than held_copy_max, or      The policy standby_lost. `unprotected`: the
 *	 will, at its speed so far                   protection ends in a new term, clients are
 *	                                             served, and the gateway begins another one,
 *	                                             whose copy holds nothing. `hold`: an event.
 *
 * In SYNCING nobody can be promoted, for example because the standby has lost its copy of the
 * guest. So in SYNCING, the policy applies also to a copy that makes no progress. During a
 * protection's first copy no output is held, so reports do not have these keys, and that copy is
 * not judged.
 * A copy is not judged before it has lasted for `patience`. The speed of an attempt counts only
 * after `patience`, because it is not known earlier. If the owner falls silent, the copy does not
 * matter: the detector expects beats of the owner in any case. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* After this many attempts since the last commit, a copy no longer counts as progress. */
#define ATTEMPTS_MAX 3
/* A report of more bytes than this is wrong. */
#define COPY_BYTES_MAX (UINT64_C(1) << 60)

static uint64_t mib(uint64_t bytes)
{
	return bytes >> 20;
}

void vm_copy_ended(struct vm_fsm *fsm)
{
	uint64_t n_steps = fsm->protection.copy.n_steps;

	memset(&fsm->protection.copy, 0, sizeof(fsm->protection.copy));
	fsm->protection.copy.n_steps = n_steps;
}

void vm_copy_stalled(struct vm_fsm *fsm, uint64_t gap_ns)
{
	struct vm_copy *copy = &fsm->protection.copy;

	if (copy->began_ns == 0)
		return;
	copy->began_ns += gap_ns;
	copy->attempt_ns += gap_ns;
}

/* Note what the report says. Returns true if the copy has made progress. */
static bool take_report(struct vm_step *s)
{
	struct vm_copy *copy = &s->fsm->protection.copy;
	uint64_t left_bytes = s->in->copy_bytes - s->in->copied_bytes;
	bool is_new = copy->began_ns == 0, is_step;

	/* What the guest writes during the copy is copied at once, and counts in both copied_bytes
	 * and copy_bytes. So copied_bytes grows until the copy begins anew, but only the copy
	 * itself reduces the number of bytes that are left. */
	if (is_new || s->in->copied_bytes < copy->done_bytes) {
		copy->n_attempts++;
		copy->attempt_ns = s->now_ns;
		copy->first_bytes = s->in->copied_bytes;
		copy->least_bytes = UINT64_MAX;
	}
	is_step = left_bytes < copy->least_bytes && copy->n_attempts <= ATTEMPTS_MAX;
	copy->n_steps += is_step;
	if (left_bytes < copy->least_bytes)
		copy->least_bytes = left_bytes;
	copy->bytes = s->in->copy_bytes;
	copy->done_bytes = s->in->copied_bytes;
	if (!is_new)
		return is_step;
	copy->began_ns = s->now_ns;
	vm_event(s, "supervision",
		 "%s copies its disks again, %" PRIu64 " of %" PRIu64 " MiB left; output is held, "
		 "and %s",
		 vm_host_name(s->fsm, s->in->host), mib(left_bytes), mib(copy->bytes),
		 s->fsm->record.state == VM_PROTECTED
			 ? "nobody is promoted while this comes further"
			 : "nobody can be promoted now");
	return is_step;
}

/* Returns how long the rest of the copy will take, at the speed of this attempt. Returns 0 if the
 * speed is not known. */
static uint64_t rest_ns(const struct vm_copy *copy, uint64_t patience_ns, uint64_t now_ns)
{
	uint64_t done_bytes = copy->done_bytes - copy->first_bytes;
	double ns = (double)(now_ns - copy->attempt_ns);

	if (done_bytes == 0 || now_ns - copy->attempt_ns < patience_ns)
		return 0;
	ns = ns * (double)(copy->bytes - copy->done_bytes) / (double)done_bytes;
	return ns < (double)UINT32_MAX * CLOCK_NS_PER_MS ? (uint64_t)ns
							 : UINT32_MAX * CLOCK_NS_PER_MS;
}

static void judge(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const struct vm_config *config = fsm->config;
	struct vm_copy *copy = &fsm->protection.copy;
	uint64_t lasts_ns = s->now_ns - copy->began_ns;
	uint64_t left_ns = rest_ns(copy, config->detector.patience_ns, s->now_ns);
	char reason[VM_TEXT_MAX], ended[VM_TEXT_MAX];

	if (lasts_ns < config->detector.patience_ns ||
	    (lasts_ns < config->held_copy_max_ns && left_ns <= config->held_copy_max_ns - lasts_ns))
		return;
	(void)text_put(reason, sizeof(reason),
		       "%s holds output for a copy of its disks: %" PRIu64 " of %" PRIu64
		       " MiB left after %" PRIu64 " ms, held_copy_max_ms is %" PRIu64
		       "; standby_lost = %s",
		       vm_host_name(fsm, fsm->record.owner), mib(copy->bytes - copy->done_bytes),
		       mib(copy->bytes), lasts_ns / CLOCK_NS_PER_MS,
		       config->held_copy_max_ns / CLOCK_NS_PER_MS,
		       config->standby_lost_hold ? "hold" : "unprotected");
	if (config->standby_lost_hold) {
		if (!copy->is_told)
			vm_event(s, "supervision",
				 "%s; standby_lost = hold: output is held until the copy is "
				 "done, or `holdfastctl unprotect %s`",
				 TEXT_SHORT(180, reason), config->name);
		copy->is_told = true;
		return;
	}
	(void)text_put(ended, sizeof(ended), "%s; standby_lost = unprotected",
		       TEXT_SHORT(280, reason));
	vm_end_protection(s, ended);
	if (fsm->record.state != VM_UNPROTECTED)
		return; /* because of a conflict, the state has not changed */
	vm_again_plan(fsm, VM_AGAIN_SOON, "can copy its disks while clients are served",
		      fsm->again.next_ns);
	vm_finish_op(s, false, "standby-lost", "%s", ended);
}

void vm_on_copy(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct vm_copy *copy = &fsm->protection.copy;

	if (fsm->record.state != VM_PROTECTED && fsm->record.state != VM_SYNCING)
		return;
	/* To find out whether output is held, use the owner's report: protection.held_from is 0
	 * after a restart of this gateway. */
	copy->is_held = s->in->copy_bytes > 0 && s->in->copy_bytes <= COPY_BYTES_MAX &&
			s->in->copied_bytes <= s->in->copy_bytes;
	if (!copy->is_held)
		return;
	/* In PROTECTED, leave a copy without progress to the detector: an owner that is stuck would
	 * not be able to serve its clients unprotected either. */
	if ((take_report(s) || fsm->record.state == VM_SYNCING) && !vm_fsm_in_conflict(fsm))
		judge(s);
}
