/* promote.h - loads the copy into the warm QEMU and lets the guest run.
 *
 * Why: this is the main part of a failover. No client is served while it lasts, so every
 * millisecond counts.
 *
 *	apply what is complete ─ sync and close disks ─ write ROM blocks
 *	  (epochlog_apply)         (images.h)             (process memory)
 *	 ─ getfd + migrate-incoming ─ event completed
 *	  (device blob)
 *	 ─ meta: term, phase=promoted ─ guest's clock ─ cont ─ meta: phase=running ─ announce-self
 *
 * Why this order? The agent may be killed (kill -9) between any two steps:
 *  P1 Before `meta` says `promoted`, nothing durable has changed: the copy is still epoch N, and
 *     the order can be carried out again with a new QEMU (loading writes no guest RAM).
 *  P2 The new term is on file before the guest's first instruction runs here. So no later agent can
 *     mistake this copy for one of the old term.
 *  P3 While `meta` says `promoted`, the guest may or may not have run. If the order is repeated,
 *     it continues the same QEMU, if that QEMU still exists. A QEMU that is gone is never replaced:
 *     its guest may have run, and then the RAM file no longer fits the device blob.
 *  P4 QEMU may write to the guest's disks once it has loaded the state, so this agent writes to them
 *     only before that. If loading fails, that QEMU is ended, and no instruction of the guest has
 *     run: the disks are still those of epoch N.
 *
 * Where: used by orders.c and rehearsal.c, on the standby's thread. Blocks as long as there is
 * progress. Fails when a step makes no progress, or QEMU does not answer, for the given timeout.
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
	uint64_t apply_ns, disks_ns, rom_ns, load_ns, record_ns, clock_ns, cont_ns, total_ns;
	bool is_running; /* QEMU said after `cont` that the guest runs */
};

/* How the guest's clock is set at a promotion. */
struct promote_clock {
	uint64_t step_max_ns; /* in: the largest step; 0: do not set the clock */
	uint64_t step_ns;     /* out: how far the clock was set forward; 0: not at all */
	const char *why;      /* out: why the clock was not set; static text, else "" */
};

/* Check whether an order to promote the guest in @term, from an epoch of at least @min_epoch, may
 * be obeyed. Changes nothing. Returns 0 if it may; -EALREADY if the guest runs here in @term, or
 * was about to run when an earlier agent died (then promote_guest() finishes the promotion);
 * -ESTALE if @term is not newer than the copy's; -ENODATA if there is no complete epoch, or only
 * one older than @min_epoch. On error *ret_error says why. */
int promote_check(const struct epochlog *log, uint64_t term, uint64_t min_epoch,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Promote the guest, and set its clock forward as @view says, but only if the checks of
 * guestclock_promote() pass. promote_check() must have returned 0 or -EALREADY. @q is warm (phase
 * COPY) or was found by qemu_find() (phase PROMOTED). On error *ret_error says why. Returns
 * - 0: the guest runs, phase is RUNNING, and the monitor is released;
 * - -EIO: QEMU refused the state or died. Phase is COPY: start a new QEMU and try again;
 * - -ETIMEDOUT: no progress for @timeout_ns. Also start a new QEMU and try again;
 * - -ESRCH: phase is PROMOTED, but QEMU is gone, or neither waits nor runs the guest. Only the
 *   operator can decide;
 * - other -errno from file operations. */
int promote_guest(struct epochlog *log, struct qemu *q, uint64_t term, uint64_t timeout_ns,
		  const struct clockview *view, struct promote_clock *clock,
		  struct promote_times *ret_times, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Apply a complete epoch, and load the copy into @q, a QEMU that waits for its state like the warm
 * one. The guest is not started, and @q cannot be used again. Returns 0; -EIO if QEMU refused the
 * state or died; -ETIMEDOUT; other -errno from file operations. On error *ret_error says why. */
int promote_rehearse(struct epochlog *log, struct qemu *q, uint64_t timeout_ns,
		     struct error *ret_error) __attribute__((warn_unused_result));

#endif
