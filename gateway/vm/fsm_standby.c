/* fsm_standby.c - decides when a standby that accepts no more epochs counts as lost. The policy
 * standby_lost then applies.
 *
 * A protected guest's output waits for commits. So a standby counts as lost if commits wait for it
 * longer than standby_timeout, for whatever reason. A clock measures this:
 *
 *       what happens                                    the clock
 *       an epoch is committed                           goes to zero
 *       nothing waits for the standby                   stays at zero
 *       something waits for the standby                 advances
 *       this attempt relays more bytes than any         goes to zero (not after ATTEMPTS_MAX
 *       earlier attempt since the last commit           attempts)
 *       the standby reports progress with the first     goes to zero (not after ATTEMPTS_MAX
 *       epoch (fsm_work.c)                              attempts)
 *       the standby reconnects or refuses               advances
 *       the gateway sends RESUME                        advances; a new attempt begins
 *       the owner is not alive, the guest is paused,    stops: no epoch could be committed now,
 *       or the gateway itself has stalled               whatever the standby does
 *
 * "Something waits for the standby" means one of these:
 * - the standby's stream is down, or has ended since the last commit
 * - the standby owes an acknowledgement
 * - there have been ATTEMPTS_LOOP attempts since the last commit
 *
 * If the standby owes nothing and the primary sends nothing, the detector judges the primary
 * (fsm.c, judge_primary()). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* After this many RESUMEs since the last commit, the standby counts as failing in a loop. Fewer
 * RESUMEs are normal: each time that the primary reconnects, one is sent. Also, the commit of a
 * FULL epoch takes time. */
#define ATTEMPTS_LOOP 3
/* After this many RESUMEs since the last commit, relayed bytes and reported work no longer count as
 * progress. */
#define ATTEMPTS_MAX 3
/* How long a standby can take to apply one byte of a committed epoch. The clock begins to run only
 * when this time is over. 5 ns per byte are 200 MB/s, a quarter of the measured rate. */
#define APPLY_NS_PER_BYTE 5
/* The time limit for the first epoch is this many times standby_timeout. This applies only while
 * the standby's stream is up, and only if the standby has not ended a stream before. */
#define FIRST_EPOCH_TIMES 3

/* The limit of events about streams: EVENTS_BURST events at once, then one event in each window.
 * The one event says how many were suppressed before it. */
#define EVENTS_BURST	 8
#define EVENTS_WINDOW_NS (10 * CLOCK_NS_PER_S)

void vm_standby_begin(struct vm_fsm *fsm, uint64_t now_ns)
{
	memset(&fsm->protection.standby, 0, sizeof(fsm->protection.standby));
	fsm->protection.standby.since_ns = fsm->protection.standby.ticked_ns = now_ns;
	fsm->protection.standby.is_new_stream = true;
}

void vm_standby_committed(struct vm_step *s)
{
	struct vm_standby *standby = &s->fsm->protection.standby;
	uint64_t n_untold = s->fsm->stream_events.n_untold;
	uint64_t apply_ns = standby->sent_bytes * APPLY_NS_PER_BYTE;

	vm_standby_begin(s->fsm, s->now_ns);
	standby->since_ns += apply_ns;
	if (n_untold == 0)
		return;
	s->fsm->stream_events.n_untold = 0;
	vm_event(s, "stream", "epochs are committed again; %" PRIu64
		 " events about streams were not told", n_untold);
}

void vm_standby_resumed(struct vm_fsm *fsm)
{
	fsm->protection.standby.n_resumes++;
	fsm->protection.standby.is_new_stream = true;
}

void vm_standby_broke(struct vm_fsm *fsm, const char *why)
{
	if (why)
		(void)text_put(fsm->protection.standby.why, sizeof(fsm->protection.standby.why),
			       "%s", why);
	else
		fsm->protection.standby.n_breaks++;
}

void vm_stream_event(struct vm_step *s, const char *format, ...)
{
	struct vm_stream_events *told = &s->fsm->stream_events;
	char text[VM_TEXT_MAX];
	va_list args;

	if (told->n == 0 || s->now_ns - told->window_ns >= EVENTS_WINDOW_NS) {
		told->window_ns = s->now_ns;
		/* if events were suppressed, allow only one in this window */
		told->n = told->n_untold ? EVENTS_BURST - 1 : 0;
	}
	if (told->n >= EVENTS_BURST) {
		told->n_untold++;
		return;
	}
	told->n++;
	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args); /* a longer text is cut */
	va_end(args);
	if (told->n_untold)
		vm_event(s, "stream", "%s (and %" PRIu64 " more since the last one told)",
			 TEXT_SHORT(240, text),
			 told->n_untold);
	else
		vm_event(s, "stream", "%s", text);
	told->n_untold = 0;
}

