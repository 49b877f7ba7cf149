/* promote.h - loads the copy into the warm QEMU and lets the guest run.
 *
 * Why: this is the main part of a failover. No client is served while it lasts, so every
 * millisecond counts.
 *
 *	apply what is complete ─ sync and close disks ─ write other blocks
 *	  (epochlog_apply)         (images.h)             (process memory)
 *	 ─ getfd + migrate-incoming ─ event completed
 *	  (device blob)
 *	 ─ meta: term, phase=promoted ─ guest's clock ─ cont ─ meta: phase=running ─ announce-self
 *
 * Why this order? The agent may be killed (kill -9) between any two steps:
 *  P1 Until `meta` says `promoted`, the copy stays as it is: epoch N, the last complete epoch, in
 *     the old term. So the order can be carried out again with a new QEMU. (QEMU writes no guest
 *     RAM when it loads the state.)
 *  P2 The new term is in the file `meta` before the guest's first instruction runs here. So no
 *     later agent can mistake this copy for a copy of the old term.
 *  P3 While `meta` says `promoted`, the guest may or may not have run. If the order is repeated
 *     while that QEMU exists, the guest is continued there. If that QEMU is gone, no new one is
 *     started: the guest may have run and changed the RAM file, which then no longer matches the
 *     device blob.
 *  P4 QEMU may write to the guest's disks once it has loaded the state. So this agent writes to
 *     them only before that. If loading fails, the agent ends QEMU. No instruction of the guest has
 *     run by then, so the disks are still those of epoch N.
 *
 * Where: used by orders.c and rehearsal.c, on the standby's thread. Blocks as long as there is
 * progress. Fails when a step makes no progress for the given timeout, and also when QEMU does not
 * answer for that time.
 */
#ifndef STANDBY_PROMOTE_H
#define STANDBY_PROMOTE_H

#include <stdint.h>

#include "base/error.h"
#include "standby/clockview.h"
#include "standby/epochlog.h"
#include "standby/qemu.h"
#include "standby/ramfile.h"

/* How long each step took. All members are 0 until a promotion has succeeded. */
struct promote_times {
	uint64_t apply_ns, disks_ns, blocks_ns, load_ns, record_ns, clock_ns, cont_ns, total_ns;
	bool is_running; /* QEMU said after `cont` that the guest runs */
};

/* How the guest's clock is set at a promotion. */
struct promote_clock {
	uint64_t step_max_ns; /* in: the largest step; 0: do not set the clock */
	uint64_t step_ns;     /* out: how far the clock was set forward; 0: not at all */
	const char *why;      /* out: why the clock was not set; static text, else "" */
};

/* Check whether the gateway's order to promote the guest may be obeyed. The order gives @term, and
 * @min_epoch, the oldest epoch that is acceptable. Changes nothing. Returns 0 if it may; -EALREADY
 * if the guest runs here in @term already, or was about to be started in @term when an earlier
 * agent died (call promote_guest() to finish that promotion); -ESTALE if @term is not newer than
 * the copy's; -ENODATA if there is no complete epoch, or only one older than @min_epoch. On error
 * *ret_error says why. */
int promote_check(const struct epochlog *log, uint64_t term, uint64_t min_epoch,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Promote the guest, and set its clock to what @view computes. If the checks of
 * guestclock_promote() fail, the clock is not set. Call this after promote_check() has returned 0
 * or -EALREADY. If the phase is COPY, @q is the warm QEMU; if it is PROMOTED, @q is the QEMU that
 * qemu_find() found. On error *ret_error says why. Returns
 * - 0: the guest runs, phase is RUNNING, and the monitor is released;
 * - -EIO: QEMU refused the state or died. Phase is COPY: start a new QEMU and try again;
 * - -ETIMEDOUT: there was no progress for @timeout_ns. Start a new QEMU and try again;
 * - -ESRCH: the phase is PROMOTED, and the guest cannot be continued: QEMU is gone, or cannot be
 *   asked, or is in another state than "paused" and "running". The operator must decide what to do;
 * - other -errno from file operations. */
int promote_guest(struct epochlog *log, struct qemu *q, uint64_t term, uint64_t timeout_ns,
		  const struct clockview *view, struct promote_clock *clock,
		  struct promote_times *ret_times, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Apply a complete epoch, and load the copy into @q. @q is a second QEMU that waits for its state,
 * as the warm QEMU does. The guest is not started, and @q cannot be used again. Returns 0; -EIO if
 * QEMU refused the state or died; -ETIMEDOUT; other -errno from file operations. On error
 * *ret_error says why. */
int promote_rehearse(struct epochlog *log, struct qemu *q, uint64_t timeout_ns,
		     struct error *ret_error) __attribute__((warn_unused_result));

#endif
