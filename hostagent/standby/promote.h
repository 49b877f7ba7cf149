/* promote.h - loads the copy into the warm QEMU and lets the guest run.
 *
 * Why: this is the main part of a failover. No client is served while it lasts, so every
 * millisecond counts.
 *
 *	apply what is complete ─ sync and close disks ─ write other blocks
 *	  (epochlog_apply)         (images.h)             (process memory)
 *	 ─ getfd + migrate-incoming ─ event completed
 *	  (device blob)
 *	 ─ disk: role, term; the disk log ends
 *	 ─ meta: term, phase=promoted ─ guest's clock ─ cont ─ meta: phase=running ─ announce-self
 *
 * This order makes a kill -9 of the agent harmless between any two steps:
 *  P1 Until `meta` says `promoted`, the copy stays as it is: epoch N, the last complete epoch, in
 *     the old term. So the order PROMOTE can be carried out again with a new QEMU. (QEMU writes no
 *     guest RAM when it loads the state.)
 *  P2 Before the guest's first instruction runs here, the new term is in the file `meta`, and on
 *     the disk (promote_mark) if that disk answers in time. So no later agent can mistake this copy
 *     for a copy of the old term.
 *  P3 While `meta` says `promoted`, nobody knows whether the guest has run. If PROMOTE is given
 *     again while that QEMU exists, the guest continues there. If that QEMU is gone, no new one is
 *     started: the guest may have changed the RAM file, which then does not match the device blob
 *     any more.
 *  P4 After QEMU has loaded the state, it can write to the guest's disks. So this agent writes to
 *     them only before that. If loading fails, the agent ends QEMU. The guest has not run, so the
 *     disks are still those of epoch N, and the disk log still says so.
 *
 * Where: used by orders.c, rehearsal.c and drill.c. Blocks as long as there is progress. Fails when
 * a step makes no progress for the given timeout, and also when QEMU does not answer for that time.
 */
#ifndef STANDBY_PROMOTE_H
#define STANDBY_PROMOTE_H

#include <stdint.h>

#include "base/error.h"
#include "standby/clockview.h"
#include "standby/epochlog.h"
#include "standby/qemu.h"
#include "standby/ramfile.h"

/* How long each step took. All members are 0 before the first successful promotion. */
struct promote_times {
	uint64_t apply_ns, disks_ns, blocks_ns, load_ns, record_ns, clock_ns, cont_ns, total_ns;
	bool is_running; /* QEMU said after `cont` that the guest runs */
};

/* How the guest's clock is set at a promotion. */
struct promote_clock {
	uint64_t step_max_ns; /* in: the largest step; 0: do not set the clock */
	uint64_t step_ns;     /* out: how far the clock was set forward; 0: not at all */
	const char *why;      /* out: why the clock was not set (static text); "" if it was */
};

/* How to record on a disk that the guest may run here from now on. */
struct promote_mark {
	/* does what may_run of struct standby_config does; NULL: not wanted */
	int (*record)(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error);
	void *arg;
};

/* Must this host obey the gateway's order to promote the guest? @term and @min_epoch are from the
 * order: an epoch older than @min_epoch must not be promoted. Changes nothing. Returns
 * - 0: yes;
 * - -EALREADY: the guest runs here in @term already, or an earlier agent died while it promoted the
 *   guest in @term. In the second case, promote_guest() finishes that promotion;
 * - -ESTALE: @term is not newer than the copy's term, or the guest was promoted here earlier;
 * - -ENODATA: there is no complete epoch, or only one older than @min_epoch.
 * On error except -EALREADY *ret_error says why. */
int promote_check(const struct epochlog *log, uint64_t term, uint64_t min_epoch,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Promote the guest, and set its clock to what @view computes. If the clock cannot be set (the
 * checks of guestclock_promote()), the promotion goes on. Call this after promote_check() has
 * returned 0 or -EALREADY. @q: in phase COPY the warm QEMU; in phase PROMOTED the QEMU that
 * qemu_find() has found. On error *ret_error says why. Returns
 * - 0: the guest runs, the phase is RUNNING, and the monitor is released;
 * - -EIO: QEMU refused the state or died. The phase is COPY: start a new QEMU and try again;
 * - -ETIMEDOUT: there was no progress for @timeout_ns. Start a new QEMU and try again;
 * - -ESRCH: the phase is PROMOTED, and the guest cannot be continued: QEMU is gone, does not
 *   answer, or is in a state other than "paused" and "running". The operator must decide what to
 *   do;
 * - other -errno from file operations. */
int promote_guest(struct epochlog *log, struct qemu *q, uint64_t term, uint64_t timeout_ns,
		  const struct clockview *view, struct promote_clock *clock,
		  const struct promote_mark *mark,
		  struct promote_times *ret_times, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Load the copy @rf, which nobody else uses, into @q, a second QEMU, and let its guest run with the
 * clock of its epoch. Records nothing, because this is not a promotion. Then releases @q's monitor.
 * Returns and blocks like promote_rehearse(). */
int promote_drill(struct ramfile *rf, struct qemu *q, uint64_t timeout_ns, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Apply a complete epoch, and load the copy into @q, a second QEMU that was started like the warm
 * QEMU. Does not let the guest run. @q cannot be used again. Returns 0;
 * -EIO: QEMU refused the state or died;
 * -ETIMEDOUT: there was no progress for @timeout_ns;
 * other -errno from file operations.
 * On error *ret_error says why. */
int promote_rehearse(struct epochlog *log, struct qemu *q, uint64_t timeout_ns,
		     struct error *ret_error) __attribute__((warn_unused_result));

#endif