bool vm_copy_is_last(const struct vm_fsm *fsm)
{
	const struct vm_host *owner = &fsm->host[fsm->record.owner];

	/* A restarted agent reports LOST until it has found its guest, or knows that the guest has
	 * ended. An older agent never says which. Its guest may live, so LOST counts only for
	 * order_timeout. */
	return fsm->record.state == VM_PROTECTED &&
	       (owner->verdict == WIRE_VERDICT_EXITED ||
		(owner->agent_state == WIRE_STATE_LOST && !owner->is_guest_found && owner->up &&
		 fsm->stepped_ns - owner->up_ns < fsm->config->order_timeout_ns));
}

/* Has it been impossible since the last tick to commit anything, whatever the standby did? */
static bool stands_still(const struct vm_step *s, uint64_t step_ns)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct liveness_config *config = &fsm->config->liveness;
	const struct vm_host *owner = &fsm->host[fsm->record.owner];

	return step_ns >= config->beat_timeout_ns / 2 || !owner->up ||
	       owner->verdict == WIRE_VERDICT_PAUSED || vm_copy_is_last(fsm) ||
	       liveness_judge(&owner->live, config, s->now_ns) != LIVENESS_ALIVE;
}

/* Returns true if this attempt has relayed more bytes than any earlier attempt since the last
 * commit. */
static bool has_progress(const struct vm_step *s)
{
	struct vm_standby *standby = &s->fsm->protection.standby;

	if (standby->is_new_stream || s->in->relayed_bytes < standby->base_bytes) {
		standby->is_new_stream = false;
		standby->base_bytes = s->in->relayed_bytes;
	}
	standby->sent_bytes = s->in->relayed_bytes - standby->base_bytes;
	/* While the standby's stream is down, relayed bytes do not reach the standby. */
	if (!s->fsm->stream[VM_STREAM_STANDBY].up || standby->sent_bytes <= standby->best_bytes)
		return false;
	standby->best_bytes = standby->sent_bytes;
	return standby->n_resumes <= ATTEMPTS_MAX;
}

/* Returns true if the standby has made progress with the first epoch since the last tick. It
 * acknowledges this epoch only after rehearsing a takeover with it. */
static bool has_moved(const struct vm_fsm *fsm)
{
	const struct vm_standby *standby = &fsm->protection.standby;

	return fsm->protection.committed == 0 && standby->n_resumes <= ATTEMPTS_MAX &&
	       fsm->host[vm_fsm_other(fsm)].work.moved_ns >= standby->ticked_ns;
}

static bool waits_for_standby(const struct vm_step *s)
{
	const struct vm_standby *standby = &s->fsm->protection.standby;

	return !s->fsm->stream[VM_STREAM_STANDBY].up || s->in->standby_owes ||
	       standby->n_breaks > 0 || standby->n_resumes >= ATTEMPTS_LOOP;
}

/* Update the clock of standby_lost: let it run, stop it or set it to zero. */
static void look(struct vm_step *s)
{
	struct vm_standby *standby = &s->fsm->protection.standby;
	uint64_t step_ns = s->now_ns - standby->ticked_ns;
	bool progress = has_moved(s->fsm);

	progress |= has_progress(s);

	standby->ticked_ns = s->now_ns;
	standby->is_waited_for = waits_for_standby(s);
	if (stands_still(s, step_ns))
		standby->since_ns += step_ns;
	else if (progress || !standby->is_waited_for)
		/* Set the clock to zero. A since_ns in the future stays: the standby still has time
		 * to apply the last committed epoch. */
		standby->since_ns = standby->since_ns > s->now_ns ? standby->since_ns : s->now_ns;
}

uint64_t vm_standby_waits_ns(const struct vm_fsm *fsm, uint64_t now_ns)
{
	if ((fsm->record.state != VM_SYNCING && fsm->record.state != VM_PROTECTED) ||
	    !fsm->protection.standby.is_waited_for)
		return 0;
	return now_ns > fsm->protection.standby.since_ns ? now_ns - fsm->protection.standby.since_ns
							 : 0;
}

const char *vm_standby_fault(const struct vm_fsm *fsm, char *text, size_t size)
{
	const struct vm_stream *stream = &fsm->stream[VM_STREAM_STANDBY];
	const char *step = fsm->host[vm_fsm_other(fsm)].work.step;

	(void)text_put(text, size, "%s%s%s%s%s",
		       !stream->up ? "it has no stream" : "it acknowledges nothing it is sent",
		       step[0] ? "; so far it " : "", step,
		       fsm->protection.standby.why[0] ? "; the last thing said: " : "",
		       fsm->protection.standby.why);
	return text;
}

/* Returns how long the clock of standby_lost can run before the standby counts as lost. The limit
 * of a protection's first epoch is longer: the standby first rehearses a takeover with it in a
 * second QEMU. */
static uint64_t limit_ns(const struct vm_fsm *fsm)
{
	bool rehearses = fsm->protection.committed == 0 && fsm->protection.standby.n_breaks == 0 &&
			 fsm->stream[VM_STREAM_STANDBY].up;

	return (rehearses ? FIRST_EPOCH_TIMES : 1) * fsm->config->standby_timeout_ns;
}

uint64_t vm_standby_left_ns(const struct vm_fsm *fsm, uint64_t now_ns)
{
	uint64_t waits_ns = vm_standby_waits_ns(fsm, now_ns), limit = limit_ns(fsm);
	uint64_t silent_ns = liveness_age_ns(&fsm->host[vm_fsm_other(fsm)].live, now_ns);
	uint64_t timeout_ns = fsm->config->standby_timeout_ns, left_ns;

	left_ns = waits_ns < limit ? limit - waits_ns : 0;
	if (silent_ns < timeout_ns && timeout_ns - silent_ns < left_ns)
		left_ns = timeout_ns - silent_ns;
	return left_ns;
}

/* Has the standby's host been silent for too long, or has the clock of standby_lost run for too
 * long? */
static bool is_lost(const struct vm_step *s, struct error *ret_reason)
{
	const struct vm_fsm *fsm = s->fsm;
	const struct vm_config *config = fsm->config;
	uint8_t other = vm_fsm_other(fsm);
	const struct vm_host *owner = &fsm->host[fsm->record.owner];
	uint64_t waits_ns = vm_standby_waits_ns(fsm, s->now_ns);
	char fault[VM_TEXT_MAX];

	if (waits_ns >= limit_ns(fsm)) {
		(void)error_set(ret_reason, 0,
				"standby %s lets nothing be committed for %" PRIu64 " ms: %s",
				vm_host_name(fsm, other), waits_ns / CLOCK_NS_PER_MS,
				TEXT_SHORT(200, vm_standby_fault(fsm, fault, sizeof(fault))));
		return true;
	}
	if (!liveness_silent_for(&fsm->host[other].live, config->standby_timeout_ns, s->now_ns))
		return false;
	/* If the owner is silent too, or has connected only recently, do not blame the standby. The
	 * cause can be the gateway's own link. */
	if (!owner->up || s->now_ns - owner->up_ns < config->standby_timeout_ns ||
	    liveness_judge(&owner->live, &config->liveness, s->now_ns) != LIVENESS_ALIVE)
		return false;
	(void)error_set(ret_reason, 0, "standby %s gone for %" PRIu64 " ms",
			vm_host_name(fsm, other), config->standby_timeout_ns / CLOCK_NS_PER_MS);
	return true;
}

void vm_judge_standby(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char reason[VM_TEXT_MAX];
	struct error lost;

	look(s);
	/* If the owner's guest is gone, nothing waits for the standby, and the standby's copy must
	 * not be given up. Each report of the owner tries to promote the standby. */
	if (vm_copy_is_last(fsm) || !is_lost(s, &lost))
		return;
	if (fsm->config->standby_lost_hold) {
		if (!fsm->protection.standby.is_told)
			vm_event(
				s, "supervision",
				"%s; standby_lost = hold: output is held until it takes epochs "
				"again or `holdfastctl unprotect %s`",
				TEXT_SHORT(220, lost.text), fsm->config->name);
		fsm->protection.standby.is_told = true;
		return;
	}
	(void)text_put(reason, sizeof(reason), "%s; standby_lost = unprotected",
		       TEXT_SHORT(280, lost.text));
	vm_end_protection(s, reason);
	vm_finish_op(s, false, "standby-lost", "%s", reason);
}
